package guard

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever isn't signed in gets nothing but the page for it; programs are told in their own form.
func TestNobodyGetsNothing(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		method, path string
		status       int
		location     string
	}{
		{"GET", "/", 303, "/login"},
		{"HEAD", "/jobs", 303, "/login?next=%2Fjobs"},
		{"GET", "/jobs?state=failed&q=a b", 303, "/login?next=%2Fjobs%3Fstate%3Dfailed%26q%3Da+b"},
		{"POST", "/jobs/1/pause", 401, ""},
		{"DELETE", "/jobs/1", 401, ""},
		{"GET", "/api/v1/jobs", 401, ""},
		{"POST", "/api/v1/jobs", 401, ""},
		{"GET", "/metrics", 401, ""},
		{"GET", "/login", 200, ""},
		{"PUT", "/login", 405, ""},
		{"GET", "/logout", 405, ""},
		{"POST", "/static/x", 401, ""},
		{"GET", "/staticx", 303, "/login?next=%2Fstaticx"},
		{"GET", "/healthz/x", 303, "/login?next=%2Fhealthz%2Fx"},
		{"GET", "/static%2fx", 400, ""},
	} {
		res := w.ask(c.method, strings.ReplaceAll(c.path, " ", "%20"), "")
		if got := strings.ReplaceAll(res.Header.Get("Location"), "%2520", "+"); res.StatusCode != c.status || got != c.location {
			t.Errorf("%s %s: %d to %q, want %d to %q", c.method, c.path, res.StatusCode, got, c.status, c.location)
		}
		if unread := c.method != "GET" && c.method != "HEAD"; (res.Header.Get("Connection") == "close") != unread {
			t.Errorf("%s %s: the connection is closed: %v", c.method, c.path, !unread)
		}
		data := strings.HasPrefix(c.path, "/api/") || c.path == "/metrics"
		if res.StatusCode == 401 && data != (res.Header.Get("WWW-Authenticate") != "" && res.Header.Get("Content-Type") == "application/problem+json") {
			t.Errorf("%s %s: %v", c.method, c.path, res.Header)
		}
	}
	if w.seen != 0 {
		t.Errorf("%d requests got through", w.seen)
	}
	for _, path := range []string{"/healthz", "/readyz", "/static/style.css"} {
		if res := w.ask("GET", path, ""); res.StatusCode != 200 || res.Header.Get("X-Who") != "/nobody" {
			t.Errorf("%s: %d %s", path, res.StatusCode, res.Header.Get("X-Who"))
		}
	}
	if res := w.ask("GET", "/events", "", "Accept", "text/event-stream"); res.StatusCode != 401 {
		t.Errorf("an event stream was sent to a page: %d", res.StatusCode)
	}
}

func TestRoles(t *testing.T) {
	w := newWorld(t, nil)
	anna, _ := w.signIn("anna", password)
	ben, _ := w.signIn("ben", password)
	scraper, _ := w.signIn("scraper", secret)
	if anna == "" || ben == "" || scraper == "" {
		t.Fatal("nobody could sign in")
	}
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
		who          string
	}{
		{"GET", "/jobs", []string{"Cookie", anna}, 200, "anna/operator"},
		{"POST", "/jobs", []string{"Cookie", anna}, 200, "anna/operator"},
		{"GET", "/jobs", []string{"Cookie", ben}, 200, "ben/viewer"},
		{"HEAD", "/jobs", []string{"Cookie", ben}, 200, "ben/viewer"},
		{"POST", "/jobs", []string{"Cookie", ben}, 403, ""},
		{"PUT", "/api/v1/jobs", []string{"Cookie", ben}, 403, ""},
		{"PATCH", "/x", []string{"Cookie", ben}, 403, ""},
		{"DELETE", "/static/x", []string{"Cookie", ben}, 403, ""},
		{"GET", "/jobs", []string{"Cookie", scraper}, 200, "scraper/viewer"},
		{"GET", "/api/v1/jobs", []string{"Authorization", "Bearer " + secret}, 200, "scraper/viewer"},
		{"GET", "/metrics", []string{"Authorization", "bearer " + secret}, 200, "scraper/viewer"},
		{"POST", "/api/v1/jobs", []string{"Authorization", "Bearer " + secret}, 403, ""},
		{"GET", "/api/v1/jobs", []string{"Authorization", "Bearer " + secret + "x"}, 401, ""},
		{"GET", "/api/v1/jobs", []string{"Authorization", "Bearer"}, 401, ""},
		{"GET", "/api/v1/jobs", []string{"Authorization", "Basic " + secret}, 401, ""},
		{"GET", "/api/v1/jobs", []string{"Authorization", "Bearer x", "Cookie", anna}, 401, ""},
		{"GET", "/api/v1/jobs", []string{"Cookie", anna}, 200, "anna/operator"},
		{"GET", "/jobs", []string{"Authorization", "Bearer " + secret}, 303, ""}, // tokens are for programs
		{"OPTIONS", "/jobs", []string{"Cookie", anna}, 405, ""},
		{"CONNECT", "/jobs", []string{"Cookie", anna}, 405, ""},
		{"TRACE", "/jobs", []string{"Cookie", anna}, 405, ""},
	} {
		res := w.ask(c.method, c.path, "", c.headers...)
		if res.StatusCode != c.status || res.Header.Get("X-Who") != c.who {
			t.Errorf("%s %s %.20s: %d %q, want %d %q", c.method, c.path, c.headers, res.StatusCode, res.Header.Get("X-Who"), c.status, c.who)
		}
	}
}

