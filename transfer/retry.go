package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"

	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/lib/file"
	"github.com/rclone/rclone/lib/pacer"
)

// The sides of a pair, as Report.SignIn and errors name them.
const (
	SideSource = "source"
	SideDest   = "destination"
)

// opUpload is the remoteError.op of writing a file.
const opUpload = "upload file"

// remoteError is a failed call to one side of a pair.
type remoteError struct {
	side string
	op   string // "verb object": "open source file"
	err  error
}

func (e *remoteError) Error() string { return e.op + ": " + e.err.Error() }
func (e *remoteError) Unwrap() error { return e.err }

func sourceErr(op string, err error) error { return wrapSide(SideSource, op, err) }
func destErr(op string, err error) error   { return wrapSide(SideDest, op, err) }

func wrapSide(side, op string, err error) error {
	if err == nil {
		return nil
	}
	return &remoteError{side: side, op: op, err: withLimit(side, err, time.Now())}
}

// portError is a failure of a port (meter, journal): the batch can't go on, whatever the file.
type portError struct{ err error }

func (e *portError) Error() string { return e.err.Error() }
func (e *portError) Unwrap() error { return e.err }

func portErr(op string, err error) error {
	if err == nil {
		return nil
	}
	return &portError{fmt.Errorf("%s: %w", op, err)}
}

// class is what is to be done about an error.
type class int

const (
	classRetry     class = iota // may pass: try again, a few times
	classFinal                  // this file can't be done
	classCapped                 // the job's own limit is reached: set aside
	classQuota                  // no allowance: the entry stays pending
	classSignIn                 // a sign-in is refused: the entry stays pending, the job waits
	classForbidden              // one refusal: of this file or of the sign-in, a look at the root tells
	classSpace                  // the destination is full: the entry stays pending, the job waits
	classFatal                  // the batch ends: fenced, context done, journal or meter out of order
)

// errMismatch says that what arrived isn't what was sent; errTorn that the source changed while it was read.
var (
	errMismatch = errors.New("the copy differs from what was sent")
	errTorn     = errors.New("the file changed while it was read")
	errFull     = errors.New("not enough free space")
)

func isMismatch(err error) bool { return errors.Is(err, errMismatch) }

// classify sorts an error. What it doesn't know it tries again: at worst that costs a few attempts.
func classify(ctx context.Context, err error) class {
	var pe *portError
	var local *spoolError
	var folder *folderError
	switch {
	case ctx.Err() != nil, errors.Is(err, ErrFenced):
		return classFatal
	case errors.Is(err, ErrCapped):
		return classCapped
	case errors.Is(err, ErrNoQuota):
		return classQuota
	case errors.As(err, &pe):
		return classFatal
	case errors.Is(err, errNotAsRecorded), errors.As(err, &folder) && !folder.brief:
		return classFinal
	case folder != nil:
		return classRetry
	case errors.Is(err, errMismatch), errors.Is(err, errTorn):
		return classRetry
	case errors.Is(err, ErrSignIn):
		return classSignIn
	}
	text := causeText(err)
	switch {
	case errors.As(err, &local):
		return classRetry
	case sideOf(err) == SideDest && isNoSpace(err, text):
		return classSpace
	case isThrottled(err, text):
		return classRetry
	case hasAny(text, signInPhrases()):
		return classSignIn
	case hasAny(text, forbiddenPhrases()):
		return classForbidden
	case isFinal(err):
		return classFinal
	}
	return classRetry
}

func sideOf(err error) string {
	var re *remoteError
	if errors.As(err, &re) {
		return re.side
	}
	return ""
}

