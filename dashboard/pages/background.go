package pages

import (
	"context"
	"sync"
	"time"
)

// background runs what takes longer than a page may: previews, and looks at remotes. Each run is bounded by a time of its
// own, and close ends all of them.
type background struct {
	mu     sync.Mutex
	closed bool
	next   int
	ends   map[int]context.CancelFunc
	runs   sync.WaitGroup
}

// closeTime is how long close waits for runs that don't heed the end of their context: a backend may not.
const closeTime = 5 * time.Second

// run starts f, which ends when its context does, limit from now at the latest. The function that is returned ends it
// sooner; nil is returned after close, and f isn't run.
func (b *background) run(ctx context.Context, limit time.Duration, f func(context.Context)) context.CancelFunc {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	if b.ends == nil {
		b.ends = map[int]context.CancelFunc{}
	}
	// The request that asks for it may end before.
	in, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	id := b.next
	b.next++
	b.ends[id] = cancel
	b.runs.Go(func() {
		defer func() {
			cancel()
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.ends, id)
		}()
		f(in)
	})
	return cancel
}

// close ends all runs and waits for them.
func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	for _, end := range b.ends {
		end()
	}
	b.mu.Unlock()
	ended := make(chan struct{})
	go func() { defer close(ended); b.runs.Wait() }()
	select {
	case <-ended:
	case <-time.After(closeTime):
	}
}
