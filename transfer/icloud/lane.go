package icloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"offload/transfer"
)

const (
	// canaryMax is how many items the first deletion of a process on an account takes.
	canaryMax = 5
	// trashMax is how many items go to the trash in one call, or out of it.
	trashMax = 50
	// sendsMax is how often an item is sent whose answer was lost and which is still there.
	sendsMax = 3
	// gatherTime is how long the first of several callers waits for the others.
	gatherTime = 20 * time.Millisecond
	// paceTime is the least time between the beginnings of two calls.
	paceTime = 100 * time.Millisecond
)

// lanes are the lanes of a process, by the name of the remote.
type lanes struct {
	mu     sync.Mutex
	byName map[string]*lane
}

// of returns the lane of a remote.
func (s *lanes) of(name string, o Options) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[string]*lane{}
	}
	l := s.byName[name]
	if l == nil {
		l = newLane(name, o)
		s.byName[name] = l
	}
	return l
}

// lane is where all that goes to the trash of an account passes, one call at a time over the fleet (safety rule 11).
// Wishes are gathered while a call is under way and go together with the next one. The first call of a process is small,
// and listings before and after it must show that it did what was asked and nothing else.
type lane struct {
	name         string
	fleet        transfer.Fleet
	log          *slog.Logger
	gather, pace time.Duration
	lookAgain    time.Duration // between two looks for what should be gone
	sums         sums          // what the checksums of the account told

	mu      sync.Mutex
	queue   []*wish
	live    int // wishes that still want an answer
	running bool
	stop    context.CancelFunc // ends the turn that nobody waits for any more
	tripped error
	trusted bool // a canary was confirmed
	last    time.Time
}

func newLane(name string, o Options) *lane {
	return &lane{name: name, fleet: o.Fleet, log: o.Log, gather: gatherTime, pace: paceTime, lookAgain: time.Second}
}

// wish is one item to be moved to the trash.
type wish struct {
	svc    service
	ref    Ref
	parent string       // the ID of the folder that holds it, "" where it isn't known yet
	held   func() error // asked just before it is sent; nil allows it
	done   chan error   // takes one answer

	sent      bool // guarded by the lane's mu
	withdrawn bool // likewise
	err       error
}

// do queues the wishes that aren't nil and waits for their answers. One whose caller gives up before it was sent is
// never sent; after that its real answer is waited for.
func (l *lane) do(ctx context.Context, ws []*wish) []error {
	errs := make([]error, len(ws))
	if ctx.Err() != nil {
		for i := range errs {
			errs[i] = context.Cause(ctx)
		}
		return errs
	}
	l.add(ctx, ws)
	for i, w := range ws {
		if w == nil {
			continue
		}
		select {
		case errs[i] = <-w.done:
		case <-ctx.Done():
			if l.withdraw(w) {
				errs[i] = context.Cause(ctx)
			} else {
				errs[i] = <-w.done
			}
		}
	}
	return errs
}

func (l *lane) add(ctx context.Context, ws []*wish) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range ws {
		if w != nil {
			w.done = make(chan error, 1)
			l.queue = append(l.queue, w)
			l.live++
		}
	}
	if l.live > 0 && !l.running {
		l.running = true
		go l.run(context.WithoutCancel(ctx))
	}
}

// withdraw takes a wish back; false where it was sent or answered.
func (l *lane) withdraw(w *wish) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.sent || len(w.done) > 0 {
		return false
	}
	w.withdrawn = true
	if l.live--; l.live == 0 && l.stop != nil {
		l.stop()
	}
	return true
}

// answer gives a wish its answer, unless it was withdrawn.
func (l *lane) answer(w *wish, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !w.withdrawn {
		l.live--
		w.done <- err
	}
}

// run takes turns until nobody waits any more.
func (l *lane) run(base context.Context) {
	for first := true; ; first = false {
		l.mu.Lock()
		if l.live == 0 {
			l.queue, l.stop, l.running = nil, nil, false
			l.mu.Unlock()
			return
		}
		ctx, stop := context.WithCancel(base)
		l.stop = stop
		l.mu.Unlock()
		if first {
			_ = transfer.Sleep(ctx, l.gather) // ends early only where nobody waits any more
		}
		if err := l.turn(ctx); err != nil {
			for _, w := range l.take(ctx, -1) {
				l.answer(w, err)
			}
		}
		stop()
	}
}

// turn waits for the lane and sends one group. Its error is of the wait.
func (l *lane) turn(ctx context.Context) error {
	if err := l.paced(ctx); err != nil {
		return err
	}
	held, leave, err := l.fleet.Turn(ctx, "icloud-write:"+l.name)
	if err != nil {
		return fmt.Errorf("wait for turn to delete: %w", err)
	}
	defer leave()
	l.mu.Lock()
	n, canary := trashMax, !l.trusted
	if canary {
		n = canaryMax
	}
	tripped := l.tripped
	l.mu.Unlock()
	if tripped != nil {
		return tripped
	}
	group := l.take(ctx, n)
	if len(group) == 0 {
		return nil
	}
	l.carryOut(held, group, canary)
	for _, w := range group {
		l.answer(w, w.err)
	}
	return nil
}

