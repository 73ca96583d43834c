package icloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/encoder"
	"golang.org/x/text/unicode/norm"

	"offload/transfer"
)

// Move implements service.
func (a *Account) Move(ctx context.Context, folder string, items []Ref) []error {
	body := struct {
		Folder string       `json:"destinationDrivewsId"`
		Items  []changeItem `json:"items"`
	}{Folder: folder}
	for _, it := range items {
		body.Items = append(body.Items, changeItem{ID: it.ID, ETag: it.ETag, ClientID: it.ID})
	}
	return a.rearrange(ctx, "move items", "/moveItems", body, items)
}

// Rename implements service.
func (a *Account) Rename(ctx context.Context, item Ref, name string) error {
	type named struct {
		ID   string `json:"drivewsid"`
		ETag string `json:"etag"`
		Name string `json:"name"`
	}
	body := struct {
		Items []named `json:"items"`
	}{[]named{{item.ID, item.ETag, ownName(name)}}}
	return a.rearrange(ctx, "rename item", "/renameItems", body, []Ref{item})[0]
}

// ownName is a name in rclone's standard form as its owner wrote it. rclone's backend writes some signs, such as a tab or a
// backslash, in another spelling, which iCloud doesn't need.
func ownName(name string) string { return encoder.Standard.Decode(name) }

// spell gives a file that rclone's backend has written the name that its owner wrote, where that is another one. One that
// can't be renamed stays under rclone's spelling: by either it is found.
func (f *Fs) spell(ctx context.Context, o *Object) *Object {
	_, name := splitPath(o.remote)
	if !oddName(name) {
		return o
	}
	it := o.seen()
	if err := f.svc.Rename(ctx, Ref{it.ID, it.ETag}, ownName(norm.NFC.String(name))); err != nil {
		slog.DebugContext(ctx, "a name keeps rclone's spelling", "path", o.remote, "error", err)
		return o
	}
	now, err := f.written(ctx, o.remote)
	if err != nil || now.seen().ID != it.ID {
		return o
	}
	return now
}

// oddName tells whether rclone's backend may write a name in another spelling.
func oddName(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f || r >= 0x2400 && r <= 0x2421 })
}

// rearrange makes one call that changes where items are or what they are called, and nothing of their content. It isn't
// repeated: who asks for it looks again.
func (a *Account) rearrange(ctx context.Context, what, path string, body any, items []Ref) []error {
	var found itemList
	err := a.do(ctx, &call{what: what, method: "POST", service: api.WsDrive, path: path, body: body, changes: true,
		decode: func(b []byte) error { return readItems(b, &found) }})
	errs := make([]error, len(items))
	for i := range items {
		if errs[i] = err; err == nil {
			errs[i] = result(what, answerTo(found.list, items, i))
		}
	}
	return errs
}

// Return implements transfer.Returner. iCloud puts an item back into its folder, and into the root of the drive where that
// folder is gone: what lands elsewhere is moved.
func (f *Fs) Return(ctx context.Context, items []transfer.Trashed) []error {
	errs := f.PutBack(ctx, items)
	ids, which := make([]string, 0, len(items)), make([]int, 0, len(items))
	for i, err := range errs {
		if err == nil || errors.Is(err, fs.ErrorObjectNotFound) { // the latter may have been put back before
			ids, which = append(ids, items[i].ID), append(which, i)
		}
	}
	err := f.lane.exclusive(ctx, func(ctx context.Context) error {
		defer f.DirCacheFlush()
		at := f.whereabouts(ctx, ids)
		byDir := map[string][]int{}
		for n, i := range which {
			if errs[i] = at[n].err; errs[i] == nil {
				dir, _ := splitPath(f.at(items[i].Path))
				byDir[dir] = append(byDir[dir], n)
			}
		}
		for dir, list := range byDir {
			f.settleIn(ctx, dir, list, func(n int) (transfer.Trashed, Item, *error) {
				return items[which[n]], at[n].item, &errs[which[n]]
			})
		}
		return nil
	})
	for i := range errs {
		if err != nil && errs[i] == nil {
			errs[i] = err
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("put back: %w", errs[i])
		}
	}
	return errs
}

