package guard

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// away is Sessions that can be out of reach.
type away struct {
	*Memory
	gone  bool
	asked int
}

var errAway = errors.New("the store is away")

func (a *away) Key(ctx context.Context) ([]byte, error) {
	if a.gone {
		return nil, errAway
	}
	return a.Memory.Key(ctx)
}

func (a *away) End(ctx context.Context, id string, until time.Time) error {
	if a.gone {
		return errAway
	}
	return a.Memory.End(ctx, id, until)
}

func (a *away) Ended(ctx context.Context) ([]string, error) {
	a.asked++
	if a.gone {
		return nil, errAway
	}
	return a.Memory.Ended(ctx)
}

func (w *world) signedIn(cookie string) bool {
	return w.ask("GET", "/", "", "Cookie", cookie).StatusCode == http.StatusOK
}

func TestForgedCookies(t *testing.T) {
	keep := NewMemory()
	w := newWorld(t, func(o *Options) { o.Sessions = keep })
	cookie, _ := w.signIn("ben", password)
	if !w.signedIn(cookie) {
		t.Fatal("not signed in")
	}
	value := strings.TrimPrefix(cookie, "offload=")
	s, err := parseSession(value)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*session)) string {
		c := s
		f(&c)
		return "offload=" + c.cookie()
	}
	parts := strings.Split(value, ".")
	other := newWorld(t, nil)
	theirs, _ := other.signIn("ben", password)
	for name, forged := range map[string]string{
		"another name":          change(func(s *session) { s.name = "anna" }),
		"a later end":           change(func(s *session) { s.until = s.until.Add(time.Second) }),
		"another ID":            change(func(s *session) { s.id = strings.Repeat("A", 26) }),
		"a changed bit":         change(func(s *session) { s.mac = append([]byte{s.mac[0] ^ 1}, s.mac[1:]...) }),
		"zeros for a signature": change(func(s *session) { s.mac = make([]byte, 32) }),
		"a short signature":     change(func(s *session) { s.mac = s.mac[:31] }),
		"no signature":          "offload=" + strings.Join(parts[:3], "."),
		"a signature too many":  cookie + "." + parts[3],
		"the key of others":     theirs,
		"the secure name":       "__Host-" + cookie,
		"an empty one":          "offload=",
		"signed with no key":    change(func(s *session) { s.mac = s.sign(nil, nil) }),
		"signed for no person": change(func(s *session) {
			key, _ := keep.Key(t.Context())
			s.mac = s.sign(key, nil)
		}),
		"the mark of another": change(func(s *session) {
			key, _ := keep.Key(t.Context())
			_, mark, _ := w.people.named("anna")
			s.mac = s.sign(key, mark)
		}),
	} {
		if w.signedIn(forged) {
			t.Errorf("%s is accepted", name)
		}
		if res := w.ask("GET", "/api/v1/jobs", "", "Cookie", forged); res.StatusCode != 401 {
			t.Errorf("%s at the API: %d", name, res.StatusCode)
		}
	}
	if !w.signedIn(cookie) {
		t.Error("the true one no longer holds")
	}
}

