package transfer

import (
	"errors"
	"strings"
	"time"
)

// LimitError says that a limit which a remote itself sets on traffic or calls is reached. It is an ErrNoQuota: the entry
// stays pending.
type LimitError struct {
	Limit string    // for people, without the remote's name: "the team's upload calls of this month are used up"
	Until time.Time // when it begins anew, as far as that is known
	File  bool      // it is about one file; others may go on
	Err   error     // what the remote said
}

// Error implements error.
func (e *LimitError) Error() string { return e.Limit + ": " + e.Err.Error() }

// Unwrap returns what the remote said.
func (e *LimitError) Unwrap() error { return e.Err }

// Is makes it an ErrNoQuota.
func (e *LimitError) Is(target error) bool { return target == ErrNoQuota }

// withLimit makes an error of a remote's an ErrNoQuota where it tells of a limit: one of the remote's own, or that of
// calls of which a backend kept no more than the text. It returns any other error as it is.
func withLimit(side string, err error, now time.Time) error {
	if err == nil || errors.Is(err, ErrNoQuota) {
		return err
	}
	switch reason := googleReason(err); reason {
	case "uploadLimitExceeded", "userRateLimitExceeded", "rateLimitExceeded":
		// The latter two are those of a rate, too: googleReason tells them apart.
		if side == SideDest {
			return &LimitError{Limit: "Google takes no more uploads today", Until: now.Add(googleDay), Err: err}
		}
	case "dailyLimitExceeded":
		return &LimitError{Limit: "Google takes no more calls today", Until: now.Add(googleDay), Err: err}
	case "downloadQuotaExceeded":
		return &LimitError{Limit: "Google hands a file out no more today", Until: now.Add(googleDay), File: true, Err: err}
	}
	if side == SideDest && DropboxTeamLimit(err) {
		year, month, _ := now.UTC().Date()
		return &LimitError{Limit: "the team's upload calls of this month are used up", Err: err,
			Until: time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)}
	}
	if saysNoQuota(err) {
		return &callError{text: err.Error(), err: ErrNoQuota}
	}
	return err
}

// DropboxTeamLimit tells whether a Dropbox team has no upload calls left (its "data transport limit"): an upload is
// refused with the text of a feature that the account doesn't have. The limit begins anew on the 1st of each month.
func DropboxTeamLimit(err error) bool {
	return err != nil && strings.Contains(err.Error(), "invalid_account_type/feature")
}

// googleDay is how long Google's daily limits last: it counts the 24 hours before each call.
const googleDay = 24 * time.Hour

// googleReason is the reason in a refusal (403) of Google's API, "" where there is none. Those of a rate are left out,
// since they pass in seconds, but for the limit of uploads a day (750 GB): Google gives it the same reason and a text
// that differs by a full stop. rclone's backend has repeated the call for a while when one comes here. The refusal is
// known by its text, that of one link of the chain.
func googleReason(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		text, ok := strings.CutPrefix(err.Error(), "googleapi: Error 403: ")
		i := strings.LastIndex(text, ", ")
		if !ok || i < 0 || strings.ContainsAny(text[i+2:], " :\n") {
			continue
		}
		message, reason := text[:i], text[i+2:]
		if strings.HasSuffix(strings.ToLower(reason), "ratelimitexceeded") && message != "User rate limit exceeded." {
			return ""
		}
		return reason
	}
	return ""
}
