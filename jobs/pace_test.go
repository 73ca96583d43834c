package jobs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// rates is a store for lines in a test: one bucket and one limit that all share, on the test's clock.
type rates struct {
	mu    sync.Mutex
	text  string
	away  error
	all   gcra
	calls int
}

func (r *rates) set(text string, away error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text, r.away = text, away
}

// line is what one process has.
func (r *rates) line(t *testing.T, log *slog.Logger) *line {
	t.Helper()
	band, err := transfer.ParseBandwidth(r.text)
	if err != nil {
		t.Fatal(err)
	}
	return &line{name: "the test's bandwidth", log: log, text: r.text, band: band, sleep: transfer.Sleep, turn: make(chan struct{}, 1),
		now: func() time.Time { return time.Now().UTC() },
		read: func(context.Context) (string, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.text, r.away
		},
		take: func(_ context.Context, cost time.Duration) (bool, time.Duration, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.calls++
			if r.away != nil {
				return false, 0, r.away
			}
			got, wait := r.all.take(time.Now(), cost)
			return got, wait, nil
		}}
}

// readers reads in steps through each line, by several files at once, until stop is called; it returns how much was read
// so far.
func readers(t *testing.T, step int64, lines ...*line) (read func() int64, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	var all sync.WaitGroup
	for _, l := range lines {
		for range 4 {
			all.Go(func() {
				for l.wait(ctx, step) == nil {
					n.Add(step)
				}
			})
		}
	}
	return n.Load, func() { cancel(); all.Wait() }
}

// pass lets time go by; within synctest that is the test's own and costs none.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	if err := transfer.Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// between checks how many bytes were read over a time at a rate.
func between(t *testing.T, what string, got, rate int64, took time.Duration) {
	t.Helper()
	want := float64(rate) * took.Seconds()
	if float64(got) < 0.8*want || float64(got) > 1.1*want+float64(rate)*paceBurst.Seconds() {
		t.Errorf("%s: %d bytes in %v, want about %.0f", what, got, took, want)
	}
}

func TestProcessesShareOneBandwidth(t *testing.T) {
	for name, c := range map[string]struct {
		limit string
		rate  int64
		step  int64
		lines int
	}{
		"one process":            {"1M", 1 << 20, 64 << 10, 1},
		"three processes":        {"1M", 1 << 20, 64 << 10, 3},
		"thirty processes":       {"1M", 1 << 20, 8 << 10, 30},
		"large reads":            {"1M", 1 << 20, 1 << 20, 3},
		"fast":                   {"2G", 2 << 30, 4 << 20, 3},
		"slow, with small reads": {"1k", 1 << 10, 16, 3},
		"slower than a slice":    {"5B", 5, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &rates{text: c.limit}
				var lines []*line
				for range c.lines {
					lines = append(lines, store.line(t, quiet()))
				}
				read, stop := readers(t, c.step, lines...)
				const took = 200 * time.Second
				pass(t, took)
				synctest.Wait()
				between(t, "read", read(), c.rate, took)
				// Ten slices a second, however many processes; those that must wait long ask about twice a second.
				most := int(took/paceSlice) + 2*c.lines*int(took/time.Second)
				if c.rate > 100<<20 {
					most = int(c.rate*int64(took/time.Second)/paceMost) + 100
				}
				if store.calls > most+10 {
					t.Errorf("%d calls in %v, want at most %d", store.calls, took, most)
				}
				stop()
			})
		})
	}
}

func TestBandwidthChangesInTheMiddleOfAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rates{text: "100k"}
		read, stop := readers(t, 64<<10, store.line(t, quiet()), store.line(t, quiet()))
		defer stop()
		for _, c := range []struct {
			limit string
			rate  int64
		}{{"100k", 100 << 10}, {"10M", 10 << 20}, {"20k", 20 << 10}, {"1G", 1 << 30}, {"10k", 10 << 10}, {"500k", 500 << 10}} {
			store.set(c.limit, nil)
			pass(t, 2*time.Second+100*time.Millisecond)
			before := read()
			pass(t, 60*time.Second)
			between(t, "at "+c.limit, read()-before, c.rate, 60*time.Second)
		}
		// What was taken at a high rate isn't used up at a low one.
		high := &rates{text: "1G"}
		l := high.line(t, quiet())
		if err := l.wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		high.set("1k", nil)
		pass(t, paceKnown)
		since := time.Now()
		if err := l.wait(t.Context(), 10<<10); err != nil || time.Since(since) < 9*time.Second {
			t.Errorf("10 KiB at 1 KiB a second took %v, %v", time.Since(since), err)
		}
		// One read that is larger than all that the old limit would let through for hours.
		one := &rates{text: "1k"}
		done := make(chan time.Time, 1)
		go func() {
			if err := one.line(t, quiet()).wait(t.Context(), 100<<20); err != nil {
				t.Error(err)
			}
			done <- time.Now()
		}()
		pass(t, 10*time.Second)
		start := time.Now()
		one.set("", nil)
		if took := (<-done).Sub(start); took > 2*time.Second {
			t.Errorf("a limit that was taken away held for %v more", took)
		}
	})
}

// The zone of the timetable is the clock's; in synctest it is 2000-01-01 00:00 UTC.
func TestBandwidthFollowsItsTimetable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rates{text: "00:00,1M 00:10,100k 00:20,off"}
		l := store.line(t, quiet())
		read, stop := readers(t, 32<<10, l)
		pass(t, 10*time.Minute)
		between(t, "first", read(), 1<<20, 10*time.Minute)
		before := read()
		pass(t, 10*time.Minute)
		between(t, "second", read()-before, 100<<10, 10*time.Minute)
		stop()
		pass(t, time.Minute)
		start := time.Now()
		if err := l.wait(t.Context(), 1<<40); err != nil || time.Since(start) != 0 {
			t.Errorf("without a limit a read waited %v, %v", time.Since(start), err)
		}
	})
}

func TestBandwidthWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		store := &rates{text: "1M", away: errors.New("store is away")}
		l := store.line(t, slog.New(slog.NewTextHandler(&out, nil)))
		read, stop := readers(t, 64<<10, l)
		pass(t, time.Minute)
		synctest.Wait()
		between(t, "alone", read(), 1<<20, time.Minute)
		if n := strings.Count(out.String(), "store is away"); n != 1 {
			t.Errorf("said %d times that the store doesn't answer:\n%s", n, out.String())
		}
		if store.calls > 20 {
			t.Errorf("asked %d times for it", store.calls)
		}
		store.set("2M", nil)
		pass(t, paceAlone+paceKnown)
		before := read()
		pass(t, time.Minute)
		synctest.Wait()
		between(t, "again", read()-before, 2<<20, time.Minute)
		stop()
	})
}

// A limit that this version can't read doesn't take the limit away.
func TestStrangeBandwidthKeepsTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rates{text: "1M"}
		read, stop := readers(t, 64<<10, store.line(t, quiet()))
		pass(t, time.Second)
		store.set("warp 9", nil)
		pass(t, 9*time.Second)
		synctest.Wait()
		between(t, "read", read(), 1<<20, 10*time.Second)
		stop()
	})
}

func TestWaitForBandwidthEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rates{text: "1k"}
		l := store.line(t, quiet())
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := l.wait(ctx, 1<<30); !errors.Is(err, stop) {
					t.Errorf("%v, want the cause of the context", err)
				}
			})
		}
		pass(t, 5*time.Second)
		cancel(stop)
		all.Wait()
	})
}

