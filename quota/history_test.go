package quota

import (
	"slices"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	onBoth(t, limited(10_000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		read := func(n int64, wasted int64, pause time.Duration) {
			t.Helper()
			p := r.Pool("anna", "1")
			g, err := p.Reserve(ctx, n)
			must(t, err)
			must(t, g.Charge(ctx, n/2))
			r.advance(pause)
			must(t, p.Renew(ctx))
			must(t, g.Charge(ctx, n-n/2))
			must(t, g.Settle(ctx, n, wasted))
			must(t, p.Close(ctx))
		}
		if days, err := r.History(ctx, "anna"); err != nil || days == nil || len(days) != 0 {
			t.Errorf("got %v, %v; want none", days, err)
		}
		read(1000, 30, 20*time.Second)
		read(500, 0, 40*time.Second) // not busy
		r.advance(3 * time.Hour)
		read(300, 0, 1500*time.Millisecond)
		r.advance(48 * time.Hour)
		read(7, 7, 0)
		want := []Day{{"2026-11-22", 1800, 30, 21500 * time.Millisecond}, {"2026-11-24", 7, 7, 0}}
		days, err := r.History(ctx, "anna")
		if err != nil || !slices.Equal(days, want) {
			t.Errorf("got %v, %v; want %v", days, err, want)
		}
		if _, err := r.History(ctx, "{"); err == nil {
			t.Error("a bad name was taken")
		}
	})
}

// Two workers at once are busy once.
func TestBusyTimeOfTwoWorkers(t *testing.T) {
	r := newMini(t, limited(100_000, 1))
	ctx := t.Context()
	a, err := r.Pool("anna", "1").Reserve(ctx, 1000)
	must(t, err)
	b, err := r.Pool("anna", "2").Reserve(ctx, 1000)
	must(t, err)
	for range 10 {
		must(t, a.Charge(ctx, 10))
		must(t, b.Charge(ctx, 10))
		r.advance(time.Second)
	}
	days, err := r.History(ctx, "anna")
	if err != nil || len(days) != 1 || days[0].Busy != 9*time.Second {
		t.Errorf("got %v, %v; want 9 s", days, err)
	}
}

// On a slow line a quantum lasts for minutes: renewals tell that bytes are read all along.
func TestBusyTimeOfASlowLine(t *testing.T) {
	onBoth(t, limited(100_000, 1000), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 5000)
		must(t, err)
		for range 30 {
			must(t, g.Charge(ctx, 10))
			r.advance(10 * time.Second)
			must(t, p.Renew(ctx))
		}
		for range 30 { // nothing comes any more
			r.advance(10 * time.Second)
			must(t, p.Renew(ctx))
		}
		days, err := r.History(ctx, "anna")
		if err != nil || len(days) != 1 || days[0].Busy != 300*time.Second {
			t.Errorf("got %v, %v; want 300 s", days, err)
		}
	})
}

// A file that was read for three days and of which most is given back: the days still add up to what is used.
func TestDaysAddUpAfterALargeGiveBack(t *testing.T) {
	onBoth(t, limited(10_000, 10), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 1000)
		must(t, err)
		must(t, g.Charge(ctx, 500))
		for range 2 {
			r.advance(20 * time.Hour)
			must(t, g.Charge(ctx, 10))
		}
		must(t, g.Settle(ctx, 5, 0))
		must(t, p.Close(ctx))
		days, err := r.History(ctx, "anna")
		must(t, err)
		var sum int64
		for _, d := range days {
			sum += d.Used
		}
		if st := r.status("anna"); sum != st.Used || sum < 5 {
			t.Errorf("days %v, used %d", days, st.Used)
		}
	})
}
