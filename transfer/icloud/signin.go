package icloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/config/obscure"

	"offload/transfer"
)

// signInTries is how often a sign-in is begun that fails by the network or an overloaded service. One that is refused is
// never repeated: every refusal adds to Apple's lockout.
const signInTries = 4

// How long a sign-in is left alone that failed so, at first and at most, and one that Apple asks to be left alone with.
const (
	signInRest     = 3 * time.Second
	signInRestMost = 5 * time.Minute
	throttledRest  = 5 * time.Minute
	throttledMost  = time.Hour
)

// settleTime is how old the config may look that another worker wrote.
const settleTime = 200 * time.Millisecond

// accountInfo is what Apple tells of an account after validate.
type accountInfo struct {
	DsInfo *struct {
		HsaVersion num `json:"hsaVersion"`
	} `json:"dsInfo"`
	Webservices services `json:"webservices"`
	Challenge   bool     `json:"hsaChallengeRequired"`
}

// challenged tells whether Apple wants a code from a trusted device.
func (i accountInfo) challenged() bool {
	return i.Challenge && i.DsInfo != nil && i.DsInfo.HsaVersion.n == 2
}

// validate asks whether cookies make a session, and where its services are.
func (a *Account) validate(ctx context.Context, jar cookies) (accountInfo, cookies, error) {
	var info accountInfo
	for try := 1; ; try++ {
		ans, err := a.send(ctx, &call{what: "validate session", method: "POST", path: "/validate"}, setupRoot, jar)
		if err == nil && ans.status/100 != 2 {
			err = &statusError{what: "validate session", status: ans.status, retry: ans.retry}
			if refusesSession(ans.status, try) {
				err = &statusError{what: "validate session", status: http.StatusMisdirectedRequest}
			}
		}
		if err == nil {
			if err = json.Unmarshal(ans.body, &info); err == nil {
				jar, _ = jar.merged(ans.cookies)
				return info, jar, nil
			}
			err = fmt.Errorf("validate session: %w", errShort)
		}
		if isStale(err) || transfer.CallRefused(err) || try == maxTries || ctx.Err() != nil {
			return info, jar, err
		}
		if err := a.sleep(ctx, backoff(try)); err != nil {
			return info, jar, err
		}
	}
}

// refusesSession tells whether validate's answer is about the session. Apple answers 400 at random.
func refusesSession(status, try int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	case http.StatusBadRequest:
		return try >= max400
	}
	return status/100 == 4
}

// signIn signs in anew with the password and the trust token, without a person.
func (a *Account) signIn(ctx context.Context, cfg credentials) error {
	a.mu.Lock()
	r, tried := a.refusal, a.tried
	a.mu.Unlock()
	now := a.opt.Now()
	lane := refusedLane(a.name, cfg)
	if r.err != nil && now.Before(r.until) && cfg.sameKeys(r.with) {
		a.keepRefusal(r.err, r.until, cfg) // only the cookies changed, and they are no good
		return r.err
	}
	if until, err := a.opt.Fleet.Resting(ctx, lane); err == nil && now.Before(until) {
		err := signInError(a.name, "another worker was refused with the same credentials")
		a.keepRefusal(err, until, cfg)
		return err
	}
	if !tried.IsZero() && now.Sub(tried) < a.signInPause() {
		return errNewSession
	}
	if until, err := a.opt.Fleet.Resting(ctx, restingLane(a.name, cfg)); err == nil && now.Before(until) {
		return fmt.Errorf("%w: sign-ins rest", errNewSession)
	}
	if cfg.password == "" {
		return a.refuse(ctx, cfg, "the password isn't in the config")
	}
	password, err := obscure.Reveal(cfg.password)
	if err != nil {
		return a.refuse(ctx, cfg, "the password in the config can't be read")
	}
	if newer, ok := a.newerConfig(ctx, cfg); ok {
		if err := a.revive(ctx, newer, readCookies(newer.cookies), fromOther, false); !isStale(err) {
			return err
		}
		cfg = newer
	}
	return a.signInWith(ctx, cfg, password)
}

// newerConfig looks whether another worker has signed in a moment ago: its cookies may be seen late.
func (a *Account) newerConfig(ctx context.Context, cfg credentials) (credentials, bool) {
	if a.sleep(ctx, settleTime) != nil {
		return cfg, false
	}
	now := a.config()
	return now, now.cookies != "" && now.cookies != cfg.cookies
}