// A sign-in holds for its time; another password, another person of the name or signing out end it before.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep := NewMemory()
		same := func(change func(*Options)) *world {
			return newWorld(t, func(o *Options) {
				o.Sessions, o.Lifetime = keep, time.Hour
				o.Users[0].Hash = "$2a$04$9Z3EJpEYeIx.JvVDXDpvQeXHlqjn7Ns2zVJzkSfFTc3OVZZYMyzdW" // the same for all
				if change != nil {
					change(o)
				}
			})
		}
		sign := func(w *world, name string) string {
			_, mark, _ := w.people.named(name)
			s, err := w.sessions.begin(t.Context(), name, mark, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return "offload=" + s.cookie()
		}
		a, b := same(nil), same(nil)
		cookie, token := sign(a, "anna"), sign(a, "scraper")
		if !a.signedIn(cookie) || !b.signedIn(cookie) || !b.signedIn(token) {
			t.Error("a sign-in doesn't hold at another dashboard of the store, or after a restart")
		}
		if c := same(func(o *Options) { o.Users[0].Hash = hashed(t, "new") }); c.signedIn(cookie) {
			t.Error("a sign-in outlives the password")
		}
		if c := same(func(o *Options) { o.Users = o.Users[1:] }); c.signedIn(cookie) {
			t.Error("a sign-in outlives the user")
		}
		if c := same(func(o *Options) { o.Tokens[0].Sum[0]++ }); c.signedIn(token) {
			t.Error("a sign-in outlives the token")
		}
		if c := same(func(o *Options) { o.Users[0].Role = Viewer }); c.ask("POST", "/", "", "Cookie", cookie).StatusCode != 403 {
			t.Error("a sign-in keeps its role")
		}
		time.Sleep(59 * time.Minute)
		if !a.signedIn(cookie) {
			t.Error("a sign-in doesn't hold for its time")
		}
		time.Sleep(time.Minute)
		if a.signedIn(cookie) {
			t.Error("a sign-in holds beyond its time")
		}
		cookie = sign(a, "anna")
		other := sign(a, "anna")
		if !b.signedIn(cookie) {
			t.Fatal("not signed in")
		}
		res := a.ask("POST", "/logout", "", "Cookie", cookie)
		if res.StatusCode != 303 || res.Header.Get("Location") != "/login" || len(res.Cookies()) != 1 || res.Cookies()[0].MaxAge >= 0 {
			t.Errorf("signing out: %d %v", res.StatusCode, res.Header)
		}
		if a.signedIn(cookie) {
			t.Error("a sign-in outlives signing out")
		}
		time.Sleep(endedAge)
		if b.signedIn(cookie) {
			t.Error("a sign-in outlives signing out at another dashboard")
		}
		if !a.signedIn(other) || !b.signedIn(other) {
			t.Error("signing out ends another sign-in of the same person")
		}
		time.Sleep(2 * time.Hour)
		if ids, err := keep.Ended(t.Context()); err != nil || len(ids) > 0 {
			t.Errorf("ended sessions are kept for ever: %v, %v", ids, err)
		}
	})
}

// Where the store is away, who was let in before still is; nobody new, and who signs out is out here.
func TestSessionsWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep := &away{Memory: NewMemory(), gone: true}
		w := newWorld(t, func(o *Options) { o.Sessions = keep })
		if _, res := w.signIn("anna", password); res.StatusCode != 503 {
			t.Errorf("sign-in without a store: %d", res.StatusCode)
		}
		if res := w.ask("GET", "/api/v1/jobs", "", "Authorization", "Bearer "+secret); res.StatusCode != 200 {
			t.Errorf("a token needs the store: %d", res.StatusCode)
		}
		keep.gone = false
		cookie, _ := w.signIn("anna", password)
		second, _ := w.signIn("anna", password)
		if !w.signedIn(cookie) {
			t.Fatal("not signed in")
		}
		keep.gone = true
		time.Sleep(time.Hour)
		if !w.signedIn(cookie) {
			t.Error("signed out because the store is away")
		}
		w.ask("POST", "/logout", "", "Cookie", cookie)
		time.Sleep(time.Hour)
		if w.signedIn(cookie) || !w.signedIn(second) {
			t.Error("signing out without the store doesn't hold here, or holds for others")
		}
		keep.gone = false
		time.Sleep(time.Hour)
		if w.signedIn(cookie) {
			t.Error("the store is back and knows nothing of the signing out; it no longer holds")
		}
		fresh := newWorld(t, func(o *Options) { o.Sessions = &away{Memory: NewMemory(), gone: true} })
		if res := fresh.ask("GET", "/", "", "Cookie", cookie); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("a cookie that can't be checked: %d", res.StatusCode)
		}
	})
}

// However many requests come, the store is asked once in five seconds.
func TestTheStoreIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep := &away{Memory: NewMemory()}
		w := newWorld(t, func(o *Options) { o.Sessions = keep })
		cookie, _ := w.signIn("anna", password)
		for range 600 {
			if !w.signedIn(cookie) {
				t.Fatal("not signed in")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if keep.asked > 13 {
			t.Errorf("asked %d times in a minute", keep.asked)
		}
	})
}

