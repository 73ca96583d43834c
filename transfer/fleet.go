package transfer

import (
	"context"
	"sync"
	"time"
)

// Fleet is what the workers of one store settle among themselves: lanes that only one of them may be in at a time (the
// commits to one Dropbox account, the writes to one iCloud account, a sign-in), and rests that a remote asked for.
type Fleet interface {
	// Turn waits until nobody else is in the lane, in this process or another, and takes it. held is ctx, and is done
	// also when the turn is lost, as after this process was frozen; its cause is ErrFenced then. leave must be called.
	Turn(ctx context.Context, lane string) (held context.Context, leave func(), err error)
	// Rest asks all workers to leave the lane alone until then; the later of two requests stands.
	Rest(ctx context.Context, lane string, until time.Time) error
	// Resting tells until when the lane is to be left alone; a time that has passed where it isn't. It is cheap: it may be
	// asked before each call.
	Resting(ctx context.Context, lane string) (time.Time, error)
}

// LocalFleet is the Fleet of a process that works alone.
type LocalFleet struct {
	mu    sync.Mutex
	lanes map[string]chan struct{}
	rests map[string]time.Time
}

// Turn implements Fleet.
func (f *LocalFleet) Turn(ctx context.Context, lane string) (context.Context, func(), error) {
	f.mu.Lock()
	if f.lanes == nil {
		f.lanes = map[string]chan struct{}{}
	}
	free := f.lanes[lane]
	if free == nil {
		free = make(chan struct{}, 1)
		f.lanes[lane] = free
	}
	f.mu.Unlock()
	select {
	case free <- struct{}{}:
		return ctx, sync.OnceFunc(func() { <-free }), nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// Rest implements Fleet.
func (f *LocalFleet) Rest(_ context.Context, lane string, until time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rests == nil {
		f.rests = map[string]time.Time{}
	}
	if until.After(f.rests[lane]) {
		f.rests[lane] = until
	}
	return nil
}

// Resting implements Fleet.
func (f *LocalFleet) Resting(_ context.Context, lane string) (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rests[lane], nil
}
