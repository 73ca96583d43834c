package dashboard

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"offload/dashboard/guard"
	"offload/dashboard/pages"
)

// How long the store may take to answer whoever asks whether the dashboard is ready, and how long its answer holds: anybody
// may ask, as often as they like.
const (
	readyTime = 2 * time.Second
	readyAge  = time.Second
)

// readiness tells whether the store answers.
type readiness struct {
	ping func(context.Context) error
	log  *slog.Logger

	mu    sync.Mutex
	err   error
	asked time.Time
}

// ask returns why the store can't be used, nil where it can.
func (q *readiness) ask(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.asked) < readyAge {
		return q.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTime) // the answer is for all who wait
	defer cancel()
	q.err, q.asked = q.ping(ctx), time.Now()
	if q.err != nil {
		q.log.Warn("not ready: the store doesn't answer", "error", q.err)
	}
	return q.err
}

// ready answers 200 where the store answers, else 503. The reason in full is in the log: it may name servers.
func (q *readiness) ready(w http.ResponseWriter, r *http.Request) {
	if q.ask(r.Context()) != nil {
		status(w, http.StatusServiceUnavailable, "the store doesn't answer")
		return
	}
	status(w, http.StatusOK, "ready")
}

// alive answers 200 as long as the process does anything.
func alive(w http.ResponseWriter, _ *http.Request) { status(w, http.StatusOK, "alive") }

func status(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	// An answer that can't be written has nobody to tell.
	_, _ = fmt.Fprintln(w, text)
}

// Front serves a dashboard from before it can be opened: until Open is called, it says that the store doesn't answer yet.
type Front struct {
	mu  sync.RWMutex
	now http.Handler
}

// NewFront returns a front of a dashboard that isn't open.
func NewFront(o guard.Options) (*Front, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := pages.New(pages.Config{Log: o.Log}) // what shows an error needs no store
	o.Fail = p.Error
	g, err := guard.New(o)
	if err != nil {
		return nil, err
	}
	return &Front{now: g.Closed(p, "The store doesn't answer yet", "The dashboard opens as soon as it does. Workers go on with what they have begun.")}, nil
}

// Open lets the dashboard answer from now on.
func (f *Front) Open(h http.Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = h
}

// ServeHTTP answers a request.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.RLock()
	now := f.now
	f.mu.RUnlock()
	now.ServeHTTP(w, r)
}
