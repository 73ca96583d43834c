package metrics

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"offload/jobs"
)

func write(t *testing.T, name string, size int) {
	t.Helper()
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

// untilEnded is a context that ends with a job.
func untilEnded(t *testing.T, s *jobs.Service, id string) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if j, err := s.Get(t.Context(), id); err != nil || j.State.Terminal() {
				return
			}
		}
	}()
	t.Cleanup(func() { <-done })
	return ctx
}

// personKey is what a guard keeps in a request.
type personKey struct{}

// Requests are counted by the patterns of their routes, never by their paths.
func TestRequestsAreCountedByRoute(t *testing.T) {
	m := New(Config{})
	inner := http.NewServeMux()
	inner.HandleFunc("GET /jobs/{id}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	inner.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if _, ok := w.(http.Flusher); !ok {
			t.Error("the writer can't be flushed")
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	outer := http.NewServeMux()
	outer.Handle("/", inner)
	guard := func(h http.Handler) http.Handler { // copies the request, as a guard does, and refuses some
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Refuse") != "" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), personKey{}, 1)))
		})
	}
	h := m.Watch(guard(Named(outer)))
	ask := func(method, path string, refuse bool) {
		r := httptest.NewRequest(method, path, nil)
		if refuse {
			r.Header.Set("Refuse", "1")
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	ask("GET", "/jobs/1", false)
	ask("GET", "/jobs/2", false)
	ask("GET", "/events", false)
	ask("GET", "/jobs/3", true)
	ask("BREW", "/jobs/4", false)
	var text strings.Builder
	found, err := m.own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	got := parse(t, strings.NewReader(text.String()))
	for name, want := range map[string]float64{
		"offload_http_requests_total{code=418,method=GET,route=/jobs/{id}}":  2,
		"offload_http_requests_total{code=200,method=GET,route=/events}":     1,
		"offload_http_requests_total{code=403,method=GET,route=none}":        1,
		"offload_http_request_duration_seconds{method=GET,route=/jobs/{id}}": 2,
		"offload_http_requests_in_flight{}":                                  0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	for name := range got {
		if strings.Contains(name, "/jobs/4") || strings.Contains(name, "BREW") || strings.Contains(name, "duration_seconds{method=GET,route=/events") {
			t.Errorf("%s is counted", name)
		}
	}
}
