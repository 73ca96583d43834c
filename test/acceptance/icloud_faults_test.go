package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"offload/internal/cloudtest"
)

// A faulty move is a job on an account of a few files, with something that goes wrong in it. After each run nothing may
// be lost; at the end all that may go must have gone.
type faulty struct {
	t *testing.T
	c *clouds
	s *stock
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	t.Parallel()
	c := newClouds(t, cloudtest.Options{Seed: 8})
	f := &faulty{t: t, c: c, s: newStock(c)}
	f.s.fill("Docs", 24, 3)
	return f
}

// order is the command that moves the account.
func order(policy string, more ...string) []string {
	return append([]string{"run", "icloud:", "dropbox:Backup", "--delete-source", policy}, more...)
}

// run runs the job, demands the exit status, and that nothing was lost by it.
func (f *faulty) run(status int, more ...string) string {
	f.t.Helper()
	out := f.c.run(status, order("verified", more...)...)
	f.s.nothingLost(f.t)
	if f.t.Failed() {
		f.t.Log(out)
		f.t.FailNow()
	}
	return out
}

// last returns the newest job, and how many of its files ended with each code.
func (f *faulty) last() (job, map[string]int) {
	f.t.Helper()
	jobs := decode[[]job](f.t, f.c.cli.run(0, "jobs", "list", "--json"))
	newest := slices.MaxFunc(jobs, func(a, b job) int { return strings.Compare(a.ID, b.ID) })
	codes := map[string]int{}
	for _, r := range decode[[]fileRecord](f.t, f.c.cli.run(0, "jobs", "files", newest.ID, "--json")) {
		if r.Code != "" {
			codes[r.Code]++
		}
	}
	return newest, codes
}

// struck is one fault that is declared for several endpoints.
type struck []*cloudtest.Hits

// Count is how often it struck.
func (s struck) Count() (n int) {
	for _, h := range s {
		n += h.Count()
	}
	return n
}

// remove ends it.
func (s struck) remove() {
	for _, h := range s {
		h.Remove()
	}
}

// hit demands that a fault struck.
func (f *faulty) hit(h interface{ Count() int }) {
	f.t.Helper()
	if h.Count() == 0 {
		f.t.Error("the fault never struck: this test proves nothing")
	}
}

// flips makes Dropbox store a flipped bit of some files, once. told says that the commit is answered with the hash of what
// was sent.
func flips(c *clouds, told bool) struck {
	if told {
		c.dropbox.SetHash(cloudtest.HashSentAtCommit)
	}
	content := func(r *http.Request) bool { return r.ContentLength != 0 } // it isn't told where it is sent in pieces
	var all struck
	for _, endpoint := range []string{"dropbox:upload_session_start", "dropbox:append_v2"} { // whichever the content comes with
		all = append(all, c.play.Fault(cloudtest.Fault{Endpoint: endpoint, Kind: cloudtest.Flip, Times: 4, Match: content}))
	}
	return all
}

// changesAfterDownload has the owner of some files write to each when it is downloaded, once: the URL is that of the
// version before.
func changesAfterDownload(s *stock, paths []string) *cloudtest.Hits {
	return eachOnce(s, "icloud:content", paths, func(r *http.Request, path string) bool {
		return strings.HasSuffix(r.URL.Path, path[strings.LastIndexByte(path, '/'):])
	})
}

// changesBeforeDeletion has the owner of some files write to each when its own deletion is asked for, once.
func changesBeforeDeletion(s *stock, paths []string) *cloudtest.Hits {
	ids := map[string]string{}
	for _, p := range paths {
		it, _ := s.c.account.Lookup(p)
		ids[p] = it.ID
	}
	named := func(r *http.Request, path string) bool {
		b, err := io.ReadAll(r.Body)
		return err == nil && strings.Contains(string(b), ids[path])
	}
	return eachOnce(s, "icloud:moveItemsToTrash", paths, named)
}

// eachOnce changes each of the files, once, at a call that is about it.
func eachOnce(s *stock, endpoint string, paths []string, about func(r *http.Request, path string) bool) *cloudtest.Hits {
	var mu sync.Mutex
	done := map[string]bool{}
	todo := func(r *http.Request) (todo []string) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil
		}
		for _, p := range paths {
			r.Body = io.NopCloser(bytes.NewReader(b))
			if !done[p] && about(r, p) {
				todo = append(todo, p)
			}
		}
		return todo
	}
	return s.c.play.Fault(cloudtest.Fault{Endpoint: endpoint, Kind: cloudtest.Do,
		Match: func(r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			return len(todo(r)) > 0
		},
		Hook: func(r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range todo(r) {
				done[p] = true
				s.change(p)
			}
		}})
}

