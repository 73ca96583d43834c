package jobs

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// window is a time of day during which a job may move files; it may reach over midnight.
type window struct {
	from, to time.Duration // since midnight
	always   bool
}

// parseWindow reads "22:00-06:00"; "" is always.
func parseWindow(s string) (window, error) {
	if s == "" {
		return window{always: true}, nil
	}
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return window{}, errors.New("isn't two times of day with a dash between")
	}
	from, err := timeOfDay(a)
	if err != nil {
		return window{}, err
	}
	to, err := timeOfDay(b)
	if err != nil {
		return window{}, err
	}
	if from == to {
		return window{}, errors.New("begins and ends at the same time")
	}
	return window{from: from, to: to}, nil
}

func timeOfDay(s string) (time.Duration, error) {
	t, err := time.Parse("15:04", strings.TrimSpace(s))
	if err != nil {
		return 0, fmt.Errorf("%q isn't a time of day", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// next returns the zero time while the window is open at t, else when it opens next, in t's zone.
func (w window) next(t time.Time) time.Time {
	if w.always {
		return time.Time{}
	}
	y, m, d := t.Date()
	at := func(day int, since time.Duration) time.Time {
		return time.Date(y, m, day, int(since/time.Hour), int(since%time.Hour/time.Minute), 0, 0, t.Location())
	}
	from, to := at(d, w.from), at(d, w.to)
	open := !t.Before(from) && t.Before(to)
	if w.from > w.to { // over midnight
		open = !t.Before(from) || t.Before(to)
	}
	switch {
	case open:
		return time.Time{}
	case t.Before(from):
		return from
	}
	return at(d+1, w.from)
}
