package pages

import (
	"fmt"
	"html/template"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"offload/internal/human"
)

// funcs are the functions of the templates. What they return is escaped by the template, but for the markup that is ours.
func (p *Pages) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": p.assets.address,
		// Numbers.
		"bytes":   sizeWords,  // 1536 -> "1.5 KiB"; negative -> "unknown"
		"limit":   human.Size, // the same; negative -> "unlimited"
		"number":  number,     // 1204 -> "1,204"
		"count":   counted,    // 1204 "file" -> "1,204 files"
		"rate":    rateWords,  // bytes a second -> "1.5 MiB/s"
		"percent": percent,    // 3 12 -> 25
		// Times. All take a time.Time or a *time.Time.
		"duration": duration, // "1 h 5 m"
		"when":     when,     // <time>22 November 2026, 17:30 UTC</time>
		"clock":    clock,    // <time>17:30 UTC</time>, with the date where it isn't today's
		"ago":      ago,      // "5 m ago"
		"fromNow":  fromNow,  // "in 5 m"
		// Words.
		"text":      human.Printable, // for names that clouds and people give: shows what couldn't be seen
		"coded":     coded,           // the same for sentences of ours, with the commands between backquotes as code
		"upper":     upper,           // begins a sentence
		"stateWord": stateWord,       // of a jobs.Job
		"stateKind": stateKind,       // of a jobs.Job: a class
		"stateHelp": stateHelp,       // of a jobs.Job: one sentence on what the state means
		"icon":      icon,
		"lines":     lines, // of a text, without empty ones
		// Building blocks.
		"list": func(all ...any) []any { return all },
		"dict": dict,
	}
}

// sizeWords is a number of bytes; what isn't known isn't 0.
func sizeWords(n any) (string, error) {
	i, err := integer(n)
	if err != nil {
		return "", err
	}
	if i < 0 {
		return "unknown", nil
	}
	return human.Size(i), nil
}

// integer takes any of Go's numbers, so that templates needn't convert.
func integer(n any) (int64, error) {
	v := reflect.Indirect(reflect.ValueOf(n))
	switch {
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		return int64(min(v.Uint(), math.MaxInt64)), nil
	case v.CanFloat():
		return int64(v.Float()), nil
	}
	return 0, fmt.Errorf("%T is no number", n)
}

func number(n any) (string, error) {
	i, err := integer(n)
	return human.Number(i), err
}

func counted(n any, thing string) (string, error) {
	i, err := integer(n)
	return human.Count(i, thing), err
}

func rateWords(perSecond float64) string {
	if perSecond < 1 {
		return "0 B/s"
	}
	return human.Size(int64(perSecond)) + "/s"
}

// percent is part of whole in percent, rounded down, so that 100 is said of the whole only.
func percent(part, whole any) (int, error) {
	a, err := integer(part)
	if err != nil {
		return 0, err
	}
	b, err := integer(whole)
	if err != nil || b <= 0 || a <= 0 {
		return 0, err
	}
	return min(100, int(float64(a)/float64(b)*100)), nil
}

// moment is the time of a time.Time or *time.Time; false where there is none.
func moment(t any) (time.Time, bool) {
	switch t := t.(type) {
	case time.Time:
		return t, !t.IsZero()
	case *time.Time:
		if t != nil {
			return *t, !t.IsZero()
		}
	}
	return time.Time{}, false
}

// coded marks up as code what stands between two backquotes, as commands in sentences do.
func coded(text string) template.HTML {
	parts := strings.Split(template.HTMLEscapeString(human.Printable(text)), "`")
	for i := 1; i+1 < len(parts); i += 2 {
		parts[i] = "<code>" + parts[i] + "</code>"
	}
	if len(parts)%2 == 0 { // the last one has no other
		parts[len(parts)-1] = "`" + parts[len(parts)-1]
	}
	return template.HTML(strings.Join(parts, ""))
}

// timeTag marks a moment up, so that programs can read what people read.
func timeTag(t time.Time, text string) template.HTML {
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `">` + template.HTMLEscapeString(text) + `</time>`)
}

