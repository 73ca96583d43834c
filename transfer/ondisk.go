package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	rclone "github.com/rclone/rclone/fs"
)

// ruleCopyIsOnDisk (rule 16): before the source is asked to delete, a copy on a disk of this machine has left the memory for the
// disk, and so have the folders on the way to it. rclone's local backend leaves that to the system, which takes half a
// minute: a power cut meanwhile would take the copy, and reading it back reads the memory.
func (w *work) ruleCopyIsOnDisk(ctx context.Context, o Outcome) error {
	if !w.r.dst.traits.disk {
		return nil
	}
	target := o.Dest
	if target == "" {
		target = w.e.DestPath()
	}
	dst, _, err := w.r.dst.find(ctx, target, true)
	if err != nil {
		return destErr("look at destination file", err)
	}
	if dst == nil {
		return destErr("look at destination file", ErrTaken)
	}
	if dst = rclone.UnWrapObject(dst); !dst.Fs().Features().IsLocal {
		return nil // chunks, or the part of a union that lies elsewhere
	}
	return destErr("write the copy to the disk", w.r.toDisk(localPath(dst), dst.Fs().Root()))
}

// toDisk writes a file to its disk, its folder, and once in a run the folders above it up to that which holds the root.
func (r *run) toDisk(file, root string) error {
	sync := r.p.engine.syncPath
	if sync == nil {
		sync = syncPath
	}
	if err := sync(file); err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := sync(dir); err != nil {
		return err
	}
	for above := filepath.Dir(root); dir != above && strings.HasPrefix(dir, above); {
		dir = filepath.Dir(dir)
		if _, done := r.onDisk.Load(dir); done {
			continue
		}
		if err := sync(dir); err != nil {
			return err
		}
		r.onDisk.Store(dir, true) // now, so that nobody takes it for done that fails or is under way
	}
	return nil
}

// syncPath writes a file or a folder to its disk. What can't be written so passes: folders on Windows, those above the root that
// may not be read, and files of systems that know no such call or that rclone spells in its own way.
func syncPath(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0) // Windows writes out only what is open for writing
	if err != nil {
		f, err = os.Open(name)
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) || runtime.GOOS == "windows" && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
