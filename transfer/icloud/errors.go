package icloud

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"offload/transfer"
)

// Errors of the account that pass by themselves.
var (
	// errNewSession says that a session was refused right after the sign-in that made it. Another sign-in wouldn't help.
	errNewSession = errors.New("iCloud refused the new session")
	// errNoService says that the address of a service isn't known: an answer was incomplete.
	errNoService = errors.New("iCloud named no address for the service")
	// errNoRange says that part of a file was asked for and something else came.
	errNoRange = fmt.Errorf("iCloud ignored the range that was asked for: %w", transfer.ErrNoParts)
)

// statusError is an answer that isn't a success. Its text is all that is told of it: bodies may hold tokens.
type statusError struct {
	what   string // "list folders"
	status int
	code   string // what the body calls it: ZONE_BUSY
	retry  time.Time
	host   string // set for a content host
}

// Error names the status in the words that the engine sorts errors by.
func (e *statusError) Error() string {
	if e.host != "" && e.status != http.StatusTooManyRequests && e.status < 500 {
		// A content host that refuses a signed address says nothing of the sign-in.
		return fmt.Sprintf("%s: content host answered %d", e.what, e.status)
	}
	text := fmt.Sprintf("%s: %d %s", e.what, e.status, http.StatusText(e.status))
	if e.code != "" {
		text += " (" + e.code + ")"
	}
	return text
}

// Is tells that the remote asks to be called less.
func (e *statusError) Is(target error) bool {
	return target == transfer.ErrThrottled && throttles(e.status)
}

// RetryAfter is when the remote wants to be asked again, zero where it didn't say. rclone's fserrors looks for it.
func (e *statusError) RetryAfter() time.Time { return e.retry }

func throttles(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// unsureError says that nobody knows whether a change was carried out, and why.
type unsureError struct{ cause error }

func (e *unsureError) Error() string        { return errUnsure.Error() + ": " + e.cause.Error() }
func (e *unsureError) Unwrap() error        { return e.cause }
func (e *unsureError) Is(target error) bool { return target == errUnsure }

// refusedWhole tells whether a call that changes was refused in a way that says nothing of its items: Apple answers 400
// at random, and may refuse a group because of one of its items. Look, and try again.
func refusedWhole(err error) bool {
	var se *statusError
	if !errors.As(err, &se) || se.code == zoneBusy {
		return false
	}
	switch se.status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// oneByOne tells whether the answers to the items of one call look as if the server handled only some of them: the rest
// has no answer of its own, or a failure that says nothing of the item. Those are sent again alone, after a look.
func oneByOne(errs []error) bool {
	handled, left := false, false
	for _, err := range errs {
		handled = handled || err == nil
		left = left || unhandled(err)
	}
	return handled && left
}

// unhandled tells whether an item of a call may simply not have been handled.
func unhandled(err error) bool {
	var ie *itemError
	return errors.Is(err, errUnsure) || errors.As(err, &ie)
}

// signInError says that a person must sign in, and how.
func signInError(name, why string) error {
	name, _, _ = strings.Cut(name, "{") // what rclone adds for options given with the remote's name
	return fmt.Errorf("%w: %s; run: offload remotes reconnect %s", transfer.ErrSignIn, why, name)
}

// scrub takes the address out of an error of the network: it may be a signed one.
func scrub(what string, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unsent tells whether an error of the network came before anything was sent.
func unsent(err error) bool {
	var oe *net.OpError
	return errors.As(err, &oe) && (oe.Op == "dial" || oe.Op == "proxyconnect")
}

// retryAt reads a Retry-After header: seconds or a date. Zero where there is none.
func retryAt(h http.Header, now time.Time) time.Time {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return time.Time{}
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		if s <= 0 || s > 7*24*3600 {
			return time.Time{}
		}
		return now.Add(time.Duration(s * float64(time.Second)))
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t
	}
	return time.Time{}
}
