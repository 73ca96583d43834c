package schedules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Words says when it runs: "every day at 03:00 (Europe/Berlin)". A line of cron's that has no plain sentence is told as it is.
func (w When) Words() string {
	w = w.WithDefaults()
	text := ""
	switch w.Every {
	case Day:
		text = "every day at " + timeWords(w.At)
	case Week:
		text = "every " + daysWords(strings.Split(w.On, ",")) + " at " + timeWords(w.At)
	case Month:
		text = monthWords(w.On) + " at " + timeWords(w.At)
	default:
		text = cronWords(w.Cron)
	}
	return text + " (" + w.Zone + ")"
}

// timeWords is a time of day with two digits for the hour.
func timeWords(at string) string {
	if len(at) == len("3:00") {
		return "0" + at
	}
	return at
}

// daysWords are days of the week as people say them.
func daysWords(days []string) string {
	var names []string
	for _, d := range days {
		if i := slices.IndexFunc(weekdays(), func(w string) bool { return strings.HasPrefix(strings.ToLower(strings.TrimSpace(d)), w) }); i >= 0 {
			names = append(names, time.Weekday(i).String())
		}
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func monthWords(day string) string {
	switch n, _ := strconv.Atoi(day); {
	case strings.EqualFold(day, LastDay), n == 31:
		return "on the last day of every month"
	case n > 28:
		return fmt.Sprintf("on day %d of every month, or on its last day", n)
	default:
		return fmt.Sprintf("on day %d of every month", n)
	}
}

// cronWords tells lines of cron's that are plain.
func cronWords(line string) string {
	f := strings.Fields(line)
	other := fmt.Sprintf("by cron %q", strings.Join(f, " "))
	if len(f) != 5 {
		return other
	}
	minute, everyMinute := digits(f[0], 1, 2, 59)
	hour, everyHour := digits(f[1], 1, 2, 23)
	step, isStep := strings.CutPrefix(f[0], "*/")
	rest := strings.Join(f[2:], " ")
	switch {
	case strings.Join(f, " ") == "* * * * *":
		return "every minute"
	case isStep && f[1] == "*" && rest == "* * *":
		if n, ok := digits(step, 1, 2, 59); ok && n > 1 && 60%n == 0 {
			return fmt.Sprintf("every %d minutes", n)
		}
	case everyMinute && f[1] == "*" && rest == "* * *":
		if minute == 0 {
			return "every hour"
		}
		return fmt.Sprintf("every hour at %d past", minute)
	case !everyMinute || !everyHour:
	case rest == "* * *":
		return fmt.Sprintf("every day at %02d:%02d", hour, minute)
	case rest == "* * 1-5", strings.EqualFold(rest, "* * mon-fri"):
		return fmt.Sprintf("Monday to Friday at %02d:%02d", hour, minute)
	case f[2] == "*" && f[3] == "*":
		if days, ok := cronDays(f[4]); ok {
			return fmt.Sprintf("every %s at %02d:%02d", daysWords(days), hour, minute)
		}
	case f[3] == "*" && f[4] == "*":
		switch n, ok := digits(f[2], 1, 2, 31); {
		case ok && n > 28:
			return fmt.Sprintf("on day %d of the months that have it at %02d:%02d", n, hour, minute)
		case ok:
			return fmt.Sprintf("on day %d of every month at %02d:%02d", n, hour, minute)
		}
	}
	return other
}

// cronDays are the days of a plain list: "1,4", "mon,thu".
func cronDays(field string) ([]string, bool) {
	var days []string
	for _, d := range strings.Split(strings.ToLower(field), ",") {
		if n, ok := digits(d, 1, 1, 7); ok {
			d = weekdays()[n%7]
		}
		if !slices.Contains(weekdays(), d) {
			return nil, false
		}
		days = append(days, d)
	}
	return days, true
}

// Words say what became of a run.
func (r Run) Words() string {
	switch r.Result {
	case Made:
		return "job made"
	case Nothing:
		return "nothing to do"
	}
	return string(r.Result)
}
