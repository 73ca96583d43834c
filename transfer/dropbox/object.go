package dropbox

import (
	"context"
	"io"
	"time"

	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/files"
	rdropbox "github.com/rclone/rclone/backend/dropbox"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"

	"offload/transfer"
)

// meta is what a commit answered of a file.
type meta struct {
	remote, id, sum string
	size            int64 // bytes
	mtime           time.Time
}

func metaOf(remote string, m *files.FileMetadata) *meta {
	return &meta{remote: remote, id: m.Id, sum: m.ContentHash, size: int64(m.Size), mtime: time.Time(m.ClientModified)}
}

// Object is a file at Dropbox: one of rclone's backend, or one that was just uploaded, of which the commit told all.
type Object struct {
	fs     *Fs
	native fs.Object // nil after an upload
	meta   *meta     // nil for one of rclone's
}

// resolve is the file as rclone's backend knows it.
func (o *Object) resolve(ctx context.Context) (fs.Object, error) {
	if o.meta == nil {
		return o.native, nil
	}
	return o.fs.nativeObject(ctx, o.meta.remote)
}

// Fs implements fs.ObjectInfo.
func (o *Object) Fs() fs.Info { return o.fs }

// String implements fs.DirEntry.
func (o *Object) String() string { return o.Remote() }

// Remote implements fs.DirEntry.
func (o *Object) Remote() string {
	if o.meta != nil {
		return o.meta.remote
	}
	return o.native.Remote()
}

// Size implements fs.DirEntry.
func (o *Object) Size() int64 {
	if o.meta != nil {
		return o.meta.size
	}
	return o.native.Size()
}

// ModTime implements fs.DirEntry.
func (o *Object) ModTime(ctx context.Context) time.Time {
	if o.meta != nil {
		return o.meta.mtime
	}
	return o.native.ModTime(ctx)
}

// ID implements fs.IDer.
func (o *Object) ID() string {
	if o.meta != nil {
		return o.meta.id
	}
	if with, ok := o.native.(fs.IDer); ok {
		return with.ID()
	}
	return ""
}

// Hash implements fs.ObjectInfo.
func (o *Object) Hash(ctx context.Context, t hash.Type) (string, error) {
	if o.meta == nil {
		return o.native.Hash(ctx, t)
	}
	if t != rdropbox.DbHashType {
		return "", hash.ErrUnsupported
	}
	return o.meta.sum, nil
}

// Storable implements fs.ObjectInfo.
func (o *Object) Storable() bool { return o.meta != nil || o.native.Storable() }

// SetModTime implements fs.Object: Dropbox can't, and rclone's backend says so.
func (o *Object) SetModTime(context.Context, time.Time) error {
	return fs.ErrorCantSetModTimeWithoutDelete
}

// Open implements fs.Object.
func (o *Object) Open(ctx context.Context, options ...fs.OpenOption) (in io.ReadCloser, err error) {
	err = o.try(ctx, func(n fs.Object) (err error) {
		in, err = n.Open(ctx, options...)
		return err
	})
	return in, err
}

// Remove implements fs.Object.
func (o *Object) Remove(ctx context.Context) error {
	return o.try(ctx, func(n fs.Object) error { return n.Remove(ctx) })
}

// try does something with rclone's object, a second time with another one where the access token was refused.
func (o *Object) try(ctx context.Context, do func(fs.Object) error) error {
	with := o.fs.native.Load()
	n, err := o.resolve(ctx)
	if err != nil {
		return err
	}
	if err = do(n); !tokenRefused(err) {
		return err
	}
	if err := o.fs.reopen(ctx, with); err != nil {
		return err
	}
	if n, err = o.fs.nativeObject(ctx, o.Remote()); err != nil {
		return err
	}
	return do(n)
}

// Update uploads another content over the file.
func (o *Object) Update(ctx context.Context, in io.Reader, src fs.ObjectInfo, _ ...fs.OpenOption) error {
	m, err := o.fs.upload(ctx, in, src, o.Remote(), files.WriteModeOverwrite, nil)
	if err != nil {
		return err
	}
	o.meta = metaOf(o.Remote(), m)
	o.native = nil
	return nil
}

var (
	_ fs.Fs          = (*Fs)(nil)
	_ transfer.Paced = (*Fs)(nil)
	_ fs.Shutdowner  = (*Fs)(nil)
	_ fs.Object      = (*Object)(nil)
	_ fs.IDer        = (*Object)(nil)
)