func TestHosts(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for _, c := range []struct {
		host  string
		extra []string
		want  bool
	}{
		{"localhost", nil, true}, {"LOCALHOST:1", nil, true}, {"localhost.", nil, true}, {"app.localhost:7317", nil, true},
		{"127.0.0.1:7317", nil, true}, {"127.9.9.9", nil, true}, {"[::1]:7317", nil, true}, {"::1", nil, true},
		{"offload.example.org", nil, true}, {"Offload.Example.Org:443", nil, true}, {"192.168.7.2:7317", nil, true},
		{"192.168.7.3", nil, false}, {"evil.example", nil, false}, {"evil.example:7317", nil, false}, {"", nil, false},
		{"localhost.evil.example", nil, false}, {"127.0.0.1.evil.example", nil, false}, {"xlocalhost", nil, false},
		{"offload.example.org.evil.example", nil, false}, {"localhost@evil.example", nil, false}, {"0.0.0.0", nil, false},
		{"[::ffff:127.0.0.1]", nil, true}, {"2130706433", nil, false},
		{"x", []string{"X-Forwarded-Host", "offload.example.org"}, true},
		{"x", []string{"X-Forwarded-Host", "evil.example, offload.example.org"}, true}, // the last is of our own proxy
		{"localhost", []string{"X-Forwarded-Host", "evil.example"}, false},
	} {
		w := newWorld(t, func(o *Options) {
			o.Listen, o.Hosts, o.Proxies = "192.168.7.2", []string{"offload.example.org"}, proxies
		})
		res := w.ask("GET", "/healthz", "", append([]string{"Host", c.host}, c.extra...)...)
		if got := res.StatusCode == 200; got != c.want || !c.want && res.StatusCode != 421 {
			t.Errorf("host %q %v: %d", c.host, c.extra, res.StatusCode)
		}
	}
	// The address that a request came to is the machine's own.
	w := newWorld(t, nil)
	for local, want := range map[string]int{"10.1.2.3": 200, "10.1.2.4": 421} {
		r := httptest.NewRequest("GET", "http://10.1.2.3/healthz", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(local), Port: 7317}))
		rec := httptest.NewRecorder()
		if w.h.ServeHTTP(rec, r); rec.Code != want {
			t.Errorf("asked for 10.1.2.3 at %s: %d", local, rec.Code)
		}
	}
}

