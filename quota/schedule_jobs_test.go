package quota

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// playedFile is a file at the played source.
type playedFile struct {
	size  int64 // bytes that the source hands out
	known int64 // bytes that whoever lists it knows of: less where its size is unknown until it was read
	large bool  // it is the one that the small ones of its schedule may not starve
	done  bool

	refused int // of a large one: number of the period that refused it first
}

// playedBatch is what one worker works on at a time, as in package jobs.
type playedBatch struct {
	id       string // "JOB:BATCH"
	subjects []*subject
	calls    *subject // nil where calls aren't limited
	files    []*playedFile
	attempt  int

	parked bool
	done   bool
	need   int64     // smallest file that was refused
	until  time.Time // end of the period that it waits for; zero where no period carries it
	claims map[string]Claim
	since  map[string]time.Time // by subject: start of the period in which it was first refused there
}

// all returns the subjects of a batch, that of calls last.
func (b *playedBatch) all() []*subject {
	if b.calls == nil {
		return b.subjects
	}
	return append(slices.Clip(b.subjects), b.calls)
}

// pending returns the files that aren't moved yet.
func (b *playedBatch) pending() []*playedFile {
	return slices.DeleteFunc(slices.Clone(b.files), func(f *playedFile) bool { return f.done })
}

// attempt is one worker's work on a batch.
type attempt struct {
	a     *actor
	b     *playedBatch
	bytes []*ref
	calls *ref
}

var (
	errRead = errors.New("the source broke off")
	errHurt = errors.New("the played worker miscounts")
)

// work takes batches and does them until the schedule is over; when its process dies another one takes its place.
func work(a *actor) {
	w := a.w
	for a.await(func() bool { return len(w.queue) > 0 }) {
		if a.dead || a.ledger == nil {
			a.born()
		}
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.mu.Unlock()
			continue
		}
		i := a.rnd.IntN(len(w.queue))
		b := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		w.running++
		b.attempt++
		w.mu.Unlock()
		at := &attempt{a: a, b: b}
		at.run()
		w.mu.Lock()
		w.running--
		if !b.done && !b.parked {
			w.queue = append(w.queue, b)
		}
		w.changed()
		w.mu.Unlock()
	}
}

func (at *attempt) open(s *subject) *ref {
	a, b := at.a, at.b
	r := &ref{s: s, p: a.ledger.Pool(s.name, b.id+":"+strconv.Itoa(b.attempt))}
	r.p.Claimant(b.id)
	a.w.mu.Lock()
	a.w.refs = append(a.w.refs, r)
	a.w.mu.Unlock()
	return r
}

// run does what can be done of the batch, as package jobs does.
func (at *attempt) run() {
	a, b, w := at.a, at.b, at.a.w
	if b.attempt > 1 && a.rnd.IntN(2) == 0 {
		for _, s := range b.all() {
			_ = a.ledger.Abandon(w.ctx, s.name, b.id+":")
		}
	}
	var ahead int64
	for _, f := range b.pending() {
		ahead += f.known
	}
	for _, s := range b.subjects {
		r := at.open(s)
		if a.rnd.IntN(2) == 0 {
			r.p.Prefer(ahead)
		}
		at.bytes = append(at.bytes, r)
	}
	if b.calls != nil {
		at.calls = at.open(b.calls)
	}
	need, whole := at.files()
	for _, r := range at.refs() {
		if !a.mayDie("before it closes") {
			_ = at.ask(r, func() error { return r.p.Close(w.ctx) })
		}
		w.ended(r)
	}
	if a.dead {
		return
	}
	if len(b.pending()) == 0 {
		at.finish()
		return
	}
	if whole {
		at.park(need)
	}
}

func (at *attempt) refs() []*ref {
	if at.calls == nil {
		return at.bytes
	}
	return append(slices.Clip(at.bytes), at.calls)
}

// files moves what it can. It returns the smallest file that was refused, and whether that is all that is left.
func (at *attempt) files() (need int64, whole bool) {
	a, files := at.a, at.b.pending()
	need = math.MaxInt64
	if a.rnd.IntN(2) == 0 {
		a.rnd.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	}
	refused := 0
	for _, f := range files {
		if a.rnd.IntN(6) == 0 {
			for _, r := range at.refs() {
				_ = at.ask(r, func() error { return r.p.Renew(a.w.ctx) })
			}
		}
		before := f.known
		err := at.file(f)
		if a.dead {
			return 0, false
		}
		a.w.note("%s: %s file of %d (%d known): %v", a.name, at.b.id, f.size, before, err)
		if errors.Is(err, ErrNoQuota) {
			a.w.refusedFile(f)
			refused++
			need = min(need, f.known)
		}
	}
	return need, refused > 0 && refused == len(at.b.pending())
}

