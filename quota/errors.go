package quota

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Errors that a caller branches on.
var (
	// ErrNoQuota says that bytes don't fit the allowance now; the error that is returned is a *NoQuotaError.
	ErrNoQuota = errors.New("quota doesn't allow it now")
	// ErrLost says that the pool's lease ended and that others closed it: stop reading at once.
	ErrLost = errors.New("the quota reservation was lost")
)

// Mistakes of the calling program, which it can't act on.
var (
	errClosed  = fmt.Errorf("the pool is closed: %w", ErrLost)
	errSettled = errors.New("the grant is settled already")
)

// NoQuotaError says that a reservation doesn't fit, and when more is to be had.
type NoQuotaError struct {
	Subject   string    // the account, or the limit of a remote
	Need      int64     // bytes (or calls) asked for
	Available int64     // bytes that would have been granted
	Limit     int64     // bytes a period
	Resets    time.Time // end of the period, UTC; zero where no reset helps
	Why       string    // where nothing is granted at any time: the cause and the remedy, for people
}

// Error names the account or remote, the bytes and the remedy.
func (e *NoQuotaError) Error() string {
	if e.Why != "" {
		return e.Why
	}
	remote, m, isRemote := ParseSubject(e.Subject)
	if !isRemote {
		if e.TooLarge() {
			return fmt.Sprintf("account %s may move %s a month and %s are needed at once: choose a larger plan",
				e.Subject, size(e.Limit), size(e.Need))
		}
		return fmt.Sprintf("account %s has %s of its monthly %s left and %s are needed: wait until %s or choose a larger plan",
			e.Subject, size(e.Available), size(e.Limit), size(e.Need), utc(e.Resets))
	}
	remedy := "raise its limit (`" + RaiseCommand(e.Subject) + "`)"
	if e.TooLarge() {
		return fmt.Sprintf("remote %s may take %s and %s needed at once: %s", remote, m.Rate(e.Limit), m.are(e.Need), remedy)
	}
	return fmt.Sprintf("remote %s has %s of its %s left and %s needed: wait until %s or %s",
		remote, m.Amount(e.Available), m.Rate(e.Limit), m.are(e.Need), utc(e.Resets), remedy)
}

// Is makes errors.Is(err, ErrNoQuota) true.
func (e *NoQuotaError) Is(target error) bool { return target == ErrNoQuota }

// TooLarge tells whether no period of this plan can carry the bytes.
func (e *NoQuotaError) TooLarge() bool { return e.Why == "" && e.Need > e.Limit }

// InputError says which value is wrong; it is the user's mistake (exit status 2, HTTP 400).
type InputError struct {
	Field string // as the command line names it: "account", "remote", "plan", "limit", "per-day", "anchor-day", ...
	Value string
	Hint  string // what to do, "" where the cause says it
	Err   error
}

// Error names the field, its value and the cause.
func (e *InputError) Error() string {
	if e.Value == "" {
		return e.Field + ": " + e.Err.Error()
	}
	return e.Field + " " + e.Value + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// size writes a number of bytes for people, "5.0 GiB".
func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
