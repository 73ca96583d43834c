package acceptance

import (
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// A worker that is paused in the middle of its deletions and goes on after another one has taken its place finds that it
// has lost them: it deletes and stores nothing more, is blamed for no death, and works on as before.
func TestAFrozenWorkerComesBackAndHarmsNothing(t *testing.T) {
	t.Parallel()
	const n = 120
	c := newClouds(t, cloudtest.Options{Latency: evenly(30 * time.Millisecond)})
	s := newStock(c)
	s.fill("Documents", n, 4)
	c.redis = c.w.redis()
	victim := c.start("worker")

	// The first deletion proves the way; at the second many files are on theirs.
	var once sync.Once
	stopped := make(chan struct{})
	var late atomic.Bool
	var deletions, commits atomic.Int64
	count := func(endpoint string, after int, n *atomic.Int64, do func()) *cloudtest.Hits {
		return c.play.Fault(cloudtest.Fault{Endpoint: endpoint, After: after, Kind: cloudtest.Do, Hook: func(*http.Request) {
			do()
			if late.Load() {
				n.Add(1)
			}
		}})
	}
	trashed := count("icloud:moveItemsToTrash", 1, &deletions, func() {
		once.Do(func() {
			if err := victim.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Errorf("stop the worker: %v", err)
			}
			close(stopped)
		})
	})
	count("dropbox:finish_batch_v2", 0, &commits, func() {})

	id := (&pool{t: t, c: c}).enqueue()
	eventually(t, time.Minute, "the second deletion", func() bool {
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	})
	froze := time.Now()
	s.nothingLost(t)
	heir := c.start("worker")
	j := c.await(id, "the other worker to end the job", limit(), job.ended)
	if j.State != "completed" || j.Files.Deleted != n || j.Files.Copied+j.Files.Skipped != n {
		t.Errorf("the job is %+v", j)
	}
	if trashed.Count() == 0 {
		t.Error("the worker was never stopped: this test proves nothing")
	}
	if full() {
		eventually(t, 3*time.Minute, "two minutes to pass", func() bool { return time.Since(froze) > 2*time.Minute })
	}
	t.Logf("frozen for %s", time.Since(froze).Round(time.Second))
	s.moved(t)
	before, used := c.show(id), c.quota()

	late.Store(true)
	if err := victim.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "it to find that it has lost its work", func() bool {
		return strings.Contains(victim.out.String(), "lost a unit to another worker")
	})
	heir.interrupt(t)
	heir.status(t, time.Minute)
	// The next job is the frozen worker's alone.
	for i := range 5 {
		s.put("More/file "+string(rune('a'+i))+".txt", 1000)
	}
	deleted, committed := deletions.Load(), commits.Load()
	late.Store(false)
	next := c.run(0, "enqueue", "icloud:More", "dropbox:Backup/More", "--delete-source", "verified")
	if j := c.await(next[:26], "the worker that was frozen to do the next job", limit(), job.ended); j.State != "completed" || j.Files.Deleted != 5 {
		t.Errorf("the next job is %+v", j)
	}
	if !victim.running() {
		t.Error("the worker that was frozen has ended")
	}
	if deleted != 0 {
		t.Errorf("it asked for %d deletions after it came back", deleted)
	}
	t.Logf("it ended %d uploads that were under way", committed)
	if n := c.arrived(); n != 125 {
		t.Errorf("%d files lie at Dropbox, want 125", n)
	}
	if after := c.show(id); !reflect.DeepEqual(after, before) {
		t.Errorf("the job was %+v, and is %+v since the worker came back", before, after)
	}
	// What it had set aside when it was frozen has ended by itself and is settled once.
	if q := c.quota(); q.Used < used.Used || q.Reserved != 0 {
		t.Errorf("the quota was %+v and is %+v", used, q)
	}
	s.moved(t)
}
