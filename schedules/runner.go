package schedules

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"offload/internal/failpoint"
)

// Times of the runner.
const (
	leadTime  = 5 * time.Second  // how long nobody leads after a leader has died, at most
	lookEvery = time.Second      // how often is looked for what was changed
	awayWait  = 2 * time.Second  // after a store that didn't answer
	mendEvery = 10 * time.Minute // how often the due times are reckoned anew
	runLease  = 15 * time.Second
	runBeat   = 3 * time.Second
	runMargin = 4 * time.Second // before the lease ends, when renewals don't come through

	catchUp  = 31 * 24 * time.Hour // how old a missed run may be to be made up for
	onTime   = time.Minute         // what begins within this time wasn't missed
	lookMost = 1000
)

// How many runs a process does at once. What takes long doesn't hold up the rest.
const (
	quickAtOnce = 16
	slowAtOnce  = 4
)

// Runner does what is due. Any number of processes have one; they share the work by the store.
type Runner struct {
	b     *Book
	mark  string
	quick chan struct{}
	slow  chan struct{}
	freed chan struct{} // a run has ended: there is room for another one
	work  sync.WaitGroup
	mends time.Time // when the due times were reckoned last
	leads bool
	away  bool
}

// NewRunner returns a runner of the book's schedules. It starts nothing.
func (b *Book) NewRunner() *Runner {
	return &Runner{b: b, mark: mark(), quick: make(chan struct{}, quickAtOnce), slow: make(chan struct{}, slowAtOnce),
		freed: make(chan struct{}, 1)}
}

// Run makes jobs of what is due until ctx is done. It returns when nothing of it runs any more; what it was about then is
// done by another process, or by the next one that starts.
func (r *Runner) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.work.Wait()
			r.resign(ctx)
			return
		case <-timer.C:
		case <-r.freed:
		}
		timer.Reset(r.round(ctx))
	}
}

// resign gives up the lead, so that the next one needn't wait for its end.
func (r *Runner) resign(ctx context.Context) {
	if !r.leads || r.away {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), awayWait)
	defer cancel()
	if _, err := r.b.scripts.number(ctx, "resign", []string{keyLead}, r.mark); err != nil {
		r.b.log.Debug("give up the lead of the schedules", "error", err) // it ends by itself
	}
}

// round looks once and returns when to look again.
func (r *Runner) round(ctx context.Context) time.Duration {
	next, err := r.look(ctx)
	switch {
	case err == nil:
		r.away = false
		return next
	case ctx.Err() == nil && !r.away:
		r.away = true
		r.b.log.Warn("look after the schedules; what is missed meanwhile is made up for", "error", err)
	}
	return awayWait
}

// sight is what a look has found.
type sight struct {
	leads bool
	now   time.Time
	next  time.Time // when the next schedule is due; zero for never
	due   []string
	left  []string // schedules whose run nobody looks after any more
}

func (r *Runner) see(ctx context.Context) (sight, error) {
	res, err := r.b.scripts.texts(ctx, "look", []string{keyLead, keyDue, keyOpen}, r.mark, leadTime.Milliseconds(), lookMost, runLease.Milliseconds())
	if err != nil {
		return sight{}, err
	}
	n := 0
	if len(res) > 3 {
		n, err = strconv.Atoi(res[3])
	}
	if err != nil || len(res) < 4+n {
		return sight{}, fmt.Errorf("schedules: look: unexpected answer %v", res)
	}
	return sight{leads: res[0] == "1", now: fromMillis(res[1]), next: fromMillis(res[2]), due: res[4 : 4+n], left: res[4+n:]}, nil
}

// look leads, if nobody else does: it begins what is due and takes over what was left.
func (r *Runner) look(ctx context.Context) (time.Duration, error) {
	s, err := r.see(ctx)
	if err != nil {
		return 0, err
	}
	if s.leads && !r.leads {
		r.b.log.Debug("looks after the schedules")
		r.mends = time.Time{}
	}
	if r.leads = s.leads; !r.leads {
		return lookEvery, nil
	}
	seen, full := time.Now(), false
	for i, id := range append(s.left, s.due...) {
		if time.Since(seen) > leadTime/3 { // so many are due that the lead would end
			return 0, nil
		}
		begun, err := r.attend(ctx, id, i < len(s.left), s.now.Add(time.Since(seen).Truncate(time.Millisecond)))
		if err != nil {
			return 0, err
		}
		full = full || !begun
	}
	if time.Since(r.mends) > mendEvery {
		if err := r.mend(ctx, s.now); err != nil {
			return 0, err
		}
		r.mends = time.Now()
	}
	switch {
	case full || len(s.due) < lookMost && s.next.IsZero():
		return lookEvery, nil // a run that ends makes room sooner
	case len(s.due) == lookMost:
		return 0, nil
	}
	return min(lookEvery, max(0, s.next.Sub(s.now)-time.Since(seen))), nil
}

