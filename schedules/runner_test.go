package schedules

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/jobstest"
	"offload/jobs"
)

func daily() When { return When{Every: Day, At: "03:00", Zone: "Europe/Berlin"} }

// notNow is daily, half a day from now: by the machine's clock nothing is due in a test but what that says.
func notNow() When {
	return When{Every: Day, At: time.Now().UTC().Add(12 * time.Hour).Format("15:04"), Zone: "UTC"}
}

func TestARunMakesOneJob(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.add(w.schedule("nightly", notNow()))
		r := w.book.NewRunner()
		w.look(r)
		if got := w.made(); len(got) != 0 {
			t.Fatalf("jobs before it was due: %v", got)
		}
		due := w.overdue("nightly", time.Second)
		w.look(r)
		w.look(r)
		runs, made := w.runs("nightly"), w.made()
		if len(runs) != 1 || len(made) != 1 || runs[0].Result != Made || !slices.Equal(runs[0].Jobs, []string{made[0].ID}) ||
			!runs[0].Due.Equal(due) || runs[0].Trigger != ByClock || runs[0].Ended == nil {
			t.Fatalf("runs %+v, jobs %v", runs, made)
		}
		v := w.get("nightly")
		if v.Next == nil || !v.Next.After(time.Now()) || v.Running != nil || v.LastJob != jobs.Queued || made[0].Label != "schedule nightly" {
			t.Errorf("it stands as %+v", v)
		}
		history, err := w.jobs.History(t.Context(), made[0].ID)
		if err != nil || history[0].By != "schedule nightly" {
			t.Errorf("the job's history is %v, %v", history, err)
		}
	})
}

// Over a year with both jumps of the clock and all ends of months each time is run once, at the second that it is due.
func TestAYearWithAMovedClock(t *testing.T) {
	w := moved(t, "2026-03-01T00:00:00Z")
	whens := map[string]When{
		"night":   {Every: Day, At: "02:30", Zone: "Europe/Berlin"},
		"howe":    {Every: Week, On: "sun", At: "02:15", Zone: "Australia/Lord_Howe"},
		"monthly": {Every: Month, On: "31", At: "00:00", Zone: "America/New_York"},
		"cron":    {Cron: "45 1 */10 * *", Zone: "Africa/Cairo"},
	}
	want := map[string][]time.Time{}
	end := w.moment("2027-03-02T00:00:00Z")
	for name, when := range whens {
		w.add(w.schedule(name, when))
		at := w.moment("2026-03-01T00:00:00Z")
		for {
			next, err := when.Next(at, 1)
			if err != nil {
				t.Fatal(err)
			}
			if at = next[0]; at.After(end) {
				break
			}
			want[name] = append(want[name], at.UTC())
		}
	}
	r := w.book.NewRunner()
	got := map[string][]time.Time{}
	for now := w.moment("2026-03-01T00:00:00Z"); !now.After(end); {
		wait, err := r.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.work.Wait()
		s, err := r.see(t.Context())
		if err != nil || wait > lookEvery {
			t.Fatal(wait, err)
		}
		for name := range whens {
			for _, run := range w.runs(name) {
				if run.Result != Made && run.Result != Skipped || run.Trigger != ByClock || !run.Began.Truncate(time.Second).Equal(run.Due) {
					t.Fatalf("%s: %+v", name, run)
				}
				if !slices.ContainsFunc(got[name], run.Due.Equal) {
					got[name] = append(got[name], run.Due)
				}
			}
		}
		if s.next.IsZero() {
			t.Fatal("nothing is due any more")
		}
		now = s.next
		w.clock.SetTime(now)
	}
	for name := range whens {
		got[name] = slices.DeleteFunc(got[name], end.Before)
		slices.SortFunc(got[name], time.Time.Compare)
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s ran %d times, want %d", name, len(got[name]), len(want[name]))
		}
	}
}

