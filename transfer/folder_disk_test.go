package transfer_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
	"offload/transfer/xtest"
)

// A destination on this machine that can't be used fails its files soon, with the folder and without a word of a connection.
func TestAFolderThatCantBeUsed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		root  string // below dir
		named string // the folder that is named
		waits int
	}{{"file/backup", "file", 0}, {"link/backup", "link", 2}} {
		src := newRemote(t, "memory")
		put(t, src, "sub/a.txt", "the content", day)
		dst, err := fs.NewFs(context.Background(), filepath.Join(dir, c.root))
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, src, dst, transfer.Options{}, xtest.NewScript(), "sub/a.txt")
		waits := 0
		w.pair = transfer.NewPair(src, dst, transfer.Options{}).NoWaiting(func(time.Duration) { waits++ })
		w.mustRun()
		o := w.outcome("sub/a.txt")
		if o.Result != transfer.Failed || o.Code != transfer.CodeFolderRefused || o.Source != transfer.Kept || waits != c.waits {
			t.Errorf("%s: %+v after %d waits", c.root, o, waits)
		}
		if !strings.Contains(o.Reason, "the folder "+filepath.Join(dir, c.named)+" can't be ") || strings.Contains(o.Reason, "connection") || !strings.Contains(o.Reason, transfer.Remedy(o.Code)) {
			t.Errorf("%s: %s", c.root, o.Reason)
		}
	}
}
