package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// commitOrder notes which files are committed at Dropbox, in that order.
func (c *clouds) commitOrder() func() []string {
	pattern := regexp.MustCompile(`"path":"([^"]*)"`)
	var mu sync.Mutex
	var order []string
	c.play.Fault(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Kind: cloudtest.Do, Hook: func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // a call that was cut is carried out by nobody
		}
		mu.Lock()
		defer mu.Unlock()
		for _, m := range pattern.FindAllSubmatch(body, -1) {
			if path := string(m[1]); !strings.Contains(path, ".offload-probe-") {
				order = append(order, path)
			}
		}
	}})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), order...)
	}
}

// Three jobs are there before the one worker comes, and quota for a part of them: the high one, though it came last, is
// done first, and the two others share what is left.
func TestPriorityGoesFirstAndTheRestIsShared(t *testing.T) {
	t.Parallel()
	const size, many, few = 50_000, 120, 20
	c := newClouds(t, cloudtest.Options{})
	c.redis = c.w.redis()
	s := newStock(c)
	for i := range many {
		s.put(fmt.Sprintf("A/file %03d.bin", i), size)
		s.put(fmt.Sprintf("B/file %03d.bin", i), size)
	}
	for i := range few {
		s.put(fmt.Sprintf("H/file %03d.bin", i), size)
	}
	commits := c.commitOrder()
	c.run(0, "quota", "set", "--account", "default", "--limit", fmt.Sprint((few+many)*size+size/2))
	enqueue := func(name string, more ...string) string {
		return strings.TrimSpace(c.run(0, append([]string{"enqueue", "icloud:" + name, "dropbox:Backup/" + name, "--delete-source", "verified"}, more...)...))
	}
	a, b, h := enqueue("A"), enqueue("B"), enqueue("H", "--priority", "high")
	c.start("worker", "--batches", "1")

	if j := c.await(h, "the high job to end", limit(), job.ended); j.State != "completed" {
		t.Errorf("the high job is %s (%s), want completed", j.State, j.Error)
	}
	c.waits(a)
	c.waits(b)
	counts := map[string]int{}
	before := 0 // files of others that were done before the high job's last one
	order := commits()
	for _, path := range order {
		if isManifest(path) {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(path, "/Backup/"), "/")
		if counts[name]++; counts["H"] < few && name != "H" {
			before++
		}
	}
	t.Logf("committed: %v; %d before the high job was done", counts, before)
	if counts["H"] != few || before > 0 {
		t.Errorf("%d of the high job's %d files are done, and %d files of others were before its last one", counts["H"], few, before)
	}
	if n := counts["A"] + counts["B"]; n != many {
		t.Errorf("%d files of the two others are done, and quota is there for %d", n, many)
	}
	for _, name := range []string{"A", "B"} {
		if counts[name] < many*3/10 {
			t.Errorf("job %s got %d of %d files: less than a fair share", name, counts[name], many)
		}
	}
	s.nothingLost(t)
}

// overRate looks at a proxy for a while, and returns how many bytes more than the rate allows any stretch of that time
// saw at most, and how many were served in all. A busy machine makes it see less, never more.
func overRate(p *proxy, d time.Duration, rate int64) (over, total int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, first := time.Now(), p.total()
	allowed := func() int64 { return int64(time.Since(began).Seconds() * float64(rate)) }
	least := int64(0) // the bytes at the best beginning of a stretch, less those that were allowed until then
	for time.Since(began) < d {
		before := allowed()
		total = p.total() - first
		after := allowed()
		over = max(over, total-after-least)
		least = min(least, total-before)
		<-tick.C
	}
	return over, total
}

// A limit on the bandwidth is one for all workers together, of all jobs or of one, and may change while they run.
func TestBandwidthHoldsOverTwoWorkers(t *testing.T) {
	t.Parallel()
	const (
		fleet, own = 2 << 20, 512 << 10 // bytes a second
		// What two workers of four transfers may have beyond: the files that they have begun, and a slice each.
		burst = 8*(64<<10) + 1<<20
	)
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i := range 400 { // small ones: what the sockets hold beyond what was read is little
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("album %d", i%7), fmt.Sprintf("photo %03d.jpg", i)), 64<<10)
		}
	})
	way := newProxy(t, w.webdav, 0)
	c := cli{w: w, redis: w.redis(), config: w.config("offload", way.url)}
	c.run(0, "quota", "set", "--bwlimit", "2M")
	for range 2 {
		c.start("worker", "--transfers", "4")
	}
	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
	eventually(t, time.Minute, "the job to begin", func() bool { return way.total() > 0 })
	over, total := overRate(way, 3*time.Second, fleet)
	t.Logf("fleet: %d bytes in 3 s, at most %d more than %d a second allow", total, over, fleet)
	if over > burst {
		t.Errorf("fleet: %d bytes more than %d a second allow, want at most %d", over, fleet, burst)
	}

	c.run(0, "jobs", "set", id, "--bwlimit", "512K")
	eventually(t, time.Minute, "both workers to know the new limit", func() bool {
		over, _ := overRate(way, time.Second, own)
		return over <= burst/2
	})
	over, total = overRate(way, 2*time.Second, own)
	t.Logf("job: %d bytes in 2 s, at most %d more than %d a second allow", total, over, own)
	if over > burst {
		t.Errorf("job: %d bytes more than %d a second allow, want at most %d", over, own, burst)
	}

	c.run(0, "jobs", "set", id, "--bwlimit", "off")
	c.run(0, "quota", "set", "--bwlimit", "off")
	whole(t, w, c, c.await(id, "the job to end", limit(), job.ended))
}
