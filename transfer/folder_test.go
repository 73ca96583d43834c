package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/memory"
	rclone "github.com/rclone/rclone/fs"
)

// What a disk says of a folder is told as that; what it says of a file, or of anything else, isn't. At a cloud none of it is.
func TestWhatADiskSaysOfItsFolders(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	there := filepath.Join(root, "there.txt")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(op, at string, err error) error {
		return &fs.PathError{Op: op, Path: filepath.Join(root, at), Err: err}
	}
	const seen, opened = "look at source file", "open source file"
	for _, c := range []struct {
		err   error
		dir   string // below root; "-" for an error that is about no folder
		what  string
		tries int
	}{
		{destErr(opUpload, call("mkdir", "a", syscall.ENOENT)), "a", "made: " + syscall.ENOENT.Error(), 3},
		{destErr(opUpload, call("mkdir", "a", syscall.EEXIST)), "a", "made", 3},
		{destErr(opUpload, call("mkdirat", "a", syscall.EACCES)), "a", "made", 1},
		{destErr(opUpload, call("mkdir", "a", syscall.EPERM)), "a", "made", 1},
		{destErr(opUpload, call("mkdir", "a", syscall.EROFS)), "a", "made", 1},
		{destErr(opUpload, call("mkdir", "a", syscall.ENOTDIR)), "a", "made", 1},
		{destErr(opUpload, call("mkdir", "a", syscall.ELOOP)), "a", "made", 1},
		{destErr("rename upload", call("mkdir", "a", syscall.EACCES)), "a", "made", 1},
		{destErr("look at destination file", call("lstat", "a/b", syscall.ENOTDIR)), "a", "entered", 1},
		{destErr(opUpload, call("open", "a/b", syscall.EACCES)), "a", "written to: " + syscall.EACCES.Error(), 1},
		{destErr(opUpload, call("open", "a/b", syscall.EROFS)), "a", "written to", 1},
		{destErr(opUpload, call("write", "a/b", syscall.EROFS)), "a", "written to", 1},
		{destErr("rename upload", &os.LinkError{Op: "rename", Old: "x", New: filepath.Join(root, "a/b"), Err: syscall.EPERM}), "a", "written to", 1},
		{sourceErr(seen, rclone.ErrorPermissionDenied), "dir", "entered", 1},
		{sourceErr(seen, call("lstat", "a/b", syscall.ENOTDIR)), "a", "entered", 1},
		{sourceErr("delete source file", call("remove", "a/b", syscall.EACCES)), "a", "written to", 1},

		{destErr(opUpload, call("mkdir", "a", syscall.ENOSPC)), "-", "", 0},
		{destErr(opUpload, call("mkdir", "a", syscall.EIO)), "-", "", 8},
		{destErr(opUpload, call("open", "a/b", syscall.ENOENT)), "-", "", 8}, // somebody removed it just then
		{destErr(opUpload, call("open", "there.txt", syscall.EACCES)), "-", "", 1},
		{destErr(opUpload, call("chtimes", "a/b", syscall.EPERM)), "-", "", 1},
		{sourceErr(opened, call("open", "there.txt", syscall.EACCES)), "-", "", 1},
		{sourceErr(opened, call("open", "a/b", syscall.EACCES)), "-", "", 1},
		{sourceErr("read source file", call("read", "a/b", syscall.EIO)), "-", "", 8},
		{destErr(opUpload, &spoolError{call("mkdir", "a", syscall.EACCES)}), "-", "", 0},
		{destErr(opUpload, errors.New("mkdir a: no such file or directory")), "-", "", 5},
		{errors.New("mkdir a: no such file or directory"), "-", "", 5},
	} {
		for _, place := range []string{root, ":memory:folders"} {
			f, err := rclone.NewFs(ctx, place)
			if err != nil {
				t.Fatal(err)
			}
			w := &work{r: &run{p: NewPair(f, f, Options{})}, e: Entry{Path: "dir/file"}}
			got := w.ofFolder(c.err)
			var folder *folderError
			if !errors.As(got, &folder) {
				if c.dir != "-" && place == root {
					t.Errorf("%v isn't told as about a folder", c.err)
				}
				if got != c.err || finalCode(got) == CodeFolderRefused {
					t.Errorf("at %s %v became %v, %s", place, c.err, got, finalCode(got))
				}
				if n := triesOf(ctx, got); place == root && c.tries != 0 && n != c.tries {
					t.Errorf("%v: %d tries, want %d", got, n, c.tries)
				}
				continue
			}
			want := "the folder " + filepath.Join(root, c.dir) + " can't be " + c.what
			if place != root || c.dir == "-" || !strings.HasPrefix(got.Error(), want) || finalCode(got) != CodeFolderRefused || sideOf(got) != sideOf(c.err) || Unreachable(ctx, got) {
				t.Errorf("at %s %v is told as %q, %s; want %q", place, c.err, got, finalCode(got), want)
			}
			if n := triesOf(ctx, got); n != c.tries {
				t.Errorf("%v: %d tries, want %d", got, n, c.tries)
			}
		}
	}
	if r := Remedy(CodeFolderRefused); strings.Contains(r, "connection") || !strings.Contains(r, "folder") {
		t.Errorf("the remedy is %q", r)
	}
}

// triesOf is how often a file is tried that fails with err each time.
func triesOf(ctx context.Context, err error) int {
	if classify(ctx, err) != classRetry {
		return 1
	}
	return policy{}.withDefaults().limit(ctx, err)
}
