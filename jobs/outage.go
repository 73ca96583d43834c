package jobs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"offload/transfer"
)

// Outage is a remote that doesn't answer, as seen by the workers of a job. It is asked again until it does.
type Outage struct {
	Remote string    `json:"remote"` // its name with a colon
	Since  time.Time `json:"since"`
	Why    string    `json:"why"`
}

// addOutage adds what one worker has seen to what others have: each remote once, since the earliest of their times.
func addOutage(all []Outage, more ...Outage) []Outage {
	for _, o := range more {
		i := slices.IndexFunc(all, func(a Outage) bool { return a.Remote == o.Remote })
		switch {
		case i < 0:
			all = append(all, o)
		case o.Since.Before(all[i].Since):
			all[i] = o
		}
	}
	slices.SortFunc(all, func(a, b Outage) int { return strings.Compare(a.Remote, b.Remote) })
	return all
}

// outagesOf makes the engine's outages the job's.
func outagesOf(j Job, of []transfer.Outage) []Outage {
	var all []Outage
	for _, o := range of {
		all = addOutage(all, Outage{remoteOf(j.of(o.Side)), o.Since, o.Why})
	}
	return all
}

// of is the path of a side.
func (j Job) of(side string) string {
	if side == transfer.SideDest {
		return j.Dest
	}
	return j.Source
}

// waitCost is what a second counts as, in bytes, in which a unit keeps its place for a remote that doesn't answer: about
// what the batches of other jobs would have moved there. Else such a job would have most places soon, as its turns cost nothing.
const waitCost = 4 << 20

// cost is what the unit's turn has come to, which began at the given time.
func (u *unit) cost(began time.Time) int64 {
	n := u.watch.total()
	if u.watch.waits() {
		n = max(n, int64(min(time.Since(began), longestAbsence).Seconds()*waitCost))
	}
	return n
}

// follow makes the unit's reports tell which remotes of the job's pair don't answer.
func (u *unit) follow(j Job, pair *transfer.Pair) {
	u.watch.silent(func() []Outage { return outagesOf(j, pair.Outages()) })
}

// absentError says that a remote couldn't be opened since it doesn't answer: that is waited out, and never makes a job fail.
type absentError struct {
	remote string
	err    error
}

func (e *absentError) Error() string { return e.err.Error() }
func (e *absentError) Unwrap() error { return e.err }

// absent tells an outage from other failures of opening a job's remotes.
func absent(ctx context.Context, j Job, err error) error {
	var c *transfer.CheckError
	if !errors.As(err, &c) || c.Final || !transfer.Unreachable(ctx, err) {
		return err
	}
	return &absentError{remoteOf(j.of(c.Field)), err}
}

// absences counts, by job, how often in a row its remotes couldn't be opened since they didn't answer, and since when.
type absences struct {
	mu sync.Mutex
	of map[string]absence
}

type absence struct {
	tries int
	since time.Time
}

func (a *absences) add(job string, now time.Time) absence {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[string]absence{}
	}
	one := a.of[job]
	if one.tries++; one.since.IsZero() {
		one.since = now
	}
	a.of[job] = one
	return one
}

func (a *absences) clear(job string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, job)
}

// longestAbsence is the longest wait before remotes that don't answer are opened again.
const longestAbsence = time.Minute

// waitAbsent waits before a unit is handed back whose remotes don't answer. Its reports say so meanwhile.
func (w *worker) waitAbsent(ctx context.Context, u *unit, e *absentError) {
	a := w.absences.add(u.job, time.Now())
	out := []Outage{{e.remote, a.since, transfer.WhySilent(e.err)}}
	u.watch.silent(func() []Outage { return out })
	w.log.Warn("remote doesn't answer; trying again until it does", "job", u.job, "remote", e.remote, "error", out[0].Why)
	u.rest(ctx, transfer.Backoff(a.tries, time.Second, longestAbsence))
}

// rest waits for d, or until the unit is stopped or ctx is done.
func (u *unit) rest(ctx context.Context, d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-u.halt:
	case <-u.w.stopping: // before anybody has told the unit
	case <-wait.C:
	}
}

// whileRunning returns a context that also ends, with transfer.ErrStop, when the unit is stopped before end was called: for
// work that can be broken off at any point.
func (u *unit) whileRunning(ctx context.Context) (running context.Context, end func()) {
	running, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var minding sync.WaitGroup
	minding.Go(func() {
		select {
		case <-u.halt:
			cancel(transfer.ErrStop)
		case <-ctx.Done():
		case <-over:
		}
	})
	return running, func() { close(over); minding.Wait() }
}

// open opens the remotes of a job for a unit; release must be called when they aren't needed any more.
func (w *worker) open(ctx context.Context, u *unit, j Job) (o *openJob, release func(), err error) {
	opening, opened := u.whileRunning(ctx)
	defer opened()
	return w.pairs.get(opening, j)
}
