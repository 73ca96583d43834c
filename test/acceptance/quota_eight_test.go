package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// What the issue asks for: eight worker processes, an allowance of 50 MiB and ten times as much in files.
const (
	fleetSize      = 8
	fleetAllowance = 50 << 20
	fleetFiles     = 10 * fleetAllowance
)

// fleetRuns is how often it is tried: each run has files, faults and an account of its own.
func fleetRuns() int {
	if full() {
		return 20
	}
	return 2
}

// mixedSizes are sizes from 40 kB to 6 MiB, the small ones more often, that add up to total and little more.
func mixedSizes(rnd *rand.Rand, total int64) (sizes []int64) {
	const least, most = 40_000, 6 << 20
	for sum := int64(0); sum < total; {
		n := int64(least * math.Pow(float64(most)/least, rnd.Float64()))
		sizes = append(sizes, n)
		sum += n
	}
	return sizes
}

func TestEightWorkersNeverExceedAQuota(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	c := newClouds(t, cloudtest.Options{Seed: rnd.Uint64()})
	c.redis = c.w.redis()
	c.play.Dropbox.SetOverlap(cloudtest.OverlapFree)
	// Small chunks: an upload that fails does so amid the reading of its file.
	appendTo(t, c.config, "chunk_size = 512Ki\n")
	for range fleetSize {
		c.start("worker")
	}
	for i := range fleetRuns() {
		if t.Failed() {
			break
		}
		f := &fleetRun{t: t, c: c, name: fmt.Sprintf("run%02d", i), sizes: mixedSizes(rnd, fleetFiles), rnd: rnd}
		f.run()
	}
}

// appendTo adds text to the end of a file.
func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// fleetRun is one job of the fleet from the played iCloud to the played Dropbox, on an account of its own.
type fleetRun struct {
	t     *testing.T
	c     *clouds
	name  string // of the account and of the folders
	sizes []int64
	rnd   *rand.Rand
}

func (f *fleetRun) path(i int) string {
	return fmt.Sprintf("%s/album %d/photo %03d.jpg", f.name, i%9, i)
}

// fill puts the files into iCloud. Their bytes are a function of size and number.
func (f *fleetRun) fill() {
	for i, size := range f.sizes {
		f.c.account.PutGenerated(f.path(i), size, uint64(i))
	}
}

// faults break downloads in the middle, half of them by a reset, and uploads in the middle, half of them for good. Of each
// kind one strikes for certain, and others at random.
func (f *fleetRun) faults() map[string]struck {
	strike := func(endpoint string, share float64, k cloudtest.Fault) struck {
		once := k
		once.Endpoint, once.After, once.Times = endpoint, 3+f.rnd.IntN(8), 1
		k.Endpoint, k.Share = endpoint, share
		return struck{f.c.play.Fault(once), f.c.play.Fault(k)}
	}
	return map[string]struck{
		"download cut":   strike("icloud:content", 0.05, cloudtest.Fault{Kind: cloudtest.Cut, CutAt: 0.6}),
		"download reset": strike("icloud:content", 0.05, cloudtest.Fault{Kind: cloudtest.Cut, CutAt: 0.7, Reset: true}),
		"upload cut":     strike("dropbox:append_v2", 0.05, cloudtest.Fault{Kind: cloudtest.Cut, CutAt: 0.5}),
		"upload forgotten": strike("dropbox:append_v2", 0.03, cloudtest.Fault{Kind: cloudtest.Status, Status: http.StatusConflict,
			Body: `{"error_summary":"not_found/..","error":{".tag":"not_found"}}`}),
	}
}

func (f *fleetRun) run() {
	t, c := f.t, f.c
	f.fill()
	struck := f.faults()
	c.run(0, "quota", "set", "--account", f.name, "--limit", "50MiB")
	before := c.play.Served("icloud:content")
	began := time.Now()
	seen := watch(t, c.redis, f.name)
	id := strings.TrimSpace(c.run(0, "enqueue", "icloud:"+f.name, "dropbox:"+f.name, "--delete-source", "verified", "--account", f.name))
	c.waits(id)
	took := time.Since(began)
	var q quota
	eventually(t, 4*time.Minute, "nothing of what is left to fit", func() bool {
		q = c.quotaOf(f.name) // what was given back as the job began to wait wakes it once more
		return q.Reserved == 0 && f.smallest() > q.Available && c.show(id).State == "waiting"
	})

	all := seen()
	served := c.play.Served("icloud:content") - before
	var hits []string
	for what, h := range struck {
		hits = append(hits, fmt.Sprintf("%s %d", what, h.Count()))
		if h.Count() == 0 {
			t.Errorf("%s: the fault %q never struck", f.name, what)
		}
	}
	t.Logf("%s: %s; served %d (%.1f %%), used %d (%.1f %%), wasted %d, at most %d in %d looks; %s", f.name, took.Round(time.Millisecond), served,
		percent(served), q.Used, percent(q.Used), q.Wasted, all.most, all.looks, strings.Join(hits, ", "))
	if all.err != nil || all.looks < 10 {
		t.Errorf("%s: the ledger was looked at %d times (%v)", f.name, all.looks, all.err)
	}
	if all.most > fleetAllowance {
		t.Errorf("%s: used and reserved came to %d bytes, more than the allowance of %d", f.name, all.most, fleetAllowance)
	}
	if served > fleetAllowance || served > q.Used {
		t.Errorf("%s: the source served %d bytes of an allowance of %d, and %d are booked", f.name, served, fleetAllowance, q.Used)
	}
	if q.Used < fleetAllowance*95/100 {
		t.Errorf("%s: the job waits with %d bytes used, less than 95 %% of %d", f.name, q.Used, fleetAllowance)
	}
	f.nothingLost()
	for range 3 { // eight workers are there that could go on
		if j := c.show(id); j.State != "waiting" {
			t.Errorf("%s: the job went on as %s before there was quota", f.name, j.State)
		}
	}
	if late := c.play.Served("icloud:content") - before - served; late != 0 {
		t.Errorf("%s: %d bytes were served while the job waited", f.name, late)
	}
	c.play.ClearFaults()
	c.run(0, "jobs", "cancel", id)
	f.clear()
}

