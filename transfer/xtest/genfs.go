package xtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// GenFs is a read-only remote that holds nothing: its folders and files are made up while they are listed, so that a
// tree of any size costs no memory. Folders are named "d0", "d1"... and files "f0.bin", "f1.bin"..., in every folder.
type GenFs struct {
	name     string
	tree     func(dir string) (dirs, files int)
	features *fs.Features
}

// NewGenFs returns a remote of the given name. tree tells how many folders and files a folder holds ("" is the root);
// it is called from several goroutines.
func NewGenFs(name string, tree func(dir string) (dirs, files int)) *GenFs {
	f := &GenFs{name: name, tree: tree}
	f.features = (&fs.Features{CanHaveEmptyDirectories: true}).Fill(context.Background(), f)
	return f
}

// Name is the name given to NewGenFs.
func (f *GenFs) Name() string { return f.name }

// Root is "".
func (f *GenFs) Root() string { return "" }

// String describes the remote.
func (f *GenFs) String() string { return "generated remote " + f.name }

// Precision is one second.
func (f *GenFs) Precision() time.Duration { return time.Second }

// Hashes is none.
func (f *GenFs) Hashes() hash.Set { return hash.NewHashSet() }

// Features are those of a plain read-only remote.
func (f *GenFs) Features() *fs.Features { return f.features }

// List makes up the entries of a folder.
func (f *GenFs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	dirs, files := f.tree(dir)
	entries := make(fs.DirEntries, 0, dirs+files)
	for i := range dirs {
		entries = append(entries, fs.NewDir(path.Join(dir, "d"+strconv.Itoa(i)), genTime(i)))
	}
	for i := range files {
		entries = append(entries, &genObject{f, path.Join(dir, "f"+strconv.Itoa(i)+".bin"), i})
	}
	return entries, nil
}

// NewObject finds a file by the number in its name.
func (f *GenFs) NewObject(_ context.Context, remote string) (fs.Object, error) {
	dir := path.Dir(remote)
	if dir == "." {
		dir = ""
	}
	_, files := f.tree(dir)
	var n int
	_, err := fmt.Sscanf(path.Base(remote), "f%d.bin", &n)
	if err != nil || n < 0 || n >= files || path.Base(remote) != "f"+strconv.Itoa(n)+".bin" {
		return nil, fs.ErrorObjectNotFound
	}
	return &genObject{f, remote, n}, nil
}

// Put refuses: the remote is read-only.
func (f *GenFs) Put(context.Context, io.Reader, fs.ObjectInfo, ...fs.OpenOption) (fs.Object, error) {
	return nil, fs.ErrorPermissionDenied
}

// Mkdir refuses: the remote is read-only.
func (f *GenFs) Mkdir(context.Context, string) error { return fs.ErrorPermissionDenied }

// Rmdir refuses: the remote is read-only.
func (f *GenFs) Rmdir(context.Context, string) error { return fs.ErrorPermissionDenied }

// genObject is file n of its folder; its size and time follow from n.
type genObject struct {
	fs     *GenFs
	remote string
	n      int
}

func genTime(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0) }

func (o *genObject) Fs() fs.Info                                     { return o.fs }
func (o *genObject) String() string                                  { return o.remote }
func (o *genObject) Remote() string                                  { return o.remote }
func (o *genObject) ModTime(context.Context) time.Time               { return genTime(o.n) }
func (o *genObject) Size() int64                                     { return int64(1 + o.n%4096) }
func (o *genObject) Hash(context.Context, hash.Type) (string, error) { return "", hash.ErrUnsupported }
func (o *genObject) Storable() bool                                  { return true }
func (o *genObject) SetModTime(context.Context, time.Time) error     { return fs.ErrorCantSetModTime }
func (o *genObject) Remove(context.Context) error                    { return fs.ErrorPermissionDenied }
func (o *genObject) Update(context.Context, io.Reader, fs.ObjectInfo, ...fs.OpenOption) error {
	return fs.ErrorPermissionDenied
}

// Open returns the file's number, over and over.
func (o *genObject) Open(_ context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	size := o.Size()
	content := bytes.Repeat([]byte(strconv.Itoa(o.n)+" "), int(size))[:size]
	from, limit := int64(0), size
	for _, option := range options {
		switch x := option.(type) {
		case *fs.SeekOption:
			from = x.Offset
		case *fs.RangeOption:
			from, limit = x.Decode(size)
		}
	}
	from = min(max(from, 0), size)
	if limit < 0 || from+limit > size {
		limit = size - from
	}
	return io.NopCloser(bytes.NewReader(content[from : from+limit])), nil
}
