package transfer

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errCut ends a file that can't end in time after a stop: it stays pending, for whoever takes the batch over.
var errCut = errors.New("the file can't end before the worker does")

const (
	cutEvery   = 100 * time.Millisecond
	cutMeasure = 500 * time.Millisecond // a file that has been read for less tells nothing of its speed yet
	cutTail    = time.Second            // what the end of an upload and its proof take
	stallAfter = 12 * time.Second       // nothing has moved for so long: perhaps a remote doesn't answer
	leaveTime  = 5 * time.Second        // bounds the removal of an upload that is left unfinished
)

// canEnd tells whether a file, of which n bytes were read in the time took, may end in the time left. One of unknown size
// (negative) may, as far as anybody knows.
func canEnd(size, n int64, took, left time.Duration) bool {
	switch {
	case size < 0, n >= size, took < cutMeasure:
		return true
	case n <= 0:
		return false
	}
	rest := float64(took) * float64(size-n) / float64(n)
	return rest+float64(cutTail) <= float64(left)
}

// flights follows the files that a run has begun, so that a stop can tell those that may still end from the others. It
// passes on what it is told.
type flights struct {
	Watcher
	mu    sync.Mutex
	files map[*flight]bool
	moved time.Time // when anything of any file was last heard of
}

type flight struct {
	path    string // a batch may hold two spellings of one path
	cut     context.CancelCauseFunc
	began   time.Time // of the present reading
	size, n int64     // of what is left to be read, as it began
	reading bool
}

// board follows a file until leave is called; cut ends its work.
func (f *flights) board(path string, cut context.CancelCauseFunc) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mine := &flight{path: path, cut: cut}
	f.moved = time.Now()
	f.files[mine] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.files, mine)
	}
}

// Start implements Watcher.
func (f *flights) Start(path string, size, from int64) {
	f.Watcher.Start(path, size, from)
	rest := size
	if size >= 0 {
		rest = size - from
	}
	f.note(path, func(l *flight) { l.began, l.size, l.n, l.reading = time.Now(), rest, 0, true })
}

// Read implements Watcher.
func (f *flights) Read(path string, n int64) {
	f.Watcher.Read(path, n)
	f.note(path, func(l *flight) { l.n += n })
}

// Done implements Watcher.
func (f *flights) Done(path string) {
	f.Watcher.Done(path)
	f.note(path, func(l *flight) { l.reading = false })
}

func (f *flights) note(path string, what func(*flight)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moved = time.Now()
	for l := range f.files {
		if l.path == path {
			what(l)
		}
	}
}

// stalled is for how long nothing was heard of the files that are on their way; 0 where there are none.
func (f *flights) stalled(now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.files) == 0 {
		return 0
	}
	return now.Sub(f.moved)
}

// cut ends the files that can't end in the time left. A file that is being proved or deleted isn't touched, unless no time is
// left at all: that is as if the process had been killed, and the next one finds out how far it came.
func (f *flights) cut(now time.Time, left time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.files {
		if left <= 0 || l.reading && !canEnd(l.size, l.n, now.Sub(l.began), left) {
			l.cut(errCut)
		}
	}
}

// mindStop lets what waits end as soon as the job is stopped, and hands back the files that can't end in the grace. The
// returned function ends that.
func (r *run) mindStop(ctx context.Context) (end func()) {
	waiting, leave := context.WithCancelCause(ctx)
	r.waiting, r.leave = func() context.Context { return waiting }, leave
	var minding sync.WaitGroup
	minding.Go(func() {
		select {
		case <-r.env.Stopping:
		case <-ctx.Done():
			return
		}
		leave(ErrStop)
		if r.env.Grace == nil {
			return
		}
		tick := time.NewTicker(cutEvery)
		defer tick.Stop()
		for till := (time.Time{}); ; {
			if grace := r.env.Grace(); till.IsZero() && grace > 0 { // what was drained first may be stopped much later
				till = time.Now().Add(grace)
			}
			if !till.IsZero() {
				left := time.Until(till)
				if len(r.p.Outages()) > 0 {
					left = 0 // nothing can end before they are over
				}
				r.flights.cut(time.Now(), left)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	minding.Go(func() { r.mindStall(ctx) })
	return minding.Wait
}

// mindStall asks both sides whether they answer where nothing has moved for a while. Some backends try for minutes before
// they tell of an outage; what the job waits for is known, and told, before that. It asks ever more seldom: a bandwidth
// may be the cause as well.
func (r *run) mindStall(ctx context.Context) {
	tick := time.NewTicker(stallAfter / 3)
	defer tick.Stop()
	for next := stallAfter; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		still := r.flights.stalled(time.Now())
		if still < stallAfter {
			next = stallAfter
		}
		if still < next {
			continue
		}
		next *= 2
		var both sync.WaitGroup
		for _, side := range []string{SideSource, SideDest} {
			both.Go(func() { _, _ = r.p.await(r.waiting(), side, time.Now(), stallAfter/2) }) // what it finds out is kept
		}
		both.Wait()
	}
}

// leaves tells whether an error of a wait means that the entry stays pending, since the run is to end, and tidies up.
func (w *work) leaves(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !errors.Is(err, ErrStop) && !errors.Is(err, errSilent) {
		return false
	}
	if _, silent := w.r.p.engine.silence(SideDest).now(); silent {
		return true // nothing can be tidied up there
	}
	tidy, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	w.cleanUp(tidy)
	return true
}

// tidyCut removes what the upload of a file that was handed back at a stop has left in place: whoever goes on would take it
// for somebody else's.
func (w *work) tidyCut(ctx context.Context) {
	if _, silent := w.r.p.engine.silence(SideDest).now(); silent || !errors.Is(context.Cause(ctx), errCut) {
		return
	}
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	w.cleanUp(tidy)
}

// waitOut waits until the side answers that an attempt, begun at a time, has failed at. It holds no slot meanwhile. was
// tells that the side didn't answer for a time: then nothing is wrong with the file.
func (w *work) waitOut(ctx context.Context, n int, began time.Time, cause error) (was bool, err error) {
	if sideOf(cause) == "" || !Unreachable(ctx, cause) {
		return false, nil
	}
	w.free(isThrottled(cause, causeText(cause)))
	fresh := askFresh
	if n >= w.r.retry.limit(ctx, cause) {
		fresh = 0
	}
	if was, err = w.r.await(sideOf(cause), began, fresh); err != nil {
		return was, err
	}
	release, err := w.r.env.Slots.Acquire(ctx)
	if err != nil {
		return was, err
	}
	w.release = release
	return was, nil
}

// await waits for a side for one turn. Where it hasn't answered by then, the run ends as soon as it can.
func (r *run) await(side string, from time.Time, fresh time.Duration) (was bool, err error) {
	turn, cancel := context.WithTimeoutCause(r.waiting(), outageTurn, errSilent)
	defer cancel()
	was, err = r.p.await(turn, side, from, fresh)
	if errors.Is(err, errSilent) {
		r.leave(errSilent)
	}
	return was, err
}

// awaitKnown waits for the sides that are known not to answer: nothing needs to fail once more to find that out.
func (r *run) awaitKnown() error {
	for _, side := range []string{SideSource, SideDest} {
		if _, silent := r.p.engine.silence(side).now(); !silent {
			continue
		}
		if _, err := r.await(side, time.Now(), 0); err != nil {
			return err
		}
	}
	return nil
}
