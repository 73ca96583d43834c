package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Ledger counts the traffic of all accounts and remotes. It is safe for concurrent use and starts nothing in the background.
type Ledger struct {
	client  redis.UniversalClient
	cfg     Config
	scripts scripts

	mu     sync.Mutex
	terms  map[string]*terms      // by subject, as last learned from Redis
	limits map[string]knownLimits // by remote, for a few seconds
}

// New returns a ledger in the Redis of client, which stays the caller's to close. Mistakes in cfg come as *InputError,
// joined. Redis isn't asked yet.
func New(client redis.UniversalClient, cfg Config) (*Ledger, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Ledger{client: client, cfg: cfg, scripts: newScripts(commonSource), terms: map[string]*terms{},
		limits: map[string]knownLimits{}}, nil
}

// Accounts returns the names of all accounts that are configured or were ever set or charged, sorted. Removed ones are
// left out as soon as nothing is reserved for them any more.
func (l *Ledger) Accounts(ctx context.Context) ([]string, error) {
	names, err := l.client.SMembers(ctx, accountsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	for name := range l.cfg.Accounts {
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	fields := make([]*redis.SliceCmd, len(names))
	_, err = l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			fields[i] = p.HMGet(ctx, keys(name)[0], "removed", "reserved")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	kept := names[:0]
	for i, name := range names {
		v := fields[i].Val()
		removed, reserved := v[0] != nil, v[1] != nil && v[1] != "0"
		if !removed || reserved {
			kept = append(kept, name)
		}
	}
	return kept, nil
}

// Sweep closes the pools of all subjects whose lease has ended: what they charged stays used, the rest is free. It
// returns how many there were. It goes on after an error and returns all of them, joined.
func (l *Ledger) Sweep(ctx context.Context) (released int, err error) {
	subjects, err := l.busy(ctx)
	if err != nil {
		return 0, err
	}
	cmds := make([]*redis.Cmd, len(subjects))
	// Each command's own error is looked at below.
	_, _ = l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, subject := range subjects {
			cmds[i] = l.scripts.sweep.EvalSha(ctx, p, keys(subject), l.cfg.Lease.Milliseconds())
		}
		return nil
	})
	var errs []error
	for i, subject := range subjects {
		n, err := cmds[i].Int()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			n, err = l.scripts.sweep.Run(ctx, l.client, keys(subject), l.cfg.Lease.Milliseconds()).Int()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep quota reservations of %s: %w", title(subject), err))
			continue
		}
		if n > 0 {
			l.cfg.Log.Info("closed quota reservations whose owner is gone", "subject", subject, "pools", n)
		}
		released += n
	}
	return released, errors.Join(errs...)
}

// busy returns the subjects that have reservations or claims, removed accounts too.
func (l *Ledger) busy(ctx context.Context) ([]string, error) {
	var subjects []string
	for _, set := range []string{accountsKey, limitsKey} {
		names, err := l.client.SMembers(ctx, set).Result()
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		subjects = append(subjects, names...)
	}
	counts := make([][2]*redis.IntCmd, len(subjects))
	_, err := l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, subject := range subjects {
			k := keys(subject)
			counts[i] = [2]*redis.IntCmd{p.ZCard(ctx, k[2]), p.HLen(ctx, k[4])}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count quota reservations: %w", err)
	}
	var busy []string
	for i, subject := range subjects {
		if counts[i][0].Val() > 0 || counts[i][1].Val() > 0 {
			busy = append(busy, subject)
		}
	}
	return busy, nil
}

// terms are what a script has to be told of a subject. They hold until a script says that they have moved on, which
// it does at the end of each day and when the settings change; so the clock of this process is never asked.
type terms struct {
	rev   string
	limit int64
	why   string // not "" where the limit is 0 because the account is closed
	day   Period
	next  Period // what to open when the stored period has ended
	until string
}

// known returns the subject's terms, or ones that every script refuses.
func (l *Ledger) known(subject string) *terms {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.terms[subject]; t != nil {
		return t
	}
	return &terms{rev: "unknown"}
}

// learn takes a subject's terms from a script's dump, and enters the subject in the set of all. A member of that set
// without any state does no harm, while state without a member would never be swept; so it comes first.
func (l *Ledger) learn(ctx context.Context, subject string, dump []string) error {
	a, err := parseState(dump)
	if err != nil {
		return err
	}
	s, err := l.settings(subject, a)
	if err != nil {
		return err
	}
	if err := l.register(ctx, subject); err != nil {
		return err
	}
	t := &terms{rev: a.rev, limit: s.limit, why: s.why, day: dayAt(a.now, s.loc)}
	t.next, t.until = a.next(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terms[subject] = t
	return nil
}

func (l *Ledger) register(ctx context.Context, subject string) error {
	if err := l.client.SAdd(ctx, setOf(subject), subject).Err(); err != nil {
		return fmt.Errorf("add %s: %w", title(subject), err)
	}
	return nil
}
