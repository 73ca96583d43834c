package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"offload/internal/failpoint"
	"offload/jobs"
)

// How long a run may take. One that fails by what may pass (a network, a store) is tried again meanwhile.
const (
	tryFor  = time.Hour        // where a network or a store is away
	tryLess = 10 * time.Minute // where nobody knows what is wrong
	tryOnce = 15 * time.Minute // a plan may have to list a whole cloud
	tryWait = 10 * time.Second // doubled each time
	tryMost = 5 * time.Minute
)

// errTaken ends the work on a run that another process has by now, or whose schedule was removed.
var errTaken = errors.New("another process has this run by now")

// held is a run that this process does.
type held struct {
	v     View
	run   Run
	fence string
	waits bool // somebody waits for it: it isn't tried again
}

// jobKey is what the IDs of a run's jobs are made of: their time, and what is else of it.
func jobKey(v View, due, at time.Time) string {
	return millis(at) + " " + v.ID() + " " + v.rev + " " + millis(due)
}

// jobID is the ID of the run's n-th job.
func (r Run) jobID(n int) string {
	ms := ""
	if _, err := fmt.Sscan(r.Key, &ms); err != nil {
		ms = millis(r.Due)
	}
	return jobs.IDFor("schedule "+r.Key, fromMillis(ms), n)
}

// take takes over a run that nobody looks after any more; nil where somebody was faster.
func (b *Book) take(ctx context.Context, id string) (*held, error) {
	h := &held{fence: mark()}
	res, err := b.scripts.texts(ctx, "take", []string{keyOpen, keyOf(id)}, id, h.fence, runLease.Milliseconds())
	if err != nil || len(res) != 4 {
		return nil, err
	}
	run, err := parseRun(res[0])
	if err == nil {
		h.run = *run
		h.v, err = viewOf(map[string]string{"def": res[1], "rev": res[2]}, "")
	}
	if err != nil {
		return nil, fmt.Errorf("take a run of schedule %s over: %w", id, err)
	}
	return h, nil
}

// do does a run to its end and notes it.
func (b *Book) do(ctx context.Context, h *held) Run {
	work, cancel := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		b.keep(work, cancel, h)
	}()
	run := b.try(jobs.By(work, "schedule "+h.v.Name), h)
	cancel(nil)
	<-kept
	switch {
	case errors.Is(context.Cause(work), errTaken):
		b.log.Warn("a run of a schedule is another process's by now, or was called off", "schedule", h.v.ID(), "due", h.run.Due)
	case run.Result == "": // this process ends: the next one goes on at once
		b.giveUp(ctx, h)
	default:
		b.settle(ctx, h, run)
	}
	return run
}

// keep renews the run's lease until ctx is done, and cancels the work where that can't be done in time.
func (b *Book) keep(ctx context.Context, cancel context.CancelCauseFunc, h *held) {
	tick := time.NewTicker(runBeat)
	defer tick.Stop()
	for good := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		once, done := context.WithTimeout(ctx, runBeat)
		n, err := b.scripts.number(once, "renew", []string{keyOpen, keyOf(h.v.ID())}, h.v.ID(), h.fence, runLease.Milliseconds())
		done()
		switch {
		case err == nil && n == 0, err != nil && time.Since(good) > runLease-runMargin:
			cancel(errTaken)
			return
		case err == nil:
			good = asked
		}
	}
}

// giveUp lets another process go on with a run at once.
func (b *Book) giveUp(ctx context.Context, h *held) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), awayWait)
	defer cancel()
	if _, err := b.scripts.number(ctx, "renew", []string{keyOpen, keyOf(h.v.ID())}, h.v.ID(), h.fence, 0); err != nil {
		b.log.Debug("give up a run of a schedule", "schedule", h.v.ID(), "error", err) // its lease ends by itself
	}
}

// settle notes how a run ended.
func (b *Book) settle(ctx context.Context, h *held, run Run) {
	failpoint.At("schedule_settles")
	raw, err := json.Marshal(run)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), runLease)
		defer cancel()
		_, err = b.scripts.number(ctx, "settle", []string{keyOpen, keyOf(h.v.ID()), keyRuns(h.v.ID())}, h.v.ID(), h.fence, raw, runsKept, flag(len(run.Jobs) > 0))
	}
	if err != nil { // whoever takes it over finds its jobs
		b.log.Warn("note how a run of a schedule ended", "schedule", h.v.ID(), "due", run.Due, "error", err)
		return
	}
	b.log.Info("a schedule ran", "schedule", h.v.ID(), "due", run.Due, "result", run.Result, "jobs", run.Jobs, "reason", run.Reason)
	b.tell(ctx, h.v.Schedule, run)
}

