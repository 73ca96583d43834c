package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"offload/quota"
	"offload/transfer"
)

// Pause stops a job after the files that have begun; large ones are handed back.
func (s *Service) Pause(ctx context.Context, id string) (Job, error) {
	return s.change(ctx, id, from(Paused), string(Paused))
}

// Resume goes on with a paused or waiting job.
func (s *Service) Resume(ctx context.Context, id string) (Job, error) {
	full, err := s.resolve(ctx, id)
	if err != nil {
		return Job{}, err
	}
	// A person has acted: the waits for a sign-in begin with short ones again.
	if err := s.client.HDel(ctx, keysOf(full).job(), fieldRefusals).Err(); err != nil {
		return Job{}, fmt.Errorf("resume job %s: %w", full, err)
	}
	return s.change(ctx, id, "|"+string(Paused)+"|"+string(Waiting)+"|", "resume")
}

// Cancel ends a job for good; what was moved stays moved.
func (s *Service) Cancel(ctx context.Context, id string) (Job, error) {
	return s.change(ctx, id, from(Canceled), string(Canceled))
}

func (s *Service) change(ctx context.Context, id, allowed, to string) (Job, error) {
	id, err := s.resolve(ctx, id)
	if err != nil {
		return Job{}, err
	}
	before, err := s.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	s.look(ctx, id, firstLook) // should this process die right after the change
	if _, err := s.scripts.transition(ctx, id, allowed, to, s.by(ctx), "", hold{}); err != nil {
		return Job{}, err
	}
	if to != "resume" {
		s.unclaim(ctx, id, before.claim)
	}
	s.look(ctx, id, 0)
	if err := s.audit(ctx, id); err != nil {
		return Job{}, err
	}
	return s.Get(ctx, id)
}

// Retry does the failed files of an ended job again, scans again where a folder couldn't be listed, and purges again what
// stayed in the trash.
func (s *Service) Retry(ctx context.Context, id string) (Job, error) {
	j, err := s.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if !one(j.State, CompletedW, FailedState) {
		return Job{}, fmt.Errorf("job %s is %s: %w", j.ID, j.State, ErrState)
	}
	if err := s.checkVersion(ctx, j.ID); err != nil {
		return Job{}, err
	}
	f, err := s.client.HMGet(ctx, keysOf(j.ID).job(), "unlisted", "not_purged").Result()
	if err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", j.ID, err)
	}
	unlisted, _ := f[0].(string)
	unpurged, _ := f[1].(string) // the finish purges again
	rescan := !j.ScanComplete || number(unlisted) > 0
	reopened := 0
	err = s.batches(ctx, j.ID, func(b stored) error {
		n, err := s.reopen(ctx, j.ID, b)
		if !b.ended {
			n++ // reopened by a retry that was cut off, or never ended
		}
		reopened += n
		return err
	})
	if err != nil {
		return Job{}, err
	}
	if reopened == 0 && !rescan && number(unpurged) == 0 && j.State != FailedState {
		return Job{}, fmt.Errorf("job %s has no failed files: %w", j.ID, ErrState)
	}
	return s.restart(ctx, j.ID, rescan)
}

// restart lets an ended job run again, as lua/restart.lua says.
func (s *Service) restart(ctx context.Context, id string, rescan bool, orders ...any) (Job, error) {
	s.look(ctx, id, firstLook) // should this process die right after the change
	args := append([]any{from(Transferring), s.by(ctx), rescan}, orders...)
	n, state, err := s.scripts.verdict(ctx, "restart", id, []string{keysOf(id).crashes()}, args...)
	if err != nil {
		return Job{}, err
	}
	if n != 1 {
		return Job{}, fmt.Errorf("job %s is %s: %w", id, state, ErrState)
	}
	s.look(ctx, id, 0)
	if err := s.audit(ctx, id); err != nil {
		return Job{}, err
	}
	return s.Get(ctx, id)
}

// again is what an outcome becomes when its job is retried: a failed entry starts anew, a failed deletion goes on, and
// every other outcome stands.
func again(o transfer.Outcome) transfer.Outcome {
	if o.Result == transfer.SetAside && o.Code == transfer.CodeMaxTransfer {
		return transfer.Outcome{}
	}
	return o.Again()
}

