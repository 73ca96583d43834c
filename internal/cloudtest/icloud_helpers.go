package cloudtest

import (
	"bytes"
	"io"
	"maps"
	"path"
	"slices"
	"time"
)

// Item is a file or folder of iCloud Drive, for tests to look at.
type Item struct {
	ID       string // drivewsid: "FILE::com.apple.CloudDocs::<docid>"
	DocID    string
	Zone     string
	Name     string // whole, as it was put
	ParentID string
	ETag     string
	Type     string // FILE, FOLDER, APP_CONTAINER, APP_LIBRARY
	Size     int64  // as a listing shows it
	ModTime  time.Time
	Package  bool
	Shared   bool
	Deleted  time.Time // when it was trashed, zero where it is alive
	Restore  string    // where it was, for an item in the trash
}

// show is a node as tests see it.
func (n *node) show() Item {
	it := Item{ID: n.id(), DocID: n.doc, Zone: n.zone, Name: n.name, ETag: n.etag(), Type: n.kind, Size: n.size(), ModTime: n.mtime,
		Shared: n.shared != sharedNot, Deleted: n.deleted, Restore: n.restore}
	if n.parent != nil {
		it.ParentID = n.parent.id()
	}
	it.Package = n.blob != nil && n.blob.files != nil
	return it
}

// locked runs f with the tree locked.
func (a *Account) locked(f func(t *tree)) {
	a.tree.mu.Lock()
	defer a.tree.mu.Unlock()
	f(&a.tree)
}

// Put stores a file, with its folders, as if a device had: anew or as a new version.
func (a *Account) Put(path string, content []byte, mtime time.Time) (it Item) {
	a.locked(func(t *tree) { it = t.store(path, bytesBlob(content), mtime, false).show() })
	return it
}

// PutGenerated stores a file whose bytes are a function of size and seed (see Generated): it takes no memory.
func (a *Account) PutGenerated(path string, size int64, seed uint64) (it Item) {
	a.locked(func(t *tree) { it = t.store(path, madeBlob(size, seed), t.now(), false).show() })
	return it
}

// PutPackage stores a package: a folder of these files that iCloud shows as a file and hands out as a zip.
func (a *Account) PutPackage(path string, files map[string][]byte) (it Item) {
	a.locked(func(t *tree) { it = t.store(path, packageBlob(files), t.now(), false).show() })
	return it
}

// PutShared stores a file that belongs to somebody else: the first folder of the path is the root of the share.
func (a *Account) PutShared(path string, content []byte, mtime time.Time) (it Item) {
	a.locked(func(t *tree) { it = t.store(path, bytesBlob(content), mtime, true).show() })
	return it
}

// AddAppLibrary makes the folder of an app in the root: "Pages", zone "com.apple.Pages". What is put below it lies in
// that zone.
func (a *Account) AddAppLibrary(name, zone string) Item { return a.addApp(name, zone, typeLibrary) }

// AddAppContainer is AddAppLibrary for the type that apps of others get.
func (a *Account) AddAppContainer(name, zone string) Item { return a.addApp(name, zone, typeContainer) }

func (a *Account) addApp(name, zone, kind string) (it Item) {
	a.locked(func(t *tree) {
		n := t.plant(&node{doc: "documents", zone: zone, kind: kind, name: name})
		t.put(t.root, n)
		it = n.show()
	})
	return it
}

// Mkdir makes a folder, with those above it.
func (a *Account) Mkdir(path string) (it Item) {
	a.locked(func(t *tree) { it = t.mkdir(path, false).show() })
	return it
}

// Lookup finds what lives at a path.
func (a *Account) Lookup(path string) (it Item, ok bool) {
	a.locked(func(t *tree) {
		if n := t.at(path); n != nil {
			it, ok = n.show(), true
		}
	})
	return it, ok
}

// Get returns the content of a live file; of a package, a zip of it.
func (a *Account) Get(path string) (content []byte, ok bool) {
	a.locked(func(t *tree) {
		n := t.at(path)
		if n == nil || n.blob == nil {
			return
		}
		ok = true
		if n.blob.files != nil {
			var b bytes.Buffer
			_ = n.blob.zip(&b, n.name, t.now())
			content = b.Bytes()
			return
		}
		content, _ = io.ReadAll(n.blob.reader())
	})
	return content, ok
}

