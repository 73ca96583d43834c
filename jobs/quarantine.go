package jobs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"offload/transfer"
)

// When an entry is held for what kills its workers, see docs/state-machine.md.
const (
	maxKills   = 3                // deaths with a batch before one of its entries may be quarantined
	maxUnitEnd = 8                // deaths with a scan or a finish, without progress between them, before the job fails
	maxOthers  = 5                // bounds by how many deaths that a unit had no part in more is asked for
	inCompany  = 2                // so many more deaths are asked for where the entry wasn't alone in its process
	aloneWait  = 10 * time.Second // how long an entry waits to be alone in its process
	aloneTime  = time.Minute      // how long it stays alone; then the others go on beside it
)

// How an entry was worked on, in the order of what a death says about it.
const (
	amongAll   = "p" // side by side with others
	inTrial    = "t" // after it was suspected, but others were at work in the process
	aloneTrial = "a" // alone in its process
)

// crash is one death of a worker with a unit.
type crash struct {
	fence string
	death int64 // which it was of all deaths in the job
}

// parseCrashes reads what claim tells of a unit; what can't be read counts for nothing.
func parseCrashes(text string) []crash {
	var all []crash
	for part := range strings.FieldsSeq(text) {
		fence, death, ok := strings.Cut(part, ":")
		if n := number(death); ok && n > 0 {
			all = append(all, crash{fence, n})
		}
	}
	return all
}

// strangers is how many processes have died, but with other units of the job alone, of deaths that no entry explains.
// Where something else ends processes, more is asked for before an entry is held for the cause.
func strangers(crashes []crash, deaths int64) int {
	return int(min(max(deaths-int64(len(crashes)), 0), maxOthers))
}

// suspicion is how the entries of a batch were worked on by the claims that ended in a crash: by index, then by fence.
type suspicion map[int]map[string]string

// parseSuspicion reads the fields of a job's crashes that are about a unit's entries.
func parseSuspicion(unit string, fields map[string]string, crashes []crash) suspicion {
	all := suspicion{}
	for name, marks := range fields {
		of, index, ok := strings.Cut(name, "/")
		i, err := strconv.Atoi(index)
		if !ok || of != unit || err != nil {
			continue
		}
		for mark := range strings.FieldsSeq(marks) {
			fence, how, _ := strings.Cut(mark, ":")
			if !slices.ContainsFunc(crashes, func(c crash) bool { return c.fence == fence }) {
				continue
			}
			if all[i] == nil {
				all[i] = map[string]string{}
			}
			all[i][fence] = how
		}
	}
	return all
}

// guilty tells whether an entry has killed its workers as far as can be known: it was begun at two deaths at least, and
// at as many as are asked for nothing else was at work.
func (s suspicion) guilty(i int, crashes []crash, deaths int64) bool {
	if len(crashes) < maxKills || len(s[i]) < 2 {
		return false
	}
	alone, tried := 0, 0
	for _, how := range s[i] {
		switch how {
		case aloneTrial:
			alone++
			tried++
		case inTrial:
			tried++
		}
	}
	need := 1 + strangers(crashes, deaths)
	return alone >= need || tried >= need+inCompany
}

// hopeless tells whether a scan or a finish has ended so many workers that no more are given to it.
func (u *unit) hopeless() error {
	if u.unit != unitScan && u.unit != unitFinish {
		return nil
	}
	crashes := parseCrashes(u.crashes)
	if len(crashes) < maxUnitEnd+strangers(crashes, u.deaths) {
		return nil
	}
	return &finalError{fmt.Errorf("%d workers in a row died in the %s of this job: look at their logs and memory limits, then retry the job",
		len(crashes), u.unit)}
}

// runBatch does a batch. One that workers have died with is done with more care: its entries are noted as they begin, and
// after the second death those that were begun then are done last and alone, one after the other.
func (w *worker) runBatch(ctx context.Context, u *unit, o *openJob, jr *journal, t transfer.Batch, env transfer.Env) (transfer.Report, error) {
	crashes := parseCrashes(u.crashes)
	if len(crashes) == 0 {
		return o.run(ctx, t, env)
	}
	fields, err := w.s.client.HGetAll(ctx, keysOf(u.job).crashes()).Result()
	if err != nil {
		return transfer.Report{}, fmt.Errorf("read the deaths of workers with job %s: %w", u.job, err)
	}
	seen := parseSuspicion(u.unit, fields, crashes)
	if len(crashes) < maxKills-1 {
		seen = suspicion{}
	}
	done := jr.outcomes()
	maps.DeleteFunc(seen, func(i int, _ map[string]string) bool { return i < 0 || i >= len(done) || done[i].Final() })
	for i := range seen {
		if seen.guilty(i, crashes, u.deaths) {
			if err := w.quarantine(ctx, u, jr, i, remoteOf(o.order.Source), len(crashes)); err != nil {
				return transfer.Report{}, err
			}
			t.Done, seen = jr.outcomes(), suspicion{} // the counting has begun anew
			break
		}
	}
	w.log.Warn("workers died with this batch: it is done with care", "job", u.job, "unit", u.unit, "deaths", len(crashes), "suspects", len(seen))
	t.Omit = map[int]bool{}
	for i := range seen {
		t.Omit[i] = true
	}
	env.Begin = func(ctx context.Context, i int) error { return w.s.scripts.begin(ctx, u.hold, i, amongAll) }
	report, err := o.run(ctx, t, env)
	env.Slots = w.slots(u, o) // the gate is this trial's own
	wait := aloneWait
	for _, i := range slices.Sorted(maps.Keys(seen)) {
		if err != nil || report.Pending > 0 {
			return report, err
		}
		t.Omit = all(len(t.Entries), i)
		var alone bool
		if report, alone, err = w.try(ctx, u, o, i, wait, t, env); !alone {
			wait = aloneWait / 20 // what is at work here goes on for long: the others aren't kept waiting each time
		}
	}
	return report, err
}