// signInWith makes the attempts of one sign-in.
func (a *Account) signInWith(ctx context.Context, cfg credentials, password string) error {
	a.mu.Lock()
	tries := signInTries
	if a.failed > 0 {
		tries = 1 // it has failed so before: nothing is won by haste
	}
	a.mu.Unlock()
	for try := 1; ; try++ {
		session, err := a.signer(ctx, a.name, cfg, password, &api.Session{})
		why, final := refusedSignIn(err, try)
		switch {
		case err == nil && session.Requires2FA():
			return a.refuse(ctx, cfg, "Apple asks for a code: the trust in this device has ended")
		case err == nil:
			return a.signedIn(ctx, cfg, session)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case transfer.CallRefused(err):
			return err // Apple wasn't asked
		case final:
			return a.refuse(ctx, cfg, why)
		case statusOf(err.Error()) == http.StatusTooManyRequests:
			return a.signInLater(ctx, cfg)
		case try >= tries:
			err := fmt.Errorf("sign in to iCloud: %s", why)
			a.keepRefusal(err, a.opt.Now().Add(growing(signInRest, a.countFailure(), signInRestMost)), cfg)
			return err
		}
		if err := a.sleep(ctx, 10*backoff(try)); err != nil {
			return err
		}
	}
}

// countFailure counts a sign-in that failed, and returns how many did before it.
func (a *Account) countFailure() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed++
	return a.failed - 1
}

// signInLater leaves sign-ins alone, here and on the other workers: Apple asked for it.
func (a *Account) signInLater(ctx context.Context, cfg credentials) error {
	until := a.opt.Now().Add(growing(throttledRest, a.countFailure(), throttledMost))
	err := &statusError{what: "sign in to iCloud", status: http.StatusTooManyRequests, retry: until}
	a.keepRefusal(err, until, cfg)
	a.shareRest(ctx, restingLane(a.name, cfg), until)
	return err
}

// signInPause is how long the next sign-in has to wait after the last one.
func (a *Account) signInPause() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return growing(signInPause, max(a.signed.n-1, 0), refusalLasts)
}

// shareRest tells the other workers to leave sign-ins alone.
func (a *Account) shareRest(ctx context.Context, lane string, until time.Time) {
	if err := a.opt.Fleet.Rest(ctx, lane, until); err != nil {
		a.opt.Log.Warn("can't tell the other workers to leave sign-ins alone", "remote", a.name, "error", err)
	}
}

// signedIn makes a session of a sign-in and lets the other workers know.
func (a *Account) signedIn(ctx context.Context, cfg credentials, s *api.Session) error {
	hosts, err := servicesOf(s)
	if err != nil {
		return err
	}
	if !hosts.complete() {
		return a.refuse(ctx, cfg, "Apple gives no access to iCloud Drive: new terms may wait for consent at icloud.com, or "+
			"\"Access iCloud Data on the Web\" is off")
	}
	jar := cookies(s.Cookies).clone()
	now := a.opt.Now()
	a.mu.Lock()
	if now.Sub(a.tried) > signInCalm {
		a.signed = streak{}
	}
	again := a.signed.next(cfg) > 0
	a.tried, a.failed, a.refused = now, 0, streak{}
	a.mu.Unlock()
	if again { // the last session didn't last: the other workers had better wait as well
		a.shareRest(ctx, restingLane(a.name, cfg), now.Add(a.signInPause()))
	}
	a.adopt(fromSignIn, jar, hosts)
	a.save(jar)
	a.writeCache(hosts)
	a.opt.Log.Info("signed in to iCloud again", "remote", a.name)
	return nil
}

// unlock asks for the key to protected data (Advanced Data Protection). A person may have to allow it on a device.
func (a *Account) unlock(ctx context.Context, cfg credentials, jar cookies, hosts services) (cookies, error) {
	with := &api.Session{Cookies: jar.clone()}
	data, err := json.Marshal(hosts)
	if err == nil {
		err = json.Unmarshal(data, &with.AccountInfo.Webservices)
	}
	if err != nil {
		return nil, fmt.Errorf("unlock iCloud Drive: %w", err)
	}
	s, err := a.signer(ctx, a.name, cfg, "", with)
	if transfer.CallRefused(err) {
		return nil, err
	}
	if err != nil {
		if strings.Contains(err.Error(), "timed out waiting for device approval") {
			return nil, a.refuse(ctx, cfg, "a trusted device must allow access to iCloud Drive")
		}
		return nil, fmt.Errorf("unlock iCloud Drive: %s", statusText(err))
	}
	return cookies(s.Cookies).clone(), nil
}

