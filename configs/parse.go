package configs

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// Unlimited is the Size that means no limit.
const Unlimited Size = -1

// MaxSize is the largest size that is accepted, in bytes: 4 PiB. Sums of a few of them still fit the exact integers of
// Lua scripts.
const MaxSize = 1 << 52

// maxDuration bounds durations to a hundred years.
const maxDuration = 100 * 365 * 24 * time.Hour

// Size is a number of bytes, written as in "5GiB"; Unlimited is written "unlimited".
type Size int64

// String returns the shortest exact form: "5GiB", "1536", "unlimited".
func (s Size) String() string {
	if s < 0 {
		return "unlimited"
	}
	units := []string{"", "KiB", "MiB", "GiB", "TiB", "PiB"}
	n, i := int64(s), 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// UnmarshalYAML reads "5GiB", a plain number of bytes, or "unlimited".
func (s *Size) UnmarshalYAML(raw []byte) error {
	n, err := unmarshalLimit(raw, ParseLimit, "a size", "5GiB")
	*s = Size(n)
	return err
}

// unmarshalLimit reads a limit with its own parser; example is one that people may write.
func unmarshalLimit(raw []byte, parse func(string) (int64, error), what, example string) (int64, error) {
	var text string
	if err := yaml.Unmarshal(raw, &text); err != nil {
		return 0, &valueError{raw, fmt.Errorf("is not %s; write one like %s, or unlimited", what, example)}
	}
	n, err := parse(text)
	if err == nil && n == 0 {
		// To leave a limit out means something else, so 0 must not be read as left out.
		err = fmt.Errorf("0 would allow nothing; write %s such as %s, or unlimited", what, example)
	}
	if err != nil {
		return 0, &valueError{raw, err}
	}
	return n, nil
}

// Count is a number of things, or Unlimited.
type Count int64

// MarshalYAML writes a number, or "unlimited".
func (c Count) MarshalYAML() ([]byte, error) {
	if c < 0 {
		return []byte("unlimited"), nil
	}
	return strconv.AppendInt(nil, int64(c), 10), nil
}

// UnmarshalYAML reads a whole number from 1 on, or "unlimited".
func (c *Count) UnmarshalYAML(raw []byte) error {
	n, err := unmarshalLimit(raw, ParseCountLimit, "a number", "25000")
	*c = Count(n)
	return err
}

// valueError is a value of the file that one of our own parsers refuses; raw is how it is written there.
type valueError struct {
	raw []byte
	err error
}

func (e *valueError) Error() string { return e.err.Error() }
func (e *valueError) Unwrap() error { return e.err }

// MarshalYAML writes the form that UnmarshalYAML reads.
func (s Size) MarshalYAML() ([]byte, error) { return []byte(s.String()), nil }

// ParseLimit reads a size or "unlimited", which is -1.
func ParseLimit(text string) (int64, error) {
	if text == "unlimited" {
		return int64(Unlimited), nil
	}
	return ParseSize(text)
}

// ParseSize reads a number of bytes: "5GiB", "1.5MiB", "10K", "4096". Units are powers of 1024; the decimal ones (GB)
// are refused since half of the world means something else by them.
func ParseSize(text string) (int64, error) {
	number, unit := splitUnit(text)
	unit = strings.TrimPrefix(unit, " ") // "5 GiB", as programs print it
	factor, err := sizeFactor(unit)
	if err != nil {
		return 0, fmt.Errorf("%s is not a size: %w", Quote(text), err)
	}
	if !isDecimal(number) {
		return 0, fmt.Errorf("%s is not a size; write one like 500MiB or 5GiB", Quote(text))
	}
	bytes, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%s is not a size; write one like 500MiB or 5GiB", Quote(text))
	}
	bytes.Mul(bytes, new(big.Rat).SetInt64(factor))
	if bytes.Cmp(new(big.Rat).SetInt64(MaxSize)) > 0 {
		return 0, fmt.Errorf("size %s is too large; 4PiB is the most", Quote(text))
	}
	if !bytes.IsInt() && factor == 1 {
		return 0, fmt.Errorf("%s is not a whole number of bytes", Quote(text))
	}
	return new(big.Int).Quo(bytes.Num(), bytes.Denom()).Int64(), nil
}

