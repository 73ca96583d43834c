package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/dashboard/live"
	"offload/internal/jobstest"
	"offload/internal/leaktest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	"offload/schedules"
	_ "offload/transfer/xtest" // the local backend
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, leaktest.Rclone()...))
}

// world is the API of a service on an embedded store, with two folders to move files between.
type world struct {
	t        testing.TB
	svc      *jobs.Service
	store    *store.Store
	ledger   *quota.Ledger
	src, dst string
	url      string
}

func newWorld(t testing.TB) *world { return newWorldAt(t, "") }

// newWorldAt is newWorld on the Redis at a URL.
func newWorldAt(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, src: t.TempDir(), dst: filepath.Join(t.TempDir(), "dst")}
	w.store, w.ledger, w.svc = jobstest.Open(t, store.Options{URL: url}, quota.Config{DefaultTier: "unlimited"}, jobs.Config{})
	hub := live.New(w.svc, w.ledger, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); hub.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	log := slog.DiscardHandler
	if os.Getenv("OFFLOAD_TEST_LOG") != "" {
		log = slog.NewTextHandler(os.Stderr, nil)
	}
	srv := httptest.NewServer(New(Config{Jobs: w.svc, Ledger: w.ledger, Hub: hub, Log: slog.New(log), Version: "test", LocalPaths: true,
		Schedules: schedules.New(schedules.Config{Client: w.store.Client(), Jobs: w.svc})}))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

// worker runs a worker until the test ends or stop is called.
func (w *world) worker() (stop func()) {
	soft, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.svc.RunWorker(soft, context.Background(), jobs.WorkerOptions{}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("worker: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) put(name string, size int) {
	w.t.Helper()
	p := filepath.Join(w.src, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(p, bytes.Repeat([]byte{'x'}, size), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// order is the smallest body of an order.
func (w *world) order(more string) string {
	return fmt.Sprintf(`{"source":%q,"destination":%q%s}`, w.src, w.dst, more)
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; header are pairs of names and values.
func (w *world) ask(method, path, body string, header ...string) answer {
	w.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, r)
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, string(raw)}
}

// want fails the test where the answer has another status, and reads it into v, which may be nil.
func (a answer) want(t testing.TB, status int, v any) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(a.body), v); err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
	}
	return a
}

// make makes a job by the API.
func (w *world) make(more string) jobs.Job {
	w.t.Helper()
	var j jobs.Job
	w.ask("POST", "/api/v1/jobs", w.order(more)).want(w.t, http.StatusCreated, &j)
	return j
}

// reach waits until a job is in one of the states.
func (w *world) reach(id string, states ...jobs.State) jobs.Job {
	w.t.Helper()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		j, err := w.svc.Get(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range states {
			if j.State == s {
				return j
			}
		}
		select {
		case <-end.C:
			w.t.Fatalf("job is %s (%s), not %v", j.State, j.Error, states)
		case <-tick.C:
		}
	}
}
