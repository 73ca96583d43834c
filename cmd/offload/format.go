package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// size writes bytes for people: "1.5 GiB"; a negative number is no limit.
func size(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	return humanize.IBytes(uint64(n))
}

// count writes a number of things: "1 file", "1,204 files".
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if strings.HasSuffix(thing, "y") && !strings.HasSuffix(thing, "ay") {
		thing = strings.TrimSuffix(thing, "y") + "ie"
	}
	return humanize.Comma(n) + " " + thing + "s"
}

// span writes a duration for people in at most two units: "1h 5m", "3d 2h", "12s".
func span(d time.Duration) string {
	d = d.Round(time.Second)
	units := []struct {
		name string
		unit time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.unit {
			continue
		}
		out := fmt.Sprintf("%d%s", d/u.unit, u.name)
		if rest := d % u.unit; i+1 < len(units) && rest >= units[i+1].unit {
			out += fmt.Sprintf(" %d%s", rest/units[i+1].unit, units[i+1].name)
		}
		return out
	}
	return "0s"
}

// moment writes a time for people, in their own zone.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

// printable escapes what could steer a terminal (file names come from clouds and can hold anything) and replaces
// invalid UTF-8; everything else stays as it is.
func printable(s string) string {
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

// shorten keeps the end of a path, which tells more than its beginning, within width characters.
func shorten(s string, width int) string {
	r := []rune(printable(s))
	if len(r) <= width {
		return string(r)
	}
	return "..." + string(r[len(r)-width+3:])
}

// lineWidth is the width that text for people is wrapped at.
const lineWidth = 78

// writeWrapped writes a text in lines that fit a narrow terminal, each behind the indentation. What stands in backquotes
// stays together, so that it can be copied; what is too long has a line of its own.
func writeWrapped(w io.Writer, indentation, text string) {
	line, part := "", ""
	for _, word := range strings.Fields(text) {
		if part += word; strings.Count(part, "`")%2 == 1 {
			part += " "
			continue
		}
		switch {
		case line == "":
			line = part
		case utf8.RuneCountInString(indentation+line+" "+part) > lineWidth:
			fmt.Fprintln(w, indentation+line)
			line = part
		default:
			line += " " + part
		}
		part = ""
	}
	fmt.Fprintln(w, indentation+strings.TrimSpace(line+" "+part))
}

// writeJSON writes the one document that --json promises.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