// paceOn returns the script with Redis' clock replaced by a key.
func paceOn(t *testing.T) *redis.Script {
	t.Helper()
	body, err := luaFiles.ReadFile("lua/fleet/pace.lua")
	if err != nil {
		t.Fatal(err)
	}
	const clock = "redis.call('TIME')"
	if strings.Count(string(body), clock) != 1 {
		t.Fatal("pace.lua no longer reads the clock in one place")
	}
	return redis.NewScript(strings.Replace(string(body), clock, "redis.call('HMGET', 'clock', 's', 'us')", 1))
}

// The store's bucket and that of a process alone count alike; a store whose clock is put back doesn't stop everybody.
func TestBucketInTheStore(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		script, c, ctx := paceOn(t), w.store.Client(), t.Context()
		now := time.Unix(1_800_000_000, 0)
		ask := func(cost time.Duration) (bool, time.Duration) {
			t.Helper()
			if err := c.HSet(ctx, "clock", "s", now.Unix(), "us", now.Nanosecond()/1000).Err(); err != nil {
				t.Fatal(err)
			}
			res, err := script.Run(ctx, c, []string{keyBandwidth}, cost.Microseconds(), paceBurst.Microseconds(), paceAhead.Microseconds()).Int64Slice()
			if err != nil || len(res) != 2 {
				t.Fatal(res, err)
			}
			return res[0] == 1, time.Duration(res[1]) * time.Microsecond
		}
		var alone gcra
		dice := rand.New(rand.NewPCG(1, 2))
		refused := 0
		for range 500 {
			now = now.Add(time.Duration(dice.IntN(150_000)) * time.Microsecond)
			cost := time.Duration(dice.IntN(200_000)) * time.Microsecond
			got, wait := ask(cost)
			if g, d := alone.take(now, cost); g != got || d != wait {
				t.Fatalf("the store says %v, %v; a process alone %v, %v", got, wait, g, d)
			}
			if !got {
				refused++
			}
		}
		if refused < 10 {
			t.Errorf("the bucket was full %d times only", refused)
		}
		if left := c.PTTL(ctx, keyBandwidth).Val(); left <= 0 || left > 5*time.Second {
			t.Errorf("the bucket is kept for %v", left)
		}
		now = now.Add(-time.Hour)
		if got, wait := ask(paceSlice); !got || wait > paceSlice {
			t.Errorf("after the clock was put back: %v, %v", got, wait)
		}
	})
}

// Three processes on one store: an upper bound in real time, so that a slow machine can't fail it.
func TestServicesShareTheFleetsBandwidth(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		if err := w.svc.SetBandwidth(t.Context(), "1M"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var lines []*line
		for range 3 {
			lines = append(lines, w.service(nil).bands.fleet)
		}
		read, stop := readers(t, 16<<10, lines...)
		until(t, "2 MiB are read", func() bool { return read() > 2<<20 })
		stop()
		took := time.Since(start)
		if most := (1.1*took.Seconds() + paceBurst.Seconds()) * (1 << 20); float64(read()) > most {
			t.Errorf("%d bytes in %v, want at most %.0f", read(), took, most)
		}
	})
}

func TestSetBandwidth(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		s, err := New(Config{Store: w.store, Ledger: w.ledger, Bandwidth: "5M"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		is := func(want string) {
			t.Helper()
			if got, err := s.Bandwidth(ctx); err != nil || got != want {
				t.Errorf("bandwidth %q, %v; want %q", got, err, want)
			}
		}
		is("5M")
		for _, c := range []struct{ set, want string }{{"1M", "1M"}, {"off", ""}, {"", "5M"}, {"08:00,512k 23:00,off", "08:00,512k 23:00,off"}} {
			if err := s.SetBandwidth(ctx, c.set); err != nil {
				t.Fatal(err)
			}
			is(c.want)
		}
		for _, bad := range []string{"fast", "-1M", "99:99,1M", "\x00", strings.Repeat("9", 100)} {
			var mistake *OrderError
			if err := s.SetBandwidth(ctx, bad); !errors.As(err, &mistake) || mistake.Field != "bwlimit" {
				t.Errorf("bandwidth %q: %v, want an *OrderError", bad, err)
			}
		}
		is("08:00,512k 23:00,off")
		if _, err := New(Config{Store: w.store, Ledger: w.ledger, Bandwidth: "fast"}); err == nil {
			t.Error("a service with a strange bandwidth was made")
		}
	})
}

