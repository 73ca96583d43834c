package quota

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Change names the settings to change; nil leaves one as it is.
type Change struct {
	Plan      *string // name of a tier; its limit takes the place of an own one, unless Limit is set too
	Limit     *int64  // bytes a period of the account's own, or Unlimited
	AnchorDay *int    // 1 to 31
	TimeZone  *string // IANA name
}

// Set changes an account's settings, at once and for all workers, and returns how it stands then. Bad input is an
// *InputError, and nothing is changed.
//
// A smaller limit takes nothing back: what is used and reserved stays, and nothing is granted until it fits again.
//
// Another anchor day or time zone never yields a free month: what was used in the running period stays counted, and the
// period then lasts until the first new anchor date on or after the date on which it would have ended. Setting the old
// values again undoes that.
func (l *Ledger) Set(ctx context.Context, account string, c Change) (Status, error) {
	if err := l.checkChange(account, c); err != nil {
		return Status{}, err
	}
	for range maxMoves {
		before, err := l.read(ctx, account)
		if err != nil {
			return Status{}, err
		}
		after, err := l.apply(account, before, c)
		if err != nil {
			return Status{}, err
		}
		if err := l.register(ctx, account); err != nil {
			return Status{}, err
		}
		done, err := l.store(ctx, account, before, after)
		if err != nil {
			return Status{}, fmt.Errorf("set quota of account %s: %w", account, err)
		}
		if done {
			return l.Status(ctx, account)
		}
	}
	return Status{}, fmt.Errorf("set quota of account %s: others change it at the same time: try again", account)
}

func (l *Ledger) checkChange(account string, c Change) error {
	errs := []error{checkAccount(account)}
	if c.Plan != nil {
		if _, ok := l.cfg.tier(*c.Plan); !ok || *c.Plan == "" {
			errs = append(errs, unknownTier("plan", *c.Plan, l.cfg.Tiers))
		}
	}
	if c.Limit != nil {
		errs = append(errs, checkLimit(*c.Limit))
	}
	if c.AnchorDay != nil {
		errs = append(errs, checkAnchor(*c.AnchorDay))
	}
	if c.TimeZone != nil {
		errs = append(errs, checkZone(*c.TimeZone))
	}
	return errors.Join(errs...)
}

// apply returns the account as it is to be after the change.
func (l *Ledger) apply(account string, a state, c Change) (state, error) {
	old, err := l.settings(account, a)
	if err != nil {
		return a, err
	}
	// A period that has ended is followed by the next one of the old anchor first, or the change would cut that short.
	if !a.period.End.IsZero() && !a.running() {
		a.period, a.until = a.next(old)
	}
	if c.Plan != nil {
		a.plan, a.hasLimit = *c.Plan, false
	}
	if c.Limit != nil {
		a.limit, a.hasLimit = *c.Limit, true
	}
	if c.AnchorDay != nil {
		a.anchor = *c.AnchorDay
	}
	if c.TimeZone != nil {
		a.zone = *c.TimeZone
	}
	now, err := l.settings(account, a)
	if err == nil {
		err = now.err
	}
	if err != nil || a.period.End.IsZero() || now.anchor == old.anchor && now.zone == old.zone {
		return a, err
	}
	until, err := time.Parse(time.DateOnly, a.until)
	if err != nil {
		return a, fmt.Errorf("read quota of account %s: %w", account, err)
	}
	a.period.End = firstStart(until, now.anchor, now.loc)
	return a, nil
}

// store runs set.lua. It returns false where someone else was faster.
func (l *Ledger) store(ctx context.Context, account string, before, after state) (bool, error) {
	text := func(show bool, n int64) string {
		if !show {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	known, has := !before.period.End.IsZero(), !after.period.End.IsZero()
	return l.scripts.set.Run(ctx, l.client, keys(account),
		before.rev, text(known, millis(before.period.Start)),
		after.plan, text(after.hasLimit, after.limit), text(after.anchor != 0, int64(after.anchor)), after.zone,
		after.period.ID, text(has, millis(after.period.Start)), text(has, millis(after.period.End)), after.until,
	).Bool()
}
