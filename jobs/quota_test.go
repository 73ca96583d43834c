package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/quota"
	"offload/transfer"
)

const srcDay, dstMonth = "remote/src/day", "remote/dst/month"

func TestReservesInAllLimitsOrNone(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"src": {PerDay: 1000}, "dst": {PerMonth: 500}}}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 2000)
		lim, err := w.svc.limitsOf(t.Context(), Job{Account: "anna", Source: "src:a", Dest: "dst,x=y:b"})
		if err != nil || fmt.Sprint(lim) != "{[{anna 1} {remote/src/day 1} {remote/dst/month 1}] []}" {
			t.Fatal(lim, err)
		}
		m := &meter{calls: func(context.Context) (func(context.Context), error) { return func(context.Context) {}, nil }}
		for _, l := range lim.bytes {
			m.pools = append(m.pools, pool{w.ledger.Pool(l.subject, "test"), l.times})
		}
		g, err := m.Reserve(t.Context(), 400)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Reserve(t.Context(), 200); !errors.Is(err, transfer.ErrNoQuota) {
			t.Fatalf("200 of 100: %v", err)
		}
		if err := errors.Join(g.Charge(t.Context(), 300), g.Settle(t.Context(), 300, 100), m.close(t.Context())); err != nil {
			t.Fatal(err)
		}
		for _, l := range lim.bytes {
			if st := w.status(l.subject); st.Used != 300 || st.Reserved != 0 || st.Wasted != 100 {
				t.Errorf("%s: %+v", l.subject, st)
			}
		}
	})
}

func TestOneRemoteOnBothSidesCountsTwice(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"src": {PerDay: 25_000}}}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		w.tree(20, 1000)
		o := w.order("anna")
		o.Dest = "src:" + w.dst
		w.worker(w.svc, WorkerOptions{})
		j := w.waits(w.enqueue(o).ID, 12)
		w.used(srcDay, 24_000)
		w.used("anna", 12_000)
		if want := "remote src had 1000 B of its 24 KiB a day left, the next file needs 2.0 KiB: goes on "; !strings.HasPrefix(j.Error, want) {
			t.Errorf("waits since %q, want %q", j.Error, want)
		}
	})
}

func TestDayAndMonthAtOnce(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"src": {PerDay: 4000}, "dst": {PerMonth: 11_000}}}
	onClocks(t, cfg, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 6000)
		w.tree(14, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		day := func(n int) time.Time { return time.Date(2027, 1, n, 0, 0, 0, 0, time.UTC) }
		expect := func(copied int64, until time.Time, who string) {
			t.Helper()
			j := w.waits(id, copied)
			if j.Until == nil || !j.Until.Equal(until) || !strings.HasPrefix(j.Error, who) || !strings.Contains(j.Error, until.Format("2006-01-02 15:04 UTC")) {
				t.Fatalf("with %d files: waits until %v: %s; want %v", copied, j.Until, j.Error, until)
			}
		}
		expect(4, day(15), "remote src had 0 B of its 3.9 KiB a day left")
		w.goTo(day(15))
		expect(6, day(32), "account anna had 0 B of its 5.9 KiB a month left")
		w.goTo(day(16)) // a day that gives nothing: the account has none left
		w.goTo(day(32))
		expect(10, day(33), "remote src had 0 B")
		w.goTo(day(33))
		expect(12, day(60), "account anna had 0 B")
		w.goTo(day(60))
		w.completed(id, 14)
		w.used(dstMonth, 2000)
	})
}

func TestAJobOfThreePeriodsEndsByItself(t *testing.T) {
	onClocks(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 40_000)
		w.tree(100, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		w.waits(id, 40)
		w.used("anna", 40_000)
		w.goTo(month(2))
		w.waits(id, 80)
		w.used("anna", 40_000)
		w.goTo(month(3))
		w.completed(id, 100)
		w.used("anna", 20_000)
	})
}

func month(n int) time.Time { return time.Date(2027, time.Month(n), 1, 0, 0, 0, 0, time.UTC) }

