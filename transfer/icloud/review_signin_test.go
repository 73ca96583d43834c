package icloud

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"

	"offload/transfer"
)

// callFor makes a call each step for a while on all accounts, and returns the last errors.
func callFor(t *testing.T, c *clock, whole, step time.Duration, accounts ...*Account) (errs []error) {
	for range int(whole / step) {
		errs = errs[:0]
		for _, a := range accounts {
			errs = append(errs, listN(t.Context(), a, 1)...)
		}
		c.add(step)
	}
	return errs
}

// Each sign-in counts towards Apple's lock: nothing that stays wrong may make many of them.
func TestSignInsAreFewWhateverStaysWrong(t *testing.T) {
	fails := func(text string) func(*apple) func() (*api.Session, error) {
		return func(*apple) func() (*api.Session, error) {
			return func() (*api.Session, error) { return nil, errors.New(text) }
		}
	}
	for _, c := range []struct {
		name   string
		signIn func(*apple) func() (*api.Session, error)
		whole  time.Duration
		step   time.Duration
		most   int64
	}{
		{"sign-ins are throttled", fails("HTTP error 429 (429 Too Many Requests) returned body"), time.Hour, 5 * time.Second, 20},
		{"sign-ins are out of order", fails("HTTP error 503 (503 Service Unavailable) returned body"), time.Hour, 5 * time.Second, 60},
		{"the password is wrong", fails("sign in failed: incorrect username or password"), 24 * time.Hour, time.Minute, 10},
		{"new sessions are refused at once", func(p *apple) func() (*api.Session, error) {
			return func() (*api.Session, error) {
				s := &api.Session{Cookies: []*http.Cookie{{Name: "X-APPLE-WEBAUTH-TOKEN", Value: "stale"}}}
				return s, p.into(s)
			}
		}, time.Hour, 5 * time.Second, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newApple(t)
			ck := newClock()
			f := &transfer.LocalFleet{}
			one, two := p.account(Options{Now: ck.now, Fleet: f}), p.account(Options{Now: ck.now, Fleet: f})
			p.expire()
			p.signIn = c.signIn(p)
			for _, err := range callFor(t, ck, c.whole, c.step, one, two) {
				if err == nil {
					t.Errorf("a call succeeded")
				}
			}
			if n := p.signIns.Load(); n == 0 || n > c.most {
				t.Errorf("%d sign-ins in %s, want at most %d", n, c.whole, c.most)
			}
			p.signIn = nil
			ck.add(24 * time.Hour)
			for _, a := range []*Account{one, two} {
				wantNone(t, listN(t.Context(), a, 3))
			}
		})
	}
}

// A session that validates and is refused by the drive all the same, for ever, on several workers.
func TestFlappingSessionIsNoSignInStorm(t *testing.T) {
	p := newApple(t)
	ck := newClock()
	f := &transfer.LocalFleet{}
	one, two, three := p.account(Options{Now: ck.now, Fleet: f}), p.account(Options{Now: ck.now, Fleet: f}), p.account(Options{Now: ck.now, Fleet: f})
	p.on[listPath] = func(*http.Request, []byte) *http.Response { return reply(421, "") }
	callFor(t, ck, time.Hour, 5*time.Second, one, two, three)
	if n := p.signIns.Load(); n == 0 || n > 12 {
		t.Errorf("%d sign-ins in an hour", n)
	}
}

// late is a config whose newest cookies are seen only after a wait, as of a store that is asked now and then.
type late struct {
	*conf
	fresh bool
	was   string
}

func (l *late) Get(key string) (string, bool) {
	if key == keyCookies && !l.fresh {
		return l.was, true
	}
	return l.conf.Get(key)
}

func TestCookiesThatAreSeenLateSaveASignIn(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	was, _ := p.conf.Get(keyCookies)
	l := &late{conf: p.conf, was: was}
	a.m = l
	a.sleep = func(ctx context.Context, _ time.Duration) error { l.fresh = true; return ctx.Err() }
	p.expire()
	p.allow("theirs")
	p.conf.Set(keyCookies, "X-APPLE-WEBAUTH-TOKEN=theirs") // another worker has just signed in
	wantNone(t, listN(t.Context(), a, 6))
	if n := p.signIns.Load(); n != 0 {
		t.Errorf("%d sign-ins beside that of the other worker", n)
	}
}
