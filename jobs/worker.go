package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// WorkerOptions of one worker process.
type WorkerOptions struct {
	Job       string        // work on this job alone (`offload run`); "" is all
	Batches   int           // batches at once. Defaults to 16.
	Transfers int           // files at once for a job that doesn't say; 0 adapts.
	Grace     time.Duration // how long files that have begun may go on after a stop. Defaults to 8 s.
}

// worker is one process's part in the pool.
type worker struct {
	s        *Service
	opt      WorkerOptions
	name     string
	log      *slog.Logger
	pairs    *pairs
	permits  *permits
	hands    hands
	crowd    crowd
	room     *redis.Script                 // lua/fleet/room.lua
	over     atomic.Pointer[chan struct{}] // of the present shift
	drains   chan bool                     // whether this worker is to take nothing new, as last heard
	stopping chan struct{}                 // closed when nothing new may begin
	failures failures                      // of a job in a row
	absences absences                      // the same, of remotes that don't answer
	gate     gate                          // between the files of all batches
	pardons  pardons                       // units that were lost while this process lived on
	places   reindexer                     // what this worker looks over while it leads
	leads    atomic.Bool                   // it looks after the pool's jobs
	presence                               // of the store
}

// RunWorker works until soft is done, then finishes or hands back what has begun and returns when all of it has
// ended. When hard is done it abandons everything at once; nothing is lost by that.
// With a Job set it also returns, with nil, when that job has ended, waits or is paused.
func (s *Service) RunWorker(soft, hard context.Context, o WorkerOptions) error {
	if o.Batches <= 0 {
		o.Batches = 16
	}
	if o.Grace <= 0 {
		o.Grace = 8 * time.Second
	}
	w := &worker{s: s, opt: o, name: s.self, log: s.log, permits: s.newPermits(s.self), room: newRoom(), drains: make(chan bool, 1),
		stopping: make(chan struct{}), places: reindexer{s: s}}
	w.pairs = newPairs(s, o.Transfers)
	queues := poolQueues(s.scripts.version)
	if o.Job != "" {
		if err := s.adopt(soft, o.Job, foregroundQueue(o.Job), w.name); err != nil {
			return err
		}
		queues = map[string]int{foregroundQueue(o.Job): 1}
	}
	// Work hangs on hard alone: a soft stop lets files that have begun end.
	work, abandon := context.WithCancelCause(context.WithoutCancel(hard))
	defer abandon(nil)
	defer context.AfterFunc(hard, func() { abandon(transfer.ErrStop) })()
	var rest sync.WaitGroup
	upkeep, endUpkeep := context.WithCancel(work)
	rest.Go(func() { w.permits.run(upkeep) })
	rest.Go(func() { w.maintain(upkeep) })
	rest.Go(func() { s.totals.run(upkeep, func(err error) { w.warn("count what was done", "error", err) }) })
	if o.Job == "" {
		rest.Go(func() { w.register(upkeep, time.Now()) })
		rest.Go(func() { w.share(upkeep) })
		rest.Go(func() { w.owedManifests(upkeep) })
	}
	watching, endWatch := context.WithCancel(context.WithoutCancel(hard))
	defer endWatch()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		w.attend(watching, soft, hard)
	}()
	err := w.shifts(soft, hard, work, queues)
	endUpkeep()
	rest.Wait()
	w.pairs.close(context.WithoutCancel(hard))
	err = errors.Join(err, w.leave(context.WithoutCancel(hard)))
	endWatch()
	<-watched
	if w.given.Load() {
		return nil // said already
	}
	return err
}

// untilEnded waits for the end of the one job that this worker is for, or for the stop.
func (w *worker) untilEnded(soft, hard context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		j, err := w.s.Get(soft, w.opt.Job)
		if errors.Is(err, ErrNotFound) || (err == nil && !j.State.Runs()) {
			return
		}
		if err != nil && soft.Err() == nil && hard.Err() == nil {
			w.log.Warn("read the job's state", "job", w.opt.Job, "error", err)
		}
		select {
		case <-soft.Done():
			return
		case <-hard.Done():
			return
		case <-tick.C:
		}
	}
}

