package remotes

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// cutClient is a client whose connection can be cut for what a Storage calls.
type cutClient struct {
	redis.UniversalClient
	off     atomic.Bool
	refused atomic.Int64
}

var errCut = errors.New("the connection is cut")

func (c *cutClient) refuses() bool {
	if c.off.Load() {
		c.refused.Add(1)
		return true
	}
	return false
}

func (c *cutClient) Get(ctx context.Context, k string) *redis.StringCmd {
	if c.refuses() {
		return redis.NewStringResult("", errCut)
	}
	return c.UniversalClient.Get(ctx, k)
}

func (c *cutClient) SetNX(ctx context.Context, k string, v any, ttl time.Duration) *redis.BoolCmd {
	if c.refuses() {
		return redis.NewBoolResult(false, errCut)
	}
	return c.UniversalClient.SetNX(ctx, k, v, ttl)
}
