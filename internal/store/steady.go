package store

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// silence is how long whoever listens to the store waits for a word of it: go-redis asks for one every three seconds once a
// subscription is confirmed, and connects anew where the second isn't answered. A worker that stops waits for it.
const silence = 6 * time.Second

// steady is a client whose subscriptions outlast a connection that breaks while they are made. go-redis v9.23 connects anew
// then without subscribing there, for it notes the channels last. Whoever waits for the confirmation waits for ever: asynq
// does so, and a worker of that kind hears of no cancelation and doesn't end when told to.
type steady struct{ redis.UniversalClient }

// Subscribe implements redis.UniversalClient.
func (c steady) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	p := c.UniversalClient.Subscribe(ctx)
	if p.Subscribe(ctx, channels...) != nil {
		_ = p.Subscribe(ctx, channels...) // where this fails, too, the next connection is subscribed: the channels are noted
	}
	return p
}

// impatient bounds the reads of a connection that have no limit of their own: those of listeners. A Redis that is frozen, or
// that lost its place and keeps its connections, never confirms a subscription, and asynq waits for that without an end.
func impatient(c net.Conn) net.Conn {
	if raw, ok := c.(syscall.Conn); ok { // go-redis looks through it whether an idle connection is still good
		return impatientSocket{impatientConn{c}, raw}
	}
	return impatientConn{c}
}

type impatientConn struct{ net.Conn }

type impatientSocket struct {
	impatientConn
	syscall.Conn
}

// SetReadDeadline implements net.Conn.
func (c impatientConn) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		t = time.Now().Add(silence)
	}
	return c.Conn.SetReadDeadline(t)
}