// leave takes this process off the books, so that nobody waits for it.
func (w *worker) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	w.pardon(ctx)
	if err := w.s.totals.flush(ctx); err != nil {
		w.log.Warn("what was done last isn't counted in the totals", "error", err)
	}
	if w.opt.Job == "" {
		return w.signOff(ctx)
	}
	if _, err := w.s.Get(ctx, w.opt.Job); errors.Is(err, ErrNotFound) {
		return nil // removed meanwhile: leave no trace of it
	}
	// The job is left to whoever comes: this process again, or the pool. Its own queue is of no more use.
	if err := w.s.client.HSet(ctx, keysOf(w.opt.Job).job(), "owner_until", 0).Err(); err != nil {
		return fmt.Errorf("leave job %s: %w", w.opt.Job, err)
	}
	in := asynq.NewInspector(w.s.cfg.Store)
	defer in.Close()
	if err := in.DeleteQueue(foregroundQueue(w.opt.Job), true); err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
		w.log.Debug("remove the job's own queue", "job", w.opt.Job, "error", err)
	}
	return nil
}

// handle does one task. It returns an error only where the task should be tried again as it is.
func (w *worker) handle(ctx context.Context, t *asynq.Task) error {
	var p payload
	if err := json.Unmarshal(t.Payload(), &p); err != nil {
		return fmt.Errorf("read task: %w: %w", err, asynq.RevokeTask)
	}
	if p.Version > payloadVersion {
		return fmt.Errorf("task of job %s has version %d: this worker is too old for it", p.Job, p.Version)
	}
	queue, _ := asynq.GetQueueName(ctx)
	return w.serve(ctx, queue, p)
}

// serve does the unit that a task of the queue is good for, if there is one.
func (w *worker) serve(ctx context.Context, queue string, p payload) error {
	if err := w.yield(ctx, queue); err != nil {
		return err
	}
	h, got, asked, err := w.claim(ctx, queue, p)
	if err != nil || h.fence == "" {
		return err
	}
	w.s.look(ctx, h.job, lookRunning) // should this process die, somebody notices soon
	u := w.newUnit(h, asked)
	u.turn = got
	if over := w.over.Load(); over != nil {
		u.over = *over
	}
	defer w.hands.take(u)()
	ctx, cancel := context.WithCancelCause(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { u.keep(ctx, cancel) })
	beats.Go(func() { w.refill(context.WithoutCancel(ctx), queue) }) // a thousand calls at times: the unit doesn't wait for them
	defer beats.Wait()
	defer cancel(nil)
	err = w.do(ctx, u)
	fenced := errors.Is(err, transfer.ErrFenced) || errors.Is(context.Cause(ctx), transfer.ErrFenced)
	if fenced {
		w.log.Warn("lost a unit to another worker, or what it had set aside", "job", h.job, "unit", h.unit)
		err = transfer.ErrStop // where it still is ours, it is handed back: nobody has to wait for the end of its lease
	}
	if err != nil {
		err = w.failed(ctx, u, err)
	} else {
		w.failures.clear(h.job)
		w.absences.clear(h.job)
	}
	if fenced || err != nil {
		w.pardons.add(h)
	}
	after, done := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer done()
	if e := w.s.ring.count(after, &u.turn, u.cost(asked)); e != nil {
		w.warn("count a turn", "job", h.job, "error", e)
	}
	if e := w.s.audit(after, h.job); e != nil {
		w.warn("go on with the job", "job", h.job, "error", e)
	}
	return err
}

// refill sends the tickets that are owed to a lane. Maintenance does so too.
func (w *worker) refill(ctx context.Context, queue string) {
	if !isLane(queue) {
		return
	}
	if err := w.s.refill(ctx, queue); err != nil {
		w.warn("send tickets", "queue", queue, "error", err)
	}
}

func (w *worker) do(ctx context.Context, u *unit) (err error) {
	defer func() {
		if p := recover(); p != nil { // a backend's bug must not end the process and all its other work
			w.log.Error("panic in a unit of work", "job", u.job, "unit", u.unit, "panic", p)
			err = fmt.Errorf("a bug was hit: %v", p)
		}
	}()
	if err := u.hopeless(); err != nil {
		return err
	}
	n, isBatch := batchNumber(u.unit)
	switch {
	case u.unit == unitScan:
		waiting, waited := u.whileRunning(ctx)
		err := w.gate.enter(waiting)
		waited()
		if err != nil {
			return err
		}
		defer w.gate.leave()
		return w.scan(ctx, u)
	case u.unit == unitFinish:
		return w.finish(ctx, u)
	case isBatch:
		return w.batch(ctx, u, n)
	}
	return fmt.Errorf("unit %q isn't known here", u.unit)
}

