package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/internal/failpoint"
	"offload/transfer"
)

// How long a job waits before it tries again by itself.
const (
	spaceWait  = 10 * time.Minute // the destination is full
	signInWait = 15 * time.Minute // a remote refuses the sign-in; four times as long each time in a row, at most a day
)

// batch does the entries of one batch that aren't done yet.
func (w *worker) batch(ctx context.Context, u *unit, n int64) error {
	j, err := w.s.Get(ctx, u.job)
	if err != nil {
		return err
	}
	if waits, err := w.outsideWindow(ctx, u, j); waits || err != nil {
		return err
	}
	b, err := w.s.load(ctx, u.job, n)
	if errors.Is(err, redis.Nil) {
		return &finalError{fmt.Errorf("%w: the store has lost it; remove the job and start it again", err)}
	}
	if err != nil {
		return err
	}
	o, release, err := w.open(ctx, u, j)
	if err != nil {
		return w.openFailed(ctx, u, j, err)
	}
	defer release()
	defer w.crowd.moves(u, o.slots)()
	jr := newJournal(w.s, u.hold, n, b.entries, b.done, u.saw)
	jr.looks = j.looksOnly()
	w.expect(ctx, u, jr.pendingBytes())
	report, err := w.inPool(ctx, u, j, o, jr, func(env transfer.Env) (transfer.Report, error) {
		return w.runBatch(ctx, u, o, jr, w.transferBatch(u, j, b), env)
	})
	if err != nil {
		return err
	}
	return w.endBatch(ctx, u, j, jr, report)
}

// inPool runs work on a batch with a meter, a journal and the rest of its surroundings, and settles the quota after it.
func (w *worker) inPool(ctx context.Context, u *unit, j Job, o *openJob, jr *journal,
	run func(transfer.Env) (transfer.Report, error)) (transfer.Report, error) {
	u.follow(j, o.pair)
	defer o.speeds(u.watch)()
	m, err := w.meter(ctx, u, j, o, jr)
	if err != nil {
		return transfer.Report{}, err
	}
	alive, end := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		w.renewPools(alive, m, u, j)
	}()
	report, err := run(transfer.Env{Meter: m, Journal: jr, Slots: gated{w.slots(u, o), &w.gate}, Watcher: u.watch,
		Pace: u.watch.paced(o.pace.wait), Stopped: u.check, Stopping: u.halt, Grace: u.grace, Held: u.held, Owner: u.owner(u.fence),
		Former: u.formerOwners()})
	end()
	<-renewed
	if e := m.close(ctx); e != nil {
		// Nothing is undercounted by this: what isn't settled stays booked until the reservation's lease ends.
		w.warn("settle the quota", "job", u.job, "unit", u.unit, "error", e)
	}
	jr.outcomes()
	w.s.totals.add(totalThrottled, int64(report.Throttled))
	w.s.totals.add(totalRetried, int64(report.Retried))
	u.served = m.served(j.claim.Need)
	return report, err
}

// meter opens the batch's reservations in all limits that apply to the job.
func (w *worker) meter(ctx context.Context, u *unit, j Job, o *openJob, jr *journal) (*meter, error) {
	lim, err := w.s.limitsOf(ctx, j)
	if err != nil {
		return nil, err
	}
	m := &meter{limits: lim.bytes, scripts: w.s.scripts, hold: u.hold, max: j.Order.MaxTransfer,
		calls: func(ctx context.Context) (func(context.Context), error) { return w.s.gate.hold(ctx, lim.calls) }}
	claimant := claimantOf(u.job, jr.batch)
	for _, l := range lim.bytes {
		if len(u.formerOwners()) > 0 { // whoever held the batch before has lost it, and with it what was set aside
			if err := w.s.cfg.Ledger.Abandon(ctx, l.subject, claimant+":"); err != nil {
				return nil, err
			}
		}
		p := w.s.cfg.Ledger.Pool(l.subject, claimant+":"+u.fence)
		p.Claimant(claimant)
		m.pools = append(m.pools, pool{p, l.times})
	}
	m.prefer(jr.pendingBytes())
	w.keepClaim(ctx, m, u, j)
	return m, nil
}

// renewPools keeps the reservations of a batch alive while it is worked on. A lost one makes the next Charge fail, which
// stops the reading: nothing is to be done about it here.
func (w *worker) renewPools(ctx context.Context, m *meter, u *unit, j Job) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := m.renew(ctx); err != nil && ctx.Err() == nil {
				w.log.Warn("renew the quota reservation", "job", u.job, "unit", u.unit, "error", err)
			}
			w.keepClaim(ctx, m, u, j)
		}
	}
}

