// Package human writes numbers, times and names for people: the same on the command line and on pages.
package human

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// Size writes bytes: "1.5 GiB"; a negative number is no limit.
func Size(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	return humanize.IBytes(uint64(n))
}

// Number writes a number with its thousands apart: "1,204".
func Number(n int64) string { return humanize.Comma(n) }

// Count writes a number of things: "1 file", "1,204 files".
func Count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if strings.HasSuffix(thing, "y") && !strings.HasSuffix(thing, "ay") {
		thing = strings.TrimSuffix(thing, "y") + "ie"
	}
	return Number(n) + " " + thing + "s"
}

// Span writes a duration in at most two units, with gap between a number and its unit: "1h 5m", "3d 2h", "12s".
func Span(d time.Duration, gap string) string {
	d = d.Round(time.Second)
	units := []struct {
		name string
		unit time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.unit {
			continue
		}
		out := fmt.Sprintf("%d%s%s", d/u.unit, gap, u.name)
		if rest := d % u.unit; i+1 < len(units) && rest >= units[i+1].unit {
			out += fmt.Sprintf(" %d%s%s", rest/units[i+1].unit, gap, units[i+1].name)
		}
		return out
	}
	return "0" + gap + "s"
}

// TriedAgain says that so many files have failed and are tried again, and of one of them which attempt of how many comes next
// and what the last one failed of.
func TriedAgain(files int, path string, attempt, of int, why string) string {
	who := " failed and is tried again"
	if files != 1 {
		who = " failed and are tried again, one of them"
	}
	return fmt.Sprintf("%s%s (%s of %d tries): %s: %s", Count(int64(files), "file"), who, Ordinal(attempt), of, Printable(path), Printable(why))
}

// Ordinal is a number as a rank: "3rd".
func Ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}

// Printable escapes what could steer a terminal or turn the order of a text around (file names come from clouds and can
// hold anything) and replaces invalid UTF-8; everything else stays as it is.
func Printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r) || r == '\u200d' || r == '\u00a0' || r == '\ufe0f':
			b.WriteRune(r) // parts of ordinary names: accents of NFD, emoji joiners, narrow spaces
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// Cell keeps spreadsheets from taking a name for a formula: such a cell begins with an apostrophe.
func Cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
