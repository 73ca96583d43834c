package acceptance

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"offload/internal/cloudtest"
)

// mortal builds the program that dies at the step which OFFLOAD_FAILPOINT names, once for all tests.
var mortal = sync.OnceValues(func() (string, error) {
	if _, err := program(); err != nil { // its folder is removed at the end
		return "", err
	}
	bin := filepath.Join(builtIn(), "offload-mortal")
	cmd := exec.Command("go", "build", "-tags", "failpoint", "-o", bin, "offload/cmd/offload")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build offload with failpoints: %w\n%s", err, out)
	}
	return bin, nil
})

// foreign are things in the account that aren't the job's: what their owner put into the trash, and what lives beside the
// folder that is moved.
type foreign struct {
	trashed []string // IDs
	alive   []string // paths
}

// discard puts a file into the trash, as its owner might.
func (f *foreign) discard(c *clouds, path string, content []byte) {
	c.account.Put(path, content, noted())
	it, ok := c.account.Discard(path)
	if !ok {
		panic("nothing to discard at " + path)
	}
	f.trashed = append(f.trashed, it.ID)
}

// plantForeign fills the account with so many files to be moved, and the trash with what a hasty purge would take: a
// namesake of one of them, a twin of its content, a folder with a file in it.
func plantForeign(c *clouds, s *stock, files int) *foreign {
	f := &foreign{}
	namesake := "Documents/folder 01/file 001.txt"
	f.discard(c, namesake, []byte("an older file of the same name"))
	if paths := s.fill("Documents", files, 3); paths[1] != namesake {
		panic("the namesake is called " + paths[1])
	}
	same, _ := c.account.Get(namesake)
	f.discard(c, "Documents/copy.txt", same)
	c.account.Put("Old/inner.txt", []byte("in a folder"), noted())
	it, _ := c.account.Discard("Old")
	f.trashed = append(f.trashed, it.ID)
	for _, path := range []string{"Private/letter.txt", "beside.txt"} {
		s.put(path, 777).stays = "elsewhere"
		f.alive = append(f.alive, path)
	}
	return f
}

// untouched demands that nothing foreign has gone anywhere.
func (f *foreign) untouched(t testing.TB, c *clouds) {
	t.Helper()
	trash := map[string]bool{}
	for _, it := range c.account.Trash() {
		trash[it.ID] = true
	}
	for _, id := range f.trashed {
		if !trash[id] {
			t.Errorf("%s lay in the trash before, and isn't there any more", id)
		}
	}
	for _, path := range f.alive {
		if _, ok := c.account.Lookup(path); !ok {
			t.Errorf("%q isn't the job's, and isn't there any more", path)
		}
	}
}

// purgedIsProved demands that everything that was ever purged was the job's own and is whole at Dropbox.
func (s *stock) purgedIsProved(t testing.TB) {
	t.Helper()
	there, known := s.atDropbox(), map[string]*piece{}
	for _, p := range s.all() {
		known[p.id] = p
	}
	for _, id := range s.c.account.Purged() {
		p := known[id]
		if p == nil {
			t.Errorf("%s was purged and isn't the job's", id)
		} else if len(there[p.sum]) == 0 {
			t.Errorf("%q was purged and isn't at Dropbox", p.path)
		}
	}
	for _, id := range s.c.account.TrashedIDs() {
		if p := known[id]; p != nil && len(there[p.sum]) == 0 {
			t.Errorf("%q was deleted and isn't at Dropbox", p.path)
		}
	}
}

// step is where the program is killed.
type step struct {
	at     string
	nth    int
	policy string // of deletion
	after  string // "copy" or "delete": what must be done by then for all files; "" for nothing
}

// steps between the download and the end of the purge, in the order in which a file comes to them.
func steps() []step {
	return []step{
		{"downloaded", 1, "verified", ""},
		{"downloaded", 15, "verified", ""},
		{"uploaded", 9, "verified", ""},
		{"committed", 1, "verified", ""},
		{"committed", 12, "verified", ""},
		{"proved", 5, "verified", ""},
		{"deletion recorded", 7, "verified", ""},
		{"deleted", 1, "verified", ""}, // of the canary
		{"deleted", 15, "verified", ""},
		{"batch ended", 1, "verified", ""},
		{"finishing", 1, "verified", "delete"},
		{"deletion recorded", 4, "complete", "copy"},
		{"deleted", 9, "complete", "copy"},
		{"folder removed", 1, "verified", "delete"},
		{"trash", 1, "verified", "delete"},
		{"before purge", 1, "verified", "delete"},
		{"purged", 1, "verified", "delete"},
		{"purge recorded", 1, "verified", "delete"},
		{"manifest stored", 1, "verified", "delete"},
		{"manifest put", 1, "verified", "delete"},
		{"concluding", 1, "verified", "delete"},
	}
}

