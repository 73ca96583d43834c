package acceptance

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kills is how often the single process is killed during its move.
const kills = 10

func TestKilledTenTimesTheMoveStillEnds(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) { goSource(t, rnd, dir) })
	w.wholeUploads()
	total := sum(files(t, w.keep))
	slow := newProxy(t, w.webdav, total/30) // half a minute, were it never killed
	c := cli{w: w, config: w.config("offload", slow.url)}
	order := []string{"run", "src:", "s3:" + bucket, "--delete-source", "verified"}

	// Each life lasts until a random share of the tree was served, at most an eleventh so that all kills hit the job
	// on its way, and a random moment more.
	for i := range kills {
		until := slow.total() + rnd.Int64N(total/(kills+1))
		p := c.start(order...)
		eventually(t, limit(), "a random part of the move", func() bool { return slow.total() >= until || !p.running() })
		more := time.NewTimer(time.Duration(rnd.IntN(300)) * time.Millisecond)
		select {
		case <-more.C:
		case <-p.ended:
		}
		if !p.running() {
			t.Fatalf("life %d ended by itself, with status %d", i+1, p.status(t, time.Second))
		}
		p.kill()
		w.killed = true
		w.nothingLost()
	}
	if status := c.start(order...).status(t, limit()); status != 0 {
		t.Fatalf("the last restart ended with status %d, want 0", status)
	}
	j := c.only()
	whole(t, w, c, j)

	q := c.quota()
	t.Logf("%d bytes in files, %d served by the source, %d counted by the quota, %d of them as waste", total, slow.total(), q.Used, q.Wasted)
	if q.Used < total {
		t.Errorf("the quota counts %d bytes, fewer than the %d that were moved", q.Used, total)
	}
	// What a dead process had not yet taken from its sockets was served but never moved.
	if unread := int64(kills * 8 << 20); q.Used+unread < slow.total() {
		t.Errorf("the quota counts %d bytes, the source served %d", q.Used, slow.total())
	}
}

func TestAKilledWorkersBatchIsFinishedByTheOther(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i := range 6 {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("film %d.mov", i)), 24<<20)
		}
		for i := range 200 {
			randomFile(t, rnd, filepath.Join(dir, "notes", fmt.Sprintf("%03d.txt", i)), 1+rnd.Int64N(20<<10))
		}
	})
	w.wholeUploads()
	store := w.redis()
	// Each worker has its own way to the source, so that it is known which of them is amid a file.
	ways := []*proxy{newProxy(t, w.webdav, 8<<20), newProxy(t, w.webdav, 8<<20)}
	var workers []*process
	for i, way := range ways {
		c := cli{w: w, redis: store, config: w.config(fmt.Sprintf("worker%d", i), way.url)}
		workers = append(workers, c.start("worker"))
	}
	c := cli{w: w, redis: store, config: w.config("offload", w.webdav)}
	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))

	victim := -1
	eventually(t, time.Minute, "a worker amid a film", func() bool {
		for i, way := range ways {
			if way.midFile(1 << 20) {
				victim = i
			}
		}
		return victim >= 0
	})
	workers[victim].kill()
	w.killed = true
	w.nothingLost()
	for _, way := range ways {
		way.setRate(0)
	}
	whole(t, w, c, c.await(id, "the other worker to end the job", limit(), job.ended))

	for path := range files(t, w.keep) {
		asked := 0
		for _, way := range ways {
			asked += way.deleted()["/"+path]
		}
		if asked != 1 {
			t.Errorf("%q was to be deleted %d times, want once", path, asked)
		}
	}
	if q := c.quota(); q.Used < sum(files(t, w.keep)) {
		t.Errorf("the quota counts %d bytes, fewer than were moved", q.Used)
	}
}

func TestAnotherProcessTakesOverTheEmbeddedStore(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i := range 40 {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("photo %02d.jpg", i)), 1<<20)
		}
	})
	w.wholeUploads()
	slow := newProxy(t, w.webdav, 8<<20)
	c := cli{w: w, config: w.config("offload", slow.url)}

	first := c.start("worker") // owns the store, since it comes first
	eventually(t, time.Minute, "the first worker to open the store", func() bool {
		return strings.Contains(first.out.String(), "worker started")
	})
	id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
	second := c.start("worker")
	eventually(t, time.Minute, "a tenth of the move", func() bool { return slow.total() > 4<<20 })
	first.kill()
	w.killed = true
	w.nothingLost()
	whole(t, w, c, c.await(id, "the second worker to end the job", limit(), job.ended))
	second.interrupt(t)
	if status := second.status(t, time.Minute); status != 0 && status != 130 {
		t.Errorf("the worker that was asked to stop ended with status %d", status)
	}
}

func TestInterruptKeepsTheJobAndTheSameCommandEndsIt(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i := range 60 {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("photo %02d.jpg", i)), 1<<20)
		}
	})
	slow := newProxy(t, w.webdav, 3<<20) // what is left after the looks below takes a quarter of a minute
	c := cli{w: w, config: w.config("offload", slow.url)}
	order := []string{"run", "src:", "s3:" + bucket, "--delete-source", "verified"}

	p := c.start(order...)
	eventually(t, time.Minute, "a part of the move", func() bool { return slow.total() > 8<<20 || !p.running() })
	// A second process sees the running job through the store that the first one owns.
	running := c.only()
	if running.ended() || running.Files.Found == 0 {
		t.Errorf("seen from another process, the running job is %+v", running)
	}
	p.interrupt(t)
	if status := p.status(t, time.Minute); status != 130 {
		t.Fatalf("interrupted once: exit status %d, want 130", status)
	}
	j := c.only()
	if j.State != "paused" {
		t.Errorf("interrupted once: the job is %s, want paused", j.State)
	}
	if !strings.Contains(p.out.String(), j.ID) {
		t.Errorf("interrupted once: the output doesn't say how to go on with job %s", j.ID)
	}
	w.nothingLost()

	slow.setRate(0)
	if status := c.start(order...).status(t, limit()); status != 0 {
		t.Fatalf("the same command again: exit status %d, want 0", status)
	}
	if again := c.only(); again.ID != j.ID {
		t.Errorf("the same command made a second job")
	}
	whole(t, w, c, c.only())
}
