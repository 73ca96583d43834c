package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"offload/quota"
	"offload/transfer"
)

// quotaPatience is how long a job goes on with only parked units, where nothing but the reservations of others keeps them
// back: longer than the reservations of a worker that died can last.
const quotaPatience = 80 * time.Second

// needTime is the need of a unit that no allowance helps: only time does, or a person. It is more than any number of bytes
// that the ledger counts.
const needTime = 1 << 53

// noQuota hands back a batch of which all that is left was refused: by the limits of bytes, of calls, or of the remote
// itself.
func (w *worker) noQuota(ctx context.Context, u *unit, j Job, r transfer.Report) (giveBack, error) {
	switch {
	case r.NoCalls: // no other batch would fare better
		return w.callsWait(ctx, u, j)
	case r.Need == 0 && r.Limit != "":
		return giveBack{parked: true, need: needTime, reason: ReasonQuota, until: r.LimitUntil, err: r.Limit}, nil
	}
	return w.quotaWait(ctx, u, j, r.Need)
}

// callsWait makes the whole job wait until there are API calls again.
func (w *worker) callsWait(ctx context.Context, u *unit, j Job) (giveBack, error) {
	g, err := w.quotaWait(ctx, u, j, 0)
	g.parked, g.wait, g.patience = false, true, 0
	return g, err
}

// quotaWait parks a unit of which nothing fits the quota now. The smallest need decides: what it waits for, the job waits
// for. It holds no worker meanwhile; audits wake the job as soon as that need fits.
func (w *worker) quotaWait(ctx context.Context, u *unit, j Job, need int64) (giveBack, error) {
	g := giveBack{parked: true, need: need, reason: ReasonQuota}
	lim, err := w.s.limitsOf(ctx, j)
	if err != nil {
		return g, err
	}
	bytes, err := w.s.standings(ctx, lim.bytes, unitClaimant(j.ID, u.unit))
	if err != nil {
		return g, err
	}
	calls, err := w.s.callsOf(ctx, lim.calls)
	if err != nil {
		return g, err
	}
	w.s.explain(&g, bytes, calls)
	return g, nil
}

// explain says of a parked unit why it waits and until when: until the last of those limits begins anew that can't carry
// it in their present period.
func (s *Service) explain(g *giveBack, bytes, calls []standing) {
	var last *standing
	later := func(st *standing) {
		if last == nil || st.Period.End.After(last.Period.End) {
			last = st
		}
	}
	for i := range bytes {
		if bytes[i].Why != "" && !bytes[i].fits(g.need) { // removed, or of a plan that isn't configured any more
			g.until, g.err = time.Time{}, bytes[i].Why
			return
		}
		if bytes[i].never(g.need) {
			g.until, g.err = time.Time{}, s.tooLarge(bytes[i], g.need)
			return
		}
		if !bytes[i].soon(g.need) {
			later(&bytes[i])
		}
	}
	for i := range calls {
		if !calls[i].soon(enoughCalls(calls[i].Limit)) {
			later(&calls[i])
		}
	}
	if last == nil { // only what others have set aside is in the way, if anything still is
		g.patience = quotaPatience
		last = &bytes[0]
		if i := slices.IndexFunc(calls, func(s standing) bool { return !s.fits(enoughCalls(s.Limit)) }); i >= 0 {
			last = &calls[i]
		}
		if i := slices.IndexFunc(bytes, func(s standing) bool { return !s.fits(g.need) }); i >= 0 {
			last = &bytes[i]
		}
	}
	g.until, g.err = last.Period.End, waitText(*last, g.need)
}

// waitText says what was left of a limit as the job began to wait, what the next file needs, and when the job goes on, in
// the limit's own time zone.
func waitText(s standing, need int64) string {
	end := s.Period.End.UTC()
	if loc, err := time.LoadLocation(s.TimeZone); err == nil {
		end = end.In(loc)
	}
	on := "goes on " + end.Format("2006-01-02 15:04 MST")
	remote, m, ok := quota.ParseSubject(s.subject)
	if !ok {
		return fmt.Sprintf("account %s had %s of its %s a month left, the next file needs %s: %s, or with a larger plan",
			s.subject, size(max(s.Available, 0)), size(s.Limit), size(need), on)
	}
	text := fmt.Sprintf("remote %s had %s of its %s left", remote, m.Amount(s.Available), m.Rate(s.Limit))
	if m != quota.Calls {
		text += ", the next file needs " + m.Amount(need*s.times)
	}
	return text + ": " + on + ", or with a higher limit"
}

// tooLarge says that no period carries the next file, and what would.
func (s *Service) tooLarge(st standing, need int64) string {
	if remote, m, ok := quota.ParseSubject(st.subject); ok {
		return fmt.Sprintf("the next file needs %s, more than the whole allowance of remote %s (%s): "+
			"`%s` raises it", m.Amount(need*st.times), remote, m.Rate(st.Limit), quota.RaiseCommand(st.subject))
	}
	text := fmt.Sprintf("the next file needs %s, more than the whole allowance of account %s (%s a month)",
		size(need), st.subject, size(st.Limit))
	if t, ok := s.cfg.Ledger.TierFor(need); ok {
		text += fmt.Sprintf(": plan %s would carry it", t.Name)
	}
	return text
}

