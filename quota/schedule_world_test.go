package quota

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Amounts of a schedule, in bytes: limits of thousands, so that a few files fill them.
const (
	scheduleLimit   = 10_000
	scheduleQuantum = 500
	scheduleDay     = 6_000
	scheduleCalls   = 12
)

// world is one schedule: processes that move files under several limits, somebody who disturbs them, and an auditor.
type world struct {
	stage *stage
	ctx   context.Context
	cfg   Config
	seed  uint64
	rnd   *rand.Rand // the driver's
	free  bool       // goroutines run at once; else as coroutines, so that the seed repeats every step
	older bool       // an older copy of Redis' file may be restored
	multi bool       // a remote has limits too
	crowd bool       // small jobs keep coming beside a large file

	subjects  []*subject
	auditKeys []string
	auditing  sync.Mutex // one audit at a time; taken before mu
	looks     int

	mu      sync.Mutex
	cond    *sync.Cond
	over    bool
	failure error
	rough   bool // processes die and calls fail
	now     time.Time
	down    int // so many calls fail, since Redis is away
	batches []*playedBatch
	queue   []*playedBatch // to be taken by a worker
	running int
	parts   int // parts of files read
	changes int // of anything that may let a job go on
	calmAt  int // changes before the maintainer's last round
	rounds  int
	actions int // left for the agitator
	nextAct int // parts at which the next one comes
	refs    []*ref
	backup  string
	notes   []string
	hits    hits
	actors  []*actor
	group   sync.WaitGroup
}

// hits counts what happened, since faults that never hit prove nothing.
type hits struct {
	crashes, links, answers, down, lost, rereads    int
	waits, wakes, periods, tooLarge                 int
	limits, anchors, zones, ahead, back, summertime int
	restarts, restores, forgotten, crowds, removals int
}

func (w *world) hit(count func(*hits)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	count(&w.hits)
}

func newWorld(ctx context.Context, s *stage, seed uint64) *world {
	rnd := rand.New(rand.NewPCG(seed, 11))
	w := &world{stage: s, ctx: ctx, seed: seed, rnd: rnd, now: start.Add(time.Duration(rnd.IntN(365*24)) * time.Hour),
		free: seed%8 == 0, older: seed%8 == 1, crowd: seed%8 == 2, multi: seed%8 != 2 && rnd.IntN(3) == 0}
	w.cond = sync.NewCond(&w.mu)
	w.cfg = Config{Tiers: []Tier{{"normal", scheduleLimit}, {"small", 4_000}, {"plus", 25_000}, {"all", Unlimited}}, Quantum: scheduleQuantum}
	w.subject("anna", scheduleLimit)
	if w.multi {
		w.subject(RemoteSubject("gdrive", PerDay), scheduleDay)
		w.subject(RemoteSubject("gdrive", Calls), scheduleCalls)
	}
	for i := range 2 + rnd.IntN(3) {
		w.newBatch(fmt.Sprintf("J%d:%d", i/2, i%2), w.files(1+rnd.IntN(4)))
	}
	return w
}

func (w *world) subject(name string, limit int64) {
	w.subjects = append(w.subjects, &subject{name: name, initial: limit, high: limit, in: map[int64]int64{}, most: map[int64]int64{}})
	w.auditKeys = append(w.auditKeys, keys(name)[:4]...)
}

// files makes up files: nothing, tiny, a third of the quota, most of it, more than all of it, of unknown size.
func (w *world) files(n int) []*playedFile {
	files := make([]*playedFile, n)
	for i := range files {
		f := &playedFile{size: 1 + w.rnd.Int64N(800)}
		switch k := w.rnd.IntN(20); {
		case k == 0:
			f.size = 0
		case k < 5 && !w.crowd:
			f.size = 2500 + w.rnd.Int64N(1500)
		case k == 5 && !w.crowd:
			f.size = 6000 + w.rnd.Int64N(4000)
		case k == 6 && !w.crowd:
			f.size = 26_000
		}
		f.known = f.size
		if f.size < 4000 && w.rnd.IntN(5) == 0 {
			f.known = 0
		}
		files[i] = f
	}
	return files
}

// newBatch adds a batch to the queue. The world's lock is held, or nobody works yet.
func (w *world) newBatch(id string, files []*playedFile) {
	b := &playedBatch{id: id, subjects: w.subjects[:1], files: files, since: map[string]time.Time{}}
	if w.multi && w.rnd.IntN(4) > 0 {
		b.subjects, b.calls = w.subjects[:2], w.subjects[2]
	}
	w.batches = append(w.batches, b)
	w.queue = append(w.queue, b)
	w.changed()
}

