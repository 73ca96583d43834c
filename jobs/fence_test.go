package jobs

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// deadProcess is the name of a process of this machine that has ended.
func deadProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skipf("no process to end here: %v", err)
	}
	p := strings.Split(processName(), ":")
	if p[1] == "" {
		t.Skip("this system doesn't tell the set of its process IDs")
	}
	return strings.Join([]string{p[0], p[1], strconv.Itoa(cmd.ProcessState.Pid()), p[3]}, ":")
}

// steal claims the next unit that is fed, as a worker of that name would.
func (w *world) steal(id, unit, worker string) hold {
	w.t.Helper()
	att, err := w.store.Client().HGet(w.t.Context(), string(keysOf(id))+"att", unit).Int64()
	if err != nil {
		w.t.Fatal(err)
	}
	h, _, err := w.svc.scripts.claim(w.t.Context(), id, unit, att, worker, leaseTime)
	if err != nil || h.fence == "" {
		w.t.Fatalf("claim %s: %+v, %v", unit, h, err)
	}
	return h
}

func TestUnitOfADeadWorkerIsTakenBackAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(30, 500)
		want := files(t, w.src)
		j := w.enqueue(w.order(transfer.DeleteVerified))
		h := w.steal(j.ID, unitScan, deadProcess(t))
		w.worker(w.svc, WorkerOptions{})
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		if j.State != Completed || !maps.Equal(files(t, w.dst), want) {
			t.Fatalf("%s: %s", j.State, j.Error)
		}
		if _, err := w.svc.scripts.renew(t.Context(), h, leaseTime, ""); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("the dead worker may renew: %v", err)
		}
	})
}

// A renewal that is on its way while its unit ends must not bring the lease back: nobody would ever give it up, and the
// unit would be done anew.
func TestRenewalOfAnEndedUnitIsRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.put("a.bin", 10)
		j := w.enqueue(w.order(transfer.DeleteNever))
		h := w.steal(j.ID, unitScan, "somewhere:else:1:x")
		if _, err := w.svc.scripts.owned(t.Context(), "scan_done", h, nil, h.fence, "w", 0, 0, 0, "", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.scripts.renew(t.Context(), h, leaseTime, "{}"); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("the ended scan may be renewed: %v", err)
		}
		if n, err := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Result(); err != nil || n != 0 {
			t.Errorf("%d leases are held, %v; want none", n, err)
		}
	})
}

// A worker that was frozen and comes back finds its unit given away: it may store nothing.
func TestLateWorkerStoresNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(3, 500)
		j := w.enqueue(w.order(transfer.DeleteNever))
		late := w.steal(j.ID, unitScan, "somewhere:else:1:x")
		past := redis.Z{Score: 1, Member: unitScan}
		if err := w.store.Client().ZAdd(t.Context(), string(keysOf(j.ID))+"lease", past).Err(); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.audit(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		w.refused(late)
	})
}

