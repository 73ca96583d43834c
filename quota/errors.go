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
	Account   string
	Need      int64     // bytes asked for
	Available int64     // bytes that would have been granted
	Limit     int64     // bytes a period
	Resets    time.Time // end of the period, UTC
}

// Error names the account, the bytes and the remedy.
func (e *NoQuotaError) Error() string {
	if e.TooLarge() {
		return fmt.Sprintf("account %s may move %s a month and %s are needed at once: choose a larger plan",
			e.Account, size(e.Limit), size(e.Need))
	}
	return fmt.Sprintf("account %s has %s of its monthly %s left and %s are needed: wait until %s or choose a larger plan",
		e.Account, size(e.Available), size(e.Limit), size(e.Need), e.Resets.UTC().Format("2006-01-02 15:04 UTC"))
}

// Is makes errors.Is(err, ErrNoQuota) true.
func (e *NoQuotaError) Is(target error) bool { return target == ErrNoQuota }

// TooLarge tells whether no period of this plan can carry the bytes.
func (e *NoQuotaError) TooLarge() bool { return e.Need > e.Limit }

// InputError says which value is wrong; it is the user's mistake (exit status 2, HTTP 400).
type InputError struct {
	Field string // as the command line names it: "account", "plan", "limit", "anchor-day", "time-zone"
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
