package acceptance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// holding is one file that was put into iCloud.
type holding struct {
	path string
	size int64
	hash string // Dropbox's kind of hash of its bytes
}

// books are the test's own: what was put into iCloud, and what the program asked iCloud to delete and when.
type books struct {
	c *clouds

	mu     sync.Mutex
	byID   map[string]*holding
	early  []string            // deletions asked for while Dropbox didn't hold the bytes
	others []string            // deletions of what isn't a file of a job
	asked  int                 // deletions of files asked for
	late   int                 // of files that didn't live any more
	names  map[string]*holding // by the last part of the path
	begun  map[*holding]int    // downloads
	again  int                 // downloads of files that had been begun before
	large  int                 // of them those of more than a MiB
	twice  int                 // of them those whose bytes Dropbox held already
	weight int64               // bytes of those files
}

func newBooks(c *clouds) *books {
	b := &books{c: c, byID: map[string]*holding{}, names: map[string]*holding{}, begun: map[*holding]int{}}
	c.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Do, Hook: b.download})
	c.play.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Kind: cloudtest.Do, Hook: b.deletion})
	return b
}

// download notes a download that begins.
func (b *books) download(r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.names[path.Base(r.URL.Path)]
	if h == nil {
		return
	}
	if b.begun[h]++; b.begun[h] > 1 {
		b.again++
		if b.c.dropbox.Hash("/Backup/"+h.path) == h.hash {
			b.twice++
		}
		b.weight += h.size
		if h.size > 1<<20 {
			b.large++
		}
	}
}

// deletion looks at Dropbox in the moment in which a deletion is asked for, before it is carried out.
func (b *books) deletion(r *http.Request) {
	var call struct {
		Items []struct {
			ID string `json:"drivewsid"`
		} `json:"items"`
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(raw, &call) != nil {
		return // nobody will understand it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range call.Items {
		h := b.byID[it.ID]
		if h == nil {
			if !strings.HasPrefix(it.ID, "FOLDER::") { // folders that were emptied
				b.others = append(b.others, it.ID)
			}
			continue
		}
		b.asked++
		if b.c.dropbox.Hash("/Backup/"+h.path) != h.hash {
			b.early = append(b.early, h.path)
		}
		if _, alive := b.c.account.Lookup(h.path); !alive {
			b.late++
		}
	}
}

// soFar is what was asked for until now.
func (b *books) soFar() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%d deleted, %d downloads begun again (%d of large files, %d of files at Dropbox, %d MB)", b.asked, b.again, b.large, b.twice, b.weight/1e6)
}

// put stores a file whose bytes are a function of size and number, and notes it.
func (b *books) put(name string, size int64, number uint64) *holding {
	h := &holding{path: name, size: size, hash: dropboxHash(cloudtest.Generated(size, number))}
	it := b.c.account.PutGenerated(name, size, number)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byID[it.ID], b.names[path.Base(name)] = h, h
	return h
}

// dropboxHash is the hash that Dropbox tells of its files: SHA-256 over the SHA-256 of each 4 MiB.
func dropboxHash(r io.Reader) string {
	var sums []byte
	for {
		block := sha256.New()
		n, err := io.CopyN(block, r, 4<<20)
		if n > 0 {
			sums = block.Sum(sums)
		}
		if err != nil {
			total := sha256.Sum256(sums)
			return hex.EncodeToString(total[:])
		}
	}
}

// sizes are sizes of so many files: 1 to 200 kB, and a share of 1 to 8 MiB.
func (c *chaos) sizes(n int, large float64) (sizes []int64) {
	for range n {
		if c.rnd.Float64() < large {
			sizes = append(sizes, 1<<20+c.rnd.Int64N(7<<20))
			continue
		}
		sizes = append(sizes, 1000+c.rnd.Int64N(199_000))
	}
	return sizes
}

// chaosJob is one job of the run, with the files that it is to move.
type chaosJob struct {
	name    string // of its folder at both ends
	account string
	id      string
	files   []*holding
	bytes   int64
	began   time.Time
	took    time.Duration
	ended   bool
}

// prepare puts the files of a job into iCloud and enqueues it.
func (c *chaos) prepare(name, account string, sizes []int64) *chaosJob {
	j := &chaosJob{name: name, account: account, began: time.Now()}
	for i, size := range sizes {
		c.serial++
		j.files = append(j.files, c.books.put(fmt.Sprintf("%s/album %02d/photo %06d.jpg", name, i%37, c.serial), size, c.serial))
		j.bytes += size
	}
	c.jobs = append(c.jobs, j)
	return j
}

