package jobs

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// mortal is the store of a process that dies: after a number of calls none comes through any more.
type mortal struct {
	Store
	shared redis.UniversalClient
	left   atomic.Int64
}

var errDead = errors.New("the process is dead")

func newMortal(s Store, calls int64) *mortal {
	m := &mortal{Store: s}
	m.left.Store(calls)
	m.shared, _ = m.MakeRedisClient().(redis.UniversalClient)
	return m
}

// Client implements Store.
func (m *mortal) Client() redis.UniversalClient { return m.shared }

// MakeRedisClient implements Store.
func (m *mortal) MakeRedisClient() any {
	c, _ := m.Store.MakeRedisClient().(redis.UniversalClient)
	c.AddHook(m)
	return c
}

// DialHook implements redis.Hook.
func (m *mortal) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (m *mortal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if m.left.Add(-1) < 0 {
			cmd.SetErr(errDead)
			return errDead
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (m *mortal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if m.left.Add(-1) >= 0 {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(errDead)
		}
		return errDead
	}
}
