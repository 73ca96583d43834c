package quota

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Sentence says the forecast in words that need no manual: whether it fits, how long it takes, what would be sooner, and
// what will never be moved.
func (f Forecast) Sentence() string {
	if f.Bytes == 0 && f.TooLarge == 0 {
		if f.AtLeast {
			return "Nothing is to be moved as far as is known yet."
		}
		return "Nothing is left to be moved."
	}
	var parts []string
	if f.Bytes > 0 {
		parts = append(parts, f.course())
		if f.WaitsFor != "" && f.Periods > 0 {
			parts = append(parts, fmt.Sprintf("First it has to wait for %s, until %s.", f.called(f.WaitsFor), dateOn(*f.WaitUntil, f.At, f.TimeZone)))
		}
		if f.Better != nil && f.TooLarge == 0 {
			parts = append(parts, f.remedy())
		}
		if f.Others != nil && f.Closed == "" {
			parts = append(parts, f.beside())
		}
	}
	if f.TooLarge > 0 {
		parts = append(parts, f.stuck())
	}
	return strings.Join(parts, " ")
}

// End is when it ends, in a few words: "today, in about 3 h", "about 3 July 2027", "never".
func (f Forecast) End() string {
	switch {
	case f.Bytes == 0 && f.AtLeast:
		return "not known yet"
	case f.Periods == 0:
		return "never"
	case f.Ends != nil:
		return f.words(f.Ends, f.Periods)
	case f.Periods == 1 && f.Pace == 0:
		return "not known yet"
	}
	return "in more than 100 years"
}

// words is the end of a course in words. While no pace is known, one that waits ends some time after its last reset.
func (f Forecast) words(ends *time.Time, periods int64) string {
	switch {
	case ends == nil:
		return "in more than 100 years"
	case f.Pace == 0 && periods > 1:
		return dateOn(*ends, f.At, f.TimeZone) + " or soon after"
	}
	return about(*ends, f.At, f.TimeZone)
}

// unknown tells whether the end of a course isn't known, since it waits for nothing and there is no pace yet.
func (f Forecast) unknown(ends *time.Time, periods int64) bool {
	return ends == nil && f.Pace == 0 && periods == 1
}

// ending says when it ends, as a clause.
func (f Forecast) ending() string {
	switch {
	case f.unknown(f.Ends, f.Periods):
		return "how long it takes is known once enough has been moved to tell the pace"
	case f.AtLeast:
		return "it ends " + strings.TrimSuffix(f.words(f.Ends, f.Periods), " or soon after") + " at the earliest"
	}
	return "it ends " + f.words(f.Ends, f.Periods)
}

// course says how the files that fit at all are moved.
func (f Forecast) course() string {
	bytes, are := size(f.Bytes), "are"
	if f.AtLeast {
		bytes = "at least " + bytes
	}
	if f.Twice {
		bytes += " (each byte counts twice, out and in)"
	}
	left := fmt.Sprintf("the %s that %s has left until %s", size(f.Available), f.whose(), dateOn(f.Resets, f.At, f.TimeZone))
	end := strings.TrimPrefix(f.ending(), "it ")
	switch {
	case f.Closed != "":
		return upper(fmt.Sprintf("%s %s left to be moved, but %s.", bytes, are, f.Closed))
	case f.Periods == 0:
		return upper(fmt.Sprintf("%s %s to be moved, but %s allows nothing at all.", bytes, are, f.whose()))
	case f.Limit < 0:
		return upper(fmt.Sprintf("%s %s to be moved and no limit stands in the way: %s.", bytes, are, f.ending()))
	case f.WaitUntil == nil && f.Periods == 1 && f.AtLeast:
		return upper(fmt.Sprintf("%s %s to be moved; what is known so far fits %s: %s.", bytes, are, left, f.ending()))
	case f.WaitUntil == nil && f.Periods == 1:
		return upper(fmt.Sprintf("%s fit %s: %s.", bytes, left, f.ending()))
	case f.WaitUntil == nil:
		return upper(fmt.Sprintf("%s fit what %s allows, so it never has to wait; at the usual %s a second %s.",
			bytes, f.whose(), size(f.Pace), f.ending()))
	case f.measure() == Calls: // a file may need more than one call
		f.AtLeast = true
		return upper(fmt.Sprintf("%s %s to be moved, and %s may be sent %s, of which %s left until %s: the rest goes on by itself then, and %s.",
			bytes, are, f.whose(), f.measure().Rate(f.Limit), calls(f.Available), dateOn(f.Resets, f.At, f.TimeZone), f.ending()))
	}
	head := fmt.Sprintf("%s don't fit %s", bytes, left)
	if f.Available == 0 {
		head = fmt.Sprintf("%s %s to be moved, and %s has nothing left until %s", bytes, are, f.whose(), dateOn(f.Resets, f.At, f.TimeZone))
	}
	if f.Periods == 2 {
		return upper(fmt.Sprintf("%s: it goes on by itself %s and %s.", head, onDate(*f.WaitUntil, f.At, f.TimeZone), end))
	}
	takes := fmt.Sprintf("takes %s, this one counted,", f.spans(f.Periods))
	if f.Available == 0 {
		takes = "takes the next " + f.spans(f.Periods-1)
	}
	by := "by itself"
	if f.gaps() {
		by += " in whole files"
	}
	return upper(fmt.Sprintf("%s: it moves up to %s each %s %s, %s and %s.", head, size(f.Limit), f.unit(), by, takes, end))
}