// outOfQuota says how a unit is handed back that was refused an API call outside of its files, by a limit of ours or of the
// remote's own: the whole job waits. It is false for any other error.
func (w *worker) outOfQuota(ctx context.Context, u *unit, cause error) (giveBack, bool) {
	if !errors.Is(cause, transfer.ErrNoQuota) {
		return giveBack{}, false
	}
	var limit *transfer.LimitError
	if errors.As(cause, &limit) {
		return giveBack{wait: true, need: needTime, reason: ReasonQuota, until: limit.Until, err: limit.Limit}, true
	}
	j, err := w.s.Get(ctx, u.job)
	var g giveBack
	if err == nil {
		g, err = w.callsWait(ctx, u, j)
	}
	if err != nil { // the job says less of why it waits, and is looked at soon
		w.log.Warn("look for what refuses a call", "job", u.job, "error", err)
		g = giveBack{wait: true, reason: ReasonQuota, err: transfer.WithoutQueries(cause.Error())}
	}
	return g, true
}

// mindQuota wakes a job that waits for quota as soon as its smallest need fits all limits, or the time has come that it
// waits for, and keeps its claim alive. A running job's parked units are looked at in the same way. With anyway, it is
// woken though it was woken in vain a moment ago.
func (s *Service) mindQuota(ctx context.Context, id string, a audited, anyway bool) error {
	waits := a.state == Waiting && a.reason == ReasonQuota
	parked := a.state.Runs() && a.unit != ""
	claims := a.claim.Unit != "" && (waits || a.state.Runs())
	due := waits && !a.until.IsZero() && !a.until.After(a.now)
	switch {
	case !waits && !parked && !claims:
		return nil
	case due && !claims:
		return s.scripts.wake(ctx, id, s.self, anyway)
	case waits && !due && a.need == needTime:
		return nil
	}
	// A claim may have lapsed while nobody ran: it must stand before anything of a new period is given away.
	come, err := s.come(ctx, id, a)
	if err != nil {
		// An account whose plan isn't configured any more is one cause. The job waits on, and is looked at again.
		s.log.Debug("look whether a job's next file fits the quota", "job", id, "error", err)
	}
	if due || come && (waits || parked) {
		return s.scripts.wake(ctx, id, s.self, anyway)
	}
	return nil
}

// come tells whether something of a job fits all its limits now: its smallest parked need, or the one that it claims.
func (s *Service) come(ctx context.Context, id string, a audited) (bool, error) {
	j, err := s.Get(ctx, id)
	if err != nil {
		return false, err
	}
	lim, err := s.limitsOf(ctx, j)
	if err != nil {
		return false, err
	}
	bytes, err := s.standings(ctx, lim.bytes, unitClaimant(id, a.unit))
	if err != nil {
		return false, err
	}
	calls, err := s.callsOf(ctx, lim.calls)
	if err != nil {
		return false, err
	}
	come := a.need >= 0 && a.need < needTime && allFit(bytes, a.need)
	claimed, err := s.mindClaim(ctx, id, a, lim, bytes, calls)
	if err != nil {
		return false, err
	}
	if come = (come || claimed) && callsLeft(calls); !come && a.state == Waiting && a.unit != "" {
		s.exhausted(ctx, bytes, a.need)
	}
	if !come && (a.state.Runs() && a.unit != "" || a.state == Waiting && a.need >= 0) {
		return false, s.impatient(ctx, j, a.need, bytes, calls)
	}
	return come, nil
}

// impatient lets a job wait whose parked units were kept back by what others had set aside, once they have used that: this
// period carries nothing more of it. A job that waits already says anew why and until when, where that has changed.
func (s *Service) impatient(ctx context.Context, j Job, need int64, bytes, calls []standing) error {
	g := giveBack{need: need}
	s.explain(&g, bytes, calls)
	var says time.Time
	if j.Until != nil {
		says = *j.Until
	}
	if g.patience > 0 || j.State == Waiting && j.Error == g.err && says.Equal(g.until) {
		return nil
	}
	_, _, err := s.scripts.verdict(ctx, "impatient", j.ID, nil, s.self, millis(g.until), g.err)
	return err
}

// mindClaim keeps a job's claim alive, or makes one where the job waits for quota and has none, or one that no period
// carries any more. It tells whether what is claimed fits now. Without API calls nothing of the job can move: then the
// ledger's claim may end, which would keep bytes from others in vain.
func (s *Service) mindClaim(ctx context.Context, id string, a audited, lim limits, bytes, calls []standing) (bool, error) {
	c := a.claim
	if a.claimHeld {
		return false, nil // the worker that has it keeps it
	}
	if a.state == Waiting && a.unit != "" && (c.Unit == "" || anyNever(bytes, c.Need)) {
		var err error
		if c, err = s.choose(ctx, id, bytes); err != nil {
			return false, err
		}
	}
	if c.Unit == "" || !callsLeft(calls) {
		return false, nil
	}
	if c.Unit != a.unit {
		var err error
		if bytes, err = s.standings(ctx, lim.bytes, c.id(id)); err != nil {
			return false, err
		}
	}
	return allFit(bytes, c.Need), s.renewClaim(ctx, id, c, bytes)
}

func anyNever(of []standing, n int64) bool {
	return slices.ContainsFunc(of, func(s standing) bool { return s.never(n) })
}

// exhausted notes, for whoever watches the limits, that a job waits since a period carries nothing more of it.
func (s *Service) exhausted(ctx context.Context, of []standing, need int64) {
	for _, st := range of {
		noted := slices.ContainsFunc(st.Events, func(e quota.Event) bool { return e.Percent == 100 && e.Limit == st.Limit })
		if noted || st.soon(need) || st.never(need) {
			continue
		}
		if err := s.cfg.Ledger.Exhausted(ctx, st.subject); err != nil {
			s.log.Warn("note that a limit is exhausted", "subject", st.subject, "error", err)
		}
	}
}
