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

	"offload/quota"
	"offload/transfer"
	"offload/transfer/xcloud"
	"offload/transfer/xtest"
)

// What may be on its way when a download is broken off is counted, but nobody waits for its bandwidth: a slow job would
// otherwise go on for minutes after it was called off, and its worker couldn't end.
func TestABrokenOffDownloadDoesNotWaitForBandwidth(t *testing.T) {
	w := newWorld(t, "")
	w.put("film.mov", 40<<20)
	cloud := xcloud.New(w.src)
	w.svc = w.service(func(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error) {
		p, err := cloud.Open(ctx, source, dest, opt)
		if err == nil {
			p.Source.Features().IsLocal = false // or nothing would be on its way
		}
		return p, err
	})
	stop := w.worker(w.svc, WorkerOptions{Grace: time.Millisecond})
	j := w.enqueue(slow(w.order(transfer.DeleteNever), "2M"))
	until(t, "bytes are read", func() bool { // a call alone may not have opened anything yet
		st, err := w.ledger.Status(t.Context(), j.Account)
		return err == nil && cloud.Calls("download") > 0 && st.Used > 0
	})
	if _, err := w.svc.SetJobBandwidth(t.Context(), j.ID, "1k"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Cancel(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "the unit is handed back", func() bool {
		held, err := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Result()
		return err == nil && held == 0
	})
	stop()
	used, err := w.ledger.Status(t.Context(), j.Account)
	if err != nil || used.Used < 8<<20 || used.Reserved != 0 {
		t.Errorf("what may have been on its way isn't counted: %+v, %v", used, err)
	}
}

// A job that was woken in vain by a clock that was ahead isn't kept waiting until that time comes.
func TestAClockThatIsPutBackDoesNotKeepAJobWaiting(t *testing.T) {
	onClocks(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 1500)
		w.tree(2, 1000)
		id := w.enqueue(w.order("anna")).ID
		w.worker(w.svc, WorkerOptions{})
		w.waits(id, 1)
		w.goTo(clockStart().AddDate(0, 0, 10))
		if err := w.svc.scripts.wake(t.Context(), id, "test", false); err != nil {
			t.Fatal(err)
		}
		w.waits(id, 1)
		w.goTo(clockStart().Add(time.Hour))
		if err := w.svc.scripts.wake(t.Context(), id, "test", false); err != nil {
			t.Fatal(err)
		}
		h, err := w.svc.History(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		woken := 0
		for _, e := range h {
			if e.By == "test" {
				woken++
			}
		}
		if woken != 2 {
			t.Errorf("woken %d times of 2", woken)
		}
	})
}

// A ring that was lost in part gives its turns all the same, and nobody asks for ever whose turn it is.
func TestARingWithoutItsNumbersEnds(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		r.join("anna", "a")
		if err := w.store.Client().Del(t.Context(), r.keys("normal")[3]).Err(); err != nil {
			t.Fatal(err)
		}
		vain := r.turn()
		if _, ok, err := r.next(t.Context(), "normal", vain); err != nil || ok {
			t.Errorf("a job that has nothing to claim keeps its turn: %v, %v", ok, err)
		}
	})
}

// Large files count from when they begin, not only once they have ended: or an account with some of them would take most
// slots, and all of a scarce quota, before the first has ended.
func TestLargeFilesCountAsSoonAsTheyBegin(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		if err := w.svc.SetBandwidth(t.Context(), "1k"); err != nil { // nothing ends
			t.Fatal(err)
		}
		small := w.src
		w.tree(400, 100)
		w.src = t.TempDir()
		for i := range 8 {
			w.put(fmt.Sprintf("film%d.mov", i), 40<<20)
		}
		large := w.enqueue(w.into("anna", "large", Normal))
		o := w.into("ben", "small", Normal)
		o.Source = small
		few := w.enqueue(o)
		// Both are scanned before anything else.
		w.slot(Normal).turns(t, 2)
		for range 2 { // one for each account
			w.worker(w.service(nil), WorkerOptions{Batches: 1, Grace: time.Millisecond})
		}
		until(t, "the first large file counts", func() bool {
			return w.store.Client().ZScore(t.Context(), w.svc.ring.keys("normal")[0], "anna").Val() > 40<<10
		})
		w.worker(w.service(nil), WorkerOptions{Batches: 6, Grace: time.Millisecond})
		held := func(id string) int {
			n, err := w.store.Client().ZCard(t.Context(), string(keysOf(id))+"lease").Result()
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		until(t, "all slots are taken", func() bool { return held(large.ID)+held(few.ID) == 8 })
		if n := held(large.ID); n != 1 {
			t.Errorf("the large files have %d slots of 8", n)
		}
	})
}