// signer signs in, or unlocks a session, and returns the session.
type signer func(ctx context.Context, name string, cfg credentials, password string, with *api.Session) (*api.Session, error)

// authenticate runs rclone's sign-in on a client of its own, beginning with the cookies and services of with. Its panics
// are errors.
func authenticate(ctx context.Context, name string, cfg credentials, password string, with *api.Session) (s *api.Session, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("the answer wasn't understood: %v", p)
		}
	}()
	c, err := api.New(cfg.appleID, password, cfg.trust, cfg.client, with.Cookies, nil, name, api.WsDrive)
	if err != nil {
		return nil, err
	}
	c.Session.AccountInfo.Webservices = with.AccountInfo.Webservices
	if err := c.Authenticate(ctx); err != nil {
		return nil, err
	}
	return c.Session, nil
}

// servicesOf copies the services out of rclone's session, whose type for them isn't exported.
func servicesOf(s *api.Session) (services, error) {
	var hosts services
	data, err := json.Marshal(s.AccountInfo.Webservices)
	if err == nil {
		err = json.Unmarshal(data, &hosts)
	}
	if err != nil {
		return nil, fmt.Errorf("read services of iCloud: %w", err)
	}
	return hosts, nil
}

// refuse notes that a person must sign in, for this process and the others.
func (a *Account) refuse(ctx context.Context, cfg credentials, why string) error {
	a.mu.Lock()
	n := a.refused.next(cfg)
	a.mu.Unlock()
	err, until := signInError(a.name, why), a.opt.Now().Add(growing(refusalLasts, n, refusalMost))
	a.keepRefusal(err, until, cfg)
	a.shareRest(ctx, refusedLane(a.name, cfg), until)
	a.opt.Log.Warn("iCloud wants a person to sign in", "remote", a.name, "reason", why)
	return err
}

func (a *Account) keepRefusal(err error, until time.Time, cfg credentials) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusal = refusal{err: err, until: until, with: cfg}
}

// refusedLane is where the workers tell each other that credentials were refused: new ones have another lane. The
// credentials can't be told from the few bytes that are left of their sum.
func refusedLane(name string, cfg credentials) string { return "sign-in-refused:" + keysOf(name, cfg) }

// restingLane is where they tell each other to leave sign-ins alone for a while.
func restingLane(name string, cfg credentials) string { return "sign-in-rest:" + keysOf(name, cfg) }

func keysOf(name string, cfg credentials) string {
	sum := sha256.Sum256([]byte(name + "\x00" + cfg.appleID + "\x00" + cfg.trust + "\x00" + cfg.password))
	return name + ":" + hex.EncodeToString(sum[:6])
}

// refusedSignIn sorts the error of a sign-in by the status in its text, which is all that rclone leaves of it. What isn't
// an answer of Apple's at all may pass. The reason holds nothing of the body: it may hold tokens.
func refusedSignIn(err error, try int) (why string, final bool) {
	if err == nil {
		return "", false
	}
	text := err.Error()
	if strings.Contains(text, "incorrect username or password") {
		return "Apple says that the Apple ID or the password is wrong", true
	}
	if strings.Contains(text, "timed out waiting for device approval") {
		return "a trusted device must allow access to iCloud Drive", true
	}
	why = statusText(err)
	switch status := statusOf(text); {
	case status == 0, status == 408, status == 429, status >= 500:
		return why, false
	case status == 400: // Apple answers 400 at random
		return why, try > 1
	case status >= 401:
		return why, true
	}
	return why, false
}

var statusInText = func() *regexp.Regexp {
	return regexp.MustCompile(`(?:HTTP error|sign in failed:|unexpected status|returned) (\d{3})\b`)
}

// statusOf finds the status in an error of rclone's; 0 where there is none.
func statusOf(text string) int {
	m := statusInText().FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// statusText tells what failed without the body that rclone puts into its errors.
func statusText(err error) string {
	if n := statusOf(err.Error()); n != 0 {
		return fmt.Sprintf("Apple answered %d at the sign-in", n)
	}
	inner := err
	for next := errors.Unwrap(inner); next != nil; next = errors.Unwrap(inner) {
		inner = next
	}
	return "the sign-in failed: " + inner.Error()
}
