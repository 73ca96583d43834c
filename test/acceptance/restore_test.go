package acceptance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/text/unicode/norm"

	"offload/internal/cloudtest"
)

// came is what one restore says of its files, by path.
func (c *clouds) came(t testing.TB, id string) map[string]jobFile {
	t.Helper()
	var files []jobFile
	if err := json.Unmarshal([]byte(c.run(0, "jobs", "files", id, "--json")), &files); err != nil {
		t.Fatal(err)
	}
	by := map[string]jobFile{}
	for _, f := range files {
		by[f.Path] = f
	}
	return by
}

// jobFile is a line of `jobs files --json`.
type jobFile struct {
	Path    string `json:"path"`
	Dest    string `json:"destination"`
	Outcome string `json:"outcome"`
	Grade   string `json:"grade"`
	Code    string `json:"code"`
	Reason  string `json:"reason"`
}

// restored does a restore and returns the one job that it made.
func (c *clouds) restored(t testing.TB, status int, args ...string) jobJSON {
	t.Helper()
	var made []jobJSON
	out := c.run(status, append(append([]string{"restore"}, args...), "--yes", "--json")...)
	if err := json.Unmarshal([]byte(out), &made); err != nil || len(made) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return made[0]
}

// jobJSON is as much of a job's document as these tests read.
type jobJSON struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Kind  string `json:"kind"`
	Error string `json:"error"`
	Files struct {
		Found    int64 `json:"found"`
		Copied   int64 `json:"copied"`
		Skipped  int64 `json:"skipped"`
		SetAside int64 `json:"set_aside"`
		Failed   int64 `json:"failed"`
	} `json:"files"`
	Bytes struct {
		Copied int64 `json:"copied"`
	} `json:"bytes"`
}

// recordPath is how a job's record spells a path: composed, and a tab as rclone shows it.
func recordPath(p string) string { return strings.ReplaceAll(norm.NFC.String(p), "\t", "␉") }

// ownPath is a path of a record as its owner spells it.
func ownPath(p string) string { return strings.ReplaceAll(p, "␉", "\t") }

// mixed puts n files of all shapes of names, nested, and of sizes up to some megabytes.
func mixed(s *stock, n int) {
	dirs := []string{""}
	for i := range max(n/20, 3) {
		dirs = append(dirs, strings.TrimPrefix(dirs[i/2]+"/"+shape(i, i), "/"))
	}
	for i := range n {
		size := 1 + (i*7919)%3000
		if i%400 == 7 {
			size = 5 << 20
		}
		s.put(strings.TrimPrefix(dirs[i%len(dirs)]+"/"+shape(i/3, i)+[]string{".txt", "", ".tar.gz", ".jpeg"}[i%4], "/"), size)
	}
}

// isBack demands that a file lies at its place again with its bytes and its time.
func (s *stock) isBack(t testing.TB, p *piece) {
	t.Helper()
	it, ok := s.c.account.Lookup(p.path)
	if !ok {
		t.Errorf("not back: %q", p.path)
		return
	}
	if b, ok := s.c.account.Get(p.path); !ok || sumOf(b) != p.sum {
		t.Errorf("other bytes came back: %q", p.path)
	}
	if !it.ModTime.Equal(noted()) {
		t.Errorf("%q came back with the time %s, want %s", p.path, it.ModTime, noted())
	}
}

