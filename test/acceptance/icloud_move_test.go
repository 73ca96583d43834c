package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"offload/internal/cloudtest"
)

// names are shapes of names for files and folders; %d makes each one of its kind.
func names() []string {
	return []string{
		"plain %d", norm.NFD.String("Übergrößen äöü %d"), norm.NFC.String("Crème brûlée %d"), "🏝️ Urlaub 👨‍👩‍👧 %d", "写真と動画 %d", "صور العائلة %d",
		"עברית %d", "  two leading spaces %d", "quo\"te's `%d`", "100%% sure %d %%2F", ".hidden %d", "back\\slash %d", "semi;colon & co %d",
		"x=1,y=2 [%d] {%d}", "tabs\tand ~tilde# %d", norm.NFD.String("한국어 %d"), "I%d ıİ ẞß", "#hash? question * %d",
	}
}

// shape is one of the names.
func shape(i, n int) string {
	format := names()[i%len(names())]
	return fmt.Sprintf(format, slices.Repeat([]any{n}, strings.Count(format, "%d"))...)
}

// wholeAccount fills an account with n files in so many folders, and with everything that is odd about the two clouds.
func wholeAccount(s *stock, n, folders int) {
	var dirs []string
	deep := "deep"
	for i := range folders {
		switch dir := shape(i, i); {
		case i%20 == 19: // a chain that goes down and down
			deep += "/" + dir
			dirs = append(dirs, deep)
		case i%7 == 6: // below another one
			dirs = append(dirs, dirs[i/2]+"/"+dir)
		default:
			dirs = append(dirs, dir)
		}
	}
	for i := range n {
		size := 1 + (i*7919)%3000
		if i%50 == 0 {
			size = 20_000
		}
		s.put(dirs[i%folders]+"/"+shape(i/folders, i)+[]string{".txt", "", ".tar.gz", ".jpeg"}[i%4], size)
	}
	oddSizes(s)
	oddNames(s)
	oddKinds(s)
}

func oddSizes(s *stock) {
	const block = 4 << 20 // Dropbox hashes by these
	for i, size := range []int{1, block - 1, block, block + 1} {
		s.put(fmt.Sprintf("sizes/%d-%d.bin", i, size), size)
	}
	// Larger than one piece of an upload, the last one of which is not whole.
	b, err := io.ReadAll(cloudtest.Generated(30<<20+17, 42))
	if err != nil {
		panic(err)
	}
	p := s.put("sizes/film.mov", 1)
	s.c.account.Remove(p.path)
	s.mu.Lock()
	delete(s.pieces, p.id)
	s.mu.Unlock()
	it := s.c.account.PutGenerated(p.path, int64(len(b)), 42)
	s.note(&piece{path: p.path, id: it.ID, sum: sumOf(b), size: int64(len(b))})
	for _, path := range []string{"sizes/empty", "sizes/empty.txt"} {
		s.put(path, 0).stays = "size_not_trusted"
	}
	hidden := s.put("sizes/not told.bin", 5000)
	hidden.stays = "size_not_trusted"
	s.c.account.HideSize(hidden.path)
}

func oddNames(s *stock) {
	for _, name := range []string{"trailing space ", "trailing dot.", "two spaces  ", "dots...", "ends in \u00a0", "a \\ b\\", "del\x7fete", "con", "aux.txt"} {
		s.put("odd/"+name, 300)
	}
	s.put("odd/folder with space /x.txt", 300)
	s.put("odd/folder with dot./x.txt", 300)
	s.put("odd/"+strings.Repeat("ü", 120)+".txt", 300)
	for _, name := range []string{".DS_Store", "desktop.ini", "Icon\r", "Thumbs.db", "folders/DESKTOP.INI/inside.txt", strings.Repeat("long ", 52) + ".txt"} {
		p := s.put("refused/"+name, 200)
		p.stays, p.aside = "name_refused", true
	}
	// Of each two the one moves that comes first by its name; the other stays.
	twin := func(goes, stays, code string) {
		s.put("twins/"+goes, 400)
		p := s.twin("twins/"+stays, 400)
		p.stays, p.aside = code, true
	}
	twin("REPORT.TXT", "Report.txt", "name_collision")
	twin("Straße.md", "straße.md", "name_collision")
	// iCloud spells both alike: it is the first that it lists.
	twin(norm.NFD.String("Café.txt"), norm.NFC.String("Café.txt"), "duplicate_name")
}

func oddKinds(s *stock) {
	for _, name := range []string{"Letter.pages", "Song.band", "Sheet.numbers", "Odd.blueprint"} {
		files := map[string][]byte{"Index.xml": s.content(2000), "Data/preview.jpg": s.content(3000), "Data/ü.bin": s.content(100)}
		path := "packages/" + name
		it := s.c.account.PutPackage(path, files)
		s.note(&piece{path: path, id: it.ID, files: files, stays: "package"})
	}
	s.c.account.AddAppLibrary("Pages", "com.apple.Pages")
	s.c.account.AddAppContainer("Drawings", "com.example.Drawings")
	for i := range 5 {
		s.put(fmt.Sprintf("Pages/essay %d.txt", i), 700)
		s.put(fmt.Sprintf("Drawings/Sketches/%d.png", i), 700)
	}
	b := s.content(800)
	it := s.c.account.PutShared("from Bert.txt", b, noted())
	s.note(&piece{path: "from Bert.txt", id: it.ID, sum: sumOf(b), size: 800, stays: "shared"})
	b = s.content(800)
	it = s.c.account.PutShared("Bert's folder/minutes.txt", b, noted())
	// Nobody but its owner can read below a shared folder by these calls.
	s.note(&piece{path: "Bert's folder/minutes.txt", id: it.ID, sum: sumOf(b), size: 800, stays: "shared", aside: true})
}

