package jobs

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Limits of the adaptive number of files at once.
const (
	slotsStart = 16
	slotsMax   = 64
	slotsPaced = 128                    // between remotes that pace themselves: they hold back what is too much
	slotsEpoch = 250 * time.Millisecond // shortest time over which a rate is measured
	slotsTrial = 3 * slotsEpoch         // the same for a limit that is tried: files end in waves, and one more in an epoch looks like a gain
	slotsGain  = 1.08                   // by how much more at once must be faster to be worth it
	firstPause = 2                      // epochs of rest after a first attempt in vain, doubled with each further one
	maxPause   = 32
	restSlowed = 16 // epochs of rest after a remote complained
)

// slots limits how many files one worker moves at once for one job. With a fixed number it is a semaphore. Adapting,
// it tries more at once now and then, stays there when that moves more files a second, goes back when it doesn't, and
// halves when a remote slows it down.
type slots struct {
	mu      sync.Mutex
	limit   int
	most    int // of limit
	fixed   bool
	busy    int
	waiting []waiter // those of lower rank first
	now     func() time.Time

	began  time.Time // of the present epoch
	ended  int       // files in this epoch
	full   bool      // whether the limit was reached in this epoch
	base   int       // the limit that is known to be of use
	rate   float64   // files a second at that limit
	rest   int       // epochs until more is tried again
	pause  int       // epochs to rest after the next attempt in vain
	slowed time.Time // when the limit was last halved
	climbs bool      // nothing has spoken against more at once so far: the limit doubles
}

// waiter is a file that waits for a slot.
type waiter struct {
	rank int64
	turn chan struct{} // closed when it has one
}

// newSlots returns slots for n files at once; 0 adapts.
func newSlots(n int, now func() time.Time) *slots {
	s := &slots{limit: n, most: slotsMax, fixed: n > 0, now: now, began: now(), pause: firstPause}
	if !s.fixed {
		s.limit, s.base, s.climbs = slotsStart, slotsStart, true
	}
	return s
}

// widen is for remotes that pace themselves: there is nothing to find out, and files that wait there cost little. A fixed
// number stays.
func (s *slots) widen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fixed && s.limit < slotsPaced {
		s.limit, s.base, s.most, s.climbs = slotsPaced, slotsPaced, slotsPaced, false
		s.wake()
	}
}

// Acquire implements transfer.Slots.
func (s *slots) Acquire(ctx context.Context) (func(bool), error) { return s.acquire(ctx, 0) }

// acquire is Acquire for one who goes before those of higher rank.
func (s *slots) acquire(ctx context.Context, rank int64) (func(bool), error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.busy < s.limit && len(s.waiting) == 0 {
		s.busy++
		s.mu.Unlock()
		return s.releaser(), nil
	}
	s.full = true
	mine := waiter{rank, make(chan struct{})}
	place := slices.IndexFunc(s.waiting, func(o waiter) bool { return o.rank > rank })
	if place < 0 {
		place = len(s.waiting)
	}
	s.waiting = slices.Insert(s.waiting, place, mine)
	s.mu.Unlock()
	select {
	case <-mine.turn:
		return s.releaser(), nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, mine); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // the slot was given in the same moment: pass it on
		s.busy--
		s.wake()
	}
	return nil, context.Cause(ctx)
}

func (s *slots) releaser() func(bool) {
	var once sync.Once
	return func(throttled bool) { once.Do(func() { s.release(throttled) }) }
}

func (s *slots) release(throttled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	s.full = s.full || len(s.waiting) > 0
	if !s.fixed {
		s.adapt(throttled)
	}
	s.wake()
}

// wake gives free slots to those who wait; the caller holds mu.
func (s *slots) wake() {
	for s.busy < s.limit && len(s.waiting) > 0 {
		s.busy++
		close(s.waiting[0].turn)
		s.waiting = s.waiting[1:]
	}
}

// adapt is told of each file that ended; the caller holds mu.
func (s *slots) adapt(throttled bool) {
	now := s.now()
	s.ended++
	if throttled {
		if now.Sub(s.slowed) > time.Second { // answers to one burst are one sign
			s.limit = max(1, s.limit/2)
			s.base, s.rate, s.slowed = s.limit, 0, now
			s.rest, s.pause, s.climbs = restSlowed, restSlowed, false
		}
		s.restart(now)
		return
	}
	took := now.Sub(s.began)
	if took < slotsEpoch || s.ended < s.limit || s.limit > s.base && took < slotsTrial {
		return
	}
	rate := float64(s.ended) / took.Seconds()
	switch {
	case !s.full: // the limit isn't what holds the work back
	case s.limit > s.base && rate < s.rate*slotsGain: // more at once brought nothing
		s.limit = s.base
		s.rest, s.pause, s.climbs = s.pause, min(2*s.pause, maxPause), false
	case s.limit > s.base:
		s.base, s.rate, s.pause = s.limit, rate, firstPause
		s.raise()
	case s.rest > 0:
		s.rest--
		s.rate = (s.rate + rate) / 2
	default:
		s.rate = max(rate, s.rate)
		s.raise()
	}
	s.restart(now)
}

// raise tries more at once: twice as many while that has always helped, half as many more later.
func (s *slots) raise() {
	more := max(1, s.limit/2)
	if s.climbs {
		more = s.limit
	}
	s.limit = min(s.most, s.limit+more)
}

func (s *slots) restart(now time.Time) { s.began, s.ended, s.full = now, 0, false }
