package dashboard

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"offload/dashboard/guard"
	"offload/internal/jobstest"
	"offload/internal/leaktest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	"offload/schedules"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// Whom the dashboards of these tests know.
const (
	password      = "correct horse"
	operatorToken = "operator-token-0123456789abcdef"
	viewerToken   = "viewer-token-0123456789abcdefgh"
)

// site is a dashboard on an embedded store.
type site struct {
	*Dashboard
	jobs  *jobs.Service
	store *store.Store
}

func newSite(t testing.TB, change func(*Config)) *site {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, ledger, service := jobstest.Open(t, store.Options{},
		quota.Config{Tiers: []quota.Tier{{Name: "free", Limit: 5 << 30}}, DefaultTier: "free", AnchorDay: 1, TimeZone: "UTC", Log: log}, jobs.Config{Log: log})
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Jobs: service, Schedules: schedules.New(schedules.Config{Client: st.Client(), Jobs: service}), Ledger: ledger, Log: log, Ping: st.Ping, Guard: guard.Options{Sessions: st.Sessions(),
		Users: []guard.User{{Name: "anna", Role: guard.Operator, Hash: string(hash)}, {Name: "ben", Role: guard.Viewer, Hash: string(hash)}},
		Tokens: []guard.Token{{Name: "script", Role: guard.Operator, Sum: sha256.Sum256([]byte(operatorToken))},
			{Name: "scraper", Role: guard.Viewer, Sum: sha256.Sum256([]byte(viewerToken))}}}}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return &site{d, service, st}
}

// answer is what came back; streams are read only as far as they came at once.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask is one request to localhost that ends before an event stream would; headers are pairs.
func (s *site) ask(t testing.TB, method, target, body string, headers ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "localhost:7317", "127.0.0.1:50000"
	switch {
	case strings.HasPrefix(body, "{"):
		r.Header.Set("Content-Type", "application/json")
	case body != "":
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	if strings.HasSuffix(r.URL.Path, "/events") {
		cancel() // who asks has gone away: the stream ends as soon as it has begun
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	raw, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{rec.Code, rec.Header(), string(raw)}
}

// signIn returns the cookie of a new session as a header's value.
func (s *site) signIn(t testing.TB, user string) string {
	t.Helper()
	a := s.ask(t, "POST", "/login", url.Values{"user": {user}, "password": {password}}.Encode())
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	if a.status != http.StatusSeeOther || cookie == "" {
		t.Fatalf("sign in: %d %s", a.status, a.body)
	}
	return cookie
}
