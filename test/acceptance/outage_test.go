package acceptance

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// Both clouds are away for forty seconds in the middle of a job: it waits for them, says so, and no file fails.
func TestCloudsAwayForAWhile(t *testing.T) {
	f := newFaulty(t)
	f.s.fill("More", 150, 6)
	p := f.c.start(order("verified", "--transfers", "4")...)
	eventually(t, time.Minute, "some files to be copied", func() bool { return f.c.play.Calls("icloud:content") > 20 })
	away := f.c.play.Fault(cloudtest.Fault{Endpoint: "*", Kind: cloudtest.Drop})
	back := time.Now().Add(40 * time.Second)
	told := map[string]bool{}
	eventually(t, time.Minute, "forty seconds to pass", func() bool {
		if jobs := decode[[]job](t, f.c.cli.run(0, "jobs", "list", "--json")); len(jobs) == 1 {
			for _, o := range f.c.show(jobs[0].ID).Outages {
				if o.Why != "" && o.Since.Before(time.Now()) {
					told[o.Remote] = true
				}
			}
		}
		return time.Now().After(back)
	})
	calls := away.Count()
	away.Remove()
	if code := p.status(t, limit()); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	if len(told) == 0 {
		t.Error("nobody was told what the job waited for")
	}
	j, _ := f.last()
	if j.State != "completed" || j.Files.Failed != 0 {
		t.Errorf("%+v", j)
	}
	if calls == 0 || calls > 800 {
		t.Errorf("%d calls were made while nobody answered", calls)
	}
	t.Logf("told of %v; %d calls meanwhile", told, calls)
	f.s.moved(t)
}

// A worker that waits for clouds which don't answer stops within its grace and the time that it gives to tidying up, and
// at once when it is told twice.
func TestStopWhileCloudsAreAway(t *testing.T) {
	t.Parallel()
	for signals, limit := range map[int]time.Duration{1: 15 * time.Second, 2: 8 * time.Second} {
		s := newStopping(t, cloudtest.Options{Seed: 21})
		s.stock.fill("Docs", 60, 3)
		away := s.play.Fault(cloudtest.Fault{Endpoint: "*", Kind: cloudtest.Drop, After: 80})
		w := s.worker("--transfers", "4")
		id := s.enqueue()
		s.await(id, "the job tells that its clouds are away", 3*time.Minute, func(j job) bool { return len(j.Outages) > 0 })
		began := time.Now()
		s.terminate(w)
		if signals == 2 { // two that wait to be delivered are one
			eventually(t, 10*time.Second, "the first signal to arrive", func() bool { return countIn(w, "stopping;") > 0 })
			s.terminate(w)
		}
		if code := w.status(t, 30*time.Second); code != 0 {
			t.Errorf("exit status %d", code)
		}
		if took := time.Since(began); took > limit {
			t.Errorf("it took %v to stop after %d signals", took, signals)
		}
		if away.Count() == 0 {
			t.Error("the fault never struck")
		}
		away.Remove()
		s.worker()
		s.completes(id)
	}
}

// stopping is a job of a pool whose workers are stopped.
type stopping struct {
	*clouds
	t     *testing.T
	stock *stock
}

func newStopping(t *testing.T, opt cloudtest.Options) *stopping {
	c := newClouds(t, opt)
	c.cli.redis = c.w.redis()
	return &stopping{clouds: c, t: t, stock: newStock(c)}
}

// worker starts a worker, and returns when it has begun to look for work.
func (s *stopping) worker(more ...string) *process {
	s.t.Helper()
	p := s.start(append([]string{"worker"}, more...)...)
	eventually(s.t, 30*time.Second, "a worker to start", func() bool { return countIn(p, "worker started") > 0 })
	return p
}

func (s *stopping) enqueue(more ...string) string {
	s.t.Helper()
	return decode[job](s.t, s.run(0, append([]string{"enqueue", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--json"}, more...)...)).ID
}

// terminate sends SIGTERM. Where it is the second one, the first may have done.
func (s *stopping) terminate(p *process) {
	s.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
}

// completes waits for the job's end, and demands that all was moved and nothing lost.
func (s *stopping) completes(id string) {
	s.t.Helper()
	j := s.await(id, "the job to end", limit(), job.ended)
	if j.State != "completed" || j.Files.Failed != 0 {
		s.t.Errorf("%+v", j)
	}
	s.stock.moved(s.t)
}
