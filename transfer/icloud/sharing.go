package icloud

import (
	"context"
	"sync"
)

// sharing lets one call serve all who ask before it begins. Whoever asks while one is under way waits for the next: the
// one that began earlier may not show what happened since.
type sharing[T any] struct {
	mu        sync.Mutex
	now, next *shared[T]
}

// shared is one call.
type shared[T any] struct {
	done chan struct{}
	res  T // once done is closed
	err  error
}

// get answers from a call that begins not earlier than now. The answer is for reading only.
func (s *sharing[T]) get(ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	mine := s.next
	if mine == nil {
		mine = &shared[T]{done: make(chan struct{})}
		if s.now == nil {
			s.now = mine
			go s.run(context.WithoutCancel(ctx), do)
		} else {
			s.next = mine
		}
	}
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.res, mine.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// run makes calls until nobody waits for one.
func (s *sharing[T]) run(ctx context.Context, do func(context.Context) (T, error)) {
	for {
		s.mu.Lock()
		now := s.now
		s.mu.Unlock()
		call, cancel := context.WithTimeout(ctx, putBackTime)
		now.res, now.err = do(call)
		cancel()
		close(now.done)
		s.mu.Lock()
		s.now, s.next = s.next, nil
		last := s.now == nil
		s.mu.Unlock()
		if last {
			return
		}
	}
}
