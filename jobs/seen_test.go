package jobs

import (
	"errors"
	"testing"
	"time"

	"offload/transfer"
)

// An end that was seen is seen for all, until the job is retried and ends badly again.
func TestSeen(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(1, 10)
		id := w.enqueue(w.order(transfer.DeleteNever)).ID
		if _, _, err := w.svc.Seen(t.Context(), id, time.Time{}); !errors.Is(err, ErrState) {
			t.Errorf("of a job that runs: %v", err)
		}
		fail := func() Job {
			t.Helper()
			if _, err := w.svc.scripts.transition(t.Context(), id, "|transferring|scanning|queued|", string(FailedState), "test", "no", hold{}); err != nil {
				t.Fatal(err)
			}
			j, err := w.svc.Get(t.Context(), id)
			if err != nil || j.Finished == nil || j.Seen {
				t.Fatalf("%+v, %v", j, err)
			}
			return j
		}
		first := fail()
		if j, news, err := w.svc.Seen(t.Context(), id[:25], *first.Finished); err != nil || !news || !j.Seen || j.State != FailedState {
			t.Errorf("%+v, %v, %v", j, news, err)
		}
		if j, news, err := w.svc.Seen(t.Context(), id, time.Time{}); err != nil || news || !j.Seen {
			t.Errorf("once more: %+v, %v, %v", j, news, err)
		}
		other := w.service(nil)
		if j, err := other.Get(t.Context(), id); err != nil || !j.Seen {
			t.Errorf("for others: %+v, %v", j, err)
		}
		if j, err := w.svc.Retry(t.Context(), id); err != nil || j.Seen {
			t.Errorf("retried: %+v, %v", j, err)
		}
		until(t, "another millisecond", func() bool { return time.Now().After(first.Finished.Add(time.Millisecond)) })
		fail()
		if _, _, err := w.svc.Seen(t.Context(), id, *first.Finished); !errors.Is(err, ErrState) {
			t.Errorf("the end before is called seen: %v", err)
		}
		if err := w.svc.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.svc.Seen(t.Context(), id, time.Time{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("of a removed job: %v", err)
		}
		// It was resolved just before it was removed: no half of a job may come back.
		if n, state, err := w.svc.scripts.verdict(t.Context(), "seen", id, nil, ""); n != 0 || state != "" || err != nil {
			t.Errorf("%d %s %v", n, state, err)
		}
		if n := w.store.Client().Exists(t.Context(), keysOf(id).job()).Val(); n != 0 {
			t.Error("something of the removed job is in the store")
		}
	})
}

// Only a job that did the very same, later and whole, makes up for one that failed.
func TestRedid(t *testing.T) {
	at := func(s int64) *time.Time { t := time.Unix(s, 0); return &t }
	order := Order{Source: "icloud:Documents", Dest: "dropbox:Backup", Account: "anna", MaxDelete: -1, Options: transfer.Options{DeleteSource: transfer.DeleteVerified}}
	for name, c := range map[string]struct {
		change func(old, later *Job)
		want   bool
	}{
		"the same": {func(_, _ *Job) {}, true},
		"another label and pace": {func(_, l *Job) {
			l.Order.Label, l.Order.BwLimit, l.Order.Priority, l.Order.Transfers = "x", "1M", High, 4
		}, true},
		"without a bound": {func(o, _ *Job) { o.Order.MaxDelete, o.Order.MaxTransfer = 5, 100 }, true},
		"the same goal": {func(o, l *Job) {
			g := Goal{Free: 5}
			o.Order.Goal, l.Order.Goal, o.Order.Plan, l.Order.Plan = &g, &g, "a", "b"
		}, true},
		"another goal":             {func(o, l *Job) { o.Order.Goal, l.Order.Goal = &Goal{Free: 5}, &Goal{Free: 6} }, false},
		"another plan":             {func(o, l *Job) { o.Order.Plan, l.Order.Plan = "a", "b" }, false},
		"with warnings":            {func(_, l *Job) { l.State = CompletedW }, false},
		"called off":               {func(_, l *Job) { l.HoldCalledOff = true }, false},
		"begun before":             {func(_, l *Job) { l.Started = at(19) }, false},
		"another account":          {func(_, l *Job) { l.Order.Account = "ben" }, false},
		"another destination":      {func(_, l *Job) { l.Order.Dest = "dropbox:" }, false},
		"it deleted nothing":       {func(_, l *Job) { l.Order.DeleteSource = transfer.DeleteNever }, false},
		"it chose fewer files":     {func(_, l *Job) { l.Order.Exclude = []string{"*.mov"} }, false},
		"files grow too old":       {func(o, l *Job) { o.Order.MaxAge, l.Order.MaxAge = time.Hour, time.Hour }, false},
		"a scrub of another job":   {func(o, l *Job) { o.Order.Of, l.Order.Of = "a", "b" }, false},
		"the old one hasn't ended": {func(o, _ *Job) { o.Finished = nil }, false},
	} {
		old, later := Job{State: CompletedW, Order: order, Finished: at(20)}, Job{State: Completed, Order: order, Started: at(21), Finished: at(30)}
		c.change(&old, &later)
		if later.Redid(old) != c.want {
			t.Errorf("%s: %v, want %v", name, !c.want, c.want)
		}
	}
}