// A page of another site can't make a browser ask for anything, but for following a link.
func TestForeignSites(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Users, o.Tokens = nil, nil })
	navigates := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for _, c := range []struct {
		method  string
		headers []string
		want    bool
	}{
		{"GET", nil, true}, {"POST", nil, true}, // programs
		{"GET", navigates, true},
		{"POST", navigates, false},
		{"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		{"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		{"GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, false},
		{"HEAD", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"POST", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://proxied.example"}, true},
		{"POST", []string{"Sec-Fetch-Site", "none"}, true},
		{"POST", []string{"Origin", "http://localhost:7317"}, true},
		{"GET", []string{"Origin", "http://localhost:7317"}, true},
		{"POST", []string{"Origin", "http://localhost:7318"}, false},
		{"POST", []string{"Origin", "http://evil.example"}, false},
		{"GET", []string{"Origin", "http://evil.example"}, false},
		{"POST", []string{"Origin", "null"}, false},
		{"GET", []string{"Origin", "null"}, false},
		{"DELETE", []string{"Origin", "http://localhost.evil.example:7317"}, false},
	} {
		if res := w.ask(c.method, "/x", "", c.headers...); (res.StatusCode == 200) != c.want || !c.want && res.StatusCode != 403 {
			t.Errorf("%s with %v: %d", c.method, c.headers, res.StatusCode)
		}
	}
}

// Without users a proxy in front would make everybody an operator.
func TestWithoutUsersNoProxy(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Users, o.Tokens = nil, nil })
	if !w.o.Open() {
		t.Error("nobody has to sign in, and Open denies it")
	}
	if res := w.ask("POST", "/x", ""); res.Header.Get("X-Who") != "/operator" {
		t.Errorf("on this machine: %v", res.Header.Get("X-Who"))
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"} {
		if res := w.ask("GET", "/x", "", name, "203.0.113.9"); res.StatusCode != 403 {
			t.Errorf("with %s: %d", name, res.StatusCode)
		}
	}
	for _, path := range []string{"/login", "/logout"} {
		if res := w.ask("POST", path, "user=x&password=y"); res.StatusCode != 303 || res.Header.Get("Location") != "/" || len(res.Cookies()) > 0 {
			t.Errorf("%s: %d %v", path, res.StatusCode, res.Header)
		}
	}
}

func TestProxiesAreBelievedWhereTheyShould(t *testing.T) {
	g := newWorld(t, func(o *Options) {
		o.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	})
	for _, c := range []struct {
		remote  string
		headers []string
		client  string
		secure  bool
	}{
		{"203.0.113.9:1", []string{"X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https"}, "203.0.113.9", false},
		{"10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https"}, "1.2.3.4", true},
		{"10.0.0.1:1", []string{"X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.2", "X-Forwarded-Proto", "http"}, "1.2.3.4", false},
		{"10.0.0.1:1", []string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "1.2.3.4"}, "1.2.3.4", false},
		{"10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4, nonsense"}, "10.0.0.1", false},
		{"10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4:5678"}, "1.2.3.4", false},
		{"10.0.0.1:1", []string{"X-Forwarded-For", "[2001:db8::1]:5678"}, "2001:db8::1", false},
		{"10.0.0.1:1", nil, "10.0.0.1", false},
		{"[::ffff:10.0.0.1]:1", []string{"X-Forwarded-For", "1.2.3.4"}, "1.2.3.4", false},
		{"[fd00::1%eth0]:1", []string{"X-Forwarded-For", "1.2.3.4"}, "1.2.3.4", false},
		{"10.0.0.1:1", []string{"X-Forwarded-For", "10.0.0.3, 10.0.0.2"}, "10.0.0.3", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Add(c.headers[i], c.headers[i+1])
		}
		if _, v := g.arrive(r); v.client.String() != c.client || v.secure != c.secure {
			t.Errorf("%s %v: %s, secure %t", c.remote, c.headers, v.client, v.secure)
		}
	}
}

