package quota

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A batch of three files, in the numbers of docs/quota.md.
func TestPoolBatch(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "job:1")
		p.Prefer(600)
		g, err := p.Reserve(ctx, 300)
		must(t, err)
		r.wantCounts("anna", 0, 600, 0)
		must(t, g.Charge(ctx, 50))
		r.wantCounts("anna", 100, 500, 0) // a quantum is booked
		must(t, g.Charge(ctx, 50))
		r.wantCounts("anna", 100, 500, 0) // served by the same quantum
		must(t, g.Charge(ctx, 200))
		r.wantCounts("anna", 300, 300, 0)
		must(t, g.Settle(ctx, 300, 0))

		g, err = p.Reserve(ctx, 250)
		must(t, err)
		must(t, g.Charge(ctx, 250))
		must(t, g.Charge(ctx, 70)) // the first attempt failed at 70: read again
		must(t, g.Settle(ctx, 320, 70))
		st := r.status("anna")
		if st.Used < 620 || st.Used > 720 || st.Wasted != 70 {
			t.Errorf("used %d, wasted %d; want 620 to 720 and 70", st.Used, st.Wasted)
		}
		must(t, p.Close(ctx))
		r.wantCounts("anna", 620, 0, 70)
		must(t, p.Close(ctx))
		r.wantCounts("anna", 620, 0, 70)
	})
}

func TestPoolRefuses(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p, other := r.Pool("anna", "1"), r.Pool("anna", "2")
		_, err := p.Reserve(ctx, 700)
		must(t, err)

		_, err = other.Reserve(ctx, 301)
		var full *NoQuotaError
		if !errors.As(err, &full) || !errors.Is(err, ErrNoQuota) {
			t.Fatalf("got %v, want a *NoQuotaError", err)
		}
		want := NoQuotaError{Subject: "anna", Need: 301, Available: 300, Limit: 1000, Resets: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
		if *full != want || full.TooLarge() {
			t.Errorf("got %+v, want %+v and not too large", *full, want)
		}
		_, err = other.Reserve(ctx, 1001)
		if !errors.As(err, &full) || !full.TooLarge() {
			t.Errorf("got %v, want one that is too large", err)
		}
		// What fits goes though something larger didn't, and size 0 always.
		g, err := other.Reserve(ctx, 300)
		must(t, err)
		_, err = other.Reserve(ctx, 0)
		must(t, err)
		// A retry needs more than there is.
		must(t, g.Charge(ctx, 300))
		if err := g.Charge(ctx, 1); !errors.Is(err, ErrNoQuota) {
			t.Errorf("charge beyond the limit: got %v, want ErrNoQuota", err)
		}
		must(t, g.Settle(ctx, 300, 0))
		must(t, p.Close(ctx))
		must(t, other.Close(ctx))
		r.wantCounts("anna", 300, 0, 0)
		// Another account isn't concerned.
		_, err = r.Pool("bert", "1").Reserve(ctx, 1000)
		must(t, err)
	})
}

func TestPreferFallsBack(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	p := r.Pool("anna", "1")
	p.Prefer(5000)
	g, err := p.Reserve(t.Context(), 400)
	must(t, err)
	r.wantCounts("anna", 0, 400, 0)
	must(t, g.Settle(t.Context(), 0, 0))
	must(t, p.Close(t.Context()))
	r.wantCounts("anna", 0, 0, 0)
}

// A large file that fails leaves its room to others before its pool is closed.
func TestSettleFreesALargeRest(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 900)
		must(t, err)
		must(t, g.Charge(ctx, 10))
		must(t, g.Settle(ctx, 10, 10))
		// 100 charged, 10 of them read; of the 800 held none is needed.
		r.wantCounts("anna", 100, 0, 10)
		must(t, p.Close(ctx))
		r.wantCounts("anna", 10, 0, 10)
	})
}

func TestUnlimitedCounts(t *testing.T) {
	r := newMini(t, Config{DefaultTier: "unlimited"})
	ctx := t.Context()
	p := r.Pool("anna", "1")
	g, err := p.Reserve(ctx, 1<<50)
	must(t, err)
	must(t, g.Charge(ctx, 1<<50))
	must(t, g.Settle(ctx, 1<<50, 0))
	must(t, p.Close(ctx))
	r.wantCounts("anna", 1<<50, 0, 0)
	if st := r.status("anna"); st.Available != Unlimited || st.Limit != Unlimited {
		t.Errorf("got %+v, want unlimited", st)
	}
}

