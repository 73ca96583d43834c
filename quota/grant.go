package quota

import (
	"context"
	"fmt"
)

// Grant is what a pool set aside for one attempt at one file. It may be used by several goroutines.
type Grant struct {
	pool    *Pool
	size    int64 // bytes promised, grown by charges beyond that
	charged int64 // bytes taken
	settled bool
}

// Charge books n bytes as used; it must be called before they are read. More than was reserved is reserved first, as a
// retry needs. It returns a *NoQuotaError (ErrNoQuota) where that doesn't fit, and ErrLost where the pool was lost or
// closed; the bytes may not be read then, nor after any other error.
func (g *Grant) Charge(ctx context.Context, n int64) error {
	if err := checkBytes("charge", n); err != nil {
		return err
	}
	p := g.pool
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.unlock()
	switch {
	case g.settled:
		return p.wrap(errSettled)
	case p.closed:
		return p.wrap(errClosed)
	case p.lost:
		return p.wrap(ErrLost)
	case n == 0:
		return nil
	}
	if more := n - (g.size - g.charged); more > 0 {
		if err := p.secure(ctx, more); err != nil {
			return err
		}
		g.size += more
		p.promised += more
	}
	if err := p.chargeAhead(ctx, n); err != nil {
		return err
	}
	p.ahead -= n
	p.promised -= n
	p.read += n
	g.charged += n
	return nil
}

// Settle ends the grant: used bytes were read, at most what was charged, wasted of them in vain. What was charged and
// not read, and what wasn't charged, goes back to the pool. It is called once; it works though ctx is done. An error
// means that the caller miscounted; whatever Redis answers is made good by a later Renew or Close.
func (g *Grant) Settle(ctx context.Context, used, wasted int64) error {
	p := g.pool
	p.lock <- struct{}{}
	defer p.unlock()
	if g.settled {
		return p.wrap(errSettled)
	}
	g.settled = true
	var err error
	if used < 0 || used > g.charged || wasted < 0 || wasted > used {
		err = p.wrap(fmt.Errorf("settle %d bytes used and %d wasted of %d charged", used, wasted, g.charged))
		// Nothing is given back on a count that can't be right.
		used, wasted = g.charged, min(max(wasted, 0), g.charged)
	}
	p.promised -= g.size - g.charged
	p.ahead += g.charged - used
	p.read -= g.charged - used
	p.wasted += wasted
	if p.closed || p.lost || wasted == 0 && min(p.held(), p.free()-p.prefer) < p.quantum {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if failed := p.touch(ctx); failed != nil {
		p.ledger.cfg.Log.Debug("quota settled later", "subject", p.account, "pool", p.id, "error", failed)
	}
	return err
}