func TestCatchUp(t *testing.T) {
	tests := []struct {
		name, back string
		when       When
		want       Run
	}{
		{"a moment late is on time", "2026-06-02T01:00:40Z", daily(), Run{Due: time.Date(2026, 6, 2, 1, 0, 0, 0, time.UTC), Trigger: ByClock, Result: Made}},
		{"hours late", "2026-06-02T12:00:00Z", daily(), Run{Due: time.Date(2026, 6, 2, 1, 0, 0, 0, time.UTC), Trigger: CatchUp, Result: Made}},
		{"days late: the last one, once", "2026-06-09T12:00:00Z", daily(), Run{Due: time.Date(2026, 6, 9, 1, 0, 0, 0, time.UTC), Trigger: CatchUp, Missed: 7, Result: Made}},
		{"a month's, a fortnight late", "2026-07-15T12:00:00Z", When{Every: Month, Zone: "UTC"}, Run{Due: time.Date(2026, 7, 1, 3, 0, 0, 0, time.UTC), Trigger: CatchUp, Result: Made}},
		{"a year's, too late", "2027-05-01T12:00:00Z", When{Cron: "0 3 1 1 *", Zone: "UTC"}, Run{Due: time.Date(2027, 1, 1, 3, 0, 0, 0, time.UTC), Trigger: CatchUp, Result: Missed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := moved(t, "2026-06-01T12:00:00Z")
			w.add(w.schedule("s", tt.when))
			w.at(tt.back)
			r := w.book.NewRunner()
			w.look(r)
			w.look(r)
			runs := w.runs("s")
			if len(runs) != 1 {
				t.Fatalf("runs %+v", runs)
			}
			got := Run{Due: runs[0].Due, Trigger: runs[0].Trigger, Missed: runs[0].Missed, Result: runs[0].Result}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if n := len(w.made()); (n == 1) != (tt.want.Result == Made) {
				t.Errorf("%d jobs", n)
			}
			if v := w.get("s"); !v.Next.After(w.moment(tt.back)) {
				t.Errorf("it is due at %s", v.Next)
			}
		})
	}
}

func TestNeverTwoRunsAtATime(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.add(w.schedule("s", notNow()))
		r := w.book.NewRunner()
		w.overdue("s", 9*time.Second)
		w.look(r)
		w.overdue("s", 6*time.Second)
		w.look(r)
		job := w.made()[0]
		runs := w.runs("s")
		if got := w.results("s"); !slices.Equal(got, []Result{Made, Skipped}) || !strings.Contains(runs[0].Reason, job.ID) || !strings.Contains(runs[0].Reason, "is still queued") {
			t.Fatalf("%v: %s", got, runs[0].Reason)
		}
		if _, err := w.jobs.Pause(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := w.book.RunNow(t.Context(), "", "s", "anna"); err != nil {
			t.Fatal(err)
		}
		if got := w.results("s"); !slices.Equal(got, []Result{Made, Skipped, Skipped}) {
			t.Errorf("a job that is paused doesn't count as running: %v", got)
		}
		w.end()
		w.overdue("s", 3*time.Second)
		w.look(r)
		if got := w.results("s"); !slices.Equal(got, []Result{Made, Skipped, Skipped, Made}) || len(w.made()) != 2 {
			t.Errorf("after its end: %v", got)
		}
	})
}

// A run that one process is still beginning isn't begun again, and what is due meanwhile is noted as skipped.
func TestARunThatIsUnderWay(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.add(w.schedule("s", notNow()))
		if _, err := w.book.Ask(t.Context(), "", "s", "anna"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.book.Ask(t.Context(), "", "s", "anna"); !errors.Is(err, ErrBusy) {
			t.Errorf("asked twice: %v", err)
		}
		if v := w.get("s"); v.Running == nil || v.Running.By != "anna" || v.Running.Trigger != ByHand {
			t.Errorf("it stands as %+v", v.Running)
		}
		stop := w.runner()
		jobstest.Until(t, "the run that was asked for", func() bool { return len(w.runs("s")) == 1 })
		stop()
		if got := w.runs("s")[0]; got.Result != Made || got.Trigger != ByHand || len(w.made()) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// Processes that die at any call to the store leave a run that the next one does, and never a second job.
func TestEveryDeathLeavesOneJob(t *testing.T) {
	for calls := 1; ; calls++ {
		w := newWorldOnEmbedded(t)
		w.add(w.schedule("s", notNow()))
		w.overdue("s", time.Second)
		died := w.dieAfter(calls)
		// The lead and the lease of the one that died end.
		w.client.Del(t.Context(), keyLead)
		if open, err := w.client.ZRange(t.Context(), keyOpen, 0, -1).Result(); err != nil {
			t.Fatal(err)
		} else if len(open) > 0 {
			w.client.ZAdd(t.Context(), keyOpen, zAt(time.Now().Add(-time.Second), open[0]))
		}
		r := w.book.NewRunner()
		w.look(r)
		w.look(r)
		if got := w.results("s"); !slices.Equal(got, []Result{Made}) || len(w.made()) != 1 {
			t.Fatalf("after %d calls: runs %v, %d jobs", calls, got, len(w.made()))
		}
		if !died {
			if calls < 8 {
				t.Fatalf("only %d calls", calls)
			}
			return
		}
	}
}

func TestSomeRunnersShareTheRuns(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		const many = 40
		for i := range many {
			name := fmt.Sprintf("s%02d", i)
			w.add(w.schedule(name, notNow()))
			w.overdue(name, time.Second)
		}
		stops := []func(){w.runner(), w.runner(), w.runner()}
		jobstest.Until(t, "all runs", func() bool {
			due, err := w.client.ZCount(t.Context(), keyDue, "-inf", fmt.Sprint(time.Now().UnixMilli())).Result()
			open, _ := w.client.ZCard(t.Context(), keyOpen).Result()
			return err == nil && due == 0 && open == 0
		})
		for _, stop := range stops {
			stop()
		}
		if n := len(w.made()); n != many {
			t.Errorf("%d jobs of %d", n, many)
		}
		for i := range many {
			if got := w.results(fmt.Sprintf("s%02d", i)); !slices.Equal(got, []Result{Made}) {
				t.Errorf("schedule %d: %v", i, got)
			}
		}
	})
}