// causeText is the innermost error's text in lower case: file names, which wrappers add, can't be taken for a cause.
func causeText(err error) string { return strings.ToLower(innermost(err).Error()) }

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func hasAny(text string, phrases []string) bool {
	for _, p := range phrases {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

func signInPhrases() []string {
	return []string{
		"401 unauthorized", "error 401", "status code: 401", "statuscode: 401", "invalid_grant", "invalid_access_token",
		"expired_access_token", "couldn't fetch token", "token expired", "expiredtoken", "token has been expired or revoked",
		"trust token expired", "missing icloud trust token", "invalidaccesskeyid", "signaturedoesnotmatch",
		"unable to authenticate", "invalid session token", "login incorrect", "authentication failed",
		"421 misdirected", "error 421", "missing_scope",
	}
}

func forbiddenPhrases() []string {
	return []string{"403 forbidden", "error 403", "status code: 403", "statuscode: 403", "accessdenied", "access denied"}
}

// isNoSpace tells a full destination from one that asks for patience: some providers call a rate a quota too.
func isNoSpace(err error, text string) bool {
	if errors.Is(err, errFull) || fserrors.IsErrNoSpace(err) || errors.Is(err, file.ErrDiskFull) || errors.Is(err, syscall.EDQUOT) {
		return true
	}
	if hasAny(text, []string{"rate limit", "ratelimit", "queries per"}) {
		return false
	}
	return hasAny(text, []string{
		"insufficient_space", "507 insufficient storage", "error 507", "storagequotaexceeded", "quota exceeded",
		"quotaexceeded", "quota_exceeded", "no space left", "not enough space", "disk full", "insufficient storage",
		"quotalimitreached", "storage limit",
	})
}

// isThrottled tells whether a remote asks to be called less.
func isThrottled(err error, text string) bool {
	if _, ok := retryAfter(err); ok || errors.Is(err, ErrThrottled) {
		return true
	}
	return hasAny(text, []string{
		"too_many_requests", "too_many_write_operations", "429 too many requests", "error 429", "slowdown", "slow down",
		"rate limit", "ratelimit", "503 service unavailable", "error 503", "throttl", "too many requests",
	})
}

// retryAfter is how long the remote asks to wait, where it says so.
func retryAfter(err error) (time.Duration, bool) {
	if d, ok := pacer.IsRetryAfter(err); ok {
		return d, true
	}
	if t := fserrors.RetryAfterErrorTime(err); !t.IsZero() {
		return max(time.Until(t), 0), true
	}
	return 0, false
}

// isFinal knows the errors that trying again won't mend.
func isFinal(err error) bool {
	for _, e := range []error{
		fs.ErrPermission, rclone.ErrorPermissionDenied, rclone.ErrorFileNameTooLong, rclone.ErrorCantUploadEmptyFiles,
		rclone.ErrorNotImplemented, rclone.ErrorNotAFile, rclone.ErrorIsDir, rclone.ErrorIsFile, syscall.ENAMETOOLONG,
		syscall.ENOTDIR, syscall.EISDIR, syscall.EROFS, syscall.EFBIG, syscall.EILSEQ, syscall.EINVAL,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return fserrors.IsNoRetryError(err) || fserrors.IsFatalError(err)
}

// finalCode is the outcome's code for an error that ended the attempts at a file.
func finalCode(err error) string {
	var folder *folderError
	switch {
	case errors.As(err, &folder):
		return CodeFolderRefused
	case isSpoolFull(err):
		return CodeSpoolFull
	case errors.Is(err, errNotAsRecorded):
		return CodeNotAsRecorded
	case errors.Is(err, errMismatch):
		return CodeCorrupt
	case errors.Is(err, errTorn):
		return CodeSourceChanged
	case errors.Is(err, rclone.ErrorCantUploadEmptyFiles):
		return CodeEmptyRefused
	case errors.Is(err, syscall.EFBIG):
		return CodeTooLarge
	case errors.Is(err, rclone.ErrorFileNameTooLong), errors.Is(err, syscall.ENAMETOOLONG),
		errors.Is(err, syscall.EILSEQ), errors.Is(err, syscall.EINVAL), strings.Contains(causeText(err), "disallowed"):
		return CodeNameRefused
	case isFinal(err), hasAny(causeText(err), forbiddenPhrases()):
		return CodeRefused
	}
	return CodeGaveUp
}

// policy is the one retry policy. The zero value is the default one.
type policy struct {
	attempts int                                        // Defaults to 5; of errors that look passing some more, see limit.
	base     time.Duration                              // first wait. Defaults to 500 ms; doubles each time.
	cap      time.Duration                              // longest wait of our own. Defaults to 1 minute.
	sleep    func(context.Context, time.Duration) error // Defaults to a timer that ends with ctx.
}

func (p policy) withDefaults() policy {
	if p.attempts == 0 {
		p.attempts = 5
	}
	if p.base == 0 {
		p.base = 500 * time.Millisecond
	}
	if p.cap == 0 {
		p.cap = time.Minute
	}
	if p.sleep == nil {
		p.sleep = Sleep
	}
	return p
}

// limit is how many attempts an error allows: 8 instead of 5 where the connection broke off, a server had trouble or
// the spool is full, which is a minute with the waits between them. Whatever else goes wrong costs traffic each time, and rarely passes.
// A folder of a disk that can't be made is looked at 3 times within two seconds.
func (p policy) limit(ctx context.Context, err error) int {
	if isBrief(err) {
		return (p.attempts*3 + 4) / 5
	}
	if Unreachable(ctx, err) || isSpoolFull(err) {
		return p.attempts * 8 / 5
	}
	return p.attempts
}

// patience is how many attempts an error allows that cost no traffic: half an hour of them where no connection came about.
// The hosts that keep a remote's content may be away while its others answer.
func (p policy) patience(ctx context.Context, err error) int {
	if noConnection(err) {
		return p.attempts * 8
	}
	return p.limit(ctx, err)
}

// noConnection tells whether an error says that there was nobody to connect to.
func noConnection(err error) bool {
	var dial *net.OpError
	var name *net.DNSError
	return errors.As(err, &name) || errors.As(err, &dial) && dial.Op == "dial"
}

// wait is how long to wait after failed attempt n (from 1) with err: never shorter than the remote asked for.
func (p policy) wait(n int, err error) time.Duration {
	d := Backoff(n, p.base, p.cap)
	if asked, ok := retryAfter(err); ok {
		d = max(d, asked)
	}
	return d
}

// try calls do until it succeeds or its error allows no further attempt.
func (p policy) try(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n >= p.attempts || classify(ctx, err) != classRetry {
			return err
		}
		if err := p.sleep(ctx, p.wait(n, err)); err != nil {
			return err
		}
	}
}

// Backoff is how long to wait after failed attempt n (from 1): base, doubled each time, at most longest, and spread by
// half so that many don't return at once.
func Backoff(n int, base, longest time.Duration) time.Duration {
	d := min(base<<min(n-1, 20), longest)
	return d/2 + rand.N(d/2+1)
}

// Sleep waits for d, or returns the cause of a done ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
