package icloud

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// drive is a service in memory: items with etags, a trash, and a hook before and after each call that changes.
type drive struct {
	mu     sync.Mutex
	items  map[string]*driveItem
	serial int

	groups   [][]Ref // of each Trash call
	purges   [][]Ref
	putBacks [][]Ref
	moves    [][]Ref
	lists    []string // IDs, in the order of listings
	looked   int      // items asked for with Details
	tokens   int
	gets     int // downloads

	busy, maxBusy int // calls that change, at once

	// before is called before a call is carried out, without the lock: "trash", "purge", "putback", "list", "details".
	before func(what string, ids []string)
	// answer may change the answer of a call that was carried out.
	answer func(what string, refs []Ref, errs []error) []error
	// refuse makes a listing or a look fail.
	refuse func(what, id string) error
	// listGone makes folders in the trash unknown to listings; else they can still be listed.
	listGone bool
	noETags  bool
	// refuseTrash refuses a call that trashes as a whole.
	refuseTrash func(refs []Ref) error
	noCounts    bool // the trash doesn't say how much is in a folder
}

type driveItem struct {
	Item
	content  []byte
	trashed  bool
	was      string // the parent before the trash
	pack     bool
	badToken error
	sign     string
}

func newDrive() *drive {
	d := &drive{items: map[string]*driveItem{}}
	d.items[rootID] = &driveItem{Item: Item{ID: rootID, Type: "FOLDER", ETag: "r1"}}
	return d
}

// tag gives an item a new etag; d.mu is held.
func (d *drive) tag(it *driveItem) {
	d.serial++
	it.ETag = fmt.Sprintf("e%d", d.serial)
	if d.noETags {
		it.ETag = ""
	}
}

// add makes an item below parent and returns its ID.
func (d *drive) add(parent, name, kind string, content []byte) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	it := &driveItem{Item: Item{Name: name, ParentID: parent, Type: kind, Size: int64(len(content)), ModTime: time.Unix(1_700_000_000, 0)}, content: content}
	d.tag(it)
	it.ID = fmt.Sprintf("%s::com.apple.CloudDocs::%d", kind, d.serial)
	d.items[it.ID] = it
	return it.ID
}

func (d *drive) file(parent, name, content string) string {
	return d.add(parent, name, "FILE", []byte(content))
}
func (d *drive) folder(parent, name string) string { return d.add(parent, name, "FOLDER", nil) }

// edit changes an item under the lock, and its etag.
func (d *drive) edit(id string, do func(*driveItem)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(d.items[id])
	d.tag(d.items[id])
}

// set changes an item under the lock and nothing else.
func (d *drive) set(id string, do func(*driveItem)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(d.items[id])
}

func (d *drive) trashedIDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id, it := range d.items {
		if it.trashed {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (d *drive) alive(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.items[id]
	return it != nil && !it.trashed
}

// count returns how many calls that trash there were.
func (d *drive) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.groups)
}

func (d *drive) ask(what string, ids ...string) {
	d.mu.Lock()
	hook := d.before
	d.mu.Unlock()
	if hook != nil {
		hook(what, ids)
	}
}

func (d *drive) refused(what, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse == nil {
		return nil
	}
	return d.refuse(what, id)
}

func (d *drive) List(ctx context.Context, ids []string) []Listing {
	out := make([]Listing, len(ids))
	for i, id := range ids {
		d.ask("list", id)
		out[i] = d.list(ctx, id)
	}
	return out
}