func TestTheLeadMovesOn(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.add(w.schedule("s", notNow()))
		first, second := w.book.NewRunner(), w.book.NewRunner()
		w.look(first)
		w.look(second)
		if !first.leads || second.leads {
			t.Fatal("the first one doesn't lead alone")
		}
		w.overdue("s", time.Second)
		w.look(second)
		if got := w.runs("s"); len(got) != 0 {
			t.Fatal("a runner that doesn't lead began a run")
		}
		// A leader that was frozen and has lost the lead begins nothing.
		w.client.Del(t.Context(), keyLead)
		w.look(second)
		if h, err := first.begin(t.Context(), w.get("s"), time.Now().UTC().Add(48*time.Hour)); h != nil || err != nil {
			t.Fatalf("the former leader began %+v, %v", h, err)
		}
		if got := w.results("s"); !slices.Equal(got, []Result{Made}) {
			t.Errorf("runs %v", got)
		}
		second.resign(t.Context())
		w.look(first)
		if !first.leads {
			t.Error("the lead wasn't given up")
		}
	})
}

// A run that is taken from a process that was only frozen isn't settled by it any more.
func TestAFormerHolderSettlesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.add(w.schedule("s", notNow()))
		h, err := w.book.beginByHand(t.Context(), "", "s", "", runLease)
		if err != nil {
			t.Fatal(err)
		}
		w.client.ZAdd(t.Context(), keyOpen, zAt(time.Now().Add(-time.Second), h.v.ID()))
		r := w.book.NewRunner()
		w.look(r)
		w.book.settle(t.Context(), h, Run{Due: h.run.Due, Result: Failed})
		if got := w.results("s"); !slices.Equal(got, []Result{Made}) {
			t.Errorf("runs %v", got)
		}
		if again, err := w.book.take(t.Context(), h.v.ID()); again != nil || err != nil {
			t.Errorf("taken again: %+v, %v", again, err)
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	w := moved(t, "2026-06-01T12:00:00Z")
	w.add(w.schedule("s", daily()))
	r := w.book.NewRunner()
	if v, err := w.book.Pause(t.Context(), "", "s"); err != nil || !v.Paused || v.Next != nil {
		t.Fatalf("%+v, %v", v, err)
	}
	w.at("2026-06-05T12:00:00Z")
	w.look(r)
	v, err := w.book.Resume(t.Context(), "", "s")
	if err != nil || v.Paused || !v.Next.Equal(w.moment("2026-06-06T01:00:00Z")) {
		t.Fatalf("%+v, %v", v, err)
	}
	if again, err := w.book.Resume(t.Context(), "", "s"); err != nil || !again.Next.Equal(*v.Next) {
		t.Errorf("resumed twice: %+v, %v", again, err)
	}
	w.look(r)
	if got := w.results("s"); len(got) != 0 {
		t.Errorf("what it missed while it was paused was made up for: %v", got)
	}
	w.at("2026-06-06T01:00:00Z")
	w.look(r)
	if got := w.results("s"); !slices.Equal(got, []Result{Made}) {
		t.Errorf("runs %v", got)
	}
}