// all are the indexes of n entries but one.
func all(n, but int) map[int]bool {
	m := make(map[int]bool, n)
	for i := range n {
		m[i] = i != but
	}
	return m
}

// try does a suspected entry, the only one that t doesn't omit, alone in this process if the others end in time. It tells
// whether they did.
func (w *worker) try(ctx context.Context, u *unit, o *openJob, i int, wait time.Duration, t transfer.Batch, env transfer.Env) (transfer.Report, bool, error) {
	waiting, waited := u.whileRunning(ctx) // what another trial takes, a stop doesn't
	patience, over := context.WithTimeout(waiting, wait)
	alone, err := w.gate.alone(waiting, patience)
	over()
	waited()
	if err != nil {
		return transfer.Report{}, false, err
	}
	defer w.gate.endTrial()
	tr := &trial{how: inTrial, note: func(ctx context.Context, how string) error { return w.s.scripts.begin(ctx, u.hold, i, how) }}
	if alone {
		tr.how = aloneTrial
	}
	env.Begin = func(ctx context.Context, _ int) error { return tr.begin(ctx) }
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, done := context.WithCancel(ctx)
	defer done()
	if alone {
		beside.Go(func() { w.letIn(ctx, tr) })
	}
	report, err := o.run(ctx, t, env)
	return report, alone, err
}

// trial is how the store is told of a suspected entry.
type trial struct {
	note func(ctx context.Context, how string) error

	mu    sync.Mutex
	how   string
	begun bool
}

// begin notes that the entry begins.
func (t *trial) begin(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun = true
	return t.note(ctx, t.how)
}

// endAlone notes that the entry isn't alone any more: at once, or when it begins. It may still wait for a slot.
func (t *trial) endAlone(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.how = inTrial
	if !t.begun {
		return nil
	}
	return t.note(ctx, t.how)
}

// letIn opens the gate to others when a trial takes long, once it is noted that the entry isn't alone any more.
func (w *worker) letIn(ctx context.Context, t *trial) {
	next := time.NewTimer(aloneTime)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		err := t.endAlone(ctx)
		if err == nil {
			w.gate.open()
			return
		}
		w.warn("note that a file isn't alone any more", "error", err)
		next.Reset(beat)
	}
}

// quarantine records an entry as failed that kills its workers, and begins to count anew for the batch.
func (w *worker) quarantine(ctx context.Context, u *unit, jr *journal, i int, source string, kills int) error {
	o := transfer.KilledWorker(jr.entries[i], jr.outcomes()[i], source, kills)
	o.At = time.Now().UTC()
	w.log.Error("a file is set apart: workers die of it", "job", u.job, "unit", u.unit, "path", jr.entries[i].Path, "deaths", kills)
	if err := jr.Record(ctx, i, o); err != nil {
		return err
	}
	_, err := w.s.scripts.owned(ctx, "anew", u.hold, []string{keysOf(u.job).crashes()}, u.unit, u.fence)
	return err
}

// begin notes that an entry of a batch begins. The answer is waited for: what kills the process must be known before.
func (s *scripts) begin(ctx context.Context, h hold, i int, how string) error {
	_, err := s.owned(ctx, "begin", h, []string{keysOf(h.job).crashes()}, h.unit, h.fence, i, how)
	return err
}

// pardons are units that this process has lost while it lived: no death is to be counted for them.
type pardons struct {
	mu   sync.Mutex
	lost []hold
}

func (p *pardons) add(lost ...hold) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = append(p.lost, lost...)
}

// pardon tells the store that this process lives. What can't be told now is told later.
func (w *worker) pardon(ctx context.Context) {
	w.pardons.mu.Lock()
	lost := w.pardons.lost
	w.pardons.lost = nil
	w.pardons.mu.Unlock()
	for i, h := range lost {
		if err := w.s.scripts.run(ctx, "pardon", h.job, []string{keysOf(h.job).crashes()}, h.unit, h.fence).Err(); err != nil {
			w.log.Debug("say that a lost unit's worker lives", "job", h.job, "unit", h.unit, "error", err)
			w.pardons.add(lost[i:]...)
			return
		}
	}
}
