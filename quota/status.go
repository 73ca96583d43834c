package quota

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Status is how a subject stands.
type Status struct {
	Account   string  `json:"account,omitempty"`   // "" for a limit of a remote
	Subject   string  `json:"subject,omitempty"`   // the limit of a remote, see ParseSubject; "" for an account
	Plan      string  `json:"plan,omitempty"`      // "" for a limit of a remote
	OwnLimit  bool    `json:"own_limit,omitempty"` // Limit is the account's own, not that of its plan
	Limit     int64   `json:"limit"`               // bytes a period; -1 is unlimited
	Used      int64   `json:"used"`                // bytes read in this period, and what open pools booked ahead
	Reserved  int64   `json:"reserved"`            // bytes set aside and not used yet
	Wasted    int64   `json:"wasted"`              // the part of Used that was read in vain
	Available int64   `json:"available"`           // bytes that may still be reserved, never negative; -1 is unlimited
	AnchorDay int     `json:"anchor_day"`          // 0 where periods are days
	TimeZone  string  `json:"time_zone"`
	Period    Period  `json:"period"`
	Removed   bool    `json:"removed,omitempty"`
	Why       string  `json:"why,omitempty"`    // why the account is closed (its Limit is 0), and what opens it again
	Events    []Event `json:"events,omitempty"` // thresholds that were reached in this period
}

// Name is the account or the subject.
func (s Status) Name() string { return s.Account + s.Subject }

// Status tells how the subject stands now, by Redis' clock; it changes nothing. An account that was never set or charged
// has the configured or the default plan. A bad name is an *InputError. Available takes no notice of claims.
func (l *Ledger) Status(ctx context.Context, subject string) (Status, error) {
	v, err := l.snapshot(ctx, subject)
	return v.st, err
}

// StatusFor is Status with Available as for a pool of that claimant ("" for none): what others' claims keep back is left
// out.
func (l *Ledger) StatusFor(ctx context.Context, subject, claimant string) (Status, error) {
	v, err := l.snapshot(ctx, subject)
	if err == nil && v.st.Limit != Unlimited {
		v.st.Available = max(0, v.st.Available-kept(v.claims, v.st, claimant))
	}
	return v.st, err
}

// snapshot is a subject as Redis told it at one moment.
type snapshot struct {
	st     Status
	claims []storedClaim // that count now, in their order
	at     time.Time     // by Redis' clock
}

func (l *Ledger) snapshot(ctx context.Context, subject string) (snapshot, error) {
	a, rest, err := l.look(ctx, subject)
	if err != nil {
		return snapshot{}, err
	}
	s, err := l.settings(subject, a)
	if err != nil {
		return snapshot{}, err
	}
	st := Status{Plan: s.plan, OwnLimit: s.own, Limit: s.limit, Reserved: a.reserved, AnchorDay: s.anchor, TimeZone: s.zone,
		Period: a.period, Available: Unlimited, Removed: a.removed, Why: s.why}
	if _, _, remote := ParseSubject(subject); remote {
		st.Subject = subject
	} else {
		st.Account = subject
	}
	if a.running() {
		st.Used, st.Wasted = a.used, a.wasted
	} else {
		st.Period, _ = a.next(s)
	}
	if st.Period.Start.After(a.now) {
		l.cfg.Log.Warn("Redis' clock is behind the account's period; the quota resets when it has caught up",
			"subject", subject, "clock", a.now, "period", st.Period.ID)
	}
	if s.limit != Unlimited {
		st.Available = max(0, s.limit-st.Used-st.Reserved)
	}
	claims, err := parseClaims(rest.claims, a.now, st.Period.Start)
	if err != nil {
		return snapshot{}, fmt.Errorf("read quota of %s: %w", title(subject), err)
	}
	for _, text := range rest.events {
		e, err := parseEvent(subject, text)
		if err != nil {
			return snapshot{}, err
		}
		if e.Period == st.Period.ID {
			st.Events = append(st.Events, e)
		}
	}
	return snapshot{st, claims, a.now}, nil
}

// around is what status.lua tells beside the state.
type around struct{ claims, events []string }

// read asks Redis for a subject's state.
func (l *Ledger) read(ctx context.Context, subject string) (state, error) {
	a, _, err := l.look(ctx, subject)
	return a, err
}

// look asks Redis for a subject's state, its claims and its last events.
func (l *Ledger) look(ctx context.Context, subject string) (state, around, error) {
	if err := checkSubject(subject); err != nil {
		return state{}, around{}, err
	}
	reply, err := l.scripts.status.Run(ctx, l.client, keys(subject)).Slice()
	if err != nil {
		return state{}, around{}, fmt.Errorf("read quota of %s: %w", title(subject), err)
	}
	var parts [3][]string
	for i := range parts {
		part, ok := []any(nil), false
		if i < len(reply) {
			part, ok = reply[i].([]any)
		}
		if parts[i], err = redis.NewCmdResult(part, nil).StringSlice(); err != nil || !ok {
			return state{}, around{}, fmt.Errorf("read quota of %s: part %d is %T", title(subject), i, part)
		}
	}
	a, err := parseState(parts[0])
	return a, around{claims: parts[1], events: parts[2]}, err
}