// refused demands that nothing which a holder may do is done for one that has lost its unit.
func (w *world) refused(late hold) {
	w.t.Helper()
	before := w.dump(late.job)
	sc, ctx, k := w.svc.scripts, w.t.Context(), keysOf(late.job)
	for name, call := range map[string]func() error{
		"renew": func() error { _, err := sc.renew(ctx, late, leaseTime, "{}"); return err },
		"record": func() error {
			_, err := sc.owned(ctx, "record", late, []string{k.outcomes(1)}, late.unit, late.fence, "1", "", 1, 1, "copied", 1, 0, "{}")
			return err
		},
		"batch_add": func() error {
			_, err := sc.owned(ctx, "batch_add", late, []string{k.batch(1)}, late.fence, 1, "x", 1, 1, 1)
			return err
		},
		"batch_done": func() error {
			_, err := sc.owned(ctx, "batch_done", late, []string{k.outcomes(1), k.ended(1)}, late.unit, late.fence, "w", "x", "")
			return err
		},
		"compact": func() error {
			_, err := sc.owned(ctx, "compact", late, []string{k.outcomes(1), k.ended(1)}, late.unit, late.fence, "x", "")
			return err
		},
		"scan_done": func() error {
			_, err := sc.owned(ctx, "scan_done", late, nil, late.fence, "w", 0, 0, 0, "", 0)
			return err
		},
		"giveback": func() error { _, err := sc.giveback(ctx, late, giveBack{wait: true, reason: ReasonSpace}); return err },
		"transition": func() error {
			_, err := sc.transition(ctx, late.job, from(FailedState), string(FailedState), "w", "x", late)
			return err
		},
	} {
		if err := call(); !errors.Is(err, transfer.ErrFenced) {
			w.t.Errorf("%s by a late worker: %v", name, err)
		}
		if after := w.dump(late.job); !maps.Equal(before, after) {
			w.t.Errorf("%s by a late worker changed the store:\n%v\n%v", name, before, after)
		}
	}
	for name, args := range map[string][]any{"take_delete": {5}, "take_transfer": {5, 1, 0, 0}} {
		args = append([]any{late.unit, late.fence}, args...)
		if n, err := sc.run(ctx, name, late.job, nil, args...).Int(); err != nil || n != -1 {
			w.t.Errorf("%s by a late worker: %d, %v", name, n, err)
		}
	}
}

// dump is all that the store holds of a job, but for its times.
func (w *world) dump(id string) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	c, ctx := w.store.Client(), w.t.Context()
	keys, err := c.Keys(ctx, string(keysOf(id))+"*").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range keys {
		switch kind := c.Type(ctx, k).Val(); kind {
		case "hash":
			for f, v := range c.HGetAll(ctx, k).Val() {
				all[k+" "+f] = v
			}
		case "zset":
			for _, z := range c.ZRangeWithScores(ctx, k, 0, -1).Val() {
				all[k+" "+z.Member.(string)] = "in"
			}
		case "list":
			all[k] = strings.Join(c.LRange(ctx, k, 0, -1).Val(), "\n")
		default:
			all[k] = c.Get(ctx, k).Val()
		}
	}
	return all
}

// Another worker takes a batch away in the middle of a file: the first one stops at once and records nothing more, and
// no file is copied by one and deleted by the other unproved.
func TestLostLeaseStopsTheWork(t *testing.T) {
	w := newWorld(t, "")
	w.put("film.mov", 3_000_000)
	want := files(t, w.src)
	j := w.enqueue(slow(w.order(transfer.DeleteVerified), "1M"))
	w.worker(w.svc, WorkerOptions{})
	until(t, "the film is under way", func() bool {
		p, err := w.svc.Progress(t.Context(), j.ID)
		return err == nil && p.Moving > 0
	})
	if n := w.store.Client().HIncrBy(t.Context(), string(keysOf(j.ID))+"att", "b1", 1).Val(); n < 2 {
		t.Fatalf("the batch was never claimed: %d", n)
	}
	until(t, "the first worker has stopped", func() bool {
		p, err := w.svc.Progress(t.Context(), j.ID)
		return err == nil && len(p.Current) == 0
	})
	if len(files(t, w.src)) != 1 {
		t.Fatal("the source was deleted by a worker that had lost its lease")
	}
	if err := w.store.Client().ZAdd(t.Context(), string(keysOf(j.ID))+"lease", redis.Z{Score: 1, Member: "b1"}).Err(); err != nil {
		t.Fatal(err)
	}
	j = w.reach(j.ID, Completed, CompletedW, FailedState)
	if j.State != Completed || !maps.Equal(files(t, w.dst), want) {
		t.Fatalf("%s: %s", j.State, j.Error)
	}
	st, err := w.ledger.Status(t.Context(), DefaultAccount)
	if err != nil || st.Used < 3_000_000 {
		t.Fatalf("quota %+v, %v", st, err)
	}
}

