package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

func TestLanesOfVersions(t *testing.T) {
	for queue, want := range map[string]bool{"high": true, "normal": true, "low": true, "normal-v2": true, "low-v17": true,
		"normal-v1": false, "normal-v": false, "normal-vx": false, "run-01ABC": false, "run-v2": false, "": false} {
		if isLane(queue) != want {
			t.Errorf("%q is a lane: %v", queue, !want)
		}
	}
	if got, want := fmt.Sprint(poolQueues(1)), "map[high:3 low:1 normal:2]"; got != want {
		t.Errorf("version 1 serves %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(poolQueues(2)), "map[high:5 high-v2:6 low:1 low-v2:2 normal:3 normal-v2:4]"; got != want {
		t.Errorf("version 2 serves %s, want %s", got, want)
	}
	for v, text := range map[int]string{1: "", 3: "3", 1 << 30: "x"} {
		if got := versionNumber(text); got != v {
			t.Errorf("version %q is %d, want %d", text, got, v)
		}
	}
	for _, v := range []int{1, 2, 31} {
		name := versioned(processName(), v)
		if got := workerVersion(name); got != v || shortName(name) != shortName(processName()) {
			t.Errorf("%s is of version %d, want %d", name, got, v)
		}
	}
}

// An older worker knows nothing of filter rules, marks and dates: it would move, and delete, what was to stay.
func TestNewFiltersNeedANewWorker(t *testing.T) {
	now := time.Now()
	for _, o := range []transfer.Options{{Filter: []string{"- *"}}, {ExcludeIfPresent: []string{".x"}}, {ModifiedFrom: now}, {ModifiedTo: now}} {
		if got := leastVersion(Order{Options: o}); got != 2 {
			t.Errorf("%+v: version %d", o, got)
		}
	}
	if got := leastVersion(Order{Options: transfer.Options{Include: []string{"*"}, MinAge: 1, MaxSize: 1}}); got != 1 {
		t.Errorf("what older workers know needs version %d", got)
	}
}

// of returns a service of another version of the program, and counts the jobs that it opens.
func (w *world) of(version int) (*Service, *atomic.Int64) {
	opened := &atomic.Int64{}
	s := w.service(func(ctx context.Context, a, b string, o transfer.Options) (*transfer.Pair, error) {
		opened.Add(1)
		return transfer.Open(ctx, a, b, o)
	})
	s.scripts.version = version
	s.self = versioned(processName(), version)
	s.least = func(o Order) int {
		if strings.HasPrefix(o.Label, "v2") {
			return 2
		}
		return 1
	}
	return s, opened
}

// labeled accepts a job that moves a folder of its own.
func (w *world) labeled(s *Service, label string) Job {
	w.t.Helper()
	for i := range 3 {
		w.put(fmt.Sprintf("%s/file%d", label, i), 100)
	}
	o := w.order(transfer.DeleteVerified)
	o.Source, o.Dest, o.Label = o.Source+"/"+label, o.Dest+"/"+label, label
	j, err := s.Enqueue(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// A worker of the next version beside an old one: each does what it can, and nothing is spoiled or forgotten.
func TestOldWorkerLeavesNewJobsAlone(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		old, oldOpened := w.of(1)
		next, nextOpened := w.of(2)
		w.worker(old, WorkerOptions{})

		newJob := w.labeled(next, "v2 a")
		for i := range 3 { // of the old kind: the old worker does them though the new one came first
			j := w.labeled(old, fmt.Sprintf("v1 %d", i))
			if got := w.reach(j.ID, Completed, FailedState, CompletedW); got.State != Completed {
				t.Fatalf("%s: %s", got.State, got.Error)
			}
		}
		want := oldOpened.Load()
		if err := w.store.Client().ZAdd(t.Context(), keyDue, redis.Z{Score: 1, Member: newJob.ID}).Err(); err != nil {
			t.Fatal(err)
		}
		until(t, "the job says what it waits for", func() bool {
			j, err := old.Get(t.Context(), newJob.ID)
			return err == nil && j.State == Queued && strings.Contains(j.Error, "needs a newer worker")
		})
		for unit := range w.store.Client().HGetAll(t.Context(), string(keysOf(newJob.ID))+"holder").Val() {
			t.Errorf("%s of the new job is held", unit)
		}

		stop := w.worker(next, WorkerOptions{})
		got := w.reach(newJob.ID, Completed, FailedState, CompletedW)
		if got.State != Completed || got.Error != "" {
			t.Fatalf("%s: %q", got.State, got.Error)
		}
		if oldOpened.Load() != want || nextOpened.Load() == 0 {
			t.Errorf("the old worker opened %d jobs more, the new one %d", oldOpened.Load()-want, nextOpened.Load())
		}
		stop()
		// Without the old worker the new one does both kinds.
		w.worker(next, WorkerOptions{})
		for _, label := range []string{"v1 last", "v2 last"} {
			j := w.labeled(next, label)
			if got := w.reach(j.ID, Completed, FailedState, CompletedW); got.State != Completed {
				t.Errorf("%s: %s: %s", label, got.State, got.Error)
			}
		}
	})
}

// An old program neither claims, adopts nor retries what a newer one has made, whichever way it comes to it.
func TestOldProgramRefusesNewJobs(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.svc, _ = w.of(1)
		next, _ := w.of(2)
		w.svc, _ = w.of(1)
		j := w.labeled(next, "v2 b")
		ctx, c := t.Context(), w.store.Client()
		att, err := c.HGet(ctx, string(keysOf(j.ID))+"att", unitScan).Int64()
		if err != nil {
			t.Fatal(err)
		}
		before := w.dump(j.ID)
		if h, _, err := w.svc.scripts.claim(ctx, j.ID, unitScan, att, "old", leaseTime); err != nil || h.fence != "" {
			t.Errorf("claimed by its task: %+v, %v", h, err)
		}
		if h, err := w.svc.scripts.claimNext(ctx, j.ID, laneOf(Normal, 2), "old", leaseTime); err != nil || h.fence != "" {
			t.Errorf("claimed in its turn: %+v, %v", h, err)
		}
		if err := w.svc.adopt(ctx, j.ID, foregroundQueue(j.ID), w.svc.self); !errors.Is(err, errNewer) {
			t.Errorf("adopted: %v", err)
		}
		if after := w.dump(j.ID); !maps.Equal(before, after) {
			t.Errorf("the store was changed:\n%v\n%v", before, after)
		}
		if err := c.HSet(ctx, keysOf(j.ID).job(), "state", string(CompletedW), "scan_complete", "1").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Retry(ctx, j.ID); !errors.Is(err, errNewer) {
			t.Errorf("retried: %v", err)
		}
		if h, _, err := next.scripts.claim(ctx, j.ID, unitScan, att, "new", leaseTime); err != nil || h.fence != "" {
			t.Errorf("an ended job was claimed: %+v, %v", h, err)
		}
	})
}

