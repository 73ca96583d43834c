package dropbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/files"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
	"github.com/rclone/rclone/lib/encoder"

	"offload/transfer"
)

// errBroken says that a listing must be begun anew.
var errBroken = errors.New("the listing broke off when the access token was renewed")

// native is an open Fs of rclone's backend.
type native struct {
	fs.Fs
	cancel context.CancelCauseFunc // ends its context, which its token source keeps using
}

// openNative opens rclone's backend. It isn't tied to ctx once it is open.
func openNative(ctx context.Context, remote string) (*native, error) {
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	f, err := fs.NewFs(own, remote)
	if f == nil || !stop() {
		cancel(nil)
		if err == nil {
			err = context.Cause(ctx)
		}
		if f != nil {
			_ = (&native{f, cancel}).close(ctx)
		}
		return nil, err
	}
	return &native{f, cancel}, err
}

func (n *native) close(ctx context.Context) error {
	defer n.cancel(nil)
	if shutdown := n.Features().Shutdown; shutdown != nil {
		return shutdown(context.WithoutCancel(ctx))
	}
	return nil
}

// Fs is a Dropbox remote whose uploads go our way; all else is rclone's.
type Fs struct {
	native   atomic.Pointer[native]
	login    *login
	enc      encoder.MultiEncoder
	chunk    int64  // bytes
	partFrom int64  // size in bytes from which on an upload is gone on with
	mark     string // of its calls (transfer.CallMark)
	features *fs.Features
	leave    func()      // gives the login back, once
	sends    atomic.Bool // something was uploaded

	reopening sync.Mutex
}

// makeFeatures are rclone's, without streaming: the engine spools what has no known length.
func (f *Fs) makeFeatures() *fs.Features {
	feat := *f.native.Load().Features()
	feat.PutStream, feat.PutUnchecked, feat.OpenChunkWriter, feat.OpenWriterAt = nil, nil, nil, nil
	feat.Shutdown = f.Shutdown
	if feat.About != nil {
		feat.About = f.About
	}
	if feat.ListP != nil {
		feat.ListP = f.ListP
	}
	if feat.Move != nil {
		feat.Move = f.Move
	}
	if feat.Copy != nil {
		feat.Copy = f.Copy
	}
	if feat.DirMove != nil {
		feat.DirMove = f.DirMove
	}
	if feat.Purge != nil {
		feat.Purge = f.Purge
	}
	return &feat
}

// try does something by rclone's backend, outside of rests. Where its access token is refused before its time, which rclone doesn't
// handle, the token is renewed and the backend opened anew.
func (f *Fs) try(ctx context.Context, do func(n fs.Fs) error) error {
	if err := f.login.obeyRest(ctx); err != nil {
		return err
	}
	n := f.native.Load()
	err := do(n.Fs)
	if !tokenRefused(err) {
		return err
	}
	if err := f.reopen(ctx, n); err != nil {
		return err
	}
	return do(f.native.Load().Fs)
}

// look is try for one call that changes nothing, in a place of the pace, so that looks and uploads together stay below what
// the service takes. rclone's backend repeats a throttled call by itself: what it was told isn't known here. What do
// calls must not need a place itself.
func (f *Fs) look(ctx context.Context, do func(n fs.Fs) error) error {
	return f.try(ctx, func(n fs.Fs) error {
		round, err := f.login.pace.acquire(ctx)
		if err != nil {
			return err
		}
		defer f.login.pace.release(round, endedElse)
		return do(n)
	})
}

func (f *Fs) reopen(ctx context.Context, old *native) error {
	f.reopening.Lock()
	defer f.reopening.Unlock()
	if f.native.Load() != old {
		return nil
	}
	if err := f.login.check(ctx); err != nil {
		return fmt.Errorf("renew the sign-in: %w", err)
	}
	n, err := openNative(transfer.WithCallMark(ctx, f.mark), fs.ConfigStringFull(old.Fs))
	if err != nil {
		return err
	}
	f.native.Store(n)
	_ = old.close(ctx) // it has nothing under way that could fail: its batcher isn't used
	return nil
}

// PacesItself implements transfer.Paced.
func (f *Fs) PacesItself() {}

// Name implements fs.Info.
func (f *Fs) Name() string { return f.native.Load().Name() }

// Root implements fs.Info.
func (f *Fs) Root() string { return f.native.Load().Root() }

// String implements fs.Info.
func (f *Fs) String() string { return f.native.Load().String() }

// Precision implements fs.Info.
func (f *Fs) Precision() time.Duration { return f.native.Load().Precision() }

// Hashes implements fs.Info.
func (f *Fs) Hashes() hash.Set { return f.native.Load().Hashes() }

// Features implements fs.Info.
func (f *Fs) Features() *fs.Features { return f.features }

// List implements fs.Fs.
func (f *Fs) List(ctx context.Context, dir string) (entries fs.DirEntries, err error) {
	err = f.look(ctx, func(n fs.Fs) (err error) {
		entries, err = n.List(ctx, dir)
		return err
	})
	return f.wrap(entries), err
}

// ListP implements fs.ListPer.
func (f *Fs) ListP(ctx context.Context, dir string, callback fs.ListRCallback) error {
	given := false // what was handed out can't be taken back
	return f.look(ctx, func(n fs.Fs) error {
		if given {
			return errBroken
		}
		return n.Features().ListP(ctx, dir, func(entries fs.DirEntries) error {
			given = true
			return callback(f.wrap(entries))
		})
	})
}

