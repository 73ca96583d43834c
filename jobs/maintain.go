package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"
)

// Times of maintenance.
const (
	maintainEvery = time.Second
	leaderTime    = 5 * time.Second
	sweepEvery    = 10 * time.Second
	lookRunning   = 2 * time.Second // how often a running job is looked at
	lookQueued    = time.Minute     // one that waits for a worker
	lookWaiting   = 5 * time.Second // one that waits for quota
	lookFarthest  = 2 * time.Minute // longer than any job is left alone
	forgetAfter   = time.Hour       // an ID without a job is kept for so long: longer than clocks differ
)

// maintain looks after jobs until ctx is done: it takes units back from workers that are gone, wakes what waits, hands
// the jobs of dead foreground processes to the pool, and closes reservations that nobody renews. In the pool one
// process at a time does so; a foreground worker looks after its own job alone.
func (w *worker) maintain(ctx context.Context) {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	var swept time.Time
	for {
		if err := w.maintainOnce(ctx, &swept); err != nil && ctx.Err() == nil && !w.away.Load() {
			w.log.Warn("look after jobs", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *worker) maintainOnce(ctx context.Context, swept *time.Time) error {
	w.pardon(ctx)
	if w.opt.Job == "" {
		leads, err := w.lead(ctx)
		w.leads.Store(leads)
		if err != nil || !leads {
			return err
		}
	} else if err := w.s.adopt(ctx, w.opt.Job, foregroundQueue(w.opt.Job), w.name); err != nil {
		return err
	}
	if time.Since(*swept) > sweepEvery {
		*swept = time.Now()
		if _, err := w.s.cfg.Ledger.Sweep(ctx); err != nil {
			return err
		}
	}
	if w.opt.Job != "" {
		return w.s.audit(ctx, w.opt.Job)
	}
	due, err := w.s.due(ctx)
	if err != nil {
		return err
	}
	all := w.places.round(ctx)
	for lane := range poolQueues(w.s.scripts.version) {
		all = errors.Join(all, w.s.refill(ctx, lane))
	}
	for _, id := range due {
		all = errors.Join(all, w.s.audit(ctx, id))
	}
	return all
}

// lead tells whether this process looks after the pool's jobs; the lease moves on when it dies.
func (w *worker) lead(ctx context.Context) (bool, error) {
	won, err := w.s.client.SetNX(ctx, keyLeader, w.name, leaderTime).Result()
	if err != nil {
		return false, fmt.Errorf("ask for the lead: %w", err)
	}
	if won {
		return true, nil
	}
	who, err := w.s.client.Get(ctx, keyLeader).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask for the lead: %w", err)
	case who != w.name:
		return false, w.shortenLead(ctx)
	}
	// Two leaders for a moment do no harm: every audit is one script, and tasks sent twice are dropped.
	if err := w.s.client.PExpire(ctx, keyLeader, leaderTime).Err(); err != nil {
		return false, fmt.Errorf("keep the lead: %w", err)
	}
	return true, nil
}

// shortenLead ends a lead in time that was given before the store's clock was put back: its lease lasts longer than any.
func (w *worker) shortenLead(ctx context.Context) error {
	left, err := w.s.client.PTTL(ctx, keyLeader).Result()
	if err == nil && left > leaderTime {
		err = w.s.client.PExpire(ctx, keyLeader, leaderTime).Err()
	}
	if err != nil {
		return fmt.Errorf("ask for the lead: %w", err)
	}
	return nil
}

// adopt gives a job to a queue and an owner, unless another living process owns it.
func (s *Service) adopt(ctx context.Context, id, queue, owner string) error {
	if owner != "" { // it means to work on the job
		if err := s.checkVersion(ctx, id); err != nil {
			return err
		}
	}
	had, err := s.client.HGet(ctx, keysOf(id).job(), "owner").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read job %s: %w", id, err)
	}
	dead := ""
	if had != "" && knownDead(had) {
		dead = had
	}
	n, state, err := s.scripts.verdict(ctx, "adopt", id, nil, queue, owner, ownerSilence.Milliseconds(), dead)
	if err == nil && n != 1 {
		err = fmt.Errorf("job %s (%s) is being worked on by %s: %w", id, state, shortName(had), ErrState)
	}
	return err
}

// audit sets one job right: it may be called by anybody at any time.
func (s *Service) audit(ctx context.Context, id string) error { return s.auditAnd(ctx, id, false) }

// auditAnd is audit. With wakes, a job that waits for quota is woken where something fits though it was woken in vain a
// moment ago: for whoever has just changed a limit.
func (s *Service) auditAnd(ctx context.Context, id string, wakes bool) error {
	p := s.client.Pipeline()
	held, account := p.HVals(ctx, string(keysOf(id))+"holder"), p.HGet(ctx, keysOf(id).job(), "account")
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("audit job %s: %w", id, err)
	}
	holders := held.Val()
	slices.Sort(holders)
	var dead, alive []string
	for _, h := range slices.Compact(holders) {
		switch {
		case knownDead(h):
			dead = append(dead, h)
		case s.knownAlive(h):
			alive = append(alive, h)
		}
	}
	a, err := s.scripts.audit(ctx, id, resendAfter, dead, alive)
	if err != nil {
		return err
	}
	if a.lost > 0 {
		s.log.Warn("took work back from workers that are gone", "job", id, "units", a.lost)
	}
	if a.state == "" {
		return s.forget(ctx, id)
	}
	var untold error
	if a.fresh {
		untold = s.Announce(ctx, id)
	}
	if err := s.noteVersion(ctx, id, a); err != nil {
		return err
	}
	if err := s.send(ctx, a.queue, id, a.tasks); err != nil {
		return err
	}
	if !a.state.Terminal() && a.state != Paused && a.owner != "" && (a.ownerUntil.Before(a.now) || knownDead(a.owner)) {
		if err := s.toPool(ctx, id); err != nil {
			return err
		}
	}
	if a.state == Waiting {
		if err := s.wake(ctx, id, a); err != nil {
			return err
		}
	}
	if err := s.mindQuota(ctx, id, a, wakes); err != nil {
		return err
	}
	if err := s.feed(ctx, id); err != nil {
		return err
	}
	if err := s.reschedule(ctx, id, account.Val(), a); err != nil || untold == nil {
		return err
	}
	s.look(ctx, id, time.Minute) // a job that rests isn't looked at again by itself
	return untold
}

