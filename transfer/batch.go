package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rclone/rclone/fs/hash"
)

// Batch is what one worker handles as one task.
type Batch struct {
	Entries []Entry
	// Done is what the journal says is done so far; it has the length of Entries, or is empty for nothing.
	Done []Outcome
	// Dirs counts the files of the folders that the entries lie in, where the scan knows it. It only saves calls:
	// a folder of which the batch holds a good share is listed once instead of being asked for each file.
	Dirs []DirInfo
	// Omit says which entries this run leaves alone, as if they weren't of the batch; nil is none.
	Omit map[int]bool
	// AllowDelete is asked just before each deletion; false keeps the source file, with code max_delete. Nil allows all.
	AllowDelete func(ctx context.Context) bool
}

// DirInfo is how many files a folder held at the time of the scan, on both sides; -1 is unknown.
type DirInfo struct {
	Dir    string `json:"d"` // path below the root, "" for the root itself
	Source int    `json:"s"`
	Dest   int    `json:"t"`
}

// Report is what a batch has to say beside its outcomes.
type Report struct {
	NoQuota   int    // entries left pending since the Meter, the call gate or a limit of a remote's own refused
	Need      int64  // bytes that the smallest of those needs that the Meter refused; 0 where it refused none
	NoCalls   bool   // the call gate refused: nothing more was started, and whatever is pending counts as NoQuota
	Pending   int    // entries left pending for any cause (stop, quota, space, sign-in)
	Space     bool   // the destination is full: the job should wait
	SignIn    string // side ("source" or "destination") whose sign-in is refused; "" otherwise
	Throttled int    // attempts that a remote slowed down
	Retried   int    // attempts at a file that were made again
	// Limit is a limit that a remote itself sets and that is reached, for people; "" for none. LimitUntil is when it
	// begins anew. Where it is about all files, nothing more was started, and whatever is pending counts as NoQuota.
	Limit      string
	LimitUntil time.Time
}

// engine is what the batches of a pair share.
type engine struct {
	retry policy
	spool string // folder for files of unknown length. Defaults to the system's temporary folder.
	probe probe
	room  room
	long  atomic.Int64 // long files on their way

	syncPath func(string) error // nil writes to the disk

	silences [2]silence // of source and destination
}

// run is one call of RunBatch or DeleteProved.
type run struct {
	p     *Pair
	env   Env
	batch Batch
	src   *lookup
	dst   *lookup
	types []hash.Type // proof types of the destination
	retry policy

	recalls bool // it brings files back: Restore

	mu     sync.Mutex
	rep    Report
	closed []bool          // entries that need no more work in this run or a later one
	halt   bool            // start nothing new
	last   map[int]Outcome // recorded in this run

	allNoQuota bool // what keeps one entry from being done keeps all others

	onDisk sync.Map // folders that were written to the disk

	flights *flights
	waiting func() context.Context // of one call of each: what only waits hangs on it
	leave   func(cause error)      // ends what waits: with ErrStop, or errSilent
}

// RunBatch copies the entries of a batch that are not done, proves each copy and, where the policy is "verified" without
// a hold, deletes each proved file at the source. What becomes of an entry goes to env.Journal as it happens.
//
// It may be called again with the same batch after a crash at any point: it passes over what b.Done says is done. It
// returns when all that it began has ended. An error means that the batch could not go on: ErrFenced, the cause of a
// done ctx, or a failure of Journal, Meter or Slots; troubles of single files are outcomes, not errors.
func (p *Pair) RunBatch(ctx context.Context, b Batch, env Env) (Report, error) {
	r := newRun(p, b, env.withDefaults(), copyable)
	// Copies of one folder end one after the other and are looked at together; deletions alone begin together anyway.
	r.src.gathers, r.dst.gathers = r.src.traits.gathers, r.dst.traits.gathers
	return r.each(ctx, (*work).run)
}

// copyable tells whether an entry has work left for RunBatch.
func copyable(_ Entry, o Outcome) bool { return !o.Final() }

