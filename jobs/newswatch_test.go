package jobs

import (
	"strings"
	"testing"
	"time"

	"offload/quota"
	"offload/transfer"
)

func (w *world) news() []News {
	w.t.Helper()
	a := take("a", "me")
	c := w.claim(a)
	if len(c.News) > 0 {
		w.settle(a, NewsPassed, c.Last)
	}
	return c.News
}

// TestLostWritesAreNews: a store that comes back older than it was is told of, once.
func TestLostWritesAreNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		look := func() {
			t.Helper()
			if err := w.svc.WatchStore(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		look()
		look()
		if n := w.news(); len(n) > 0 {
			t.Fatalf("a whole store is news: %+v", n)
		}
		if err := w.svc.client.HSet(t.Context(), keyNewsMeta, "beats", 0).Err(); err != nil { // as an older file has it
			t.Fatal(err)
		}
		look()
		if n := w.news(); len(n) != 1 || n[0].Kind != NewsStore || n[0].Span <= 0 {
			t.Errorf("a store that was put back: %+v", n)
		}
		look()
		if n := w.news(); len(n) > 0 {
			t.Errorf("told again: %+v", n)
		}
	})
}

// TestALostStoreIsNews: a store that lost everything is told of as soon as it knows who listens.
func TestALostStoreIsNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		for range 2 {
			if err := w.svc.WatchStore(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.svc.client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		w.listen("a")
		if err := w.svc.WatchStore(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.news(); len(n) != 1 || n[0].Kind != NewsStore {
			t.Errorf("a store that lost everything: %+v", n)
		}
	})
}

// TestQuotaThresholdsAreNews: 80 and 100 % are told once, to the account that they concern.
func TestQuotaThresholdsAreNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		plan := "free"
		if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Plan: &plan}); err != nil {
			t.Fatal(err)
		}
		look := func() []News {
			t.Helper()
			if err := w.svc.WatchQuota(t.Context()); err != nil {
				t.Fatal(err)
			}
			return w.news()
		}
		use := func(bytes int64) {
			t.Helper()
			p := w.ledger.Pool("anna", "test")
			defer p.Close(t.Context())
			g, err := p.Reserve(t.Context(), bytes)
			if err == nil {
				err = g.Charge(t.Context(), bytes)
			}
			if err == nil {
				err = g.Settle(t.Context(), bytes, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		use(4 << 30) // before anybody listens
		w.listen("a")
		if n := look(); len(n) > 0 {
			t.Errorf("told of before: %+v", n)
		}
		use(1 << 30)
		n := look()
		if len(n) != 1 || n[0].Kind != NewsQuota || n[0].Account != "anna" || n[0].Quota.Percent != 100 || n[0].Until == nil {
			t.Errorf("at 100 %%: %+v", n)
		}
		if n := look(); len(n) > 0 {
			t.Errorf("told again: %+v", n)
		}
	})
}

// TestWorkersThatVanishAreNews: a worker that was killed is told of once; one that ended properly, or that lives, isn't.
func TestWorkersThatVanishAreNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		now, err := w.svc.now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		beat := func(id string, until time.Time) {
			t.Helper()
			p := w.svc.client.Pipeline()
			p.Do(t.Context(), "ZADD", keyWorkers, until.UnixMilli(), id)
			p.HSet(t.Context(), keyWorkerInfo, id, `{"version":"1","jobs":{"J":2}}`)
			if _, err := p.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		look := func() []News {
			t.Helper()
			if err := w.svc.WatchWorkers(t.Context()); err != nil {
				t.Fatal(err)
			}
			return w.news()
		}
		beat("living:x:1:a", now.Add(leaseTime))
		beat("restless:x:2:b", now.Add(-time.Minute))
		if n := look(); len(n) > 0 {
			t.Errorf("told too soon: %+v", n)
		}
		beat("gone:x:3:c", now.Add(-3*time.Minute))
		w.svc.news.asked = time.Time{}
		if n := look(); len(n) > 0 {
			t.Errorf("told of one that was silent before anybody listened: %+v", n)
		}
		if err := w.svc.client.HSet(t.Context(), keyNewsMeta, "since", now.Add(-time.Hour).UnixMilli()).Err(); err != nil {
			t.Fatal(err)
		}
		n := look()
		if len(n) != 1 || n[0].Kind != NewsWorker || !strings.HasPrefix(n[0].Worker, "gone/") || n[0].Workers != 2 && n[0].Workers != 1 || n[0].Busy != 2 {
			t.Errorf("a worker that vanished: %+v", n)
		}
		if n := look(); len(n) > 0 {
			t.Errorf("told again: %+v", n)
		}
	})
}

// TestIdleIsNews: what stands still for too long is told of, again after as long; what waits for a date isn't.
func TestIdleIsNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		w.svc.news.began = time.Now().Add(-time.Hour)
		look := func(after time.Duration) []News {
			t.Helper()
			if err := w.svc.WatchIdle(t.Context(), after); err != nil {
				t.Fatal(err)
			}
			return w.news()
		}
		since := func(ago time.Duration) {
			t.Helper()
			now, err := w.svc.now(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.svc.client.HSet(t.Context(), keyNewsMeta, "idle_since", now.Add(-ago).UnixMilli()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		const day = 24 * time.Hour
		look(3 * day)
		since(10 * day)
		if n := look(3 * day); len(n) > 0 {
			t.Errorf("told though there is nothing to do: %+v", n)
		}
		w.enqueue(w.order(transfer.DeleteNever))
		look(3 * day)
		if n := look(3 * day); len(n) > 0 {
			t.Errorf("told too soon: %+v", n)
		}
		since(4 * day)
		n := look(3 * day)
		if len(n) != 1 || n[0].Kind != NewsIdle || n[0].Jobs != 1 || n[0].Days != 4 {
			t.Fatalf("after four days: %+v", n)
		}
		if n := look(3 * day); len(n) > 0 {
			t.Errorf("told again: %+v", n)
		}
		// A machine that was off has half an hour to go on.
		since(9 * day)
		w.svc.news.began = time.Now()
		if n := look(3 * day); len(n) > 0 {
			t.Errorf("told right after the start: %+v", n)
		}
	})
}

// TestStuckJobs: jobs that wait for a date, and those that a person has paused, don't stand still.
func TestStuckJobs(t *testing.T) {
	o := Overview{Counts: map[State]int64{Queued: 1, Transferring: 2, Paused: 4, Waiting: 24, Completed: 32},
		Waiting: map[Reason]int64{ReasonQuota: 1, ReasonWindow: 2, ReasonHold: 5, ReasonSignIn: 8, ReasonSpace: 8}}
	if n := stuckJobs(o); n != 19 {
		t.Errorf("%d jobs should move; want 19", n)
	}
}

// TestSignInsThatEndAreNews: a week before and a day before.
func TestSignInsThatEndAreNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		for _, step := range []struct {
			days, want int
		}{{30, 0}, {8, 0}, {7, 1}, {7, 0}, {6, 0}, {2, 0}, {1, 1}, {1, 0}, {0, 0}} {
			if err := w.svc.SignInEnds(t.Context(), "icloud", step.days); err != nil {
				t.Fatal(err)
			}
			n := w.news()
			if len(n) != step.want {
				t.Errorf("%d days left: %+v; want %d", step.days, n, step.want)
			}
			if len(n) == 1 && (n[0].Kind != NewsSignIn || n[0].Remote != "icloud" || n[0].Days != step.days) {
				t.Errorf("%d days left: %+v", step.days, n[0])
			}
		}
	})
}