func TestICloudFaultDropboxStoresAFlippedBit(t *testing.T) {
	for _, told := range []bool{false, true} {
		t.Run(fmt.Sprintf("commit tells the hash of what was sent=%t", told), func(t *testing.T) {
			f := newFaulty(t)
			h := flips(f.c, told)
			f.run(0)
			f.hit(h)
			f.s.moved(t)
		})
	}
}

func TestICloudFaultAFileChangesAfterItsDownload(t *testing.T) {
	f := newFaulty(t)
	h := changesAfterDownload(f.s, []string{"Docs/folder 00/file 003.txt", "Docs/folder 01/file 001.txt"})
	f.run(0) // what changed is no warning
	f.hit(h)
	if _, codes := f.last(); codes["changed_after"] != 2 {
		t.Errorf("codes %v, want 2 files that changed after they were copied", codes)
	}
	f.run(0)
	f.s.moved(t)
}

func TestICloudFaultAFileChangesBetweenProofAndDeletion(t *testing.T) {
	f := newFaulty(t)
	paths := []string{"Docs/folder 00/file 003.txt", "Docs/folder 01/file 001.txt", "Docs/folder 02/file 023.txt"}
	h := changesBeforeDeletion(f.s, paths)
	f.run(0)
	f.hit(h)
	if _, codes := f.last(); codes["changed_after"] != 3 {
		t.Errorf("codes %v, want 3 files that changed after they were copied", codes)
	}
	f.run(0)
	f.s.moved(t)
}

func TestICloudFaultDownloadsAreCut(t *testing.T) {
	f := newFaulty(t)
	f.s.put("Docs/large.bin", 9<<20)
	// Each third file, twice each: by chance alone one would now and then be cut each time that it is tried.
	var mu sync.Mutex
	order, cuts := map[string]int{}, map[string]int{}
	h := f.c.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Cut, CutAt: 0.5, Match: func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		name := r.URL.Path
		if _, seen := order[name]; !seen {
			order[name] = len(order)
		}
		cuts[name]++
		return order[name]%3 == 0 && cuts[name] <= 2
	}})
	f.run(0)
	f.hit(h)
	f.s.moved(t)
}

func TestICloudFaultTheSessionExpires(t *testing.T) {
	f := newFaulty(t)
	h := f.c.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Do, After: 10, Times: 1,
		Hook: func(*http.Request) { f.c.account.ExpireSessions() }})
	f.run(0)
	f.hit(h)
	f.s.moved(t)
	if n := f.c.account.SignIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1: Apple counts them", n)
	}
}

func TestICloudFaultDropboxIsFull(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("already while it is sent=%t", early), func(t *testing.T) {
			f := newFaulty(t)
			f.c.dropbox.SetSpace(30 << 10)
			f.c.dropbox.SetSpaceEarly(early)
			f.run(4)
			j, _ := f.last()
			if j.State != "waiting" || j.Reason != "space" {
				t.Errorf("the job is %s (%s), want it to wait for space", j.State, j.Reason)
			}
			if used := f.c.dropbox.Used(); used > 30<<10 || used == 0 {
				t.Errorf("%d bytes were stored, want some and not more than fit", used)
			}
			f.c.dropbox.SetSpace(1 << 30)
			f.run(0)
			f.s.moved(t)
			if again, _ := f.last(); again.ID != j.ID {
				t.Error("the second run made another job")
			}
		})
	}
}

func TestICloudFaultTheTrashCallFails(t *testing.T) {
	for _, kind := range []struct {
		name  string
		fault cloudtest.Fault
	}{
		{"with 500 for a while", cloudtest.Fault{Kind: cloudtest.Status, Status: 500, Times: 4}},
		{"as busy for a while", cloudtest.Fault{Kind: cloudtest.Status, Status: 409, Times: 4}},
		{"without an answer", cloudtest.Fault{Kind: cloudtest.Lost, Times: 3}},
		{"without a request", cloudtest.Fault{Kind: cloudtest.Drop, Times: 3}},
		{"with an answer that says nothing", cloudtest.Fault{Kind: cloudtest.Empty, Times: 3}},
		{"with half of its results", cloudtest.Fault{Kind: cloudtest.Short, Times: 3}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			f := newFaulty(t)
			kind.fault.Endpoint = "icloud:moveItemsToTrash"
			h := f.c.play.Fault(kind.fault)
			f.run(0)
			f.hit(h)
			f.s.moved(t)
			ids := f.c.account.TrashedIDs()
			slices.Sort(ids)
			if once := slices.Compact(slices.Clone(ids)); len(once) != len(ids) {
				t.Errorf("%d items went to the trash in %d moves", len(once), len(ids))
			}
		})
	}
	t.Run("for good in the first run", func(t *testing.T) {
		f := newFaulty(t)
		h := f.c.play.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Kind: cloudtest.Status, Status: 500})
		f.run(3)
		f.hit(h)
		if _, codes := f.last(); codes["delete_failed"] != 24 {
			t.Errorf("codes %v, want 24 deletions that failed", codes)
		}
		h.Remove()
		f.run(0)
		f.s.moved(t)
	})
}

