package icloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"

	"offload/transfer"
)

// How often a call is repeated.
const (
	maxTries      = 6
	max400        = 3  // Apple answers 400 at random to calls that are in order
	maxBusy       = 10 // the zone is busy with another write
	maxRecoveries = 3  // another worker's cookies, the same cookies again, a sign-in
	firstWait     = 100 * time.Millisecond
	longestWait   = 10 * time.Second
	callTimeout   = 2 * time.Minute
	longestRest   = 2 * time.Minute // a longer rest is the caller's to wait for
	maxBody       = 512 << 20
)

// setupRoot is where sessions are checked.
const setupRoot = "https://setup.icloud.com/setup/ws/1"

// call is one call to Apple.
type call struct {
	what    string // "list folders", for errors
	method  string
	service string // key of the web service, "" for setup
	path    string
	params  url.Values
	body    any
	changes bool    // it changes something: it's repeated only where it surely wasn't carried out
	retry4  int     // tries after a 400; 0 means max400
	steady  bool    // don't renew the session for it: its refusal may mean something else
	ticket  *ticket // a place in the limiter for the first try, already taken
	// decode reads the answer. An error of it is transient.
	decode func(body []byte) error
}

// answer is what came back.
type answer struct {
	status  int
	body    []byte
	retry   time.Time
	cookies []*http.Cookie
}

// do makes a call: at the pace of the account, with a session that holds, as often as is safe.
func (a *Account) do(ctx context.Context, c *call) error {
	t := tally{c: c}
	defer func() {
		if c.ticket != nil {
			c.ticket.release()
		}
	}()
	for {
		s, ans, err := a.attempt(ctx, c)
		if err == nil && ans.status/100 == 2 {
			if err = decodeSafely(c, ans.body); err == nil {
				return nil
			}
		}
		again, wait, err := t.judge(ans, err)
		if ans != nil && again == renewSession {
			if rerr := a.recover(ctx, s.gen, ans.status); rerr != nil {
				return rerr
			}
			continue
		}
		if ctx.Err() != nil && again != giveUp {
			return context.Cause(ctx)
		}
		if again == giveUp {
			return err
		}
		if err := a.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// attempt makes one try, in a place of the limiter.
func (a *Account) attempt(ctx context.Context, c *call) (session, *answer, error) {
	t := c.ticket
	c.ticket = nil
	if t != nil {
		defer t.release()
	}
	if err := a.ready(ctx); err != nil {
		return session{}, nil, &beforeError{err}
	}
	if t == nil {
		var err error
		if t, err = a.enter(ctx, a.api, c.what); err != nil {
			return session{}, nil, &beforeError{err}
		}
		defer t.release()
	}
	s := a.snapshot()
	root := setupRoot
	if c.service != "" {
		if root = s.hosts.url(c.service); root == "" {
			return s, nil, &beforeError{fmt.Errorf("%s: %w", c.what, errNoService)}
		}
	}
	ans, err := a.send(ctx, c, root, s.jar)
	if err != nil {
		return s, nil, err
	}
	a.notePace(ctx, t, ans.status, ans.retry)
	if ans.status/100 == 2 {
		a.merge(s.gen, ans.cookies)
	}
	return s, ans, nil
}

// beforeError is a failure before anything was sent.
type beforeError struct{ error }

func (e *beforeError) Unwrap() error { return e.error }

// enter waits until the account may be called, and takes a place.
func (a *Account) enter(ctx context.Context, l *limiter, what string) (*ticket, error) {
	for {
		until, err := a.opt.Fleet.Resting(ctx, a.lane())
		if err != nil {
			return nil, err
		}
		rest := until.Sub(a.opt.Now())
		if rest <= 0 {
			return l.acquire(ctx)
		}
		if rest > longestRest {
			return nil, &statusError{what: what, status: http.StatusTooManyRequests, retry: until}
		}
		if err := a.sleep(ctx, rest); err != nil {
			return nil, err
		}
	}
}

// lane is where the workers share the rests that Apple asks for.
func (a *Account) lane() string { return "icloud:" + a.name }

// notePace tells the limiter what a status says about the pace, and the other workers if Apple asked for a rest.
func (a *Account) notePace(ctx context.Context, t *ticket, status int, retry time.Time) {
	switch {
	case throttles(status):
		t.note(refused)
		if retry.IsZero() {
			return
		}
		if err := a.opt.Fleet.Rest(ctx, a.lane(), retry); err != nil {
			a.opt.Log.Warn("can't share the rest that iCloud asks for", "remote", a.name, "error", err)
		}
	case status < 500:
		t.note(fine)
	}
}

// send sends a request and reads the answer whole. Its errors hold no address.
func (a *Account) send(ctx context.Context, c *call, root string, jar cookies) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body []byte
	if c.body != nil {
		var err error
		if body, err = json.Marshal(c.body); err != nil {
			return nil, &beforeError{fmt.Errorf("%s: %w", c.what, err)}
		}
	}
	address := strings.TrimSuffix(root, "/") + c.path
	if len(c.params) > 0 {
		address += "?" + c.params.Encode()
	}
	for range maxHops {
		var reader io.Reader
		if body != nil {
			reader = bytes.NewReader(body)
		}
		r, err := http.NewRequestWithContext(ctx, c.method, address, reader)
		if err != nil {
			return nil, &beforeError{scrub(c.what, err)}
		}
		setHeaders(r, jar)
		resp, err := a.http.Do(r)
		if err != nil {
			return nil, scrub(c.what, err)
		}
		if resp.StatusCode == statusApple330 {
			_ = resp.Body.Close()
			to, err := resp.Location()
			if err != nil || !apples(to) {
				return nil, &beforeError{fmt.Errorf("%s: it was sent on to nowhere", c.what)}
			}
			address = to.String()
			continue
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil && resp.StatusCode/100 == 2 {
			return nil, scrub(c.what, err)
		}
		return &answer{status: resp.StatusCode, body: data, retry: retryAt(resp.Header, a.opt.Now()), cookies: resp.Cookies()}, nil
	}
	return nil, &beforeError{fmt.Errorf("%s: too many redirects", c.what)}
}

// setHeaders makes a request look like icloud.com's own, as rclone's do.
func setHeaders(r *http.Request, jar cookies) {
	for k, v := range api.GetCommonHeaders(nil) {
		r.Header.Set(k, v)
	}
	if text := jar.header(); text != "" {
		r.Header.Set("Cookie", text)
	}
}

// decodeSafely reads an answer; whatever it holds, the process lives on.
func decodeSafely(c *call, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %w", c.what, errShort)
		}
	}()
	if c.decode == nil {
		return nil
	}
	if err := c.decode(body); err != nil {
		return fmt.Errorf("%s: %w", c.what, err)
	}
	return nil
}

