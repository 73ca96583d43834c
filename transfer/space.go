package transfer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	roomFresh = 30 * time.Second // how long a known free space is counted on
	roomAgain = time.Second      // how soon it is asked for again where it looks too small
)

// room is the free space of a destination, as far as it tells.
type room struct {
	mu    sync.Mutex
	at    time.Time
	free  int64 // bytes, less what was sent since
	known bool
}

// Room asks the destination for its free space, in bytes; ok is false where it doesn't tell.
func (p *Pair) Room(ctx context.Context) (free int64, ok bool) {
	about := p.Dest.Features().About
	if about == nil {
		return 0, false
	}
	usage, err := about(ctx)
	if err != nil || usage.Free == nil {
		return 0, false
	}
	return *usage.Free, true
}

// checkRoom makes sure that n more bytes fit the destination, before they are read from the source: what is read in vain
// counts against the quota. A destination that doesn't tell its space has room.
func (p *Pair) checkRoom(ctx context.Context, n int64) error {
	about := p.Dest.Features().About
	if about == nil || p.Dest.Features().IsLocal {
		return nil // a disk says at once that it is full, and is asked by too many names
	}
	r := &p.engine.room
	r.mu.Lock()
	defer r.mu.Unlock()
	age := time.Since(r.at)
	if r.at.IsZero() || age > roomFresh || r.known && n > r.free && age > roomAgain {
		usage, err := about(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if CallRefused(err) {
			return destErr("check free space", err)
		}
		if err != nil {
			// Not knowing is no reason to stop: a destination that is full says so when it is sent to.
			slog.DebugContext(ctx, "ask for free space", "remote", remoteName(p.Dest), "error", err)
		}
		r.at, r.known = time.Now(), err == nil && usage.Free != nil
		if r.known {
			r.free = *usage.Free
		}
	}
	if r.known && n > r.free {
		return destErr("check free space", fmt.Errorf("%w: %d bytes left, %d needed", errFull, max(r.free, 0), n))
	}
	r.free -= n // until it is asked for again
	return nil
}
