package acceptance

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFourWorkersNeverExceedAQuotaAndALargerOneWakesThem(t *testing.T) {
	t.Parallel()
	const allowance = 100 << 20
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i := range 60 {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("album %d", i%7), fmt.Sprintf("photo %02d.jpg", i)), 5<<20)
		}
	})
	way := newProxy(t, w.webdav, 0)
	c := cli{w: w, redis: w.redis(), config: w.config("offload", way.url)}
	c.run(0, "quota", "set", "--account", "default", "--limit", "100MiB")
	for range 4 {
		c.start("worker")
	}
	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))

	seen := int64(0)
	j := c.await(id, "the job to wait for quota", limit(), func(j job) bool {
		q := c.quota()
		seen = max(seen, q.Used+q.Reserved)
		return j.State == "waiting" || j.ended()
	})
	if j.State != "waiting" || j.Reason != "quota" || j.Until == nil || !j.Until.After(time.Now()) {
		t.Fatalf("the job is %+v, want it to wait for quota, with the time of the reset", j)
	}
	if seen > allowance {
		t.Errorf("used and reserved came to %d bytes, more than the allowance of %d", seen, allowance)
	}
	// Nothing more may come while it waits: four workers are there that could.
	for range 10 {
		if j := c.show(id); j.State != "waiting" {
			t.Fatalf("the job went on as %s before there was quota", j.State)
		}
	}
	if got := way.total(); got > allowance || got < allowance*8/10 {
		t.Errorf("the source served %d bytes, want nearly all of the allowance of %d and never more", got, allowance)
	}
	w.nothingLost()

	c.run(0, "quota", "set", "--account", "default", "--limit", "400MiB")
	whole(t, w, c, c.await(id, "the larger allowance to wake the job", limit(), job.ended))
	if q := c.quota(); q.Used < 300<<20 || q.Used > 400<<20 || q.Reserved != 0 {
		t.Errorf("the quota is %+v, want 300 MiB used and nothing reserved", q)
	}
}

// A worker that dies holds its reservation until the lease of a minute has run out. A job that waits for those very
// bytes must not wait for the next month.
func TestADeadWorkersReservationComesFree(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i := range 30 {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("photo %02d.jpg", i)), 3<<20)
		}
	})
	w.wholeUploads()
	way := newProxy(t, w.webdav, 8<<20)
	c := cli{w: w, config: w.config("offload", way.url)}
	c.run(0, "quota", "set", "--account", "default", "--limit", "1GiB")
	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
	p := c.start("worker")
	eventually(t, time.Minute, "a part of the move", func() bool { return way.total() > 20<<20 })
	p.kill()
	w.killed = true

	// Room for the rest of the files, but only together with what the dead worker holds.
	held := c.quota()
	if held.Reserved == 0 {
		t.Fatalf("the quota is %+v: the dead worker holds nothing", held)
	}
	left := sum(files(t, w.source))
	c.run(0, "quota", "set", "--account", "default", "--limit", fmt.Sprint(held.Used+left+held.Reserved/2))
	way.setRate(0)
	c.start("worker")
	whole(t, w, c, c.await(id, "the reservation to come free and the job to end", limit(), job.ended))
}