func percent(n int64) float64 { return 100 * float64(n) / fleetAllowance }

// waits demands that the job comes to wait for quota, with the time of the reset.
func (c cli) waits(id string) job {
	c.w.t.Helper()
	j := c.await(id, "the job to wait for quota", limit(), func(j job) bool { return j.State == "waiting" || j.ended() })
	if j.State != "waiting" || j.Reason != "quota" || j.Until == nil || !j.Until.After(time.Now()) {
		c.w.t.Fatalf("the job is %+v, want it to wait for quota, with the time of the reset", j)
	}
	return j
}

// smallest is the size of the smallest file that is still to be moved.
func (f *fleetRun) smallest() int64 {
	least := int64(math.MaxInt64)
	for i, size := range f.sizes {
		if size < least {
			if _, alive := f.c.account.Lookup(f.path(i)); alive {
				least = size
			}
		}
	}
	return least
}

// nothingLost demands of each file that it is alive at iCloud or whole at Dropbox.
func (f *fleetRun) nothingLost() {
	for i, size := range f.sizes {
		if _, alive := f.c.account.Lookup(f.path(i)); alive {
			continue
		}
		want, err := io.ReadAll(cloudtest.Generated(size, uint64(i)))
		if err != nil {
			f.t.Fatal(err)
		}
		if got, ok := f.c.dropbox.Get("/" + f.path(i)); !ok || !bytes.Equal(got, want) {
			f.t.Errorf("lost: %s was deleted at iCloud and isn't whole at Dropbox", f.path(i))
		}
	}
}

// clear gives the memory back that the played clouds took for this run.
func (f *fleetRun) clear() {
	f.c.account.Remove(f.name)
	f.c.dropbox.Remove("/" + f.name)
}

// The same with real servers: a WebDAV server behind a proxy that counts and cuts, and an S3 server behind one that fails.
func TestEightWorkersNeverExceedAQuotaFromWebDAVToS3(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i, size := range mixedSizes(rnd, 4*fleetAllowance) {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("album %d", i%9), fmt.Sprintf("photo %03d.jpg", i)), size)
		}
	})
	w.wholeUploads()
	refused := w.failingUploads(rnd, 0.1)
	way := newProxy(t, w.webdav, 0)
	way.cutSome(rnd, 0.12)
	c := cli{w: w, redis: w.redis(), config: w.config("offload", way.url)}
	c.run(0, "quota", "set", "--account", "default", "--limit", "50MiB")
	for range fleetSize {
		c.start("worker")
	}
	seen := watch(t, c.redis, "default")
	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
	c.waits(id)
	var q quota
	eventually(t, 2*time.Minute, "nearly all of the allowance to be used, and nothing to be set aside", func() bool {
		q = c.quota() // what was given back as the job began to wait wakes it once more
		return q.Used >= fleetAllowance*95/100 && q.Reserved == 0 && c.show(id).State == "waiting"
	})

	all, served := seen(), way.total()
	cut, reset := way.cuts()
	t.Logf("served %d (%.1f %%), used %d (%.1f %%), wasted %d, at most %d in %d looks; %d downloads cut and %d reset, %d uploads broken",
		served, percent(served), q.Used, percent(q.Used), q.Wasted, all.most, all.looks, cut, reset, refused())
	if cut == 0 || reset == 0 || refused() == 0 {
		t.Error("a fault never struck: this run proves little")
	}
	if all.err != nil || all.looks < 10 || all.most > fleetAllowance {
		t.Errorf("used and reserved came to %d bytes of %d, in %d looks (%v)", all.most, fleetAllowance, all.looks, all.err)
	}
	if served > fleetAllowance || served > q.Used {
		t.Errorf("the source served %d bytes of an allowance of %d, and %d are booked", served, fleetAllowance, q.Used)
	}
	w.nothingLost()
}
