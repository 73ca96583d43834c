package dropbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	sdk "github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox"
	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/auth"
	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/files"
	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/users"

	"offload/transfer"
)

// answerError is an answer that isn't about the file: a refused sign-in, a rate limit, a fault of the service.
type answerError struct {
	status  int
	summary string        // as the service words it, "" where it doesn't
	after   time.Duration // how long it asks to wait, 0 where it doesn't say
	token   string        // the access token that was sent; never shown
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("Dropbox answered %d %s", e.status, http.StatusText(e.status))
	if e.summary != "" {
		text += ": " + e.summary
	}
	return text
}

// sieve turns such answers into errors before the SDK sees them: it drops the Retry-After header and can't read bodies
// that aren't JSON.
type sieve struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s sieve) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.base.RoundTrip(req)
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if err != nil || !ok { // a refresh of the token is oauth2's to read
		return resp, err
	}
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 {
		return resp, nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	e := &answerError{status: resp.StatusCode, token: token}
	var said struct {
		Summary string `json:"error_summary"`
		Error   struct {
			After float64 `json:"retry_after"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &said) == nil {
		e.summary = strings.TrimRight(said.Summary, "/.") // the service pads it with slashes and dots
		e.after = time.Duration(said.Error.After * float64(time.Second))
	}
	if n, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64); err == nil && n > 0 {
		e.after = max(e.after, time.Duration(n*float64(time.Second)))
	}
	return nil, e
}

// plain takes an answer out of what the HTTP client wraps around it.
func plain(err error) error {
	var a *answerError
	if errors.As(err, &a) {
		return a
	}
	return err
}

// againError is an answer about a file after which the same call may be repeated at once.
type againError struct{ err error }

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

// verdict is what to do after a call.
type verdict int

const (
	vDone      verdict = iota
	vRefused           // the service or the gate of calls said no, and nothing was done
	vThrottled         // it asks to be called less; nothing was done
	vSignIn            // the access token isn't taken; nothing was done
	vUnsure            // nobody knows whether it was carried out
)

// judge sorts the error of a call. What it doesn't know may have been carried out.
func judge(err error) verdict {
	if err == nil {
		return vDone
	}
	var a *answerError
	if errors.As(err, &a) {
		switch a.status {
		case http.StatusTooManyRequests:
			return vThrottled
		case http.StatusUnauthorized:
			return vSignIn
		}
		return vUnsure
	}
	if errors.Is(err, errSession) || isRefused(err) || transfer.CallRefused(err) {
		return vRefused
	}
	return vUnsure
}

// isRefused knows the errors that the SDK makes of answers 4xx. Those 5xx, 401 and 429 don't get that far.
func isRefused(err error) bool {
	return is[sdk.SDKInternalError](err) || is[users.GetCurrentAccountAPIError](err) || is[auth.BadRequest](err) || is[auth.AccessAPIError](err) || is[files.UploadSessionStartAPIError](err) ||
		is[files.UploadSessionAppendV2APIError](err) || is[files.UploadSessionFinishBatchV2APIError](err) ||
		is[files.GetMetadataAPIError](err)
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// tokenRefused knows the refusal of an access token in an error of rclone's backend.
func tokenRefused(err error) bool {
	if err == nil {
		return false
	}
	return is[auth.AuthAPIError](err) && !strings.Contains(err.Error(), "missing_scope") ||
		strings.Contains(err.Error(), "expired_access_token") || strings.Contains(err.Error(), "invalid_access_token")
}

// refreshRefused knows the errors of a refresh that no repetition mends: rclone's oauthutil words them so.
func refreshRefused(err error) bool {
	text := err.Error()
	return strings.Contains(text, "couldn't fetch token") &&
		(strings.Contains(text, "config reconnect") || strings.Contains(text, "properly set up")) ||
		strings.Contains(text, "there's no refresh token")
}
