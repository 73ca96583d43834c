// Package metrics serves Prometheus metrics: of the whole fleet, as the store tells of it, and of the dashboard itself. Worker
// processes have no HTTP server; what they do is in the store.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"offload/dashboard/live"
	"offload/jobs"
	"offload/transfer"
)

// Bounds of a scrape.
const (
	scrapeTime = 4 * time.Second // then it is answered as if the store were away
	scrapes    = 3               // at once; more are refused
)

// RemoteState is what is known of a remote without asking its cloud now.
type RemoteState struct {
	Name      string // without colon
	TrustDays *int   // how many days its sign-in is still trusted; nil where that isn't known
	Storage   *transfer.Storage
}

// Config of the metrics.
type Config struct {
	Jobs    *jobs.Service
	Hub     *live.Hub
	Log     *slog.Logger
	Version string
	// RemoteStates tells what is known of the remotes. It answers at once and asks no cloud. Nil is nothing.
	RemoteStates func(ctx context.Context) []RemoteState
}

// Metrics answers scrapes, and counts the dashboard's own requests.
type Metrics struct {
	cfg      Config
	own      *prometheus.Registry // what needs no store
	requests requests
	slots    chan struct{}
}

// New returns the handler of the metrics.
func New(cfg Config) *Metrics {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{cfg: cfg, own: prometheus.NewRegistry(), requests: newRequests(), slots: make(chan struct{}, scrapes)}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "offload_build_info", Help: "Always 1; its label tells the dashboard's version.",
		ConstLabels: prometheus.Labels{"version": valid(cfg.Version)}})
	build.Set(1)
	m.own.MustRegister(build, m.requests.total, m.requests.seconds, m.requests.inFlight,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ServeHTTP answers a scrape. Where the store doesn't answer in time, offload_store_up is 0 and what is of the store is left
// out: old numbers would look like new ones.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case m.slots <- struct{}{}:
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTime)
	defer cancel()
	// A store that hangs may keep a call for longer than that: the scrape is answered without it.
	found := make(chan *scrape, 1)
	go func() {
		defer func() { <-m.slots }()
		found <- m.scrape(ctx)
	}()
	s := newScrape()
	select {
	case s = <-found:
	case <-ctx.Done():
		s.add("offload_store_up", 0)
	}
	fleet := prometheus.NewRegistry()
	if err := fleet.Register(s); err != nil {
		m.cfg.Log.Error("make metrics", "error", err)
	}
	promhttp.HandlerFor(prometheus.Gatherers{m.own, fleet}, promhttp.HandlerOpts{ErrorLog: logged{m.cfg.Log}, ErrorHandling: promhttp.ContinueOnError}).
		ServeHTTP(w, r)
}

// scrape asks for everything that is of the store.
func (m *Metrics) scrape(ctx context.Context) *scrape {
	s := newScrape()
	if err := s.fill(ctx, m.cfg); err != nil {
		m.cfg.Log.Warn("the store can't be asked for metrics", "error", err)
		s = newScrape()
		s.add("offload_store_up", 0)
		return s
	}
	s.add("offload_store_up", 1)
	return s
}

// logged takes the errors of promhttp.
type logged struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l logged) Println(v ...any) { l.log.Warn("answer a scrape", "error", v) }
