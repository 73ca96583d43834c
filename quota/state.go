package quota

import (
	"fmt"
	"strconv"
	"time"
)

// state is an account as Redis holds it, with the time of Redis' clock.
type state struct {
	now time.Time

	// Settings; rev changes with each of their changes. Zero values mean the configured default.
	rev      string
	plan     string
	limit    int64
	hasLimit bool
	anchor   int
	zone     string
	removed  bool

	period Period // the highest that was ever opened; zero when there was none
	until  string // date before which no other period may begin, "2026-12-01"

	used, wasted, reserved int64
}

// dumpFields is the length of the answer of dump in common.lua.
const dumpFields = 15

func parseState(dump []string) (state, error) {
	if len(dump) != dumpFields {
		return state{}, fmt.Errorf("read quota: %d fields instead of %d", len(dump), dumpFields)
	}
	var err error
	number := func(field int) int64 {
		if dump[field] == "" || err != nil {
			return 0
		}
		var n int64
		n, err = strconv.ParseInt(dump[field], 10, 64)
		return n
	}
	instant := func(field int) time.Time {
		if dump[field] == "" {
			return time.Time{}
		}
		return time.UnixMilli(number(field)).UTC()
	}
	a := state{
		now: instant(1), rev: dump[2], plan: dump[3], limit: number(4), hasLimit: dump[4] != "", anchor: int(number(5)),
		zone: dump[6], period: Period{ID: dump[7], Start: instant(8), End: instant(9)}, until: dump[10],
		used: number(11), wasted: number(12), reserved: number(13),
		removed: dump[14] != "",
	}
	if a.rev == "" {
		a.rev = "0"
	}
	if err != nil {
		return state{}, fmt.Errorf("read quota: %w", err)
	}
	return a, nil
}

// running tells whether the stored period hasn't ended. A clock that was put back doesn't open an older one.
func (a state) running() bool { return a.now.Before(a.period.End) }

// How much the beginning of a period may differ because the configured time zone, or the world's table of them, has
// changed. Nothing of the kind makes two days begin less than 20 hours apart.
const (
	monthSlack = 36 * time.Hour
	daySlack   = 4 * time.Hour
)

// next returns the period to open now if none is running, and the date before which no other may begin then. Where the
// configured anchor day or zone has changed, the period that holds now by the new one began before the stored one ended:
// the new period then also takes in the following one, so that two periods never begin less than a month (a day) apart.
func (a state) next(s settings) (Period, string) {
	p := s.periodAt(a.now)
	slack := monthSlack
	if s.daily {
		slack = daySlack
	}
	begins := dateOf(p.Start.In(s.loc)).Format(time.DateOnly) // tells an anchor day that is but one earlier
	if a.period.End.Sub(p.Start) > slack || begins < a.until {
		p.Start = a.period.End
		p.ID = dateOf(p.Start.In(s.loc)).Format(time.DateOnly)
		p.End = s.periodAt(p.End).End
	}
	return p, dateOf(p.End.In(s.loc)).Format(time.DateOnly)
}
