package quota

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/internal/redistest"
)

// newRestartable returns a rig on a redis-server that can be put back to an earlier append-only file.
func newRestartable(t testing.TB, cfg Config) (*rig, *redistest.Server) {
	t.Helper()
	server := redistest.StartServer(t)
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: server.Socket(), MaxRetries: 5})
	t.Cleanup(func() { _ = client.Close() })
	r := &rig{Ledger: newLedger(t, client, cfg), t: t, client: client}
	r.scripts = movableScripts(t)
	r.move = func(now time.Time) {
		must(t, client.HSet(context.Background(), "clock", "s", now.Unix(), "us", now.Nanosecond()/1000).Err())
	}
	r.setClock(start)
	return r, server
}

// days adds up an account's history.
func (r *rig) days(account string) (used int64) {
	r.t.Helper()
	list, err := r.History(r.t.Context(), account)
	must(r.t, err)
	for _, d := range list {
		used += d.Used
	}
	return used
}

// Redis comes back with an older append-only file while a pool is open: whatever its owner does next, what was read is
// booked, once, and nothing is held any more.
func TestRestartWithAnOlderFile(t *testing.T) {
	ctx := context.Background()
	const reserved, before, after = 600, 150, 250 // bytes read before and after the copy was made; a quantum is 100
	meets := map[string]func(*Pool, *Grant) error{
		"charge":  func(_ *Pool, g *Grant) error { return g.Charge(ctx, 150) },
		"reserve": func(p *Pool, _ *Grant) error { _, err := p.Reserve(ctx, 300); return err },
		"renew":   func(p *Pool, _ *Grant) error { return p.Renew(ctx) },
		"close":   func(p *Pool, _ *Grant) error { return nil },
	}
	type call = func(*rig, *redistest.Server, string)
	backs := map[string]struct {
		saved int // how far the pool was when the copy was made: 0 not begun, 1 reserved, 2 read the first part
		back  call
	}{
		"forgotten":    {0, func(r *rig, s *redistest.Server, file string) { s.Restore(file) }},
		"wiped":        {0, func(r *rig, s *redistest.Server, file string) { s.Wipe() }},
		"not charged":  {1, func(r *rig, s *redistest.Server, file string) { s.Restore(file) }},
		"charged less": {2, func(r *rig, s *redistest.Server, file string) { s.Restore(file) }},
		"closed by others who know less": {2, func(r *rig, s *redistest.Server, file string) {
			s.Restore(file)
			r.setClock(start.Add(61 * time.Second))
			if n, err := r.Sweep(ctx); n != 1 || err != nil {
				r.t.Errorf("swept %d, %v; want 1", n, err)
			}
		}},
		"abandoned by others who know less": {2, func(r *rig, s *redistest.Server, file string) {
			s.Restore(file)
			must(r.t, r.Abandon(ctx, "anna", "1:"))
		}},
		"removed by others who know less": {2, func(r *rig, s *redistest.Server, file string) {
			s.Restore(file)
			must(r.t, r.Remove(ctx, "anna"))
		}},
	}
	for name, b := range backs {
		for meeting, meet := range meets {
			t.Run(name+"/"+meeting, func(t *testing.T) {
				r, server := newRestartable(t, limited(1000, 100))
				file := ""
				save := func(at int) {
					if at == b.saved {
						file = server.Save()
					}
				}
				p := r.Pool("anna", "1")
				save(0)
				g, err := p.Reserve(ctx, reserved)
				must(t, err)
				save(1)
				must(t, g.Charge(ctx, before))
				save(2)
				must(t, g.Charge(ctx, after))
				b.back(r, server, file)
				r.setClock(r.now)
				if err := meet(p, g); meeting != "close" && !errors.Is(err, ErrLost) {
					t.Errorf("got %v, want ErrLost", err)
				}
				must(t, g.Settle(ctx, before+after, 0))
				for range 2 {
					must(t, p.Close(ctx))
				}
				r.wantCounts("anna", before+after, 0, 0)
				if n := r.days("anna"); n != before+after {
					t.Errorf("the days add up to %d, want %d", n, before+after)
				}
				if err := g.Charge(ctx, 1); err == nil {
					t.Error("a lost pool may charge")
				}
			})
		}
	}
}

// Nothing is lost by a restart that loses nothing.
func TestRestartThatLosesNothing(t *testing.T) {
	r, server := newRestartable(t, limited(1000, 100))
	ctx := t.Context()
	p := r.Pool("anna", "1")
	g, err := p.Reserve(ctx, 600)
	must(t, err)
	for _, end := range []func(){server.Kill, server.Stop} {
		must(t, g.Charge(ctx, 150))
		end()
		server.Run()
		must(t, p.Renew(ctx))
		r.wantCounts("anna", g.charged, 600-g.charged, 0)
	}
	must(t, g.Settle(ctx, 300, 0))
	must(t, p.Close(ctx))
	r.wantCounts("anna", 300, 0, 0)
}