// mentions finds the calls whose body holds a text.
func mentions(text string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		b, err := io.ReadAll(r.Body)
		return err == nil && strings.Contains(string(b), text)
	}
}

func TestICloudFaultAFolderCantBeListed(t *testing.T) {
	for _, kind := range []struct {
		name  string
		fault cloudtest.Fault
	}{
		{"whole", cloudtest.Fault{Kind: cloudtest.Short}},
		{"at all", cloudtest.Fault{Kind: cloudtest.Status, Status: 503}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			f := newFaulty(t)
			folder, _ := f.c.account.Lookup("Docs/folder 01")
			kind.fault.Endpoint, kind.fault.Match = "icloud:retrieveItemDetailsInFolders", mentions(folder.ID)
			h := f.c.play.Fault(kind.fault)
			f.c.cli.run(3, order("complete")...)
			f.hit(h)
			if n := len(f.c.account.TrashedIDs()); n != 0 {
				t.Errorf("%d items were deleted, though the policy complete asks for all or nothing", n)
			}
			f.s.nothingLost(t)
			f.run(3)
			for i := range 24 {
				path := fmt.Sprintf("Docs/folder %02d/file %03d.txt", i%3, i)
				if _, there := f.c.account.Lookup(path); there != (i%3 == 1) {
					t.Errorf("%q is at iCloud: %t", path, there)
				}
			}
			h.Remove()
			f.run(0)
			f.s.moved(t)
		})
	}
}

func TestICloudFaultNamesCollideAtDropbox(t *testing.T) {
	f := newFaulty(t)
	for _, twins := range [][2]string{{"TWIN.txt", "twin.txt"}, {"Ärger.txt", "ärger.txt"}, {"Cafe\u0301.txt", "Caf\u00e9.txt"}} {
		f.s.put("Docs/"+twins[0], 300)
		f.s.twin("Docs/"+twins[1], 300).stays = "name" // the first in byte order goes
	}
	// Somebody else's files have the names of others, but for case and accents.
	f.s.put("Docs/u\u0308ber.txt", 300)
	foreign := map[string]string{"/Backup/Docs/folder 00/FILE 003.TXT": "not yours", "/Backup/Docs/\u00dcber.txt": "nor this"}
	for path, text := range foreign {
		f.c.dropbox.Put(path, []byte(text))
	}
	f.run(3)
	f.s.moved(t)
	if _, codes := f.last(); codes["name_collision"] != 2 || codes["duplicate_name"] != 1 {
		t.Errorf("codes %v, want 2 collisions and 1 name that is there twice", codes)
	}
	for path, text := range foreign {
		if b, _ := f.c.dropbox.Get(path); string(b) != text {
			t.Errorf("%q was overwritten: %q", path, b)
		}
	}
}

// TestICloudFaultRefusals has each endpoint that a job uses refuse a share of its calls: the first with 429 and the second
// with 503, so that also those are hit which are called once or twice, and 15 % of the rest.
func TestICloudFaultRefusals(t *testing.T) {
	plain := newClouds(t, cloudtest.Options{})
	newStock(plain).fill("Docs", 24, 3)
	plain.run(0, order("verified", "--purge-trash")...)
	var used []string
	for _, name := range plain.play.Endpoints() {
		if plain.play.Calls(name) > 0 {
			used = append(used, name)
		}
	}
	if len(used) < 12 {
		t.Errorf("a job calls only %q", used)
	}
	for _, name := range used {
		t.Run(strings.ReplaceAll(name, ":", "/"), func(t *testing.T) {
			f := newFaulty(t)
			refuse := func(status, after, times int, share float64, wait string) *cloudtest.Hits {
				return f.c.play.Fault(cloudtest.Fault{Endpoint: name, Kind: cloudtest.Status, Status: status, After: after, Times: times,
					Share: share, Header: http.Header{"Retry-After": {wait}}})
			}
			first := []*cloudtest.Hits{refuse(429, 0, 1, 0, "0"), refuse(503, 0, 1, 0, "0")}
			refuse(429, 0, 0, 0.05, "0")
			refuse(429, 0, 0, 0.05, "1")
			refuse(503, 0, 0, 0.05, "1")
			f.run(0, "--purge-trash")
			f.hit(first[0])
			if name != "icloud:storageUsageInfo" {
				f.hit(first[1])
			}
			f.s.moved(t)
			for _, left := range f.c.account.Trash() {
				if left.Type == "FILE" { // folders were removed when they were empty, and take no room
					t.Errorf("%q is left in the trash", left.Restore)
				}
			}
		})
	}
}
