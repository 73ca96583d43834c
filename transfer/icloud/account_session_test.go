package icloud

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"

	"offload/transfer"
)

// listN lists from many goroutines and returns the errors.
func listN(ctx context.Context, a *Account, n int) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = a.List(ctx, []string{rootID})[0].Err })
	}
	wg.Wait()
	return errs
}

func wantNone(t *testing.T, errs []error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestWarmStartCallsNobody(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	if n := p.count("/setup/ws/1/validate") + int(p.signIns.Load()); n != 0 {
		t.Errorf("%d calls at a warm start", n)
	}
	wantNone(t, listN(t.Context(), a, 1))
}

func TestStartWithCookiesAloneValidatesOnce(t *testing.T) {
	p := newApple(t)
	a := p.cold(Options{})
	if err := a.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, s := p.count("/setup/ws/1/validate"), p.signIns.Load(); v != 1 || s != 0 {
		t.Errorf("%d validations and %d sign-ins", v, s)
	}
	if !a.readCache().complete() {
		t.Error("the services aren't cached for the next start")
	}
}

func TestStartWithoutTrustAsksForAPerson(t *testing.T) {
	p := newApple(t)
	p.conf.Set(keyTrust, "")
	err := p.cold(Options{}).start(t.Context())
	if !errors.Is(err, transfer.ErrSignIn) || !strings.Contains(err.Error(), "offload remotes reconnect icloud") {
		t.Errorf("error is %v", err)
	}
}

func TestExpiryWithManyCallsInFlightIsOneSignIn(t *testing.T) {
	p := newApple(t)
	f := &fleet{}
	a := p.account(Options{Fleet: f})
	p.mu.Lock()
	p.gate = make(chan struct{})
	p.mu.Unlock()
	on := p.gate
	go func() {
		until(t, func() bool { return p.inFlight.Load() == apiStart }) // as many are under way as may be
		p.expire()
		p.mu.Lock()
		p.gate = nil
		p.mu.Unlock()
		close(on)
	}()
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, err := a.ListTrash(t.Context()); errs[i] = err })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, errShort) { // the played apple has no trash
			t.Fatal(err)
		}
	}
	if n := p.signIns.Load(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
	if n := f.turns.Load(); n != 1 {
		t.Errorf("%d turns taken, want 1", n)
	}
	if got, _ := p.conf.Get(keyCookies); !strings.Contains(got, "new1") {
		t.Error("the new cookies aren't in the config")
	}
}

func TestTrustExpiredIsOneSignInAttempt(t *testing.T) {
	p := newApple(t)
	c := newClock()
	f := &fleet{}
	a := p.account(Options{Now: c.now, Fleet: f})
	p.signIn = func() (*api.Session, error) {
		return &api.Session{AccountInfo: api.AccountInfo{}}, errors.New("sign in failed: 401 Unauthorized: {\"secret-token\":1}")
	}
	p.expire()
	for range 3 {
		for _, err := range listN(t.Context(), a, 10) {
			if !errors.Is(err, transfer.ErrSignIn) {
				t.Fatalf("error is %v", err)
			}
			if strings.Contains(err.Error(), "secret-token") {
				t.Fatalf("error tells a body: %v", err)
			}
		}
	}
	calls := p.count("/retrieveItemDetailsInFolders")
	if n := p.signIns.Load(); n != 1 {
		t.Fatalf("%d sign-ins, want 1", n)
	}
	turns := f.turns.Load()
	listN(t.Context(), a, 5)
	if n := p.count("/retrieveItemDetailsInFolders"); n != calls || f.turns.Load() != turns {
		t.Errorf("%d calls made and %d turns taken with a refused sign-in", n-calls, f.turns.Load()-turns)
	}

	c.add(refusalLasts + time.Second)
	listN(t.Context(), a, 5)
	if n := p.signIns.Load(); n != 2 {
		t.Errorf("%d sign-ins after the pause, want 2", n)
	}
	p.signIn = nil
	p.conf.Set(keyTrust, "new trust") // a person signed in
	wantNone(t, listN(t.Context(), a, 5))
	if n := p.signIns.Load(); n != 3 {
		t.Errorf("%d sign-ins after a person's, want 3", n)
	}
}

func TestNewCookiesEndARefusalWithoutASignIn(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.conf.Set(keyPassword, "")
	p.expire()
	for _, err := range listN(t.Context(), a, 4) {
		if !errors.Is(err, transfer.ErrSignIn) {
			t.Fatalf("without a password the error is %v", err)
		}
	}
	p.allow("theirs")
	p.conf.Set(keyCookies, "X-APPLE-WEBAUTH-TOKEN=theirs")
	wantNone(t, listN(t.Context(), a, 4))
	if n := p.signIns.Load(); n != 0 {
		t.Errorf("%d sign-ins", n)
	}
}

