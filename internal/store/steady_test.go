package store

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// breaking is a connection that breaks when a subscription is written to it, as long as breaks are left.
type breaking struct {
	net.Conn
	left *atomic.Int32
}

func (c breaking) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("subscribe")) && c.left.Add(-1) >= 0 {
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	return c.Conn.Write(b)
}

// TestASubscriptionOutlastsItsConnection: a subscription is confirmed though its connection breaks as it is made.
func TestASubscriptionOutlastsItsConnection(t *testing.T) {
	for _, breaks := range []int32{1, 2, 3} {
		var left atomic.Int32
		left.Store(breaks)
		s := openDir(t, t.TempDir())
		s.fresh = func() redis.UniversalClient {
			return redis.NewClient(&redis.Options{Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := s.node.dial(ctx, network, addr)
				return breaking{nc, &left}, err
			}})
		}
		c, _ := s.MakeRedisClient().(redis.UniversalClient)
		p := c.Subscribe(t.Context(), "news")
		var got any
		var err error
		for range breaks + 1 { // a break after the second try is told to whoever receives
			if got, err = p.ReceiveTimeout(t.Context(), 5*time.Second); err == nil {
				break
			}
		}
		if sub, ok := got.(*redis.Subscription); !ok || sub.Channel != "news" {
			t.Errorf("%d breaks: got %v, %v", breaks, got, err)
		}
		if left.Load() > 0 {
			t.Errorf("%d of %d breaks weren't met", left.Load(), breaks)
		}
		if err := errors.Join(p.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	}
}

// mute is a connection over which no subscription arrives, as where Redis is frozen.
type mute struct{ net.Conn }

func (c mute) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("subscribe")) {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// TestNobodyListensWithoutEnd: a subscription that isn't confirmed fails after a while, on every way to a store.
func TestNobodyListensWithoutEnd(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		t.Parallel()
		one, ok := s.shared.(*redis.Client)
		if !ok {
			t.Skip("a Cluster's connections are made as those of a single server")
		}
		dial := one.Options().Dialer
		c := redis.NewClient(&redis.Options{Protocol: 2, DisableIdentity: true, Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			nc, err := dial(ctx, one.Options().Network, one.Options().Addr)
			if _, raw := nc.(syscall.Conn); err == nil && !raw {
				t.Errorf("go-redis can't look whether an idle %T is good", nc)
			}
			return mute{nc}, err
		}})
		p := c.Subscribe(t.Context(), "news")
		var late net.Error
		if got, err := p.Receive(t.Context()); !errors.As(err, &late) || !late.Timeout() {
			t.Errorf("got %v, %v; want a timeout", got, err)
		}
		if err := errors.Join(p.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
}
