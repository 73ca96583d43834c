package guard

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"offload/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// What the people of these tests sign in with.
const (
	password = "correct horse"
	secret   = "viewer-token-0123456789abcdef"
)

// world is a guard with an operator anna, a viewer ben and the viewer's token scraper, around a handler that says who asks.
type world struct {
	*Guard
	h     http.Handler
	mu    sync.Mutex
	deeds []Deed
	seen  int // requests that got through
}

func hashed(t testing.TB, text string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(text), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	o := Options{Users: []User{{"anna", Operator, hashed(t, password)}, {"ben", Viewer, hashed(t, password)}},
		Tokens: []Token{{"scraper", Viewer, sha256.Sum256([]byte(secret))}}}
	w := &world{}
	o.Audit = func(_ context.Context, d Deed) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.deeds = append(w.deeds, d)
	}
	if change != nil {
		change(&o)
	}
	var err error
	if w.Guard, err = New(o); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.seen++
		w.mu.Unlock()
		who := Who(r.Context())
		rw.Header().Set("X-Who", who.Name+"/"+who.Role.String())
	})
	mux.HandleFunc("POST /jobs/{id}/pause", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /bulk", func(rw http.ResponseWriter, r *http.Request) {
		for _, id := range []string{"01JA", "01JB"} {
			Did(r.Context(), "job removed", id, "a to b")
		}
		rw.WriteHeader(http.StatusServiceUnavailable) // the third couldn't be
	})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("oh no") })
	w.h = w.Wrap(mux)
	return w
}

// ask is one request to localhost; headers are pairs.
func (w *world) ask(method, target, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "localhost:7317", "127.0.0.1:50000"
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	return rec.Result()
}

// signIn signs in and returns the cookie as a header's value, "" where it was refused.
func (w *world) signIn(user, password string, headers ...string) (cookie string, res *http.Response) {
	res = w.ask("POST", "/login", url.Values{"user": {user}, "password": {password}}.Encode(), headers...)
	for _, c := range res.Cookies() {
		if c.Value != "" {
			cookie = c.Name + "=" + c.Value
		}
	}
	return cookie, res
}