func TestKilledAtEachStepNothingIsLost(t *testing.T) {
	t.Parallel()
	bin, err := mortal()
	if err != nil {
		t.Fatal(err)
	}
	const files = 30
	for _, st := range steps() {
		t.Run(fmt.Sprintf("%s %d %s", st.at, st.nth, st.policy), func(t *testing.T) {
			t.Parallel()
			c := newClouds(t, cloudtest.Options{})
			s := newStock(c)
			other := plantForeign(c, s, files)
			commits := c.commits()
			order := []string{"run", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", st.policy, "--purge-trash"}

			cmd := c.command(order...)
			cmd.Path = bin
			cmd.Env = append(cmd.Env, fmt.Sprintf("OFFLOAD_FAILPOINT=%s:%d", st.at, st.nth))
			p := start(t, "offload to be killed", cmd)
			p.status(t, limit())
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
				t.Fatalf("it ended as %v, want it killed at %q", cmd.ProcessState, st.at)
			}
			s.nothingLost(t)
			s.purgedIsProved(t)
			other.untouched(t, c)
			if n := len(s.atDropbox()); st.after != "" && n != files {
				t.Errorf("%d files at Dropbox when it was killed, want all %d", n, files)
			}
			if n := len(c.account.Purged()); n > 0 && !slices.Contains([]string{"purged", "purge recorded", "manifest stored", "manifest put", "concluding"}, st.at) {
				t.Errorf("%d files were purged before it came to the purge", n)
			}

			c.run(0, order...)
			s.moved(t)
			s.purgedIsProved(t)
			other.untouched(t, c)
			c.allPurged(t, files)
			for path, n := range commits() {
				if n != 1 {
					t.Errorf("%q was uploaded %d times to the end, want once: what was committed is known again", path, n)
				}
			}
			if n := c.arrived(); n != files {
				t.Errorf("%d files lie at Dropbox, want %d", n, files)
			}
			if n := c.dropbox.SessionsStarted(); st.after != "" && n != files+1 {
				t.Errorf("%d uploads were begun, want %d and the manifest: all was copied when it was killed", n, files)
			}
			c.oneManifest(t, "/Backup/Documents", files)
		})
	}
}

// oneManifest demands that a destination at Dropbox holds one manifest, of so many files, and that it is whole.
func (c *clouds) oneManifest(t testing.TB, dir string, files int) {
	t.Helper()
	var all []string
	c.dropbox.Walk(func(f cloudtest.DropboxFile) {
		if !f.Folder && isManifest(f.Path) {
			all = append(all, f.Path)
		}
	})
	if len(all) != 1 || !strings.HasPrefix(all[0], dir+"/.offload/") {
		t.Errorf("the manifests are %q", all)
	}
	verdicts := decode[[]struct {
		Whole          bool
		Files, Deleted int
	}](t, c.run(0, "manifest", "verify", "dropbox:"+strings.TrimPrefix(dir, "/"), "--json"))
	if len(verdicts) != 1 || !verdicts[0].Whole || verdicts[0].Files != files || verdicts[0].Deleted != files {
		t.Errorf("verified: %+v", verdicts)
	}
}

// commits counts from now on how often each path is committed at Dropbox. The file by which the program finds out whether
// two remotes are one place isn't counted.
func (c *clouds) commits() func() map[string]int {
	pattern := regexp.MustCompile(`"path":"([^"]*)"`)
	var mu sync.Mutex
	counts := map[string]int{}
	c.play.Fault(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Kind: cloudtest.Do, Hook: func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // a call that was cut is carried out by nobody
		}
		mu.Lock()
		defer mu.Unlock()
		for _, m := range pattern.FindAllSubmatch(body, -1) {
			if path := string(m[1]); !strings.Contains(path, ".offload-probe-") {
				counts[path]++
			}
		}
	}})
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(counts)
	}
}

// allPurged demands that the job says of so many files that they were copied, proved at grade A and purged, and that it
// is so.
func (c *clouds) allPurged(t testing.TB, files int) {
	t.Helper()
	j := c.only()
	if j.State != "completed" || j.Files.Failed != 0 {
		t.Errorf("the job is %+v, want it completed", j)
	}
	records := decode[[]fileRecord](t, c.run(0, "jobs", "files", j.ID, "--json"))
	for _, r := range records {
		if r.Grade != "A" || r.Source != "purged" {
			t.Errorf("%q is %s of grade %q, want it purged at grade A (%s)", r.Path, r.Source, r.Grade, r.Code)
		}
	}
	if n := len(c.account.Purged()); len(records) != files || n != files {
		t.Errorf("%d files are told of and %d were purged, want %d", len(records), n, files)
	}
}