// reopen makes an ended batch ready again where something in it is to be retried, and returns how many entries are.
func (s *Service) reopen(ctx context.Context, id string, b stored) (int, error) {
	n, change, verdicts := 0, counters{}, false
	var keep []any
	kinds := map[kind]bool{}
	for i, o := range b.done {
		next := again(o)
		if next != o {
			n++
			change.add(b.entries[i], o, -1)
			change.add(b.entries[i], next, 1)
			delete(change, "b_wasted") // what was wasted stays wasted
		}
		if next.Result == transfer.Pending {
			// What the scan gave up on is looked for again: it may be there now.
			verdicts = verdicts || b.entries[i].Verdict != transfer.Pending
			b.entries[i].Verdict, b.entries[i].Code, b.entries[i].Reason = "", "", ""
			continue
		}
		raw, err := json.Marshal(next)
		if err != nil {
			return 0, fmt.Errorf("reopen batch %d: %w", b.number, err)
		}
		keep, kinds[kindOf(next)] = append(keep, i, raw), true
	}
	if n == 0 || !b.ended {
		return n, nil
	}
	k := keysOf(id)
	if verdicts {
		blob, err := s.codec.packBatch(b.entries, b.dirs)
		if err != nil {
			return 0, err
		}
		if err := s.client.Set(ctx, k.batch(b.number), blob, 0).Err(); err != nil { // nobody works on an ended batch
			return 0, fmt.Errorf("reopen batch %d of job %s: %w", b.number, id, err)
		}
	}
	keys := append([]string{k.outcomes(b.number), k.ended(b.number)}, k.kindKeys(kinds)...)
	keys = append(keys, k.kindKeys(vanished(kindsIn(b.done), kinds))...)
	args := append(append([]any{batchUnit(b.number), b.number, len(kinds)}, change.args()...), keep...)
	_, _, err := s.scripts.verdict(ctx, "reopen", id, keys, args...)
	return n, err
}

// Remove forgets an ended job; it touches no file. The job's manifest stays in the store.
func (s *Service) Remove(ctx context.Context, id string) error {
	j, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	if !j.State.Terminal() {
		return fmt.Errorf("job %s is %s, cancel it first: %w", j.ID, j.State, ErrState)
	}
	if err := s.manifestBeforeRemoval(ctx, j); err != nil {
		return err
	}
	k := keysOf(j.ID)
	f, err := s.client.HGetAll(ctx, k.job()).Result()
	if err != nil {
		return fmt.Errorf("read job %s: %w", j.ID, err)
	}
	// Out of the index first: what a crash leaves behind then is only memory, never half a job on the screen.
	p := s.client.Pipeline()
	p.ZRem(ctx, keyIndex, j.ID)
	p.ZRem(ctx, keyDue, j.ID)
	p.ZRem(ctx, keyWaits, j.ID)
	p.ZRem(ctx, keyOwed, j.ID)
	p.ZRem(ctx, keyAccount(j.Account), j.ID)
	p.Del(ctx, slices.Concat(k.common(), []string{k.bandwidth(), k.crashes(), k.troubles()}, k.kindKeys(kindsKept(f)))...)
	for n := int64(1); n <= number(f["batches"]); n++ {
		p.Del(ctx, k.batch(n), k.outcomes(n), k.ended(n))
	}
	for _, key := range k.plannedKeys(number(f[fieldPlanned])) {
		p.Del(ctx, key)
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("remove job %s: %w", j.ID, err)
	}
	return nil
}

// Progress returns the live view of a job.
func (s *Service) Progress(ctx context.Context, id string) (Progress, error) {
	j, err := s.Get(ctx, id)
	if err != nil {
		return Progress{}, err
	}
	all, err := s.client.HGetAll(ctx, keysOf(j.ID).live()).Result()
	if err != nil {
		return Progress{}, fmt.Errorf("read progress of job %s: %w", j.ID, err)
	}
	now, err := s.now(ctx)
	if err != nil {
		return Progress{}, err
	}
	fleet, err := s.bands.set(ctx)
	if err != nil {
		return Progress{}, err
	}
	return progressOf(j, all, fleet, now)
}