func TestCrashWastesAtMostOneQuantum(t *testing.T) {
	onBoth(t, limited(10_000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 5000)
		must(t, err)
		const read = 7 * 130
		for range 7 {
			must(t, g.Charge(ctx, 130))
		}
		// The process is killed here.
		r.advance(61 * time.Second)
		n, err := r.Sweep(ctx)
		if err != nil || n != 1 {
			t.Fatalf("swept %d, %v; want 1", n, err)
		}
		st := r.status("anna")
		if st.Reserved != 0 || st.Used < read || st.Used > read+100 {
			t.Errorf("used %d, reserved %d; want %d to %d and 0", st.Used, st.Reserved, read, read+100)
		}
	})
}

func TestLostPool(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p, other := r.Pool("anna", "1"), r.Pool("anna", "2")
		g, err := p.Reserve(ctx, 600)
		must(t, err)
		must(t, g.Charge(ctx, 100))
		r.advance(59 * time.Second)
		must(t, p.Renew(ctx))
		r.advance(59 * time.Second)
		if _, err := other.Reserve(ctx, 900); !errors.Is(err, ErrNoQuota) {
			t.Fatalf("a renewed pool was closed: %v", err)
		}
		r.advance(2 * time.Second)
		_, err = other.Reserve(ctx, 900) // closes the other one inline
		must(t, err)
		for name, err := range map[string]error{"charge": g.Charge(ctx, 100), "renew": p.Renew(ctx)} {
			if !errors.Is(err, ErrLost) {
				t.Errorf("%s: got %v, want ErrLost", name, err)
			}
		}
		if _, err := p.Reserve(ctx, 600); !errors.Is(err, ErrLost) {
			t.Errorf("reserve: got %v, want ErrLost", err)
		}
		must(t, g.Settle(ctx, 100, 100))
		must(t, p.Close(ctx))
		r.wantCounts("anna", 100, 900, 0)
	})
}

// An expired pool that nobody closed yet is revived by its owner.
func TestExpiredButNotClosed(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	p := r.Pool("anna", "1")
	_, err := p.Reserve(t.Context(), 600)
	must(t, err)
	r.advance(time.Hour)
	r.wantCounts("anna", 0, 0, 0)
	must(t, p.Renew(t.Context()))
	r.wantCounts("anna", 0, 600, 0)
}

func TestClockPutBackFreesDeadPools(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		_, err := r.Pool("anna", "1").Reserve(ctx, 600)
		must(t, err)
		r.advance(-5 * 24 * time.Hour)
		_, err = r.Sweep(ctx) // cuts the lease
		must(t, err)
		r.wantCounts("anna", 0, 600, 0)
		r.advance(61 * time.Second)
		if n, err := r.Sweep(ctx); err != nil || n != 1 {
			t.Errorf("swept %d, %v; want 1", n, err)
		}
		r.wantCounts("anna", 0, 0, 0)
	})
}

func TestPeriodEnds(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 1000)
		must(t, err)
		must(t, g.Charge(ctx, 600))
		if _, err := r.Pool("anna", "2").Reserve(ctx, 1); !errors.Is(err, ErrNoQuota) {
			t.Fatalf("got %v, want ErrNoQuota", err)
		}
		r.setClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		must(t, p.Renew(ctx))
		r.wantCounts("anna", 0, 400, 0)
		must(t, g.Charge(ctx, 301)) // counts in the new period
		r.wantCounts("anna", 301, 99, 0)
		// Of the old period's 600 none is given back to the new one, though 500 weren't read.
		must(t, g.Settle(ctx, 401, 0))
		must(t, p.Close(ctx))
		r.wantCounts("anna", 301, 0, 0)
		if got := r.status("anna").Period.ID; got != "2026-12-01" {
			t.Errorf("period %s, want 2026-12-01", got)
		}
		// The clock goes back: the old period isn't opened again, and charges count on.
		r.setClock(start)
		q := r.Pool("anna", "3")
		g, err = q.Reserve(ctx, 600)
		must(t, err)
		must(t, g.Charge(ctx, 600))
		if _, err := q.Reserve(ctx, 100); !errors.Is(err, ErrNoQuota) {
			t.Errorf("got %v, want ErrNoQuota", err)
		}
		must(t, g.Settle(ctx, 600, 0))
		must(t, q.Close(ctx))
		r.wantCounts("anna", 901, 0, 0)
	})
}

