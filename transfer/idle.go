package transfer

import (
	"context"
	"sync"
)

// idleKey finds in a context what Idle calls.
type idleKey struct{}

// Idle is called by a destination that has all bytes of a file and only waits for its turn to store it, on the context of
// the upload. The file holds no slot from then on: with many workers such turns come seldom, and each would move fewer
// files at once than it is allowed to.
func Idle(ctx context.Context) {
	if free, ok := ctx.Value(idleKey{}).(func()); ok {
		free()
	}
}

// idles returns a context under which Idle gives the slot back.
func (w *work) idles(ctx context.Context) context.Context {
	if w.release == nil {
		return ctx
	}
	release, once := w.release, sync.Once{}
	free := func(throttled bool) { once.Do(func() { release(throttled) }) }
	w.release = free // the upload may end in another goroutine, and whoever comes second frees nothing
	return context.WithValue(ctx, idleKey{}, func() { free(false) })
}