// gaps tells whether it takes longer than the bytes alone say, since the files don't divide what each month allows.
func (f Forecast) gaps() bool {
	bytes := f.Bytes
	if f.Twice {
		bytes = times(bytes, 2)
	}
	left := float64(bytes-f.Available) / float64(max(f.Limit, 1))
	return f.BoundBy == BoundByQuota && f.WaitsFor == "" && f.Periods > 1+whole(math.Ceil(left))
}

// remedy says what a larger plan would do.
func (f Forecast) remedy() string {
	b := f.Better
	plan := fmt.Sprintf("plan %s (%s)", b.Plan, monthly(b.Limit))
	switch {
	case b.Ends == nil && b.Periods == 1:
		return fmt.Sprintf("With %s it wouldn't have to wait.", plan)
	case b.Periods > 2:
		return fmt.Sprintf("With %s it would take %s and end %s.", plan, f.spans(b.Periods), f.words(b.Ends, b.Periods))
	}
	return fmt.Sprintf("With %s it would end %s.", plan, f.words(b.Ends, b.Periods))
}

// beside says when it ends with the account's other jobs.
func (f Forecast) beside() string {
	o, share := f.Others, fmt.Sprintf("Another job of the account (%s) shares", size(f.Others.Bytes))
	if o.Jobs > 1 {
		share = fmt.Sprintf("%d other jobs of the account (%s) share", o.Jobs, size(o.Bytes))
	}
	end := ": with that it never ends."
	if f.unknown(o.Ends, o.Periods) {
		end = ", so it takes longer."
	} else if o.Periods > 0 {
		end = ": with that it ends " + f.words(o.Ends, o.Periods) + "."
	}
	return share + " what is allowed" + end
}

// stuck speaks of the files that no period carries.
func (f Forecast) stuck() string {
	files, them, largest := "1 file is", "it", "it"
	if f.TooLarge > 1 {
		files, them, largest = humanize.Comma(f.TooLarge)+" files are", "them", "the largest"
	}
	remote, m, ok := ParseSubject(f.TooLargeSubject)
	whose, rate := f.account(), monthly(f.TooLargeLimit)
	if ok {
		whose, rate = "remote "+remote, m.Rate(f.TooLargeLimit)
	}
	text := fmt.Sprintf("%s larger than all that %s allows (%s; %s has %s) and can't be moved", files, whose, rate, largest, size(f.Largest))
	switch {
	case ok:
		return text + ": only a higher limit of that remote carries " + them + "."
	case f.TooLargePlan == "":
		return text + ": no plan carries " + them + "."
	}
	text += fmt.Sprintf(": plan %s carries %s.", f.TooLargePlan, them)
	if f.Better != nil && f.Better.Plan == f.TooLargePlan && f.Better.Periods == 1 && f.Better.Ends != nil {
		text = strings.TrimSuffix(text, ".") + fmt.Sprintf(", and with it everything would end %s.", f.words(f.Better.Ends, 1))
	}
	return text
}