func TestAClockThatIsPutBack(t *testing.T) {
	w := moved(t, "2026-06-01T12:00:00Z")
	w.add(w.schedule("s", daily()))
	r := w.book.NewRunner()
	w.at("2026-06-02T01:00:00Z")
	w.look(r)
	w.end()
	w.at("2026-06-02T00:30:00Z")
	r.mends = time.Time{}
	w.look(r)
	w.at("2026-06-02T01:00:00Z")
	r.mends = time.Time{}
	w.look(r)
	if got := w.results("s"); !slices.Equal(got, []Result{Made}) || len(w.made()) != 1 {
		t.Fatalf("it ran again: %v", got)
	}
	// A clock that was years ahead leaves no schedule that waits for years.
	w.at("2031-01-01T12:00:00Z")
	w.look(r)
	w.end()
	w.at("2026-06-02T02:00:00Z")
	r.mends = time.Time{}
	w.look(r)
	if v := w.get("s"); !v.Next.Equal(w.moment("2026-06-03T01:00:00Z")) {
		t.Errorf("it is due at %s", v.Next)
	}
	w.at("2026-06-03T01:00:00Z")
	w.look(r)
	if got := w.results("s"); !slices.Equal(got, []Result{Made, Made, Made}) {
		t.Errorf("runs %v", got)
	}
}

func TestChangedAndRemovedWhileItRuns(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		s := w.schedule("s", daily())
		w.add(s)
		h, err := w.book.beginByHand(t.Context(), "", "s", "", runLease)
		if err != nil {
			t.Fatal(err)
		}
		s.When = When{Every: Week, Zone: "UTC"}
		if _, err := w.book.Add(t.Context(), s, false); !errors.Is(err, ErrExists) {
			t.Fatalf("replaced without being asked to: %v", err)
		}
		if v, err := w.book.Add(t.Context(), s, true); err != nil || v.Words != "every Monday at 03:00 (UTC)" || v.Running == nil {
			t.Fatalf("%+v, %v", v, err)
		}
		if run := w.book.do(t.Context(), h); run.Result != Made || len(w.runs("s")) != 1 {
			t.Errorf("the run of the former definition: %+v", run)
		}
		w.end()
		if h, err = w.book.beginByHand(t.Context(), "", "s", "", runLease); err != nil {
			t.Fatal(err)
		}
		if err := w.book.Remove(t.Context(), "", "s"); err != nil {
			t.Fatal(err)
		}
		w.book.do(t.Context(), h)
		if keys, err := w.client.Keys(t.Context(), "{offload:schedules}*").Result(); err != nil || len(keys) != 0 {
			t.Errorf("a removed schedule leaves %v, %v", keys, err)
		}
		if err := w.book.Remove(t.Context(), "", "s"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if len(w.made()) != 2 {
			t.Errorf("its jobs are gone: %v", w.made())
		}
	})
}