func TestTwoWorkersShareAJob(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(400, 3000)
		var opens [2]atomic.Int64
		for i := range opens {
			s := w.service(func(ctx context.Context, a, b string, o transfer.Options) (*transfer.Pair, error) {
				opens[i].Add(1)
				return transfer.Open(ctx, a, b, o)
			})
			w.worker(s, WorkerOptions{Batches: 1, Transfers: 2})
			until(t, "the worker is listed", func() bool { _, ok := w.workerOf(s); return ok })
		}
		j := w.reach(w.enqueue(slow(w.order(transfer.DeleteVerified), "600k")).ID, Completed, CompletedW, FailedState)
		if j.State != Completed || j.Files.Copied != 400 {
			t.Fatalf("%s, %+v", j.State, j.Files)
		}
		if opens[0].Load() == 0 || opens[1].Load() == 0 {
			t.Error("one worker did it all")
		}
	})
}

func TestForegroundJobGoesToThePoolWhenItsProcessDies(t *testing.T) {
	w := newWorld(t, "")
	w.tree(5, 100)
	j, err := w.svc.EnqueueForeground(t.Context(), w.order(transfer.DeleteNever))
	if err != nil {
		t.Fatal(err)
	}
	pool := w.service(nil)
	if err := pool.audit(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if q := w.store.Client().HGet(t.Context(), keysOf(j.ID).job(), "queue").Val(); q != foregroundQueue(j.ID) {
		t.Fatalf("queue %s: the pool took the job of a living process", q)
	}
	if err := w.store.Client().HSet(t.Context(), keysOf(j.ID).job(), "owner", deadProcess(t)).Err(); err != nil {
		t.Fatal(err)
	}
	found, ok, err := pool.FindInterrupted(t.Context(), w.order(transfer.DeleteNever))
	if err != nil || !ok || found.ID != j.ID {
		t.Fatalf("interrupted: %v %v %v", found.ID, ok, err)
	}
	if _, ok, _ := pool.FindInterrupted(t.Context(), w.order(transfer.DeleteVerified)); ok {
		t.Fatal("a job with another order was found")
	}
	w.worker(pool, WorkerOptions{})
	until(t, "maintenance is due", func() bool {
		return w.store.Client().ZAdd(t.Context(), keyDue, redis.Z{Score: 0, Member: j.ID}).Err() == nil
	})
	if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed {
		t.Fatalf("%s: %s", j.State, j.Error)
	}
}

func TestForegroundWorkerEndsWithItsJob(t *testing.T) {
	w := newWorld(t, "")
	w.tree(5, 100)
	other := w.enqueue(w.order(transfer.DeleteNever))
	j, err := w.svc.EnqueueForeground(t.Context(), w.order(transfer.DeleteNever))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.put("film.mov", 400_000)
	slowJob, err := w.svc.EnqueueForeground(t.Context(), slow(w.order(transfer.DeleteNever), "1k"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.svc.RunWorker(ctx, ctx, WorkerOptions{Job: slowJob.ID, Grace: time.Millisecond}) }()
	if _, found, err := w.service(nil).FindInterrupted(ctx, slow(w.order(transfer.DeleteNever), "1k")); found || !errors.Is(err, ErrRunning) {
		t.Fatalf("a job of a living process counts as interrupted: %v %v", found, err)
	}
	if _, err := w.svc.Cancel(ctx, slowJob.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := w.svc.RunWorker(ctx, ctx, WorkerOptions{Job: j.ID}); err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	if j, err = w.svc.Get(t.Context(), j.ID); err != nil || j.State != Completed {
		t.Fatalf("%s, %v", j.State, err)
	}
	if o, err := w.svc.Get(t.Context(), other.ID); err != nil || o.State != Queued {
		t.Fatalf("another job was touched: %s, %v", o.State, err)
	}
}

// A soft stop hands everything back: the next worker goes on at once, without waiting for a lease to end.
func TestSoftStopHandsBack(t *testing.T) {
	w := newWorld(t, "")
	w.tree(100, 20_000)
	want := files(t, w.src)
	stop := w.worker(w.svc, WorkerOptions{Grace: time.Second})
	j := w.enqueue(slow(w.order(transfer.DeleteVerified), "400k"))
	until(t, "something is copied", func() bool { return w.reach(j.ID, Queued, Scanning, Transferring).Files.Copied > 2 })
	stop()
	held, err := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Result()
	if err != nil || held != 0 {
		t.Fatalf("%d leases left behind, %v", held, err)
	}
	st, err := w.ledger.Status(t.Context(), DefaultAccount)
	if err != nil || st.Reserved != 0 {
		t.Fatalf("reserved %d left behind, %v", st.Reserved, err)
	}
	w.worker(w.service(nil), WorkerOptions{})
	if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || !maps.Equal(files(t, w.dst), want) {
		t.Fatalf("%s: %s", j.State, j.Error)
	}
}

// A call whose answer was lost is sent again by the client: it counts once.
func TestRecordSentTwiceCountsOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(1, 10)
		j := w.enqueue(w.order(transfer.DeleteNever))
		h := w.steal(j.ID, unitScan, "w:x:1:y")
		sc, ctx, k := w.svc.scripts, t.Context(), keysOf(j.ID)
		for range 2 {
			if _, err := sc.owned(ctx, "batch_add", h, []string{k.batch(1)}, h.fence, 1, "blob", 1, 1, 10); err != nil {
				t.Fatal(err)
			}
			if _, err := sc.owned(ctx, "record", h, []string{k.outcomes(1)}, h.unit, h.fence, h.fence+".1", "", 1, 1, "copied", 1, 0, "{}"); err != nil {
				t.Fatal(err)
			}
		}
		if j, err := w.svc.Get(ctx, j.ID); err != nil || j.Files.Copied != 1 || j.Files.Found != 1 {
			t.Fatalf("%+v, %v", j.Files, err)
		}
	})
}