// TestALargeFileIsNotStarved: small files of another job take the first period; in the second the large one goes first
// though they go on coming.
func TestALargeFileIsNotStarved(t *testing.T) {
	onClocks(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 100_000)
		large := filepath.Join(t.TempDir(), "film")
		if err := os.MkdirAll(large, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(large, "film.mov"), content("film", 90_000), 0o644); err != nil {
			t.Fatal(err)
		}
		w.tree(150, 1000)
		w.worker(w.svc, WorkerOptions{})
		small := w.enqueue(w.order("anna")).ID
		w.waits(small, 100)
		o := w.order("anna")
		o.Source, o.Dest = "src:"+large, "dst:"+w.dst+"-film"
		film := w.enqueue(o).ID
		w.waits(film, 0)
		until(t, "the large file has its place in the queue", func() bool {
			j, err := w.svc.Get(t.Context(), film)
			return err == nil && j.claim.Need == 90_000 && len(j.claim.Since) == 1
		})
		w.renewed(month(2).Add(-30*time.Second), small, film)
		w.goTo(month(2))
		w.completed(film, 1)
		w.waits(small, 110)
		w.used("anna", 100_000)
	})
}

// renewed sets the clock and waits until the claims of these jobs were renewed after that: a clock that jumps makes the
// ledger forget claims.
func (w *quotaWorld) renewed(at time.Time, jobs ...string) {
	w.t.Helper()
	w.goTo(at)
	until(w.t, "the claims are renewed", func() bool {
		all, err := w.store.Client().HGetAll(w.t.Context(), "offload:{q:anna}:claims").Result()
		if err != nil {
			w.t.Fatal(err)
		}
		found := 0
		for id, text := range all {
			var need, since, renewed int64
			if _, err := fmt.Sscan(text, &need, &since, &renewed); err != nil {
				w.t.Fatal(err)
			}
			job, _, _ := strings.Cut(id, ":")
			if slices.Contains(jobs, job) && need > 0 && renewed >= at.UnixMilli() {
				found++
			}
		}
		return found == len(jobs)
	})
}

func TestAChangeOfPlanWakesAtOnce(t *testing.T) {
	cfg := quota.Config{Tiers: []quota.Tier{{Name: "s", Limit: 3000}, {Name: "m", Limit: 8000}, {Name: "l", Limit: 20_000}}, DefaultTier: "s"}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		plan := func(name string) {
			t.Helper()
			if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Plan: &name}); err != nil {
				t.Fatal(err)
			}
			if err := w.svc.QuotaChanged(t.Context(), "anna"); err != nil {
				t.Fatal(err)
			}
		}
		w.tree(20, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		w.waits(id, 3)
		plan("m")
		if j, err := w.svc.Get(t.Context(), id); err != nil || j.State == Waiting && j.Files.Copied < 8 {
			t.Fatalf("right after the change: %s with %d files, %v", j.State, j.Files.Copied, err)
		}
		w.waits(id, 8)
		plan("s") // smaller than what is used: nothing more goes
		if j := w.waits(id, 8); j.Until == nil {
			t.Fatalf("waits without an end: %s", j.Error)
		}
		plan("l")
		w.completed(id, 20)
		w.used("anna", 20_000)
	})
}

func TestRemovedAccountWaitsForAPerson(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 5000)
		w.tree(10, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		w.waits(id, 5)
		if err := w.ledger.Remove(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		var j Job
		until(t, "the job says that the account was removed", func() bool {
			j = w.waits(id, 5)
			return strings.Contains(j.Error, "removed")
		})
		if j.Until != nil || !strings.Contains(j.Error, "quota set --account anna") {
			t.Errorf("waits until %v: %s", j.Until, j.Error)
		}
		var oe *OrderError
		if _, err := w.svc.Enqueue(t.Context(), w.order("anna")); !errors.As(err, &oe) || oe.Field != "account" || !strings.Contains(oe.Hint, "quota set --account anna") {
			t.Errorf("a new job of it: %v", err)
		}
		w.set("anna", 20_000)
		w.completed(id, 10)
		w.used("anna", 10_000)
	})
}

func TestPlanThatIsNotConfiguredAnyMore(t *testing.T) {
	old := quota.Config{Tiers: []quota.Tier{{Name: "old", Limit: 5000}, {Name: "unlimited", Limit: quota.Unlimited}}}
	onStores(t, old, func(t *testing.T, w *quotaWorld) {
		plan := "old"
		if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Plan: &plan}); err != nil {
			t.Fatal(err)
		}
		w.limit(quota.Config{})
		w.tree(3, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		if j := w.waits(id, 0); j.Until != nil || !strings.Contains(j.Error, "plan old") {
			t.Errorf("waits until %v: %s", j.Until, j.Error)
		}
		plan = "free"
		if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Plan: &plan}); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.QuotaChanged(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		w.completed(id, 3)
	})
}

