package acceptance

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goSource puts (a part of) the Go source tree and one large random file into dir.
func goSource(t testing.TB, rnd *rand.Rand, dir string) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("find GOROOT, whose source tree is what is moved: %v", err)
	}
	root := strings.TrimSpace(string(out))
	parts, large := []string{"net", "crypto"}, int64(64<<20)
	if full() {
		parts, large = []string{""}, 1<<30
	}
	for _, part := range parts {
		copyTree(t, filepath.Join(root, "src", part), filepath.Join(dir, part))
	}
	randomFile(t, rnd, filepath.Join(dir, "large file.bin"), large)
}

// copyTree copies the regular files below from to below to.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		return copyFile(p, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// randomFile writes size random bytes.
func randomFile(t testing.TB, rnd *rand.Rand, path string, size int64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rnd.Uint32())
	}
	_, err = io.CopyN(out, rand.NewChaCha8(seed), size)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

// files returns the regular files below dir with their sizes, by path with "/". What goes while it is looked at isn't there:
// workers may be at work in it.
func files(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p != dir {
			return nil
		}
		if err == nil && d.IsDir() && d.Name() == ".offload" {
			return fs.SkipDir // the jobs' own
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		found[filepath.ToSlash(rel)] = info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sum adds up sizes.
func sum(sizes map[string]int64) int64 {
	var n int64
	for _, size := range sizes {
		n += size
	}
	return n
}

// sameTree demands that every file below want lies below got with the same bytes, and nothing else but the manifest.
// After a kill a partial upload may lie about too: it bears a mark by which every scan passes over it.
func sameTree(t testing.TB, want, got string, killed bool) {
	t.Helper()
	expected, present := files(t, want), files(t, got)
	for name := range present {
		_, ok := expected[name]
		switch {
		case ok || strings.HasPrefix(name, ".offload/"):
		case killed && strings.HasPrefix(name, ".sgwtmp/"): // versitygw keeps unfinished multipart uploads there: no objects
		case killed && strings.HasSuffix(name, ".offload-partial"):
			t.Logf("left behind by a killed process: %q", name)
		default:
			t.Errorf("the destination has %q, which the source never had", name)
		}
	}
	for name := range expected {
		if _, ok := present[name]; !ok {
			t.Errorf("lost: %q isn't at the destination", name)
			continue
		}
		a, errA := os.ReadFile(filepath.Join(want, name))
		b, errB := os.ReadFile(filepath.Join(got, name))
		if err := errors.Join(errA, errB); err != nil {
			t.Error(err)
		} else if !bytes.Equal(a, b) {
			t.Errorf("corrupt: %q differs from the kept copy", name)
		}
	}
}