func TestPoolMisuse(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	ctx := t.Context()
	p := r.Pool("anna", "1")
	var input *InputError
	for _, size := range []int64{-1, maxBytes + 1} {
		if _, err := p.Reserve(ctx, size); !errors.As(err, &input) {
			t.Errorf("reserve %d: got %v, want an InputError", size, err)
		}
	}
	if _, err := r.Pool("{anna}", "1").Reserve(ctx, 1); !errors.As(err, &input) || input.Field != "account" {
		t.Errorf("got %v, want an InputError of account", err)
	}
	g, err := p.Reserve(ctx, 100)
	must(t, err)
	if err := g.Charge(ctx, -1); !errors.As(err, &input) {
		t.Errorf("charge -1: got %v, want an InputError", err)
	}
	must(t, g.Charge(ctx, 60))
	if err := g.Settle(ctx, 61, 0); err == nil {
		t.Error("settling more than was charged: got nil")
	}
	if err := g.Settle(ctx, 60, 0); !errors.Is(err, errSettled) {
		t.Errorf("settling twice: got %v", err)
	}
	if err := g.Charge(ctx, 1); !errors.Is(err, errSettled) {
		t.Errorf("charge after settle: got %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	g, err = p.Reserve(ctx, 100)
	must(t, err)
	must(t, g.Charge(ctx, 100))
	cancel()
	if _, err := p.Reserve(canceled, 500); !errors.Is(err, context.Canceled) {
		t.Errorf("reserve with a canceled context: got %v", err)
	}
	must(t, g.Settle(canceled, 40, 40))
	must(t, p.Close(canceled))
	r.wantCounts("anna", 100, 0, 40)
	if _, err := p.Reserve(ctx, 0); !errors.Is(err, ErrLost) {
		t.Errorf("reserve after close: got %v, want ErrLost", err)
	}
	if err := p.Renew(ctx); !errors.Is(err, ErrLost) {
		t.Errorf("renew after close: got %v, want ErrLost", err)
	}
	must(t, r.Pool("anna", "unused").Renew(ctx))
}

// faults is a client hook that loses the request or the answer of one call.
type faults struct {
	calls  atomic.Int64 // calls so far
	at     atomic.Int64 // the call that fails, counted from 1
	answer atomic.Bool  // its answer is lost, after it was carried out, rather than its request
}

var errLink = errors.New("the link to Redis broke")

// arm makes the n-th call from now fail.
func (f *faults) arm(n int64, answer bool) {
	f.calls.Store(0)
	f.answer.Store(answer)
	f.at.Store(n)
}

func (f *faults) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *faults) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (f *faults) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		fail := f.calls.Add(1) == f.at.Load()
		if !fail || f.answer.Load() {
			if err := next(ctx, cmd); err != nil || !fail {
				return err
			}
		}
		cmd.SetErr(errLink)
		return errLink
	}
}

// Whatever call loses its request or its answer: once the link is back the work goes on and is counted exactly.
func TestLostAnswers(t *testing.T) {
	work := func(ctx context.Context, p *Pool) error {
		again := func(do func() error) error {
			err := do()
			if errors.Is(err, errLink) {
				err = do()
			}
			return err
		}
		var g *Grant
		reserve := func(size int64) func() error {
			return func() (err error) { g, err = p.Reserve(ctx, size); return err }
		}
		p.Prefer(500)
		return errors.Join(
			again(reserve(300)),
			again(func() error { return g.Charge(ctx, 150) }),
			again(func() error { return p.Renew(ctx) }),
			g.Settle(ctx, 140, 20),
			again(reserve(400)),
			again(func() error { return g.Charge(ctx, 10) }),
			again(func() error { return g.Charge(ctx, 500) }),
			g.Settle(ctx, 110, 0),
			again(func() error { return p.Renew(ctx) }),
			again(reserve(200)),
			g.Settle(ctx, 0, 0),
			again(func() error { return p.Close(ctx) }),
		)
	}
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		f := &faults{}
		r.client.AddHook(f)
		must(t, work(t.Context(), r.Pool("warm", "1")))
		f.arm(0, false)
		must(t, work(t.Context(), r.Pool("anna", "1")))
		calls := f.calls.Load()
		if calls < 8 {
			t.Fatalf("the work made only %d calls", calls)
		}
		for n := range calls {
			for _, answer := range []bool{false, true} {
				account := fmt.Sprintf("%d-%t", n, answer)
				f.arm(n+1, answer)
				must(t, work(t.Context(), r.Pool(account, "1")))
				if f.calls.Load() <= n {
					t.Errorf("call %d was never made", n+1)
				}
				f.arm(0, false)
				r.wantCounts(account, 250, 0, 20)
			}
		}
	})
}

