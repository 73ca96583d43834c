package icloud

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// fill takes all places of a limiter.
func fill(t *testing.T, l *limiter) []*ticket {
	t.Helper()
	var out []*ticket
	for l.free() > 0 {
		tk, err := l.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tk)
	}
	return out
}

// round makes one round of calls at the full use of the limit, with the same verdict.
func round(t *testing.T, l *limiter, v verdict) {
	t.Helper()
	all := fill(t, l)
	for _, tk := range all {
		tk.note(v)
	}
	for _, tk := range all {
		tk.release()
	}
}

func TestLimiterRisesByHalfUntilRefused(t *testing.T) {
	l := newLimiter(8, 24, newClock().now)
	for _, want := range []int{12, 18, 24, 24} {
		if round(t, l, fine); l.level() != want {
			t.Fatalf("limit is %d after a round, want %d", l.level(), want)
		}
	}
}

func TestLimiterRisesByOneOnceRefused(t *testing.T) {
	l := newLimiter(14, 24, newClock().now)
	l.halved = l.now().Add(-burst) // a refusal a while ago
	l.limit = 8
	for want := 9; want <= 24; want++ {
		if round(t, l, fine); l.level() != want {
			t.Fatalf("limit is %d after a round, want %d", l.level(), want)
		}
	}
	round(t, l, fine)
	if l.level() != 24 {
		t.Errorf("limit rose to %d, above its bound", l.level())
	}
}

// Calls that began after the limit was halved and are refused all the same count, in the same burst too: without that a
// queue runs against the service at the speed of its refusals.
func TestLimiterGoesOnFallingInABurst(t *testing.T) {
	l := newLimiter(16, 24, newClock().now)
	for want, n := range []int{8, 7, 6} {
		if round(t, l, refused); l.level() != n {
			t.Fatalf("limit is %d after %d rounds of refusals, want %d", l.level(), want+1, n)
		}
	}
	if round(t, l, fine); l.level() != 6 {
		t.Errorf("limit rose to %d in the burst", l.level())
	}
}

func TestLimiterGuessesBetweenGoodAndRefused(t *testing.T) {
	c := newClock()
	l := newLimiter(8, 48, c.now)
	for range 3 { // 12, 18, 27
		round(t, l, fine)
	}
	round(t, l, refused)
	if l.ceiling != 21 { // between 18 and 27, and one less
		t.Errorf("ceiling %d", l.ceiling)
	}
}

// Downloads leave room to the other calls, and take part in the same limit.
func TestDownloadsShareTheLimit(t *testing.T) {
	l := newLimiter(8, 24, newClock().now)
	d := newShare(l)
	var all []*ticket
	for range 6 {
		tk, err := d.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tk)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := d.acquire(ctx); err == nil {
		t.Error("a seventh download of eight places")
	}
	place, err := l.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	place.share = all[0]
	place.release()
	if d.inUse != 5 || l.inUse != 0 {
		t.Errorf("%d downloads and %d calls after the end of one", d.inUse, l.inUse)
	}
}

func TestLimiterDoesNotRiseUnused(t *testing.T) {
	l := newLimiter(8, 24, newClock().now)
	for range 100 {
		tk, err := l.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tk.note(fine)
		tk.release()
	}
	if l.level() != 8 {
		t.Errorf("limit is %d, though one place was used", l.level())
	}
}

func TestLimiterHalvesOnceForABurst(t *testing.T) {
	c := newClock()
	l := newLimiter(16, 24, c.now)
	round(t, l, refused)
	if l.level() != 8 {
		t.Fatalf("limit is %d after one burst at 16", l.level())
	}
	c.add(2 * time.Second)
	round(t, l, refused)
	if l.level() != 4 {
		t.Errorf("limit is %d after another burst", l.level())
	}
}

func TestLimiterRemembersTheRefusedLevel(t *testing.T) {
	c := newClock()
	l := newLimiter(11, 24, c.now)
	round(t, l, refused)
	for range 50 {
		c.add(time.Second)
		round(t, l, fine)
	}
	if l.level() != 10 {
		t.Fatalf("limit is %d, want one below the refused 11", l.level())
	}
	c.add(remember)
	round(t, l, fine)
	if l.level() != 11 {
		t.Errorf("limit is %d, want 11 tried again after %v", l.level(), remember)
	}
}

func TestLimiterNeverStops(t *testing.T) {
	c := newClock()
	l := newLimiter(8, 24, c.now)
	for range 20 {
		round(t, l, refused)
		c.add(2 * time.Second)
	}
	if l.level() != leastLimit {
		t.Fatalf("limit is %d", l.level())
	}
	for range 20 {
		round(t, l, fine)
		c.add(time.Second)
	}
	if l.level() <= lowLevel {
		t.Errorf("limit is %d: refusals by chance pinned it", l.level())
	}
}

func TestLimiterLearnsALimitBelowItsStart(t *testing.T) {
	c := newClock()
	l := newLimiter(8, 24, c.now)
	refusals := 0
	for range 200 { // the service takes 5
		all := fill(t, l)
		for i, tk := range all {
			if i >= 5 {
				refusals++
				tk.note(refused)
			} else {
				tk.note(fine)
			}
		}
		for _, tk := range all {
			tk.release()
		}
		c.add(2 * time.Second)
	}
	if l.level() != 5 || refusals > 10 {
		t.Errorf("settled at %d after %d refusals, want 5", l.level(), refusals)
	}
}

func TestLimiterGivesUpOnContext(t *testing.T) {
	l := newLimiter(2, 4, newClock().now)
	all := fill(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := l.acquire(ctx); done <- err }()
	cancel()
	if err := <-done; err == nil {
		t.Fatal("a place was given after the end")
	}
	all[0].release()
	all[0].release() // once is once
	if l.free() != 1 {
		t.Errorf("%d places free, want 1", l.free())
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		in   string
		want time.Duration
	}{{"", 0}, {"7", 7 * time.Second}, {"0.5", time.Second / 2}, {"-3", 0}, {"soon", 0}, {now.Add(time.Minute).Format(http.TimeFormat), time.Minute}} {
		got := retryAt(http.Header{"Retry-After": {tt.in}}, now)
		if got.IsZero() != (tt.want == 0) || !got.IsZero() && got.Sub(now) != tt.want {
			t.Errorf("%q: %v", tt.in, got)
		}
	}
}