// forget drops an ID whose job was never created, once that can't happen any more.
func (s *Service) forget(ctx context.Context, id string) error {
	u, err := ulid.ParseStrict(id)
	if err == nil && time.Since(ulid.Time(u.Time())) < forgetAfter {
		s.look(ctx, id, time.Minute)
		return nil
	}
	accounts, err := s.client.SMembers(ctx, keyAccounts).Result() // nobody knows whose it would have been
	if err != nil {
		return fmt.Errorf("forget job %s: %w", id, err)
	}
	p := s.client.Pipeline()
	p.ZRem(ctx, keyDue, id)
	for _, a := range accounts {
		p.ZRem(ctx, keyAccount(a), id)
	}
	p.ZRem(ctx, keyIndex, id)
	p.ZRem(ctx, keyWaits, id)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("forget job %s: %w", id, err)
	}
	return nil
}

// toPool hands the job of a foreground process that is gone to the pool.
func (s *Service) toPool(ctx context.Context, id string) error {
	j, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	s.log.Info("hand a job to the pool, the process that ran it is gone", "job", id)
	return s.adopt(ctx, id, laneOf(j.Order.Priority, j.version), "")
}

// wake goes on with a waiting job when the time has come that it waits for. Those that wait for quota are mindQuota's.
func (s *Service) wake(ctx context.Context, id string, a audited) error {
	if a.until.IsZero() || a.until.After(a.now) || a.reason == ReasonQuota {
		return nil
	}
	_, err := s.scripts.transition(ctx, id, "|"+string(Waiting)+"|", "resume", s.self, "", hold{})
	if errors.Is(err, ErrState) {
		return nil // somebody else was faster
	}
	return err
}

// reschedule notes where the job stands and when it must be looked at next; a job that only a person can move isn't.
func (s *Service) reschedule(ctx context.Context, id, account string, a audited) error {
	p := s.client.Pipeline()
	if at := place(id, a.state); at >= 0 && account != "" {
		p.ZAdd(ctx, keyAccount(account), redis.Z{Score: at, Member: id})
	}
	if n := slices.Index(reasons(), a.reason); n >= 0 && a.state == Waiting {
		p.ZAdd(ctx, keyWaits, redis.Z{Score: float64(n), Member: id})
	} else {
		p.ZRem(ctx, keyWaits, id)
	}
	rests := a.state.Terminal() || a.state == Paused
	if rests {
		p.ZRem(ctx, keyDue, id)
	} else {
		class, after := nextLook(a)
		s.times.setIn(ctx, p, keyDue, id, after, class.base())
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("audit job %s: %w", id, err)
	}
	if !rests {
		return nil
	}
	// Somebody may have resumed it since the audit looked: then it must not be forgotten.
	j, err := s.Get(ctx, id)
	if err != nil {
		return nil
	}
	if !j.State.Terminal() && j.State != Paused {
		s.look(ctx, id, 0)
	}
	return s.mindManifest(ctx, j)
}

// nextLook tells how soon, and how urgently, a job must be looked at again.
func nextLook(a audited) (dueClass, time.Duration) {
	switch {
	case a.owner != "":
		return dueRunning, lookRunning // its process may be gone
	case a.state == Queued:
		return dueQueued, lookQueued
	case a.state == Waiting && a.reason == ReasonQuota:
		return dueWaiting, lookWaiting
	case a.state == Waiting && !a.until.IsZero():
		return dueWaiting, min(max(a.until.Sub(a.now), time.Second), time.Minute)
	case a.state == Waiting:
		return dueWaiting, time.Minute
	}
	return dueRunning, lookRunning
}
