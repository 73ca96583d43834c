package acceptance

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"offload/internal/cloudtest"
)

// piece is one file of the account: the newest content that its owner gave it.
type piece struct {
	path  string // as it was put
	id    string
	sum   [sha256.Size]byte
	size  int64
	files map[string][]byte // of a package
	stays string            // the code with which it must stay at iCloud, "" where it must go
	aside bool              // it mustn't be copied either
}

// stock is what lies in the account of a world, kept apart: nothing of it may be lost. Contents of files that aren't empty
// differ from each other, so that one is known by its sum wherever it lies.
type stock struct {
	c      *clouds
	mu     sync.Mutex
	pieces map[string]*piece // by ID
	serial int
}

func newStock(c *clouds) *stock { return &stock{c: c, pieces: map[string]*piece{}} }

// noted is when the files of a stock were written.
func noted() time.Time { return time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC) }

// content makes bytes that no other file has.
func (s *stock) content(size int) []byte {
	s.mu.Lock()
	s.serial++
	seed := uint64(s.serial)
	s.mu.Unlock()
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b) // it never fails
	return b
}

func (s *stock) note(p *piece) *piece {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pieces[p.id] = p
	return p
}

// put stores a file of so many bytes.
func (s *stock) put(path string, size int) *piece {
	b := s.content(size)
	it := s.c.account.Put(path, b, noted())
	return s.note(&piece{path: path, id: it.ID, sum: sumOf(b), size: int64(size)})
}

// twin stores a file beside one whose name differs in case or accents alone, if at all.
func (s *stock) twin(path string, size int) *piece {
	b := s.content(size)
	it := s.c.account.PutTwin(path, b, noted())
	return s.note(&piece{path: path, id: it.ID, sum: sumOf(b), size: int64(size)})
}

func sumOf(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// change gives a file other content, as its owner might at any time.
func (s *stock) change(path string) {
	it, ok := s.c.account.Lookup(path)
	if !ok {
		return // it is in the trash by now: nobody can write to it
	}
	s.mu.Lock()
	p := s.pieces[it.ID]
	s.mu.Unlock()
	if p == nil {
		panic("the stock doesn't know " + path)
	}
	b := s.content(int(p.size)) // as long as before: only the etag tells
	s.c.account.Change(path, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.sum = sumOf(b)
}

// fill puts n files into so many folders below root, most of them small.
func (s *stock) fill(root string, n, folders int) (paths []string) {
	for i := range n {
		path := fmt.Sprintf("%s/folder %02d/file %03d.txt", root, i%folders, i)
		s.put(path, 100+(i*977)%4000)
		paths = append(paths, path)
	}
	return paths
}

// all returns the pieces.
func (s *stock) all() []*piece {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make([]*piece, 0, len(s.pieces))
	for _, p := range s.pieces {
		q := *p
		l = append(l, &q)
	}
	return l
}

// isManifest tells whether a path at a destination is a job's own record.
func isManifest(path string) bool { return strings.Contains(path, "/.offload/") }

// arrived counts the files at Dropbox, without the jobs' own.
func (c *clouds) arrived() (n int) {
	c.dropbox.Walk(func(f cloudtest.DropboxFile) {
		if !f.Folder && !isManifest(f.Path) {
			n++
		}
	})
	return n
}

// atDropbox returns the paths of files below /Backup by the sum of what is stored in them.
func (s *stock) atDropbox() map[[sha256.Size]byte][]string {
	found := map[[sha256.Size]byte][]string{}
	s.c.dropbox.Walk(func(f cloudtest.DropboxFile) {
		if f.Folder || !strings.HasPrefix(f.Path, "/Backup/") || isManifest(f.Path) {
			return
		}
		b, ok := s.c.dropbox.Get(f.Path)
		if !ok {
			return
		}
		sum := sumOf(b)
		found[sum] = append(found[sum], f.Path)
	})
	return found
}

// live tells whether the newest content of a piece lives at iCloud. Of packages it is enough that they live: nobody
// changes them here.
func (s *stock) live(p *piece) bool {
	if p.files != nil {
		_, ok := s.c.account.Lookup(p.path)
		return ok
	}
	b, alive, ok := s.c.account.Read(p.id)
	return ok && alive && sumOf(b) == p.sum
}

// lost returns the pieces whose newest content is neither alive at iCloud nor at Dropbox, byte for byte.
func (s *stock) lost() (lost []string) {
	there := s.atDropbox()
	for _, p := range s.all() {
		if p.size == 0 && p.files == nil {
			continue // it holds nothing
		}
		if len(there[p.sum]) == 0 && !s.live(p) && !s.zipped(p) {
			lost = append(lost, p.path)
		}
	}
	return lost
}

// nothingLost demands that of every piece.
func (s *stock) nothingLost(t testing.TB) {
	t.Helper()
	for _, path := range s.lost() {
		t.Errorf("lost: %q is neither at Dropbox nor alive at iCloud", path)
	}
}

// moved demands that everything that may go has gone and is at Dropbox under its name, or one beside it.
func (s *stock) moved(t testing.TB) {
	t.Helper()
	s.nothingLost(t)
	there := s.atDropbox()
	for _, p := range s.all() {
		if p.stays != "" {
			continue
		}
		if _, alive, ok := s.c.account.Read(p.id); ok && alive {
			t.Errorf("not moved: %q is still at iCloud", p.path)
		}
		if !anyNamed(there[p.sum], p.path) {
			t.Errorf("not moved: %q isn't at Dropbox under its name: %q", p.path, there[p.sum])
		}
	}
}

// anyNamed tells whether one of the paths at Dropbox is that of a file, or the name beside it that a conflict gives. What
// is there already lends it its spelling.
func anyNamed(paths []string, path string) bool {
	want := dropboxName(path)
	for _, p := range paths {
		stem, rest, renamed := strings.Cut(p, " (offload")
		if _, tail, ok := strings.Cut(rest, ")"); renamed && ok {
			if strings.EqualFold(stem+tail, want) {
				return true
			}
		}
		if p == want {
			return true
		}
	}
	return false
}

// dropboxName is where a file of iCloud goes: composed, and with the signs that Dropbox doesn't take in the spelling that
// rclone gives them.
func dropboxName(path string) string {
	path = norm.NFC.String("/Backup/" + path)
	path = strings.NewReplacer(`\`, "＼", "\x7f", "␡").Replace(path)
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if rest, ok := strings.CutSuffix(part, " "); ok {
			parts[i] = rest + "␠"
		}
	}
	return strings.Join(parts, "/")
}

// zipped tells whether the zip of a package is at Dropbox with all that is in the package.
func (s *stock) zipped(p *piece) bool {
	if p.files == nil {
		return false
	}
	for _, name := range []string{dropboxName(p.path), dropboxName(p.path) + ".zip"} {
		if b, ok := s.c.dropbox.Get(name); ok && sameZip(b, p.files) {
			return true
		}
	}
	return false
}

func sameZip(b []byte, want map[string][]byte) bool {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(z.File) != len(want) {
		return false
	}
	for _, e := range z.File {
		_, name, _ := strings.Cut(e.Name, "/")
		r, err := e.Open()
		if err != nil {
			return false
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want[name]) {
			return false
		}
	}
	return true
}
