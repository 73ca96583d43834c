package quota

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Bounds of a forecast.
const (
	maxPeriods = 1200                       // simulated one by one; a hundred years of months
	farAway    = 100 * 366 * 24 * time.Hour // nobody plans beyond
	dayLong    = 24 * time.Hour             // on average
	monthLong  = 30*dayLong + 10*time.Hour  // the same
	paceDays   = 7                          // days with traffic that the pace is of
	paceFades  = 0.8                        // what a day weighs beside the next one
	paceBusy   = 10 * time.Second           // less than that tells nothing
	paceBytes  = 4 << 20                    // the same
	usualDays  = 30                         // days that the average is of
)

// demand is a work against one subject: all that a forecast needs to know.
type demand struct {
	Status Status
	Days   []Day // recorded traffic, oldest first
	Work   Work
	Times  int64   // how often each byte counts: twice where a remote is source and destination
	Held   bool    // what is reserved is for this work
	Share  float64 // the part of the day in which it may move; 0 is all of it
	Most   int64   // bytes a second that its bandwidth allows; 0 is no limit

	calendar *calendar // shared by all forecasts of one look
}

// predict is the forecast of a work against all subjects that limit it; the first is the account. It asks nobody. Each
// work is simulated under all its limits at once, period by period, the largest files first, smaller ones into the gaps,
// no faster than the recorded pace. The subject decides that alone would have the latest end.
func predict(now time.Time, tiers []Tier, demands ...demand) Forecast {
	demands = slices.Clone(demands)
	for i, d := range demands {
		if d.calendar == nil {
			demands[i].calendar = newCalendar(d.Status)
		}
	}
	account := demands[0]
	f := Forecast{Account: account.Status.Name(), Plan: account.Status.Plan, At: now, TimeZone: account.Status.TimeZone,
		Pace: paceOfAll(demands), OwnLimit: account.Status.OwnLimit}
	carried := f.leaveOut(tiers, demands)
	latest, decides := f.latest(now, demands, carried)
	st := decides.Status
	f.Subject, f.Limit, f.Resets, f.Closed = st.Name(), st.Limit, st.Period.End, st.Why
	if f.Available = Unlimited; !decides.unlimited() {
		f.Available = decides.room()
	}
	f.Bytes = decides.bytes(carried)
	if _, m, _ := ParseSubject(st.Name()); m == Calls {
		f.Bytes = account.bytes(carried)
	} else {
		f.Bytes /= max(decides.Times, 1)
		f.Twice = decides.Times > 1
	}
	f.Periods, f.Ends, f.WaitUntil = latest.periods, latest.at(), moment(latest.wait)
	if latest.by != f.Subject {
		f.WaitsFor = latest.by
	}
	if f.Bytes == 0 && f.TooLarge > 0 {
		f.Periods, f.Ends = 0, nil
	}
	f.Fits = f.Periods == 1 && f.WaitUntil == nil && f.TooLarge == 0
	switch {
	case f.WaitUntil != nil || latest.never:
		f.BoundBy = BoundByQuota
	case f.Pace > 0 && f.Bytes > 0:
		f.BoundBy = BoundByPace
	}
	f.Better = f.better(now, tiers, demands, latest)
	return f
}

// latest runs all demands and returns the course of the one that alone would end last. A subject that ends before now
// because its pace isn't known ends first. Since another one with other work may end later still, with the account's
// limit beside its own, the course lasts as long as the latest.
func (f *Forecast) latest(now time.Time, demands []demand, carried int64) (course, demand) {
	var alone course
	decides := 0
	for i, d := range demands {
		c := d.run(now, float64(f.Pace), carried, nil)
		if i == 0 || alone.before(c) {
			alone, decides = c, i
		}
	}
	if len(demands) == 1 {
		return alone, demands[0]
	}
	last := demands[decides].run(now, float64(f.Pace), carried, beside(demands, decides))
	for i, d := range demands {
		if i == decides {
			continue
		}
		if c := d.run(now, float64(f.Pace), carried, beside(demands, i)); last.before(c) {
			c.periods = last.periods
			last = c
		}
	}
	return last, demands[decides]
}

// beside returns the limits that hold a demand's work together with its own: the account's, and those of the same work.
// Calls are counted apart.
func beside(demands []demand, of int) []demand {
	var all []demand
	d := demands[of]
	for i, o := range demands {
		if i != of && !d.calls() && !o.calls() && (i == 0 || o.Work.Bytes == d.Work.Bytes && o.Work.Files == d.Work.Files) {
			all = append(all, o)
		}
	}
	return all
}

