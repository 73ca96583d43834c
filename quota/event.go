package quota

import (
	"context"
	"fmt"
	"time"
)

// Event is a threshold that a subject reached, once in a period.
type Event struct {
	Subject string    `json:"subject"`
	Percent int       `json:"percent"` // 80 or 100
	At      time.Time `json:"at"`
	Period  string    `json:"period"` // ID of the period
	Used    int64     `json:"used"`   // at that moment
	Limit   int64     `json:"limit"`
}

// Events returns the last events of a subject (at most 100), oldest first.
func (l *Ledger) Events(ctx context.Context, subject string) ([]Event, error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	texts, err := l.client.LRange(ctx, keys(subject)[5], 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read quota events of %s: %w", title(subject), err)
	}
	events := make([]Event, len(texts))
	for i, text := range texts {
		if events[i], err = parseEvent(subject, text); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// parseEvent reads "percent at period used limit".
func parseEvent(subject, text string) (Event, error) {
	e := Event{Subject: subject}
	var at int64
	if _, err := fmt.Sscan(text, &e.Percent, &at, &e.Period, &e.Used, &e.Limit); err != nil {
		return e, fmt.Errorf("read quota event %q of %s: %w", text, title(subject), err)
	}
	e.At = time.UnixMilli(at).UTC()
	return e, nil
}

// Exhausted notes that a job waits since nothing more of it fits this period: the 100 % event, once a period, also where
// a few bytes are left that no file fits into. Unlimited and closed subjects have no events.
func (l *Ledger) Exhausted(ctx context.Context, subject string) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	var limit int64
	reply, err := l.count(ctx, l.scripts.exhausted, subject, func(t *terms) []any {
		limit = t.limit
		return []any{limit}
	})
	if err != nil {
		return fmt.Errorf("note that the quota of %s is used up: %w", title(subject), err)
	}
	if reply[1] != "0" {
		l.cfg.Log.Warn("what a quota has left is too little for any file that waits", "subject", subject, "limit", limit)
	}
	return nil
}

// warnReached logs a threshold, in the one process that crossed it.
func (l *Ledger) warnReached(subject, percent string, limit int64) {
	l.cfg.Log.Warn("a quota has reached "+percent+" %", "subject", subject, "limit", limit)
}