func TestAnotherWorkersCookiesAreTakenOver(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.expire()
	p.allow("theirs")
	p.conf.Set(keyCookies, "X-APPLE-WEBAUTH-TOKEN=theirs")
	wantNone(t, listN(t.Context(), a, 12))
	if v, s := p.count("/setup/ws/1/validate"), p.signIns.Load(); v != 1 || s != 0 {
		t.Errorf("%d validations and %d sign-ins, want 1 and 0", v, s)
	}
}

func TestAnotherWorkersRefusalIsHeeded(t *testing.T) {
	f := &transfer.LocalFleet{}
	p := newApple(t)
	p.signIn = func() (*api.Session, error) { return nil, errors.New("sign in failed: incorrect username or password") }
	one, two := p.account(Options{Fleet: f}), p.account(Options{Fleet: f})
	p.expire()
	for _, a := range []*Account{one, two} {
		if err := listN(t.Context(), a, 1)[0]; !errors.Is(err, transfer.ErrSignIn) {
			t.Fatalf("error is %v", err)
		}
	}
	if n := p.signIns.Load(); n != 1 {
		t.Errorf("%d sign-ins with the same refused password", n)
	}
}

func TestNewSessionRefusedIsTransientAndOneSignInAMinute(t *testing.T) {
	p := newApple(t)
	c := newClock()
	a := p.account(Options{Now: c.now})
	p.expire()
	p.signIn = func() (*api.Session, error) {
		s := &api.Session{Cookies: []*http.Cookie{{Name: "X-APPLE-WEBAUTH-TOKEN", Value: "stale"}}}
		s.AccountInfo.Webservices = nil
		return s, p.into(s)
	}
	for range 5 {
		err := listN(t.Context(), a, 1)[0]
		if !errors.Is(err, errNewSession) || errors.Is(err, transfer.ErrSignIn) {
			t.Fatalf("error is %v", err)
		}
	}
	if n := p.signIns.Load(); n != 1 {
		t.Errorf("%d sign-ins within a minute", n)
	}
	c.add(signInPause + time.Second)
	p.signIn = nil
	wantNone(t, listN(t.Context(), a, 5))
	if n := p.signIns.Load(); n != 2 {
		t.Errorf("%d sign-ins, want 2", n)
	}
}

// A session that validates and is refused all the same must not be validated for ever.
func TestValidSessionThatIsRefusedIsReplaced(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.on["/retrieveItemDetailsInFolders"] = func(r *http.Request, body []byte) *http.Response {
		if strings.Contains(r.Header.Get("Cookie"), "=s0") {
			return reply(421, "")
		}
		return reply(200, folders(body))
	}
	wantNone(t, listN(t.Context(), a, 8))
	if v, s := p.count("/setup/ws/1/validate"), p.signIns.Load(); v != 1 || s != 1 {
		t.Errorf("%d validations and %d sign-ins, want 1 and 1", v, s)
	}
}

func TestOverloadedSetupIsNoReasonToSignIn(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.expire()
	p.allow("s0")
	p.on["/retrieveItemDetailsInFolders"] = func(*http.Request, []byte) *http.Response { return reply(421, "") }
	p.on["/setup/ws/1/validate"] = func(*http.Request, []byte) *http.Response { return reply(503, "") }
	if err := listN(t.Context(), a, 1)[0]; !errors.Is(err, transfer.ErrThrottled) {
		t.Errorf("error is %v", err)
	}
	if n := p.signIns.Load(); n != 0 {
		t.Errorf("%d sign-ins", n)
	}
}

func TestLockedDriveIsUnlocked(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.on["/retrieveItemDetailsInFolders"] = func(r *http.Request, body []byte) *http.Response {
		if !strings.Contains(r.Header.Get("Cookie"), pcsCookie+"=key") {
			return reply(423, "")
		}
		return reply(200, folders(body))
	}
	wantNone(t, listN(t.Context(), a, 8))
	if n := p.signIns.Load(); n != 1 {
		t.Errorf("asked for the key %d times", n)
	}
	if got, _ := p.conf.Get(keyCookies); !strings.Contains(got, pcsCookie) {
		t.Error("the key isn't kept")
	}
}

func TestSignInThatPanicsIsAnError(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	a.signer = func(ctx context.Context, name string, cfg credentials, password string, with *api.Session) (*api.Session, error) {
		p.signIns.Add(1)
		return authenticate(ctx, name, cfg, password, nil) // a nil session: the panic is inside
	}
	p.expire()
	if err := listN(t.Context(), a, 1)[0]; err == nil || errors.Is(err, transfer.ErrSignIn) {
		t.Errorf("error is %v", err)
	}
	listN(t.Context(), a, 5)
	if n := p.signIns.Load(); n != signInTries {
		t.Errorf("%d tries of what may pass, want %d", n, signInTries)
	}
}

func TestWaitingForARecoveryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newApple(t)
		a := p.account(Options{})
		a.signer = func(ctx context.Context, _ string, _ credentials, _ string, _ *api.Session) (*api.Session, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p.expire()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan []error)
		go func() { done <- listN(ctx, a, 5) }()
		synctest.Wait()
		cancel()
		for _, err := range <-done {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v", err)
			}
		}
		synctest.Wait() // the recovery ends as nobody waits for it
	})
}

// Close waits for a recovery that nobody waits for any more, as long as that heeds its end within a moment.
func TestCloseWaitsForRecoveries(t *testing.T) {
	for name, c := range map[string]struct{ takes, waits time.Duration }{
		"one that ends": {time.Second, time.Second}, "one that heeds nothing": {time.Hour, landTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newApple(t)
				a := p.account(Options{})
				over := false
				a.signer = func(ctx context.Context, _ string, _ credentials, _ string, _ *api.Session) (*api.Session, error) {
					<-ctx.Done()
					<-time.After(c.takes) // of the bubble's own clock
					over = true
					return nil, ctx.Err()
				}
				p.expire()
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan []error)
				go func() { done <- listN(ctx, a, 1) }()
				synctest.Wait()
				cancel()
				<-done
				all := New(Options{})
				all.accounts["icloud"] = a
				began := time.Now()
				all.Close()
				if took := time.Since(began); took != c.waits {
					t.Errorf("it took %v, want %v", took, c.waits)
				}
				if c.takes < landTime && !over {
					t.Error("the recovery goes on")
				}
				if err := a.recover(t.Context(), a.snapshot().gen, 0); !errors.Is(err, errEnded) && c.takes < landTime {
					t.Errorf("a recovery after the end: %v", err)
				}
				<-time.After(c.takes)
			})
		})
	}
}

func TestCookiesOfAnswersAreKeptWithoutARace(t *testing.T) {
	p := newApple(t)
	p.rotate = true
	a := p.account(Options{})
	wantNone(t, listN(t.Context(), a, 32))
	for range 5 {
		wantNone(t, listN(t.Context(), a, 8))
	}
	if jar := a.snapshot().jar; jar.value("C1") == "" || jar.value("X-APPLE-WEBAUTH-TOKEN") != "s0" {
		t.Errorf("the cookies are %v", len(jar))
	}
}

func TestCookiesOfAnOldSessionAreNotMerged(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	old := a.snapshot().gen
	a.adopt(fromSignIn, readCookies("A=1"), p.services())
	a.merge(old, []*http.Cookie{{Name: "A", Value: "old"}})
	if v := a.snapshot().jar.value("A"); v != "1" {
		t.Errorf("cookie is %q", v)
	}
}

func TestCookieTombstones(t *testing.T) {
	jar := readCookies(`A=1; B=2; C="q"`)
	got, _ := jar.merged([]*http.Cookie{{Name: "A"}, {Name: "B", Value: "3"}, {Name: "C", Value: "x", MaxAge: -1}, {Name: "D", Value: "4"}})
	if h := got.header(); h != "B=3; D=4" {
		t.Errorf("cookies are %q", h)
	}
	if h := jar.header(); h != "A=1; B=2; C=q" {
		t.Errorf("the snapshot became %q", h)
	}
}

func TestTrustDaysLeft(t *testing.T) {
	p := newApple(t)
	c := newClock()
	a := p.account(Options{Now: c.now})
	if _, ok := a.TrustDaysLeft(); ok {
		t.Error("days known from nothing")
	}
	p.conf.Set(keyTrustTime, c.now().AddDate(0, 0, -21).Format(time.RFC3339))
	if d, ok := a.TrustDaysLeft(); !ok || d != 9 {
		t.Errorf("%d days left, want 9", d)
	}
	a.merge(a.snapshot().gen, []*http.Cookie{{Name: trustCookie, Value: "x", Expires: c.now().Add(49 * time.Hour)}})
	if d, ok := a.TrustDaysLeft(); !ok || d != 3 {
		t.Errorf("%d days left, want 3", d)
	}
}

func TestOneAccountForARemote(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	c := New(a.opt)
	one, err := c.account(t.Context(), "icloud", p.conf)
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.account(t.Context(), "icloud", p.conf)
	if err != nil || one != two {
		t.Errorf("two accounts for one remote (%v)", err)
	}
	p.conf.Set(keyAppleID, "bert@example.com")
	if three, err := c.account(t.Context(), "icloud", p.conf); err != nil || three == one {
		t.Errorf("the account of somebody else is used (%v)", err)
	}
}
