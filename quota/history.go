package quota

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Day is one day's traffic of a subject, in its own time zone.
type Day struct {
	Date   string        // "2026-11-22"
	Used   int64         // bytes, waste included
	Wasted int64         // bytes
	Busy   time.Duration // time during which traffic went on
}

// History returns the days with traffic, oldest first, at most 400. Over all days, Used adds up to what all periods used,
// to the byte. Waste is told of the day on which it was found.
func (l *Ledger) History(ctx context.Context, subject string) ([]Day, error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	fields, err := l.client.HGetAll(ctx, keys(subject)[3]).Result()
	if err != nil {
		return nil, fmt.Errorf("read quota history of %s: %w", title(subject), err)
	}
	byDate := map[string]*Day{}
	for field, value := range fields {
		date, what, _ := strings.Cut(field, " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read quota history of %s, %s: %w", title(subject), field, err)
		}
		d := byDate[date]
		if d == nil {
			d = &Day{Date: date}
			byDate[date] = d
		}
		switch what {
		case "used":
			d.Used = n
		case "wasted":
			d.Wasted = n
		case "busy":
			d.Busy = time.Duration(n) * time.Millisecond
		}
	}
	days := []Day{}
	for _, d := range byDate {
		if d.Used != 0 || d.Wasted != 0 {
			days = append(days, *d)
		}
	}
	slices.SortFunc(days, func(x, y Day) int { return cmp.Compare(x.Date, y.Date) })
	return days, nil
}