func (f Forecast) measure() Measure {
	_, m, _ := ParseSubject(f.Subject)
	return m
}

// whose names what decides: the plan where people know the limit by it, else the account or the remote.
func (f Forecast) whose() string { return f.called(f.Subject) }

func (f Forecast) called(subject string) string {
	if remote, _, ok := ParseSubject(subject); ok {
		return "remote " + remote
	}
	return f.account()
}

func (f Forecast) account() string {
	if f.OwnLimit || f.Plan == "" {
		return "account " + f.Account
	}
	return "plan " + f.Plan
}

// calls says how many of a number of calls are left.
func calls(n int64) string {
	switch n {
	case 0:
		return "none is"
	case 1:
		return "1 is"
	}
	return humanize.Comma(n) + " are"
}

// unit is how long the subject's limit holds.
func (f Forecast) unit() string {
	if f.measure() == PerDay {
		return "day"
	}
	return "month"
}

func (f Forecast) spans(n int64) string {
	if n == 1 {
		return "1 " + f.unit()
	}
	return humanize.Comma(n) + " " + f.unit() + "s"
}

// Sentence says the outlook in words.
func (o Outlook) Sentence() string {
	more := fmt.Sprintf("the next %s come %s", size(o.Limit), onDate(o.Resets, o.At, o.TimeZone))
	switch {
	case o.Closed != "":
		return upper(o.Closed) + "."
	case o.Limit == 0:
		return "Nothing is allowed."
	case o.UsedUp != nil && !o.UsedUp.After(o.At):
		return "Nothing is left; " + more + "."
	case o.Days == 0:
		return fmt.Sprintf("Nothing was moved in the last %d days.", usualDays)
	}
	usual := fmt.Sprintf("%s were moved a day on average of the last %d days", size(o.PerDay), o.Days)
	if o.Days == 1 {
		usual = fmt.Sprintf("%s were moved today", size(o.PerDay))
	}
	switch {
	case o.Limit < 0:
		return usual + "; there is no limit."
	case o.UsedUp != nil:
		return fmt.Sprintf("%s: if that goes on, what is left is used up %s; %s.", usual, about(*o.UsedUp, o.At, o.TimeZone), more)
	}
	return fmt.Sprintf("%s: if that goes on, what is left lasts until %s.", usual, more)
}

// monthly is a limit of an account for people.
func monthly(limit int64) string {
	if limit < 0 {
		return "no limit"
	}
	return size(limit) + " a month"
}

// daysUntil counts midnights between two times in a zone.
func daysUntil(t, now time.Time, zone string) int {
	loc := zoneOf(zone)
	return int(dateOf(t.In(loc)).Sub(dateOf(now.In(loc))) / dayLong)
}

// dateOn is a date as people say it: "today", "tomorrow", "1 December", and with the year where that is another.
func dateOn(t, now time.Time, zone string) string {
	switch daysUntil(t, now, zone) {
	case 0:
		return "today"
	case 1:
		return "tomorrow"
	}
	local := t.In(zoneOf(zone))
	if local.Year() == now.In(local.Location()).Year() {
		return local.Format("2 January")
	}
	return local.Format("2 January 2006")
}

// onDate is dateOn with "on" where it needs one.
func onDate(t, now time.Time, zone string) string {
	text := dateOn(t, now, zone)
	if daysUntil(t, now, zone) > 1 {
		return "on " + text
	}
	return text
}

// about is a moment to come: the nearer, the more exact.
func about(t, now time.Time, zone string) string {
	d := t.Sub(now)
	if n := daysUntil(t, now, zone); n > 1 {
		return "about " + dateOn(t, now, zone)
	}
	text := dateOn(t, now, zone)
	switch {
	case d < time.Minute:
		return text + ", in less than a minute"
	case d < 100*time.Minute:
		return fmt.Sprintf("%s, in about %d min", text, int(d.Round(time.Minute)/time.Minute))
	}
	return fmt.Sprintf("%s, in about %d h", text, int(d.Round(time.Hour)/time.Hour))
}

// upper begins a sentence.
func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}
