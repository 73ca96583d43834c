package cloudtest

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/unicode/norm"
)

// The types of nodes as Apple names them.
const (
	typeFile      = "FILE"
	typeFolder    = "FOLDER"
	typeLibrary   = "APP_LIBRARY"
	typeContainer = "APP_CONTAINER"
)

// How a node is shared.
const (
	sharedNot = iota
	sharedRoot
	sharedBelow
)

// node is a file or folder. It keeps its name as it was put; answers spell it in NFD, as Apple does.
type node struct {
	doc, zone, kind string
	item            string // item_id
	twin            bool   // its name is taken by another one, as it is spelled or but for case or accents
	unsized         bool   // listings don't tell how long it is
	name            string
	shared          int
	parent          *node
	children        map[string]*node // by folded name; in the trash by document
	blob            *blob            // of a file
	tag, contentTag int
	created, mtime  time.Time
	changed         time.Time
	deleted         time.Time
	restore         string // path, for an item of the trash
	from            *node  // its folder, for an item of the trash
}

// tree is an account's drive and trash.
type tree struct {
	mu      sync.Mutex
	now     func() time.Time
	root    *node
	trash   *node
	byKey   map[string]*node // "zone::doc" and item_id
	tags    int
	busy    map[string]bool // zones with a write in flight
	purged  []string
	trashed []string
	again   []string // asked to go to the trash with the right etag while they lay in it
	total   int64
	room    storageKnobs
	asPut   bool // names are answered as they were put
}

func (t *tree) init(now func() time.Time) {
	t.now, t.byKey, t.busy = now, map[string]*node{}, map[string]bool{}
	t.total, t.room.others = 5<<30, map[string]int64{}
	t.root = t.plant(&node{doc: "root", zone: mainZone, kind: typeFolder})
	t.trash = t.plant(&node{doc: "TRASH_ROOT", zone: mainZone, kind: typeFolder})
}

// fold is how names of one folder are told apart: neither by case nor by normalisation.
func fold(name string) string { return strings.ToLower(norm.NFC.String(name)) }

// spell is a name as answers show it: in NFD, as Apple does.
func (t *tree) spell(name string) string {
	if t.asPut {
		return name
	}
	return norm.NFD.String(name)
}

// plant gives a new node its identity.
func (t *tree) plant(n *node) *node {
	if n.doc == "" {
		n.doc = uuid()
	}
	n.item = "C" + random(20)
	if n.kind != typeFile {
		n.children = map[string]*node{}
	}
	n.created = t.now()
	n.changed = n.created
	if n.mtime.IsZero() {
		n.mtime = n.created
	}
	t.touch(n, true)
	t.byKey[n.zone+"::"+n.doc], t.byKey[n.item] = n, n
	return n
}

// touch gives a node a new etag.
func (t *tree) touch(n *node, content bool) {
	t.tags++
	n.tag = t.tags
	if content {
		n.contentTag = t.tags
	}
}

// put hangs a node into a folder; a name that is taken gets a number, as in Finder.
func (t *tree) put(parent, n *node) {
	if n.twin {
		parent.children[n.doc], n.parent = n, parent
		return
	}
	base, ext := splitName(n)
	for i := 2; parent.children[fold(n.name)] != nil; i++ {
		n.name = base + " " + strconv.Itoa(i)
		if ext != "" {
			n.name += "." + ext
		}
	}
	parent.children[fold(n.name)], n.parent = n, parent
}

// unhang takes a node out of its folder or the trash.
func (t *tree) unhang(n *node) {
	if n.parent == nil {
		return
	}
	key := fold(n.name)
	if n.parent == t.trash || n.twin {
		key = n.doc
	}
	delete(n.parent.children, key)
	n.parent = nil
}

// splitName parts a name as Apple does: what is behind the last dot of a file is its extension.
func splitName(n *node) (name, ext string) {
	i := strings.LastIndexByte(n.name, '.')
	if n.kind != typeFile || i <= 0 || i == len(n.name)-1 {
		return n.name, ""
	}
	return n.name[:i], n.name[i+1:]
}

func (n *node) folder() bool { return n.kind != typeFile }

// id is the node's drivewsid.
func (n *node) id() string {
	kind := typeFile
	if n.folder() {
		kind = typeFolder
	}
	switch {
	case n.shared == sharedRoot:
		kind = "SHARED_" + kind
	case n.shared == sharedBelow:
		kind += "_IN_SHARED_FOLDER"
	}
	return kind + "::" + n.zone + "::" + n.doc
}

