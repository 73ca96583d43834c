package quota

import (
	"sort"
	"time"

	// Time zones must be known in a container without zoneinfo too: without them no period could be told.
	_ "time/tzdata"
)

// Period is the month that a quota counts.
type Period struct {
	ID    string    `json:"id"`    // nominal date of its beginning, "2026-11-15"
	Start time.Time `json:"start"` // UTC, first instant of the period
	End   time.Time `json:"end"`   // UTC, first instant after it
}

// PeriodAt returns the period that holds t: periods begin at midnight in loc on anchorDay (1 to 31, beyond that the
// nearest of them), or on the last day of months that are shorter. Where clocks are put forward over midnight, the
// period begins with the first instant of that day, and where a zone leaves the day out, with the next one.
func PeriodAt(t time.Time, anchorDay int, loc *time.Location) Period {
	anchorDay = min(max(anchorDay, 1), 31)
	year, month, _ := t.In(loc).Date()
	// A day may be told twice where clocks are put back over midnight: start a month ahead, where t surely isn't, and go
	// down to the last beginning at or before t.
	for month++; ; month-- {
		start := anchorDate(year, month, anchorDay)
		if from := startOfDay(start, loc); !from.After(t) {
			next := anchorDate(year, month+1, anchorDay)
			return Period{ID: start.Format(time.DateOnly), Start: from, End: startOfDay(next, loc)}
		}
	}
}

// dayAt is PeriodAt for days.
func dayAt(t time.Time, loc *time.Location) Period {
	for date := dateOf(t.In(loc)).AddDate(0, 0, 1); ; date = date.AddDate(0, 0, -1) {
		if from := startOfDay(date, loc); !from.After(t) {
			return Period{ID: date.Format(time.DateOnly), Start: from, End: startOfDay(date.AddDate(0, 0, 1), loc)}
		}
	}
}

// firstStart returns the first beginning of a period on or after a date, by the calendar of the zone.
func firstStart(date time.Time, anchorDay int, loc *time.Location) time.Time {
	start := anchorDate(date.Year(), date.Month(), anchorDay)
	if start.Before(date) {
		start = anchorDate(date.Year(), date.Month()+1, anchorDay)
	}
	return startOfDay(start, loc)
}

// anchorDate returns the date, as midnight UTC, on which the period of a month begins. Months beyond December and
// before January are those of the years beside.
func anchorDate(year int, month time.Month, anchorDay int) time.Time {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
	return last.AddDate(0, 0, min(anchorDay, last.Day())-last.Day())
}

// dateOf returns the date of a local time as midnight UTC.
func dateOf(local time.Time) time.Time {
	y, m, d := local.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// startOfDay returns, in UTC, the first instant whose local date is the given one or later. time.Date isn't used for
// it: where midnight doesn't exist or comes twice, it doesn't promise which instant it returns. No zone has ever been
// more than 16 hours off UTC, and the one day that was left out (Apia, 2011) fits the window as well.
func startOfDay(date time.Time, loc *time.Location) time.Time {
	const before, window = 16 * time.Hour, 56 * time.Hour
	from := date.Add(-before)
	n := sort.Search(int(window/time.Second), func(i int) bool {
		return !dateOf(from.Add(time.Duration(i) * time.Second).In(loc)).Before(date)
	})
	return from.Add(time.Duration(n) * time.Second)
}
