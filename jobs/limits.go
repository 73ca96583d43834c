package jobs

import (
	"context"
	"fmt"
	"slices"

	"offload/quota"
)

// limit is a subject of the ledger that counts a job's bytes, and how often it counts each: twice where a job moves
// between two paths of one remote.
type limit struct {
	subject string
	times   int64
}

// limits are all that may refuse a job's traffic.
type limits struct {
	bytes []limit  // the account comes first
	calls []string // subjects that count API calls
}

// limitsOf returns what applies to a job now: its account, and the limits of its remotes that are set.
func (s *Service) limitsOf(ctx context.Context, j Job) (limits, error) {
	all := limits{bytes: []limit{{j.Account, 1}}}
	paths := []string{j.Source, j.Dest}
	if j.Kind == KindScrub {
		paths = paths[:1] // it reads there and writes nowhere
	}
	for _, path := range paths {
		remote := nameOfRemote(path)
		if remote == "" {
			continue
		}
		subjects, err := s.cfg.Ledger.LimitsOf(ctx, remote)
		if err != nil {
			return limits{}, fmt.Errorf("look for limits of remote %s: %w", remote, err)
		}
		for _, subject := range subjects {
			all.add(subject)
		}
	}
	return all, nil
}

func (l *limits) add(subject string) {
	if _, measure, ok := quota.ParseSubject(subject); ok && measure == quota.Calls {
		if !slices.Contains(l.calls, subject) {
			l.calls = append(l.calls, subject)
		}
		return
	}
	if i := slices.IndexFunc(l.bytes, func(have limit) bool { return have.subject == subject }); i >= 0 {
		l.bytes[i].times++
		return
	}
	l.bytes = append(l.bytes, limit{subject, 1})
}

// standing is how a limit stands for one claimant.
type standing struct {
	limit
	quota.Status
}

// fits tells whether a file of n bytes would be granted now.
func (s standing) fits(n int64) bool {
	return n == 0 || s.Available < 0 || n*s.times <= s.Available
}

// never tells whether no period carries n bytes.
func (s standing) never(n int64) bool { return s.Limit >= 0 && n*s.times > s.Limit }

// soon tells whether n bytes would fit this period, once the reservations of others have ended.
func (s standing) soon(n int64) bool { return s.Limit < 0 || n*s.times <= s.Limit-s.Used }

// standings asks the ledger how each limit stands for a claimant ("JOB:batch").
func (s *Service) standings(ctx context.Context, of []limit, claimant string) ([]standing, error) {
	all := make([]standing, 0, len(of))
	for _, l := range of {
		st, err := s.cfg.Ledger.StatusFor(ctx, l.subject, claimant)
		if err != nil {
			return nil, err
		}
		all = append(all, standing{l, st})
	}
	return all, nil
}

// callsOf asks the ledger how the limits of calls stand.
func (s *Service) callsOf(ctx context.Context, of []string) ([]standing, error) {
	all := make([]limit, 0, len(of))
	for _, subject := range of {
		all = append(all, limit{subject, 1})
	}
	return s.standings(ctx, all, "")
}

func allFit(of []standing, n int64) bool {
	return !slices.ContainsFunc(of, func(s standing) bool { return !s.fits(n) })
}

// fewCalls is how many calls must be left of a limit before a file begins: one that can't be ended would be moved in
// vain. Where a whole month has fewer, those must do.
const fewCalls = 8

// callsLeft tells whether each limit of calls has enough left to begin something.
func callsLeft(of []standing) bool {
	return !slices.ContainsFunc(of, func(s standing) bool { return !s.fits(enoughCalls(s.Limit)) })
}

func enoughCalls(limit int64) int64 {
	if limit >= 0 {
		return max(min(fewCalls, limit), 1)
	}
	return fewCalls
}

// claimantOf names a batch for the ledger's claims.
func claimantOf(job string, batch int64) string { return fmt.Sprintf("%s:%d", job, batch) }

// unitClaimant is claimantOf by the name of the batch's unit.
func unitClaimant(job, unit string) string {
	n, _ := batchNumber(unit)
	return claimantOf(job, n)
}