// keepClaim keeps the claim of a unit that is worked on, until it has been granted what it claims.
func (w *worker) keepClaim(ctx context.Context, m *meter, u *unit, j Job) {
	c := j.claim
	if c.Unit != u.unit || m.served(c.Need) {
		return
	}
	bytes, err := w.s.standings(ctx, m.limits, c.id(u.job))
	if err == nil {
		err = w.s.renewClaim(ctx, u.job, c, bytes)
	}
	if err != nil && ctx.Err() == nil {
		w.log.Warn("keep a claim for quota", "job", u.job, "unit", u.unit, "error", err)
	}
}

func (w *worker) transferBatch(u *unit, j Job, b stored) transfer.Batch {
	t := transfer.Batch{Entries: b.entries, Done: b.done, Dirs: b.dirs}
	if j.Order.MaxDelete >= 0 {
		t.AllowDelete = func(ctx context.Context) bool {
			n, err := w.s.scripts.run(ctx, "take_delete", u.job, nil, u.unit, u.fence, j.Order.MaxDelete).Int()
			if err != nil {
				w.log.Warn("count against --max-delete", "job", u.job, "error", err)
			}
			return err == nil && n == 1
		}
	}
	return t
}

// endBatch stores the end of a batch, or hands back what is left of it with the reason.
func (w *worker) endBatch(ctx context.Context, u *unit, j Job, jr *journal, report transfer.Report) error {
	done := jr.outcomes()
	pending := 0
	for _, o := range done {
		if !o.Final() {
			pending++
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	if pending == 0 {
		failpoint.At("batch ended")
		blob, err := w.s.codec.packOutcomes(done)
		if err != nil {
			return err
		}
		k := keysOf(u.job)
		_, err = w.s.scripts.owned(ctx, "batch_done", u.hold, []string{k.outcomes(jr.batch), k.ended(jr.batch)},
			u.unit, u.fence, w.name, blob, jr.tail.last)
		if j.claim.Unit == u.unit {
			w.s.unclaim(ctx, u.job, j.claim)
		}
		return err
	}
	back, err := w.whyNot(ctx, u, j, report)
	if err != nil {
		return err
	}
	// A claim that was granted has had its turn. What is left of the unit queues up again like all others, or it would go
	// before them for ever.
	back.served = j.claim.Unit == u.unit && u.served
	if u.spared.Load() {
		till := time.Now().Add(yieldTime)
		w.crowd.yields.Store(&till)
	}
	_, err = w.s.scripts.giveback(ctx, u.hold, back)
	if back.served {
		w.s.unclaim(ctx, u.job, j.claim)
	}
	return err
}

// whyNot turns a report into how the unit is handed back.
func (w *worker) whyNot(ctx context.Context, u *unit, j Job, r transfer.Report) (giveBack, error) {
	switch {
	case r.SignIn != "":
		w.pairs.forget(ctx, j.ID) // signed in anew, the remote must be opened anew
		remote := j.Source
		if r.SignIn == transfer.SideDest {
			remote = j.Dest
		}
		now, err := w.s.now(ctx)
		return giveBack{wait: true, reason: ReasonSignIn, until: now.Add(signInWait), err: signInText(remote)}, err
	case r.Space:
		now, err := w.s.now(ctx)
		return giveBack{wait: true, reason: ReasonSpace, until: now.Add(spaceWait),
			err: fmt.Sprintf("%s is full: make room there, then resume the job", j.Dest)}, err
	case r.NoQuota > 0 && r.NoQuota == r.Pending:
		return w.noQuota(ctx, u, j, r)
	}
	return giveBack{}, nil
}

// outsideWindow makes the job wait when its --window is closed.
func (w *worker) outsideWindow(ctx context.Context, u *unit, j Job) (bool, error) {
	win, err := parseWindow(j.Order.Window)
	if err != nil {
		return false, &finalError{err}
	}
	if win.always {
		return false, nil
	}
	now, err := w.s.now(ctx) // two workers that disagree would hand the job to and fro at the edge of the window
	if err != nil {
		return false, err
	}
	next := win.next(now)
	if next.IsZero() {
		return false, nil
	}
	_, err = w.s.scripts.giveback(ctx, u.hold, giveBack{wait: true, reason: ReasonWindow, until: next})
	return true, err
}

// openFailed deals with remotes that can't be opened: a refused sign-in waits for a person, what can't get better ends
// the job, a remote that doesn't answer is waited for, and the rest is tried again.
func (w *worker) openFailed(ctx context.Context, u *unit, j Job, err error) error {
	if errors.Is(err, transfer.ErrNoQuota) { // no call is left to ask with: failed makes the job wait
		return err
	}
	if side := transfer.SignInRefused(ctx, err); side != "" {
		back, e := w.whyNot(ctx, u, j, transfer.Report{SignIn: side})
		if e != nil {
			return e
		}
		_, e = w.s.scripts.giveback(ctx, u.hold, back)
		return e
	}
	var c *transfer.CheckError
	if errors.As(err, &c) && c.Final {
		return &finalError{err}
	}
	return absent(ctx, j, err)
}
