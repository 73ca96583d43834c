package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	rclone "github.com/rclone/rclone/fs"
)

// folderError says that a folder of a disk can't be used: that is no fault of the file, nor of a connection, and no time
// mends it. Where it is made known by an error that may have been a matter of a moment too, brief is set.
type folderError struct {
	dir   string
	what  string // "made", "entered", "written to"
	brief bool   // somebody may have removed a folder above it just then: worth a second look, and no more
	err   error
}

func (e *folderError) Error() string {
	return fmt.Sprintf("the folder %s can't be %s: %s", e.dir, e.what, innermost(e.err))
}
func (e *folderError) Unwrap() error { return e.err }

// ofFolder makes a folderError of an attempt's error that is about a folder of a disk. What a cloud answers stays as it is,
// whatever its words: there the same ones may stand for something that passes.
func (w *work) ofFolder(err error) error {
	var re *remoteError
	var local *spoolError
	if !errors.As(err, &re) || errors.As(err, &local) {
		return err
	}
	layers := layersOf(w.r.p.of(re.side))
	disk := layers[len(layers)-1]
	if !disk.Features().IsLocal {
		return err
	}
	dir := filepath.FromSlash(disk.Root())
	if len(layers) == 1 { // else the disk may hold the file under another name
		own := w.e.SourcePath()
		if re.side == SideDest {
			own = w.e.DestPath()
		}
		dir = filepath.Join(dir, filepath.FromSlash(dirOf(own)))
	}
	if f := folderTrouble(re, dir); f != nil {
		return f
	}
	return err
}

// folderTrouble tells what a disk's error says of a folder; nil for nothing. dir is the folder that the file lies in, for
// errors that name none.
func folderTrouble(re *remoteError, dir string) *folderError {
	var call *fs.PathError
	var link *os.LinkError
	op, at := "", ""
	switch {
	case errors.As(re.err, &call):
		op, at = call.Op, call.Path
	case errors.As(re.err, &link):
		op, at = link.Op, link.New
	case errors.Is(re.err, rclone.ErrorPermissionDenied): // of a look at the file, which takes no permission of its own
		return &folderError{dir: dir, what: "entered", err: re}
	default:
		return nil
	}
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(re.err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case op == "mkdir" || op == "mkdirat":
		if is(fs.ErrNotExist, fs.ErrExist) { // the latter where a link leads nowhere
			return &folderError{dir: at, what: "made", brief: true, err: re}
		}
		if is(fs.ErrPermission, syscall.ENOTDIR, syscall.EROFS, syscall.ELOOP) {
			return &folderError{dir: at, what: "made", err: re}
		}
		return nil
	case is(syscall.ENOTDIR):
		return &folderError{dir: noFolder(at), what: "entered", err: re}
	case is(syscall.EROFS), is(fs.ErrPermission) && changesFolder(re.op, op, at):
		return &folderError{dir: filepath.Dir(at), what: "written to", err: re}
	}
	return nil
}

// noFolder is what stands above a path and is no folder, or the folder of the path where that has gone since.
func noFolder(at string) string {
	for dir := filepath.Dir(at); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil {
			if info.IsDir() {
				break
			}
			return dir
		}
	}
	return filepath.Dir(at)
}

// changesFolder tells whether a call was refused since it would have changed the folder: to open a file that is there is a
// matter of the file's own permissions.
func changesFolder(doing, op, at string) bool {
	switch op {
	case "remove", "rename":
		return true
	case "open", "openat":
		_, err := os.Lstat(at)
		return doing == opUpload && err != nil
	}
	return false
}

// isBrief tells whether an error is that of a folder which may be there at a second look.
func isBrief(err error) bool {
	var f *folderError
	return errors.As(err, &f) && f.brief
}
