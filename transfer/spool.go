package transfer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dustin/go-humanize"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/lib/diskusage"
)

// spoolError is a failure of this machine's disk, which says nothing about the remotes.
type spoolError struct{ err error }

func (e *spoolError) Error() string { return e.err.Error() }
func (e *spoolError) Unwrap() error { return e.err }

// errSpoolFull says that the spool folder has no room for a file.
var errSpoolFull = errors.New("no space left")

// isSpoolFull tells whether an error is that of a full spool folder.
func isSpoolFull(err error) bool { return errors.Is(err, errSpoolFull) }

// spool writes r to a temporary file, for destinations that must know a length before they take a file. The file has no
// name where the system allows that: nothing is left of it when the process is killed.
func (w *work) spool(r io.Reader) (*os.File, int64, error) {
	dir := w.r.p.engine.spool
	f, err := os.CreateTemp(dir, "offload-spool-")
	if err != nil {
		return nil, 0, spoolFailed(dir, "make spool file", err)
	}
	_ = os.Remove(f.Name()) // Windows keeps it until it is dropped
	n, err := io.Copy(f, r)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		dropSpool(f)
		if err = spoolFailed(dir, "write spool file", err); isSpoolFull(err) {
			w.spoolNeed = max(w.spoolNeed, n)
		}
		return nil, 0, err
	}
	return f, n, nil
}

// spoolRoom makes sure that a file which didn't fit the spool folder may do so now, before it is read again: each reading
// counts against the quota.
func (w *work) spoolRoom() error {
	if w.spoolNeed == 0 {
		return nil
	}
	free, ok := freeIn(w.r.p.engine.spool)
	if !ok || free > w.spoolNeed+w.spoolNeed/8 {
		return nil
	}
	return spoolFailed(w.r.p.engine.spool, "make spool file", syscall.ENOSPC)
}

// spoolFailed makes the error of a failed write. A full folder says which and how much room there is.
func spoolFailed(dir, op string, err error) error {
	if !fserrors.IsErrNoSpace(err) && !errors.Is(err, syscall.EDQUOT) {
		return &spoolError{fmt.Errorf("%s: %w", op, err)}
	}
	if dir == "" {
		dir = os.TempDir()
	}
	room := ""
	if free, ok := freeIn(dir); ok {
		room = fmt.Sprintf(" (%s free)", humanize.IBytes(uint64(free)))
	}
	return &spoolError{fmt.Errorf("%s: %w in the spool folder %s%s", op, errSpoolFull, filepath.Clean(dir), room)}
}

// freeIn is the free space of a folder's disk in bytes; ok is false where the system doesn't tell.
func freeIn(dir string) (free int64, ok bool) {
	if dir == "" {
		dir = os.TempDir()
	}
	usage, err := diskusage.New(dir)
	return int64(usage.Available), err == nil
}

// dropSpool frees the disk of a spool file.
func dropSpool(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name()) // where it still has its name; one that stays is removed at a later start
}