// Issue 7, "Done when" 2.
func TestRestoreBringsAllBack(t *testing.T) {
	t.Parallel()
	n := 2000
	if testing.Short() {
		n = 200
	}
	c := newClouds(t, cloudtest.Options{})
	s := newStock(c)
	mixed(s, n)
	all := s.all()
	c.run(0, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--json")
	job := c.only()
	s.moved(t)

	// Apple forgets half of the trash; one file that is still there has got a new one in its place, and so has one that isn't.
	half := map[string]bool{}
	for i, p := range all {
		half[p.id] = i%2 == 0
	}
	c.account.ExpireTrash(func(it cloudtest.Item) bool { return half[it.ID] })
	taken := map[string][]byte{}
	odd := slices.IndexFunc(all, func(p *piece) bool { return strings.Contains(p.path, "\t") })
	if odd < 0 {
		t.Fatal("no path has a tab")
	}
	for _, p := range []*piece{all[0], all[1], all[odd]} {
		taken[p.path] = []byte("somebody has written this meanwhile " + p.path)
		c.account.Put(p.path, taken[p.path], noted().AddDate(0, 5, 0))
	}

	j := c.restored(t, 0, job.ID)
	if j.Kind != "restore" || j.State != "completed" || j.Files.Copied != int64(n) {
		t.Errorf("%+v", j)
	}
	files := c.came(t, j.ID)
	fromTrash := 0
	var read int64
	for _, p := range all {
		f := files[recordPath(p.path)]
		if f.Code == "from_trash" {
			fromTrash++
		} else {
			read += p.size
		}
		if kept, ok := taken[p.path]; ok {
			if b, _ := c.account.Get(p.path); string(b) != string(kept) {
				t.Errorf("overwritten: %q", p.path)
			}
			if f.Code != "beside" || f.Dest == "" {
				t.Errorf("%q isn't told of as brought back beside: %+v", p.path, f)
			}
			if b, _ := c.account.Get(ownPath(f.Dest)); sumOf(b) != p.sum {
				t.Errorf("%q isn't beside, as %q", p.path, f.Dest)
			}
			continue
		}
		if (f.Code == "from_trash") == half[p.id] {
			t.Errorf("%q came back by %+v, expired %v", p.path, f, half[p.id])
		}
		if f.Outcome == "failed" {
			t.Errorf("failed: %+v", f)
			continue
		}
		if f.Code == "" && f.Grade != "B" {
			t.Errorf("%q was proved by grade %q, want B", p.path, f.Grade)
		}
		s.isBack(t, p)
	}
	t.Logf("%d files of %d came from the trash, %d bytes were read", fromTrash, n, read)
	if j.Bytes.Copied != read {
		t.Errorf("%d bytes are counted, want %d", j.Bytes.Copied, read)
	}
	if at := len(s.atDropbox()); at != n {
		t.Errorf("%d files are at Dropbox, want all %d", at, n)
	}
	again := c.restored(t, 0, job.ID)
	if again.Files.Skipped != int64(n) || again.Files.Copied != 0 || again.Bytes.Copied != 0 {
		t.Errorf("a second restore: %+v", again)
	}
}

// What lies at Dropbox isn't what was proved there: it doesn't come back, the rest does.
func TestRestoreOfATamperedCopyFails(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{})
	s := newStock(c)
	for i := range 6 {
		s.put(fmt.Sprintf("Docs/%d.txt", i), 3000)
	}
	c.run(0, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--json")
	job := c.only()
	c.account.ExpireTrash(nil)
	c.dropbox.Put("/Backup/Docs/2.txt", s.content(3000))
	c.dropbox.Remove("/Backup/Docs/3.txt")
	j := c.restored(t, 3, job.ID)
	if j.State != "completed_with_warnings" || j.Files.Failed != 2 || j.Files.Copied != 4 {
		t.Errorf("%+v", j)
	}
	files := c.came(t, j.ID)
	for path, code := range map[string]string{"Docs/2.txt": "not_as_recorded", "Docs/3.txt": "copy_gone"} {
		if f := files[path]; f.Outcome != "failed" || f.Code != code {
			t.Errorf("%s: %+v, want %s", path, f, code)
		}
		if _, ok := c.account.Lookup(path); ok {
			t.Errorf("%s came back though it isn't what was proved", path)
		}
	}
}

// The allowance ends in the middle: the restore waits, and goes on when there is more.
func TestRestoreWaitsForQuota(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{})
	s := newStock(c)
	for i := range 8 {
		s.put(fmt.Sprintf("Docs/%d.bin", i), 1<<20)
	}
	c.run(0, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--json")
	job := c.only()
	c.account.ExpireTrash(nil)
	c.run(0, "quota", "set", "--account", "default", "--limit", "12MiB") // 8 are used
	j := c.restored(t, 4, job.ID)
	if j.State != "waiting" || j.Files.Copied == 0 || j.Files.Copied > 4 {
		t.Errorf("%+v", j)
	}
	c.run(0, "quota", "set", "--account", "default", "--limit", "100MiB")
	if j = c.restored(t, 0, job.ID); j.State != "completed" || j.Files.Copied != 8 || j.Bytes.Copied != 8<<20 {
		t.Errorf("%+v", j)
	}
	for _, p := range s.all() {
		s.isBack(t, p)
	}
}

// Files of several jobs come back by their place: of two that were offloaded from one place the newer one.
func TestRestoreByPath(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{})
	s := newStock(c)
	s.put("Docs/a.txt", 100)
	s.put("Docs/sub/b.txt", 100)
	s.put("Other/c.txt", 100)
	c.run(0, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--json")
	newer := s.put("Docs/a.txt", 200)
	c.run(0, "run", "icloud:Docs", "dropbox:Later", "--delete-source", "verified", "--json")
	c.run(2, "restore", "--path", "icloud:Docs")
	c.run(0, "restore", "--path", "icloud:Nothing/there", "--yes") // nothing is like that
	c.run(2, "restore", "--path", "nowhere:Docs", "--yes")
	c.run(2, "restore", "--yes")
	c.run(2, "restore", "../x", "--yes")
	c.run(2, "restore", "--path", "icloud:", "--since", "yesterdayish", "--yes")
	c.run(2, "restore", "--since", "tomorrow", "--yes")
	var plan struct {
		Files, Trash struct{ Files int64 }
		FromTrash    struct{ Files int64 } `json:"from_trash"`
		Jobs         []struct{ Job string }
	}
	if err := json.Unmarshal([]byte(c.run(0, "restore", "--path", "icloud:Docs", "--dry-run", "--json")), &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Files.Files != 2 || plan.FromTrash.Files != 2 || len(plan.Jobs) != 2 {
		t.Errorf("%+v", plan)
	}
	c.run(0, "restore", "--path", "icloud:Docs", "--yes")
	s.isBack(t, newer)
	if err := json.Unmarshal([]byte(c.run(0, "restore", "--since", "1d", "--dry-run", "--json")), &plan); err != nil { // all jobs
		t.Fatal(err)
	}
	if plan.Files.Files != 3 || len(plan.Jobs) != 2 {
		t.Errorf("since alone: %+v", plan)
	}
	if _, ok := c.account.Lookup("Docs/sub/b.txt"); !ok {
		t.Error("Docs/sub/b.txt isn't back")
	}
	if _, ok := c.account.Lookup("Other/c.txt"); ok {
		t.Error("Other/c.txt came back, and nobody asked for it")
	}
}

// Killed at any step, a restore loses nothing, and the same command brings all back.
func TestRestoreKilledAtEachStep(t *testing.T) {
	t.Parallel()
	bin, err := mortal()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"before return:1", "returned:1", "downloaded:2", "brought back:1", "brought back:5", "batch ended:1", "finishing:1", "concluding:1"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			c := newClouds(t, cloudtest.Options{})
			s := newStock(c)
			s.fill("Documents", 16, 3)
			c.run(0, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--json")
			job := c.only()
			expired := map[string]bool{}
			for i, p := range s.all() {
				expired[p.id] = i%2 == 0
			}
			c.account.ExpireTrash(func(it cloudtest.Item) bool { return expired[it.ID] })
			cmd := c.command("restore", job.ID, "--yes")
			cmd.Path = bin
			cmd.Env = append(cmd.Env, "OFFLOAD_FAILPOINT="+at)
			start(t, "offload to be killed", cmd).status(t, limit())
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
				t.Fatalf("it ended as %v, want it killed", cmd.ProcessState)
			}
			s.nothingLost(t)
			c.run(0, "restore", job.ID, "--yes")
			n := 0
			c.account.Walk(func(_ string, it cloudtest.Item) {
				if it.Type == "FILE" {
					n++
				}
			})
			if n != 16 {
				t.Errorf("%d files are at iCloud, want 16", n)
			}
			for _, p := range s.all() {
				s.isBack(t, p)
			}
		})
	}
}
