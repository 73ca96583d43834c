package acceptance

import (
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// The workers' clocks are ten minutes from the store's, or come to be while they run: waits are as long as they should be,
// the dead are replaced as soon as ever, and nobody alive is taken for dead.
func TestWorkersWhoseClocksAreWrong(t *testing.T) {
	for name, c := range map[string]struct{ before, amid time.Duration }{
		"behind":             {10 * time.Minute, 0}, // the store is ahead of them
		"ahead":              {-10 * time.Minute, 0},
		"put back amid":      {0, 10 * time.Minute},
		"put forward amid":   {0, -10 * time.Minute},
		"forward, then back": {-10 * time.Minute, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newWallClock(t)
			clock.move(c.before)
			w := newClouds(t, cloudtest.Options{Latency: evenly(40 * time.Millisecond)})
			s := newStock(w)
			s.fill("Documents", 250, 5)
			w.redis = w.w.redis(clock.environ()...)
			first, second := w.start("worker"), w.start("worker")
			// Each wait by a wrong clock would take ten minutes.
			const hold, patience = 3 * time.Second, 5 * time.Minute
			var copied, deleted calls
			w.play.Fault(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Kind: cloudtest.Do, Hook: copied.note,
				Match: mentions("/Documents/folder ")}) // not the job's own record
			w.play.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Kind: cloudtest.Do, Hook: deleted.note})
			id := strings.TrimSpace(w.run(0, "enqueue", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified", "--hold", hold.String()))
			w.await(id, "a part of the job", patience, func(j job) bool { return j.Files.Copied > 20 })
			clock.move(c.amid)
			killed := time.Now()
			first.kill()
			w.await(id, "the job to hold its deletions", patience, func(j job) bool { return j.State == "waiting" && j.Reason == "hold" || j.ended() })
			t.Logf("moved %s after the kill", time.Since(killed).Round(time.Second))
			j := w.await(id, "the job to end", patience, job.ended)
			// As the clouds saw it: whoever asks for the job's state may be late.
			if first, ok := deleted.after(time.Time{}); !ok || first.Sub(copied.last()) < hold-10*time.Millisecond {
				t.Errorf("deletions were held for %s, want %s", first.Sub(copied.last()), hold)
			}
			if j.State != "completed" || j.Files.Deleted != 250 || j.Files.Failed != 0 {
				t.Errorf("the job is %+v", j)
			}
			s.moved(t)
			if !second.running() {
				t.Error("the other worker has ended")
			}
		})
	}
}