// enqueue hands the job in.
func (c *chaos) enqueue(j *chaosJob) {
	j.id = strings.TrimSpace(c.run(0, "enqueue", "icloud:"+j.name, "dropbox:Backup/"+j.name, "--delete-source", "verified", "--account", j.account))
	j.began = time.Now()
	c.say("enqueued job %s: %d files, %d MB, from %s", j.id, len(j.files), j.bytes/1e6, j.name)
}

// audit compares an ended job with the books of the clouds.
func (c *chaos) audit(j *chaosJob) {
	t := c.t
	t.Helper()
	j.ended, j.took = true, time.Since(j.began)
	n := int64(len(j.files))
	seen := c.show(j.id)
	f := seen.Files
	c.say("job %s of %s: %s after %s: %+v", j.id, j.name, seen.State, j.took.Round(time.Second), f)
	if seen.State != "completed" {
		t.Errorf("%s ended as %s (%s %s), want completed", j.name, seen.State, seen.Reason, seen.Error)
	}
	if sum := f.Copied + f.Skipped + f.SetAside + f.Excluded + f.Failed; f.Found != n || sum != n {
		t.Errorf("%s: %d files were found and %d outcomes counted (%+v), want %d of both", j.name, f.Found, sum, f, n)
	}
	if f.Failed != 0 || f.Deleted != n {
		t.Errorf("%s: %d files failed and %d were deleted, want none and %d", j.name, f.Failed, f.Deleted, n)
	}
	if seen.Bytes.Found != j.bytes || seen.Bytes.Deleted != j.bytes {
		t.Errorf("%s: %d bytes found and %d deleted, want %d", j.name, seen.Bytes.Found, seen.Bytes.Deleted, j.bytes)
	}
	c.auditList(j, seen)
	for _, h := range j.files {
		if got := c.dropbox.Hash("/Backup/" + h.path); got != h.hash {
			t.Errorf("%q isn't at Dropbox as it was: hash %q, want %q", h.path, got, h.hash)
		}
		if _, alive := c.account.Lookup(h.path); alive {
			t.Errorf("%q is still at iCloud", h.path)
		}
	}
}

// auditList compares the totals of a job with its list of files.
func (c *chaos) auditList(j *chaosJob, seen job) {
	c.t.Helper()
	outcomes, sources, paths := map[string]int64{}, map[string]int64{}, map[string]bool{}
	for _, r := range decode[[]fileRecord](c.t, c.run(0, "jobs", "files", j.id, "--json")) {
		outcomes[r.Outcome]++
		sources[r.Source]++
		paths[r.Path] = true
		if r.Grade != "A" || r.Source != "deleted" || r.Code != "" {
			c.t.Errorf("%s: %+v, want it deleted at grade A, and nothing to say about it", j.name, r)
		}
	}
	f := seen.Files
	want := map[string]int64{"copied": f.Copied, "skipped": f.Skipped, "set_aside": f.SetAside, "excluded": f.Excluded, "failed": f.Failed}
	for outcome, n := range want {
		if outcomes[outcome] != n {
			c.t.Errorf("%s: %d files are listed as %s, and %d are counted", j.name, outcomes[outcome], outcome, n)
		}
	}
	if len(paths) != len(j.files) || sources["deleted"] != f.Deleted {
		c.t.Errorf("%s: %d paths are listed, %d of them deleted; want %d, and %d are counted as deleted", j.name, len(paths), sources["deleted"], len(j.files), f.Deleted)
	}
}

// lost are the files that are neither alive at iCloud nor at Dropbox under their path, byte for byte.
func (b *books) lost() (lost []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.byID {
		if _, alive := b.c.account.Lookup(h.path); !alive && b.c.dropbox.Hash("/Backup/"+h.path) != h.hash {
			lost = append(lost, h.path)
		}
	}
	return lost
}

// stray are the files at Dropbox that nobody put into iCloud, those by which the program tells places apart left out:
// whoever is killed amid that leaves them behind.
func (b *books) stray() (stray []string, probes int) {
	known := map[string]bool{}
	for _, h := range b.byID {
		known["/Backup/"+h.path] = true
	}
	b.c.dropbox.Walk(func(f cloudtest.DropboxFile) {
		switch {
		case f.Folder || known[f.Path] || isManifest(f.Path):
		case strings.Contains(f.Path, ".offload-probe-"):
			probes++
		default:
			stray = append(stray, f.Path)
		}
	})
	return stray, probes
}