// leaveOut finds the files that no period carries, and returns the size of the largest file that all subjects carry.
func (f *Forecast) leaveOut(tiers []Tier, demands []demand) (carried int64) {
	carried = math.MaxInt64
	for _, d := range demands {
		if d.unlimited() || d.calls() || d.limit() == 0 { // where nothing is allowed it isn't the files' fault
			continue
		}
		if most := d.limit() / max(d.Times, 1); most < carried {
			carried, f.TooLargeSubject, f.TooLargeLimit = most, d.Status.Name(), d.limit()
		}
	}
	account := demands[0]
	for _, size := range account.Work.large {
		if size > carried {
			f.TooLarge++
			f.Largest = max(f.Largest, size)
		}
	}
	if f.TooLarge == 0 {
		f.TooLargeSubject, f.TooLargeLimit = "", 0
	} else if f.TooLargeSubject == account.Status.Name() {
		if t, ok := tierFor(tiers, f.Largest); ok {
			f.TooLargePlan = t.Name
		}
	}
	return carried
}

// better looks for the smallest larger plan with which the account never waits for a reset. Where there is none it is
// the largest one, if that ends sooner. A plan helps only where the account's own limit is what makes the work wait.
func (f *Forecast) better(now time.Time, tiers []Tier, demands []demand, latest course) *Better {
	account := demands[0]
	name := account.Status.Name()
	binds := f.Subject == name && (latest.never || !latest.wait.IsZero()) || latest.by == name
	if !binds && f.TooLargePlan == "" || account.unlimited() {
		return nil
	}
	need := int64(0)
	if f.TooLargePlan != "" {
		need = f.Largest
	}
	larger := slices.Clone(tiers)
	slices.SortStableFunc(larger, func(a, b Tier) int { return cmp.Compare(uint64(a.Limit), uint64(b.Limit)) }) // -1 is last
	var best *Better
	for _, t := range larger {
		if t.Limit != Unlimited && (t.Limit <= account.limit() || t.Limit < need) {
			continue
		}
		with := account
		with.Status.Why = ""
		with.Status.Available = Unlimited
		if with.Status.Limit = t.Limit; t.Limit != Unlimited {
			with.Status.Available = max(0, t.Limit-with.Status.Used-with.Status.Reserved)
		}
		all := append([]demand{with}, demands[1:]...)
		g := Forecast{Pace: f.Pace}
		carried := g.leaveOut(tiers, all)
		own := with.run(now, float64(f.Pace), carried, nil)
		whole, _ := g.latest(now, all, carried)
		if own.never || !own.wait.IsZero() && !whole.before(latest) {
			continue
		}
		best = &Better{Plan: t.Name, Limit: t.Limit, Periods: own.periods, Ends: whole.at()}
		if own.wait.IsZero() {
			return best
		}
	}
	return best
}

func (d demand) unlimited() bool { return d.Status.Why == "" && d.Status.Limit < 0 }

func (d demand) measure() Measure {
	_, m, _ := ParseSubject(d.Status.Name())
	return m
}

// calls tells whether the subject counts API calls: each file needs one at least.
func (d demand) calls() bool { return d.measure() == Calls }

// limit is what a whole period allows.
func (d demand) limit() int64 {
	if d.Status.Why != "" {
		return 0
	}
	return d.Status.Limit
}

// room is what the running period still allows this work.
func (d demand) room() int64 {
	room := max(0, d.Status.Available)
	if d.Status.Why != "" {
		return 0
	}
	if d.Held && !d.calls() {
		room = plus(room, min(d.Status.Reserved, times(d.Work.Bytes, max(d.Times, 1))))
	}
	return room
}

// bytes is the sum of all files that aren't larger than carried, as often as they count.
func (d demand) bytes(carried int64) int64 {
	if d.calls() {
		return d.Work.Files
	}
	sum := d.Work.Bytes
	for _, size := range d.Work.large {
		if size > carried {
			sum -= size
		}
	}
	return times(max(sum, 0), max(d.Times, 1))
}

// course is how a work goes on against one subject.
type course struct {
	periods int64
	wait    time.Time // the first reset that it waits for
	by      string    // the subject whose reset that is
	ends    time.Time // zero where it isn't known
	never   bool
	far     bool // in more than a hundred years
}

// before tells whether c ends before another.
func (c course) before(o course) bool {
	switch {
	case c.never || o.never:
		return !c.never
	case c.far || o.far:
		return !c.far
	}
	return c.ends.Before(o.ends)
}

func (c course) at() *time.Time {
	if c.never || c.far {
		return nil
	}
	return moment(c.ends)
}

// progress is what is left of a work while it is run.
type progress struct {
	large []int64 // largest first
	fluid int64   // sum of all the others
	begun int64   // of a file that a period's end cut in two
}

func (p *progress) left() bool { return p.begun > 0 || p.fluid > 0 || len(p.large) > 0 }

