package quota

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

// hammer moves random files through pools of its own until nothing more fits, and returns the bytes that it read.
func hammer(ctx context.Context, l *Ledger, account string, seed uint64, before func(int64)) (int64, error) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var read int64
	for batch := 0; ; batch++ {
		p := l.Pool(account, fmt.Sprint(seed, ":", batch))
		if batch%2 == 0 {
			p.Prefer(40_000)
		}
		full := false
		for range 10 {
			n, err := file(ctx, p, 1+rnd.Int64N(8000), before)
			read += n
			if errors.Is(err, ErrNoQuota) {
				// Something smaller may fit.
				n, err = file(ctx, p, 1, before)
				read += n
				full = errors.Is(err, ErrNoQuota)
			}
			if err != nil && !full {
				return read, errors.Join(err, p.Close(ctx))
			}
		}
		if err := errors.Join(p.Renew(ctx), p.Close(ctx)); err != nil || full {
			return read, err
		}
	}
}

// file reads one file in parts.
func file(ctx context.Context, p *Pool, size int64, before func(int64)) (read int64, err error) {
	g, err := p.Reserve(ctx, size)
	if err != nil {
		return 0, err
	}
	for read < size && err == nil {
		n := min(700, size-read)
		if err = g.Charge(ctx, n); err == nil {
			before(n)
			read += n
		}
	}
	return read, errors.Join(err, g.Settle(ctx, read, 0))
}

// Eight workers with ledgers of their own fill two accounts: no byte above the limit, none of it left over.
func TestConcurrentWorkers(t *testing.T) {
	const limit = 2_000_000
	client := startRedis(t)
	cfg := limited(limit, 5000)
	accounts := []string{"anna", "bert"}
	var moved [2]atomic.Int64
	group, ctx := errgroup.WithContext(t.Context())
	for worker := range 8 {
		l := newLedger(t, client, cfg)
		i := worker % 2
		group.Go(func() error {
			_, err := hammer(ctx, l, accounts[i], uint64(worker), func(n int64) {
				if moved[i].Add(n) > limit {
					t.Errorf("more than %d bytes were moved", limit)
				}
			})
			return err
		})
	}
	must(t, group.Wait())
	r := &rig{Ledger: newLedger(t, client, cfg), t: t}
	for i, account := range accounts {
		r.wantCounts(account, moved[i].Load(), 0, 0)
		if n := moved[i].Load(); n < limit-8*5000 {
			t.Errorf("%s moved only %d of %d bytes", account, n, limit)
		}
	}
}

// Eight goroutines share one pool, as the files of a batch do.
func TestConcurrentFilesOfOnePool(t *testing.T) {
	client := startRedis(t)
	l := newLedger(t, client, limited(1<<30, 5000))
	p := l.Pool("anna", "1")
	p.Prefer(3_000_000)
	var moved atomic.Int64
	group, ctx := errgroup.WithContext(t.Context())
	for worker := range 8 {
		group.Go(func() error {
			rnd := rand.New(rand.NewPCG(uint64(worker), 2))
			for i := range 100 {
				if _, err := file(ctx, p, rnd.Int64N(9000), func(n int64) { moved.Add(n) }); err != nil {
					return err
				}
				if i%20 == 0 {
					if err := p.Renew(ctx); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	must(t, group.Wait())
	must(t, p.Close(t.Context()))
	r := &rig{Ledger: l, t: t}
	r.wantCounts("anna", moved.Load(), 0, 0)
}

// A caller that gives up doesn't wait for another one's call to Redis.
func TestReserveGivesUpWithItsContext(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	p := r.Pool("anna", "1")
	p.lock <- struct{}{} // another goroutine is at it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Reserve(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := p.Renew(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	p.unlock()
}
