package dashboard

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/jobstest"
	"offload/internal/redistest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	"offload/remotes"
	"offload/schedules"
	_ "offload/transfer/xtest" // links the backend of local folders, which the jobs move
)

// While the store is killed or hangs each page is answered soon: Home with what was known, others with a page that says so.
// When it is back they are as before.
func TestPagesWithoutTheStore(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, "--appendonly", "yes", "--appendfsync", "always")
	st, ledger, service := jobstest.Open(t, store.Options{URL: server.URL()}, quota.Config{DefaultTier: "unlimited", TimeZone: "UTC"}, jobs.Config{})
	sealed, err := remotes.Open(t.Context(), remotes.Options{Client: st.Client(), Password: "a password"})
	if err != nil {
		t.Fatal(err)
	}
	known := remotes.Compose(nil)
	known.Attach(sealed)
	d, err := New(Config{Jobs: service, Ledger: ledger, Remotes: known, Log: slog.New(slog.DiscardHandler), Ping: st.Ping,
		Schedules: schedules.New(schedules.Config{Client: st.Client(), Jobs: service})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { d.Run(ctx) })
	t.Cleanup(func() { cancel(); all.Wait() })
	j, err := service.Enqueue(t.Context(), jobs.Order{Source: t.TempDir(), Dest: t.TempDir(), MaxDelete: -1, Label: "The album"})
	if err != nil {
		t.Fatal(err)
	}
	back := func() {
		t.Helper()
		for _, path := range pathsOf(j.ID) {
			if code, body, _ := d.seen(t, path); code != http.StatusOK || strings.Contains(body, "of the last time") {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
	}
	d.settled(t)
	back()
	for _, way := range []struct{ end, begin func() }{{server.Kill, server.Run}, {server.Freeze, server.Thaw}} {
		way.end()
		d.withoutStore(t, j.ID, true)
		d.withoutStore(t, j.ID, false)
		way.begin()
		d.settled(t)
		back()
	}
}

func pathsOf(id string) []string {
	return []string{"/", "/jobs", "/jobs/" + id, "/jobs/" + id + "/files", "/schedules", "/where?q=album", "/remotes", "/new", "/queue",
		"/api/v1/jobs", "/api/v1/jobs/" + id, "/api/v1/workers"}
}

// settled waits until the dashboard holds the store for there.
func (d *Dashboard) settled(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		if code, _, _ := d.seen(t, "/"); code == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the dashboard doesn't see that the store is back")
		}
	}
}

// seen asks for a page and tells how long that took.
func (d *Dashboard) seen(t *testing.T, path string) (code int, body string, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "http://localhost"+path, nil)
	r.RemoteAddr = "127.0.0.1:1"
	began := time.Now()
	d.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String(), time.Since(began)
}

// soon is how long a page may take without the store. A machine that has other things to do is given time, but not as much as the
// store's client would take.
const soon = 10 * time.Second

// withoutStore looks at all pages at once while the store is away.
func (d *Dashboard) withoutStore(t *testing.T, id string, first bool) {
	var all sync.WaitGroup
	for _, path := range pathsOf(id) {
		all.Go(func() {
			code, body, took := d.seen(t, path)
			if took > soon {
				t.Errorf("%s took %v", path, took)
			}
			switch {
			case path == "/":
				// What was known a second ago is no older than with the store.
				away := code == http.StatusServiceUnavailable && strings.Contains(body, "of the last time")
				if !away && (!first || code != http.StatusOK) || !strings.Contains(body, "The album") {
					t.Errorf("Home: %d %s", code, body)
				}
			case code == http.StatusOK && path == "/remotes" && strings.Contains(body, "<h1"): // as last known
			case code != http.StatusServiceUnavailable || !strings.Contains(body, "doesn") || strings.HasPrefix(path, "/api") && !strings.Contains(body, `"status":503`):
				t.Errorf("%s: %d %s", path, code, body)
			}
		})
	}
	all.Wait()
}

// An answer that has begun isn't taken away, headers and faults come through, and changes are never answered for.
func TestPatience(t *testing.T) {
	t.Parallel()
	gone := func(context.Context) error { return context.DeadlineExceeded }
	refuse := func(w http.ResponseWriter, _ *http.Request, _ error) {
		http.Error(w, "away", http.StatusServiceUnavailable)
	}
	for _, tt := range []struct {
		name, method string
		late         bool          // the handler begins to answer only after its patience
		gives        time.Duration // what it waits for at most, if nobody ends it before
		status       int
	}{{"begins at once", "GET", false, patience * 5 / 4, 202}, {"waits", "GET", true, time.Minute, 503}, {"waits to change something", "POST", true, patience * 5 / 4, 202}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := patient(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Own", "yes")
				rest := func() {
					select {
					case <-r.Context().Done():
					case <-time.After(tt.gives):
					}
				}
				if tt.late {
					rest()
				}
				w.WriteHeader(202)
				if !tt.late {
					rest()
				}
			}), gone, refuse)
			w := httptest.NewRecorder()
			w.Header().Set("X-Guard", "kept")
			h.ServeHTTP(w, httptest.NewRequest(tt.method, "/", nil))
			if w.Code != tt.status || w.Header().Get("X-Guard") != "kept" || (w.Header().Get("X-Own") == "yes") != (tt.status == 202) {
				t.Errorf("%d %v", w.Code, w.Header())
			}
		})
	}
	t.Run("fault", func(t *testing.T) {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("the fault is lost")
			}
		}()
		patient(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), gone, refuse).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	})
}
