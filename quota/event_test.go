package quota

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// percents returns the thresholds of an account's events.
func (r *rig) percents(account string) []int {
	r.t.Helper()
	events, err := r.Events(r.t.Context(), account)
	must(r.t, err)
	var list []int
	for _, e := range events {
		list = append(list, e.Percent)
	}
	return list
}

func TestThresholds(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		var log bytes.Buffer
		r.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		check := func(want ...int) {
			t.Helper()
			if got := r.percents("anna"); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != len(want) {
				t.Errorf("%d were logged, want %d:\n%s", n, len(want), log.String())
			}
		}
		must(t, r.use("anna", 799))
		check()
		must(t, r.use("anna", 1))
		check(80)
		must(t, r.use("anna", 199))
		check(80)
		must(t, r.use("anna", 1))
		check(80, 100)
		must(t, r.Exhausted(ctx, "anna"))
		check(80, 100)
		events, err := r.Events(ctx, "anna")
		must(t, err)
		if want := (Event{"anna", 100, start, "2026-11-01", 1000, 1000}); events[1] != want {
			t.Errorf("got %+v, want %+v", events[1], want)
		}
		if got := r.status("anna").Events; !slices.Equal(got, events) {
			t.Errorf("status tells %+v", got)
		}
		// A limit that was raised is told anew.
		_, err = r.Set(ctx, "anna", Change{Limit: ptr[int64](2000)})
		must(t, err)
		must(t, r.use("anna", 500))
		check(80, 100)
		must(t, r.use("anna", 100))
		check(80, 100, 80)
		must(t, r.Exhausted(ctx, "anna")) // 400 are left, and no file fits them
		must(t, r.Exhausted(ctx, "anna"))
		check(80, 100, 80, 100)
		must(t, r.use("anna", 400))
		check(80, 100, 80, 100)
		// So is the next period.
		r.setClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		if got := r.status("anna").Events; len(got) != 0 {
			t.Errorf("status tells events of the last period: %+v", got)
		}
		must(t, r.Exhausted(ctx, "anna"))
		check(80, 100, 80, 100, 100)
		must(t, r.use("anna", 2000))
		check(80, 100, 80, 100, 100)
		if e := r.status("anna").Events; len(e) != 1 || e[0].Used != 0 || e[0].Period != "2026-12-01" {
			t.Errorf("status tells %+v", e)
		}
	})
}

// Where bytes come back and are used again, nothing is told twice; and a crossing of both thresholds tells the higher.
func TestThresholdsOncePerPeriod(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	ctx := t.Context()
	for range 3 {
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 1000)
		must(t, err)
		must(t, g.Charge(ctx, 1000))
		must(t, g.Settle(ctx, 0, 0))
		must(t, p.Close(ctx))
	}
	must(t, r.use("anna", 800)) // 80 % now, after 100 % were told
	if got := r.percents("anna"); !slices.Equal(got, []int{100}) {
		t.Errorf("events %v, want [100]", got)
	}
}

func TestNoEventsWithoutALimit(t *testing.T) {
	r := newMini(t, Config{DefaultTier: "unlimited"})
	must(t, r.use("anna", 1<<40))
	must(t, r.Exhausted(t.Context(), "anna"))
	_, err := r.Set(t.Context(), "anna", Change{Limit: ptr[int64](0)})
	must(t, err)
	must(t, r.Exhausted(t.Context(), "anna"))
	if got := r.percents("anna"); len(got) != 0 {
		t.Errorf("events %v, want none", got)
	}
	for _, err := range []error{r.Exhausted(t.Context(), "{"), errOf(r.Events(t.Context(), "{"))} {
		if err == nil {
			t.Error("a bad name was taken")
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestEventsAreKept100(t *testing.T) {
	r := newReal(t, limited(10, 1))
	for range 101 {
		must(t, r.use("anna", 8))
		must(t, r.use("anna", 2))
		r.setClock(r.status("anna").Period.End)
	}
	if got := r.percents("anna"); len(got) != 100 || got[0] != 80 || got[99] != 100 {
		t.Errorf("%d events", len(got))
	}
}

// Nothing is told twice where a limit is set back to what it was, or where processes of different settings take turns.
func TestThresholdsOfLimitsThatTakeTurns(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		must(t, r.use("anna", 850))
		for range 3 {
			for _, limit := range []int64{1010, 1020, 1000} {
				_, err := r.Set(t.Context(), "anna", Change{Limit: ptr(limit)})
				must(t, err)
				must(t, r.use("anna", 5))
			}
		}
		if got := r.percents("anna"); !slices.Equal(got, []int{80, 80, 80}) {
			t.Errorf("events %v, want one for each limit", got)
		}
	})
}
