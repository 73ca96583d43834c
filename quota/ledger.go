package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ledger counts the traffic of all accounts. It is safe for concurrent use and starts nothing in the background.
type Ledger struct {
	client  redis.UniversalClient
	cfg     Config
	scripts scripts

	mu    sync.Mutex
	terms map[string]*terms // by account, as last learned from Redis
}

// New returns a ledger in the Redis of client, which stays the caller's to close. Mistakes in cfg come as *InputError,
// joined. Redis isn't asked yet.
func New(client redis.UniversalClient, cfg Config) (*Ledger, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Ledger{client: client, cfg: cfg, scripts: newScripts(commonSource), terms: map[string]*terms{}}, nil
}

// Status is how an account stands.
type Status struct {
	Account   string `json:"account"`
	Plan      string `json:"plan"`
	Limit     int64  `json:"limit"`     // bytes a period; -1 is unlimited
	Used      int64  `json:"used"`      // bytes read in this period, and what open pools booked ahead
	Reserved  int64  `json:"reserved"`  // bytes set aside and not used yet
	Wasted    int64  `json:"wasted"`    // the part of Used that was read in vain
	Available int64  `json:"available"` // bytes that may still be reserved, never negative; -1 is unlimited
	AnchorDay int    `json:"anchor_day"`
	TimeZone  string `json:"time_zone"`
	Period    Period `json:"period"`
}

// Status tells how the account stands now, by Redis' clock; it changes nothing. An account that was never set or charged
// has the default plan. A bad name is an *InputError.
func (l *Ledger) Status(ctx context.Context, account string) (Status, error) {
	a, err := l.read(ctx, account)
	if err != nil {
		return Status{}, err
	}
	s, err := l.settings(account, a)
	if err == nil {
		err = s.err
	}
	if err != nil {
		return Status{}, err
	}
	st := Status{Account: account, Plan: s.plan, Limit: s.limit, Reserved: a.reserved, AnchorDay: s.anchor,
		TimeZone: s.zone, Period: a.period, Available: Unlimited}
	if a.running() {
		st.Used, st.Wasted = a.used, a.wasted
	} else {
		st.Period, _ = a.next(s)
	}
	if st.Period.Start.After(a.now) {
		l.cfg.Log.Warn("Redis' clock is behind the account's period; the quota resets when it has caught up",
			"account", account, "clock", a.now, "period", st.Period.ID)
	}
	if s.limit != Unlimited {
		st.Available = max(0, s.limit-st.Used-st.Reserved)
	}
	return st, nil
}

// Accounts returns the names of all accounts that were ever set or charged, sorted.
func (l *Ledger) Accounts(ctx context.Context) ([]string, error) {
	names, err := l.client.SMembers(ctx, accountsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Sweep closes the pools of all accounts whose lease has ended: what they charged stays used, the rest is free. It
// returns how many there were. It goes on after an error and returns all of them, joined.
func (l *Ledger) Sweep(ctx context.Context) (released int, err error) {
	accounts, err := l.Accounts(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, account := range accounts {
		n, err := l.scripts.sweep.Run(ctx, l.client, keys(account), l.cfg.Lease.Milliseconds()).Int()
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep quota reservations of account %s: %w", account, err))
			continue
		}
		if n > 0 {
			l.cfg.Log.Info("closed quota reservations whose owner is gone", "account", account, "pools", n)
		}
		released += n
	}
	return released, errors.Join(errs...)
}

// terms are what a script has to be told of an account. They hold until a script says that they have moved on, which
// it does at the end of each day and when the settings change; so the clock of this process is never asked.
type terms struct {
	rev   string
	limit int64
	err   error // why the limit isn't known: only reserving needs it
	day   Period
	next  Period // what to open when the stored period has ended
	until string
}

// known returns the account's terms, or ones that every script refuses.
func (l *Ledger) known(account string) *terms {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.terms[account]; t != nil {
		return t
	}
	return &terms{rev: "unknown"}
}

// learn takes an account's terms from a script's dump, and enters the account in the set of all. A member of that set
// without any state does no harm, while state without a member would never be swept; so it comes first.
func (l *Ledger) learn(ctx context.Context, account string, dump []string) error {
	a, err := parseState(dump)
	if err != nil {
		return err
	}
	s, err := l.settings(account, a)
	if err != nil {
		return err
	}
	if err := l.register(ctx, account); err != nil {
		return err
	}
	t := &terms{rev: a.rev, limit: s.limit, err: s.err, day: dayAt(a.now, s.loc)}
	t.next, t.until = a.next(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terms[account] = t
	return nil
}

func (l *Ledger) register(ctx context.Context, account string) error {
	if err := l.client.SAdd(ctx, accountsKey, account).Err(); err != nil {
		return fmt.Errorf("add account %s: %w", account, err)
	}
	return nil
}

// read asks Redis for an account's state.
func (l *Ledger) read(ctx context.Context, account string) (state, error) {
	if err := checkAccount(account); err != nil {
		return state{}, err
	}
	dump, err := l.scripts.status.Run(ctx, l.client, keys(account)).StringSlice()
	if err != nil {
		return state{}, fmt.Errorf("read quota of account %s: %w", account, err)
	}
	return parseState(dump)
}

// settings are an account's own settings with the configured defaults filled in.
type settings struct {
	plan   string
	limit  int64
	anchor int
	zone   string
	loc    *time.Location
	err    error // the plan is no longer configured, so that the limit isn't known
}

func (l *Ledger) settings(account string, a state) (settings, error) {
	s := settings{plan: a.plan, anchor: l.cfg.AnchorDay, zone: l.cfg.TimeZone}
	if a.anchor != 0 {
		s.anchor = a.anchor
	}
	if a.zone != "" {
		s.zone = a.zone
	}
	var err error
	if s.loc, err = time.LoadLocation(s.zone); err != nil {
		return s, fmt.Errorf("load time zone of account %s: %w", account, err)
	}
	t, ok := l.cfg.tier(a.plan)
	switch {
	case ok:
		s.plan, s.limit = t.Name, t.Limit
	case !a.hasLimit:
		// Better to grant nothing than to guess.
		s.err = fmt.Errorf("account %s has the plan %s, which isn't configured any more: configure it or set another plan", account, a.plan)
	}
	if a.hasLimit {
		s.limit = a.limit
	}
	return s, nil
}
