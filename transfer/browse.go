package transfer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"golang.org/x/text/unicode/norm"
)

// DirEntry is a file or folder for somebody who looks for one.
type DirEntry struct {
	Name    string    `json:"name"` // NFC, without its folder
	IsDir   bool      `json:"folder"`
	Size    int64     `json:"size"` // in bytes; -1 for folders and where the remote doesn't say
	ModTime time.Time `json:"mtime,omitzero"`
}

// Bounds of looking into a folder.
const (
	browseTime    = 30 * time.Second
	browseDefault = 1000 // entries
)

// ListDir lists a folder of a remote, named as a job's source is: folders first, each kind by name, at most limit (0 is
// 1,000) and whether there are more. It takes half a minute at most. Its error names the remote and is a *CheckError, which
// says what to do: SignInRefused and NotFound tell the kinds apart.
func (op Opener) ListDir(ctx context.Context, remotePath string, limit int) (found []DirEntry, more bool, err error) {
	found = []DirEntry{}
	config.LoadedData() // as Open
	if limit <= 0 {
		limit = browseDefault
	}
	ctx, cancel := context.WithTimeoutCause(ctx, browseTime, fmt.Errorf("%s didn't answer within %s", bare(remotePath), browseTime))
	defer cancel()
	f, closeIt, err := op.folder(ctx, remotePath, "Choose the folder that it lies in.")
	if err != nil {
		return nil, false, err
	}
	defer closeIt()
	entries, err := browse(ctx, f)
	if err != nil {
		return nil, false, browseError(ctx, remotePath, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		return cmp.Or(cmp.Compare(fileLast(a), fileLast(b)), cmp.Compare(foldName(a.Remote()), foldName(b.Remote())), cmp.Compare(a.Remote(), b.Remote()))
	})
	more = len(entries) > limit
	for _, e := range entries[:min(limit, len(entries))] {
		found = append(found, dirEntry(ctx, f, e))
	}
	return found, more, nil
}

// folder opens a remote that is a folder; hint says what to do about a file. The error is a *CheckError.
func (op Opener) folder(ctx context.Context, remote, hint string) (f fs.Fs, closeIt func(), err error) {
	err = guarded(func() (err error) {
		f, err = op.Remote(ctx, remote)
		return err
	})
	closeIt = func() { shutdown(context.WithoutCancel(ctx), f) }
	if err != nil && f != nil { // a remote that is a file comes back open
		closeIt()
	}
	if errors.Is(err, fs.ErrorIsFile) {
		return nil, nil, &CheckError{Final: true, Field: "path", Hint: hint, Err: fmt.Errorf("%s is a file", bare(remote))}
	}
	if err != nil {
		return nil, nil, openError(ctx, "path", remote, err)
	}
	return f, closeIt, nil
}

// browse lists the root, without what a scan wouldn't trust either. A folder that may not be read is an error.
func browse(ctx context.Context, f fs.Fs) (entries fs.DirEntries, err error) {
	h := hidden{group: "offload-browse-" + rand.Text()}
	watched := h.watch(ctx)
	err = guarded(func() (err error) {
		entries, err = (&screen{Fs: f}).List(watched, "")
		return err
	})
	if err == nil && len(entries) == 0 {
		err = h.news(watched) // the local backend's way to say so
	}
	return entries, err
}

func fileLast(e fs.DirEntry) int {
	if _, ok := e.(fs.Object); ok {
		return 1
	}
	return 0
}

func dirEntry(ctx context.Context, f fs.Fs, e fs.DirEntry) DirEntry {
	d := DirEntry{Name: norm.NFC.String(e.Remote()), Size: -1}
	o, ok := e.(fs.Object)
	d.IsDir = !ok
	if !ok {
		return d
	}
	d.Size = max(o.Size(), -1)
	if !f.Features().SlowModTime { // it would take a call for each file
		d.ModTime = o.ModTime(ctx).UTC()
	}
	return d
}

func browseError(ctx context.Context, remotePath string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := bare(remotePath)
	if NotFound(err) {
		return &CheckError{Final: true, Field: "path", Hint: "Check the path: it begins at the top of the remote.", Err: fmt.Errorf("%s doesn't exist: %w", name, err)}
	}
	return &CheckError{Field: "path", Hint: hintFor(ctx, name, err), Err: fmt.Errorf("list %s: %w", name, err)}
}