// each calls do for each entry of the batch that is open, as many at once as the slots allow.
func (r *run) each(ctx context.Context, do func(*work, context.Context) error) (Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r.src.run = func() context.Context { return ctx }
	r.dst.run = r.src.run
	mindful := r.mindStop(ctx)
	defer mindful()
	defer cancel(nil)
	var wg sync.WaitGroup
	if err := r.awaitKnown(); err != nil {
		return r.report(), context.Cause(ctx) // the entries stay pending
	}
	leave := r.ahead(ctx)
	for i, e := range r.batch.Entries {
		if r.closed[i] {
			continue
		}
		if r.halted() {
			break
		}
		if e.Verdict == Pending {
			r.src.listedBy(r.waiting(), e.SourcePath())
			r.dst.listedBy(r.waiting(), e.DestPath())
		}
		if err := r.env.Stopped(ctx); err != nil {
			if !errors.Is(err, ErrStop) {
				cancel(err)
			}
			break
		}
		release, err := r.env.Slots.Acquire(r.waiting())
		if err != nil {
			if ctx.Err() != nil || r.waiting().Err() == nil {
				cancel(err)
			}
			break
		}
		w := &work{r: r, i: i, e: e, done: r.doneAt(i), release: release}
		if w.done.Result == Pending {
			w.wasted, w.part, w.sent = w.done.Wasted, parsePart(w.done.Part), parseSent(w.done.Part)
		}
		wg.Go(func() {
			defer w.free(false)
			defer w.gone()
			defer func() { // a bug in a backend must not end the process and all its other work
				if p := recover(); p != nil {
					cancel(portErr("move "+w.e.Path, fmt.Errorf("a bug was hit: %v", p)))
				}
			}()
			if err := r.env.Begin(ctx, w.i); err != nil {
				cancel(portErr("begin "+w.e.Path, err))
				return
			}
			ctx, cut := context.WithCancelCause(ctx)
			defer cut(nil)
			defer r.flights.board(w.e.Path, cut)()
			if err := do(w, ctx); err != nil && !errors.Is(err, errCut) {
				cancel(err)
			}
		})
	}
	leave()
	wg.Wait()
	r.src.asking.Wait()
	r.dst.asking.Wait()
	return r.report(), context.Cause(ctx)
}

// ahead begins to list the folders of the entries on both sides; the returned function leaves the rest to the files.
func (r *run) ahead(ctx context.Context) (leave func()) {
	ctx, leave = context.WithCancel(ctx)
	for _, side := range []struct {
		l    *lookup
		path func(Entry) string
	}{{r.src, Entry.SourcePath}, {r.dst, Entry.DestPath}} {
		var paths []string
		for i, e := range r.batch.Entries {
			if !r.closed[i] && e.Verdict == Pending {
				paths = append(paths, side.path(e))
			}
		}
		side.l.asking.Go(func() { side.l.ahead(ctx, paths) })
	}
	return leave
}

func newRun(p *Pair, b Batch, env Env, open func(Entry, Outcome) bool) *run {
	r := &run{p: p, env: env, batch: b, types: proofTypes(p.Dest), retry: p.engine.retry.withDefaults(),
		closed: make([]bool, len(b.Entries)), last: map[int]Outcome{}}
	r.flights = &flights{Watcher: env.Watcher, files: map[*flight]bool{}}
	r.env.Watcher = r.flights
	src, dst := make([]string, 0, len(b.Entries)), make([]string, 0, len(b.Entries))
	for i, e := range b.Entries {
		if b.Omit[i] || !open(e, r.doneAt(i)) {
			r.closed[i] = true
		} else if e.Verdict == Pending {
			src, dst = append(src, e.SourcePath()), append(dst, e.DestPath())
		}
	}
	heldSrc, heldDst := map[string]int{}, map[string]int{}
	for _, d := range b.Dirs {
		heldSrc[d.Dir], heldDst[d.Dir] = d.Source, d.Dest
	}
	r.src, r.dst = newLookup(p.Source, p.sourceEye, src, heldSrc), newLookup(p.Dest, p.destEye, dst, heldDst)
	return r
}

// doneAt is what the journal says of entry i.
func (r *run) doneAt(i int) Outcome {
	if i < len(r.batch.Done) {
		return r.batch.Done[i]
	}
	return Outcome{}
}