func TestSetJobBandwidth(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.put("film.mov", 3_000_000)
		w.worker(w.svc, WorkerOptions{})
		j := w.enqueue(slow(w.order(transfer.DeleteNever), "1k"))
		if j.BwLimit != "1k" {
			t.Errorf("bandwidth %q", j.BwLimit)
		}
		until(t, "the file is under way", func() bool {
			p, err := w.svc.Progress(ctx, j.ID)
			return err == nil && len(p.Current) > 0
		})
		var mistake *OrderError
		if _, err := w.svc.SetJobBandwidth(ctx, j.ID, "fast"); !errors.As(err, &mistake) {
			t.Errorf("%v, want an *OrderError", err)
		}
		if _, err := w.svc.SetJobBandwidth(ctx, "01AAAAAAAA", "1M"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
		for _, c := range []struct{ set, want string }{{"2k", "2k"}, {"", "1k"}, {"off", ""}} {
			got, err := w.svc.SetJobBandwidth(ctx, j.ID, c.set)
			if err != nil || got.BwLimit != c.want || got.Order.BwLimit != "1k" {
				t.Errorf("set %q: %q, %v; want %q", c.set, got.BwLimit, err, c.want)
			}
		}
		w.reach(j.ID, Completed) // at 1 KiB a second it would take most of an hour
		if _, err := w.svc.SetJobBandwidth(ctx, j.ID, "1M"); !errors.Is(err, ErrState) {
			t.Errorf("%v, want ErrState", err)
		}
		if n := w.store.Client().Exists(ctx, keysOf(j.ID).bandwidth()).Val(); n != 0 {
			until(t, "the bucket is forgotten", func() bool { return w.store.Client().Exists(ctx, keysOf(j.ID).bandwidth()).Val() == 0 })
		}
	})
}

// Under a low limit bytes come a second's worth at a time, so that progress is seen; without one as many as are asked for.
func TestLowBandwidthLetsBytesThroughInSmallPieces(t *testing.T) {
	for name, c := range map[string]struct {
		own, fleet string
		most, rate int64
	}{
		"none":                 {"", "", 1 << 20, 0},
		"high":                 {"20M", "", 1 << 20, 0},
		"the job's":            {"40k", "", 10 << 10, 40 << 10},
		"of all jobs":          {"", "20k", 5 << 10, 20 << 10},
		"the lower of them":    {"40k", "20k", 5 << 10, 20 << 10},
		"the same twice":       {"40k", "40k", 10 << 10, 40 << 10},
		"very low":             {"1B", "", 1, 1},
		"by its timetable":     {"00:00,30k 12:00,off", "1M", 30 << 8, 30 << 10},
		"lower than the slice": {"5B", "100k", 1, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				own, fleet := &rates{text: c.own}, &rates{text: c.fleet}
				p := &pacer{lines: []*line{own.line(t, quiet()), fleet.line(t, quiet())}}
				const first = 4 // the limits aren't known before the first wait
				if got, err := p.wait(t.Context(), first); err != nil || got != first {
					t.Fatal(got, err)
				}
				start, read := time.Now(), int64(0)
				for range 80 {
					since := time.Now()
					got, err := p.wait(t.Context(), 1<<20)
					if err != nil || got != c.most {
						t.Fatalf("%d bytes at once, %v; want %d", got, err, c.most)
					}
					if took := time.Since(since); took > 2*time.Second {
						t.Errorf("a piece took %v", took)
					}
					read += got
				}
				if c.rate > 0 {
					between(t, "read", read, c.rate, time.Since(start))
				}
			})
		})
	}
}
