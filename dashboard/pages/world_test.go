package pages

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/internal/jobstest"
	"offload/internal/leaktest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	"offload/schedules"
	"offload/transfer"
	_ "offload/transfer/xtest" // the local backend
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// world is the pages over real services and two local folders.
type world struct {
	t        testing.TB
	store    *store.Store
	svc      *jobs.Service
	ledger   *quota.Ledger
	pages    *Pages
	src, dst string
	log      *slog.Logger
	said     *bytes.Buffer
	who      guard.Person
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldAt(t, store.Options{})
}

// newWorldAt is newWorld on a store that the options name.
func newWorldAt(t testing.TB, at store.Options) *world {
	t.Helper()
	w := &world{t: t, src: t.TempDir(), dst: filepath.Join(t.TempDir(), "dst"), who: guard.Person{Name: "anna", Role: guard.Operator}}
	var lock sync.Mutex
	w.said = &bytes.Buffer{}
	w.log = slog.New(slog.NewTextHandler(lockedWriter{&lock, w.said}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	at.Log = w.log
	w.store, w.ledger, w.svc = jobstest.Open(t, at, quota.Config{DefaultTier: "unlimited", TimeZone: "Europe/Berlin"}, jobs.Config{Log: w.log})
	hub := live.New(w.svc, w.ledger, w.log)
	w.run(hub.Run)
	w.pages = New(Config{Jobs: w.svc, Ledger: w.ledger, Hub: hub, Log: w.log, Version: "1.2.3", LocalPaths: true,
		Schedules: schedules.New(schedules.Config{Client: w.store.Client(), Jobs: w.svc})})
	t.Cleanup(w.pages.forecasts.end.Wait)
	return w
}

// lockedWriter lets several goroutines write.
type lockedWriter struct {
	*sync.Mutex
	to io.Writer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.Lock()
	defer w.Unlock()
	return w.to.Write(b)
}

// run does something until the test ends.
func (w *world) run(do func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); do(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(stop)
	return stop
}

// worker works until the test ends or stop is called.
func (w *world) worker() (stop func()) {
	return w.run(func(ctx context.Context) {
		if err := w.svc.RunWorker(ctx, context.Background(), jobs.WorkerOptions{}); err != nil {
			w.t.Errorf("worker: %v", err)
		}
	})
}

// put writes files of the source.
func (w *world) put(size int, names ...string) {
	w.t.Helper()
	for _, name := range names {
		p := filepath.Join(w.src, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(p, bytes.Repeat([]byte(name[:1]), size), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// order makes a job.
func (w *world) order(change func(o *jobs.Order)) jobs.Job {
	w.t.Helper()
	o := jobs.Order{Source: w.src, Dest: w.dst, MaxDelete: -1, Options: transfer.Options{DeleteSource: transfer.DeleteVerified}}
	if change != nil {
		change(&o)
	}
	j, err := w.svc.Enqueue(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// reach waits until a job is in one of the states.
func (w *world) reach(id string, states ...jobs.State) jobs.Job {
	w.t.Helper()
	var j jobs.Job
	jobstest.Until(w.t, fmt.Sprintf("job %s reaches %v", id, states), func() bool {
		var err error
		if j, err = w.svc.Get(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
		for _, s := range states {
			if j.State == s {
				return true
			}
		}
		return false
	})
	return j
}

// as lets requests be made by somebody else.
func (w *world) as(who guard.Person) *world {
	other := *w
	other.who = who
	return &other
}

// get asks for a page and checks that it is safe.
func (w *world) get(path string) (int, string) {
	w.t.Helper()
	code, body, _ := w.ask(httptest.NewRequest("GET", path, nil))
	if strings.Contains(body, "<!doctype html>") {
		safe(w.t, body)
	}
	return code, body
}

// post sends a form and returns the status and where it leads to.
func (w *world) post(path string, form url.Values) (int, string) {
	w.t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	code, _, to := w.ask(r)
	return code, to
}

func (w *world) ask(r *http.Request) (code int, body, location string) {
	w.t.Helper()
	a := httptest.NewRecorder()
	w.pages.ServeHTTP(a, r.WithContext(jobs.By(guard.As(r.Context(), w.who), w.who.Name)))
	return a.Code, a.Body.String(), a.Header().Get("Location")
}

// holds fails where a page lacks something.
func holds(t testing.TB, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("page lacks %q:\n%s", part, page)
			return
		}
	}
}

// lacks fails where a page holds something.
func lacks(t testing.TB, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(page, part) {
			t.Errorf("page holds %q:\n%s", part, page)
			return
		}
	}
}