func (n *node) etag() string {
	if n.folder() {
		return strconv.FormatInt(int64(n.tag), 36)
	}
	return strconv.FormatInt(int64(n.tag), 36) + "::" + strconv.FormatInt(int64(n.contentTag), 36)
}

// size is what a listing shows: of a package the sum of what is in it, which is not the length of its zip.
func (n *node) size() int64 {
	if n.blob == nil {
		return 0
	}
	return n.blob.length
}

// sizes adds up what a node and all below it take, and counts the files.
func (n *node) sizes() (bytes int64, files int64) {
	if !n.folder() {
		return n.size(), 1
	}
	for _, c := range n.children {
		b, f := c.sizes()
		bytes, files = bytes+b, files+f
	}
	return bytes, files
}

// alive tells whether a node can be reached from the root.
func (t *tree) alive(n *node) bool {
	for ; n != nil; n = n.parent {
		if n == t.root {
			return true
		}
	}
	return false
}

// find looks a drivewsid up: nil where it isn't one of this account, or is of another kind than it says.
func (t *tree) find(id string) *node {
	if id == "TRASH_ROOT" {
		return t.trash
	}
	parts := strings.SplitN(id, "::", 3)
	if len(parts) != 3 {
		return nil
	}
	n := t.byKey[parts[1]+"::"+parts[2]]
	if n == nil || n.id() != id {
		return nil
	}
	return n
}

// sorted lists what lies in a folder in a steady order.
func (n *node) sorted() []*node {
	l := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		l = append(l, c)
	}
	slices.SortFunc(l, func(a, b *node) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.doc, b.doc)
	})
	return l
}

// at walks a path from the root.
func (t *tree) at(p string) *node {
	n := t.root
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+p), "/"), "/") {
		if part == "" {
			continue
		}
		if n = n.children[fold(part)]; n == nil {
			return nil
		}
	}
	return n
}

// path is where a live node is, from the root.
func (t *tree) path(n *node) string {
	var parts []string
	for ; n != nil && n != t.root && n != t.trash; n = n.parent {
		parts = append(parts, n.name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// mkdir makes the folders of a path.
func (t *tree) mkdir(p string, shared bool) *node {
	n := t.root
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+p), "/"), "/") {
		if part == "" {
			continue
		}
		next := n.children[fold(part)]
		if next == nil {
			next = &node{zone: n.zone, kind: typeFolder, name: part, shared: sharedNot}
			switch {
			case n.shared != sharedNot:
				next.shared = sharedBelow
			case shared:
				next.shared = sharedRoot
			}
			t.put(n, t.plant(next))
		}
		if !next.folder() {
			panic(fmt.Sprintf("cloudtest: %q of %q is a file", part, p))
		}
		n = next
	}
	return n
}

// store puts a file at a path, anew or as a new version.
func (t *tree) store(p string, b *blob, mtime time.Time, shared bool) *node {
	dir := path.Dir(path.Clean("/" + p))
	parent := t.mkdir(dir, shared)
	name := path.Base(p)
	if n := parent.children[fold(name)]; n != nil {
		if n.folder() {
			panic(fmt.Sprintf("cloudtest: %q is a folder", p))
		}
		n.blob, n.mtime, n.changed = b, mtime, t.now()
		t.touch(n, true)
		return n
	}
	n := &node{zone: parent.zone, kind: typeFile, name: name, blob: b, mtime: mtime}
	switch {
	case parent.shared != sharedNot:
		n.shared = sharedBelow
	case shared:
		n.shared = sharedRoot
	}
	n = t.plant(n)
	t.put(parent, n)
	return n
}

// discard moves a live node to the trash.
func (t *tree) discard(n *node) {
	n.restore, n.from = t.path(n), n.parent
	t.unhang(n)
	n.parent, n.deleted, n.changed = t.trash, t.now(), t.now()
	t.trash.children[n.doc] = n
	t.touch(n, false)
}

// forget removes a node and all below it for good.
func (t *tree) forget(n *node) {
	for _, c := range n.sorted() {
		t.forget(c)
	}
	t.room.left(n, t.now())
	t.unhang(n)
	delete(t.byKey, n.zone+"::"+n.doc)
	delete(t.byKey, n.item)
	t.purged = append(t.purged, n.id())
}

// lockZones takes the zones of a write; ok is false where one of them has a write in flight already.
func (t *tree) lockZones(zones []string) (unlock func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, z := range zones {
		if t.busy[z] {
			return nil, false
		}
	}
	for _, z := range zones {
		t.busy[z] = true
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, z := range zones {
			delete(t.busy, z)
		}
	}, true
}
