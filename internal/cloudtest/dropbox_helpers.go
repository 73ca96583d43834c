package cloudtest

import (
	"strings"
	"time"
)

// DropboxFile is a file or folder as it is at the played Dropbox.
type DropboxFile struct {
	Path           string // begins with a slash
	ID, Rev        string
	Hash           string // content hash of what is stored
	Told           string // content hash that the service tells
	Size           int64
	ClientModified time.Time
	ServerModified time.Time
	Folder         bool
}

// shown is a node for tests.
func (n *dropboxNode) shown() DropboxFile {
	f := DropboxFile{Path: n.display(), ID: n.id, Folder: n.file == nil}
	if n.file != nil {
		f.Rev, f.Hash, f.Told, f.Size = n.file.rev, n.file.blob.hash, n.file.hash(), n.file.blob.size
		f.ClientModified, f.ServerModified = n.file.clientModified, n.file.serverModified
	}
	return f
}

// at finds a node by a path with or without its first slash; nil for nothing.
func (d *Dropbox) at(path string) *dropboxNode {
	if path = strings.Trim(path, "/"); path == "" {
		return d.root
	}
	return d.find(strings.Split(path, "/"))
}

// Put stores a file as if somebody else had uploaded it, over what is there. It obeys no limits.
func (d *Dropbox) Put(path string, content []byte) DropboxFile {
	blob := newBlob(content)
	d.mu.Lock()
	defer d.mu.Unlock()
	entries := d.count.entries
	names := strings.Split(strings.Trim(path, "/"), "/")
	n := d.write(place{names: names, there: d.find(names)}, blob, d.w.now())
	d.count.entries = entries // not one of the API's
	return n.shown()
}

// Change gives a file that is there other content and a new rev, and tells whether it was there.
func (d *Dropbox) Change(path string, content []byte) bool {
	d.mu.Lock()
	n := d.at(path)
	d.mu.Unlock()
	if n == nil || n.file == nil {
		return false
	}
	d.Put(path, content)
	return true
}

// Corrupt flips one bit of what is stored, while the hash that is told stays as it was.
func (d *Dropbox) Corrupt(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.at(path)
	if n == nil || n.file == nil || n.file.blob.size == 0 || n.file.blob.forgot {
		return false
	}
	content, _ := n.file.blob.bytes()
	content[len(content)/2] ^= 1
	file := *n.file
	file.told, file.blob = n.file.hash(), newBlob(content)
	n.file = &file
	return true
}

// Mkdir makes a folder and those above it.
func (d *Dropbox) Mkdir(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at(path) == nil {
		d.attach(strings.Split(strings.Trim(path, "/"), "/"), &dropboxNode{id: d.newID(), kids: map[string]*dropboxNode{}})
	}
}

// Get is the content of a file as it is stored. ok is false where there is none, or where only its hash was kept.
func (d *Dropbox) Get(path string) (content []byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.at(path)
	if n == nil || n.file == nil {
		return nil, false
	}
	return n.file.blob.bytes()
}

// Stat is what is at a path.
func (d *Dropbox) Stat(path string) (f DropboxFile, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.at(path)
	if n == nil {
		return f, false
	}
	return n.shown(), true
}

// Hash is the content hash of what is stored at a path, "" where there is no file.
func (d *Dropbox) Hash(path string) string {
	f, _ := d.Stat(path)
	return f.Hash
}

// Remove takes a file or folder away, and tells whether it was there.
func (d *Dropbox) Remove(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.at(path)
	if n == nil || n == d.root {
		return false
	}
	d.detach(n)
	return true
}

// Walk calls f for all files and folders, parents first, by path.
func (d *Dropbox) Walk(f func(DropboxFile)) {
	var all []DropboxFile
	d.mu.Lock()
	d.root.walk(func(n *dropboxNode) {
		if n != d.root {
			all = append(all, n.shown())
		}
	})
	d.mu.Unlock()
	for _, one := range all {
		f(one)
	}
}

// Len is the number of files.
func (d *Dropbox) Len() int { return d.counted(func() int { return d.files }) }

// Used is how many bytes all files take.
func (d *Dropbox) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Commits is how many calls committed uploads; those refused for overlapping don't count.
func (d *Dropbox) Commits() int { return d.counted(func() int { return d.count.commits }) }

// Committed is how many files were written by commits. One that was there with the same content isn't written.
func (d *Dropbox) Committed() int { return d.counted(func() int { return d.count.entries }) }

// MaxOverlapCommits is the most commits that were in flight at one moment.
func (d *Dropbox) MaxOverlapCommits() int {
	return d.counted(func() int { return d.count.maxCommitting })
}

// Overlapped is how many writes were refused, or let fail, because another one was in flight.
func (d *Dropbox) Overlapped() int { return d.counted(func() int { return d.count.overlapped }) }

// SessionsStarted is how many upload sessions were begun.
func (d *Dropbox) SessionsStarted() int { return d.counted(func() int { return d.count.started }) }

// SessionsFinished is how many upload sessions became files.
func (d *Dropbox) SessionsFinished() int { return d.counted(func() int { return d.count.finished }) }

// Refused is how many calls were refused because more were in flight than SetLimit allows.
func (d *Dropbox) Refused() int { return d.w.tally.refusals(d.name()) }

func (d *Dropbox) counted(n func() int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return n()
}

// ExpireSessions ends all upload sessions that weren't finished.
func (d *Dropbox) ExpireSessions() { d.set(func() { clear(d.sessions) }) }

// SetLimit refuses calls above n in flight with 429; 0 refuses none.
func (d *Dropbox) SetLimit(n int) { d.set(func() { d.max = n }) }

// SetRetryAfter is how many seconds a 429 asks to wait. The default is 1.
func (d *Dropbox) SetRetryAfter(seconds int) { d.set(func() { d.retryAfter = seconds }) }

// SetSpace is how many bytes the account may hold. The default is 2 TiB.
func (d *Dropbox) SetSpace(total int64) { d.set(func() { d.space = total }) }

// SetSpaceEarly refuses pieces of an upload already where they go beyond the space, not only the commit.
func (d *Dropbox) SetSpaceEarly(early bool) { d.set(func() { d.spaceEarly = early }) }

// SetPageSize is the most entries in one page of a listing, whatever the client asks for. The default is 2000.
func (d *Dropbox) SetPageSize(n int) { d.set(func() { d.page = n }) }

// SetOverlap says what becomes of commits that overlap.
func (d *Dropbox) SetOverlap(o Overlap) { d.set(func() { d.overlap = o }) }

// SetHash says which hash is told of content that a fault has changed on its way in.
func (d *Dropbox) SetHash(m HashMode) { d.set(func() { d.hashes = m }) }

// SetForget keeps only hash and size of what is uploaded from now on. Reading it back fails.
func (d *Dropbox) SetForget(forget bool) { d.set(func() { d.forget = forget }) }

// SetNFC stores names in NFC, whichever form they are sent in.
func (d *Dropbox) SetNFC(nfc bool) { d.set(func() { d.nfc = nfc }) }

// SetRawHeaders takes raw UTF-8 in Dropbox-API-Arg.
func (d *Dropbox) SetRawHeaders(raw bool) { d.set(func() { d.rawHeaders = raw }) }

func (d *Dropbox) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}
