// Package xcloud holds a double for tests of what a job does with a source that has versions, a trash, storage and a
// sign-in, as iCloud Drive has them. It plays them over a local folder, without HTTP; internal/cloudtest plays the real
// protocol.
package xcloud

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// Total is the room of the played account, in bytes.
const Total = 5 << 30

// Cloud is a played account over a local folder: what lies in the folder is in the drive. The fields are set before it
// is used; what changes while it is used goes through methods.
type Cloud struct {
	Root  string        // the folder
	Delay time.Duration // of each download, before its first byte
	// DeleteDelay is how long a call that deletes takes. Calls go one after the other, with up to DeleteGroup files each:
	// what comes meanwhile goes with the next one.
	DeleteDelay time.Duration

	// PurgeFails says, for an ID, with what its purge fails; nil for an ID that can be purged.
	PurgeFails func(id string) error
	// OnPurge and OnStorage are called at the start of these calls.
	OnPurge   func(ctx context.Context)
	OnStorage func(ctx context.Context) error
	// OnCall is called at the start of each call that needs a sign-in, with its name; nil allows it.
	OnCall func(op string) error

	lane  chan struct{} // held by the one that deletes
	mu    sync.Mutex
	queue []*deletion        // of those who wait for the lane
	trash map[string]trashed // by ID
	calls map[string]int
	busy  int // downloads open
	most  int // of them at once, so far
}

type trashed struct {
	transfer.Trashed
	content []byte
}

// DeleteGroup is how many files one call deletes at most.
const DeleteGroup = 50

// deletion is a file that waits for its turn in the lane.
type deletion struct {
	t    transfer.Target
	done chan error
}

// New plays an account over a folder.
func New(root string) *Cloud {
	return &Cloud{Root: root, lane: make(chan struct{}, 1), trash: map[string]trashed{}, calls: map[string]int{}}
}

// Open opens the pair of a job whose source is the account's folder or one below it, as jobs.Config.Open does. Other
// sources and the destination are opened as they are.
func (c *Cloud) Open(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error) {
	op := transfer.Opener{Backends: map[string]transfer.Backend{"local": func(ctx context.Context, remote string) (fs.Fs, error) {
		f, err := fs.NewFs(ctx, remote)
		if err != nil || remote != c.Root {
			return f, err
		}
		if err := c.call("open"); err != nil {
			return nil, err
		}
		return newDrive(c, f), nil
	}}}
	return op.Open(ctx, source, dest, opt)
}

// call counts a call and lets OnCall refuse it.
func (c *Cloud) call(op string) error {
	c.mu.Lock()
	c.calls[op]++
	c.mu.Unlock()
	if c.OnCall == nil {
		return nil
	}
	return c.OnCall(op)
}

// Calls tells how often an operation was called: open, list, find, download, delete, trash, purge, storage.
func (c *Cloud) Calls(op string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[op]
}

// MostAtOnce is the largest number of downloads that were open at one time.
func (c *Cloud) MostAtOnce() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

// InTrash is how many items the trash holds.
func (c *Cloud) InTrash() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.trash)
}

// Throw puts an item into the trash that no job put there.
func (c *Cloud) Throw(id string, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trash[id] = trashed{transfer.Trashed{ID: id, ETag: "t", Path: id, Size: int64(len(content))}, content}
}

// Lose takes an item out of the trash, as the account's owner may.
func (c *Cloud) Lose(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.trash, id)
}

// ID is the identifier of the file at a path.
func ID(path string) string { return "FILE::played::" + path }

// drive is the account as a source.
type drive struct {
	fs.Fs
	c        *Cloud
	features *fs.Features
}

func newDrive(c *Cloud, f fs.Fs) *drive {
	features := *f.Features()
	features.Purge, features.Copy, features.Move, features.DirMove, features.ListR, features.ListP = nil, nil, nil, nil, nil, nil
	features.PutStream, features.OpenWriterAt, features.OpenChunkWriter, features.PartialUploads = nil, nil, nil, false
	return &drive{Fs: f, c: c, features: &features}
}

// Features implements fs.Info.
func (d *drive) Features() *fs.Features { return d.features }

// List implements fs.Fs.
func (d *drive) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	if err := d.c.call("list"); err != nil {
		return nil, err
	}
	entries, err := d.Fs.List(ctx, dir)
	for i, e := range entries {
		if o, ok := e.(fs.Object); ok {
			entries[i] = &file{o, d}
		}
	}
	return entries, err
}

// NewObject implements fs.Fs.
func (d *drive) NewObject(ctx context.Context, path string) (fs.Object, error) {
	if err := d.c.call("find"); err != nil {
		return nil, err
	}
	o, err := d.Fs.NewObject(ctx, path)
	if err != nil {
		return nil, err
	}
	return &file{o, d}, nil
}

// Delete implements transfer.Deleter.
func (d *drive) Delete(ctx context.Context, targets []transfer.Target) []error {
	errs := make([]error, len(targets))
	mine := make([]*deletion, len(targets))
	d.c.mu.Lock()
	for i, t := range targets {
		mine[i] = &deletion{t, make(chan error, 1)}
	}
	d.c.queue = append(d.c.queue, mine...)
	d.c.mu.Unlock()
	for i, m := range mine {
		for waits := true; waits; {
			select {
			case errs[i] = <-m.done:
				waits = false
			case d.c.lane <- struct{}{}:
				d.deleteGroup(context.WithoutCancel(ctx))
				<-d.c.lane
			}
		}
	}
	return errs
}