// A job of a foreground process that is gone goes to the lane of its own version.
func TestNewForegroundJobGoesToItsOwnLane(t *testing.T) {
	w := newWorld(t, "")
	w.put("v2 c/file", 10)
	next, _ := w.of(2)
	o := w.order(transfer.DeleteNever)
	o.Source, o.Label = o.Source+"/v2 c", "v2 c"
	j, err := next.EnqueueForeground(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	k := keysOf(j.ID).job()
	if err := w.store.Client().HSet(t.Context(), k, "owner", deadProcess(t)).Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.audit(t.Context(), j.ID); err != nil { // an old program finds it
		t.Fatal(err)
	}
	if q := w.store.Client().HGet(t.Context(), k, "queue").Val(); q != "normal-v2" {
		t.Errorf("the job is in lane %q", q)
	}
}

// What a newer version has stored is refused with a word that says so, never read as something else.
func TestNewerFormatsAreRefused(t *testing.T) {
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	batch := c.enc.EncodeAll([]byte(`{"v":2,"n":1,"files":"elsewhere"}`+"\n"), nil)
	if _, _, err := c.unpackBatch(batch); !errors.Is(err, errNewer) {
		t.Errorf("a batch of version 2: %v", err)
	}
	for _, head := range []string{`{"v":2,"n":1}`, `{"v":2}`} {
		outcomes := c.enc.EncodeAll([]byte(head+"\n"), nil)
		if o, err := c.unpackOutcomes(outcomes, 1); !errors.Is(err, errNewer) {
			t.Errorf("outcomes with the head %s are read as %v, %v", head, o, err)
		}
	}
}

// A job of which a newer worker has stored something doesn't fail by the hands of an old one.
func TestNewerBatchFailsNoJob(t *testing.T) {
	w := newWorld(t, "")
	j := w.enqueue(w.order(transfer.DeleteNever))
	h := w.steal(j.ID, unitScan, w.svc.self)
	stopping := make(chan struct{})
	close(stopping) // it needn't wait between two failures
	wk := &worker{s: w.svc, log: w.log, stopping: stopping}
	for range maxFailures + 2 {
		if err := wk.failed(t.Context(), &unit{hold: h, w: wk}, fmt.Errorf("read batch: %w", errNewer)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.svc.Get(t.Context(), j.ID); err != nil || !got.State.Runs() {
		t.Errorf("the job is %s: %s, %v", got.State, got.Error, err)
	}
}
