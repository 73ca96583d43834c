package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/internal/failpoint"
	"offload/quota"
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
	o, release, err := w.pairs.get(ctx, j)
	if err != nil {
		return w.openFailed(ctx, u, j, err)
	}
	defer release()
	jr := newJournal(w.s, u.hold, n, b.entries, b.done, u.saw)
	report, err := w.inPool(ctx, u, j, o, jr, func(env transfer.Env) (transfer.Report, error) {
		return o.pair.RunBatch(ctx, w.transferBatch(u, j, b), env)
	})
	if err != nil {
		return err
	}
	return w.endBatch(ctx, u, j, jr, report)
}

// inPool runs work on a batch with a meter, a journal and the rest of its surroundings, and settles the quota after it.
func (w *worker) inPool(ctx context.Context, u *unit, j Job, o *openJob, jr *journal,
	run func(transfer.Env) (transfer.Report, error)) (transfer.Report, error) {
	begin := fmt.Sprintf("%s:%d:", u.job, jr.batch)
	if len(u.former()) > 0 { // whoever held the batch before has lost it, and with it what was set aside
		if err := w.s.cfg.Ledger.Abandon(ctx, j.Account, begin); err != nil {
			return transfer.Report{}, err
		}
	}
	pool := w.s.cfg.Ledger.Pool(j.Account, begin+u.fence)
	pool.Prefer(jr.pendingBytes())
	m := &meter{pool: pool, scripts: w.s.scripts, hold: u.hold, max: j.Order.MaxTransfer, pace: o.pace}
	alive, end := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		w.renewPool(alive, pool, u)
	}()
	report, err := run(transfer.Env{Meter: m, Journal: jr, Slots: o.slots, Watcher: u.watch, Stopped: u.check,
		Held: u.held, Owner: u.owner(number(u.fence)), Former: u.former()})
	end()
	<-renewed
	if e := pool.Close(ctx); e != nil {
		// Nothing is undercounted by this: what isn't settled stays booked until the reservation's lease ends.
		w.log.Warn("settle the quota", "job", u.job, "unit", u.unit, "error", e)
	}
	jr.outcomes()
	return report, err
}

// renewPool keeps the reservation of a batch alive while it is worked on. A lost one makes the next Charge fail, which
// stops the reading: nothing is to be done about it here.
func (w *worker) renewPool(ctx context.Context, pool *quota.Pool, u *unit) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := pool.Renew(ctx); err != nil && ctx.Err() == nil {
				w.log.Warn("renew the quota reservation", "job", u.job, "unit", u.unit, "error", err)
			}
		}
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
		w.patience.clear(u.job)
		blob, err := w.s.codec.packOutcomes(done)
		if err != nil {
			return err
		}
		k := keysOf(u.job)
		_, err = w.s.scripts.owned(ctx, "batch_done", u.hold, []string{k.outcomes(jr.batch), k.ended(jr.batch)},
			u.unit, u.fence, w.name, blob)
		return err
	}
	back, err := w.whyNot(ctx, j, report)
	if err != nil {
		return err
	}
	_, err = w.s.scripts.giveback(ctx, u.hold, back)
	return err
}

// whyNot turns a report into how the unit is handed back.
func (w *worker) whyNot(ctx context.Context, j Job, r transfer.Report) (giveBack, error) {
	switch {
	case r.SignIn != "":
		w.pairs.forget(ctx, j.ID) // signed in anew, the remote must be opened anew
		remote := j.Source
		if r.SignIn == transfer.SideDest {
			remote = j.Dest
		}
		return giveBack{wait: true, reason: ReasonSignIn, until: time.Now().Add(signInWait), err: signInText(remote)}, nil
	case r.Space:
		return giveBack{wait: true, reason: ReasonSpace, until: time.Now().Add(spaceWait),
			err: fmt.Sprintf("%s is full: make room there, then resume the job", j.Dest)}, nil
	case r.NoQuota > 0 && r.NoQuota == r.Pending:
		return w.quotaWait(ctx, j, r.Need)
	}
	return giveBack{}, nil
}

// A batch that only the reservations of others keep back is tried again after quotaPause, quotaTries times: longer than
// the reservations of a worker that died can last.
const (
	quotaPause = 2 * time.Second
	quotaTries = 40
)

// quotaWait parks a batch of which nothing fits the quota now.
func (w *worker) quotaWait(ctx context.Context, j Job, need int64) (giveBack, error) {
	st, err := w.s.cfg.Ledger.Status(ctx, j.Account)
	if err != nil {
		return giveBack{}, err
	}
	if st.Limit >= 0 && need <= st.Limit-st.Used && w.patience.add(j.ID) <= quotaTries {
		pause := time.NewTimer(quotaPause)
		defer pause.Stop()
		select {
		case <-ctx.Done():
		case <-w.stopping:
		case <-pause.C:
		}
		return giveBack{}, nil
	}
	g := giveBack{parked: true, need: need, reason: ReasonQuota, until: st.Period.End,
		err: fmt.Sprintf("account %s has %s of its %s left, the next file needs %s", j.Account, size(st.Available), size(st.Limit), size(need))}
	if st.Limit >= 0 && need > st.Limit {
		g.until = time.Time{} // no reset will ever carry it
		g.err = fmt.Sprintf("the next file needs %s, more than the whole allowance of account %s (%s a month)", size(need), j.Account, size(st.Limit))
		if t, ok := w.s.cfg.Ledger.TierFor(need); ok {
			g.err += fmt.Sprintf(": plan %s would carry it", t.Name)
		}
	}
	return g, nil
}

// outsideWindow makes the job wait when its --window is closed.
func (w *worker) outsideWindow(ctx context.Context, u *unit, j Job) (bool, error) {
	win, err := parseWindow(j.Order.Window)
	if err != nil {
		return false, &finalError{err}
	}
	next := win.next(time.Now())
	if next.IsZero() {
		return false, nil
	}
	_, err = w.s.scripts.giveback(ctx, u.hold, giveBack{wait: true, reason: ReasonWindow, until: next})
	return true, err
}

// openFailed deals with remotes that can't be opened: a refused sign-in waits for a person, what can't get better ends
// the job, and the rest is tried again.
func (w *worker) openFailed(ctx context.Context, u *unit, j Job, err error) error {
	if side := transfer.SignInRefused(ctx, err); side != "" {
		back, e := w.whyNot(ctx, j, transfer.Report{SignIn: side})
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
	return err
}
