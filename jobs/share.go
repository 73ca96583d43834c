package jobs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Near the end of a job one worker may have several batches in hand, whose files wait for each other, while another has
// nothing to do. Workers tell each other whether they have room; one that is crowded hands batches back after the files
// that have begun, and leaves them to the others for a moment.

// keyRoom is the zset of the workers that have room for more.
const keyRoom = "offload:fleet:room"

// Times of sharing.
const (
	shareEvery = 250 * time.Millisecond  // between two looks at what this worker has in hand
	roomAgain  = time.Second             // how often a worker that has room says so
	roomTime   = 2500 * time.Millisecond // for how long a worker's word holds that it has room
	yieldTime  = time.Second             // for how long a worker takes nothing that it has just handed back
)

// crowd are the batches that this worker has begun, by job, oldest first.
type crowd struct {
	mu     sync.Mutex
	jobs   map[string]*handful
	begun  int64                     // batches so far
	yields atomic.Pointer[time.Time] // until when this worker leaves work to others; nil is never
}

type handful struct {
	slots *slots
	units []*unit
}

// moves notes that the files of a batch are being moved in the given slots; the returned function must be called when
// they aren't any more.
func (h *crowd) moves(u *unit, s *slots) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs == nil {
		h.jobs = map[string]*handful{}
	}
	f := h.jobs[u.job]
	if f == nil || f.slots != s { // the remotes were opened anew: what is left of the old ones ends by itself
		f = &handful{slots: s}
		h.jobs[u.job] = f
	}
	f.units = append(f.units, u)
	h.begun++
	u.rank = h.begun
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		f.units = slices.DeleteFunc(f.units, func(o *unit) bool { return o == u })
		if len(f.units) == 0 && h.jobs[u.job] == f {
			delete(h.jobs, u.job)
		}
	}
}

// look tells whether files of this worker wait for others of its own, and whether whole batches do.
func (h *crowd) look() (waits, crowded bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.jobs {
		n := f.slots.waits()
		waits = waits || n > 0
		crowded = crowded || n > 1 && len(f.units) > 1
	}
	return waits, crowded
}

// spare marks up to n batches to be handed back, the youngest of those jobs whose batches wait for each other, and returns
// how many it has marked. One of each job goes on.
func (h *crowd) spare(n int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	marked := int64(0)
	for _, f := range h.jobs {
		waits := f.slots.waits()
		for i := len(f.units) - 1; i > 0 && waits > 1 && marked < n; i-- {
			if !f.units[i].spared.Swap(true) {
				f.units[i].end()
				marked++
			}
			waits--
		}
	}
	return marked
}

// waits is how many batches have files that wait for a slot.
func (s *slots) waits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// share looks at what this worker has in hand until ctx is done or the worker stops.
func (w *worker) share(ctx context.Context) {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	var said time.Time // when this worker last told the others anything
	var had bool       // whether it had room then
	for {
		waits, crowded := w.crowd.look()
		has := !waits && w.hands.room(w.opt.Batches)
		if crowded || has != had || has && time.Since(said) >= roomAgain {
			if err := w.tellRoom(ctx, has, crowded); err != nil && ctx.Err() == nil && !w.away.Load() {
				w.log.Debug("share work with other workers", "error", err)
			}
			said, had = time.Now(), has
		}
		select {
		case <-ctx.Done():
			return
		case <-w.stopping:
			return
		case <-tick.C:
		}
	}
}

// tellRoom tells the other workers whether this one has room, and hands batches back where they have.
func (w *worker) tellRoom(ctx context.Context, has, crowded bool) error {
	holds := int64(0)
	if has {
		holds = roomTime.Milliseconds()
	}
	others, err := w.room.Run(ctx, w.s.client, []string{keyRoom}, w.name, holds).Int64()
	if err != nil {
		return fmt.Errorf("tell whether this worker has room: %w", err)
	}
	if !crowded || others == 0 {
		return nil
	}
	for lane := range poolQueues(w.s.scripts.version) {
		if n, err := w.s.tickets(ctx, lane); err != nil || n > 0 {
			return err // there is work for the others
		}
	}
	if n := w.crowd.spare(others); n > 0 {
		w.log.Debug("hand batches back, other workers have room", "batches", n)
	}
	return nil
}

// yield lets others take what this worker has handed back for them: their ticket goes back to the queue.
func (w *worker) yield(ctx context.Context, queue string) error {
	till := w.crowd.yields.Load()
	if till == nil || !isLane(queue) {
		return nil
	}
	left := time.Until(*till)
	if left <= 0 {
		return nil
	}
	if err := w.s.ticket(ctx, queue); err != nil {
		return err
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.stopping:
	case <-timer.C:
	}
	return nil
}

func newRoom() *redis.Script { return script("fleet/room") }
