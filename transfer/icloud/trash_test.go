package icloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
	"github.com/rclone/rclone/fs/object"
	"golang.org/x/text/unicode/norm"

	"offload/transfer"
)

// fillTrash trashes n files of a folder and returns their IDs.
func fillTrash(d *drive, n int) (ids []string) {
	dir := d.folder(rootID, norm.NFD.String("Büro"))
	for i := range n {
		id := d.file(dir, fmt.Sprint("f", i), "x")
		d.edit(id, func(it *driveItem) { it.trashed, it.was, it.ParentID = true, dir, "TRASH_ROOT" })
		ids = append(ids, id)
	}
	return ids
}

// trashOf lists the trash as a caller does before it purges.
func trashOf(t testing.TB, f *Fs) map[string]transfer.Trashed {
	t.Helper()
	found := map[string]transfer.Trashed{}
	if err := f.ListTrash(t.Context(), func(it transfer.Trashed) error { found[it.ID] = it; return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTrashIsListedBelowTheRoot(t *testing.T) {
	d := newDrive()
	ids := fillTrash(d, 2)
	for _, c := range []struct{ root, want string }{
		{"", norm.NFD.String("Büro/f0")}, {"Büro", "f0"}, {"BÜRO", "f0"}, {"other", ""}, {"Büro/f0", ""},
	} {
		got := trashOf(t, on(d, c.root, quick()))
		if it := got[ids[0]]; len(got) != 2 || it.Path != c.want || it.ETag == "" || it.Size != 1 {
			t.Errorf("below %q: %+v", c.root, it)
		}
	}
	stop := errors.New("enough")
	n := 0
	if err := on(d, "", quick()).ListTrash(t.Context(), func(transfer.Trashed) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}

func TestPurgeOnlyWhatIsGiven(t *testing.T) {
	d := newDrive()
	ids := fillTrash(d, 130)
	live := d.file(rootID, "live", "x")
	f := on(d, "", quick())
	seen := trashOf(t, f)
	items := []transfer.Trashed{{ID: live, ETag: d.items[live].ETag}, {ID: "FILE::x::unknown"}, {ID: ""}}
	for _, id := range ids[:120] {
		items = append(items, seen[id])
	}
	again := ids[5] // put back and deleted anew, with another content perhaps
	d.edit(again, func(*driveItem) {})
	shared := ids[6]
	d.set(shared, func(it *driveItem) { it.Shared = true })
	errs := f.Purge(t.Context(), items)
	for i, err := range errs {
		var want error
		switch {
		case i < 3:
			want = fs.ErrorObjectNotFound
		case items[i].ID == again:
			want = transfer.ErrChanged
		case items[i].ID == shared:
			want = errShared
		}
		if !errors.Is(err, want) {
			t.Errorf("item %d: %v, want %v", i, err, want)
		}
	}
	if left := len(d.trashedIDs()); left != 12 || !d.alive(live) {
		t.Errorf("%d left in the trash, live %v", left, d.alive(live))
	}
	if len(d.purges) != 3 {
		t.Errorf("%d calls for 118 items", len(d.purges))
	}
	for _, g := range d.purges {
		if len(g) > trashMax {
			t.Errorf("%d in one call", len(g))
		}
	}
}

func TestPurgeWithoutAListingRemovesNothing(t *testing.T) {
	d := newDrive()
	ids := fillTrash(d, 2)
	f := on(d, "", quick())
	d.refuse = func(what, _ string) error {
		if what == "listtrash" {
			return transfer.ErrSignIn
		}
		return nil
	}
	errs := f.Purge(t.Context(), []transfer.Trashed{{ID: ids[0]}, {ID: ids[1]}})
	if !errors.Is(errs[0], transfer.ErrSignIn) || !errors.Is(errs[1], transfer.ErrSignIn) || len(d.purges) != 0 {
		t.Errorf("%v, %d calls", errs, len(d.purges))
	}
}

func TestLostAnswersOfTheTrash(t *testing.T) {
	for _, c := range []struct {
		name    string
		lost    int
		carried bool
		want    error
		calls   int
	}{
		{"carried out", 1, true, nil, 1},
		{"not carried out", 1, false, nil, 2},
		{"never", 99, false, errUnsure, trashSends},
	} {
		for _, what := range []string{"purge", "putback"} {
			t.Run(what+" "+c.name, func(t *testing.T) {
				d := newDrive()
				ids := fillTrash(d, 3)
				f := on(d, "", quick())
				items := []transfer.Trashed{trashOf(t, f)[ids[0]]}
				left := c.lost
				d.before = func(got string, _ []string) {
					if got == what && left > 0 && !c.carried {
						d.set(ids[0], func(it *driveItem) { it.ETag += "!" })
					}
				}
				d.answer = func(_ string, _ []Ref, errs []error) []error {
					if left == 0 {
						return errs
					}
					left--
					if !c.carried {
						d.items[ids[0]].ETag = strings.TrimSuffix(d.items[ids[0]].ETag, "!")
					}
					return []error{fmt.Errorf("cut off: %w", errUnsure)}
				}
				call, log := f.Purge, &d.purges
				if what == "putback" {
					call, log = f.PutBack, &d.putBacks
				}
				if err := call(t.Context(), items)[0]; !errors.Is(err, c.want) || len(*log) != c.calls {
					t.Errorf("%v after %d calls", err, len(*log))
				}
			})
		}
	}
}

func TestPutBack(t *testing.T) {
	d := newDrive()
	ids := fillTrash(d, 3)
	f := on(d, "", quick())
	items := []transfer.Trashed{{ID: ids[0]}, {ID: ids[1]}, {ID: ids[0]}}
	errs := f.PutBack(t.Context(), items)
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], fs.ErrorObjectNotFound) {
		t.Error(errs)
	}
	lookFor(t, f, "Büro/f0")
	if d.alive(ids[2]) {
		t.Error("put back what nobody asked for")
	}
}

// plainFs stands for rclone's own backend, over the same drive.
type plainFs struct {
	fs.Fs
	d       *drive
	err     error
	panics  bool
	flushed int
	calls   []string
}

func (p *plainFs) Features() *fs.Features {
	return &fs.Features{DirCacheFlush: func() { p.flushed++ }}
}

func (p *plainFs) begin(what string) error {
	if p.panics {
		panic("index out of range")
	}
	p.calls = append(p.calls, what) // the race detector sees two at once
	return p.err
}

func (p *plainFs) Mkdir(_ context.Context, dir string) error {
	if err := p.begin("mkdir " + dir); err != nil {
		return err
	}
	p.d.folder(rootID, norm.NFD.String(dir))
	return nil
}

func (p *plainFs) Put(_ context.Context, in io.Reader, src fs.ObjectInfo, _ ...fs.OpenOption) (fs.Object, error) {
	if err := p.begin("put " + src.Remote()); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(in)
	p.d.file(rootID, norm.NFD.String(src.Remote()), string(b))
	return nil, err
}

func (p *plainFs) NewObject(_ context.Context, remote string) (fs.Object, error) {
	if p.d.named(norm.NFD.String(remote)) == "" {
		return nil, fs.ErrorObjectNotFound
	}
	return &plainObject{p: p, remote: remote}, nil
}

type plainObject struct {
	fs.Object
	p      *plainFs
	remote string
}

func (o *plainObject) Update(_ context.Context, in io.Reader, src fs.ObjectInfo, _ ...fs.OpenOption) error {
	if err := o.p.begin("update " + o.remote); err != nil {
		return err
	}
	b, err := io.ReadAll(in)
	o.p.d.edit(o.p.d.named(norm.NFD.String(o.remote)), func(it *driveItem) { it.content, it.Size = b, int64(len(b)) })
	return err
}

// writable is an Fs whose native backend is p.
func writable(d *drive, p *plainFs) (*Fs, *[]string) {
	f := on(d, "", trusted())
	opened := &[]string{}
	f.native.opener = func(_ context.Context, remote string) (fs.Fs, error) {
		*opened = append(*opened, remote)
		return p, nil
	}
	return f, opened
}

func info(remote, content string) fs.ObjectInfo {
	return object.NewStaticObjectInfo(remote, time.Unix(1_700_000_000, 0), int64(len(content)), true, map[hash.Type]string{}, nil)
}

func TestWritesGoThroughRclone(t *testing.T) {
	d := newDrive()
	p := &plainFs{d: d}
	f, opened := writable(d, p)
	name := norm.NFD.String("Größe.txt")
	put, err := f.Put(t.Context(), strings.NewReader("one"), info(name, "one"))
	if err != nil {
		t.Fatal(err)
	}
	o, ours := put.(*Object)
	if !ours || o.ETag() == "" || o.ID() == "" || o.Remote() != name || read(t, o) != "one" {
		t.Fatalf("put %+v", put)
	}
	etag := o.ETag()
	if err := o.Update(t.Context(), strings.NewReader("longer"), info(name, "longer")); err != nil {
		t.Fatal(err)
	}
	if o.ETag() == etag || o.Size() != 6 || read(t, o) != "longer" {
		t.Errorf("after the update: %+v", o.item)
	}
	dir := norm.NFD.String("Ärzte")
	for range 2 {
		if err := f.Mkdir(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"put Größe.txt", "update Größe.txt", "mkdir Ärzte"}; fmt.Sprint(p.calls) != fmt.Sprint(want) {
		t.Errorf("calls %q, want %q", p.calls, want)
	}
	if err := f.Rmdir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Mkdir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if p.flushed != 1 || len(*opened) != 1 {
		t.Errorf("flushed %d times after a removal, opened %d times", p.flushed, len(*opened))
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWritesAreOneAtATime(t *testing.T) {
	d := newDrive()
	p := &plainFs{d: d}
	f, opened := writable(d, p)
	errs := make(chan error)
	for i := range 20 {
		go func() {
			_, err := f.Put(t.Context(), strings.NewReader("x"), info(fmt.Sprint(i), "x"))
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if len(p.calls) != 20 || len(*opened) != 1 {
		t.Errorf("%d calls, opened %d times", len(p.calls), len(*opened))
	}
}

func TestWriteFaults(t *testing.T) {
	d := newDrive()
	p := &plainFs{d: d, panics: true}
	f, opened := writable(d, p)
	puts := 0
	put := func() error {
		puts++
		_, err := f.Put(t.Context(), strings.NewReader("x"), info(fmt.Sprint("f", puts), "x"))
		return err
	}
	if err := put(); err == nil || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("a panic: %v", err)
	}
	p.panics, p.err = false, errors.New("HTTP error 421 (421 Misdirected Request) returned body: \"\"")
	lists := len(d.lists)
	if err := put(); err == nil || strings.Contains(err.Error(), "421") || len(d.lists) != lists+1 {
		t.Errorf("an expired session: %v", err)
	}
	p.err = nil
	if err := put(); err != nil || len(*opened) != 2 {
		t.Errorf("after it was renewed: %v, opened %d times", err, len(*opened))
	}
	p.err = errors.New("HTTP error 401 (401 Unauthorized)")
	d.refuse = func(string, string) error { return transfer.ErrSignIn }
	if err := put(); !errors.Is(err, transfer.ErrSignIn) {
		t.Errorf("a session that can't be renewed: %v", err)
	}
}