// What was expected of a turn and never read is taken back, but the time until then gives no credit.
func TestWhatATurnDidNotReadIsTakenBack(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		r.join("anna", "a")
		r.join("ben", "b")
		for _, others := range []int{0, 100} { // turns of ben before it is known
			film := r.turn()
			for film.job != "a" {
				film = r.turn()
			}
			if err := r.count(t.Context(), &film, 500<<20); err != nil {
				t.Fatal(err)
			}
			if got := r.serve(others, same(1<<20)); got["b"] != others {
				t.Fatalf("an expected cost isn't counted: %v", got)
			}
			if err := r.count(t.Context(), &film, 0); err != nil {
				t.Fatal(err)
			}
			near(t, "turns after a cost that was taken back", r.serve(100, same(1<<20))["a"], 50, 2)
		}
	})
}

// Whatever a job asks its source for may be refused since no API calls are left: scan, batch, finish and purge wait, and
// go on when there are calls again. It never makes the job fail, nor its files.
func TestNoCallsLeftInTheMiddle(t *testing.T) {
	for _, op := range []string{"list", "find", "download", "delete", "trash", "purge", "storage"} {
		t.Run(op, func(t *testing.T) {
			w := newWorld(t, "")
			cloud := cloudWorld(w)
			w.tree(3, 1000)
			want := files(t, w.src)
			var refused atomic.Bool
			cloud.OnCall = func(call string) error {
				if call != op || !refused.Load() {
					return nil
				}
				return fmt.Errorf("%s: %w", op, noQuota(&quota.NoQuotaError{Subject: "remote/src/calls", Need: 1, Limit: 5}))
			}
			j := w.enqueue(purging(w.order(transfer.DeleteComplete)))
			refused.Store(true)
			w.worker(w.svc, WorkerOptions{})
			j = w.reach(j.ID, Waiting, Completed, CompletedW, FailedState)
			if j.State != Waiting || j.Reason != ReasonQuota || j.Files.Failed != 0 {
				t.Fatalf("%s %s (%s), %+v", j.State, j.Reason, j.Error, j.Files)
			}
			refused.Store(false)
			if err := w.svc.auditAnd(t.Context(), j.ID, true); err != nil {
				t.Fatal(err)
			}
			j = w.reach(j.ID, Completed, CompletedW, FailedState)
			if j.State != Completed || j.Files.Copied != 3 || j.Files.Purged != 3 || cloud.InTrash() != 0 || !maps.Equal(files(t, w.dst), want) {
				t.Errorf("%s (%s), %+v", j.State, j.Error, j.Files)
			}
		})
	}
}

// An account that is removed while a file of it is being read grants not one byte more; what was read stays counted.
func TestRemovedWhileBytesAreRead(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 50<<20)
		w.put("film.mov", 8<<20)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(slow(w.order("anna"), "2M")).ID
		until(t, "bytes are read", func() bool { return w.status("anna").Used > 2<<20 })
		if err := w.ledger.Remove(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		used := w.status("anna").Used
		j := w.waits(id, 0)
		if !strings.Contains(j.Error, "removed") || j.Until != nil {
			t.Errorf("waits until %v: %s", j.Until, j.Error)
		}
		if st := w.status("anna"); st.Used > used || st.Reserved != 0 {
			t.Errorf("after the removal, with %d used: %+v", used, st)
		}
		if _, err := w.svc.SetJobBandwidth(t.Context(), id, "off"); err != nil {
			t.Fatal(err)
		}
		w.set("anna", 50<<20)
		w.completed(id, 1)
		if st := w.status("anna"); st.Used < used+8<<20 {
			t.Errorf("used %+v, want the first attempt's %d too", st, used)
		}
	})
}

// What failed attempts read counts within the limit, and is told as waste.
func TestRetriesAreWasteWithinTheLimit(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 100_000)
		w.tree(3, 10_000)
		w.svc = w.service(func(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error) {
			p, err := transfer.Open(ctx, source, dest, opt)
			if err != nil {
				return nil, err
			}
			faults := xtest.NewScript(xtest.Fault{Op: "cut.Read", N: 2, When: xtest.After, Err: errors.New("connection reset by peer")})
			return transfer.NewPair(xtest.Wrap(ctx, p.Source, "cut", faults), p.Dest, opt), nil
		})
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		w.completed(id, 3)
		until(t, "all is settled", func() bool { return w.status("anna").Reserved == 0 })
		st := w.status("anna")
		if st.Wasted == 0 || st.Used != 30_000+st.Wasted {
			t.Errorf("%+v", st)
		}
	})
}