// place is where an item was seen.
type place struct {
	item Item
	err  error
}

// whereabouts looks at live items by their IDs; one in the trash, or nowhere, isn't found.
func (f *Fs) whereabouts(ctx context.Context, ids []string) []place {
	at := make([]place, len(ids))
	for from := 0; from < len(ids); from += trashMax {
		group := ids[from:min(from+trashMax, len(ids))]
		items, errs := f.svc.Details(ctx, group)
		for n := range group {
			p := place{items[n], errs[n]}
			if p.err == nil && (inTrash(p.item) || p.item.ID == "") {
				p.err = fs.ErrorObjectNotFound
			}
			at[from+n] = p
		}
	}
	return at
}

// settleIn brings items that were put back into one folder, given from the root of the drive, and makes it where it is gone.
func (f *Fs) settleIn(ctx context.Context, dir string, list []int, of func(int) (transfer.Trashed, Item, *error)) {
	in, there, err := f.folderFor(ctx, dir)
	if err != nil {
		for _, n := range list {
			_, _, e := of(n)
			*e = err
		}
		return
	}
	var move []int
	var refs []Ref
	for _, n := range list {
		want, it, e := of(n)
		_, name := splitPath(want.Path)
		if same := match(there, name); len(same) > 0 && same[0].ID != it.ID {
			*e = transfer.ErrTaken // it stays where it landed
			continue
		}
		if want.Size > 0 && it.Size > 0 && it.Size != want.Size {
			*e = errors.New("it was changed by somebody since") // and stays where they have put it
			continue
		}
		if it.ParentID != in.ID {
			move, refs = append(move, n), append(refs, Ref{it.ID, it.ETag})
		}
	}
	for from := 0; from < len(refs); from += trashMax {
		to := min(from+trashMax, len(refs))
		for k, err := range f.svc.Move(ctx, in.ID, refs[from:to]) {
			_, _, e := of(move[from+k])
			*e = err
		}
	}
	for _, n := range list {
		want, it, e := of(n)
		_, name := splitPath(want.Path)
		if *e != nil || norm.NFC.String(it.Name) == norm.NFC.String(name) {
			continue
		}
		now := f.whereabouts(ctx, []string{it.ID})[0] // a move gives it another version mark
		if *e = now.err; *e == nil {
			*e = f.svc.Rename(ctx, Ref{it.ID, now.item.ETag}, name)
		}
	}
}

// folderFor returns a folder, given from the root of the drive, and what lies in it, and makes it where there is none.
func (f *Fs) folderFor(ctx context.Context, dir string) (folder, []Item, error) {
	_, items, in, err := f.listed(ctx, dir)
	if !errors.Is(err, fs.ErrorDirNotFound) {
		return in, items, err
	}
	if err := f.makeFolders(ctx, dir); err != nil {
		return folder{}, nil, err
	}
	_, items, in, err = f.listed(ctx, dir)
	return in, items, err
}

// makeFolders makes a folder, given from the root of the drive, and those above it, as far as they aren't there. The caller
// holds the lane: two workers would make two folders of one name.
func (f *Fs) makeFolders(ctx context.Context, dir string) error {
	parts := strings.Split(dir, "/")
	for n := range parts {
		p := strings.Join(parts[:n+1], "/")
		_, _, _, err := f.listed(ctx, p)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrorDirNotFound) {
			return err
		}
		below := f.below(p) // "" is the root, which is made with all above it
		if err := f.Mkdir(ctx, below); err != nil {
			return fmt.Errorf("make folder %q: %w", p, err)
		}
		if !oddName(parts[n]) {
			continue
		}
		made, err := f.find(ctx, p)
		if err != nil {
			return fmt.Errorf("look at folder %q: %w", p, err)
		}
		if err := f.svc.Rename(ctx, Ref{made.ID, made.ETag}, ownName(norm.NFC.String(parts[n]))); err != nil {
			slog.DebugContext(ctx, "a folder keeps rclone's spelling", "path", p, "error", err)
		}
		f.dirs.forget(p)
	}
	return nil
}

var _ transfer.Returner = (*Fs)(nil)