// The answer to a Close is lost, and it is sent again: what was read isn't booked twice.
func TestCloseTwiceBooksOnce(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		f := &faults{}
		r.client.AddHook(f)
		ctx := t.Context()
		must(t, r.use("warm", 1)) // Redis has the scripts
		for i := range 200 {      // beyond the number of closed pools that are remembered without cleaning
			f.arm(0, false)
			p := r.Pool("anna", strconv.Itoa(i))
			g, err := p.Reserve(ctx, 4)
			must(t, err)
			must(t, g.Charge(ctx, 4))
			must(t, g.Settle(ctx, 4, 0))
			f.arm(1, true)
			if err := p.Close(ctx); !errors.Is(err, errLink) {
				t.Fatalf("got %v, want errLink", err)
			}
			must(t, p.Close(ctx))
			r.advance(time.Minute)
		}
		r.wantCounts("anna", 800, 0, 0)
		// Those that closed long ago are forgotten.
		if n := r.client.HLen(ctx, keys("anna")[6]).Val(); n > 140 {
			t.Errorf("%d closed pools are remembered", n)
		}
	})
}

// A process that slept longer than its lease can't tell whether others closed its pool and forgot that: nothing is booked
// twice.
func TestSleptLongerThanTheLease(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 600)
		must(t, err)
		must(t, g.Charge(ctx, 200))
		r.advance(time.Hour)
		_, err = r.Sweep(ctx)
		must(t, err)
		must(t, r.client.Del(ctx, keys("anna")[6]).Err())
		p.renewed = p.renewed.Add(-r.cfg.Lease)
		if err := p.Renew(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		must(t, p.Close(ctx))
		r.wantCounts("anna", 200, 0, 0)
	})
}

// While Redis is down a pool that is known to be lost can't be ended; its Close makes that good, however late.
func TestLossIsBookedLater(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx, f := t.Context(), &faults{}
		r.client.AddHook(f)
		warm := r.Pool("warm", "1")
		_, err := warm.Reserve(ctx, 1)
		must(t, err)
		must(t, warm.Renew(ctx))
		must(t, warm.Close(ctx)) // Redis has the scripts
		p := r.Pool("anna", "1")
		g, err := p.Reserve(ctx, 600)
		must(t, err)
		must(t, g.Charge(ctx, 200))
		must(t, r.client.FlushDB(ctx).Err())
		r.setClock(start)
		f.arm(2, false) // the script that ends it
		if err := p.Renew(ctx); !errors.Is(err, ErrLost) || f.calls.Load() != 2 {
			t.Errorf("got %v after %d calls, want ErrLost after 2", err, f.calls.Load())
		}
		f.arm(0, false)
		p.renewed = p.renewed.Add(-r.cfg.Lease)
		must(t, g.Settle(ctx, 200, 0))
		must(t, p.Close(ctx))
		r.wantCounts("anna", 200, 0, 0)
	})
}

// Settings that a restart took back don't live on in a process that knew them.
func TestRestartTakesSettingsBack(t *testing.T) {
	r, server := newRestartable(t, limited(1000, 100))
	ctx := t.Context()
	set := func(l *Ledger, limit int64) {
		t.Helper()
		_, err := l.Set(ctx, "anna", Change{Limit: &limit})
		must(t, err)
	}
	set(r.Ledger, 500)
	file := server.Save()
	set(r.Ledger, 2000)
	must(t, r.use("anna", 1))
	server.Restore(file)
	r.setClock(start)
	other := newLedgerLike(t, r)
	set(other, 300) // the second change, as the one that is lost was
	if err := r.use("anna", 301); !errors.Is(err, ErrNoQuota) {
		t.Errorf("got %v, want ErrNoQuota", err)
	}
	must(t, r.use("anna", 299))
}

// After a restart that forgot grants, others may have been given the same bytes; from the moment on in which the first
// owner tells, nothing more is granted beyond the limit.
func TestNoGrantAboveTheLimitAfterARestart(t *testing.T) {
	r, server := newRestartable(t, limited(1000, 100))
	ctx := t.Context()
	file := server.Save()
	p := r.Pool("anna", "1")
	g, err := p.Reserve(ctx, 800)
	must(t, err)
	must(t, g.Charge(ctx, 700))
	server.Restore(file)
	r.setClock(start)
	must(t, r.use("anna", 200))
	if err := p.Renew(ctx); !errors.Is(err, ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	r.wantCounts("anna", 900, 0, 0)
	if err := r.use("anna", 101); !errors.Is(err, ErrNoQuota) {
		t.Errorf("got %v, want ErrNoQuota", err)
	}
	must(t, r.use("anna", 100))
	must(t, g.Settle(ctx, 700, 0))
	must(t, p.Close(ctx))
	r.wantCounts("anna", 1000, 0, 0)
}

// A record that holds less than was promised is lost: charging from it would never end.
func TestOlderRecordHoldsLess(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "1")
		_, err := p.Reserve(ctx, 100)
		must(t, err)
		old, err := r.client.HGet(ctx, keys("anna")[1], p.id).Result()
		must(t, err)
		g, err := p.Reserve(ctx, 200)
		must(t, err)
		must(t, r.client.HSet(ctx, keys("anna")[1], p.id, old).Err())
		must(t, r.client.HIncrBy(ctx, keys("anna")[0], "reserved", -200).Err())
		if err := g.Charge(ctx, 200); !errors.Is(err, ErrLost) {
			t.Errorf("charging bytes that Redis has forgotten to keep: %v", err)
		}
		r.wantCounts("anna", 0, 0, 0)
	})
}