func TestTooLargeForARemotesDay(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"dst": {PerDay: 50_000}}}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		w.put("film.mov", 60_000)
		w.put("note.txt", 10)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		j := w.waits(id, 1)
		if j.Until != nil || !strings.Contains(j.Error, "59 KiB") || !strings.Contains(j.Error, "quota set --remote dst --per-day SIZE`") {
			t.Errorf("waits until %v: %s", j.Until, j.Error)
		}
		w.set("remote/dst/day", 70_000)
		w.completed(id, 2)
	})
}

// TestWakingInVainDoesNotSpin: where the ledger says that something fits and refuses it all the same, the job is tried
// ever more seldom.
func TestWakingInVainDoesNotSpin(t *testing.T) {
	w := newWorld(t, "")
	q := &quotaWorld{world: w}
	q.limit(quota.Config{})
	q.set("anna", 1500)
	w.tree(2, 1000)
	stop := w.worker(w.svc, WorkerOptions{})
	id := w.enqueue(q.order("anna")).ID
	q.waits(id, 1)
	stop()
	woken, first := 0, time.Time{}
	for range 50 {
		if woken > 0 && time.Since(first) > time.Second { // two seconds after the first time it may be woken again
			break
		}
		before, err := w.svc.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.svc.scripts.wake(t.Context(), id, "test", false); err != nil {
			t.Fatal(err)
		}
		after, err := w.svc.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if before.State == Waiting && after.State != Waiting {
			if woken++; woken == 1 {
				first = time.Now()
			}
			// As a worker does that is refused at once.
			_, _, tasks, err := w.svc.scripts.feed(t.Context(), id, feedWindow)
			if err != nil {
				t.Fatal(err)
			}
			for _, task := range tasks {
				h, _, err := w.svc.scripts.claim(t.Context(), id, task.unit, task.attempt, "test", leaseTime)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.svc.scripts.giveback(t.Context(), h, giveBack{parked: true, need: 1000, reason: ReasonQuota}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if woken != 1 {
		t.Errorf("woken %d times in a moment", woken)
	}
	if err := w.svc.scripts.wake(t.Context(), id, "test", true); err != nil {
		t.Fatal(err)
	}
	if j, err := w.svc.Get(t.Context(), id); err != nil || j.State == Waiting {
		t.Errorf("%s after somebody changed a limit, %v", j.State, err)
	}
}

func TestCallGate(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"src": {Calls: 100}}}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		gate := w.svc.CallGate()
		other := w.service(nil).CallGate() // of another process
		if err := gate.Call(t.Context(), "dst"); err != nil {
			t.Fatalf("a remote without a limit: %v", err)
		}
		made, refused := 0, 0
		for i := range 120 {
			g := gate
			if i%2 == 1 {
				g = other
			}
			switch err := g.Call(t.Context(), "src"); {
			case err == nil:
				made++
			case errors.Is(err, transfer.ErrNoQuota):
				refused++
				if want := "remote src has "; !strings.Contains(err.Error(), want) {
					t.Fatalf("refused with %q", err)
				}
			default:
				t.Fatal(err)
			}
		}
		// What the other process has set aside and not used is all that may be missing.
		if made > 100 || made < 100-callsAhead || made+refused != 120 {
			t.Fatalf("%d calls of 100 made, %d refused", made, refused)
		}
		if _, err := w.svc.gate.hold(t.Context(), []string{"remote/src/calls"}); !errors.Is(err, transfer.ErrNoQuota) {
			t.Errorf("a file may begin though no call is left: %v", err)
		}
		w.svc.gate.close()
		if err := gate.Call(t.Context(), "src"); err == nil || errors.Is(err, transfer.ErrNoQuota) {
			t.Errorf("after the end: %v", err)
		}
		if st := w.status("remote/src/calls"); st.Used > 100 || st.Used < int64(made) {
			t.Errorf("%d calls made, %+v", made, st)
		}
	})
}

