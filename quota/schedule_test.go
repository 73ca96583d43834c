package quota

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestSchedules plays random schedules of workers, crashes, lost links, restarts of Redis, clocks and limits, and audits
// Redis after each single call: nothing is granted above a limit, never is less booked than was read, and no job waits
// although something of it fits. OFFLOAD_SEED=N repeats schedule N alone; those of goroutines that run at will (N
// divisible by 8) are then tried a hundred times, since a seed repeats their choices but not their order.
func TestSchedules(t *testing.T) {
	first, n, times := uint64(0), uint64(1000), 1
	if testing.Short() {
		n = 200
	}
	if text := os.Getenv("OFFLOAD_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		first, n = seed, 1
		if seed%8 == 0 {
			times = 100
		}
	}
	var mu sync.Mutex
	var sum hits
	looks := 0
	const lanes = 2
	t.Run("lanes", func(t *testing.T) {
		for lane := range uint64(lanes) {
			t.Run(strconv.FormatUint(lane, 10), func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				for seed := first; seed < first+n; seed++ {
					if n > 1 && seed/8%lanes != lane || n == 1 && lane != 0 {
						continue
					}
					for range times {
						w := newWorld(t.Context(), s, seed)
						if err := w.play(); err != nil {
							t.Fatalf("schedule %d: %v\n%s\nto repeat it: OFFLOAD_SEED=%d go test -race -run TestSchedules ./quota",
								seed, err, w.story(), seed)
						}
						mu.Lock()
						sum.add(w.hits)
						looks += w.looks
						mu.Unlock()
					}
				}
			})
		}
	})
	t.Logf("%d schedules, %d audits: %+v", n, looks, sum)
	if n > 1 && !t.Failed() {
		sum.complete(t)
	}
}

// A seed repeats every step of a schedule of coroutines, or nobody could look into a failure.
func TestScheduleRepeats(t *testing.T) {
	s := newStage(t)
	for _, seed := range []uint64{1, 2, 3, 655} {
		var first world
		for i := range 2 {
			w := newWorld(t.Context(), s, seed)
			must(t, w.play())
			if i == 0 {
				first.looks, first.hits, first.now, first.parts = w.looks, w.hits, w.now, w.parts
			} else if w.looks != first.looks || w.hits != first.hits || !w.now.Equal(first.now) || w.parts != first.parts {
				t.Errorf("schedule %d: %d audits, then %d; %+v, then %+v", seed, first.looks, w.looks, first.hits, w.hits)
			}
		}
	}
}

func (h *hits) list() map[string]*int {
	return map[string]*int{"crashes": &h.crashes, "links": &h.links, "answers": &h.answers, "down": &h.down, "lost": &h.lost,
		"rereads": &h.rereads, "waits": &h.waits, "wakes": &h.wakes, "periods": &h.periods, "tooLarge": &h.tooLarge,
		"limits": &h.limits, "anchors": &h.anchors, "zones": &h.zones, "ahead": &h.ahead, "back": &h.back,
		"summertime": &h.summertime, "restarts": &h.restarts, "restores": &h.restores, "forgotten": &h.forgotten, "removals": &h.removals, "crowds": &h.crowds}
}

func (h *hits) add(more hits) {
	other := more.list()
	for name, n := range h.list() {
		*n += *other[name]
	}
}

// complete fails the test where something was never tried.
func (h *hits) complete(t *testing.T) {
	for name, n := range h.list() {
		if *n < 5 {
			t.Errorf("%s came about only %d times in all schedules", name, *n)
		}
	}
}

// calmDown ends the rough time: the dead hold nothing any more once their leases are over.
func (w *world) calmDown() error {
	w.mu.Lock()
	w.rough, w.down = false, 0
	w.mu.Unlock()
	w.note("calm now")
	for _, s := range w.subjects {
		c := Change{Limit: ptr(s.initial + w.rnd.Int64N(s.initial))}
		if err := w.smoothly(func(a *actor) error { return w.set(a, s, c) }); err != nil {
			return err
		}
	}
	for range 2 { // twice where leases lay ahead of a clock that was put back
		if err := w.setClock(w.time().Add(2*time.Minute + time.Second)); err != nil {
			return err
		}
		if err := w.settle(); err != nil {
			return err
		}
	}
	return w.rest()
}

// smoothly does something through the agitator's link while all others stand still.
func (w *world) smoothly(do func(*actor) error) error {
	a := w.actors[0]
	a.seat.owner.Store(nil)
	defer a.seat.owner.Store(a)
	return do(a)
}

