package icloud

import (
	"context"
	"sync"
)

// sharing lets one call for a key serve all who ask before it begins. Whoever asks while one is under way waits for the
// next: the one that began earlier may not show what happened since.
type sharing[T any] struct {
	mu    sync.Mutex
	lines map[string]*line[T]
}

// line is the call for one key that is under way, and the one that waits for its end.
type line[T any] struct{ now, next *shared[T] }

// shared is one call.
type shared[T any] struct {
	waiting int // how many still want it
	cancel  context.CancelFunc
	done    chan struct{}
	res     T // once done is closed
	err     error
}

// get answers from a call that begins not earlier than now. The answer is for reading only.
func (s *sharing[T]) get(ctx context.Context, key string, do func(context.Context) (T, error)) (res T, err error) {
	if ctx.Err() != nil {
		return res, context.Cause(ctx)
	}
	mine := s.join(ctx, key, do)
	select {
	case <-mine.done:
		return mine.res, mine.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if mine.waiting--; mine.waiting == 0 && mine.cancel != nil {
			mine.cancel()
		}
		return res, context.Cause(ctx)
	}
}

// join returns the next call for the key that begins, and begins it where none is under way.
func (s *sharing[T]) join(ctx context.Context, key string, do func(context.Context) (T, error)) *shared[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[key]
	if l == nil {
		if s.lines == nil {
			s.lines = map[string]*line[T]{}
		}
		l = &line[T]{now: &shared[T]{done: make(chan struct{}), waiting: 1}}
		s.lines[key] = l
		s.begin(context.WithoutCancel(ctx), key, l, do)
		return l.now
	}
	if l.next == nil {
		l.next = &shared[T]{done: make(chan struct{})}
	}
	l.next.waiting++
	return l.next
}

// begin starts the call l.now; s.mu is held. Its context ends when nobody wants it any more, not with that of the one who
// came first.
func (s *sharing[T]) begin(ctx context.Context, key string, l *line[T], do func(context.Context) (T, error)) {
	call, cancel := context.WithCancel(ctx)
	mine := l.now
	mine.cancel = cancel
	go func() {
		defer cancel()
		mine.res, mine.err = do(call)
		close(mine.done)
		s.mu.Lock()
		defer s.mu.Unlock()
		l.now, l.next = l.next, nil
		if l.now == nil || l.now.waiting == 0 {
			delete(s.lines, key)
			return
		}
		s.begin(ctx, key, l, do)
	}()
}