// attend begins a run, or takes one over, where this process has room for it.
func (r *Runner) attend(ctx context.Context, id string, left bool, now time.Time) (bool, error) {
	views, err := r.b.views(ctx, []string{id})
	if err != nil {
		return false, err
	}
	if len(views) == 0 {
		return true, nil // removed at this moment
	}
	v := views[0]
	room := r.quick
	if v.Schedule.Kind() == Free {
		room = r.slow
	}
	select {
	case room <- struct{}{}:
	default:
		return false, nil
	}
	free := func() {
		<-room
		select {
		case r.freed <- struct{}{}:
		default:
		}
	}
	var h *held
	if left {
		h, err = r.b.take(ctx, id)
	} else {
		h, err = r.begin(ctx, v, now)
	}
	if err != nil || h == nil {
		free()
		return true, err
	}
	r.work.Go(func() {
		defer free()
		r.b.do(ctx, h)
	})
	return true, nil
}

// begin notes the run of a schedule that is due; nil where there is nothing to be done.
func (r *Runner) begin(ctx context.Context, v View, now time.Time) (*held, error) {
	c, err := v.When.read()
	if err != nil || v.Next == nil || v.Next.After(now) {
		return nil, err
	}
	due, missed := c.latest(v.Next.UTC(), now)
	// The time is the store's, and what is after it is due next: a schedule whose time has come is never due at once again.
	next := c.next(now)
	run := Run{Due: due.UTC(), Began: now, Trigger: ByClock, Missed: missed}
	at := due
	if now.Sub(due) > onTime {
		run.Trigger, at = CatchUp, now // its job stands in lists where it was made
	}
	run.Key = jobKey(v, due, at)
	ended := now.Sub(due) > catchUp
	if ended {
		run.Result, run.Ended = Missed, &now
		run.Reason = "nothing ran at that time, and it is too long ago to be made up for"
	}
	h, _, err := r.b.begin(ctx, v, run, beginning{leader: r.mark, was: *v.Next, next: next, ended: ended})
	if ended && err == nil {
		r.b.tell(ctx, v.Schedule, run)
	}
	return h, err
}

// mend reckons anew when each schedule is due: a clock that was wrong, or a zone whose rules have changed since, would leave
// it with a time that never comes or with another one than it says.
func (r *Runner) mend(ctx context.Context, now time.Time) error {
	all, err := r.b.List(ctx, "")
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.Paused || v.Next != nil && !v.Next.After(now) {
			continue
		}
		next, err := nextOf(v, now)
		if err != nil {
			r.b.log.Error("reckon when a schedule is due", "schedule", v.ID(), "error", err)
			continue
		}
		was := ""
		if v.Next != nil {
			was = millis(*v.Next)
		}
		if was == millis(next) {
			continue
		}
		n, err := r.b.scripts.number(ctx, "mend", []string{keyLead, keyDue, keyOf(v.ID())}, v.ID(), r.mark, v.rev, was, millis(next))
		if err != nil {
			return err
		}
		if n == 1 {
			r.b.log.Info("a schedule is due at another time than was noted", "schedule", v.ID(), "was", v.Next, "next", next)
		}
	}
	return nil
}

// beginning is how a run begins.
type beginning struct {
	leader    string    // mark of the leader; "" by hand
	was, next time.Time // when the schedule was due, and when it is next
	ended     bool      // it is noted as ended at once
	lease     time.Duration
}

// begin notes a run. It returns nil where it isn't to be done; skipped where the run before is under way.
func (b *Book) begin(ctx context.Context, v View, run Run, how beginning) (_ *held, skipped bool, err error) {
	raw, err := json.Marshal(run)
	if err != nil {
		return nil, false, fmt.Errorf("note a run: %w", err)
	}
	skip := run
	skip.Result, skip.Ended = Skipped, &run.Began
	if v.Running != nil {
		skip.Reason = "the run of " + timeIn(v.Running.Due, v.When.Zone) + " was still being begun"
	}
	rawSkip, err := json.Marshal(skip)
	if err != nil {
		return nil, false, fmt.Errorf("note a run: %w", err)
	}
	h := &held{v: v, run: run, fence: mark()}
	if how.lease == 0 {
		how.lease = runLease
	}
	n, err := b.scripts.number(ctx, "begin", []string{keyLead, keyDue, keyOpen, keyOf(v.ID()), keyRuns(v.ID())}, v.ID(), how.leader, v.rev,
		millis(how.was), millis(how.next), raw, rawSkip, h.fence, max(0, how.lease.Milliseconds()), runsKept, millis(run.Due), flag(how.ended))
	if err != nil || n != 1 {
		return nil, n == -1, err
	}
	failpoint.At("schedule_begun")
	return h, false, nil
}

// timeIn is a time in a zone, for people.
func timeIn(t time.Time, zone string) string {
	if z, err := readZone(zone); err == nil {
		t = t.In(z)
	}
	return t.Format("2006-01-02 15:04 MST")
}