// All tasks of several units may be lost at once, in the hands of a process that died: as many are sent again, not one every
// 20 seconds.
func TestManyLostTasksAreSentAgainAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(100, 10)
		ctx, c := t.Context(), w.store.Client()
		j := w.enqueue(w.into("anna", "a", Normal))
		w.slot(Normal).turns(t, 1)
		fed, pending := string(keysOf(j.ID))+"fed", keyPending("normal")
		units := c.ZRange(ctx, fed, 0, -1).Val()
		if len(units) < 3 {
			t.Fatalf("only the units %v are in the queue", units)
		}
		if err := c.Rename(ctx, pending, strings.Replace(pending, "pending", "active", 1)).Err(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for _, u := range units {
				if err := c.ZAdd(ctx, fed, redis.Z{Score: 1, Member: u}).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.svc.audit(ctx, j.ID); err != nil {
				t.Fatal(err)
			}
			if n := c.LLen(ctx, pending).Val(); n != int64(len(units)) {
				t.Errorf("%d tasks for %d units", n, len(units))
			}
		}
	})
}

// A job of a foreground process that meets the end of its quota ends the process's work; the same order given again goes
// on with it, as often as one likes.
func TestForegroundJobWaitsForQuotaAndIsRepeated(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		ctx := t.Context()
		w.set("anna", 2500)
		w.tree(5, 1000)
		j, err := w.svc.EnqueueForeground(ctx, w.order("anna"))
		if err != nil {
			t.Fatal(err)
		}
		for run, want := range []struct{ limit, copied int64 }{{2500, 2}, {2500, 2}, {4000, 4}, {9000, 5}} {
			w.set("anna", want.limit)
			s := w.svc
			if run > 0 {
				s = w.service(nil)
				found, ok, err := s.FindInterrupted(ctx, w.order("anna"))
				if err != nil || !ok || found.ID != j.ID {
					t.Fatalf("run %d finds %s, %t, %v", run, found.ID, ok, err)
				}
				if found.State == Waiting { // a higher limit has woken it already
					if _, err := s.Resume(ctx, j.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := s.RunWorker(ctx, ctx, WorkerOptions{Job: j.ID}); err != nil {
				t.Fatal(err)
			}
			got, err := s.Get(ctx, j.ID)
			if err != nil || got.Files.Copied != want.copied || got.Files.Failed != 0 {
				t.Fatalf("run %d: %s %s, %+v, %v", run, got.State, got.Reason, got.Files, err)
			}
			if done := got.State == Completed; done != (want.copied == 5) || !done && (got.State != Waiting || got.Reason != ReasonQuota || got.Until == nil) {
				t.Errorf("run %d: %s %s until %v: %s", run, got.State, got.Reason, got.Until, got.Error)
			}
		}
	})
}

// A process that dies while it resumes or retries a job, right after it has changed the state: somebody looks at the job.
func TestAJobIsLookedAtThoughWhoeverResumedItDied(t *testing.T) {
	for name, c := range map[string]struct {
		stop State
		on   func(*Service, context.Context, string) (Job, error)
	}{
		"resume": {Paused, (*Service).Resume},
		"retry":  {FailedState, (*Service).Retry},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.tree(5, 10)
			ctx := t.Context()
			id := w.enqueue(w.order(transfer.DeleteNever)).ID
			if _, err := w.svc.scripts.transition(ctx, id, from(c.stop), string(c.stop), "test", "", hold{}); err != nil {
				t.Fatal(err)
			}
			if err := w.svc.audit(ctx, id); err != nil {
				t.Fatal(err)
			}
			for calls, state := int64(1), c.stop; state == c.stop; calls++ {
				m := newMortal(w.store, calls)
				s, err := New(Config{Store: m, Ledger: w.ledger, Log: w.log})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.on(s, ctx, id); !errors.Is(err, errDead) {
					t.Fatalf("after %d calls: %v", calls, err)
				}
				if err := errors.Join(s.Close(), m.shared.Close()); err != nil {
					t.Fatal(err)
				}
				j, err := w.svc.Get(ctx, id)
				if err != nil {
					t.Fatal(err)
				}
				state = j.State
			}
			if err := w.store.Client().ZScore(ctx, keyDue, id).Err(); err != nil {
				t.Fatalf("nobody will look at the job: %v", err)
			}
			w.svc.look(ctx, id, 0)
			w.worker(w.svc, WorkerOptions{})
			w.reach(id, Completed)
		})
	}
}