func TestOddPaths(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{"/../x", "/static/../jobs", "/static/%2e%2e/jobs", "/static/..%2fjobs", "//evil.example/", "/a//b", "/a/./b", "/a%00b", "/a%0ab",
		"/a%5cb", "/static%2f..%2fjobs", "/a%ff", "/a%2fb", "/static/%2E%2E/x", "/api/../x", "/api/%2e%2e/x", "/api//x"} {
		if res := w.ask("GET", path, ""); res.StatusCode != 400 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res := w.ask("GET", "/api/v1/workers/host%2f12", "", "Authorization", "Bearer "+secret); res.StatusCode != 200 {
		t.Errorf("a name with a slash in the API: %d", res.StatusCode)
	}
	if w.seen != 1 {
		t.Errorf("%d requests got through", w.seen)
	}
}

// After signing in one goes on only to pages of this dashboard.
func TestNext(t *testing.T) {
	w := newWorld(t, nil)
	for next, want := range map[string]string{
		"/jobs": "/jobs", "/jobs?state=failed&x=%2F": "/jobs?state=failed&x=%2F", "/": "/", "/job/1#files": "/job/1#files",
		"": "/", "jobs": "/", "//evil.example": "/", "///evil.example": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "https://evil.example/": "/", "javascript:alert(1)": "/",
		"/\t/evil.example": "/", "/\n/evil.example": "/", "/%2f/evil.example": "/", "/x/..//evil.example": "/", "/../evil": "/", " /x": "/", "/%0d%0aSet-Cookie:x": "/",
		"/login": "/", "/login?next=/login": "/", "/logout": "/", "/a\xff": "/", "/" + strings.Repeat("x", 2000): "/",
	} {
		_, res := w.signInTo(next)
		if got := res.Header.Get("Location"); res.StatusCode != 303 || got != want {
			t.Errorf("next %q: %d to %q, want %q", next, res.StatusCode, got, want)
		}
		res = w.ask("GET", "/login?next="+url.QueryEscape(next), "")
		page, err := io.ReadAll(res.Body)
		if err != nil || want == "/" && strings.Contains(string(page), "evil") {
			t.Errorf("the page for next %q: %v\n%s", next, err, page)
		}
	}
}

func (w *world) signInTo(next string) (string, *http.Response) {
	res := w.ask("POST", "/login", url.Values{"user": {"anna"}, "password": {password}, "next": {next}}.Encode())
	return "", res
}

func TestHeaders(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	for _, path := range []string{"/", "/login", "/healthz", "/api/x", "/a//b"} {
		res := w.ask("GET", path, "")
		for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none'; script-src 'self'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": "camera=()", "X-Frame-Options": "DENY"} {
			if got := res.Header.Get(name); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if res.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: a browser would refuse plain HTTP from now on", path)
		}
	}
	if csp := w.ask("GET", "/login", "").Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") {
		t.Errorf("policy %s", csp)
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "localhost": false} {
		res := w.ask("GET", "/login", "", "X-Forwarded-Proto", "https", "Host", host)
		if got := res.Header.Get("Strict-Transport-Security") != ""; got != want {
			t.Errorf("over TLS at %s: %v", host, res.Header)
		}
	}
}

func TestPanicsAndBodies(t *testing.T) {
	var text strings.Builder
	w := newWorld(t, func(o *Options) { o.Users, o.Tokens, o.Log = nil, nil, slog.New(slog.NewTextHandler(&text, nil)) })
	if res := w.ask("GET", "/panic?q=hidden", ""); res.StatusCode != 500 {
		t.Errorf("panic: %d", res.StatusCode)
	}
	if log := text.String(); !strings.Contains(log, "oh no") || !strings.Contains(log, "stack=") || !strings.Contains(log, "status=500") || strings.Contains(log, "hidden") {
		t.Errorf("log: %s", log)
	}
	big := w.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var tooLarge *http.MaxBytesError
		if _, err := io.Copy(io.Discard, r.Body); !errors.As(err, &tooLarge) {
			t.Errorf("a body of %d bytes was read: %v", maxBody+1, err)
		}
	}))
	r := httptest.NewRequest("POST", "http://localhost/x", strings.NewReader(strings.Repeat("x", maxBody+1)))
	big.ServeHTTP(httptest.NewRecorder(), r)
	closed := newWorld(t, nil)
	if res := closed.ask("POST", "/login", "user=anna&password="+strings.Repeat("x", maxLoginBody)); res.StatusCode != 400 {
		t.Errorf("a long form for signing in: %d", res.StatusCode)
	}
}

// What people do is recorded with their name, what it was done to, and where they are; what is refused isn't.
func TestDeeds(t *testing.T) {
	w := newWorld(t, nil)
	anna, _ := w.signIn("anna", password)
	_, _ = w.signIn("anna", "wrong")
	ben, _ := w.signIn("ben", password)
	w.ask("POST", "/jobs/01JX/pause?secret=1", "", "Cookie", anna)
	w.ask("GET", "/jobs/01JX", "", "Cookie", anna)
	w.ask("POST", "/jobs/01JX/pause", "", "Cookie", ben)
	w.ask("POST", "/jobs/01JX/pause", "")
	w.ask("POST", "/bulk", "", "Cookie", anna)
	w.ask("POST", "/bulk", "", "Cookie", ben)
	w.ask("POST", "/logout", "", "Cookie", ben)
	want := []Deed{{"anna", "signed in", "/login", "from 127.0.0.1"}, {"ben", "signed in", "/login", "from 127.0.0.1"},
		{"anna", "POST /jobs/{id}/pause", "/jobs/01JX/pause", "from 127.0.0.1"},
		{"anna", "job removed", "01JA", "a to b"}, {"anna", "job removed", "01JB", "a to b"}, {"ben", "signed out", "/logout", "from 127.0.0.1"}}
	if len(w.deeds) != len(want) {
		t.Fatalf("deeds %v", w.deeds)
	}
	for i := range want {
		if w.deeds[i] != want[i] {
			t.Errorf("deed %d is %v, want %v", i, w.deeds[i], want[i])
		}
	}
}

