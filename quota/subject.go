package quota

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A subject is whatever has a limit of its own in the ledger: an account ("anna": bytes a month), or one of the limits
// of a remote, named by RemoteSubject. Every method that takes an account takes any subject.

// Measure says what a limit of a remote counts.
type Measure string

// The limits that a remote can have.
const (
	PerDay   Measure = "day"   // bytes through the remote, in or out, a day
	PerMonth Measure = "month" // the same, a month
	Calls    Measure = "calls" // API calls a month
)

// Measures returns all of them, in the order in which people are told them.
func Measures() []Measure { return []Measure{PerDay, PerMonth, Calls} }

const remotePrefix = "remote/"

// RemoteSubject names a limit of a remote; remote is the name of its section in rclone's configuration, without colon.
func RemoteSubject(remote string, m Measure) string { return remotePrefix + remote + "/" + string(m) }

// ParseSubject takes the name of a remote's limit apart; false for an account.
func ParseSubject(subject string) (remote string, m Measure, ok bool) {
	rest, ok := strings.CutPrefix(subject, remotePrefix)
	if !ok {
		return "", "", false
	}
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return "", "", false
	}
	return rest[:i], Measure(rest[i+1:]), true
}

// checkSubject refuses names that aren't those of an account or of a limit of a remote.
func checkSubject(subject string) error {
	remote, m, ok := ParseSubject(subject)
	if !ok {
		return checkAccount(subject)
	}
	switch m {
	case PerDay, PerMonth, Calls:
		return checkRemote(remote)
	}
	return inputError("remote", strconv.Quote(subject), "use a limit a day, a month, or of calls a month", "has no limit of that kind")
}

// maxRemote is the longest name of a remote, in runes.
const maxRemote = 128

// checkRemote refuses names that no remote has, or that would break a key in Redis.
func checkRemote(name string) error {
	const hint = "use the name of the remote in rclone's configuration, without colon and path"
	switch {
	case name == "":
		return inputError("remote", `""`, hint, "is no name of a remote")
	case !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxRemote:
		return inputError("remote", shortened(name), hint, fmt.Sprintf("must be 1 to %d characters", maxRemote))
	case strings.ContainsAny(name, "/:,{}") || strings.ContainsFunc(name, unicode.IsControl):
		return inputError("remote", strconv.Quote(name), hint, "is no name of a remote")
	}
	return nil
}

// shortened quotes the beginning of a name.
func shortened(name string) string {
	const most = 40
	if utf8.RuneCountInString(name) <= most {
		return strconv.Quote(name)
	}
	return strconv.Quote(string([]rune(name)[:most]) + "...")
}

// title names a subject to people.
func title(subject string) string {
	remote, m, ok := ParseSubject(subject)
	if !ok {
		return "account " + subject
	}
	return fmt.Sprintf("remote %s (%s)", remote, m.flag())
}

// flag is the option of the command line that sets the limit, without dashes.
func (m Measure) flag() string {
	switch m {
	case PerDay:
		return "per-day"
	case PerMonth:
		return "per-month"
	}
	return "calls-per-month"
}

// Amount writes a number of what the measure counts, "5.0 GiB" or "1200".
func (m Measure) Amount(n int64) string {
	if m == Calls {
		return strconv.FormatInt(max(n, 0), 10)
	}
	return size(n)
}

// Rate writes a limit, "750 GiB a day" or "25000 API calls a month".
func (m Measure) Rate(limit int64) string {
	switch m {
	case PerDay:
		return size(limit) + " a day"
	case PerMonth:
		return size(limit) + " a month"
	}
	if limit == 1 {
		return "1 API call a month"
	}
	return m.Amount(limit) + " API calls a month"
}

// are is an amount with its verb.
func (m Measure) are(n int64) string {
	if m == Calls && n == 1 {
		return "1 is"
	}
	return m.Amount(n) + " are"
}

// checkSubjectLimit is checkLimit with the name of the option that sets the subject's limit.
func checkSubjectLimit(subject string, n int64) error {
	err := checkLimit(n)
	var input *InputError
	if _, m, ok := ParseSubject(subject); ok && errors.As(err, &input) {
		input.Field = m.flag()
		if m == Calls {
			input.Hint, input.Err = "use a number, or -1 for unlimited", fmt.Errorf("must be 0 to %d, or -1", int64(maxBytes))
		}
	}
	return err
}

// unit stands for the value of the option.
func (m Measure) unit() string {
	if m == Calls {
		return "N"
	}
	return "SIZE"
}

// RaiseCommand is the command line that gives a subject more room; a removed account is opened again by it.
func RaiseCommand(subject string) string {
	remote, m, ok := ParseSubject(subject)
	if !ok {
		return "offload quota set --account " + subject + " --plan PLAN"
	}
	return fmt.Sprintf("offload quota set --remote %s --%s %s", quoted(remote), m.flag(), m.unit())
}

// quoted writes a name as a shell takes it.
func quoted(name string) string {
	if namePattern.MatchString(strings.ToLower(name)) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
