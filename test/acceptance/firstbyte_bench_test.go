package acceptance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// BenchmarkFirstByte tells how long it takes from a job's acceptance to the first byte of its first file, on real workers
// that have nothing else to do and a real Redis, between clouds that answer at once: from the time at which the job was
// stored, and from the start of the command that enqueued it. A worker that has never met the remotes has to open them first:
// that is the first job's time.
func BenchmarkFirstByte(b *testing.B) {
	for _, idle := range []struct {
		name             string
		workers, waiting int
	}{{"one-worker", 1, 0}, {"three-workers", 3, 0}, {"one-worker-300-jobs-waiting", 1, 300}} {
		b.Run(idle.name, func(b *testing.B) {
			for b.Loop() {
				benchFirstByte(b, idle.workers, idle.waiting)
			}
		})
	}
}

func benchFirstByte(b *testing.B, workers, waiting int) {
	b.Helper()
	c := newClouds(b, cloudtest.Options{})
	c.account.Put("Big/film.mov", make([]byte, 10_000), noted())
	c.onRedis()
	var fleet []*process
	for i := range workers {
		fleet = append(fleet, c.another(i).start("worker"))
	}
	for _, p := range fleet {
		eventually(b, time.Minute, "a worker to start", func() bool { return strings.Contains(p.out.String(), "worker started") })
	}
	c.waitForQuota(waiting)
	came := make(chan time.Time, 100)
	c.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Do, Hook: func(*http.Request) { came <- time.Now() }})
	var took, whole []time.Duration
	for n := range 50 {
		c.account.Put(fmt.Sprintf("Job %02d/file.bin", n), []byte("some bytes"), noted())
		started := time.Now()
		j := decode[struct {
			ID      string
			Created time.Time
		}](b, c.run(0, "enqueue", fmt.Sprintf("icloud:Job %02d", n), fmt.Sprintf("dropbox:Backup %02d", n), "--json"))
		var at time.Time
		select {
		case at = <-came:
		case <-time.After(time.Minute):
			b.Fatalf("nothing of job %s is read", j.ID)
		}
		took, whole = append(took, at.Sub(j.Created)), append(whole, at.Sub(started))
		eventually(b, time.Minute, "the job to end", func() bool { return c.redisCLI("hget", "offload:{"+j.ID+"}:job", "finished") != "" })
	}
	first := took[0]
	slices.Sort(took)
	slices.Sort(whole)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "median-ms")
	b.ReportMetric(float64(took[len(took)*9/10].Milliseconds()), "p90-ms")
	b.ReportMetric(float64(first.Milliseconds()), "first-ms")
	b.ReportMetric(float64(whole[len(whole)/2].Milliseconds()), "with-command-ms")
	for _, p := range fleet {
		p.interrupt(b)
		p.status(b, time.Minute)
	}
}

// waitForQuota enqueues jobs of an account that has no quota left, and waits until all of them wait.
func (c *clouds) waitForQuota(n int) {
	c.w.t.Helper()
	if n == 0 {
		return
	}
	c.run(0, "quota", "set", "--account", "poor", "--limit", "1KiB")
	for range n {
		c.run(0, "enqueue", "icloud:Big", "dropbox:Elsewhere", "--account", "poor")
	}
	eventually(c.w.t, 5*time.Minute, "the jobs to wait", func() bool {
		return strings.Count(c.run(0, "jobs", "list", "--state", "waiting", "--account", "poor", "--all"), "waiting") >= n
	})
}