// record stores an outcome durably. Whatever it returns ends the batch.
func (r *run) record(ctx context.Context, i int, o Outcome) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	before, again := r.last[i]
	r.mu.Unlock()
	if !again {
		before = r.doneAt(i)
	}
	o = o.stamped(before, time.Now().UTC())
	if err := r.env.Journal.Record(ctx, i, o); err != nil {
		return portErr("record outcome of "+r.batch.Entries[i].Path, err)
	}
	r.mu.Lock()
	r.last[i] = o
	r.mu.Unlock()
	if o.Final() {
		r.mu.Lock()
		r.closed[i] = true
		r.mu.Unlock()
	}
	return nil
}

// pend notes why an entry stays pending. Where nothing else of the batch can fare better, it ends the run. need is what
// the entry's last reservation asked for.
func (r *run) pend(ctx context.Context, c class, err error, need int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	side := sideOf(err)
	switch c {
	case classQuota:
		r.rep.NoQuota++
		var limit *LimitError
		switch {
		case errors.As(err, &limit):
			if !limit.Until.Before(r.rep.LimitUntil) {
				r.rep.Limit, r.rep.LimitUntil = nameIn(remoteName(r.p.of(side)))+": "+limit.Limit, limit.Until
			}
			r.allNoQuota = r.allNoQuota || !limit.File
		case side != "" && CallRefused(err):
			r.rep.NoCalls, r.allNoQuota = true, true
		case r.rep.Need == 0 || need < r.rep.Need:
			r.rep.Need = need
		}
		r.halt = r.halt || r.allNoQuota
	case classSpace:
		if !r.rep.Space {
			slog.WarnContext(ctx, "destination is full", "remote", remoteName(r.p.Dest))
		}
		r.rep.Space, r.halt = true, true
	case classSignIn:
		if r.rep.SignIn == "" {
			r.rep.SignIn = side
			slog.WarnContext(ctx, "sign-in refused", "side", side)
		}
		r.halt = true
	}
}

// again notes that a file is tried again, and whether that is since a remote slowed it down.
func (r *run) again(throttled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Retried++
	if throttled {
		r.rep.Throttled++
	}
}

func (r *run) halted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.halt
}

func (r *run) report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, closed := range r.closed {
		if !closed {
			r.rep.Pending++
		}
	}
	if r.allNoQuota {
		r.rep.NoQuota = r.rep.Pending
	}
	return r.rep
}

// withDefaults fills the ports that a caller may leave out. A journal is never left out: without one nothing is safe.
func (e Env) withDefaults() Env {
	if e.Meter == nil {
		e.Meter = freeMeter{}
	}
	if e.Slots == nil {
		e.Slots = openSlots{}
	}
	if e.Watcher == nil {
		e.Watcher = blindWatcher{}
	}
	if e.Pace == nil {
		e.Pace = func(_ context.Context, n int64) (int64, error) { return n, nil }
	}
	if e.Stopped == nil {
		e.Stopped = func(ctx context.Context) error { return context.Cause(ctx) }
	}
	if e.Begin == nil {
		e.Begin = func(context.Context, int) error { return nil }
	}
	if e.Held == nil {
		e.Held = func() error { return nil }
	}
	return e
}

// freeMeter, openSlots and blindWatcher are the ports of someone who counts nothing, limits nothing and looks at nothing.
type (
	freeMeter    struct{}
	freeGrant    struct{}
	openSlots    struct{}
	blindWatcher struct{}
)

func (freeMeter) Reserve(context.Context, int64) (Grant, error) { return freeGrant{}, nil }
func (freeGrant) Charge(context.Context, int64) error           { return nil }
func (freeGrant) Settle(context.Context, int64, int64) error    { return nil }
func (openSlots) Acquire(ctx context.Context) (func(throttled bool), error) {
	return func(bool) {}, context.Cause(ctx)
}
func (blindWatcher) Start(string, int64, int64) {}
func (blindWatcher) Read(string, int64)         {}
func (blindWatcher) Done(string)                {}
func (blindWatcher) Again(string, Again)        {}