func splitUnit(text string) (number, unit string) {
	i := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i:]
}

func sizeFactor(unit string) (int64, error) {
	lower := strings.ToLower(unit)
	if lower == "" || lower == "b" {
		return 1, nil
	}
	power := strings.IndexByte("kmgtp", lower[0])
	switch {
	case power < 0:
		return 0, errors.New("write one like 500MiB or 5GiB")
	case lower[1:] == "b":
		return 0, fmt.Errorf("units are powers of 1024; write %siB", strings.ToUpper(lower[:1]))
	case lower[1:] != "" && lower[1:] != "ib":
		return 0, errors.New("write one like 500MiB or 5GiB")
	}
	return 1 << (10 * (power + 1)), nil
}

// isDecimal accepts ASCII digits with at most one point between them, and no more than 30 characters.
func isDecimal(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	if len(s) > 30 || whole == "" || (point && fraction == "") {
		return false
	}
	for _, r := range whole + fraction {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}

// ParseDuration reads Go's durations plus d (24 hours) and w (7 days): "90m", "7d", "1w2d12h". Negative ones and those
// beyond a hundred years are refused.
func ParseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%s is not a duration; write one like 90m, 12h, 7d or 2w", Quote(text))
	if text == "0" {
		return 0, nil
	}
	total := new(big.Rat)
	for rest := text; ; {
		number, tail := splitUnit(rest)
		end := strings.IndexFunc(tail, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(tail)
		}
		unit, known := durationUnit(tail[:end])
		if !known || !isDecimal(number) {
			return 0, bad
		}
		part, ok := new(big.Rat).SetString(number)
		if !ok {
			return 0, bad
		}
		total.Add(total, part.Mul(part, new(big.Rat).SetInt64(int64(unit))))
		if rest = tail[end:]; rest == "" {
			break
		}
	}
	if total.Cmp(new(big.Rat).SetInt64(int64(maxDuration))) > 0 {
		return 0, fmt.Errorf("duration %s is too long; a hundred years is the most", Quote(text))
	}
	return time.Duration(new(big.Int).Quo(total.Num(), total.Denom()).Int64()), nil
}

func durationUnit(name string) (time.Duration, bool) {
	switch name {
	case "ns":
		return time.Nanosecond, true
	case "us", "µs":
		return time.Microsecond, true
	case "ms":
		return time.Millisecond, true
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	case "w":
		return 7 * 24 * time.Hour, true
	}
	return 0, false
}

// ParseCount reads a whole number from min to max in ASCII digits.
func ParseCount(text string, min, max int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strings.HasPrefix(text, "+") || n < min || n > max {
		return 0, fmt.Errorf("%s is not a whole number from %d to %d", Quote(text), min, max)
	}
	return n, nil
}

// maxCount is the largest number of things that a limit can name.
const maxCount = 1_000_000_000_000

// ParseCountLimit reads a number of things, or "unlimited", which is -1.
func ParseCountLimit(text string) (int64, error) {
	if text == "unlimited" {
		return int64(Unlimited), nil
	}
	n, err := ParseCount(text, 0, maxCount)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number of calls; write a whole number up to %d, or unlimited", Quote(text), int64(maxCount))
	}
	return n, nil
}

// Quote returns what the user wrote in quotation marks, with control characters escaped and long texts shortened.
func Quote(text string) string {
	if utf8.RuneCountInString(text) > 60 {
		text = string([]rune(text)[:57]) + "..."
	}
	return strconv.Quote(text)
}

// CheckAccount checks the name of an account.
func CheckAccount(name string) error {
	if !accountName.MatchString(name) {
		return fmt.Errorf("%s is no account name", Quote(name))
	}
	return nil
}

// CheckRemote checks the name of a remote as it stands before the colon of a path. It forbids only what no remote of
// rclone's can be called; whether there is such a remote is another question.
func CheckRemote(name string) error {
	if name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxRemoteName || strings.ContainsFunc(name, notInRemote) {
		return fmt.Errorf("%s is no name of a remote", Quote(name))
	}
	return nil
}

const maxRemoteName = 128

func notInRemote(r rune) bool { return strings.ContainsRune("/:,{}", r) || !unicode.IsPrint(r) }
