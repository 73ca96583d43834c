package jobs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"offload/quota"
	"offload/transfer"
)

// Times of the pools that count API calls.
const (
	callsRenew = 5 * time.Second // a pool is renewed this often
	callsIdle  = 5 * time.Second // one that nobody used for so long is closed: others may need what it has set aside
)

// callsAhead is how many calls a process sets aside and books at once, so that few of them ask the store.
const callsAhead = 16

// callGate counts the API calls of this process against the limits of the remotes. Each remote with a limit has one pool,
// which lives while it is used.
type callGate struct {
	s *Service

	mu    sync.Mutex
	pools map[string]*callPool // by subject
	ended bool
	rest  sync.WaitGroup
}

// callPool is what this process has set aside of one limit.
type callPool struct {
	*quota.Pool
	used time.Time           // when last; the gate's lock is held
	held map[*heldCalls]bool // of the files that have begun; the gate's lock is held
	end  context.CancelFunc
}

// heldCalls are calls that are set aside for a file, so that it can end though others take the last that are free.
type heldCalls struct {
	pool *callPool

	mu    sync.Mutex
	grant *quota.Grant
	left  int64
	used  int64
}

// CallGate counts the requests to remotes that have a limit of API calls: each is booked before it is made. A request
// beyond the limit is refused with transfer.ErrNoQuota. It works until the service is closed.
func (s *Service) CallGate() transfer.CallGate { return s.gate }

// Call implements transfer.CallGate.
func (g *callGate) Call(ctx context.Context, remote string) error {
	subject, err := g.subject(ctx, remote)
	if subject == "" || err != nil {
		return err
	}
	return g.take(ctx, subject)
}

// hold sets aside what a file may need of each limit, and refuses the file where one has less. The release, which is never
// nil, gives back what of it wasn't used.
func (g *callGate) hold(ctx context.Context, subjects []string) (release func(context.Context), err error) {
	var all []*heldCalls
	release = func(ctx context.Context) {
		for _, h := range all {
			g.release(ctx, h)
		}
		all = nil
	}
	for _, subject := range subjects {
		h, err := g.holdOne(ctx, subject, fewCalls)
		var by *quota.NoQuotaError
		if errors.As(err, &by) && enoughCalls(by.Limit) < fewCalls { // it must do
			h, err = g.holdOne(ctx, subject, enoughCalls(by.Limit))
		}
		if err != nil {
			return release, noQuota(err)
		}
		all = append(all, h)
	}
	return release, nil
}

func (g *callGate) holdOne(ctx context.Context, subject string, n int64) (*heldCalls, error) {
	var h *heldCalls
	err := g.onPool(subject, func(p *callPool) error {
		p.Prefer(callsAhead)
		grant, err := p.Reserve(ctx, n)
		if err != nil {
			return err
		}
		h = &heldCalls{pool: p, grant: grant, left: n}
		g.mu.Lock()
		defer g.mu.Unlock()
		p.held[h] = true
		return nil
	})
	return h, err
}

// release ends what was set aside. A pool that was lost meanwhile has given it back already.
func (g *callGate) release(ctx context.Context, h *heldCalls) {
	g.mu.Lock()
	delete(h.pool.held, h)
	h.pool.used = time.Now()
	g.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = 0
	if err := h.grant.Settle(ctx, h.used, 0); err != nil && !errors.Is(err, quota.ErrLost) {
		g.s.log.Warn("give back the calls that a file didn't need", "error", err) // they are when the pool is closed
	}
}

// draw books one of the calls that are set aside for the files that have begun. It is false where there is none.
func (g *callGate) draw(ctx context.Context, p *callPool) (bool, error) {
	g.mu.Lock()
	all := slices.Collect(maps.Keys(p.held))
	g.mu.Unlock()
	for _, h := range all {
		if ok, err := h.draw(ctx); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (h *heldCalls) draw(ctx context.Context) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left == 0 {
		return false, nil
	}
	if err := h.grant.Charge(ctx, 1); err != nil {
		return false, err
	}
	h.left, h.used = h.left-1, h.used+1
	return true, nil
}

// subject returns the remote's limit of calls, "" where it has none.
func (g *callGate) subject(ctx context.Context, remote string) (string, error) {
	if remote == "" {
		return "", nil
	}
	subjects, err := g.s.cfg.Ledger.LimitsOf(ctx, remote)
	if err != nil {
		return "", err
	}
	for _, subject := range subjects {
		if _, measure, ok := quota.ParseSubject(subject); ok && measure == quota.Calls {
			return subject, nil
		}
	}
	return "", nil
}

// take books a call: one that is free, or else one that is set aside for a file that has begun.
func (g *callGate) take(ctx context.Context, subject string) error {
	return noQuota(g.onPool(subject, func(p *callPool) error {
		p.Prefer(callsAhead)
		grant, err := p.Reserve(ctx, 1)
		if errors.Is(err, quota.ErrNoQuota) {
			if ok, drawErr := g.draw(ctx, p); ok || drawErr != nil {
				return drawErr
			}
		}
		if err != nil {
			return err
		}
		booked := int64(1)
		if err = grant.Charge(ctx, booked); err != nil {
			booked = 0
		}
		return errors.Join(err, grant.Settle(ctx, booked, 0))
	}))
}

// onPool calls f with the pool of a limit. One that was lost is replaced once.
func (g *callGate) onPool(subject string, f func(*callPool) error) error {
	p, err := g.pool(subject)
	if err != nil {
		return err
	}
	if err = f(p); errors.Is(err, quota.ErrLost) {
		g.forget(subject, p)
		if p, err = g.pool(subject); err == nil {
			err = f(p)
		}
	}
	return err
}

// pool returns the open pool of a limit, or opens one and looks after it.
func (g *callGate) pool(subject string) (*callPool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return nil, errors.New("count calls: the service is closed")
	}
	p := g.pools[subject]
	if p == nil {
		ctx, cancel := context.WithCancel(context.Background())
		p = &callPool{Pool: g.s.cfg.Ledger.Pool(subject, "calls:"+g.s.self), held: map[*heldCalls]bool{}, end: cancel}
		if g.pools == nil {
			g.pools = map[string]*callPool{}
		}
		g.pools[subject] = p
		g.rest.Go(func() { g.keep(ctx, subject, p) })
	}
	p.used = time.Now()
	return p, nil
}

// forget takes a pool out of use; whoever looks after it closes it.
func (g *callGate) forget(subject string, p *callPool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pools[subject] == p {
		delete(g.pools, subject)
	}
	p.end()
}

// keep renews a pool until it is out of use, and closes it then.
func (g *callGate) keep(ctx context.Context, subject string, p *callPool) {
	tick := time.NewTicker(callsRenew)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if g.idle(p) {
				g.forget(subject, p)
			} else if err := p.Renew(ctx); err != nil && ctx.Err() == nil {
				g.s.log.Warn("renew the calls set aside", "subject", subject, "error", err)
			}
		}
	}
	if err := p.Close(ctx); err != nil {
		// What it had booked ahead stays booked: a few calls.
		g.s.log.Warn("give back the calls set aside", "subject", subject, "error", err)
	}
}

func (g *callGate) idle(p *callPool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(p.held) == 0 && time.Since(p.used) > callsIdle
}

// close closes all pools; nothing is counted after it.
func (g *callGate) close() {
	g.mu.Lock()
	g.ended = true
	for subject, p := range g.pools {
		delete(g.pools, subject)
		p.end()
	}
	g.mu.Unlock()
	g.rest.Wait()
}
