package jobs

import (
	"context"
	"sync"
	"time"

	"offload/transfer"
)

// pairs keeps the remotes of the jobs that this worker is busy with open: a job's batches share them, and with them its
// limits.
type pairs struct {
	open      func(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error)
	transfers int
	pacer     func(Job) (*pacer, error)

	mu  sync.Mutex
	all map[string]*openJob
}

// openJob is what the batches of one job share in this worker.
type openJob struct {
	order Order
	mu    sync.Mutex // held while opening; guards left, too
	pair  *transfer.Pair
	ended func() // ends the context that pair was opened with
	slots *slots
	pace  *pacer
	left  speedsLeft // of the batch that ended last
	users int
	idle  time.Time // since when it has no user
	stale bool      // not to be used again: closed by its last user
}

// pairIdle is how long remotes without use stay open: long enough for the next batch to come.
const pairIdle = time.Minute

func newPairs(s *Service, transfers int) *pairs {
	return &pairs{open: s.cfg.Open, transfers: transfers, pacer: s.bands.pacer, all: map[string]*openJob{}}
}

// get returns the open remotes of a job; release must be called when they aren't needed any more.
func (p *pairs) get(ctx context.Context, j Job) (*openJob, func(), error) {
	p.mu.Lock()
	var unused []*openJob
	o := p.all[j.ID]
	if o != nil && !sameDeletions(o.order, j.Order) { // called off since: what was opened before would go on with them
		delete(p.all, j.ID)
		if o.stale = true; o.users == 0 && o.pair != nil {
			unused = append(unused, o)
		}
		o = nil
	}
	if o == nil {
		n := j.Order.Transfers
		if n == 0 {
			n = p.transfers
		}
		pace, err := p.pacer(j)
		if err != nil {
			p.mu.Unlock()
			closeAll(ctx, unused)
			return nil, nil, err
		}
		o = &openJob{order: j.Order, slots: newSlots(n, time.Now), pace: pace}
		p.all[j.ID] = o
	}
	o.users++
	unused = append(unused, p.takeIdle()...)
	p.mu.Unlock()
	closeAll(ctx, unused)
	release := func() {
		p.mu.Lock()
		o.users--
		o.idle = time.Now()
		last := o.stale && o.users == 0 && o.pair != nil
		p.mu.Unlock()
		if last {
			o.close(context.WithoutCancel(ctx))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pair == nil {
		if err := p.begin(ctx, o, j); err != nil {
			release()
			return nil, nil, err
		}
		if o.pair.PacesItself() {
			o.slots.widen()
		}
	}
	return o, release, nil
}

// begin opens the remotes. Some backends go on using the context that they were opened with, to renew an access token: it
// must outlive the unit that happened to open them.
func (p *pairs) begin(ctx context.Context, o *openJob, j Job) error {
	own, end := context.WithCancelCause(context.WithoutCancel(ctx))
	untie := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	pair, err := p.open(own, j.Order.Source, j.Order.Dest, j.Order.Options)
	if !untie() && err == nil {
		pair.Close(context.WithoutCancel(ctx))
		err = context.Cause(ctx)
	}
	if err != nil {
		end(nil)
		return err
	}
	o.pair, o.ended = pair, func() { end(nil) }
	return nil
}

// sameDeletions tells whether two orders of a job delete alike.
func sameDeletions(a, b Order) bool {
	return a.DeleteSource == b.DeleteSource && a.Hold == b.Hold && a.DeletePackages == b.DeletePackages && a.MinGrade == b.MinGrade
}

// speeds lets a batch go on with the speeds of the one before; the returned function leaves its own for the next.
func (o *openJob) speeds(w *watcher) func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s, ok := o.left.take(time.Now()); ok {
		w.goOn(s)
	}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.left.last = w.leave()
	}
}

func closeAll(ctx context.Context, all []*openJob) {
	for _, o := range all {
		o.close(context.WithoutCancel(ctx))
	}
}

func (o *openJob) close(ctx context.Context) {
	o.pair.Close(ctx)
	o.ended()
}

// forget makes the next batch of a job open its remotes anew.
func (p *pairs) forget(ctx context.Context, id string) {
	p.mu.Lock()
	o := p.all[id]
	delete(p.all, id)
	if o != nil {
		o.stale = true
	}
	unused := o != nil && o.users == 0 && o.pair != nil
	p.mu.Unlock()
	if unused {
		o.close(context.WithoutCancel(ctx))
	}
}

// takeIdle removes the jobs that nobody has used for a while; the caller holds mu and closes them.
func (p *pairs) takeIdle() []*openJob {
	var idle []*openJob
	for id, o := range p.all {
		if o.users == 0 && time.Since(o.idle) > pairIdle {
			delete(p.all, id)
			if o.pair != nil {
				idle = append(idle, o)
			}
		}
	}
	return idle
}

// close closes all; no batch runs any more.
func (p *pairs) close(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, o := range p.all {
		delete(p.all, id)
		if o.pair != nil {
			o.close(ctx)
		}
	}
}