// A job that a batch made fail can be retried; so can one whose retry was cut off half-way.
func TestRetryOfAFailedJobAndOfAHalfRetry(t *testing.T) {
	w := newWorld(t, "")
	w.tree(3, 100)
	broken := atomic.Bool{}
	broken.Store(true)
	s := w.service(func(ctx context.Context, a, b string, o transfer.Options) (*transfer.Pair, error) {
		if broken.Load() {
			return nil, &transfer.CheckError{Field: "source", Err: errors.New("gone from the configuration"), Final: true}
		}
		return transfer.Open(ctx, a, b, o)
	})
	j := w.enqueue(w.order(transfer.DeleteVerified))
	h := w.steal(j.ID, unitScan, w.svc.self)
	if err := (&worker{s: w.svc, log: w.log, name: w.svc.self, pairs: newPairs(w.svc, 0)}).scan(t.Context(),
		(&worker{s: w.svc, log: w.log}).newUnit(h, time.Now())); err != nil {
		t.Fatal(err)
	}
	w.worker(s, WorkerOptions{})
	if j = w.reach(j.ID, FailedState, Completed, CompletedW); j.State != FailedState {
		t.Fatalf("%s", j.State)
	}
	broken.Store(false)
	if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, FailedState, Completed, CompletedW); j.State != Completed || j.Files.Deleted != 3 {
		t.Fatalf("%s: %s, %+v", j.State, j.Error, j.Files)
	}
}

// What the scan couldn't read makes the job end with warnings, however often it has waited since.
func TestPartialScanStaysAWarningOverWaits(t *testing.T) {
	w := newWorld(t, "")
	w.tree(2, 10)
	o := w.order(transfer.DeleteVerified)
	o.Hold = time.Hour
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(o).ID, Waiting, Completed, CompletedW)
	c, k := w.store.Client(), keysOf(j.ID).job()
	if err := c.HSet(t.Context(), k, "scan_error", "1 folders could not be read whole", "unlisted", 1, "proved", 1).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != CompletedW || !strings.Contains(j.Error, "could not be read") {
		t.Fatalf("%s: %q", j.State, j.Error)
	}
}