// unit is one unit of work in this worker's hands.
type unit struct {
	hold
	turn    turn // that it was claimed in
	w       *worker
	watch   *watcher
	stopped atomic.Bool     // the job was paused, canceled or waits, or the worker stops
	over    <-chan struct{} // closed when the worker is drained
	halt    chan struct{}   // closed when nothing new may begin: stopped, or over
	halted  sync.Once
	expires atomic.Pointer[time.Time] // when the work must have stopped unless the lease is renewed
	spared  atomic.Bool               // another worker is to go on with it after the files that have begun
	rank    int64                     // of its files among those of the job that wait for slots of this worker
	served  bool                      // the batch was granted what the job had claimed for it
}

// newUnit is a unit that this worker claimed by a call that began at the given time.
func (w *worker) newUnit(h hold, asked time.Time) *unit {
	u := &unit{hold: h, w: w, watch: newWatcher(time.Now()), halt: make(chan struct{})}
	u.renewed(asked)
	return u
}

// held tells whether the unit is surely still this worker's. It looks at the clocks alone, which go on while a process is
// frozen: the monotonic one, which nobody can set, and that of the wall, which goes on while a machine sleeps.
func (u *unit) held() error {
	now, till := time.Now(), *u.expires.Load()
	if now.Before(till) && now.Round(0).Before(till.Round(0)) {
		return nil
	}
	return fmt.Errorf("the lease of %s has run out: %w", u.unit, transfer.ErrFenced)
}

// renewed notes that the lease was taken or renewed by a call that began at the given time.
func (u *unit) renewed(asked time.Time) {
	till := asked.Add(leaseTime - leaseMargin)
	u.expires.Store(&till)
}

// formerOwners are those of earlier claims of the unit, the last few of them.
func (u *unit) formerOwners() []string {
	all := []string{}
	for _, fence := range u.former {
		all = append(all, u.owner(fence))
	}
	if len(all) > 0 {
		return all
	}
	// None is known, but a version before this one may have claimed it, whose fences were numbers alone. The first task is
	// sent with number 1 and claimed with 2.
	for n := max(2, u.attempt()-8); n < u.attempt(); n++ {
		all = append(all, u.owner(strconv.FormatInt(n, 10)))
	}
	return all
}

// owner names a claim of the unit in what it leaves at the destination.
func (u *unit) owner(fence string) string { return fmt.Sprintf("%s:%s:%s", u.job, u.unit, fence) }

// keep renews the lease until ctx is done. It cancels the work when the lease is lost or can't be renewed in time, at
// once when the job is canceled, and after the grace when it is paused or the worker stops.
func (u *unit) keep(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	stopping, over := u.w.stopping, u.over
	var grace <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-grace:
			cancel(transfer.ErrStop)
			return
		case <-over: // what has begun may end, however long that takes
			over = nil
			u.end()
		case <-stopping:
			stopping = nil
			u.stop()
		case <-tick.C:
			live, err := u.watch.report(time.Now())
			if err != nil {
				u.w.log.Warn("report progress", "job", u.job, "error", err)
			}
			asked := time.Now()
			call, done := context.WithDeadline(ctx, *u.expires.Load())
			state, err := u.w.s.scripts.renew(call, u.hold, leaseTime, live)
			done()
			switch {
			case err == nil:
				u.renewed(asked)
				u.saw(state)
			case errors.Is(err, transfer.ErrFenced):
				cancel(transfer.ErrFenced)
				return
			case u.held() != nil:
				u.w.warn("lease ran out, the store didn't answer", "job", u.job, "unit", u.unit, "error", err)
				cancel(transfer.ErrFenced)
				return
			}
			if state == Canceled {
				cancel(transfer.ErrStop)
				return
			}
		}
		if u.stopped.Load() && grace == nil {
			t := time.NewTimer(u.w.opt.Grace)
			defer t.Stop()
			grace = t.C
		}
	}
}

