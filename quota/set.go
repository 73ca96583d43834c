package quota

import (
	"context"
	"crypto/rand"
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
	Reset     bool    // takes away all own settings first, so that the configured ones hold again
}

// Set changes a subject's settings, at once and for all workers, and returns how it stands then. Bad input is an
// *InputError, and nothing is changed. A removed account is opened again by a plan, a limit or a reset.
//
// A smaller limit takes nothing back: what is used and reserved stays, and nothing is granted until it fits again.
//
// Another anchor day or time zone never yields a free month: what was used in the running period stays counted, and the
// period then lasts until the first new anchor date on or after the date on which it would have ended. Setting the old
// values again undoes that.
//
// The limit of a remote has no plan, and its days have no anchor day and no time zone of their own.
func (l *Ledger) Set(ctx context.Context, subject string, c Change) (Status, error) {
	if err := l.checkChange(subject, c); err != nil {
		return Status{}, err
	}
	return l.update(ctx, subject, func(before state) (state, error) { return l.apply(subject, before, c) })
}

// update stores a change of a subject's settings, and computes it again as long as others are faster.
func (l *Ledger) update(ctx context.Context, subject string, change func(state) (state, error)) (Status, error) {
	for range maxMoves {
		before, err := l.read(ctx, subject)
		if err != nil {
			return Status{}, err
		}
		after, err := change(before)
		if err != nil {
			return Status{}, err
		}
		if err := l.register(ctx, subject); err != nil {
			return Status{}, err
		}
		done, err := l.store(ctx, subject, before, after)
		if err != nil {
			return Status{}, fmt.Errorf("set quota of %s: %w", title(subject), err)
		}
		if done {
			remote, _, _ := ParseSubject(subject)
			l.mu.Lock()
			delete(l.limits, remote)
			l.mu.Unlock()
			return l.Status(ctx, subject)
		}
	}
	return Status{}, fmt.Errorf("set quota of %s: others change it at the same time: try again", title(subject))
}

func (l *Ledger) checkChange(subject string, c Change) error {
	errs := []error{checkSubject(subject)}
	_, m, remote := ParseSubject(subject)
	switch {
	case remote && c.Plan != nil:
		errs = append(errs, inputError("plan", strconv.Quote(*c.Plan), "set a limit", "is for accounts: a remote has no plan"))
	case c.Plan != nil:
		if _, ok := l.cfg.tier(*c.Plan); !ok || *c.Plan == "" {
			errs = append(errs, unknownTier("plan", *c.Plan, l.cfg.Tiers))
		}
	}
	if c.Limit != nil {
		errs = append(errs, checkSubjectLimit(subject, *c.Limit))
	}
	if remote && m == PerDay && c.AnchorDay != nil {
		errs = append(errs, inputError("anchor-day", strconv.Itoa(*c.AnchorDay), "leave it out", "is for months: this limit begins anew each day"))
	} else if c.AnchorDay != nil {
		errs = append(errs, checkAnchor(*c.AnchorDay))
	}
	if remote && m == PerDay && c.TimeZone != nil {
		errs = append(errs, inputError("time-zone", strconv.Quote(*c.TimeZone), "leave it out", "is for months: days begin in the configured time zone"))
	} else if c.TimeZone != nil {
		errs = append(errs, checkZone(*c.TimeZone))
	}
	return errors.Join(errs...)
}

// apply returns the subject as it is to be after the change.
func (l *Ledger) apply(subject string, a state, c Change) (state, error) {
	old, err := l.settings(subject, a)
	if err != nil {
		return a, err
	}
	// A period that has ended is followed by the next one of the old anchor first, or the change would cut that short.
	if !a.period.End.IsZero() && !a.running() {
		a.period, a.until = a.next(old)
	}
	if c.Reset || c.Plan != nil || c.Limit != nil {
		a.removed = false
	}
	if c.Reset {
		a.plan, a.hasLimit, a.anchor, a.zone = "", false, 0, ""
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
	now, err := l.settings(subject, a)
	if err == nil && now.why != "" && !a.removed {
		err = errors.New(now.why)
	}
	if err != nil || a.period.End.IsZero() || now.anchor == old.anchor && now.zone == old.zone {
		return a, err
	}
	until, err := time.Parse(time.DateOnly, a.until)
	if err != nil {
		return a, fmt.Errorf("read quota of %s: %w", title(subject), err)
	}
	a.period.End = firstStart(until, now.anchor, now.loc)
	return a, nil
}

// store runs set.lua. It returns false where someone else was faster.
func (l *Ledger) store(ctx context.Context, subject string, before, after state) (bool, error) {
	text := func(show bool, n int64) string {
		if !show {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	known, has := !before.period.End.IsZero(), !after.period.End.IsZero()
	return l.scripts.set.Run(ctx, l.client, keys(subject),
		before.rev, text(known, millis(before.period.Start)), rand.Text(),
		after.plan, text(after.hasLimit, after.limit), text(after.anchor != 0, int64(after.anchor)), after.zone, flag(after.removed),
		after.period.ID, text(has, millis(after.period.Start)), text(has, millis(after.period.End)), after.until,
	).Bool()
}
