package acceptance

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// workerGrace is how long what has begun may go on after a stop.
const workerGrace = 8 * time.Second

func countIn(p *process, text string) int { return strings.Count(p.out.String(), text) }

// calls notes when calls to a cloud came.
type calls struct {
	mu sync.Mutex
	at []time.Time
}

func (c *calls) note(*http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
}

// after is the first call after a time.
func (c *calls) after(since time.Time) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.at {
		if at.After(since) {
			return at, true
		}
	}
	return time.Time{}, false
}

// last is the last call so far.
func (c *calls) last() (at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.at {
		if t.After(at) {
			at = t
		}
	}
	return at
}

// SIGTERM in the middle of small files and one that takes half a minute: the worker ends in its grace, and another one has
// begun the large file again before the grace is over, which it would have used up. No lease has to run out for that.
func TestStopHandsOverToTheOtherWorker(t *testing.T) {
	t.Parallel()
	s := newStopping(t, cloudtest.Options{Seed: 22, Bandwidth: 1 << 20})
	s.stock.put("huge.bin", 25<<20)
	s.stock.fill("Docs", 200, 5)
	huge := &calls{}
	s.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Do, Hook: huge.note,
		Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "huge.bin") }})
	one := s.worker()
	id := s.enqueue()
	eventually(t, time.Minute, "the large file to be begun", func() bool { _, ok := huge.after(time.Time{}); return ok })
	s.worker()
	first, _ := huge.after(time.Time{})
	eventually(t, time.Minute, "a part of it to be read", func() bool { return time.Since(first) > 3*time.Second })
	stopped := time.Now()
	s.terminate(one)
	if code := one.status(t, 30*time.Second); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if took := time.Since(stopped); took > workerGrace+4*time.Second {
		t.Errorf("the worker took %v to stop", took)
	} else {
		t.Logf("the worker stopped in %v", took)
	}
	eventually(t, time.Minute, "the other worker to begin it", func() bool { _, ok := huge.after(stopped); return ok })
	again, _ := huge.after(stopped)
	if took := again.Sub(stopped); took > workerGrace-time.Second {
		t.Errorf("the other worker began it after %v", took)
	} else {
		t.Logf("the other worker began it after %v", took)
	}
	s.completes(id)
}

// SIGTERM in the scan of a deep tree, whose listings take their time: it is handed back at once, and goes on elsewhere.
func TestStopInAScan(t *testing.T) {
	t.Parallel()
	s := newStopping(t, cloudtest.Options{Seed: 23, Latency: cloudtest.Latency{List: 700 * time.Millisecond}})
	dir := "deep"
	for range 18 { // half of it is left when the second worker has started
		s.stock.put(dir+"/file.txt", 300)
		dir += "/deeper"
	}
	lists := &calls{}
	s.play.Fault(cloudtest.Fault{Endpoint: "icloud:retrieveItemDetailsInFolders", Kind: cloudtest.Do, Hook: lists.note})
	one := s.worker()
	id := s.enqueue()
	s.await(id, "the scan to begin", time.Minute, func(j job) bool { return j.State == "scanning" })
	begun := time.Now()
	eventually(t, time.Minute, "a listing", func() bool { _, ok := lists.after(begun); return ok })
	s.worker()
	stopped := time.Now()
	s.terminate(one)
	if code := one.status(t, 30*time.Second); code != 0 {
		t.Errorf("exit status %d", code)
	}
	took := time.Since(stopped)
	if took > workerGrace-time.Second {
		t.Errorf("the worker took %v to stop", took)
	}
	eventually(t, time.Minute, "the scan to go on", func() bool { at, ok := lists.after(stopped.Add(took)); return ok && !at.IsZero() })
	again, _ := lists.after(stopped.Add(took))
	t.Logf("the worker stopped in %v, the next listing came after %v", took, again.Sub(stopped))
	if again.Sub(stopped) > leaseTime-3*time.Second {
		t.Errorf("the scan went on after %v", again.Sub(stopped))
	}
	s.completes(id)
}

// A file that waits for its share of a tiny bandwidth keeps no worker from stopping.
func TestStopWhileFilesWaitForBandwidth(t *testing.T) {
	t.Parallel()
	s := newStopping(t, cloudtest.Options{Seed: 24})
	for _, name := range []string{"a.bin", "b.bin", "c.bin", "d.bin"} {
		s.stock.put(name, 3<<20)
	}
	one := s.worker()
	id := s.enqueue("--bwlimit", "200k")
	eventually(t, time.Minute, "a file to be begun", func() bool { return s.play.Calls("icloud:content") > 0 })
	stopped := time.Now()
	s.terminate(one)
	if code := one.status(t, 30*time.Second); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if took := time.Since(stopped); took > workerGrace-time.Second {
		t.Errorf("the worker took %v to stop", took)
	} else {
		t.Logf("the worker stopped in %v", took)
	}
	s.run(0, "jobs", "set", id, "--bwlimit", "off")
	s.worker()
	s.completes(id)
}