// saw is told of the job's state with each answer of the store.
func (u *unit) saw(state State) {
	if !state.Runs() {
		u.stop()
	}
}

// stop lets nothing new begin, and ends what has begun after the grace.
func (u *unit) stop() {
	u.stopped.Store(true)
	u.end()
}

// grace is how long files that have begun may go on after halt was closed; 0, when the worker is drained, is for ever.
func (u *unit) grace() time.Duration {
	if !u.stopped.Load() {
		return 0
	}
	return u.w.opt.Grace
}

// end lets nothing new begin, and ends what only waits.
func (u *unit) end() { u.halted.Do(func() { close(u.halt) }) }

// check is asked before each entry. While the store is silent it waits: what began then would be done once more by another
// worker, should the silence last longer than the lease.
func (u *unit) check(ctx context.Context) error {
	for {
		if err := u.ended(ctx); err != nil {
			return err
		}
		if heard := u.expires.Load().Add(leaseMargin - leaseTime); time.Since(heard) < quietAfter {
			return nil
		}
		if err := transfer.Sleep(ctx, quietPoll); err != nil {
			return err
		}
	}
}

// ended says why nothing new may begin; nil where it may.
func (u *unit) ended(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	select {
	case <-u.halt:
		return transfer.ErrStop
	default:
		return nil
	}
}

// failures counts, by job, how often in a row this worker couldn't do a unit at all.
type failures struct {
	mu sync.Mutex
	of map[string]int
}

func (f *failures) add(job string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[string]int{}
	}
	f.of[job]++
	return f.of[job]
}

func (f *failures) clear(job string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, job)
}

// maxFailures in a row make a job fail. With the waits between them that is about five minutes.
const maxFailures = 10

// failed deals with a unit that couldn't be done: it is handed back after a wait, or the job fails when that has
// happened too often in a row or can't get better.
func (w *worker) failed(ctx context.Context, u *unit, cause error) error {
	var waits *waitError
	if back, ok := w.outOfQuota(ctx, u, cause); ok { // quota never makes a job fail
		cause = &waitError{back}
	}
	var gone *absentError
	stopped := errors.As(cause, &waits) || errors.Is(cause, transfer.ErrStop) || u.ended(ctx) != nil
	n := 0
	switch {
	case stopped:
	case errors.As(cause, &gone):
		w.waitAbsent(ctx, u, gone)
	default:
		n = w.failures.add(u.job)
		w.log.Warn("a unit of work failed", "job", u.job, "unit", u.unit, "failures", n, "error", cause)
	}
	clean, done := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer done()
	if waits != nil {
		_, err := w.s.scripts.giveback(clean, u.hold, waits.back)
		return err
	}
	var final *finalError
	if errors.As(cause, &final) || n >= maxFailures && !errors.Is(cause, errNewer) {
		_, err := w.s.scripts.transition(clean, u.job, from(FailedState), string(FailedState), w.name, transfer.WithoutQueries(cause.Error()), u.hold)
		if err == nil || !errors.Is(err, ErrState) {
			return err
		}
	}
	if n > 0 {
		u.rest(ctx, min(time.Second<<min(n-1, 6), time.Minute))
		clean, done = context.WithTimeout(context.WithoutCancel(ctx), storeWait)
		defer done()
	}
	_, err := w.s.scripts.giveback(clean, u.hold, giveBack{})
	if errors.Is(err, transfer.ErrFenced) {
		return nil
	}
	return err
}

// finalError is a failure that trying again can't mend.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// asynqLog gives asynq's messages to our log: while the store is away to those who look closely alone.
type asynqLog struct {
	log  *slog.Logger
	away *atomic.Bool
}

func (l asynqLog) say(level slog.Level, args []any) {
	if l.away.Load() {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "queue: "+fmt.Sprint(args...))
}

func (l asynqLog) Debug(args ...any) { l.say(slog.LevelDebug, args) }
func (l asynqLog) Info(args ...any)  { l.say(slog.LevelInfo, args) }
func (l asynqLog) Warn(args ...any)  { l.say(slog.LevelWarn, args) }
func (l asynqLog) Error(args ...any) { l.say(slog.LevelError, args) }

// Fatal is an error too: only main ends the process.
func (l asynqLog) Fatal(args ...any) { l.say(slog.LevelError, args) }
