package jobstest

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"offload/internal/store"
)

// Trips counts the round trips to a store by the client that all share.
type Trips struct{ n atomic.Int64 }

// CountTrips begins to count.
func CountTrips(st *store.Store) *Trips {
	c := &Trips{}
	st.Client().AddHook(c)
	return c
}

// Number returns how many there were so far.
func (c *Trips) Number() int64 { return c.n.Load() }

// DialHook implements redis.Hook.
func (c *Trips) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (c *Trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (c *Trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, all)
	}
}