func TestCookiesAreShutOff(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	for proto, name := range map[string]string{"http": "offload", "https": "__Host-offload"} {
		_, res := w.signIn("anna", password, "X-Forwarded-Proto", proto)
		if len(res.Cookies()) != 1 {
			t.Fatalf("%s: %v", proto, res.Header)
		}
		c := res.Cookies()[0]
		if c.Name != name || !c.HttpOnly || c.Secure != (proto == "https") || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || time.Until(c.Expires) < 6*24*time.Hour {
			t.Errorf("%s: %v", proto, c)
		}
	}
	// What came over plain HTTP, where anybody on the way could set it, isn't taken over TLS.
	cookie, _ := w.signIn("anna", password)
	if res := w.ask("GET", "/", "", "Cookie", cookie, "X-Forwarded-Proto", "https"); res.StatusCode == 200 {
		t.Error("a cookie without Secure is taken over TLS")
	}
}

func TestSignIn(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Users = append(o.Users, User{"Jürgen O'Neill", Viewer, hashed(t, strings.Repeat("é", 36))})
	})
	for _, c := range []struct {
		user, password string
		want           bool
	}{
		{"anna", password, true}, {"scraper", secret, true}, {"Jürgen O'Neill", strings.Repeat("é", 36), true},
		{"Jürgen O'Neill", strings.Repeat("é", 36) + "x", false}, // bcrypt itself would look at no more than 72 bytes
		{"anna", password + " ", false}, {"anna", "", false}, {"", "", false}, {"", password, false}, {"Anna", password, false},
		{"anna", secret, false}, {"scraper", password, false}, {"scraper", "", false}, {"nobody", "nobody", false}, {"anna\x00", password, false},
		{"anna", strings.Repeat("x", 5000), false},
	} {
		w.byPlace, w.byName = newTries(5, time.Second, 9), newTries(5, time.Second, 9)
		if cookie, res := w.signIn(c.user, c.password); (cookie != "") != c.want || !c.want && res.StatusCode != 401 {
			t.Errorf("%q with a password of %d bytes: %d, cookie %t", c.user, len(c.password), res.StatusCode, cookie != "")
		}
	}
	for name, o := range map[string]Options{
		"twice":      {Users: []User{{"a", Viewer, hashed(t, "x")}}, Tokens: []Token{{"a", Viewer, [32]byte{1}}}},
		"no name":    {Tokens: []Token{{"", Viewer, [32]byte{1}}}},
		"no role":    {Tokens: []Token{{"a", Nobody, [32]byte{1}}}},
		"a password": {Users: []User{{"a", Viewer, "secret"}}},
		"one token":  {Tokens: []Token{{"a", Viewer, [32]byte{1}}, {"b", Operator, [32]byte{1}}}},
		"no time":    {Lifetime: -1},
	} {
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzSession: whatever a cookie holds, it is refused or reads as it was written, and no key but the right one signs it.
func FuzzSession(f *testing.F) {
	s := newSession("Jürgen", time.Unix(1_800_000_000, 0))
	s.mac = s.sign([]byte("key"), []byte("mark"))
	f.Add(s.cookie())
	f.Add(strings.Repeat("A", 26) + ".0." + base64.RawURLEncoding.EncodeToString([]byte("a.b\x00")) + "." + strings.Repeat("A", 43))
	f.Add("..." + strings.Repeat(".", 600))
	f.Add("")
	g, err := New(Options{Tokens: []Token{{"Jürgen", Operator, [32]byte{1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSession(text)
		if err != nil {
			return
		}
		if s.cookie() != text || s.name == "" {
			t.Errorf("%q reads as %q", text, s.cookie())
		}
		if _, ok, err := g.session(t.Context(), s); ok || err != nil {
			t.Errorf("%q is accepted: %v", text, err)
		}
	})
}