func TestAFailedRunIsSeenAndTheNextGoesOn(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		s := w.schedule("s", daily())
		s.Order.Account = "anna"
		v, err := w.book.Add(t.Context(), s, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.ledger.Remove(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		run, err := w.book.RunNow(t.Context(), "anna", "s", "")
		if err != nil || run.Result != Failed || !strings.Contains(run.Reason, "anna") || !strings.Contains(run.Reason, "opens it again") {
			t.Fatalf("%+v, %v", run, err)
		}
		v, err = w.book.Get(t.Context(), "anna", "s")
		if err != nil || v.Last == nil || v.Last.Result != Failed || v.Next == nil || v.Running != nil {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// Making room takes long: it doesn't hold up the rest, and it ends with what there was to do.
func TestRoomAndScrubs(t *testing.T) {
	w := newWorldOnEmbedded(t)
	slow, began := make(chan struct{}), make(chan struct{}, 1)
	goal := jobs.Goal{Remote: "icloud:", To: "dropbox:Archive", Free: 20 << 30}
	need := true
	var mu sync.Mutex
	w.book.cfg.Room = func(ctx context.Context, g jobs.Goal, base jobs.Order) (jobs.Order, bool, string, error) {
		began <- struct{}{}
		select {
		case <-slow:
		case <-ctx.Done():
			return jobs.Order{}, false, "", ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		return w.schedule("room", daily()).Order, need, "there is room: 21 GiB are free", nil
	}
	w.book.cfg.Scrubs = func(context.Context, string, bool) ([]jobs.Order, error) {
		return []jobs.Order{w.schedule("a", daily()).Order, w.schedule("b", daily()).Order}, nil
	}
	w.add(Schedule{Name: "room", When: notNow(), Order: jobs.Order{Goal: &goal}})
	w.add(Schedule{Name: "check", When: notNow(), Order: jobs.Order{Kind: jobs.KindScrub}})
	w.overdue("room", 2*time.Second)
	w.overdue("check", time.Second)
	w.runner()
	<-began
	jobstest.Until(t, "the scrubs", func() bool { return len(w.runs("check")) == 1 })
	if run := w.runs("check")[0]; len(run.Jobs) != 2 || run.Jobs[0] == run.Jobs[1] {
		t.Errorf("scrubs %+v", run)
	}
	if v := w.get("room"); v.Running == nil || v.Does != "keeps 20 GiB free in icloud:, offloading to dropbox:Archive" {
		t.Errorf("%+v", v)
	}
	slow <- struct{}{}
	jobstest.Until(t, "room", func() bool { return len(w.runs("room")) == 1 })
	w.end()
	mu.Lock()
	need = false
	mu.Unlock()
	w.overdue("room", time.Second)
	<-began
	slow <- struct{}{}
	jobstest.Until(t, "that there is nothing to do", func() bool { return len(w.runs("room")) == 2 })
	if run := w.runs("room")[0]; run.Result != Nothing || !strings.Contains(run.Reason, "21 GiB") {
		t.Errorf("%+v", run)
	}
}

func TestAThousandAtOneInstant(t *testing.T) {
	w := newWorldOnEmbedded(t)
	const many = 1000
	for i := range many {
		name := fmt.Sprintf("s%04d", i)
		w.add(w.schedule(name, notNow()))
		w.overdue(name, time.Second)
	}
	began := time.Now()
	w.runner()
	jobstest.Until(t, "a thousand runs", func() bool {
		n, err := w.client.ZCount(t.Context(), keyDue, "-inf", fmt.Sprint(time.Now().UnixMilli())).Result()
		open, _ := w.client.ZCard(t.Context(), keyOpen).Result()
		return err == nil && n == 0 && open == 0
	})
	t.Logf("%d runs in %s", many, time.Since(began))
	if n := len(w.made()); n != many {
		t.Errorf("%d jobs", n)
	}
}

// A sudden stop gives a run up, so that the next process needn't wait for its lease.
func TestAStopGivesARunUp(t *testing.T) {
	w := newWorldOnEmbedded(t)
	began := make(chan struct{}, 2)
	w.book.cfg.Room = func(ctx context.Context, _ jobs.Goal, _ jobs.Order) (jobs.Order, bool, string, error) {
		began <- struct{}{}
		<-ctx.Done()
		return jobs.Order{}, false, "", ctx.Err()
	}
	w.add(Schedule{Name: "room", When: notNow(), Order: jobs.Order{Goal: &jobs.Goal{Remote: "a:", To: "b:", Free: 1}}})
	w.overdue("room", time.Second)
	stop := w.runner()
	<-began
	stop()
	w.runner()
	<-began
	if v := w.get("room"); v.Running == nil || len(w.runs("room")) != 0 {
		t.Errorf("%+v", v)
	}
}

func TestBook(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		s := w.schedule("b", daily())
		first := w.add(s)
		if again := w.add(s); !again.Created.Equal(first.Created) || again.rev != first.rev {
			t.Errorf("the same again changed it: %+v", again)
		}
		w.add(w.schedule("a", When{Cron: "0 3 * * 1-5", Zone: "UTC"}))
		other := w.schedule("a", daily())
		other.Order.Account = "anna"
		w.add(other)
		names := func(account string) (all []string) {
			list, err := w.book.List(t.Context(), account)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range list {
				all = append(all, v.ID())
			}
			return all
		}
		if got := names(""); !slices.Equal(got, []string{"anna/a", "default/a", "default/b"}) {
			t.Error(got)
		}
		if got := names("default"); !slices.Equal(got, []string{"default/a", "default/b"}) {
			t.Error(got)
		}
		if got := first.Upcoming(5); len(got) != 5 || got[1].Sub(got[0]) < 23*time.Hour {
			t.Error(got)
		}
		for _, name := range []string{"", "..", "A", "a/b", "ä", strings.Repeat("a", 65), "-a"} {
			var wrong *jobs.OrderError
			bad := w.schedule("x", daily())
			bad.Name = name
			if _, err := w.book.Add(t.Context(), bad, false); !errors.As(err, &wrong) || wrong.Field != "name" {
				t.Errorf("name %q: %v", name, err)
			}
		}
		bad := w.schedule("x", daily())
		bad.Order.Source = "nosuchcloud:"
		var wrong *jobs.OrderError
		if _, err := w.book.Add(t.Context(), bad, false); !errors.As(err, &wrong) || wrong.Field != "source" {
			t.Error(err)
		}
		if _, err := w.book.Get(t.Context(), "", "x"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		for _, err := range []error{second(w.book.Pause(t.Context(), "", "x")), second(w.book.Ask(t.Context(), "", "x", ""))} {
			if !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		}
	})
}

func second(_ View, err error) error { return err }
