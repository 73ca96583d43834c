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
func mortal(c redis.UniversalClient, bind binder) redis.UniversalClient {
	c.AddHook(mortalHook{bind})
	return c
}

// binder returns a context that ends with another one, and when a store is abandoned. The function frees it.
type binder func(context.Context) (context.Context, func())

// mortalHook implements redis.Hook.
type mortalHook struct{ bind binder }

// DialHook implements redis.Hook.
func (h mortalHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, done := h.bind(ctx)
		defer done()
		return next(ctx, network, addr)
	}
}

// ProcessHook implements redis.Hook.
func (h mortalHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		ctx, done := h.bind(ctx)
		defer done()
		if err := context.Cause(ctx); err != nil { // go-redis would use an idle connection all the same, and wait for it
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h mortalHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		ctx, done := h.bind(ctx)
		defer done()
		if err := context.Cause(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}

// newBinder returns a binder, and what abandons.
func newBinder() (binder, context.CancelFunc) {
	abandoned, abandon := context.WithCancel(context.Background())
	return func(ctx context.Context) (context.Context, func()) {
		if ctx.Done() == nil { // of asynq, mostly
			return abandoned, func() {}
		}
		ctx, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(abandoned, cancel)
		return ctx, func() {
			stop()
			cancel()
		}
	}, abandon
}
