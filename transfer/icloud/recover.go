package icloud

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"

	"offload/transfer"
)

// How often and how long a recovery goes on.
const (
	refusalLasts  = 15 * time.Minute // after a refused sign-in, with the same credentials; longer each time in a row
	refusalMost   = 24 * time.Hour   // at most
	signInPause   = time.Minute      // between two sign-ins; longer where they follow each other
	signInCalm    = time.Hour        // sign-ins further apart don't follow each other
	recoveryLimit = 7 * time.Minute  // rclone waits up to five for the approval of a device
	landTime      = 2 * time.Second  // that Close waits for recoveries, which may not heed the end of their context
)

// errEnded refuses a recovery after Close.
var errEnded = errors.New("the iCloud session isn't renewed any more: the process ends")

// flight is one recovery of the session, for all who wait for it.
type flight struct {
	done    chan struct{}
	err     error // valid once done is closed
	waiters int
	cancel  context.CancelFunc
}

// refusal is the circuit breaker: what was refused, and until when nothing of the kind is tried again.
type refusal struct {
	err   error // nil where nothing is refused
	until time.Time
	with  credentials
}

// streak counts what happens again and again with the same credentials.
type streak struct {
	n    int
	with credentials
}

// next counts one more, and returns how many came before it.
func (s *streak) next(with credentials) int {
	if !s.with.sameKeys(with) {
		s.n = 0
	}
	s.n, s.with = s.n+1, with
	return s.n - 1
}

// growing is the n-th (from 0) of pauses that become four times as long each time.
func growing(first time.Duration, n int, most time.Duration) time.Duration {
	return min(first<<(2*min(n, 10)), most)
}

// sameKeys tells whether credentials sign in alike.
func (c credentials) sameKeys(o credentials) bool {
	return c.appleID == o.appleID && c.trust == o.trust && c.password == o.password
}

// ready answers a refusal at once, as long as nothing in the config has changed.
func (a *Account) ready(ctx context.Context) error {
	a.mu.Lock()
	r, gen := a.refusal, a.session.gen
	a.mu.Unlock()
	if r.err == nil {
		return nil
	}
	if a.opt.Now().Before(r.until) && a.config() == r.with {
		return r.err
	}
	return a.recover(ctx, gen, 0)
}

// recover replaces the session that a call was refused with. Of many calls one does the work; the others wait for it.
// status is what the service answered, 0 where there was no call.
func (a *Account) recover(ctx context.Context, gen uint64, status int) error {
	a.mu.Lock()
	if a.session.gen != gen {
		a.mu.Unlock()
		return nil // somebody has done it
	}
	f := a.flight
	if f == nil && a.ended {
		a.mu.Unlock()
		return errEnded
	}
	if f == nil {
		// The work goes on while anybody waits for it, whoever began.
		own, cancel := context.WithTimeout(transfer.WithCallMark(context.WithoutCancel(ctx), a.mark), recoveryLimit)
		f = &flight{done: make(chan struct{}), cancel: cancel}
		a.flight = f
		a.flying = append(a.flying, f)
		go a.fly(own, f, gen, status)
	}
	f.waiters++
	a.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		if f.waiters--; f.waiters == 0 {
			f.cancel()
			if a.flight == f {
				a.flight = nil
			}
		}
		return context.Cause(ctx)
	}
}

func (a *Account) fly(ctx context.Context, f *flight, gen uint64, status int) {
	defer f.cancel()
	err := a.renewInTurn(ctx, gen, status)
	a.mu.Lock()
	defer a.mu.Unlock()
	f.err = err
	if a.flight == f {
		a.flight = nil
	}
	a.flying = slices.DeleteFunc(a.flying, func(other *flight) bool { return other == f })
	close(f.done)
}

// land ends the recoveries that run and waits for them, until late. None begins after it: a call that was left alone may ask for one.
func (a *Account) land(late <-chan struct{}) {
	a.mu.Lock()
	a.ended = true
	flying := slices.Clone(a.flying)
	a.mu.Unlock()
	for _, f := range flying {
		f.cancel()
		select {
		case <-f.done:
		case <-late:
			return
		}
	}
}

// renewInTurn renews the session as the only one of all workers. A turn that is lost on the way ends the work.
func (a *Account) renewInTurn(ctx context.Context, gen uint64, status int) (err error) {
	ctx, leave, err := a.opt.Fleet.Turn(ctx, "sign-in:"+a.name)
	if err != nil {
		return err
	}
	defer leave()
	if a.snapshot().gen != gen {
		return nil
	}
	a.http.CloseIdleConnections() // 421 also says that a connection leads to the wrong place
	cfg := a.config()
	if cfg.trust == "" {
		return a.refuse(ctx, cfg, "the trust token is gone")
	}
	return a.renew(ctx, cfg, status)
}

// renew tries what costs least first: what another worker left in the config, then the same cookies once more, then a
// sign-in.
func (a *Account) renew(ctx context.Context, cfg credentials, status int) error {
	a.mu.Lock()
	old, saved := a.session, a.saved
	a.mu.Unlock()
	locked := status == http.StatusLocked
	jar, from := old.jar, fromValidate
	switch {
	case old.gen == 0:
		jar, from = readCookies(cfg.cookies), fromOther
	case cfg.cookies != "" && cfg.cookies != saved:
		jar, from, locked = readCookies(cfg.cookies), fromOther, false
	case locked && old.jar.value(pcsCookie) == "":
	case old.origin >= fromSignIn && a.opt.Now().Sub(old.made) < signInPause && status != 0:
		return errNewSession
	case old.origin != fromConfig && !locked && a.opt.Now().Sub(old.made) < refusalLasts:
		jar = nil // validated not long ago, and refused all the same
	}
	if len(jar) > 0 {
		err := a.revive(ctx, cfg, jar, from, locked)
		if !isStale(err) {
			return err
		}
	}
	return a.signIn(ctx, cfg)
}

// revive asks whether cookies are good, and makes a session of them. It answers a stale status where they aren't.
func (a *Account) revive(ctx context.Context, cfg credentials, jar cookies, from origin, locked bool) error {
	info, jar, err := a.validate(ctx, jar)
	if isStale(err) {
		api.ClearCacheDir(a.name) // a start must not take these cookies for good ones
	}
	if err != nil {
		return err
	}
	if info.challenged() || !info.Webservices.complete() {
		return &statusError{what: "validate session", status: http.StatusMisdirectedRequest}
	}
	if locked { // the key that is there was refused
		jar = jar.without(pcsCookie)
		if ws := info.Webservices[api.WsDrive]; ws != nil {
			ws.PcsRequired = true
		}
	}
	if info.Webservices.needsPCS(jar) {
		if jar, err = a.unlock(ctx, cfg, jar, info.Webservices); err != nil {
			return err
		}
		from = fromPCS
	}
	a.writeCache(info.Webservices)
	a.adopt(from, jar, info.Webservices)
	if text := jar.header(); text != cfg.cookies {
		a.save(jar)
	} else {
		a.mu.Lock()
		a.saved = text
		a.mu.Unlock()
	}
	a.opt.Log.Info("the iCloud session is renewed", "remote", a.name)
	return nil
}

// isStale tells whether a session is refused, rather than a call failed.
func isStale(err error) bool {
	var se *statusError
	return errors.As(err, &se) && stale(se.status)
}

// stale are the statuses of a session that isn't good any more.
func stale(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusMisdirectedRequest || status == statusApple450
}
