package store

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
)

// Abandon ends every call that is under way, within seconds, and makes all later ones fail at once: for a process that has
// to end while its Redis doesn't answer, for go-redis and asynq would go on trying for minutes. Close must still be called.
func (s *Store) Abandon() { s.abandon() }

// mortal makes the calls of a client end when the store is abandoned. Closing the client instead would make asynq panic,
// which reads from a subscription of it.
func mortal(c redis.UniversalClient, abandoned context.Context) redis.UniversalClient {
	c.AddHook(mortalHook{abandoned})
	return c
}

// mortalHook implements redis.Hook.
type mortalHook struct{ abandoned context.Context }

// DialHook implements redis.Hook.
func (h mortalHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (h mortalHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		ctx, done := h.bind(ctx)
		defer done()
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h mortalHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		ctx, done := h.bind(ctx)
		defer done()
		return next(ctx, cmds)
	}
}

// bind returns a context that ends with ctx, and when the store is abandoned.
func (h mortalHook) bind(ctx context.Context) (context.Context, func()) {
	if ctx.Done() == nil { // of asynq, mostly
		return h.abandoned, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.abandoned, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
