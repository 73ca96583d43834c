package quota

import (
	"math"
	"slices"
	"time"
)

// gauge is a limit while a work is run against it.
type gauge struct {
	demand
	n    int       // of its periods; the running one is 0
	end  time.Time // of that period
	room int64     // bytes of files (or calls) that this period still allows
}

// each is how often a byte of a file counts.
func (d demand) each() int64 { return max(d.Times, 1) }

// gauges are the limits of a work: the demand's own and those beside it, unless they are unlimited.
func (d demand) gauges(beside []demand) []gauge {
	var all []gauge
	for _, d := range append([]demand{d}, beside...) {
		if !d.unlimited() {
			all = append(all, gauge{d, 0, d.calendar.period(0).End, d.room() / d.each()})
		}
	}
	return all
}

// advance goes on to a time: periods that have ended then are followed by new ones, with all that they allow.
func (g *gauge) advance(to time.Time) {
	for !g.end.After(to) {
		g.n++
		g.end, g.room = g.calendar.period(g.n).End, g.limit()/g.each()
	}
}

// run simulates a demand, under its own limit and those beside it at once, from one moment to the next at which a limit
// begins anew. The periods that it tells are the demand's own.
func (d demand) run(now time.Time, pace float64, carried int64, beside []demand) course {
	if d.Share > 0 {
		pace *= d.Share
	}
	if d.calls() {
		pace = 0 // nothing is recorded of calls
	}
	total, limits := d.bytes(carried)/d.each(), d.gauges(beside)
	none := slices.ContainsFunc(limits, func(g gauge) bool { return g.limit() == 0 })
	switch {
	case total == 0:
		return course{periods: 1, ends: now}
	case none:
		return course{never: true}
	case len(limits) == 0:
		return course{periods: 1}.after(now, total, pace)
	}
	p := d.progress(limits, total, carried)
	from := now
	for c, step := (course{}), 1; ; step++ {
		end, room := limits[0].end, limits[0].room
		for _, g := range limits {
			room = min(room, g.room)
			if g.end.Before(end) {
				end = g.end
			}
		}
		line := int64(math.MaxInt64)
		if pace > 0 {
			line = whole(pace * max(0, end.Sub(from).Seconds()))
		}
		moved, slow := p.fill(room, line)
		for i := range limits {
			limits[i].room -= moved
		}
		c.periods = 1
		if !d.unlimited() {
			c.periods += int64(limits[0].n)
		}
		if !p.left() {
			return c.after(from, moved, pace)
		}
		if !slow { // until then nothing moves
			var by string
			if end, by = p.blocked(limits, end); c.wait.IsZero() {
				c.wait, c.by = end, by
			}
		}
		if step == maxPeriods {
			return extrapolate(c, p, limits, end, pace)
		}
		for i := range limits {
			limits[i].advance(end)
		}
		from = end
	}
}

// largeShare is the part of a whole allowance from which on a file is large: what is smaller is taken to fill any gap.
const largeShare = 100

// progress is the work before it begins.
func (d demand) progress(limits []gauge, total, carried int64) progress {
	p := progress{fluid: total}
	if d.calls() {
		return p
	}
	small := int64(math.MaxInt64)
	for _, g := range limits {
		small = min(small, g.limit()/g.each()/largeShare)
	}
	for _, size := range d.Work.large {
		if size > small && size <= carried {
			p.large = append(p.large, size)
			p.fluid -= size
		}
	}
	slices.Sort(p.large)
	slices.Reverse(p.large)
	p.fluid = max(p.fluid, 0)
	return p
}

// blocked returns when all limits have begun anew that have no room for anything of the work, and which is the last.
func (p *progress) blocked(limits []gauge, end time.Time) (last time.Time, by string) {
	least := int64(1)
	if p.fluid == 0 && len(p.large) > 0 {
		least = p.large[len(p.large)-1]
	}
	last = end
	for _, g := range limits {
		if g.room < least && (by == "" || g.end.After(last)) {
			last, by = g.end, g.Status.Name()
		}
	}
	return last, by
}

// extrapolate ends a simulation that takes very many periods, as if nothing but the sum of the bytes mattered.
func extrapolate(c course, p progress, limits []gauge, end time.Time, pace float64) course {
	rest := float64(p.begun) + float64(p.fluid)
	for _, size := range p.large {
		rest += float64(size)
	}
	long := limits[0].long()
	each := math.Inf(1)
	for _, g := range limits {
		each = min(each, float64(g.limit()/g.each())*float64(long)/float64(g.long()))
	}
	if pace > 0 {
		each = min(each, pace*long.Seconds())
	}
	more := math.Ceil(rest / each)
	c.periods = plus(c.periods, whole(more))
	if more > float64(farAway/long) {
		c.far = true
		return c
	}
	c.ends = end.Add(time.Duration(more-1) * long)
	return c
}

// long is how long a period is on average.
func (d demand) long() time.Duration {
	if d.measure() == PerDay {
		return dayLong
	}
	return monthLong
}
