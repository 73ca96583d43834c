package cloudtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	dropboxNamespace = "3235641"
	maxNameRunes     = 255
	maxJournal       = 200000
)

// dropboxNode is a file or a folder.
type dropboxNode struct {
	id, name string
	parent   *dropboxNode
	kids     map[string]*dropboxNode // by key; nil for a file
	file     *dropboxFile            // nil for a folder
}

// dropboxFile is the newest revision of a file.
type dropboxFile struct {
	blob           *dropboxBlob
	told           string // the hash that is told, where it isn't that of what is stored
	rev            string
	clientModified time.Time
	serverModified time.Time
}

// hash is the content hash that the service tells.
func (f *dropboxFile) hash() string {
	if f.told != "" {
		return f.told
	}
	return f.blob.hash
}

// dropboxKey is a name as it is compared.
func dropboxKey(name string) string { return strings.ToLower(norm.NFC.String(name)) }

// display is the path with the names as they were given, "" for the root.
func (n *dropboxNode) display() string {
	if n.parent == nil {
		return ""
	}
	return n.parent.display() + "/" + n.name
}

// lower is the path as it is compared.
func (n *dropboxNode) lower() string { return dropboxKey(n.display()) }

// sorted lists what is in a folder, by key.
func (n *dropboxNode) sorted() []*dropboxNode {
	keys := make([]string, 0, len(n.kids))
	for k := range n.kids {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	all := make([]*dropboxNode, len(keys))
	for i, k := range keys {
		all[i] = n.kids[k]
	}
	return all
}

// walk calls f for a node and all below, parents first.
func (n *dropboxNode) walk(f func(*dropboxNode)) {
	f(n)
	for _, kid := range n.sorted() {
		kid.walk(f)
	}
}

// sizes is how much a node and all below take, and how many files that are.
func (n *dropboxNode) sizes() (size int64, files int) {
	if n.file != nil {
		return n.file.blob.size, 1
	}
	for _, kid := range n.kids {
		s, c := kid.sizes()
		size, files = size+s, files+c
	}
	return size, files
}

// metadata is a node as the API shows it, without its tag.
func (n *dropboxNode) metadata() union {
	m := union{"name": n.name, "path_lower": n.lower(), "path_display": n.display(), "id": n.id}
	if f := n.file; f != nil {
		m["client_modified"] = dropboxTime(f.clientModified)
		m["server_modified"] = dropboxTime(f.serverModified)
		m["rev"], m["size"], m["is_downloadable"], m["content_hash"] = f.rev, f.blob.size, true, f.hash()
	}
	return m
}

// tagged is metadata with its tag.
func (n *dropboxNode) tagged() union {
	m := n.metadata()
	m[".tag"] = "folder"
	if n.file != nil {
		m[".tag"] = "file"
	}
	return m
}

// dropboxTime is a time with whole seconds in UTC.
func dropboxTime(t time.Time) string {
	return t.UTC().Truncate(time.Second).Format("2006-01-02T15:04:05Z")
}

// splitPath checks the form of a path that begins with a slash and returns its names. ok is false where a name is one
// that Dropbox can't have.
func splitPath(path string) (names []string, ok bool) {
	if !strings.HasPrefix(path, "/") || !utf8.ValidString(path) {
		return nil, false
	}
	names = strings.Split(path[1:], "/")
	for _, name := range names {
		if name == "" || name == "." || name == ".." || strings.HasSuffix(name, " ") || strings.ContainsAny(name, "\\\x7f\x00") ||
			utf8.RuneCountInString(name) > maxNameRunes {
			return nil, false
		}
	}
	return names, true
}

// disallowed tells whether Dropbox refuses to store a file of this name.
func disallowed(name string) bool {
	switch strings.ToLower(name) {
	case "desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr":
		return true
	}
	return false
}

// lookup finds what is at a path ("/a/b", "id:..." or "rev:..."), or tells the LookupError.
func (d *Dropbox) lookup(path string) (*dropboxNode, union) {
	switch {
	case strings.HasPrefix(path, "id:"):
		id, rest, _ := strings.Cut(path, "/")
		n := d.ids[id]
		if n == nil {
			return nil, tag("not_found")
		}
		if rest == "" {
			return n, nil
		}
		return d.lookup(n.display() + "/" + rest)
	case strings.HasPrefix(path, "rev:"):
		for _, n := range d.ids {
			if n.file != nil && "rev:"+n.file.rev == path {
				return n, nil
			}
		}
		return nil, tag("not_found")
	}
	if strings.HasPrefix(path, "//") {
		path = path[1:] // rclone lists the folders of the root so, and is answered
	}
	names, ok := splitPath(path)
	if !ok {
		return nil, tag("malformed_path")
	}
	if n := d.find(names); n != nil {
		return n, nil
	}
	return nil, tag("not_found")
}

// find follows names from the root; nil where there is nothing.
func (d *Dropbox) find(names []string) *dropboxNode {
	n := d.root
	for _, name := range names {
		if n = n.kids[dropboxKey(name)]; n == nil {
			return nil
		}
	}
	return n
}

// place is where something is to be written.
type place struct {
	names []string
	there *dropboxNode // what is there already
}

// target checks where something is to be written, or tells the WriteError.
func (d *Dropbox) target(path string) (place, union) {
	if strings.HasPrefix(path, "id:") {
		n, missing := d.lookup(path)
		if missing != nil {
			return place{}, nest("conflict", "other")
		}
		path = n.display()
	}
	names, ok := splitPath(path)
	if !ok {
		return place{}, tag("malformed_path")
	}
	if d.nfc {
		for i := range names {
			names[i] = norm.NFC.String(names[i])
		}
	}
	for _, name := range names {
		if disallowed(name) {
			return place{}, tag("disallowed_name")
		}
	}
	n := d.root
	for _, name := range names[:len(names)-1] {
		if n = n.kids[dropboxKey(name)]; n == nil {
			return place{names: names}, nil
		}
		if n.file != nil {
			return place{}, nest("conflict", "file_ancestor")
		}
	}
	return place{names: names, there: n.kids[dropboxKey(names[len(names)-1])]}, nil
}

// free is the same place under a name that isn't taken: "a (1).txt" for "a.txt".
func (d *Dropbox) free(p place, mark func(i int) string) place {
	last := p.names[len(p.names)-1]
	stem, ext := last, ""
	if i := strings.LastIndexByte(last, '.'); i > 0 {
		stem, ext = last[:i], last[i:]
	}
	for i := 1; ; i++ {
		names := slices.Clone(p.names)
		names[len(names)-1] = stem + mark(i) + ext
		if d.find(names) == nil {
			return place{names: names}
		}
	}
}

// attach puts a node at a place and makes the folders above it.
func (d *Dropbox) attach(names []string, n *dropboxNode) {
	at := d.root
	for _, name := range names[:len(names)-1] {
		next := at.kids[dropboxKey(name)]
		if next == nil {
			next = &dropboxNode{id: d.newID(), name: name, kids: map[string]*dropboxNode{}, parent: at}
			at.kids[dropboxKey(name)] = next
			d.ids[next.id] = next
			d.record(next.display())
		}
		at = next
	}
	n.name, n.parent = names[len(names)-1], at
	at.kids[dropboxKey(n.name)] = n
	n.walk(func(n *dropboxNode) {
		d.ids[n.id] = n
		d.record(n.display())
	})
	size, files := n.sizes()
	d.used, d.files = d.used+size, d.files+files
}

// detach takes a node and all below away.
func (d *Dropbox) detach(n *dropboxNode) {
	size, files := n.sizes()
	d.used, d.files = d.used-size, d.files-files
	d.record(n.display())
	n.walk(func(n *dropboxNode) { delete(d.ids, n.id) })
	delete(n.parent.kids, dropboxKey(n.name))
}

// newID makes an id of 22 signs, as Dropbox's are.
func (d *Dropbox) newID() string {
	d.serial++
	return fmt.Sprintf("id:%s%011d", "a4ayc_80_OE", d.serial)
}

// newRev makes a revision.
func (d *Dropbox) newRev() string {
	d.serial++
	return fmt.Sprintf("01%010x0000000%s", d.serial, dropboxNamespace)
}

// dropboxChange is a path at which something changed.
type dropboxChange struct{ display string }

// record notes a change for cursors and wakes whoever polls.
func (d *Dropbox) record(display string) {
	d.journal = append(d.journal, dropboxChange{display})
	if len(d.journal) > maxJournal {
		drop := len(d.journal) / 2
		d.journal, d.forgot = slices.Clone(d.journal[drop:]), d.forgot+drop
	}
	close(d.changed)
	d.changed = make(chan struct{})
}
