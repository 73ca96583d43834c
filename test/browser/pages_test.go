package browser

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"offload/internal/cloudtest"
)

// sight is one page as somebody may come across it.
type sight struct {
	name   string // of its picture
	path   string
	status int
	see    []string // what stands on it
}

// looks are the ways in which each page is looked at: a phone and a wide window, light and dark.
var looks = []struct {
	width  int64
	scheme string
}{{1280, "light"}, {1280, "dark"}, {390, "light"}, {390, "dark"}}

// inspect looks at pages in all ways: none may scroll sideways, break a rule of axe or make the browser complain.
func inspect(t *testing.T, url string, sights []sight) {
	t.Helper()
	for _, s := range sights {
		t.Run(s.name, func(t *testing.T) {
			tb := openTab(t, url, "")
			told := map[string]bool{} // a fault that all looks have is told once
			tell := func(format string, args ...any) {
				if text := fmt.Sprintf(format, args...); !told[text] {
					told[text] = true
					t.Error(text)
				}
			}
			for _, look := range looks {
				tb.size(look.width, 900)
				tb.scheme(look.scheme)
				tb.open(s.path, s.status)
				tb.see(s.see...)
				tb.faults(look.width, look.scheme, s.name, tell)
			}
		})
	}
}

// faults tells what is wrong with the page as it is now.
func (tb *tab) faults(width int64, scheme, name string, tell func(format string, args ...any)) {
	tb.t.Helper()
	how := fmt.Sprintf("%d px, %s", width, scheme)
	tb.whole()
	if wide := tb.width(); wide != "" {
		tell("%s at %s: something has no room: %s", name, how, wide)
	}
	for _, f := range tb.axe() {
		tell("%s at %s: %s", name, how, f)
	}
	tb.shot(fmt.Sprintf("%s %d %s", name, width, scheme))
}

// look looks at the page as it is now in all ways, without loading it again: for what comes up in the midst of something.
func (tb *tab) look(name string) {
	tb.t.Helper()
	told := map[string]bool{}
	for _, look := range looks {
		tb.size(look.width, 900)
		tb.scheme(look.scheme)
		tb.faults(look.width, look.scheme, name, func(format string, args ...any) {
			if text := fmt.Sprintf(format, args...); !told[text] {
				told[text] = true
				tb.t.Error(text)
			}
		})
	}
	tb.size(looks[0].width, 900)
}

func TestPagesOfNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	if err := os.WriteFile(h.conf, nil, 0o600); err != nil { // no remote either
		t.Fatal(err)
	}
	inspect(t, h.serve("up"), []sight{
		{"empty home", "/", http.StatusOK, []string{"offload"}},
		{"empty jobs", "/jobs", http.StatusOK, []string{"Jobs"}},
		{"empty new", "/new", http.StatusOK, []string{"New transfer"}},
		{"empty remotes", "/remotes", http.StatusOK, []string{"Remotes"}},
		{"empty quota", "/quota", http.StatusOK, []string{"Quota"}},
		{"empty workers", "/workers", http.StatusOK, []string{"Workers"}},
		{"empty queue", "/queue", http.StatusOK, []string{"Queue"}},
		{"empty record", "/record", http.StatusOK, []string{"Nobody has done anything yet"}},
		{"remote kinds", "/remotes/add", http.StatusOK, []string{"iCloud Drive", "Another cloud"}},
		{"remote icloud", "/remotes/add?kind=iclouddrive", http.StatusOK, []string{"Apple ID"}},
		{"no such page", "/nothing/here", http.StatusNotFound, nil},
		{"no such job", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", http.StatusNotFound, []string{"no such job"}},
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	job := func(name string) string { return "/jobs/" + f.jobs[name] }
	inspect(t, f.url, []sight{
		{"home", "/", http.StatusOK, []string{"Films of the summer"}},
		{"jobs", "/jobs", http.StatusOK, []string{"Films of the summer", "For later", hostile}},
		{"jobs found", "/jobs?q=films", http.StatusOK, []string{"Films of the summer"}},
		{"jobs none", "/jobs?q=nosuchjob", http.StatusOK, []string{"no job"}},
		{"job running", job("running"), http.StatusOK, []string{"Films of the summer"}},
		{"job warnings", job("warnings"), http.StatusOK, []string{hostile}},
		{"job quota", job("quota"), http.StatusOK, []string{"quota"}},
		{"job paused", job("paused"), http.StatusOK, []string{"paused"}},
		{"job canceled", job("canceled"), http.StatusOK, []string{"canceled"}},
		{"files", job("warnings") + "/files", http.StatusOK, []string{"Talk.key", "failed"}},
		{"files none", job("warnings") + "/files?q=nosuchfile", http.StatusOK, []string{"No file is like that"}},
		{"new", "/new", http.StatusOK, []string{"New transfer"}},
		{"new again", "/new?from=" + f.jobs["warnings"], http.StatusOK, []string{"New transfer"}},
		{"remotes", "/remotes", http.StatusOK, []string{"icloud", "dropbox"}},
		{"quota", "/quota", http.StatusOK, []string{"tight"}},
		{"workers", "/workers", http.StatusOK, []string{"Workers"}},
		{"queue", "/queue", http.StatusOK, []string{"Queue"}},
		{"record", "/record", http.StatusOK, []string{"What people did"}},
	})
}

// A name that holds markup is text wherever it is shown: no element of it may have come into being.
func TestPagesShowNamesAsText(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	folder := `Docs/<b id="mine">bold<b>`
	h.put(folder+"/"+hostile, 1000)
	h.put(`Docs/'"><script src=//evil.example/x.js></script>/a.txt`, 1000)
	url := h.serve("up")
	id := h.say(0, "", "enqueue", "icloud:Docs", "dropbox:Backup/<i id=mine>", "--label", `<u id="mine">label</u>`)
	h.await(id, "the job to end", func(j job) bool { return strings.HasPrefix(j.State, "completed") })
	tb := openTab(t, url, "")
	for _, path := range []string{"/", "/jobs", "/jobs/" + id, "/jobs/" + id + "/files", "/new?from=" + id, "/jobs?q=%3Cb%20id%3Dmine%3E", "/workers", "/queue", "/quota", "/remotes"} {
		tb.open(path, http.StatusOK)
		if n := tb.count(`#mine, main img[src="x"], script[src*="evil"]`); n != 0 {
			t.Errorf("%s: %d elements came out of names", path, n)
		}
	}
}
