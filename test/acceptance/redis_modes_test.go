package acceptance

import (
	"strings"
	"testing"
	"time"

	"offload/internal/redistest"
)

// failing is a Redis of which one server is killed, or hangs, in the middle of a move.
type failing struct {
	url  string
	kill func()
	mend func() // returns when the rest serves again
}

func failingSentinel(t *testing.T) failing {
	s := redistest.StartSentinel(t, "--maxmemory-policy", "noeviction")
	old := s.Master()
	return failing{url: s.URL(), kill: old.Kill, mend: func() {
		s.Await(old)
		old.Run() // it comes back as a replica
	}}
}

// hangingSentinel is a master that hangs, and goes on when the replica has its place: what it does then is thrown away.
func hangingSentinel(t *testing.T) failing {
	s := redistest.StartSentinel(t, "--maxmemory-policy", "noeviction")
	old := s.Master()
	return failing{url: s.URL(), kill: old.Freeze, mend: func() {
		s.Await(old)
		old.Thaw()
	}}
}

func failingCluster(t *testing.T) failing {
	c := redistest.StartCluster(t, "--maxmemory-policy", "noeviction")
	return failing{url: c.URL(), kill: c.Masters[0].Kill, mend: func() {
		c.Masters[0].Run()
		c.Await()
	}}
}

// A master is killed in the middle of a move by two workers. The job ends by itself; nothing is lost, every file has its
// outcome, and the quota has all that was read.
func TestAMasterFailsInTheMiddleOfAMove(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T) failing{
		"sentinel": failingSentinel, "sentinel, hung": hangingSentinel, "cluster": failingCluster,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, smallFiles(t, 300))
			w.wholeUploads()
			w.killed = true // a claim that the new master has forgotten may leave a partial upload
			redis := begin(t)
			total := sum(files(t, w.keep))
			way := newProxy(t, w.webdav, total/10)
			c := cli{w: w, redis: redis.url, config: w.config("offload", way.url)}
			workers := []*process{c.start("worker", "--transfers", "3"), c.start("worker", "--transfers", "3")}
			id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
			eventually(t, time.Minute, "a third of the move", func() bool { return way.total() > total/3 })

			redis.kill()
			begun := time.Now()
			redis.mend()
			mended := time.Since(begun)
			served := way.total()
			w.nothingLost()
			eventually(t, time.Minute, "the workers to go on", func() bool { return way.total() > served })
			resumed := time.Since(begun) - mended
			way.setRate(0)
			j := c.await(id, "the job to end", limit(), job.ended)
			for _, p := range workers {
				if !p.running() {
					t.Error("a worker ended")
				}
			}
			w.nothingLost()
			w.moved()
			onceDeleted(t, w, way)
			// What the old master took with it may leave a file that is gone without a record of it: it is told of as failed.
			f, n := j.Files, int64(len(files(t, w.keep)))
			if j.State != "completed" && j.State != "completed_with_warnings" || f.Found != n ||
				f.Copied+f.Skipped+f.SetAside+f.Failed+f.Excluded != n || f.Failed > 10 {
				t.Errorf("the job ended as %+v, want an outcome for each of %d files", j, n)
			}
			if q := c.quota(); q.Used < total || q.Used < way.total()-2<<20 {
				t.Errorf("the quota counts %d bytes; the tree has %d, and %d were served", q.Used, total, way.total())
			}
			t.Logf("%s: the rest served again after %s, the workers went on %s later; %s, %+v, served %.2f times the tree",
				name, mended, resumed, j.State, j.Files, float64(way.total())/float64(total))
		})
	}
}

// A job that `enqueue` has acknowledged is there after a failover, though the master was killed at once.
func TestAnAcknowledgedJobOutlivesTheMaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smallFiles(t, 3))
	s := redistest.StartSentinel(t, "--maxmemory-policy", "noeviction")
	c := cli{w: w, redis: s.URL(), config: w.config("offload", w.webdav)}
	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket))
	old := s.Master()
	old.Kill()
	s.Await(old)
	c.start("worker")
	if j := c.await(id, "the job to end", limit(), job.ended); j.State != "completed" {
		t.Errorf("the job is %+v, want it completed", j)
	}
}