// fill moves what fits a period: at most room bytes, and no more than the line carries until its end. It returns the
// bytes moved, and whether the line was what ended it.
func (p *progress) fill(room, line int64) (moved int64, slow bool) {
	take := func(n int64) int64 { // as much of n as the line carries
		n = min(n, line-moved)
		moved += n
		return n
	}
	n := take(p.begun)
	p.begun -= n
	room -= n
	for i := 0; p.begun == 0 && moved < line && i < len(p.large); i++ {
		size := p.large[i]
		if p.large[len(p.large)-1] > room {
			break // not even the smallest
		}
		if size > room {
			continue
		}
		room -= size
		p.begun = size - take(size)
		p.large[i] = 0
	}
	p.large = slices.DeleteFunc(p.large, func(size int64) bool { return size == 0 })
	if p.begun == 0 {
		p.fluid -= take(min(p.fluid, max(room, 0)))
	}
	return moved, p.left() && moved == line
}

// after ends the course with bytes that are moved from then on. Without a pace the end of what fits the running period
// isn't known, while later it is at least the beginning of the last period.
func (c course) after(from time.Time, bytes int64, pace float64) course {
	switch {
	case pace <= 0 && !c.wait.IsZero():
		c.ends = from
	case pace > 0 && float64(bytes)/pace > farAway.Seconds():
		c.far = true
	case pace > 0:
		c.ends = from.Add(time.Duration(float64(bytes) / pace * float64(time.Second)))
	}
	return c
}

// calendar are the periods of a subject, the running one first. It grows as far as it is asked for.
type calendar struct {
	terms settings
	known []Period
}

func newCalendar(st Status) *calendar {
	_, m, _ := ParseSubject(st.Name())
	return &calendar{settings{anchor: st.AnchorDay, daily: m == PerDay, loc: zoneOf(st.TimeZone)}, []Period{st.Period}}
}

// period returns the nth one, as the ledger will open it.
func (c *calendar) period(n int) Period {
	for n >= len(c.known) {
		last := c.known[len(c.known)-1]
		next, _ := state{now: last.End, period: last}.next(c.terms)
		c.known = append(c.known, next)
	}
	return c.known[n]
}

// zoneOf loads a zone that the ledger has loaded before.
func zoneOf(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	return loc
}

// whole is a number of bytes, at most the largest.
func whole(n float64) int64 {
	if n >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(n)
}

// moment is a time, or nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// paceOfAll is the recorded pace, as far as the bandwidth allows it now.
func paceOfAll(demands []demand) int64 {
	pace := recordedPace(demands)
	for _, d := range demands {
		if d.Most > 0 {
			pace = min(pace, d.Most)
		}
	}
	return pace
}

// recordedPace is the pace of the account, or of the slowest remote where the account has none.
func recordedPace(demands []demand) int64 {
	slowest := int64(0)
	for i, d := range demands {
		if d.calls() {
			continue
		}
		pace := paceOf(d.Days)
		if i == 0 && pace > 0 {
			return pace
		}
		if pace > 0 && (slowest == 0 || pace < slowest) {
			slowest = pace
		}
	}
	return slowest
}

// paceOf is how fast useful bytes were moved on the last days with traffic, in bytes a second of busy time; newer days
// weigh more. It is 0 where too little is recorded to tell.
func paceOf(days []Day) int64 {
	var bytes, seconds, allBytes float64
	var busy time.Duration
	weight, n := 1.0, 0
	for _, d := range slices.Backward(days) {
		if d.Busy <= 0 || d.Used <= 0 {
			continue
		}
		useful := float64(max(0, d.Used-d.Wasted))
		bytes += weight * useful
		seconds += weight * d.Busy.Seconds()
		allBytes += useful
		busy += d.Busy
		weight *= paceFades
		if n++; n == paceDays {
			break
		}
	}
	if busy < paceBusy || allBytes < paceBytes {
		return 0
	}
	return max(1, whole(bytes/seconds))
}

// outlookOf is how far the allowance goes at the average of the last days. Days before the first record don't count.
func outlookOf(now time.Time, st Status, days []Day) Outlook {
	o := Outlook{Resets: st.Period.End, Limit: st.Limit, TimeZone: st.TimeZone, At: now, Closed: st.Why}
	today := dateOf(now.In(zoneOf(st.TimeZone)))
	first := today.AddDate(0, 0, 1-usualDays)
	var sum int64
	for _, d := range days {
		date, err := time.Parse(time.DateOnly, d.Date)
		if err != nil || date.Before(first) || d.Used <= 0 {
			continue
		}
		if o.Days == 0 {
			o.Days = 1 + int(max(0, today.Sub(date))/dayLong)
		}
		sum = plus(sum, d.Used)
	}
	if st.Limit > 0 && st.Available == 0 {
		o.UsedUp = moment(now)
	}
	if o.Days == 0 {
		return o
	}
	o.PerDay = sum / int64(o.Days)
	if st.Limit < 0 || o.UsedUp != nil {
		return o
	}
	seconds := float64(st.Available) / float64(o.PerDay) * dayLong.Seconds()
	if at := now.Add(time.Duration(min(seconds, farAway.Seconds()) * float64(time.Second))); at.Before(st.Period.End) {
		o.UsedUp = moment(at)
	}
	return o
}
