package schedules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones are known in a container that holds nothing but this program, too

	"github.com/robfig/cron/v3"

	"offload/jobs"
)

// The periods of When.Every.
const (
	Day   = "day"
	Week  = "week"
	Month = "month"
)

// LastDay is the When.On of a monthly schedule that runs on the last day of each month.
const LastDay = "last"

// When says at which times of a zone a schedule runs: by a line of cron's, or every day, week or month.
//
// A time that the zone's clock jumps over (the hour that is left out in spring, a day that a zone left out altogether) is
// run at the moment of the jump; one that comes twice is run the first time. A line of cron's that names every hour goes by
// the time that passes instead: nothing is made up for, and the repeated hour counts again.
type When struct {
	Cron  string `json:"cron,omitempty"`  // minute, hour, day of month, month, day of week; "" with Every
	Every string `json:"every,omitempty"` // Day, Week or Month; "" with Cron
	At    string `json:"at,omitempty"`    // "03:00"; with Every
	// On is the days of a weekly schedule, "mon" or "mon,thu", or the day of a monthly one, "1" to "31" or LastDay. A month
	// that is too short is run on its last day.
	On   string `json:"on,omitempty"`
	Zone string `json:"zone"` // IANA name, such as Europe/Berlin
}

// wrong is a mistake in a field of a When.
func wrong(field, value, hint string, err error) error {
	return &jobs.OrderError{Field: field, Value: value, Hint: hint, Err: err}
}

// civil finds times of a clock that knows no zone and never jumps; they are kept as UTC. It returns the first one after t,
// or the zero time where there is none within years.
type civil interface{ Next(t time.Time) time.Time }

// clock is a When that was read: its times of day, and how its zone's clock goes.
type clock struct {
	civil  civil
	hourly bool // every hour is named: it goes by the time that passes
	zone   *time.Location
}

// WithDefaults returns the When with a time and a day where it names none: 03:00, Mondays, the first of the month.
func (w When) WithDefaults() When {
	if w.Every != "" {
		w.At = orDefault(w.At, "03:00")
	}
	switch w.Every {
	case Week:
		w.On = orDefault(w.On, "mon")
	case Month:
		w.On = orDefault(w.On, "1")
	}
	return w
}