// TestAFileThatBeganCanEnd: no more files begin than there are calls to end them with, whatever else takes the free ones.
func TestAFileThatBeganCanEnd(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"src": {Calls: 2*fewCalls + 5}, "tiny": {Calls: 3}}}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		g, ctx := w.svc.gate, t.Context()
		hold := func(remote string) (func(context.Context), error) {
			return g.hold(ctx, []string{quota.RemoteSubject(remote, quota.Calls)})
		}
		first, err := hold("src")
		second, err2 := hold("src")
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if _, err := hold("src"); !errors.Is(err, transfer.ErrNoQuota) {
			t.Errorf("a third file begins though too few calls are left: %v", err)
		}
		for i := range 2*fewCalls + 4 {
			if err := g.Call(ctx, "src"); err != nil {
				t.Fatalf("call %d of files that began: %v", i, err)
			}
		}
		first(ctx)
		second(ctx)
		if err := g.Call(ctx, "src"); err != nil {
			t.Errorf("the last call: %v", err)
		}
		if err := g.Call(ctx, "src"); !errors.Is(err, transfer.ErrNoQuota) {
			t.Errorf("a call beyond the limit: %v", err)
		}
		w.used(quota.RemoteSubject("src", quota.Calls), 2*fewCalls+5)
		release, err := hold("tiny")
		if err != nil {
			t.Errorf("a file under a limit of 3 calls: %v", err)
		}
		release(ctx)
		g.close()
		w.used(quota.RemoteSubject("tiny", quota.Calls), 0)
	})
}

// TestCallsAreGivenBack: what a process has booked ahead is no longer used once it ends.
func TestCallsAreGivenBack(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"src": {Calls: 100}}}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		for range 20 {
			if err := w.svc.CallGate().Call(t.Context(), "src"); err != nil {
				t.Fatal(err)
			}
		}
		w.svc.gate.close()
		w.used("remote/src/calls", 20)
	})
}

// TestNoCallsLeft: each part of a job that is refused a call waits, and goes on when there are calls again.
func TestNoCallsLeft(t *testing.T) {
	refuse := &transfer.LimitError{Limit: "the team's upload calls of this month are used up", Until: time.Now().Add(time.Hour).UTC()}
	for name, cause := range map[string]error{
		"our limit":     fmt.Errorf("list: %w", noQuota(&quota.NoQuotaError{Subject: "remote/src/calls", Need: 1, Limit: 5})),
		"text alone":    fmt.Errorf("list: %w", transfer.ErrNoQuota),
		"remote's own":  fmt.Errorf("list: %w", refuse),
		"of an account": noQuota(&quota.NoQuotaError{Subject: "anna", Need: 10, Limit: 5}),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			q := &quotaWorld{world: w}
			q.limit(quota.Config{})
			w.tree(3, 10)
			j := w.enqueue(q.order("anna"))
			allow := make(chan struct{})
			s := w.service(func(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error) {
				select {
				case <-allow:
					return transfer.Open(ctx, source, dest, opt)
				default:
					return nil, cause
				}
			})
			w.worker(s, WorkerOptions{})
			got := q.waits(j.ID, 0)
			if got.Error == "" || strings.HasPrefix(got.Error, "list") {
				t.Errorf("waits since %q", got.Error)
			}
			close(allow)
			if errors.Is(cause, refuse) {
				if got.Until == nil || got.Until.Sub(refuse.Until).Abs() > time.Second || got.Error != refuse.Limit {
					t.Errorf("waits until %v: %s", got.Until, got.Error)
				}
				if err := w.svc.auditAnd(t.Context(), j.ID, true); err != nil {
					t.Fatal(err)
				}
				q.waits(j.ID, 0) // no limit of ours can tell that the remote's has begun anew
				if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
			}
			q.completed(j.ID, 3)
		})
	}
}

func TestClaimEndsWithTheJobsWait(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		w.set("anna", 1500)
		w.tree(3, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		w.waits(id, 1)
		claimed := func() bool {
			j, err := w.svc.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return j.claim.Unit != ""
		}
		until(t, "the job claims quota", claimed)
		if _, err := w.svc.Pause(t.Context(), id); err != nil || claimed() {
			t.Fatalf("a paused job claims quota, %v", err)
		}
		if _, err := w.svc.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.waits(id, 1)
		until(t, "the job claims quota again", claimed)
		if _, err := w.svc.Cancel(t.Context(), id); err != nil || claimed() {
			t.Fatalf("a canceled job claims quota, %v", err)
		}
	})
}
