package icloud

import (
	"context"
	"slices"
	"sync"
	"time"
)

// The bounds of a limiter, and how it moves.
const (
	apiStart, apiMax = 8, 32
	contentShare     = 4                // downloads leave one place in so many to the other calls
	leastLimit       = 2                // a service that refuses even this answers by its errors
	burst            = time.Second      // refusals within it count as one
	remember         = 10 * time.Minute // how long a level that was refused is not gone to again
	lowLevel         = 4                // a refusal here is no limit: faults by chance must not pin the pace
)

// verdict is what a call tells the limiter about the pace.
type verdict int

const (
	neutral verdict = iota // says nothing: the call failed in another way
	fine                   // the service answered
	refused                // the service asked to be called less
)

// limiter bounds the calls in flight to one service. It rises with each round of successes while it is used to the full: by
// half until the service first refused, by one from then on. It halves when the service refuses.
type limiter struct {
	now func() time.Time
	max int
	of  *limiter // of a limiter of downloads: the account's, of which it takes its share

	mu       sync.Mutex
	limit    int
	inUse    int
	wins     int       // successes at the full use of the limit
	good     int       // the last limit that went well for a round
	ceiling  int       // 0 for none
	until    time.Time // when the ceiling is forgotten
	halved   time.Time
	round    int // refusals that counted
	waiting  []chan struct{}
	inFlight []*ticket
}

// ticket is the right to one call.
type ticket struct {
	l     *limiter
	round int     // refusals before it began
	peak  int     // most calls in flight during this one
	share *ticket // of a download: its place among the downloads
	once  sync.Once
}

func newLimiter(start, most int, now func() time.Time) *limiter {
	return &limiter{now: now, limit: start, max: most}
}

// newShare returns a limiter of downloads, each of which also takes a place of the account's limiter: so many that short
// calls always find room beside them.
func newShare(of *limiter) *limiter { return &limiter{now: of.now, of: of} }

// most is how many calls may be in flight now. The caller holds mu.
func (l *limiter) most() int {
	if l.of == nil {
		return l.limit
	}
	n := l.of.level()
	return max(n-max(n/contentShare, 1), 1)
}

// pressed tells whether calls wait though all places are taken.
func (l *limiter) pressed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) > 0
}

// acquire waits for a place. Places are given in the order of asking.
func (l *limiter) acquire(ctx context.Context) (*ticket, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	if len(l.waiting) == 0 && l.inUse < l.most() {
		defer l.mu.Unlock()
		return l.admit(), nil
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.waiting, turn); i >= 0 {
			l.waiting = slices.Delete(l.waiting, i, i+1)
		} else { // the place was given meanwhile
			l.inUse--
			l.wake()
		}
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inUse-- // admit counts it again
	return l.admit(), nil
}

// admit counts a call in. The caller holds mu.
func (l *limiter) admit() *ticket {
	l.inUse++
	t := &ticket{l: l, round: l.round}
	l.inFlight = append(l.inFlight, t)
	for _, o := range l.inFlight {
		o.peak = max(o.peak, l.inUse)
	}
	return t
}

// wake gives free places to those who wait. The caller holds mu.
func (l *limiter) wake() {
	for len(l.waiting) > 0 && l.inUse < l.most() {
		l.inUse++
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}

// free is how many calls could start now.
func (l *limiter) free() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.limit-l.inUse-len(l.waiting), 0)
}

// level is the limit as it stands.
func (l *limiter) level() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// note tells the limiter how a call went, before its place is given back.
func (t *ticket) note(v verdict) {
	l := t.l
	pressed := t.share != nil && t.share.l.pressed()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch v {
	case fine:
		l.won(pressed)
	case refused:
		l.lost(t.peak, t.round)
	}
	l.wake()
}

// release gives the place back, once.
func (t *ticket) release() {
	t.once.Do(func() {
		if t.share != nil {
			defer t.share.release() // when the lock is free again
		}
		l := t.l
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.inFlight, t); i >= 0 {
			l.inFlight = slices.Delete(l.inFlight, i, i+1)
		}
		l.inUse--
		l.wake()
	})
}

// won takes a success. It counts where all places were taken, or all that downloads may take.
func (l *limiter) won(pressed bool) {
	if l.inUse < l.limit && !pressed {
		return // more wouldn't have been used
	}
	if !l.halved.IsZero() && l.now().Sub(l.halved) < burst {
		return // first it must be seen that so many go well
	}
	if l.wins++; l.wins < l.limit {
		return
	}
	l.wins = 0
	top := l.max
	if l.ceiling > 0 && l.now().Before(l.until) {
		top = min(top, l.ceiling)
	}
	step := 1
	if l.halved.IsZero() {
		step = max(1, l.limit/2)
	}
	l.good = l.limit
	l.limit = min(l.limit+step, max(top, l.limit))
}

// lost takes a refusal at a level: the most calls that were in flight while it was made. One of a call that began before
// the last refusal that counted is part of that. The limit is halved once in a burst; what began after that and was
// refused all the same takes one more place.
func (l *limiter) lost(level, round int) {
	now := l.now()
	l.wins = 0
	if round != l.round {
		return
	}
	l.round++
	if !l.halved.IsZero() && now.Sub(l.halved) < burst {
		l.limit = max(l.limit-1, leastLimit)
		return
	}
	l.halved = now
	known := l.ceiling > 0 && now.Before(l.until)
	switch {
	case known && level <= l.ceiling/2+1:
		l.ceiling = 0 // far below what was refused before: by chance, or the service itself has changed
	case level > lowLevel && (!known || level <= l.ceiling):
		l.ceiling, l.until = level-1, now.Add(remember)
		if l.good > 0 && level-l.good > 1 { // the service's limit lies between what went well and this: the first guess is in the middle
			l.ceiling = min(l.ceiling, (l.good+level)/2-1)
		}
	}
	l.limit = max(l.limit/2, leastLimit)
}
