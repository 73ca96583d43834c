package notify

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sizes of what is masked and left.
const (
	secretLength = 4   // shorter parts of an address are in every text
	errorLength  = 200 // runes of an error that are kept
)

// addresses finds anything of the form scheme://..., in or out of quotation marks.
var addresses = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"']*`)

// maskError returns an error of the library without any part of the target's address. The cause isn't wrapped: whoever
// unwrapped it would have the address again.
func maskError(err error, address string) error {
	if err == nil {
		return nil
	}
	text := addresses.ReplaceAllString(err.Error(), "(address)")
	for _, s := range secretsOf(address) {
		text = replaceFold(text, s, "***")
	}
	return errors.New(plain(text, errorLength))
}

// secretsOf are the parts of an address that must not be seen, longest first: a password whatever its length, and of all
// else behind the service each run of letters and digits that is long enough to tell anything, as it stands and decoded.
func secretsOf(address string) []string {
	scheme, rest, _ := strings.Cut(address, "://")
	texts := []string{rest}
	if decoded, err := url.QueryUnescape(rest); err == nil {
		texts = append(texts, decoded)
	}
	if decoded, err := url.PathUnescape(rest); err == nil {
		texts = append(texts, decoded)
	}
	var all []string
	add := func(s string) {
		if s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, t := range texts {
		for _, run := range strings.FieldsFunc(t, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if utf8.RuneCountInString(run) >= secretLength && !strings.EqualFold(run, scheme) {
				add(run)
			}
		}
	}
	if u, err := url.Parse(address); err == nil && u.User != nil {
		if p, ok := u.User.Password(); ok {
			add(p)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// replaceFold replaces a part of a text in whatever case it stands there.
func replaceFold(text, part, by string) string {
	return regexp.MustCompile(`(?i)`+regexp.QuoteMeta(part)).ReplaceAllLiteralString(text, by)
}

// plain makes a foreign text fit to stand in a message: one line without control characters, at most so many runes, and
// nothing that a chat would take for a mention or for markup of its own.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '<':
			return '‹'
		case r == '>':
			return '›'
		case r == '`':
			return '\''
		case r == '@':
			return '＠' // the wide form: nobody is called by it
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most-3]) + "..."
	}
	return s
}
