package icloud

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/rclone/rclone/fs"
	"golang.org/x/text/unicode/norm"
)

// folder is a folder whose place is known.
type folder struct {
	Item
	shared bool // it or a folder above it is shared
}

// rootFolder is the root of the drive.
func rootFolder() folder { return folder{Item: Item{ID: rootID, Type: "FOLDER"}} }

// dirs remembers where folders lie, by their paths from the root of the drive, as they were spelled when they were asked
// for or listed. What it says may be old: whoever lists a folder finds out.
type dirs struct {
	mu    sync.Mutex
	known map[string]folder
	odd   map[string]bool // IDs of folders that call themselves otherwise than the folder above them does
}

func (d *dirs) get(p string) (folder, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.known[p]
	return f, ok
}

func (d *dirs) put(p string, f folder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string]folder{}
	}
	d.known[p] = f
}

// forget drops a path and all below it; "" drops everything. Other spellings of the path go as well.
func (d *dirs) forget(p string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p == "" {
		d.known = nil
		return
	}
	p = foldPath(p)
	for at := range d.known {
		if q := foldPath(at); q == p || strings.HasPrefix(q, p+"/") {
			delete(d.known, at)
		}
	}
}

// isOdd tells whether a folder's word about its own place counts for nothing.
func (d *dirs) isOdd(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.odd[id]
}

// setOdd notes that it doesn't.
func (d *dirs) setOdd(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.odd == nil {
		d.odd = map[string]bool{}
	}
	d.odd[id] = true
}

// learn takes in a listing of the folder at p: its folders are known from now on, and what is remembered of others by
// the same names is forgotten.
func (d *dirs) learn(p string, in folder, items []Item) {
	byName := map[string]int{}
	for _, it := range items {
		byName[it.Name]++
	}
	for _, it := range items {
		at := path.Join(p, it.Name)
		if !plainName(it.Name) {
			continue
		}
		old, known := d.get(at)
		switch {
		case it.Folder() && byName[it.Name] == 1:
			if known && old.ID != it.ID {
				d.forget(at)
			}
			d.put(at, folder{it, in.shared || it.Shared})
		case known:
			d.forget(at)
		}
	}
}

// plainName tells whether a name is one part of a path and nothing else.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.Contains(name, "/")
}

// foldPath is what a name is compared by where neither its case nor its normalisation counts.
func foldPath(p string) string { return strings.ToLower(norm.NFC.String(p)) }

// errAmbiguous says that two items have a name equally well.
var errAmbiguous = errors.New("several items have this name")

// match finds the items of a folder that bear a name: exactly, else but for the normalisation, else but for the case too.
func match(items []Item, name string) []Item {
	composed := norm.NFC.String(name)
	for _, same := range []func(string) bool{
		func(s string) bool { return s == name },
		func(s string) bool { return norm.NFC.String(s) == composed },
		func(s string) bool { return strings.EqualFold(norm.NFC.String(s), composed) },
	} {
		var found []Item
		for _, it := range items {
			if same(it.Name) {
				found = append(found, it)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// pick chooses the folder or the file among the items that bear a name. ok is false where there is none of that kind;
// other tells that there is one of the other kind. Two of the kind are an error: nobody knows which is meant.
func pick(items []Item, name string, wantFolder bool) (it Item, ok, other bool, err error) {
	for _, m := range match(items, name) {
		switch {
		case m.Folder() != wantFolder:
			other = true
		case ok && m.ID != it.ID:
			return Item{}, false, false, fmt.Errorf("look up %q: %w", name, errAmbiguous)
		default:
			it, ok = m, true
		}
	}
	return it, ok, other, nil
}

// find returns the folder at a path from the root of the drive. fs.ErrorDirNotFound says that there is none,
// fs.ErrorIsFile that a file has the name of the last part. It believes what is remembered: see listed.
func (f *Fs) find(ctx context.Context, p string) (folder, error) {
	if p == "" {
		return rootFolder(), nil
	}
	if d, ok := f.dirs.get(p); ok {
		return d, nil
	}
	parent, name := splitPath(p)
	_, items, in, err := f.listed(ctx, parent)
	if err != nil {
		if errors.Is(err, fs.ErrorIsFile) {
			err = fs.ErrorDirNotFound // a file in the middle of a path
		}
		return folder{}, err
	}
	it, ok, isFile, err := pick(items, name, true)
	switch {
	case err != nil:
		return folder{}, err
	case ok:
		d := folder{it, in.shared || it.Shared}
		f.dirs.put(p, d)
		return d, nil
	case isFile:
		return folder{}, fs.ErrorIsFile
	}
	return folder{}, fs.ErrorDirNotFound
}

// listed lists the folder at a path from the root of the drive, as it is now. Where the remembered folder turns out not
// to be there any more, the path is looked up anew. head is the folder itself, as its own listing shows it.
func (f *Fs) listed(ctx context.Context, p string) (head Item, items []Item, in folder, err error) {
	for again := false; ; again = true {
		if in, err = f.find(ctx, p); err != nil {
			return Item{}, nil, in, err
		}
		l := f.look(ctx, in.ID)
		gone := errors.Is(l.Err, fs.ErrorDirNotFound)
		elsewhere := p != "" && l.Err == nil && moved(in, l.Folder) && !f.dirs.isOdd(in.ID)
		if (gone || elsewhere) && !again && p != "" {
			f.forgetWay(p)
			continue
		}
		if elsewhere {
			f.dirs.setOdd(in.ID) // the folder above it was listed just now
		}
		switch {
		case gone:
			f.dirs.forget(p)
			return Item{}, nil, in, fs.ErrorDirNotFound
		case l.Err != nil:
			return Item{}, nil, in, fmt.Errorf("list %q: %w", p, l.Err)
		}
		in.shared = in.shared || l.Folder.Shared
		f.dirs.learn(p, in, l.Items)
		return l.Folder, l.Items, in, nil
	}
}

// moved tells whether a folder has another name or another parent than it was remembered with.
func moved(was folder, now Item) bool {
	differs := func(a, b string) bool { return a != "" && b != "" && a != b }
	return differs(was.Name, now.Name) || differs(was.ParentID, now.ParentID) || strings.HasSuffix(now.ParentID, "TRASH_ROOT")
}

// forgetWay forgets a path with every folder on the way to it: one of them was moved.
func (f *Fs) forgetWay(p string) {
	top, _, _ := strings.Cut(p, "/")
	f.dirs.forget(top)
}

// splitPath cuts the last part off a path.
func splitPath(p string) (parent, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return "", p
}

// look lists one folder, not earlier than now; calls for the same folder share a listing.
func (f *Fs) look(ctx context.Context, id string) Listing {
	l, err := f.looks.get(ctx, id, func(ctx context.Context) (Listing, error) {
		if res := f.svc.List(ctx, []string{id}); len(res) == 1 {
			return res[0], nil
		}
		return Listing{}, errShort
	})
	if err != nil {
		return Listing{Err: err}
	}
	return l
}
