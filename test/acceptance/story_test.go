package acceptance

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// Offloaded, found, looked at, brought back, looked at again: the chain that a person relies on.
func TestOffloadWhereScrubRestoreScrub(t *testing.T) {
	t.Parallel()
	c, s := newFullAccount(t, cloudtest.Options{})
	before := c.picture(t)
	c.run(0, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified")
	id := c.only().ID
	if n := len(c.livingFilms()); n != 0 {
		t.Fatalf("%d films are left", n)
	}

	name := path.Base(shown(film(17)))
	for _, ask := range []string{name, strings.ToUpper(strings.TrimSuffix(name, ".mov")), "year 1/*17*"} {
		contains(t, c.run(0, "where", ask), "Backup/"+shown(film(17)), "offload restore")
	}
	c.run(0, "where", "no such file anywhere")
	c.run(0, "manifest", "verify", "dropbox:Backup")
	c.run(0, "scrub", id)

	// Half of it went out of the trash by itself, one file at Dropbox is somebody else's now, and one place is taken.
	c.account.ExpireTrash(func(it cloudtest.Item) bool {
		return strings.HasSuffix(it.Name, "0.mov") || strings.HasSuffix(it.Name, "1.mov")
	})
	c.dropbox.Change("/Backup/"+film(20), []byte("tampered with"))
	spoilt := c.say(3, "", "scrub", id)
	contains(t, spoilt, shown(film(20)))
	taken := c.content(s, film(9))

	out := c.say(3, "", "restore", id, "--yes")
	t.Logf("restore said:\n%s", out)
	after := c.picture(t)
	if _, ok := after[film(20)]; ok {
		t.Errorf("%q came back though its only copy had been tampered with", film(20))
	}
	if b, _ := c.account.Get(film(9)); string(b) != string(taken) {
		t.Errorf("%q was taken by a newer file, and that isn't there any more", film(9))
	}
	beside := 0
	for p, is := range after {
		switch was, there := before[p]; {
		case !there && strings.Contains(p, "Übung 09") && is == before[film(9)]:
			beside++
		case !there:
			t.Errorf("%q is new", p)
		case p != film(9) && is != was:
			t.Errorf("%q: %q, want %q", p, is, was)
		}
	}
	if beside != 1 || len(after) != len(before) { // one is missing, one is beside
		t.Errorf("%d of the restored lie beside the newer one, %d files in all, want one and %d", beside, len(after), len(before))
	}
	s.forget(film(20)) // it was in no trash any more, and its copy was tampered with: only an alarm can tell of it, and did
	s.somewhere(t)
	again := c.say(3, "", "restore", id, "--yes")
	same(t, after, c.picture(t))
	t.Logf("restored again:\n%s", again)
	contains(t, c.say(3, "", "scrub", id), shown(film(20))) // a restore doesn't mend what is wrong at Dropbox
}

// forget takes a file out of the stock: nobody asks for it any more.
func (s *stock) forget(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.pieces, func(_ string, p *piece) bool { return p.path == path })
}

// content puts a newer file to a place, and returns what is in it.
func (c *clouds) content(s *stock, path string) []byte {
	p := s.put(path, 700)
	b, _, _ := c.account.Read(p.id)
	return b
}

// readme returns the commands of the README's first section, as they stand there.
func readme(t testing.TB) (commands []string) {
	t.Helper()
	name := os.Getenv("OFFLOAD_TEST_README")
	if name == "" {
		name = filepath.Join("..", "..", "README.md")
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "## ") {
		if strings.HasPrefix(lines.Text(), "./bin/offload ") {
			commands = append(commands, lines.Text())
		}
	}
	return commands
}

var wordOf = regexp.MustCompile(`"[^"]*"|\S+`)

// words are the arguments of a command line, without its comment.
func words(line string) (args []string) {
	line, _, _ = strings.Cut(line, " #")
	for _, w := range wordOf.FindAllString(line, -1)[1:] {
		args = append(args, strings.Trim(w, `"`))
	}
	return args
}

// The README begins with a story. Each of its commands is run here as it stands there, on an account that lacks a little of
// what the backup needs. Nobody types here: --yes stands for the word that is typed, and signing in is what other tests have.
func TestStoryOfTheReadme(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{})
	s := newStock(c)
	ago := func(path string, size int, days int) {
		s.put(path, size)
		c.account.SetModTime(path, time.Now().AddDate(0, 0, -days).Truncate(time.Second))
	}
	for year := 2019; year <= 2025; year++ {
		for i := range 5 {
			ago(fmt.Sprintf("Documents/Taxes/%d/Receipt %d.pdf", year, i), 30_000, 400*(2027-year)+i)
		}
		ago(fmt.Sprintf("Documents/Taxes/%d/Tax return.pdf", year), 90_000, 400*(2027-year))
	}
	for i := range 30 {
		ago(fmt.Sprintf("Movies/Clip %02d.mov", i), 900_000, 1500-i)
		ago(fmt.Sprintf("Desk/Now %02d.txt", i), 40_000, i)
	}
	const total, needs = 50 << 30, 8 << 30
	c.account.FillUp(total, total-1<<30)

	var seen []string
	for _, line := range readme(t) {
		args := words(line)
		seen = append(seen, args[0])
		status, before := 0, c.account.Files()
		switch {
		case args[0] == "remotes":
			continue // TestSignInIsEndedByAnotherProcess, and the browser's TestStory
		case args[0] == "doctor" && !strings.Contains(strings.Join(seen, " "), "free"):
			status = 3 // that is why one reads on
		case args[0] == "free": // most of the photos went meanwhile, so that no test moves gigabytes: 20 MiB and the 5 % are missing
			c.account.FillUp(total, total-needs/100*105+20<<20)
			args = append(args, "--yes")
		case args[0] == "restore":
			args = append(args, "--yes")
		case args[0] == "up":
			c.serves(args)
			continue
		}
		said := c.say(status, "", args...)
		t.Logf("$ %s\n%s", line, said)
		switch args[0] {
		case "free":
			if room := total - c.account.Used(); room < needs {
				t.Errorf("%d bytes are free, the backup needs %d", room, needs)
			}
			for i := range 30 {
				if _, ok := c.account.Lookup(fmt.Sprintf("Desk/Now %02d.txt", i)); !ok {
					t.Errorf("Desk/Now %02d.txt is %d days old, and was taken", i, i)
				}
			}
		case "where":
			contains(t, said, "Tax return.pdf")
		case "restore":
			if n := c.account.Files() - before; n != 6 {
				t.Errorf("%d files came back, want the 6 of 2019", n)
			}
		}
	}
	s.somewhere(t)
	for _, want := range []string{"doctor", "free", "where", "scrub", "restore", "schedules", "up"} {
		if !strings.Contains(strings.Join(seen, " "), want) {
			t.Errorf("the README's first section has no command %q: %v", want, seen)
		}
	}
}

// serves runs a command that goes on, until its dashboard answers.
func (c *clouds) serves(args []string) {
	t := c.w.t
	t.Helper()
	addr := freeAddress(t)
	p := c.start(append(args, "--listen", addr)...)
	eventually(t, 30*time.Second, "the dashboard to answer", func() bool {
		r, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	p.interrupt(t)
	if code := p.status(t, 30*time.Second); code != 0 && code != 130 {
		t.Errorf("offload %s ended with %d", strings.Join(args, " "), code)
	}
	http.DefaultClient.CloseIdleConnections()
}