func orDefault(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Validate returns a *jobs.OrderError for the first mistake.
func (w When) Validate() error {
	_, err := w.read()
	return err
}

// read makes sense of a When with its defaults.
func (w When) read() (clock, error) {
	w = w.WithDefaults()
	zone, err := readZone(w.Zone)
	if err != nil {
		return clock{}, err
	}
	c := clock{zone: zone}
	switch {
	case w.Cron == "" && w.Every == "":
		return c, wrong("when", "", "add --every day, week or month, or --cron \"0 3 * * *\"", errors.New("nothing says when it runs"))
	case w.Cron != "" && (w.Every != "" || w.At != "" || w.On != ""):
		return c, wrong("cron", w.Cron, "a line of cron's says it all: leave out every, at and on, or the line", errors.New("doesn't go with every, at and on"))
	case w.Cron != "":
		return c.readCron(w.Cron)
	}
	hour, minute, err := readTime(w.At)
	if err != nil {
		return c, err
	}
	switch w.Every {
	case Day:
		if w.On != "" {
			return c, wrong("on", w.On, "leave it out, or run it every week or month", errors.New("means nothing for every day"))
		}
		return c.readCron(fmt.Sprintf("%d %d * * *", minute, hour))
	case Week:
		days, err := readDays(w.On)
		if err != nil {
			return c, err
		}
		return c.readCron(fmt.Sprintf("%d %d * * %s", minute, hour, strings.Join(days, ",")))
	case Month:
		day, err := readDay(w.On)
		c.civil = monthly{day, hour, minute}
		return c, err
	}
	return c, wrong("every", w.Every, "choose day, week or month; \"0 * * * *\" as a line of cron's is every hour", errors.New("isn't known"))
}

// readZone finds a zone by its name.
func readZone(name string) (*time.Location, error) {
	no := func(hint string) error { return wrong("zone", name, hint, errors.New("isn't a time zone")) }
	const example = "write an IANA name such as Europe/Berlin or UTC"
	if name == "" {
		return nil, wrong("zone", "", example, errors.New("is missing"))
	}
	zone, err := time.LoadLocation(name)
	// The name Local would mean another zone on each machine. Names are kept with the case that they have everywhere.
	if err != nil || name == "Local" || zone.String() != name || name != strings.TrimSpace(name) {
		if near := nearZone(name); near != "" {
			return nil, no("did you mean " + near + "?")
		}
		return nil, no(example)
	}
	return zone, nil
}

// readTime reads a time of day, "03:00".
func readTime(text string) (hour, minute int, err error) {
	h, m, ok := strings.Cut(text, ":")
	hour, okHour := digits(h, 1, 2, 23)
	minute, okMinute := digits(m, 2, 2, 59)
	if !ok || !okHour || !okMinute {
		return 0, 0, wrong("at", text, "write hours and minutes, such as 03:00 or 18:30", errors.New("isn't a time of day"))
	}
	return hour, minute, nil
}

// digits reads a number of so many ASCII digits up to most.
func digits(s string, least, longest, most int) (int, bool) {
	if len(s) < least || len(s) > longest || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n <= most
}

// weekdays are the names of the days as cron and When.On have them, Sunday first.
func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// readDays reads days of the week: "mon", "mon,thu", "Monday".
func readDays(text string) ([]string, error) {
	var days []string
	for _, word := range strings.Split(text, ",") {
		found := ""
		for i, d := range weekdays() {
			w := strings.ToLower(strings.TrimSpace(word))
			if w == d || w == strings.ToLower(time.Weekday(i).String()) {
				found = d
			}
		}
		if found == "" {
			return nil, wrong("on", text, "write days of the week such as mon or mon,thu", errors.New("isn't a list of days of the week"))
		}
		days = append(days, found)
	}
	return days, nil
}

// readDay reads a day of the month: "1" to "31", or "last", which is 31.
func readDay(text string) (int, error) {
	if strings.EqualFold(text, LastDay) {
		return 31, nil
	}
	n, ok := digits(text, 1, 2, 31)
	if !ok || n == 0 {
		return 0, wrong("on", text, "write a day from 1 to 31, or last; a month that is too short is run on its last day", errors.New("isn't a day of the month"))
	}
	return n, nil
}

// cronMost bounds a line of cron's, in characters.
const cronMost = 200

// readCron reads a line of cron's. The fields are as every cron has them; what only some know is refused with what to write
// instead.
func (c clock) readCron(line string) (clock, error) {
	no := func(hint string, err error) (clock, error) { return c, wrong("cron", line, hint, err) }
	const example = `write minute, hour, day of month, month and day of week, such as "0 3 * * *" for every day at 03:00`
	fields := strings.Fields(line)
	switch {
	case len(line) > cronMost:
		return no(example, fmt.Errorf("is longer than %d characters", cronMost))
	case strings.Contains(line, "TZ="):
		return no("name the time zone beside it", errors.New("a time zone doesn't belong into it"))
	case strings.HasPrefix(strings.TrimSpace(line), "@"):
		return no(example, errors.New("names such as @daily aren't taken"))
	case len(fields) == 6:
		return no("leave out the seconds: "+example, errors.New("has six fields instead of five"))
	case len(fields) != 5:
		return no(example, fmt.Errorf("has %d of five fields", len(fields)))
	case strings.Trim(fields[4], "0123456789*,-/?abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "", strings.HasSuffix(strings.ToUpper(fields[2]), "L"):
		return no("run it every month on the last day instead", errors.New("the last day of a month can't be said in it"))
	}
	for i, f := range fields {
		// The library takes an empty list for none at all.
		if strings.HasPrefix(f, ",") || strings.HasSuffix(f, ",") || strings.Contains(f, ",,") {
			return no(example, fmt.Errorf("field %d has an empty place in its list", i+1))
		}
	}
	if fields[4] == "7" { // Sunday, to many
		fields[4] = "0"
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(strings.Join(fields, " "))
	spec, ok := parsed.(*cron.SpecSchedule)
	if err != nil || !ok {
		return no(example, fmt.Errorf("can't be read: %w", err))
	}
	spec.Location = time.UTC
	const star = 1 << 63 // the library's mark of a field that is "*"
	c.civil, c.hourly = spec, spec.Hour&star != 0
	if spec.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return no("choose a day that the month has", errors.New("never comes"))
	}
	return c, nil
}

// monthly is a time on a day of each month, or on the last day of a month that has no such day.
type monthly struct{ day, hour, minute int }

// Next implements civil.
func (m monthly) Next(t time.Time) time.Time {
	for year, month := t.Year(), t.Month(); ; month++ {
		last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
		if at := time.Date(year, month, min(m.day, last), m.hour, m.minute, 0, 0, time.UTC); at.After(t) {
			return at
		}
	}
}

// next returns the first time to run after t; the zero time where there is none within years. A zone's clock is a row of
// stretches in which it goes evenly: within one, a time of day is one moment.
func (c clock) next(t time.Time) time.Time {
	wall := wallOf(t, offsetAt(t, c.zone))
	for at := t; ; {
		start, end := at.In(c.zone).ZoneBounds()
		offset := offsetAt(at, c.zone)
		for {
			if wall = c.civil.Next(wall); wall.IsZero() {
				return time.Time{}
			}
			found := wall.Add(-offset)
			if !end.IsZero() && !found.Before(end) {
				break
			}
			if c.hourly || !c.repeated(wall, start) {
				return found
			}
		}
		// Nothing more in this stretch. What the clock jumps over at its end is run at that moment.
		from, to := wallOf(end, offset), wallOf(end, offsetAt(end, c.zone))
		if left := c.civil.Next(from.Add(-time.Second)); !c.hourly && !left.IsZero() && left.Before(to) {
			return end
		}
		at, wall = end, to.Add(-time.Second)
	}
}

// repeated tells whether the clock has shown this time before the stretch that begins at start: it was put back then.
func (c clock) repeated(wall, start time.Time) bool {
	if start.IsZero() {
		return false
	}
	before := offsetAt(start.Add(-time.Second), c.zone)
	return wall.Before(wallOf(start, before))
}

func offsetAt(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// wallOf is what a clock of that offset shows, as UTC.
func wallOf(t time.Time, offset time.Duration) time.Time { return t.UTC().Add(offset) }

// latest returns the last time to run that isn't after now and not before from, which is one itself, and how many there were
// before it; these are counted up to missedMost.
func (c clock) latest(from, now time.Time) (at time.Time, missed int) {
	at = from
	for missed < missedMost {
		n := c.next(at)
		if n.IsZero() || n.After(now) {
			return at, missed
		}
		at, missed = n, missed+1
	}
	// So many that they aren't looked at one by one: the last one lies in the shortest stretch before now that has any.
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 32 * 24 * time.Hour, 400 * 24 * time.Hour, 3000 * 24 * time.Hour} {
		n := c.next(now.Add(-back))
		if n.IsZero() || n.After(now) {
			continue
		}
		for ; !n.IsZero() && !n.After(now); n = c.next(n) {
			at = n
		}
		return at, missed
	}
	return at, missed
}

// missedMost is how many missed runs are counted.
const missedMost = 1000

// Next returns the next n times to run after t, in the schedule's zone.
func (w When) Next(t time.Time, n int) ([]time.Time, error) {
	c, err := w.read()
	if err != nil {
		return nil, err
	}
	var all []time.Time
	for range n {
		if t = c.next(t); t.IsZero() {
			break
		}
		all = append(all, t.In(c.zone))
	}
	return all, nil
}
