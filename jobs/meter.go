package jobs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"offload/quota"
	"offload/transfer"
)

// meter counts the traffic of one batch against everything that limits it: the job's --max-transfer, the account, and the
// limits of both remotes. A file is reserved in all of them or in none.
type meter struct {
	pools   []pool  // the account's comes first
	limits  []limit // what they are of
	scripts *scripts
	hold    hold
	max     int64                                                                // --max-transfer in bytes; 0 is none
	calls   func(ctx context.Context) (release func(context.Context), err error) // sets API calls aside for a file to end

	mu      sync.Mutex
	largest int64 // reservation that was granted, in bytes of a file
}

// pool is the batch's reservation in one limit, which may count each byte more than once.
type pool struct {
	*quota.Pool
	times int64
}

// Reserve implements transfer.Meter.
func (m *meter) Reserve(ctx context.Context, size int64) (transfer.Grant, error) {
	release, err := m.calls(ctx)
	if err != nil {
		release(ctx)
		return nil, err
	}
	g := &grant{meter: m, release: release}
	if err := g.takeTransfer(ctx, size); err != nil {
		release(ctx)
		return nil, err
	}
	for _, p := range m.pools {
		inner, err := p.Reserve(ctx, size*p.times)
		if err != nil {
			return nil, errors.Join(noQuota(err), g.Settle(ctx, 0, 0))
		}
		g.inner = append(g.inner, inner)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.largest = max(m.largest, size)
	return g, nil
}

// served tells whether a reservation of so many bytes was granted.
func (m *meter) served(need int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.largest >= need
}

// prefer tells all pools how much the whole batch will probably need.
func (m *meter) prefer(n int64) {
	for _, p := range m.pools {
		p.Prefer(min(n, math.MaxInt64/p.times) * p.times)
	}
}

// renew keeps all pools for another lease.
func (m *meter) renew(ctx context.Context) error {
	var all error
	for _, p := range m.pools {
		all = errors.Join(all, p.Renew(ctx))
	}
	return all
}

// close gives back what is left in all pools.
func (m *meter) close(ctx context.Context) error {
	var all error
	for _, p := range m.pools {
		all = errors.Join(all, p.Close(ctx))
	}
	return all
}

// noQuota gives the ledger's refusals the names that the engine knows.
func noQuota(err error) error {
	switch {
	case errors.Is(err, quota.ErrNoQuota):
		return fmt.Errorf("%w: %w", transfer.ErrNoQuota, err)
	case errors.Is(err, quota.ErrLost):
		return fmt.Errorf("%w: %w", transfer.ErrFenced, err)
	}
	return err
}

type grant struct {
	meter   *meter
	inner   []*quota.Grant        // of the meter's pools
	release func(context.Context) // gives back the API calls that were set aside
	taken   int64                 // bytes of --max-transfer set aside
	used    int64                 // bytes charged everywhere
	short   bool                  // a charge was refused
}

func (g *grant) takeTransfer(ctx context.Context, n int64) error {
	if g.meter.max == 0 || n <= 0 {
		return nil
	}
	got, err := g.transfer(ctx, n, 0, 0)
	switch {
	case err != nil:
		return fmt.Errorf("count against --max-transfer: %w", err)
	case got == 0:
		return fmt.Errorf("--max-transfer: %w", transfer.ErrCapped)
	case got != 1:
		return fmt.Errorf("count against --max-transfer: %w", transfer.ErrFenced)
	}
	g.taken += n
	return nil
}

// settleTransfer ends what was set aside of --max-transfer. Where the unit was lost, that has happened already.
func (g *grant) settleTransfer(ctx context.Context, used int64) error {
	if g.meter.max == 0 || g.taken == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	if _, err := g.transfer(ctx, 0, g.taken, used); err != nil {
		return fmt.Errorf("settle --max-transfer: %w", err)
	}
	g.taken = 0
	return nil
}

func (g *grant) transfer(ctx context.Context, take, settle, used int64) (int, error) {
	m := g.meter
	return m.scripts.run(ctx, "take_transfer", m.hold.job, nil, m.hold.unit, m.hold.fence, m.max, take, settle, used).Int()
}

// Charge implements transfer.Grant.
func (g *grant) Charge(ctx context.Context, n int64) error {
	if over := g.used + n - g.taken; over > 0 {
		if err := g.takeTransfer(ctx, over); err != nil {
			return err
		}
	}
	for i, inner := range g.inner {
		if err := inner.Charge(ctx, n*g.meter.pools[i].times); err != nil {
			g.short = true // what the limits before it booked isn't read: it is settled as unused
			return noQuota(err)
		}
	}
	g.used += n
	return nil
}

// Settle implements transfer.Grant. The one byte that shows that a file is longer than listed is read though its charge
// was refused: no limit can settle what it didn't book.
func (g *grant) Settle(ctx context.Context, used, wasted int64) error {
	if g.short {
		used = min(used, g.used)
		wasted = min(wasted, used)
	}
	all := g.settleTransfer(ctx, used)
	g.release(ctx)
	for i, inner := range g.inner {
		times := g.meter.pools[i].times
		all = errors.Join(all, inner.Settle(ctx, used*times, wasted*times))
	}
	return all
}
