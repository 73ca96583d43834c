package transfer_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	_ "github.com/rclone/rclone/backend/chunker"
	_ "github.com/rclone/rclone/backend/combine"
	_ "github.com/rclone/rclone/backend/compress"
	_ "github.com/rclone/rclone/backend/hasher"
	_ "github.com/rclone/rclone/backend/http"
	"github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/union"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/hash"
	"github.com/rclone/rclone/lib/kv"

	"offload/transfer"
	"offload/transfer/xtest"
)

// openJoined opens a remote that is made of others.
func openJoined(t *testing.T, remote string) fs.Fs {
	t.Helper()
	f, err := fs.NewFs(context.Background(), remote)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A union that the source is one part of shows the source's own file; where its other part takes what is written, no probe
// tells.
func TestSourceInAUnionIsKept(t *testing.T) {
	for _, policy := range []string{"", ",create_policy=ff", ",create_policy=mfs", ",create_policy=rand"} {
		src, spare := newRemote(t, "local"), newRemote(t, "local")
		put(t, src, "f.txt", "the only copy", day)
		dst := openJoined(t, ":union"+policy+",upstreams=':local:"+spare.Root()+" :local:"+src.Root()+"':")
		w := newWorld(t, src, dst, verified, xtest.NewScript(), "f.txt")
		w.mustRun()
		if o := w.outcome("f.txt"); o.Code != transfer.CodeSamePlace || readAll(t, src)["f.txt"] == "" {
			t.Errorf("%q: %+v, source %v", policy, o, readAll(t, src))
		}
	}
}

// rclone deletes a file of a union on each of its remotes, also where it is another one.
func TestUnionIsNoSourceToDeleteFrom(t *testing.T) {
	a, b, dst := newRemote(t, "local"), newRemote(t, "local"), newRemote(t, "memory")
	put(t, a, "f.txt", "that of a", day)
	put(t, b, "f.txt", "that of b, another one", day)
	src := openJoined(t, ":union,upstreams=':local:"+a.Root()+" :local:"+b.Root()+"':")
	w := newWorld(t, src, dst, verified, xtest.NewScript(), "f.txt")
	w.mustRun()
	if o := w.outcome("f.txt"); o.Code != transfer.CodeReadOnly || len(readAll(t, a)) != 1 || len(readAll(t, b)) != 1 {
		t.Errorf("%+v, a %v, b %v", o, readAll(t, a), readAll(t, b))
	}
}

// What mustn't be deleted from alone mustn't be as a part of something else.
func TestCheckLooksIntoJoinedRemotes(t *testing.T) {
	t.Setenv("RCLONE_CONFIG_SOWEB_TYPE", "http")
	t.Setenv("RCLONE_CONFIG_SOWEB_URL", "http://127.0.0.1:1/")
	for _, remote := range []string{"soweb:", ":combine,upstreams='a=soweb:':a", ":union,upstreams='soweb: soweb::ro':"} {
		p := transfer.NewPair(openJoined(t, remote), newRemote(t, "memory"), verified).NoWaiting(nil)
		wantCheck(t, p, "delete-source")
	}
}

func wantCheck(t *testing.T, p *transfer.Pair, field string) {
	t.Helper()
	err, ok := p.Check(context.Background()).(*transfer.CheckError)
	if !ok || err.Field != field {
		t.Errorf("%v: check says %v", p.Source, err)
	}
}

// A layer that writes down what it was sent says nothing of what is stored.
func TestRecitedHashIsNoProof(t *testing.T) {
	if err := config.SetCacheDir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Exit) // of hasher's
	for _, layer := range []string{"", ":hasher,hashes=md5,remote=", ":chunker,chunk_size=4,hash_type=md5all,remote=", ":compress,remote="} {
		src, remote := newRemote(t, "memory"), ":damaging:"+t.TempDir()
		put(t, src, "f.txt", "one word and another", day)
		if layer != "" {
			remote = layer + "'" + remote + "':"
		}
		w := newWorld(t, src, openJoined(t, remote), verified, xtest.NewScript(), "f.txt")
		w.pair.Source.(*xtest.FaultFs).NoHashes = true
		w.mustRun()
		if o := w.outcome("f.txt"); o.Code != transfer.CodeCorrupt || len(readAll(t, src)) != 1 {
			t.Errorf("%q: %+v, source %v", layer, o, readAll(t, src))
		}
	}
}