// PackageFiles returns what a live package holds.
func (a *Account) PackageFiles(path string) (files map[string][]byte) {
	a.locked(func(t *tree) {
		if n := t.at(path); n != nil && n.blob != nil {
			files = maps.Clone(n.blob.files)
		}
	})
	return files
}

// Change gives a live file new content, and so a new etag, as if a device had written it.
func (a *Account) Change(path string, content []byte) (it Item) {
	a.locked(func(t *tree) {
		if t.at(path) == nil {
			panic("cloudtest: nothing to change at " + path)
		}
		it = t.store(path, bytesBlob(content), t.now(), false).show()
	})
	return it
}

// PutTwin stores a file beside one whose name is the same, or the same but for case or accents. No path leads to it:
// listings and IDs do.
func (a *Account) PutTwin(p string, content []byte, mtime time.Time) (it Item) {
	a.locked(func(t *tree) {
		parent := t.mkdir(path.Dir(path.Clean("/"+p)), false)
		n := t.plant(&node{zone: parent.zone, kind: typeFile, name: path.Base(p), blob: bytesBlob(content), mtime: mtime, twin: true})
		t.put(parent, n)
		it = n.show()
	})
	return it
}

// HideSize makes listings not tell how long a live file is, as iCloud does now and then.
func (a *Account) HideSize(path string) {
	a.locked(func(t *tree) {
		n := t.at(path)
		if n == nil || n.folder() {
			panic("cloudtest: no file at " + path)
		}
		n.unsized = true
	})
}

// Read returns the content of a file by its drivewsid, wherever it lies; alive is false where that is the trash. A
// package has none.
func (a *Account) Read(id string) (content []byte, alive, ok bool) {
	a.locked(func(t *tree) {
		n := t.find(id)
		if n == nil || n.blob == nil || n.blob.files != nil {
			return
		}
		alive, ok = t.alive(n), true
		content, _ = io.ReadAll(n.blob.reader())
	})
	return content, alive, ok
}

// Remove removes a live item at once, without the trash. It tells whether there was one.
func (a *Account) Remove(path string) (ok bool) {
	a.locked(func(t *tree) {
		n := t.at(path)
		if ok = n != nil && n != t.root; ok {
			was := len(t.purged)
			t.forget(n)
			t.purged = t.purged[:was] // the log is of what clients purged
		}
	})
	return ok
}

// Discard moves a live item to the trash, as its owner might. It tells whether there was one.
func (a *Account) Discard(path string) (it Item, ok bool) {
	a.locked(func(t *tree) {
		n := t.at(path)
		if ok = n != nil && n != t.root; ok {
			t.discard(n)
			it = n.show()
		}
	})
	return it, ok
}

// Walk calls f for every live item below the root, folders before what is in them.
func (a *Account) Walk(f func(path string, it Item)) {
	type entry struct {
		path string
		it   Item
	}
	var all []entry
	a.locked(func(t *tree) {
		var walk func(n *node)
		walk = func(n *node) {
			for _, c := range n.sorted() {
				all = append(all, entry{t.path(c), c.show()})
				walk(c)
			}
		}
		walk(t.root)
	})
	for _, e := range all {
		f(e.path, e.it)
	}
}

// Files counts the live files.
func (a *Account) Files() (n int) {
	a.locked(func(t *tree) { _, files := t.root.sizes(); n = int(files) })
	return n
}

// Trash lists what is in the trash.
func (a *Account) Trash() (items []Item) {
	a.locked(func(t *tree) {
		for _, n := range t.trash.sorted() {
			items = append(items, n.show())
		}
	})
	return items
}

// TrashedIDs lists the drivewsids that clients ever moved to the trash, in order.
func (a *Account) TrashedIDs() (ids []string) {
	a.locked(func(t *tree) { ids = slices.Clone(t.trashed) })
	return ids
}

// TrashedAgain lists the drivewsids that clients moved to the trash with success while they lay in it, in order.
func (a *Account) TrashedAgain() (ids []string) {
	a.locked(func(t *tree) { ids = slices.Clone(t.again) })
	return ids
}

// Purged lists the drivewsids that clients ever removed for good, with those below folders, in order.
func (a *Account) Purged() (ids []string) {
	a.locked(func(t *tree) { ids = slices.Clone(t.purged) })
	return ids
}

// NamesAsPut makes answers spell names as they were put rather than in NFD. It is kinder than the real service, for
// rclone's own test suite, which compares them.
func (a *Account) NamesAsPut(on bool) { a.locked(func(t *tree) { t.asPut = on }) }