// progressOf puts together what the workers report of a job; fleet is the bandwidth of all jobs.
func progressOf(j Job, live map[string]string, fleet string, now time.Time) (Progress, error) {
	p := Progress{Job: j, Limit: lowestRate(now, j.BwLimit, fleet), Quiet: math.MaxInt64}
	workers := map[string]bool{}
	seen := time.Duration(0)
	for who, raw := range live {
		var r liveReport
		if err := json.Unmarshal([]byte(raw), &r); err != nil {
			return Progress{}, fmt.Errorf("read progress of job %s: %w", j.ID, err)
		}
		if now.Sub(time.UnixMilli(r.At)) > 5*time.Second {
			continue
		}
		name, _, _ := strings.Cut(who, "/")
		workers[name] = true
		p.Rate += r.Rate
		p.Pace += r.Steady
		p.Quiet = min(p.Quiet, time.Duration(r.Idle)*time.Millisecond)
		p.Held = p.Held || r.Held
		seen = max(seen, time.Duration(r.Seen)*time.Millisecond)
		p.Moving += r.Moving
		p.Scanned += r.Scanned
		p.Current = append(p.Current, r.Current...)
		p.Job.Outages = addOutage(p.Job.Outages, r.Outages...)
		p.Job.Retrying = addRetrying(p.Job.Retrying, r.Retrying)
	}
	sort.Strings(p.Current)
	if p.Workers = len(workers); p.Workers == 0 {
		p.Quiet = 0
	}
	if seen < speedKnown {
		p.Pace = 0
	}
	return p, nil
}

// ErrRunning says that another process works on the same order.
var ErrRunning = errors.New("another process works on this already")

// FindInterrupted returns the newest job with the same order that has not ended and that no running process works on.
// Where one may still be working on it, it waits until that is certain (ownerSilence at most), and answers ErrRunning
// (wrapped, with the job) when it is: the same files moved twice at once would only get in each other's way.
func (s *Service) FindInterrupted(ctx context.Context, o Order) (Job, bool, error) {
	o = o.WithDefaults()
	want, err := json.Marshal(o)
	if err != nil {
		return Job{}, false, fmt.Errorf("look for an interrupted job: %w", err)
	}
	same, err := s.Same(ctx, o)
	if err != nil {
		return Job{}, false, err
	}
	for _, j := range same {
		if o.Goal != nil && o.Plan == "" { // whatever was chosen for the goal
			j.Order.Plan = ""
		}
		have, err := json.Marshal(j.Order)
		if err != nil {
			return Job{}, false, fmt.Errorf("look for an interrupted job: %w", err)
		}
		if !slices.Equal(have, want) {
			continue
		}
		alone, err := s.abandoned(ctx, j.ID)
		if err == nil && !alone {
			err = fmt.Errorf("job %s: %w", j.ID, ErrRunning)
		}
		return j, alone, err
	}
	return Job{}, false, nil
}

// abandoned tells whether no living process works on a job or would: neither its owner nor, for the pool's, any worker.
func (s *Service) abandoned(ctx context.Context, id string) (bool, error) {
	tick := time.NewTicker(beat / 2)
	defer tick.Stop()
	first := ""
	for {
		f, err := s.client.HMGet(ctx, keysOf(id).job(), "owner", "owner_until").Result()
		if err != nil {
			return false, fmt.Errorf("read job %s: %w", id, err)
		}
		owner, _ := f[0].(string)
		now, err := s.now(ctx)
		if err != nil {
			return false, err
		}
		if owner == "" {
			workers, err := s.liveWorkers(ctx)
			return len(workers) == 0, err
		}
		till, _ := f[1].(string)
		switch {
		case knownDead(owner) || fromMillis(till).Before(now):
			return true, nil
		case first == "":
			first = till
		case till != first:
			return false, nil // the owner has just said that it lives
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// liveWorkers are the names of the pool's workers that were heard of lately and aren't known to be dead.
func (s *Service) liveWorkers(ctx context.Context) ([]string, error) {
	// Nothing is dropped here: lua/fleet/beat.lua forgets a worker with all that is kept of it, and finds it by this set.
	names, err := s.times.ahead(ctx, keyWorkers, math.MaxInt64)
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	return slices.DeleteFunc(names, knownDead), nil
}

// QuotaChanged wakes the jobs that wait for quota, where something of them fits now: those of an account, or, for one of
// the ledger's subjects that limit a remote, those that use it.
func (s *Service) QuotaChanged(ctx context.Context, subject string) error {
	remote, _, isRemote := quota.ParseSubject(subject)
	opt := ListOptions{States: []State{Waiting, Scanning, Transferring}}
	if !isRemote {
		opt.Account = subject
	}
	return s.each(ctx, opt, func(j Job) error {
		if isRemote && !j.uses(remote) || j.State == Waiting && j.Reason != ReasonQuota {
			return nil
		}
		return s.auditAnd(ctx, j.ID, true)
	})
}
