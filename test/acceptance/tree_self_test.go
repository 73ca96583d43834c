package acceptance

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// The test of the test: a folder in which files and folders come and go can be listed, and what stays is in each list.
func TestFilesAreListedWhileOthersGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Error(err)
		}
	}
	write("stays")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
			}
			for i := range 400 {
				write(filepath.Join("folder "+strconv.Itoa(i%4), strconv.Itoa(i)))
			}
			for i := range 4 {
				if err := os.RemoveAll(filepath.Join(dir, "folder "+strconv.Itoa(i))); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	defer func() { close(done); <-ended }()
	for range 200 {
		if n, ok := files(t, dir)["stays"]; !ok || n != 1 {
			t.Fatalf("what stays isn't listed: %d, %t", n, ok)
		}
	}
}