func TestClosed(t *testing.T) {
	w := newWorld(t, nil)
	h := w.Closed(http.NotFoundHandler(), "Not yet", "Wait.")
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/": 503, "/login": 503, "/api/v1/jobs": 503, "/a//b": 400, "/static/x": 404} {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost"
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, r); rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
}

func TestTries(t *testing.T) {
	now := time.Now()
	l := newTries(3, 10*time.Second, 2)
	for i, want := range []time.Duration{0, 0, 0, 10 * time.Second} {
		if got := l.take("a", now); got != want {
			t.Errorf("try %d: wait %s, want %s", i, got, want)
		}
	}
	if got := l.take("b", now); got != 0 {
		t.Errorf("another one waits %s", got)
	}
	if got := l.take("a", now.Add(4*time.Second)); got != 6*time.Second {
		t.Errorf("after 4 s: wait %s", got)
	}
	if got := l.take("a", now.Add(10*time.Second)); got != 0 {
		t.Errorf("after 10 s: wait %s", got)
	}
	if got := l.take("a", now.Add(10*time.Second)); got != 10*time.Second {
		t.Errorf("after 10 s, once more: wait %s", got)
	}
	l.giveBack("a")
	if got := l.take("a", now.Add(10*time.Second)); got != 0 {
		t.Errorf("a try that was given back: wait %s", got)
	}
	for _, key := range []string{"c", "d", "e"} { // b has its tries again soonest, and is forgotten first
		if got := l.take(key, now); got != 0 {
			t.Errorf("%s waits %s", key, got)
		}
	}
	if got := l.take("a", now.Add(10*time.Second)); len(l.full) > 2 || got == 0 {
		t.Errorf("%d keys are kept, and a waits %s", len(l.full), got)
	}
}

// Sign-ins are limited by address and by user, and whoever waits gets in again.
func TestSignInsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
		from := func(ip string) []string { return []string{"X-Forwarded-For", ip} }
		for i := range 5 {
			if _, res := w.signIn("anna", "wrong", from("1.2.3.4")...); res.StatusCode != 401 {
				t.Fatalf("try %d: %d", i, res.StatusCode)
			}
		}
		_, res := w.signIn("anna", password, from("1.2.3.4")...)
		page, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 429 || res.Header.Get("Retry-After") != "30" || !strings.Contains(string(page), "Try again in 30 seconds") {
			t.Errorf("the sixth try: %d %v %s", res.StatusCode, res.Header, page)
		}
		if cookie, _ := w.signIn("anna", password, from("1.2.3.5")...); cookie == "" {
			t.Error("somebody else can't sign in")
		}
		time.Sleep(31 * time.Second)
		for i := range 3 { // who gets in spends no try
			if cookie, res := w.signIn("anna", password, from("1.2.3.4")...); cookie == "" {
				t.Errorf("try %d after waiting: %d", i, res.StatusCode)
			}
		}
		for i := range 20 { // from everywhere, an IPv6 network each
			_, _ = w.signIn("ben", "wrong", from(netip.AddrFrom16([16]byte{0x20, 1, 0, 0, 0, 0, 0, byte(i)}).String())...)
		}
		if _, res := w.signIn("ben", password, from("2001:db8::1")...); res.StatusCode != 429 {
			t.Errorf("after 20 tries from 20 networks: %d", res.StatusCode)
		}
		if cookie, _ := w.signIn("anna", password, from("2001:db8::1")...); cookie == "" {
			t.Error("another user is kept out")
		}
		for i := range 6 { // one network
			_, res = w.signIn("nobody", "wrong", from(netip.AddrFrom16([16]byte{0x20, 2, 15: byte(i)}).String())...)
		}
		if res.StatusCode != 429 {
			t.Errorf("six tries from one IPv6 network: %d", res.StatusCode)
		}
	})
}