// auditDeletions demands that nothing was deleted twice, before its time, or that isn't a job's.
func (b *books) auditDeletions(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := b.c.account.TrashedIDs()
	slices.Sort(ids)
	if once := slices.Compact(slices.Clone(ids)); len(once) != len(ids) {
		t.Errorf("deleted twice: %d items went to the trash in %d moves", len(once), len(ids))
	}
	if again := b.c.account.TrashedAgain(); len(again) > 0 {
		t.Errorf("deleted twice: %d moves to the trash of what lay there already: %q", len(again), again[:min(5, len(again))])
	}
	if len(b.early) > 0 {
		t.Errorf("%d deletions were asked for while Dropbox didn't hold the bytes: %q", len(b.early), b.early[:min(5, len(b.early))])
	}
	if purged := b.c.account.Purged(); len(b.others)+len(purged) > 0 {
		t.Errorf("deleted though no job's: %q, and for good %q", b.others, purged)
	}
}

// allowance watches what is booked on an account, from the store itself, hundreds of times a second.
type allowance struct {
	limit, most, looks, blind int64
	over                      string // the first time that it was exceeded
}

// ledgers watches accounts until the returned function is called. Each look happens with mu locked.
func (c *chaos) ledgers() (stop func()) {
	a := &asker{network: "unix", address: c.redisServer.Socket(), patience: 5 * time.Second}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer a.close()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			c.look(a)
		}
	})
	end := sync.OnceFunc(func() { close(done); wg.Wait() })
	c.t.Cleanup(end)
	return end
}

// look looks at all accounts once.
func (c *chaos) look(a *asker) {
	c.allowMu.Lock()
	defer c.allowMu.Unlock()
	for account, w := range c.allowances {
		answer, err := a.ask("HMGET", "offload:{q:"+account+"}:account", "used", "reserved")
		values, ok := answer.([]any)
		if err != nil || !ok || len(values) != 2 {
			w.blind++
			continue
		}
		var sum int64
		for _, v := range values {
			s, _ := v.(string)
			var n int64
			_, _ = fmt.Sscan(s, &n) // absent is 0
			sum += n
		}
		w.looks++
		w.most = max(w.most, sum)
		if sum > w.limit && w.over == "" {
			w.over = fmt.Sprintf("%d bytes of %d at %s", sum, w.limit, time.Since(c.began).Round(time.Millisecond))
		}
	}
}

// allow sets what an account may move. The watch knows the new limit before the program does: it only grows.
func (c *chaos) allow(account string, limit int64) {
	c.allowMu.Lock()
	w := c.allowances[account]
	if w == nil {
		w = &allowance{}
		c.allowances[account] = w
	}
	w.limit = limit
	c.allowMu.Unlock()
	c.run(0, "quota", "set", "--account", account, "--limit", fmt.Sprint(limit))
}

// accounts are those that are watched.
func (c *chaos) accounts() []string {
	c.allowMu.Lock()
	defer c.allowMu.Unlock()
	return slices.Sorted(maps.Keys(c.allowances))
}

// auditQuota demands that no account was above its limit at any look, and that what the source served is booked.
func (c *chaos) auditQuota() (served, used int64) {
	c.t.Helper()
	c.allowMu.Lock()
	defer c.allowMu.Unlock()
	served = c.play.Served("icloud:content")
	limits := int64(0)
	for account, w := range c.allowances {
		q := c.quotaOf(account)
		used, limits = used+q.Used, limits+w.limit
		if q.Reserved != 0 {
			c.t.Errorf("account %s: %d bytes are still set aside though nothing moves", account, q.Reserved)
		}
		if w.over != "" {
			c.t.Errorf("account %s: above its quota with %s", account, w.over)
		}
		if w.looks < 100 {
			c.t.Errorf("account %s: the ledger was seen %d times only", account, w.looks)
		}
	}
	if served > limits {
		c.t.Errorf("the source served %d bytes of an allowance of %d", served, limits)
	}
	return served, used
}

// ratio is a as a multiple of b.
func ratio(a, b int64) float64 { return math.Round(float64(a)/float64(max(b, 1))*1000) / 1000 }