// The destination's file is replaced while the source is read to be compared with it.
func TestCopyReplacedWhileComparedIsNoProof(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	put(t, src, "f.txt", "content", day)
	put(t, dst, "f.txt", "content", day)
	script := xtest.NewScript(xtest.Fault{Op: "src.Read", N: 1, Do: func(p string) { put(t, dst, p, "CONTENT", day.AddDate(0, 0, 1)) }})
	w := newWorld(t, src, dst, verified, script, "f.txt")
	w.pair.Source.(*xtest.FaultFs).NoHashes = true
	w.mustRun()
	o, there := w.outcome("f.txt"), readAll(t, dst)
	if o.Result != transfer.Copied || there[o.Dest] != "content" || there["f.txt"] != "CONTENT" {
		t.Errorf("%+v, destination %v", o, there)
	}
}

// A source that calls a file gone is believed only where it doesn't list it.
func TestGoneIsLookedFor(t *testing.T) {
	for name, meddle := range map[string]func(d *drive) transfer.Outcome{
		"there": func(*drive) transfer.Outcome { return transfer.Outcome{Source: transfer.Deleted} },
		"changed": func(d *drive) transfer.Outcome {
			d.change(t, "f.txt", "changed")
			return transfer.Outcome{Source: transfer.Kept, Code: transfer.CodeChangedLater}
		},
	} {
		w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
		var want transfer.Outcome
		d.onDelete = func(transfer.Target) (bool, error) {
			d.onDelete = nil
			want = meddle(d)
			return true, fs.ErrorObjectNotFound
		}
		w.mustRun()
		o, left := w.outcome("f.txt"), readAll(t, d.Fs)
		if o.Source != want.Source || o.Code != want.Code || (o.Source == transfer.Deleted) != (len(left) == 0) {
			t.Errorf("%s: %+v, left %v", name, o, left)
		}
	}
}

// damagingDisk registers the backend of damagingFs, for TestMain.
func damagingDisk() {
	fs.Register(&fs.RegInfo{Name: "damaging", Description: "stores a wrong bit, and has no hashes", NewFs: newDamaging})
}

// damagingFs is a disk that stores a wrong bit of each file with a w in it, and has no hashes.
type damagingFs struct {
	fs.Fs
	features *fs.Features
}

func newDamaging(ctx context.Context, name, root string, m configmap.Mapper) (fs.Fs, error) {
	in, err := local.NewFs(ctx, name, root, m)
	if err != nil {
		return nil, err
	}
	f := &damagingFs{Fs: in}
	f.features = (&fs.Features{CanHaveEmptyDirectories: true}).Fill(ctx, f)
	return f, nil
}

func (f *damagingFs) Features() *fs.Features { return f.features }

func (f *damagingFs) Hashes() hash.Set { return hash.NewHashSet() }

func (f *damagingFs) wrap(o fs.Object, err error) (fs.Object, error) {
	if err != nil {
		return nil, err
	}
	return damagingObject{o, f}, nil
}

func (f *damagingFs) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	return f.wrap(f.Fs.NewObject(ctx, remote))
}

func (f *damagingFs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	entries, err := f.Fs.List(ctx, dir)
	for i, e := range entries {
		if o, ok := e.(fs.Object); ok {
			entries[i] = damagingObject{o, f}
		}
	}
	return entries, err
}

func (f *damagingFs) Move(ctx context.Context, o fs.Object, remote string) (fs.Object, error) {
	return f.wrap(f.Fs.Features().Move(ctx, o.(damagingObject).Object, remote))
}

func (f *damagingFs) Put(ctx context.Context, in io.Reader, info fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
	data, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	if i := bytes.IndexByte(data, 'w'); i >= 0 {
		data[i] ^= 1
	}
	return f.wrap(f.Fs.Put(ctx, bytes.NewReader(data), info, opts...))
}

type damagingObject struct {
	fs.Object
	f *damagingFs
}

func (o damagingObject) Fs() fs.Info { return o.f }

func (o damagingObject) Hash(context.Context, hash.Type) (string, error) {
	return "", hash.ErrUnsupported
}