func TestDaysAddUp(t *testing.T) {
	onBoth(t, limited(10_000, 1000), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		p.Prefer(5000)
		g, err := p.Reserve(ctx, 3000)
		must(t, err)
		must(t, g.Charge(ctx, 1500))
		r.advance(24 * time.Hour)
		must(t, g.Charge(ctx, 100))
		must(t, g.Settle(ctx, 200, 50))
		must(t, p.Close(ctx))
		days, err := r.client.HGetAll(ctx, keys("anna")[3]).Result()
		must(t, err)
		want := map[string]string{"2026-11-22 used": "200", "2026-11-23 used": "0", "2026-11-23 wasted": "50"}
		if len(days) != len(want) {
			t.Fatalf("got %v, want %v", days, want)
		}
		for k, v := range want {
			if days[k] != v {
				t.Errorf("got %v, want %v", days, want)
			}
		}
		r.wantCounts("anna", 200, 0, 50)
	})
}

func TestDaysAreKept400(t *testing.T) {
	r := newReal(t, limited(1000, 1))
	ctx := t.Context()
	for range 450 {
		r.advance(24 * time.Hour)
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 1)
		must(t, err)
		must(t, g.Charge(ctx, 1))
		must(t, g.Settle(ctx, 1, 1))
		must(t, p.Close(ctx))
	}
	days, err := r.client.HKeys(ctx, keys("anna")[3]).Result()
	must(t, err)
	oldest := r.now.AddDate(0, 0, -399).Format(time.DateOnly)
	for _, d := range days {
		if d[:10] < oldest {
			t.Errorf("%s is older than %s", d, oldest)
		}
	}
	if len(days) != 800 {
		t.Errorf("%d fields, want 800", len(days))
	}
}

// The answer to a give-back is lost: the pool mustn't promise those bytes again, and isn't lost over it.
func TestLostAnswerOfAGiveBack(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx, f := t.Context(), &faults{}
		r.client.AddHook(f)
		for _, answer := range []bool{false, true} {
			p := r.Pool("anna", "1")
			g, err := p.Reserve(ctx, 900)
			must(t, err)
			f.arm(1, answer)
			must(t, g.Settle(ctx, 0, 0))
			g, err = p.Reserve(ctx, 800)
			must(t, err)
			must(t, g.Charge(ctx, 800))
			must(t, g.Settle(ctx, 0, 0))
			must(t, p.Close(ctx))
			r.wantCounts("anna", 0, 0, 0)
		}
	})
}

// Whoever knows that a worker is gone closes its pools at once, and no others.
func TestAbandon(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		dead, alive := r.Pool("anna", "job:1:2"), r.Pool("anna", "job:12:2")
		g, err := dead.Reserve(ctx, 500)
		must(t, err)
		must(t, g.Charge(ctx, 100))
		_, err = alive.Reserve(ctx, 300)
		must(t, err)
		r.wantCounts("anna", 100, 700, 0)
		must(t, r.Abandon(ctx, "anna", "job:1:"))
		r.wantCounts("anna", 100, 300, 0)
		must(t, r.Abandon(ctx, "anna", "job:1:"))
		must(t, r.Abandon(ctx, "nobody", "job:1:"))
		r.wantCounts("anna", 100, 300, 0)
		if err := g.Charge(ctx, 200); !errors.Is(err, ErrLost) {
			t.Errorf("a pool that was abandoned may charge: %v", err)
		}
		r.wantCounts("anna", 100, 300, 0)
		if err := r.Abandon(ctx, "../x", ""); err == nil {
			t.Error("a bad account name was taken")
		}
	})
}