// changed notes that a job may go on that couldn't before. The world's lock is held.
func (w *world) changed() {
	w.changes++
	w.cond.Broadcast()
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) isRough() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rough
}

// part notes that a part of a file was read.
func (w *world) part() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts++
	w.cond.Broadcast()
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notef(format, args...)
}

// notef is note where the world's lock is held.
func (w *world) notef(format string, args ...any) {
	w.notes = append(w.notes, w.now.Format(time.DateTime)+" "+fmt.Sprintf(format, args...))
}

// fail ends the schedule with the first error.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure == nil && !errors.Is(err, context.Canceled) {
		w.failure = err
	}
	w.over = true
	w.cond.Broadcast()
}

// setClock moves Redis' clock.
func (w *world) setClock(now time.Time) error {
	w.mu.Lock()
	w.now = now
	w.mu.Unlock()
	if err := w.stage.setClock(w.ctx, now); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed()
	return nil
}

func (s *stage) setClock(ctx context.Context, now time.Time) error {
	return s.eye.HSet(ctx, "clock", "s", now.Unix(), "us", now.Nanosecond()/1000).Err()
}

// setUp empties Redis, sets the limits and starts the processes.
func (w *world) setUp() error {
	s := w.stage
	if w.older || w.seed%8 == 3 {
		s.gate.Lock()
		s.server.Wipe() // its file has become long
		s.gate.Unlock()
	}
	for _, l := range s.links {
		l.owner.Store(nil)
	}
	if err := errors.Join(s.eye.FlushDB(w.ctx).Err(), w.setClock(w.now)); err != nil {
		return err
	}
	for i := range stageSeats {
		w.actors = append(w.actors, &actor{w: w, seat: s.links[i], name: fmt.Sprintf("worker %d", i-1), starts: map[string]int64{},
			rnd: rand.New(rand.NewPCG(w.seed, uint64(100+i)))})
	}
	first, second := w.actors[0], w.actors[1]
	first.name, first.smooth, second.name = "agitator", true, "maintainer"
	first.born()
	for _, s := range w.subjects {
		err := w.smoothly(func(a *actor) error {
			_, err := a.ledger.Set(w.ctx, s.name, Change{Limit: ptr(s.initial)})
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, script := range s.scripts.all() { // else the first schedule on a server would take more steps
		if err := script.Load(w.ctx, s.eye).Err(); err != nil {
			return err
		}
	}
	first.begin(agitate, w.free, &w.group)
	second.begin(maintain, w.free, &w.group)
	for _, a := range w.actors[2:] {
		a.begin(work, w.free, &w.group)
	}
	return nil
}

// tearDown ends all processes where they stand.
func (w *world) tearDown() {
	w.mu.Lock()
	w.over = true
	w.cond.Broadcast()
	w.mu.Unlock()
	for _, a := range w.actors {
		if a.stop != nil {
			a.stop()
		}
	}
	w.group.Wait()
	for _, l := range w.stage.links {
		l.owner.Store(nil)
	}
}

// settle lets everybody work until nobody has anything to do.
func (w *world) settle() error {
	if w.free {
		return w.settleFree()
	}
	const patience = 20_000
	for range patience {
		var able []*actor
		w.mu.Lock()
		if w.over {
			w.mu.Unlock()
			break
		}
		for _, a := range w.actors {
			if a.ready == nil || a.ready() {
				able = append(able, a)
			}
		}
		w.mu.Unlock()
		if len(able) == 0 {
			return nil
		}
		able[w.rnd.IntN(len(able))].resume()
	}
	w.fail(fmt.Errorf("it didn't come to rest within %d steps", patience))
	return w.failure
}

// settleFree audits all the time while goroutines run at will.
func (w *world) settleFree() error {
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(300 * time.Microsecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		w.look(nil)
		w.mu.Lock()
		calm := true
		for _, a := range w.actors {
			calm = calm && a.ready != nil && !a.ready()
		}
		err, over := w.failure, w.over
		w.mu.Unlock()
		if calm || over {
			return err
		}
		if time.Now().After(deadline) {
			w.fail(errors.New("it didn't come to rest within 30 s"))
		}
	}
}

// play is the whole schedule: a rough time, then a calm one until everything is moved that can be.
func (w *world) play() error {
	defer w.tearDown()
	if err := w.setUp(); err != nil {
		return err
	}
	w.mu.Lock()
	w.rough, w.actions = true, 3+w.rnd.IntN(6)
	if w.older {
		w.actions += 3
	}
	w.mu.Unlock()
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.calmDown(); err != nil {
		return err
	}
	return w.drain()
}

// story is what happened last.
func (w *world) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.notes[max(0, len(w.notes)-120):], "\n")
}