// rest checks what must hold while nobody works: nothing is reserved, and no job waits although something of it fits.
func (w *world) rest() error {
	w.look(nil)
	if w.failure != nil {
		return w.failure
	}
	views, err := w.views()
	if err != nil {
		return err
	}
	left := map[*subject]int64{}
	for i, s := range w.subjects {
		v := views[i]
		if v.reserved != 0 || v.pools != 0 || v.leases != 0 {
			return fmt.Errorf("%s: %d bytes in %d pools are reserved though nobody works", s.name, v.reserved, v.pools)
		}
		left[s] = v.limit - v.used
		if w.time().UnixMilli() >= v.end {
			left[s] = v.limit // the next period begins with the first call in it
		}
	}
	for _, b := range w.batches {
		if b.done {
			continue
		}
		if !b.parked {
			return fmt.Errorf("%s isn't done and doesn't wait", b.id)
		}
		for _, f := range b.pending() {
			if w.fits(b, f, left) {
				return fmt.Errorf("%s waits until %s although a file of %d bytes fits: %v", b.id, b.until, f.known, left)
			}
		}
	}
	return nil
}

// fits tells whether a file could be begun now. Where a job needs several subjects, another one's claim may keep bytes of
// one from it while that other waits for the next one; with a single subject a claim that counts is one that fits, and
// then its job doesn't wait.
func (w *world) fits(b *playedBatch, f *playedFile, left map[*subject]int64) bool {
	for _, s := range b.all() {
		free := left[s]
		for _, other := range w.batches {
			if c, ok := other.claims[s.name]; ok && w.multi && other != b && c.Since.UnixMilli() < s.start {
				free -= c.Need
			}
		}
		if free < max(1, b.needs(s, f.known)) {
			return false
		}
	}
	return true
}

// drain lets periods pass, as clocks do, until everything is moved that a whole period carries.
func (w *world) drain() error {
	if w.crowd {
		w.addCrowd(true)
	}
	const enough = 60
	crowds := 3
	for range enough {
		if err := errors.Join(w.settle(), w.rest()); err != nil {
			return err
		}
		next := w.nextReset()
		if next.IsZero() {
			return w.moved()
		}
		for _, to := range []time.Time{next.Add(-10 * time.Second), next.Add(time.Second)} {
			if to.Before(w.time()) {
				continue
			}
			if err := w.setClock(to); err != nil {
				return err
			}
			if to.After(next) && w.crowd && w.hits.crowds > 0 && crowds > 0 {
				crowds--
				w.addCrowd(false)
			}
			if err := w.settle(); err != nil {
				return err
			}
		}
		if err := w.starved(); err != nil {
			return err
		}
	}
	return fmt.Errorf("not everything is moved after %d resets", enough)
}

// nextReset is the next time at which a waiting job goes on by itself. One that waits since its limit was too small may
// have got a larger one, and goes on with the next period too.
func (w *world) nextReset() time.Time {
	var next time.Time
	for _, b := range w.batches {
		until := b.until
		if b.parked && until.IsZero() && b.everFits() {
			for _, s := range b.all() {
				if end := time.UnixMilli(s.end); end.After(until) {
					until = end
				}
			}
		}
		if b.parked && !until.IsZero() && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	return next
}

// everFits tells whether an empty period carries what the batch waits for.
func (b *playedBatch) everFits() bool {
	for _, s := range b.all() {
		if b.needs(s, b.need) > s.limit {
			return false
		}
	}
	return true
}

// moved checks that only files are left that no period carries.
func (w *world) moved() error {
	for _, b := range w.batches {
		for _, f := range b.pending() {
			large := false
			for _, s := range b.subjects {
				large = large || f.size > s.limit
			}
			if !large {
				return fmt.Errorf("%s waits for ever for a file of %d bytes", b.id, f.size)
			}
			w.hits.tooLarge++
		}
	}
	return nil
}

// addCrowd adds small jobs, first of all with a large file among them.
func (w *world) addCrowd(large bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := w.subjects[0].limit
	for i := range 4 {
		var files []*playedFile
		for range 4 {
			size := limit/24 + w.rnd.Int64N(limit/24)
			files = append(files, &playedFile{size: size, known: size})
		}
		w.newBatch(fmt.Sprintf("S%d:%d", w.rounds, i), files)
	}
	if large {
		size := limit/2 + w.rnd.Int64N(limit*2/5)
		w.newBatch("LARGE:0", []*playedFile{{size: size, known: size, large: true}})
	}
}

// refusedFile notes in which period a large file was refused first.
func (w *world) refusedFile(f *playedFile) {
	if !f.large || f.refused > 0 {
		return
	}
	w.auditing.Lock()
	f.refused = w.subjects[0].periods
	w.auditing.Unlock()
	w.hit(func(h *hits) { h.crowds++ })
}

// starved fails where a large file isn't moved by the second period after the one that first refused it.
func (w *world) starved() error {
	for _, b := range w.batches {
		for _, f := range b.pending() {
			if n := w.subjects[0].periods - f.refused; f.large && f.refused > 0 && n >= 2 {
				return fmt.Errorf("%s: a file of %d bytes still waits %d periods after it was refused", b.id, f.size, n)
			}
		}
	}
	return nil
}
