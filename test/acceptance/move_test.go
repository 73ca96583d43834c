package acceptance

import (
	"strings"
	"testing"
	"time"
)

// limit is how long a whole move may take before a test gives up on it.
func limit() time.Duration {
	if full() {
		return 40 * time.Minute
	}
	return 8 * time.Minute
}

// whole demands that the job ended well with every file proved and deleted.
func whole(t *testing.T, w *world, c cli, j job) {
	t.Helper()
	if j.State != "completed" {
		t.Errorf("the job ended as %s (%s), want completed", j.State, j.Error)
	}
	want := int64(len(files(t, w.keep)))
	if j.Files.Found != want || j.Files.Deleted != want {
		t.Errorf("found %d and deleted %d files, want %d", j.Files.Found, j.Files.Deleted, want)
	}
	w.moved()
	for _, r := range c.sourceEmptied(j.ID) {
		t.Errorf("kept at the source: %+v", r)
	}
}

func TestRunMovesATreeFromWebDAVToS3(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) { goSource(t, rnd, dir) })
	c := cli{w: w, config: w.config("offload", w.webdav)}

	run := c.start("run", "src:", "s3:"+bucket, "--delete-source", "verified")
	if status := run.status(t, limit()); status != 0 {
		t.Fatalf("exit status %d, want 0", status)
	}
	whole(t, w, c, c.only())
	if total := sum(files(t, w.keep)); c.quota().Used < total {
		t.Errorf("the quota counts %d bytes, fewer than the %d that were moved", c.quota().Used, total)
	}
}

func TestTwoWorkersMoveATreeThroughRedis(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) { goSource(t, rnd, dir) })
	c := cli{w: w, config: w.config("offload", w.webdav), redis: w.redis()}

	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
	workers := []*process{c.start("worker"), c.start("worker")}
	j := c.await(id, "the job to end", limit(), job.ended)
	for _, p := range workers {
		p.interrupt(t)
		if status := p.status(t, time.Minute); status != 0 && status != 130 {
			t.Errorf("a worker that was asked to stop ended with status %d", status)
		}
	}
	whole(t, w, c, j)
}