const unknown = "unknown"

func when(t any) template.HTML {
	at, ok := moment(t)
	if !ok {
		return unknown
	}
	return timeTag(at, at.Local().Format("2 January 2006, 15:04 MST"))
}

func clock(t any) template.HTML {
	at, ok := moment(t)
	if !ok {
		return unknown
	}
	local, now := at.Local(), time.Now()
	switch {
	case local.Format(time.DateOnly) == now.Format(time.DateOnly):
		return timeTag(at, local.Format("15:04 MST"))
	case local.Year() == now.Year():
		return timeTag(at, local.Format("2 January, 15:04 MST"))
	}
	return when(t)
}

// duration is a time.Duration, or the time from a moment until now.
func duration(d any) string {
	if d, ok := d.(time.Duration); ok {
		return coarse(d)
	}
	if at, ok := moment(d); ok {
		return coarse(time.Since(at))
	}
	return unknown
}

// coarse leaves seconds out as soon as there are minutes: pages would change with every second else.
func coarse(d time.Duration) string {
	if d > time.Minute {
		d = d.Truncate(time.Minute)
	}
	return human.Span(max(d, 0), "\u00a0")
}

func ago(t any) string {
	at, ok := moment(t)
	if !ok {
		return unknown
	}
	if d := time.Since(at); d >= 2*time.Second {
		return coarse(d) + " ago"
	}
	return "now"
}

func fromNow(t any) string {
	at, ok := moment(t)
	if !ok {
		return unknown
	}
	if d := time.Until(at); d > 0 {
		return "in " + coarse(d)
	}
	return "any moment"
}

func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 || r == utf8.RuneError {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// quoted shows a value that somebody gave, shortened.
func quoted(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "..."
	}
	return strconv.Quote(s)
}

// dict makes a map of keys and values, to hand several things to a block.
func dict(pairs ...any) (map[string]any, error) {
	all := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("key %v of a dict is no text", pairs[i])
		}
		all[key] = pairs[i+1]
	}
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("a dict has a key without value")
	}
	return all, nil
}

// icon draws a small picture. There are always words beside it, so it is hidden from screen readers.
func icon(name string) (template.HTML, error) {
	path, ok := icons()[name]
	if !ok {
		return "", fmt.Errorf("there is no icon %s", name)
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false"><path d="` + path + `"/></svg>`), nil
}

// icons are outlines in a box of 24 by 24.
func icons() map[string]string {
	return map[string]string{
		"home":   "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
		"jobs":   "M4 6h16M4 12h16M4 18h10",
		"new":    "M12 5v14M5 12h14",
		"remote": "M7 18a4 4 0 0 1-.5-8A6 6 0 0 1 18 9.500a4.200 4.200 0 0 1-.5 8.500z",
		"quota":  "M4 18a8 8 0 1 1 16 0M12 18l4-6",
		"worker": "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01",
		"queue":  "M4 6h10M4 12h16M4 18h6M18 4v4M16 6h4",
		"check":  "M5 13l4 4 10-11",
		"alert":  "M12 4l9 16H3zM12 10v4M12 17h.01",
		"wait":   "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2",
		"time":   "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2",
		"pause":  "M8 5v14M16 5v14",
		"play":   "M7 5l12 7-12 7z",
		"stop":   "M6 6l12 12M18 6L6 18",
		"retry":  "M5 12a7 7 0 1 0 2-5M7 3v4h4",
		"trash":  "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
		"search": "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.500 15.500L20 20",
		"arrow":  "M5 12h14M13 6l6 6-6 6",
		"down":   "M12 4v12M6 11l6 6 6-6M5 20h14",
		"file":   "M6 3h8l4 4v14H6z",
		"folder": "M3 6h7l2 2h9v11H3z",
		"key":    "M14 10a4 4 0 1 0-3.500 3.900L13 16h3v3h4v-4z",
		"out":    "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
	}
}

// lines are the lines of a text, without empty ones.
func lines(s string) []string {
	var all []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}
