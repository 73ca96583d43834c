package jobs

import (
	"context"
	"sync"

	"offload/transfer"
)

// gate lets the files of a process's batches be worked on side by side, or one of them alone: should the process die
// then, it is known of what. The zero gate is open.
type gate struct {
	mu      sync.Mutex
	inside  int
	closed  bool
	trial   bool          // a file is worked on alone, or was until others were let in again
	changed chan struct{} // closed when one of these changes; nil where nobody waits
}

// await waits until ok says true. It is called with mu held, and makes its change itself.
func (g *gate) await(ctx context.Context, ok func() bool) error {
	for {
		g.mu.Lock()
		if ok() {
			g.mu.Unlock()
			return nil
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// change makes a change and wakes those who wait for one.
func (g *gate) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// pass goes in if the gate is open.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside++
	}
	return !g.closed
}

// enter goes in as soon as the gate is open.
func (g *gate) enter(ctx context.Context) error {
	return g.await(ctx, func() bool {
		if !g.closed {
			g.inside++
		}
		return !g.closed
	})
}

func (g *gate) leave() { g.change(func() { g.inside-- }) }

func (g *gate) open() { g.change(func() { g.closed = false }) }

// alone begins a trial: one at a time, with the gate closed. It tells whether all others have left before patience is
// done; where they haven't, the gate is open again. endTrial must be called after it.
func (g *gate) alone(ctx, patience context.Context) (bool, error) {
	if err := g.await(ctx, func() bool {
		if g.trial {
			return false
		}
		g.trial, g.closed = true, true
		return true
	}); err != nil {
		return false, err
	}
	if err := g.await(patience, func() bool { return g.inside == 0 }); err == nil {
		return true, nil
	}
	g.open()
	if err := context.Cause(ctx); err != nil {
		g.endTrial()
		return false, err
	}
	return false, nil
}

func (g *gate) endTrial() { g.change(func() { g.trial, g.closed = false, false }) }

// gated are slots of files that keep to a gate: whoever has a slot is inside.
type gated struct {
	transfer.Slots
	gate *gate
}

// Acquire implements transfer.Slots. While the gate is closed no slot is kept: the file that is alone needs one.
func (s gated) Acquire(ctx context.Context) (func(bool), error) {
	for {
		release, err := s.Slots.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		if s.gate.pass() {
			var once sync.Once
			return func(throttled bool) {
				release(throttled)
				once.Do(s.gate.leave)
			}, nil
		}
		release(false)
		if err := s.gate.await(ctx, func() bool { return !s.gate.closed }); err != nil {
			return nil, err
		}
	}
}
