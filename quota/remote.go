package quota

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// limitsLife is how long the limits of a remote are taken as known: as long may one that is set by another process go
// unnoticed where the remote had none of the kind. Of limits that there are, every change is noticed at once.
const limitsLife = 3 * time.Second

// knownLimits is what was learned of a remote.
type knownLimits struct {
	subjects []string
	at       time.Time
}

// LimitsOf returns the subjects of these remotes ("" and unknown ones are passed over) that have a limit now, by
// configuration or by Set. The answer may be a few seconds old.
func (l *Ledger) LimitsOf(ctx context.Context, remotes ...string) ([]string, error) {
	now, known := time.Now(), map[string][]string{}
	var ask []string
	l.mu.Lock()
	for _, r := range remotes {
		if old, ok := l.limits[r]; ok && now.Sub(old.at).Abs() < limitsLife {
			known[r] = old.subjects
		} else if checkRemote(r) == nil && !slices.Contains(ask, r) {
			ask = append(ask, r)
		}
	}
	l.mu.Unlock()
	held, err := l.limited(ctx, ask)
	if err != nil {
		return nil, err
	}
	for _, subject := range held {
		r, _, _ := ParseSubject(subject)
		known[r] = append(known[r], subject)
	}
	l.mu.Lock()
	for _, r := range ask {
		l.limits[r] = knownLimits{known[r], now}
	}
	l.mu.Unlock()
	var all []string
	for i, r := range remotes {
		if !slices.Contains(remotes[:i], r) {
			all = append(all, known[r]...)
		}
	}
	return all, nil
}

// RemoteSubjects returns all limits of remotes that hold now, by configuration or by Set, sorted by remote.
func (l *Ledger) RemoteSubjects(ctx context.Context) ([]string, error) {
	names, err := l.client.SMembers(ctx, limitsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("list the limits of remotes: %w", err)
	}
	var remotes []string
	for _, name := range names {
		if r, _, ok := ParseSubject(name); ok {
			remotes = append(remotes, r)
		}
	}
	for r := range l.cfg.Remotes {
		remotes = append(remotes, r)
	}
	slices.Sort(remotes)
	return l.limited(ctx, slices.Compact(remotes))
}

// limited returns those limits of these remotes that hold now, in their order.
func (l *Ledger) limited(ctx context.Context, remotes []string) ([]string, error) {
	subjects := make([]string, 0, 3*len(remotes))
	for _, r := range remotes {
		for _, m := range Measures() {
			subjects = append(subjects, RemoteSubject(r, m))
		}
	}
	limits, err := l.remoteLimits(ctx, subjects)
	if err != nil {
		return nil, err
	}
	var held []string
	for i, subject := range subjects {
		if limits[i] != Unlimited {
			held = append(held, subject)
		}
	}
	return held, nil
}

// remoteLimits returns the limits that hold for these subjects now, in one round trip.
func (l *Ledger) remoteLimits(ctx context.Context, subjects []string) ([]int64, error) {
	limits := make([]int64, len(subjects))
	if len(subjects) == 0 {
		return limits, nil
	}
	own := make([]*redis.StringCmd, len(subjects))
	// A field that isn't there is an error too: each command's own is looked at below.
	_, _ = l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, subject := range subjects {
			own[i] = p.HGet(ctx, keys(subject)[0], "limit")
		}
		return nil
	})
	for i, subject := range subjects {
		text, err := own[i].Result()
		if err != nil && err != redis.Nil {
			return nil, fmt.Errorf("read limit of %s: %w", title(subject), err)
		}
		var a state
		if a.hasLimit = text != ""; a.hasLimit {
			if a.limit, err = strconv.ParseInt(text, 10, 64); err != nil {
				return nil, fmt.Errorf("read limit of %s: %w", title(subject), err)
			}
		}
		s, err := l.settings(subject, a)
		if err != nil {
			return nil, err
		}
		limits[i] = s.limit
	}
	return limits, nil
}
