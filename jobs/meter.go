package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"offload/quota"
	"offload/transfer"
)

// meter counts the traffic of one batch against the account's quota, the job's --max-transfer and its --bwlimit.
type meter struct {
	pool    *quota.Pool
	scripts *scripts
	hold    hold
	max     int64 // --max-transfer in bytes; 0 is none
	pace    *pacer
}

// Reserve implements transfer.Meter.
func (m *meter) Reserve(ctx context.Context, size int64) (transfer.Grant, error) {
	g := &grant{meter: m}
	if err := g.takeTransfer(ctx, size); err != nil {
		return nil, err
	}
	inner, err := m.pool.Reserve(ctx, size)
	if err != nil {
		return nil, errors.Join(noQuota(err), g.settleTransfer(ctx, 0))
	}
	g.inner = inner
	return g, nil
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
	meter *meter
	inner *quota.Grant
	taken int64 // bytes of --max-transfer set aside
	used  int64 // bytes charged
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
	if err := g.inner.Charge(ctx, n); err != nil {
		return noQuota(err)
	}
	g.used += n
	return g.meter.pace.wait(ctx, n)
}

// Settle implements transfer.Grant.
func (g *grant) Settle(ctx context.Context, used, wasted int64) error {
	return errors.Join(g.inner.Settle(ctx, used, wasted), g.settleTransfer(ctx, used))
}

// pacer keeps one job in one worker to its --bwlimit, whose timetable may change the limit from minute to minute.
type pacer struct {
	band    transfer.Bandwidth
	mu      sync.Mutex
	now     int64 // the limit that limiter has; 0 is none
	limiter *rate.Limiter
}

func newPacer(b transfer.Bandwidth) *pacer {
	return &pacer{band: b, limiter: rate.NewLimiter(rate.Inf, 0)}
}

func (p *pacer) wait(ctx context.Context, n int64) error {
	limit := p.band.At(time.Now())
	if limit == 0 {
		return nil
	}
	p.mu.Lock()
	if limit != p.now {
		p.now = limit
		// A quarter second of burst keeps the pace even without waking up for every small read.
		p.limiter = rate.NewLimiter(rate.Limit(limit), int(max(limit/4, 64<<10)))
	}
	limiter := p.limiter
	p.mu.Unlock()
	for n > 0 {
		step := min(n, int64(limiter.Burst()))
		if err := limiter.WaitN(ctx, int(step)); err != nil {
			return fmt.Errorf("wait for --bwlimit: %w", err)
		}
		n -= step
	}
	return nil
}
