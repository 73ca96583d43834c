package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"offload/internal/human"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// size writes bytes for people: "1.5 GiB"; a negative number is no limit.
func size(n int64) string { return human.Size(n) }

// count writes a number of things: "1 file", "1,204 files".
func count(n int64, thing string) string { return human.Count(n, thing) }

// span writes a duration for people in at most two units: "1h 5m", "3d 2h", "12s".
func span(d time.Duration) string { return human.Span(d, "") }

// moment writes a time for people, in their own zone.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

// printable escapes what could steer a terminal.
func printable(s string) string { return human.Printable(s) }

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