// try makes the jobs of a run, again and again where it fails by what may pass. A run without a result wasn't ended.
func (b *Book) try(ctx context.Context, h *held) Run {
	run, wait := h.run, tryWait
	for began := time.Now(); ; wait = min(2*wait, tryMost) {
		err := b.once(ctx, h, &run)
		if ctx.Err() != nil {
			run.Result = ""
			return run
		}
		if err == nil || h.waits || time.Since(began)+wait > patience(err) {
			if err != nil {
				run.Result, run.Reason = Failed, failure(err)
			}
			ended := time.Now().UTC()
			if now, err := b.now(ctx); err == nil {
				ended = now
			}
			run.Ended = &ended
			return run
		}
		b.log.Warn("a run of a schedule is tried again", "schedule", h.v.ID(), "wait", wait, "error", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// once makes the jobs of a run.
func (b *Book) once(ctx context.Context, h *held, run *Run) error {
	ctx, cancel := context.WithTimeout(ctx, tryOnce)
	defer cancel()
	// Somebody may have made them before: then there is nothing more to decide.
	first, err := b.cfg.Jobs.Get(ctx, run.jobID(0))
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return err
	}
	if err == nil && h.v.Schedule.Kind() != Scrub {
		run.Result, run.Jobs = Made, []string{first.ID}
		return nil
	}
	if busy, err := b.busy(ctx, h); err != nil || busy != "" {
		run.Result, run.Reason = Skipped, busy
		return err
	}
	orders, why, err := b.orders(ctx, h.v.Schedule)
	if err != nil {
		return err
	}
	if len(orders) == 0 {
		run.Result, run.Reason = Nothing, why
		return nil
	}
	var made []string
	for i, o := range orders {
		j, err := b.cfg.Jobs.EnqueueAs(ctx, run.jobID(i), o)
		if err != nil {
			return err
		}
		made = append(made, j.ID)
		failpoint.At("schedule_enqueued")
	}
	run.Result, run.Jobs = Made, made
	return nil
}

// busy says which job of the last run hasn't ended, "" for none. One that waits or is paused counts: its files are its own.
func (b *Book) busy(ctx context.Context, h *held) (string, error) {
	text, err := b.client.HGet(ctx, keyOf(h.v.ID()), "last").Result()
	if err != nil {
		if isNil(err) {
			return "", nil
		}
		return "", fmt.Errorf("look for the last run of schedule %s: %w", h.v.ID(), err)
	}
	last, err := parseRun(text)
	if err != nil {
		return "", err
	}
	for _, id := range last.Jobs {
		j, err := b.cfg.Jobs.Get(ctx, id)
		switch {
		case errors.Is(err, jobs.ErrNotFound) || err == nil && j.State.Terminal():
		case err != nil:
			return "", err
		default:
			return fmt.Sprintf("job %s of the run of %s is still %s", id, timeIn(last.Due, h.v.When.Zone), j.State), nil
		}
	}
	return "", nil
}

// orders are the orders of a run's jobs; none, with the reason, where there is nothing to do.
func (b *Book) orders(ctx context.Context, s Schedule) (all []jobs.Order, why string, err error) {
	switch {
	case s.Kind() == Free && b.cfg.Room != nil:
		o, ok, why, err := b.cfg.Room(ctx, *s.Order.Goal, s.Order)
		if err != nil || !ok {
			return nil, why, err
		}
		all = []jobs.Order{o}
	case s.Kind() == Scrub:
		if all, err = b.scrubs(ctx, s.Order); err != nil {
			return nil, "", err
		}
		why = "nothing was offloaded yet"
	default:
		all = []jobs.Order{s.Order}
	}
	all = slices.Clone(all)
	for i := range all {
		if all[i].Label == "" {
			all[i].Label = "schedule " + s.Name
		}
	}
	return all, why, nil
}

// patience is for how long a run is tried again that failed so: not where the order is wrong, or a person has to do something.
func patience(err error) time.Duration {
	var order *jobs.OrderError
	var n net.Error
	switch {
	case errors.As(err, &n), errors.Is(err, io.EOF), errors.Is(err, context.DeadlineExceeded):
		return tryFor
	case errors.As(err, &order), errors.Is(err, jobs.ErrNotFound):
		return 0
	}
	return tryLess
}

// failure says why a run made no job, with what to do.
func failure(err error) string {
	var order *jobs.OrderError
	if errors.As(err, &order) && order.Hint != "" {
		return err.Error() + "; " + order.Hint
	}
	return err.Error()
}

// RunNow runs a schedule once, now, beside its times; the caller does it until it has ended. It is ErrBusy where a run is
// under way; where the job of the last one hasn't ended the run is noted as skipped, as by the clock.
func (b *Book) RunNow(ctx context.Context, account, name, by string) (Run, error) {
	h, err := b.beginByHand(ctx, account, name, by, runLease)
	if err != nil {
		return Run{}, err
	}
	h.waits = true
	run := b.do(ctx, h)
	if run.Result == "" {
		return run, fmt.Errorf("run schedule %s: %w", name, context.Cause(ctx))
	}
	return run, nil
}

// Ask is RunNow for a caller who doesn't stay: a worker does it, at once where one runs.
func (b *Book) Ask(ctx context.Context, account, name, by string) (View, error) {
	if _, err := b.beginByHand(ctx, account, name, by, -1); err != nil {
		return View{}, err
	}
	return b.Get(ctx, account, name)
}

// beginByHand notes a run that somebody asked for. With a lease below 0 it is anybody's.
func (b *Book) beginByHand(ctx context.Context, account, name, by string, lease time.Duration) (*held, error) {
	v, err := b.Get(ctx, account, name)
	if err != nil {
		return nil, err
	}
	now, err := b.now(ctx)
	if err != nil {
		return nil, err
	}
	run := Run{Due: now, Began: now, Trigger: ByHand, By: by, Key: jobKey(v, now, now)}
	h, _, err := b.begin(ctx, v, run, beginning{lease: lease})
	if err == nil && h == nil {
		err = fmt.Errorf("schedule %s: %w", name, ErrBusy)
	}
	return h, err
}