// wrap makes the files of a listing ours.
func (f *Fs) wrap(entries fs.DirEntries) fs.DirEntries {
	for i, e := range entries {
		if o, ok := e.(fs.Object); ok {
			entries[i] = &Object{fs: f, native: o}
		}
	}
	return entries
}

// NewObject implements fs.Fs. A destination is asked by calls of our own: rclone's backend lets all of a process wait 10 ms
// between two calls, and hides from the pace what it was told. What is read from is asked by rclone, which must open it.
func (f *Fs) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	if f.sends.Load() {
		if m, err := f.ask(ctx, remote); !errors.Is(err, errNotOurs) {
			if err != nil {
				return nil, err
			}
			return &Object{fs: f, meta: metaOf(remote, m)}, nil
		}
	}
	o, err := f.nativeObject(ctx, remote)
	if err != nil {
		return nil, err
	}
	return &Object{fs: f, native: o}, nil
}

// errNotOurs says that only rclone's backend knows what to make of a file.
var errNotOurs = errors.New("left to rclone")

// ask looks at a file as rclone's backend does. Documents that have to be exported, and names that may stand for one, are its own.
func (f *Fs) ask(ctx context.Context, remote string) (*files.FileMetadata, error) {
	found, err := f.login.lookAt(ctx, f.enc.FromStandardPath(f.full(remote)))
	if err != nil {
		return nil, err
	}
	switch m := found.(type) {
	case nil:
		if ext := path.Ext(remote); ext == ".html" || ext == ".md" {
			return nil, errNotOurs
		}
		return nil, fs.ErrorObjectNotFound
	case *files.FolderMetadata:
		return nil, fs.ErrorIsDir
	case *files.FileMetadata:
		if m.IsDownloadable {
			return m, nil
		}
	}
	return nil, errNotOurs
}

// full is the path of a file from the account's root.
func (f *Fs) full(remote string) string {
	if root := f.Root(); root != "" {
		return "/" + root + "/" + remote
	}
	return "/" + remote
}

func (f *Fs) nativeObject(ctx context.Context, remote string) (o fs.Object, err error) {
	err = f.look(ctx, func(n fs.Fs) (err error) {
		o, err = n.NewObject(ctx, remote)
		return err
	})
	return o, err
}

// Put uploads a file of known length under a name that is free: one that was taken is never overwritten.
func (f *Fs) Put(ctx context.Context, in io.Reader, src fs.ObjectInfo, _ ...fs.OpenOption) (fs.Object, error) {
	meta, err := f.upload(ctx, in, src, src.Remote(), files.WriteModeAdd, nil)
	if err != nil {
		return nil, err
	}
	return &Object{fs: f, meta: metaOf(src.Remote(), meta)}, nil
}

// Mkdir implements fs.Fs.
func (f *Fs) Mkdir(ctx context.Context, dir string) error {
	return f.try(ctx, func(n fs.Fs) error { return n.Mkdir(ctx, dir) })
}

// Rmdir implements fs.Fs.
func (f *Fs) Rmdir(ctx context.Context, dir string) error {
	return f.try(ctx, func(n fs.Fs) error { return n.Rmdir(ctx, dir) })
}

// Purge implements fs.Purger.
func (f *Fs) Purge(ctx context.Context, dir string) error {
	return f.try(ctx, func(n fs.Fs) error { return n.Features().Purge(ctx, dir) })
}

// About implements fs.Abouter.
func (f *Fs) About(ctx context.Context) (usage *fs.Usage, err error) {
	err = f.look(ctx, func(n fs.Fs) (err error) {
		usage, err = n.Features().About(ctx)
		return err
	})
	return usage, err
}

// Move implements fs.Mover.
func (f *Fs) Move(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
	return f.relocate(ctx, src, func(n fs.Fs, o fs.Object) (fs.Object, error) { return n.Features().Move(ctx, o, remote) },
		fs.ErrorCantMove)
}

// Copy implements fs.Copier.
func (f *Fs) Copy(ctx context.Context, src fs.Object, remote string) (fs.Object, error) {
	return f.relocate(ctx, src, func(n fs.Fs, o fs.Object) (fs.Object, error) { return n.Features().Copy(ctx, o, remote) },
		fs.ErrorCantCopy)
}

func (f *Fs) relocate(ctx context.Context, src fs.Object, do func(fs.Fs, fs.Object) (fs.Object, error), cant error) (fs.Object, error) {
	ours, ok := src.(*Object)
	if !ok {
		return nil, cant
	}
	var moved fs.Object
	err := f.try(ctx, func(n fs.Fs) error {
		o, err := ours.resolve(ctx)
		if err != nil {
			return err
		}
		moved, err = do(n, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Object{fs: f, native: moved}, nil
}

// DirMove implements fs.DirMover.
func (f *Fs) DirMove(ctx context.Context, src fs.Fs, srcRemote, dstRemote string) error {
	ours, ok := src.(*Fs)
	if !ok {
		return fs.ErrorCantDirMove
	}
	return f.try(ctx, func(n fs.Fs) error {
		return n.Features().DirMove(ctx, ours.native.Load().Fs, srcRemote, dstRemote)
	})
}

// Shutdown implements fs.Shutdowner. Uploads that wait for their commit fail with the last Fs of a sign-in.
func (f *Fs) Shutdown(ctx context.Context) error {
	err := f.native.Load().close(ctx)
	f.leave()
	return err
}