// take removes up to n wishes of one account from the queue, each item once; all of them with -1. None where the turn
// is over.
func (l *lane) take(ctx context.Context, n int) []*wish {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	var group, rest []*wish
	in := map[string]bool{}
	for _, w := range l.queue {
		switch {
		case w.withdrawn:
		case n < 0, len(group) < n && !in[w.ref.ID] && (len(group) == 0 || group[0].svc == w.svc):
			in[w.ref.ID] = true
			group = append(group, w)
		default:
			rest = append(rest, w)
		}
	}
	l.queue = rest
	return group
}

// paced waits as long as the account wants to be left alone, and keeps the beginnings of calls apart.
func (l *lane) paced(ctx context.Context) error {
	for {
		until, err := l.fleet.Resting(ctx, "icloud:"+l.name)
		if err != nil {
			until = time.Time{} // nobody knows of a rest; where the fleet is out of order the turn says so
		}
		l.mu.Lock()
		if next := l.last.Add(l.pace); next.After(until) {
			until = next
		}
		wait := time.Until(until)
		if wait <= 0 {
			l.last = time.Now()
		}
		l.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := transfer.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// exclusive runs do in the lane, for what changes the account otherwise.
func (l *lane) exclusive(ctx context.Context, do func(context.Context) error) error {
	held, leave, err := l.fleet.Turn(ctx, "icloud-write:"+l.name)
	if err != nil {
		return fmt.Errorf("wait for turn: %w", err)
	}
	defer leave()
	return do(held)
}

// carryOut moves a group to the trash and leaves each wish its result in err.
func (l *lane) carryOut(ctx context.Context, group []*wish, canary bool) {
	svc := group[0].svc
	group = locate(ctx, svc, group)
	if !canary || len(group) == 0 {
		l.send(ctx, svc, group)
		return
	}
	before, err := contents(ctx, svc, group)
	if err != nil {
		for _, w := range group {
			w.err = fmt.Errorf("look before the first deletion: %w", err)
		}
		return
	}
	l.send(ctx, svc, group)
	l.confirm(ctx, svc, group, before)
}

// send sends wishes until each has a result. Those whose answer was lost are looked at before they are sent again, and
// so are those of a call that was refused as a whole: then one by one, since a single item may be the reason.
func (l *lane) send(ctx context.Context, svc service, todo []*wish) {
	size := len(todo)
	for n := 1; len(todo) > 0; n++ {
		var unsure []*wish
		refused := false
		for group := range slices.Chunk(todo, size) {
			if n > 1 {
				_ = l.paced(ctx) // where that fails the next look at ctx says so
			}
			left, alone := l.sendOnce(ctx, svc, group)
			unsure = append(unsure, left...)
			refused = refused || alone
		}
		if refused {
			size = 1
		}
		if todo = settle(ctx, svc, unsure); n == sendsMax {
			return // what is still there keeps its error
		}
	}
}

// sendOnce sends those of a group that may be sent, in one call, and returns those that have no result by it. alone says
// that the server seems not to take several items in one call.
func (l *lane) sendOnce(ctx context.Context, svc service, group []*wish) (unsure []*wish, alone bool) {
	if group = l.ready(ctx, group); len(group) == 0 {
		return nil, false
	}
	refs := make([]Ref, len(group))
	for i, w := range group {
		refs[i] = w.ref
	}
	errs := svc.Trash(ctx, refs)
	mixed := oneByOne(errs)
	for i, w := range group {
		w.err = errUnsure
		if len(errs) == len(group) {
			w.err = errs[i]
		}
		switch {
		case refusedWhole(w.err):
			unsure, alone = append(unsure, w), true
		case errors.Is(w.err, errUnsure), mixed && unhandled(w.err):
			unsure = append(unsure, w)
		}
	}
	return unsure, alone || mixed
}

// ready asks once more whether each wish may be sent, and marks those that may: from here they can't be withdrawn.
func (l *lane) ready(ctx context.Context, group []*wish) []*wish {
	var allowed []*wish
	for _, w := range group {
		w.err = nil
		if w.held != nil {
			w.err = w.held()
		}
		if w.err == nil {
			allowed = append(allowed, w)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var ready []*wish
	for _, w := range allowed {
		switch {
		case ctx.Err() != nil:
			w.err = context.Cause(ctx)
		case !w.withdrawn:
			w.sent = true
			ready = append(ready, w)
		}
	}
	return ready
}