// unmarshal reads JSON; what isn't JSON is a short answer.
func unmarshal(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return errShort
	}
	return nil
}

// next is what to do after a failed try.
type next int

const (
	giveUp next = iota
	repeat
	renewSession
)

// tally counts the tries of a call by what failed.
type tally struct {
	c                         *call
	tries, bad, busy, renewed int
}

// judge decides about a failed try. err is nil where there is an answer that isn't a success.
func (t *tally) judge(ans *answer, err error) (next, time.Duration, error) {
	if err != nil {
		return t.judgeError(err)
	}
	code := codeOf(ans.body)
	err = &statusError{what: t.c.what, status: ans.status, code: code, retry: ans.retry}
	switch ans.status {
	case http.StatusUnauthorized, http.StatusMisdirectedRequest, statusApple450, http.StatusLocked:
		if t.c.steady {
			return giveUp, 0, err
		}
		if t.renewed++; t.renewed > maxRecoveries {
			return giveUp, 0, fmt.Errorf("%s: %w", t.c.what, errNewSession)
		}
		return renewSession, 0, nil
	case http.StatusConflict:
		if code == zoneBusy {
			t.busy++
			return allow(t.busy < maxBusy), backoff(t.busy), err
		}
		if t.c.changes {
			return giveUp, 0, err
		}
	case http.StatusTooManyRequests:
	case http.StatusBadRequest:
		limit := t.c.retry4
		if limit == 0 {
			limit = max400
		}
		t.bad++
		if t.c.changes || t.bad >= limit {
			return giveUp, 0, err
		}
	case http.StatusRequestTimeout:
		if t.c.changes {
			return giveUp, 0, &unsureError{err}
		}
	default:
		if ans.status < 500 {
			return giveUp, 0, err
		}
		if t.c.changes {
			return giveUp, 0, &unsureError{err}
		}
	}
	t.tries++
	return allow(t.tries < maxTries), backoff(t.tries), err
}

// judgeError decides about a try that had no answer, or one that couldn't be read.
func (t *tally) judgeError(err error) (next, time.Duration, error) {
	var before *beforeError
	switch {
	case errors.As(err, &before):
		if !errors.Is(err, errNoService) {
			return giveUp, 0, before.error
		}
		err = before.error
	case transfer.CallRefused(err):
		return giveUp, 0, err // it wasn't sent
	case t.c.changes && !unsent(err):
		return giveUp, 0, &unsureError{err}
	}
	t.tries++
	return allow(t.tries < maxTries), backoff(t.tries), err
}

func allow(ok bool) next {
	if ok {
		return repeat
	}
	return giveUp
}

// backoff is how long to wait after failed try n (from 1).
func backoff(n int) time.Duration { return transfer.Backoff(n, firstWait, longestWait) }

// zoneBusy is what the body of a 409 says where another write to the same zone was under way: nothing was done.
const zoneBusy = "ZONE_BUSY"

// codeOf finds the name of an error in its body. Only a name of that form is taken over: the rest may be anything.
func codeOf(body []byte) string {
	if bytes.Contains(body, []byte(zoneBusy)) {
		return zoneBusy
	}
	var e struct {
		Code   text `json:"serverErrorCode"`
		Error  text `json:"errorCode"`
		Status text `json:"status"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	for _, c := range []text{e.Code, e.Error, e.Status} {
		if isName(string(c)) {
			return string(c)
		}
	}
	return ""
}

// isName tells whether s is an identifier in capitals.
func isName(s string) bool {
	return s != "" && len(s) < 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}
