package jobs

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"
)

// personKey finds in a context who asks.
type personKey struct{}

// personMost bounds the name of a person, in bytes.
const personMost = 200

// By returns a context of calls that a person makes: the histories of jobs name them instead of this process.
func By(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, personKey{}, oneLine(name, personMost))
}

// by is who a change of a job's state is due to: the person that asks, or this process.
func (s *Service) by(ctx context.Context) string {
	if name, _ := ctx.Value(personKey{}).(string); name != "" {
		return name
	}
	return s.self
}

// oneLine makes a text fit for a line of a record: valid, without control characters, no longer than so many bytes.
func oneLine(text string, most int) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd")))
	for len(text) > most {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	return text
}