func (d *drive) list(ctx context.Context, id string) Listing {
	if err := d.refused("list", id); err != nil {
		return Listing{Err: err}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lists = append(d.lists, id)
	it := d.items[id]
	switch {
	case ctx.Err() != nil:
		return Listing{Err: context.Cause(ctx)}
	case it == nil, it.trashed && d.listGone:
		return Listing{Err: fs.ErrorDirNotFound}
	}
	l := Listing{Folder: it.Item, Items: []Item{}}
	for _, c := range d.items {
		if c.ParentID == id && !c.trashed {
			l.Items = append(l.Items, c.Item)
		}
	}
	slices.SortFunc(l.Items, func(a, b Item) int { return strings.Compare(a.ID, b.ID) })
	return l
}

func (d *drive) Token(_ context.Context, id string) (Token, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tokens++
	it := d.items[id]
	switch {
	case it == nil || it.trashed:
		return Token{}, fs.ErrorObjectNotFound
	case it.badToken != nil:
		return Token{}, it.badToken
	case it.Size == 0 && len(it.content) == 0:
		return Token{}, &statusError{what: "ask for a download", status: http.StatusBadRequest}
	}
	return Token{URL: "content/" + id + fmt.Sprintf("#%d", d.tokens), Package: it.pack, Signature: it.sign}, nil
}

func (d *drive) Download(_ context.Context, url string, options ...fs.OpenOption) (io.ReadCloser, error) {
	if err := d.refused("download", url); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gets++
	id, _, _ := strings.Cut(strings.TrimPrefix(url, "content/"), "#")
	content := d.items[id].content
	for _, o := range options {
		if r, ok := o.(*fs.RangeOption); ok {
			content = content[r.Start:min(r.End+1, int64(len(content)))]
		}
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// change carries out a call that changes, one at a time.
func (d *drive) change(what string, refs []Ref, log *[][]Ref, do func(*driveItem) error) []error {
	d.mu.Lock()
	d.busy++
	d.maxBusy = max(d.maxBusy, d.busy)
	d.mu.Unlock()
	ids := make([]string, len(refs))
	for i, r := range refs {
		ids[i] = r.ID
	}
	d.ask(what, ids...)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	*log = append(*log, slices.Clone(refs))
	errs := make([]error, len(refs))
	for i, r := range refs {
		it := d.items[r.ID]
		switch {
		case it == nil:
			errs[i] = fs.ErrorObjectNotFound
		case it.ETag != r.ETag:
			errs[i] = transfer.ErrChanged
		default:
			errs[i] = do(it)
		}
	}
	if d.answer != nil {
		return d.answer(what, refs, errs)
	}
	return errs
}

func (d *drive) Trash(_ context.Context, refs []Ref) []error {
	if d.refuseTrash != nil {
		if err := d.refuseTrash(refs); err != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.groups = append(d.groups, slices.Clone(refs))
			return slices.Repeat([]error{err}, len(refs))
		}
	}
	return d.change("trash", refs, &d.groups, func(it *driveItem) error {
		if it.trashed {
			return fs.ErrorObjectNotFound
		}
		it.trashed, it.was, it.ParentID = true, it.ParentID, "TRASH_ROOT"
		d.tag(it)
		return nil
	})
}

func (d *drive) Purge(_ context.Context, refs []Ref) []error {
	return d.change("purge", refs, &d.purges, func(it *driveItem) error {
		delete(d.items, it.ID) // live ones too, as the real call does
		return nil
	})
}

func (d *drive) PutBack(_ context.Context, refs []Ref) []error {
	return d.change("putback", refs, &d.putBacks, func(it *driveItem) error {
		if !it.trashed {
			return fs.ErrorObjectNotFound
		}
		it.trashed, it.ParentID = false, it.was
		d.tag(it)
		return nil
	})
}

func (d *drive) Move(_ context.Context, folder string, refs []Ref) []error {
	return d.change("move", refs, &d.moves, func(it *driveItem) error {
		it.ParentID = folder
		d.tag(it)
		return nil
	})
}

func (d *drive) Rename(_ context.Context, ref Ref, name string) error {
	return d.change("rename", []Ref{ref}, &d.moves, func(it *driveItem) error {
		it.Name = name
		d.tag(it)
		return nil
	})[0]
}

func (d *drive) Details(_ context.Context, ids []string) ([]Item, []error) {
	d.ask("details", ids...)
	items, errs := make([]Item, len(ids)), make([]error, len(ids))
	for i, id := range ids {
		if errs[i] = d.refused("details", id); errs[i] != nil {
			continue
		}
		d.mu.Lock()
		d.looked++
		if it := d.items[id]; it != nil {
			items[i] = it.Item
		} else {
			errs[i] = fs.ErrorObjectNotFound
		}
		d.mu.Unlock()
	}
	return items, errs
}

func (d *drive) ListTrash(context.Context) ([]Trashed, error) {
	d.ask("listtrash")
	if err := d.refused("listtrash", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Trashed
	for _, it := range d.items {
		if it.trashed {
			it.Children = -1
			if !d.noCounts {
				it.Children = 0
				for _, c := range d.items {
					if c.ParentID == it.ID {
						it.Children++
					}
				}
			}
			out = append(out, Trashed{Item: it.Item, RestorePath: d.path(it.was, it.Name)})
		}
	}
	return out, nil
}

// path is where an item was; d.mu is held.
func (d *drive) path(parent, name string) string {
	for p := d.items[parent]; p != nil && p.ID != rootID; p = d.items[p.ParentID] {
		name = p.Name + "/" + name
	}
	return name
}

func (d *drive) Storage(context.Context) (transfer.Storage, error) {
	return transfer.Storage{Total: 100, Used: 70, ByKind: map[string]int64{"docs": 70}}, nil
}

// quick returns a lane that loses no time.
func quick() *lane {
	l := newLane("ic", Options{Fleet: &transfer.LocalFleet{}, Log: slog.New(slog.DiscardHandler)})
	l.pace, l.lookAgain = time.Millisecond, time.Millisecond
	return l
}

// trusted returns a quick lane whose canary was confirmed.
func trusted() *lane {
	l := quick()
	l.trusted = true
	return l
}

// on returns an Fs over d.
func on(d *drive, root string, l *lane) *Fs { return newFs("ic", root, d, l) }

// lookFor finds a file that must be there.
func lookFor(t testing.TB, f *Fs, remote string) *Object {
	t.Helper()
	o, err := f.NewObject(t.Context(), remote)
	if err != nil {
		t.Fatalf("look for %q: %v", remote, err)
	}
	return o.(*Object)
}

// aim makes the target of an object as it was seen.
func aim(o *Object) transfer.Target {
	return transfer.Target{Path: o.Remote(), ID: o.ID(), ETag: o.ETag(), Size: o.Size(), Object: o}
}

// within waits for a condition.
func within(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