// file moves one file.
func (at *attempt) file(f *playedFile) error {
	if err := at.call(); err != nil {
		return err
	}
	grants, err := at.reserve(f.known)
	if err != nil {
		return err
	}
	used, wasted, err := at.read(f, grants)
	if at.a.mayDie("before it settles") {
		return errGone
	}
	if err != nil {
		wasted = used
	}
	for i, g := range grants {
		if e := at.ask(at.bytes[i], func() error { return g.Settle(at.a.w.ctx, used, wasted) }); e != nil && !at.a.dead {
			at.a.w.fail(fmt.Errorf("%w: %w", errHurt, e))
		}
	}
	f.done = f.done || err == nil
	return err
}

// reserve sets bytes aside in all subjects, or in none.
func (at *attempt) reserve(size int64) ([]*Grant, error) {
	var grants []*Grant
	for _, r := range at.bytes {
		var g *Grant
		err := at.ask(r, func() (err error) { g, err = r.p.Reserve(at.a.w.ctx, size); return err })
		if err != nil {
			for i, g := range grants {
				_ = at.ask(at.bytes[i], func() error { return g.Settle(at.a.w.ctx, 0, 0) })
			}
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// read reads the file in parts, each charged before; it may break off and begin again under the same reservation.
func (at *attempt) read(f *playedFile, grants []*Grant) (used, wasted int64, err error) {
	a := at.a
	again := a.w.isRough() && a.rnd.IntN(12) == 0
	for done := int64(0); done < f.size; {
		n := min(f.size-done, 100+a.rnd.Int64N(1500))
		if a.mayDie("before it charges") {
			return used, wasted, errGone
		}
		f.known = max(f.known, done+n)
		for i, g := range grants {
			if err := at.charge(at.bytes[i], g, n); err != nil {
				for _, r := range at.bytes[:i] {
					r.booked = 0 // what is given back may be of several periods
				}
				return used, wasted, err
			}
		}
		if a.mayDie("before it reads") {
			return used, wasted, errGone
		}
		a.w.note("%s: %s reads %d", a.name, at.b.id, n)
		for _, r := range at.bytes {
			at.give(r, n)
		}
		a.w.part()
		used += n
		done += n
		switch {
		case again && done > f.size/2: // the source broke off: once more from the beginning
			again, wasted, done = false, used, 0
			a.w.hit(func(h *hits) { h.rereads++ })
		case a.w.isRough() && a.rnd.IntN(60) == 0:
			return used, wasted, errRead
		}
	}
	return used, wasted, nil
}

// charge books n bytes.
func (at *attempt) charge(r *ref, g *Grant, n int64) error {
	a := at.a
	r.old, r.oldBooked = min(n, r.p.ahead), r.booked
	answered, failed := a.answered, a.failed
	err := at.ask(r, func() error { return g.Charge(a.w.ctx, n) })
	if a.answered > answered {
		r.booked = a.starts[r.s.name]
	}
	if a.failed > failed || err != nil {
		r.booked = 0 // bytes may have been booked without our knowledge: it can't be told any more when
	}
	return err
}

// give counts n bytes as handed out by the source, and in which period they were booked where that can be told.
func (at *attempt) give(r *ref, n int64) {
	w := at.a.w
	w.auditing.Lock()
	defer w.auditing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.s.handed.Add(n)
	r.handed += n
	if r.stale { // they were booked before, and may be forgotten
		r.unheard += n
	}
	if w.free {
		return
	}
	if r.oldBooked != 0 {
		r.s.in[r.oldBooked] += r.old
	}
	if r.booked != 0 {
		r.s.in[r.booked] += n - r.old
	}
}

// call makes one request to the remote, where those are counted.
func (at *attempt) call() error {
	r := at.calls
	if r == nil {
		return nil
	}
	var g *Grant
	if err := at.ask(r, func() (err error) { g, err = r.p.Reserve(at.a.w.ctx, 1); return err }); err != nil {
		return err
	}
	var used int64
	err := at.charge(r, g, 1)
	if err == nil && !at.a.mayDie("before it calls") {
		used = 1
		at.give(r, 1)
	}
	if e := at.ask(r, func() error { return g.Settle(at.a.w.ctx, used, 0) }); err == nil && at.a.dead {
		err = e
	}
	return err
}

// ask calls a method of a pool and notes whether Redis has heard of it since.
func (at *attempt) ask(r *ref, do func() error) error {
	a := at.a
	answered, failed := a.answered, a.failed
	err := do()
	switch {
	case err == nil, errors.Is(err, ErrLost), errors.Is(err, ErrNoQuota):
		if a.answered > answered && a.failed == failed && !a.dead {
			a.w.heard(r)
		}
	case a.dead, errors.Is(err, errLink), errors.Is(err, errHurt), a.w.free:
	default:
		a.w.fail(fmt.Errorf("%s: pool of %s: unexpected: %w", a.name, r.s.name, err))
	}
	if errors.Is(err, ErrLost) {
		a.w.hit(func(h *hits) { h.lost++ })
	}
	return err
}

// finish drops what the batch claimed.
func (at *attempt) finish() {
	for name := range at.b.since {
		_ = at.a.ledger.Unclaim(at.a.w.ctx, name, at.b.id)
	}
	at.a.w.mu.Lock()
	defer at.a.w.mu.Unlock()
	at.b.done, at.b.claims = true, nil
}

// park makes the batch wait: by the rule of package jobs, for the end of the latest period that refuses its smallest
// file; and claims its largest one where that was refused.
func (at *attempt) park(need int64) {
	a, b, w := at.a, at.b, at.a.w
	var until time.Time
	never, full := false, false
	claims := map[string]Claim{}
	var all []Status
	carried := int64(math.MaxInt64) // the largest file that a period of each subject carries
	for _, s := range b.all() {
		st, err := a.ledger.StatusFor(w.ctx, s.name, b.id)
		if err != nil {
			return // it is tried again
		}
		all = append(all, st)
		if s != b.calls && st.Limit != Unlimited {
			carried = min(carried, st.Limit)
		}
	}
	for i, s := range b.all() {
		st := all[i]
		if st.Available == Unlimited {
			continue
		}
		size := b.needs(s, need)
		if size > st.Available {
			full = true
			never = never || size > st.Limit
			if st.Period.End.After(until) {
				until = st.Period.End
			}
		}
		// A file that some subject can never carry claims nothing anywhere: it would keep others back for ever.
		if most := b.largest(s, min(st.Limit, carried)); most > st.Available {
			if b.since[s.name].IsZero() {
				b.since[s.name] = st.Period.Start
			}
			c := Claim{ID: b.id, Need: most, Since: slices.MinFunc(slices.Collect(maps.Values(b.since)), time.Time.Compare)} // one age in all subjects
			if a.ledger.Claim(w.ctx, s.name, c) == nil {
				claims[s.name] = c
			}
		}
	}
	for name := range b.claims {
		if _, still := claims[name]; !still {
			_ = a.ledger.Unclaim(w.ctx, name, b.id)
		}
	}
	if !full || a.dead {
		return
	}
	if never {
		until = time.Time{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b.parked, b.need, b.until, b.claims = true, need, until, claims
	w.hits.waits++
	w.notef("%s: %s waits for %d bytes, until %s", a.name, b.id, need, until.Format(time.DateTime))
}

// needs is what a batch needs of a subject to go on.
func (b *playedBatch) needs(s *subject, bytes int64) int64 {
	if s == b.calls {
		return 1
	}
	return bytes
}

// largest is the largest file that is left and that a limit carries.
func (b *playedBatch) largest(s *subject, limit int64) int64 {
	if s == b.calls {
		return min(1, limit)
	}
	var most int64
	for _, f := range b.pending() {
		if f.known <= limit {
			most = max(most, f.known)
		}
	}
	return most
}

// maintain does what package jobs does every few seconds: it closes reservations of the dead, keeps claims alive and
// wakes what waits.
func maintain(a *actor) {
	w := a.w
	a.born()
	for a.await(func() bool { return w.calmAt != w.changes }) {
		w.mu.Lock()
		before := w.changes
		batches := slices.Clone(w.batches)
		w.mu.Unlock()
		_, err := a.ledger.Sweep(w.ctx)
		for _, b := range batches {
			err = errors.Join(err, w.tend(a, b))
		}
		w.mu.Lock()
		if err == nil {
			w.calmAt = before
		}
		w.rounds++
		w.mu.Unlock()
		if a.dead {
			a.born()
		}
	}
}

// tend keeps the claims of one batch and wakes it when what it waits for has come.
func (w *world) tend(a *actor, b *playedBatch) error {
	w.mu.Lock()
	parked, done, need, until, claims := b.parked, b.done, b.need, b.until, b.claims
	w.mu.Unlock()
	if done {
		return nil
	}
	for _, s := range b.all() {
		if c, ok := claims[s.name]; ok {
			if err := a.ledger.Claim(w.ctx, s.name, c); err != nil {
				return err
			}
			w.mu.Lock()
			done = b.done
			w.mu.Unlock()
			if done { // while it was renewed
				return a.ledger.Unclaim(w.ctx, s.name, b.id)
			}
		}
	}
	if !parked {
		return nil
	}
	come := !until.IsZero() && !until.After(w.time())
	if !come {
		come = true
		for _, s := range b.all() {
			st, err := a.ledger.StatusFor(w.ctx, s.name, b.id)
			if err != nil {
				return err
			}
			come = come && (st.Available == Unlimited || st.Available >= max(1, b.needs(s, need)))
		}
	}
	if come {
		w.mu.Lock()
		defer w.mu.Unlock()
		b.parked = false
		w.queue = append(w.queue, b)
		w.hits.wakes++
		w.changed()
		w.notef("%s: %s goes on", a.name, b.id)
	}
	return nil
}