func TestICloudToDropboxMovesAnAccount(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{})
	s := newStock(c)
	wholeAccount(s, 1930, 190)
	used := c.account.Used()
	t.Logf("%d files, %d bytes", c.account.Files(), used)

	began := time.Now()
	out := c.run(3, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified")
	t.Logf("moved in %s:\n%s", time.Since(began).Round(time.Millisecond), out)
	j := c.only()
	if j.State != "completed_with_warnings" {
		t.Errorf("the job is %s (%s), want completed_with_warnings", j.State, j.Error)
	}
	s.moved(t)
	s.recorded(t, j)
	if now := c.account.Used(); now != used {
		t.Errorf("%d bytes of the room are used, want %d as before: the trash counts", now, used)
	}
	if gone := c.account.Purged(); len(gone) != 0 {
		t.Errorf("%d items were removed for good, which nobody asked for: %q", len(gone), gone)
	}
	if _, err := os.Stat(c.w.data + "/spool"); err != nil {
		t.Errorf("the spool folder: %v", err)
	} else if left := files(t, c.w.data+"/spool"); len(left) != 0 {
		t.Errorf("left in the spool folder: %v", left)
	}
}

// recorded demands that the job tells of each piece what has become of it: proved by a hash and deleted, or kept with the
// reason.
func (s *stock) recorded(t testing.TB, j job) {
	t.Helper()
	type record struct {
		fileRecord
		Reason  string `json:"reason"`
		Package bool   `json:"package"`
	}
	byPath := map[string][]record{}
	list := decode[[]record](t, s.c.run(0, "jobs", "files", j.ID, "--json"))
	for _, r := range list {
		byPath[r.Path] = append(byPath[r.Path], r)
	}
	trashed := map[string]bool{}
	for _, it := range s.c.account.Trash() {
		trashed[it.ID] = true
	}
	for _, p := range s.all() {
		path := shown(p.path)
		i := slices.IndexFunc(byPath[path], func(r record) bool { return (r.Outcome == "set_aside") == p.aside })
		if i < 0 {
			t.Errorf("%q isn't in the job's list, or not as it should be: %+v", path, byPath[path])
			continue
		}
		switch r := byPath[path][i]; {
		case p.stays == "":
			if r.Outcome != "copied" || r.Grade != "A" || r.Source != "deleted" || !trashed[p.id] {
				t.Errorf("%q: %+v, in the trash: %t; want it copied, proved by hash and in the trash", path, r, trashed[p.id])
			}
		case trashed[p.id] || !s.live(p):
			t.Errorf("%q must stay at iCloud, and doesn't: %+v", path, r)
		case r.Code != p.stays, r.Reason == "":
			t.Errorf("%q: kept as %q because %q, want %q and a reason", path, r.Code, r.Reason, p.stays)
		case !p.aside && r.Outcome != "copied", r.Package != (p.files != nil):
			t.Errorf("%q: %+v", path, r)
		case p.files != nil && !s.zipped(p):
			t.Errorf("%q isn't at Dropbox as a zip of what is in it", path)
		}
	}
}

// shown is a path as the program shows it: composed, and with pictures of control characters, as rclone has them.
func shown(path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return '␀' + r
		case r == 0x7f:
			return '␡'
		}
		return r
	}, norm.NFC.String(path))
}

func TestPurgeTrashFreesTheRoomAndSaysSo(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{})
	// It is another account than the first one, and its trash holds something already.
	c.account = c.play.ICloud.AddAccount("bert@example.com", "battery horse")
	c.account.SetStorage(1<<30, 100<<20, 200<<20, 1<<20)
	conf, err := os.OpenFile(c.config, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer conf.Close()
	if _, err := fmt.Fprintf(conf, "\n[bert]\n%s\n", c.account.Conf()); err != nil {
		t.Fatal(err)
	}
	s := newStock(c)
	s.fill("Docs", 120, 12)
	foreign := c.account.Put("old letter.txt", []byte("thrown away by its owner"), noted())
	c.account.Discard("old letter.txt")
	used := c.account.Used()
	var size int64
	for _, p := range s.all() {
		size += p.size
	}

	out := c.run(0, "run", "bert:", "dropbox:Backup", "--delete-source", "verified", "--purge-trash")
	s.moved(t)
	if now := c.account.Used(); now != used-size {
		t.Errorf("%d bytes of the room are used, want %d: %d less", now, used-size, size)
	}
	left := slices.DeleteFunc(c.account.Trash(), func(it cloudtest.Item) bool { return it.Type == "FOLDER" }) // emptied ones take no room
	if len(left) != 1 || left[0].ID != foreign.ID {
		t.Errorf("the trash holds %+v, want what was in it before and nothing else", left)
	}
	if slices.Contains(c.account.Purged(), foreign.ID) {
		t.Error("what the job didn't delete was purged")
	}
	if !regexp.MustCompile(`bert now .*: \d+ KiB freed`).MatchString(out) || !strings.Contains(out, "purged     120 files") {
		t.Errorf("the summary doesn't say how much room was freed:\n%s", out)
	}
	if bytes.Contains([]byte(out), []byte("lie in the trash")) {
		t.Errorf("the summary speaks of a trash that was emptied:\n%s", out)
	}
}
