package jobs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// slowOverview counts the jobs one by one.
func (w *world) slowOverview() (counts map[State]int64, waiting map[Reason]int64) {
	w.t.Helper()
	counts, waiting = map[State]int64{}, map[Reason]int64{}
	err := w.svc.each(w.t.Context(), ListOptions{}, func(j Job) error {
		counts[j.State]++
		if j.State == Waiting {
			waiting[j.Reason]++
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return counts, waiting
}

// The overview of jobs in random states, that an earlier version has stored, is what counting them one by one finds.
func TestOverviewCountsAllJobs(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		o, err := w.svc.Overview(t.Context())
		if err != nil || len(o.Counts) != 0 || o.More != 0 || o.Live == nil || o.At.IsZero() {
			t.Fatalf("of an empty store: %+v, %v", o, err)
		}
		w.store.Client().Del(t.Context(), keyIndexed)
		w.svc = w.service(nil)
		now := time.Now()
		for i := range 400 {
			id := w.plant(now.Add(time.Duration(i)*time.Millisecond), fmt.Sprint("a", i%3), places()[rand.IntN(len(places()))])
			w.waitsFor(id, reasons()[rand.IntN(len(reasons()))]) // heeded where it waits
		}
		for round := range 2 {
			o, err := w.svc.Overview(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			counts, waiting := w.slowOverview()
			var open int64
			for st, n := range counts {
				if !st.Terminal() {
					open += n
				}
			}
			if !maps.Equal(o.Counts, counts) || len(o.Live) != liveMost || o.More != open-liveMost {
				t.Errorf("round %d: %v, %d live, %d more; want %v and %d open", round, o.Counts, len(o.Live), o.More, counts, open)
			}
			if round > 0 && !maps.Equal(o.Waiting, waiting) {
				t.Errorf("waiting %v, want %v", o.Waiting, waiting)
			}
			if !slices.IsSortedFunc(o.Live, func(a, b Progress) int { return liveRank(a.Job.State) - liveRank(b.Job.State) }) {
				t.Error("jobs that run don't come first")
			}
			// Maintenance looks at each in turn.
			err = w.svc.each(t.Context(), ListOptions{States: []State{Waiting}}, func(j Job) error {
				return w.svc.reschedule(t.Context(), j.ID, j.Account, audited{state: j.State, reason: j.Reason, now: now})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func (w *world) waitsFor(id string, r Reason) {
	w.t.Helper()
	if err := w.store.Client().HSet(w.t.Context(), keysOf(id).job(), "reason", string(r)).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// Few jobs are counted by the states that they are in, though the index hasn't heard of them yet.
func TestOverviewIsExactOfFewJobs(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, b, c := w.plant(time.Now(), "anna", Queued), w.plant(time.Now(), "ben", Transferring), w.plant(time.Now(), "ben", Waiting)
		w.reindexed()
		w.become(a, "anna", Waiting)
		w.waitsFor(a, ReasonSpace)
		w.become(b, "ben", Completed)
		w.waitsFor(c, ReasonQuota)
		o, err := w.svc.Overview(t.Context())
		if err != nil || !maps.Equal(o.Counts, map[State]int64{Waiting: 2, Completed: 1}) ||
			!maps.Equal(o.Waiting, map[Reason]int64{ReasonSpace: 1, ReasonQuota: 1}) || len(o.Live) != 2 {
			t.Errorf("%+v, %v", o, err)
		}
	})
}

// What a command does to a job shows in the overview, also which reason it waited for.
func TestOverviewFollowsAJob(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(3, 10)
		j := w.enqueue(w.order(transfer.DeleteNever))
		shows := func(want State) {
			t.Helper()
			o, err := w.svc.Overview(t.Context())
			if err != nil || o.Counts[want] != 1 || len(o.Counts) != 1 || (len(o.Live) == 1) == want.Terminal() {
				t.Errorf("%s: %+v, %v", want, o, err)
			}
			if n := w.store.Client().ZCard(t.Context(), keyWaits).Val(); n != 0 {
				t.Errorf("%s: %d jobs wait", want, n)
			}
		}
		shows(Queued)
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		shows(Paused)
		if err := w.svc.reschedule(t.Context(), j.ID, j.Account, audited{state: Waiting, reason: ReasonSpace}); err != nil {
			t.Fatal(err)
		}
		if n := w.store.Client().ZCard(t.Context(), keyWaits).Val(); n != 1 {
			t.Errorf("%d jobs wait, want 1", n)
		}
		if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		shows(Queued)
		stop := w.worker(w.svc, WorkerOptions{})
		w.reach(j.ID, Completed)
		o, err := w.svc.Overview(t.Context())
		if err != nil || len(o.Workers) != 1 {
			t.Errorf("workers %+v, %v", o.Workers, err)
		}
		stop()
		shows(Completed)
		// A worker of an earlier version has ended its wait, and noted that nowhere.
		if err := w.store.Client().ZAdd(t.Context(), keyWaits, redis.Z{Member: j.ID}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.Remove(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if n := w.store.Client().ZCard(t.Context(), keyWaits).Val(); n != 0 {
			t.Errorf("%d jobs wait", n)
		}
		if o, err := w.svc.Overview(t.Context()); err != nil || len(o.Counts) != 0 {
			t.Errorf("after it was removed: %+v, %v", o, err)
		}
	})
}

// A job whose record is damaged doesn't hide the others.
func TestOverviewPassesOverADamagedJob(t *testing.T) {
	w := newWorld(t, "")
	bad := w.plant(time.Now(), "anna", Transferring)
	good := w.plant(time.Now(), "anna", Transferring)
	if err := w.store.Client().HSet(t.Context(), keysOf(bad).job(), "order", "{").Err(); err != nil {
		t.Fatal(err)
	}
	o, err := w.svc.Overview(t.Context())
	if err != nil || len(o.Live) != 1 || o.Live[0].Job.ID != good || o.Counts[Transferring] != 2 || o.More != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}

// The numbers of reasons are stored: none may change.
func TestReasonsStay(t *testing.T) {
	if got := fmt.Sprint(reasons()); got != "[quota window sign_in space hold]" {
		t.Errorf("reasons %s: add at the end alone", got)
	}
}

// What a person has to do shows however many jobs wait for something else, and costs the store no more for more of them.
func TestOverviewShowsWhatWaitsForAPerson(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		began := time.Now().Add(-time.Hour)
		wait := func(after time.Duration, r Reason) string {
			id := w.plant(began.Add(after), "anna", Waiting)
			w.waitsFor(id, r)
			if err := w.svc.reschedule(t.Context(), id, "anna", audited{state: Waiting, reason: r, now: time.Now()}); err != nil {
				t.Fatal(err)
			}
			return id
		}
		signIn, space := wait(0, ReasonSignIn), wait(time.Second, ReasonSpace)
		stale := wait(2*time.Second, ReasonSpace)
		for i := range 150 {
			wait(time.Minute+time.Duration(i)*time.Millisecond, ReasonQuota)
		}
		if err := w.store.Client().SAdd(t.Context(), keyAccounts, "anna").Err(); err != nil {
			t.Fatal(err)
		}
		w.waitsFor(stale, ReasonQuota) // its index doesn't know yet
		o, err := w.svc.Overview(t.Context())
		if err != nil || len(o.Live) != liveMost || o.More != 53 || o.Waiting[ReasonSignIn] != 1 || o.Counts[Waiting] != 153 {
			t.Fatalf("%d live, %d more, %v, %v, %v", len(o.Live), o.More, o.Waiting, o.Counts, err)
		}
		if len(o.Stalled) != 2 || o.Stalled[0].ID != space || o.Stalled[1].ID != signIn || o.Stalled[1].Source != "/a" {
			t.Errorf("stalled: %+v", o.Stalled)
		}
		for i := range 3 * stalledMost {
			wait(2*time.Second+time.Duration(i)*time.Millisecond, ReasonSignIn)
		}
		o, err = w.svc.Overview(t.Context())
		if err != nil || len(o.Stalled) != 2*stalledMost+1 || !slices.ContainsFunc(o.Stalled, func(j Job) bool { return j.ID == signIn }) {
			t.Errorf("%d stalled, %v", len(o.Stalled), err)
		}
		// Those that are in Live anyway aren't told twice.
		newest := wait(30*time.Minute, ReasonSignIn)
		o, err = w.svc.Overview(t.Context())
		if err != nil || o.Live[0].Job.ID != newest || slices.ContainsFunc(o.Stalled, func(j Job) bool { return j.ID == newest }) {
			t.Errorf("%v: the newest is %s", err, o.Live[0].Job.ID)
		}
	})
}
