package quota

import (
	"fmt"
	"time"
)

// settings are a subject's own settings with the configured ones and the defaults filled in.
type settings struct {
	plan   string // "" for the limits of remotes
	limit  int64
	own    bool // the limit is the account's own, not its plan's
	anchor int  // 0 where periods are days
	daily  bool // periods are days
	zone   string
	loc    *time.Location
	why    string // the account is closed (removed, or its plan isn't configured): limit is 0
}

// settings returns what holds for a subject: what is stored, else what is configured for it, else the defaults.
func (l *Ledger) settings(subject string, a state) (settings, error) {
	s := settings{zone: l.cfg.TimeZone}
	if remote, m, ok := ParseSubject(subject); ok {
		s.ofRemote(l.cfg.Remotes[remote].of(m), m, a)
	} else {
		s.ofAccount(l.cfg, subject, a)
	}
	if a.anchor != 0 {
		s.anchor = a.anchor
	}
	if a.zone != "" {
		s.zone = a.zone
	}
	var err error
	if s.loc, err = time.LoadLocation(s.zone); err != nil {
		return s, fmt.Errorf("load time zone of %s: %w", title(subject), err)
	}
	return s, nil
}

// ofAccount fills in plan, limit and the configured period of an account.
func (s *settings) ofAccount(cfg Config, account string, a state) {
	own := cfg.Accounts[account]
	s.anchor = cfg.AnchorDay
	if own.AnchorDay != 0 {
		s.anchor = own.AnchorDay
	}
	if own.TimeZone != "" {
		s.zone = own.TimeZone
	}
	s.plan = a.plan
	if s.plan == "" {
		s.plan = own.Plan
	}
	t, ok := cfg.tier(s.plan)
	switch {
	case a.hasLimit:
		s.limit, s.own = a.limit, true
	case a.plan == "" && own.Limit != 0:
		s.limit, s.own = own.Limit, true
	case ok:
		s.limit = t.Limit
	default:
		// Better to grant nothing than to guess.
		s.why = fmt.Sprintf("account %s has the plan %s, which isn't configured any more: configure it, or set another plan "+
			"(`%s`)", account, s.plan, RaiseCommand(account))
	}
	if ok {
		s.plan = t.Name
	}
	if a.removed {
		s.limit, s.own = 0, false
		s.why = fmt.Sprintf("account %s was removed: `%s` opens it again", account, RaiseCommand(account))
	}
}

// ofRemote fills in the limit of a remote; configured is 0 for none.
func (s *settings) ofRemote(configured int64, m Measure, a state) {
	s.anchor, s.daily = defaultAnchor, m == PerDay
	if s.daily {
		s.anchor = 0
	}
	switch {
	case a.hasLimit:
		s.limit = a.limit
	case configured > 0:
		s.limit = configured
	default:
		s.limit = Unlimited
	}
}

// periodAt returns the period of these settings that holds t.
func (s settings) periodAt(t time.Time) Period {
	if s.daily {
		return dayAt(t, s.loc)
	}
	return PeriodAt(t, s.anchor, s.loc)
}

// callsQuantum is how many API calls a pool books ahead: what a crash costs.
const callsQuantum = 16

// quantum is how much a pool of the subject books ahead.
func (l *Ledger) quantum(subject string) int64 {
	if _, m, ok := ParseSubject(subject); ok && m == Calls {
		return callsQuantum
	}
	return l.cfg.Quantum
}