// deleteGroup is one call; the caller holds the lane.
func (d *drive) deleteGroup(ctx context.Context) {
	d.c.mu.Lock()
	n := min(len(d.c.queue), DeleteGroup)
	group := d.c.queue[:n:n]
	d.c.queue = d.c.queue[n:]
	d.c.mu.Unlock()
	if n == 0 {
		return
	}
	if d.c.DeleteDelay > 0 {
		<-time.After(d.c.DeleteDelay)
	}
	for _, m := range group {
		m.done <- d.deleteOne(ctx, m.t)
	}
}

func (d *drive) deleteOne(ctx context.Context, t transfer.Target) error {
	if t.Held != nil {
		if err := t.Held(); err != nil {
			return err
		}
	}
	if err := d.c.call("delete"); err != nil {
		return err
	}
	o, err := d.Fs.NewObject(ctx, t.Path)
	if err != nil {
		return err
	}
	f := &file{o, d}
	if f.ETag() != t.ETag || f.ID() != t.ID {
		return transfer.ErrChanged
	}
	content, err := os.ReadFile(filepath.Join(d.c.Root, t.Path))
	if err != nil {
		return err
	}
	if err := o.Remove(ctx); err != nil {
		return err
	}
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	d.c.trash[t.ID] = trashed{transfer.Trashed{ID: t.ID, ETag: "t-" + t.ETag, Path: t.Path, Size: t.Size}, content}
	return nil
}

// ListTrash implements transfer.Trash.
func (d *drive) ListTrash(_ context.Context, yield func(transfer.Trashed) error) error {
	if err := d.c.call("trash"); err != nil {
		return err
	}
	d.c.mu.Lock()
	items := make([]transfer.Trashed, 0, len(d.c.trash))
	for _, t := range d.c.trash {
		items = append(items, t.Trashed)
	}
	d.c.mu.Unlock()
	for _, item := range items {
		if err := yield(item); err != nil {
			return err
		}
	}
	return nil
}

// Purge implements transfer.Trash.
func (d *drive) Purge(ctx context.Context, items []transfer.Trashed) []error {
	errs := make([]error, len(items))
	if d.c.OnPurge != nil {
		d.c.OnPurge(ctx)
	}
	err := d.c.call("purge")
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	for i, item := range items {
		_, there := d.c.trash[item.ID]
		switch {
		case err != nil:
			errs[i] = err
		case !there:
			errs[i] = fs.ErrorObjectNotFound
		case d.c.PurgeFails != nil && d.c.PurgeFails(item.ID) != nil:
			errs[i] = d.c.PurgeFails(item.ID)
		default:
			delete(d.c.trash, item.ID)
		}
	}
	return errs
}

// PutBack implements transfer.Trash.
func (d *drive) PutBack(_ context.Context, items []transfer.Trashed) []error {
	errs := make([]error, len(items))
	for i := range errs {
		errs[i] = fs.ErrorNotImplemented
	}
	return errs
}

// Storage implements transfer.StorageTeller: the trash counts until it is purged.
func (d *drive) Storage(ctx context.Context) (transfer.Storage, error) {
	if d.c.OnStorage != nil {
		if err := d.c.OnStorage(ctx); err != nil {
			return transfer.Storage{}, err
		}
	}
	if err := d.c.call("storage"); err != nil {
		return transfer.Storage{}, err
	}
	s := transfer.Storage{Total: Total}
	err := filepath.WalkDir(d.c.Root, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // deleted while it was walked
		}
		if info, err := e.Info(); err == nil {
			s.Used += info.Size()
		}
		return nil
	})
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	for _, t := range d.c.trash {
		s.Used += int64(len(t.content))
	}
	s.ByKind = map[string]int64{"docs": s.Used}
	return s, err
}

// file is a file of the drive.
type file struct {
	fs.Object
	d *drive
}

// Fs implements fs.DirEntry.
func (f *file) Fs() fs.Info { return f.d }

// ID implements fs.IDer.
func (f *file) ID() string { return ID(f.Remote()) }

// ETag implements transfer.ETagger.
func (f *file) ETag() string {
	return fmt.Sprintf("%d-%d", f.Size(), f.ModTime(context.Background()).UnixNano())
}

// Open implements fs.Object.
func (f *file) Open(ctx context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	if err := f.d.c.call("download"); err != nil {
		return nil, err
	}
	c := f.d.c
	c.mu.Lock()
	c.busy++
	c.most = max(c.most, c.busy)
	c.mu.Unlock()
	leave := sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy--
	})
	if c.Delay > 0 {
		if err := transfer.Sleep(ctx, c.Delay); err != nil {
			leave()
			return nil, err
		}
	}
	in, err := f.Object.Open(ctx, options...)
	if err != nil {
		leave()
		return nil, err
	}
	return &download{in, leave}, nil
}

type download struct {
	io.ReadCloser
	leave func()
}

func (d *download) Close() error {
	d.leave()
	return d.ReadCloser.Close()
}
