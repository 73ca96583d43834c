package dashboard

import (
	"context"
	"log/slog"
	"net/http"

	"offload/dashboard/api"
	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/dashboard/metrics"
	"offload/dashboard/pages"
	"offload/jobs"
	"offload/quota"
	"offload/remotes"
	"offload/schedules"
	"offload/transfer"
)

// Config of a dashboard.
type Config struct {
	Jobs    *jobs.Service
	Ledger  *quota.Ledger
	Remotes *remotes.Composed // nil where there are none to tell of
	// Schedules of the store; nil where there are none to tell of.
	Schedules *schedules.Book
	Account   string // pays for orders that name none. Defaults to "default".
	Guard     guard.Options
	// Browse lists a folder of a remote: at most limit entries, and whether there are more (transfer.Opener.ListDir).
	Browse func(ctx context.Context, path string, limit int) (entries []transfer.DirEntry, more bool, err error)
	// Check looks at a remote (transfer.Opener.CheckRemote).
	Check   func(ctx context.Context, remote string) (transfer.RemoteCheck, error)
	Ping    func(context.Context) error // asks the store whether it is there; defaults to no question
	Log     *slog.Logger
	Version string
}

// Dashboard is the pages, the API, live events and metrics of one store.
type Dashboard struct {
	hub     *live.Hub
	pages   *pages.Pages
	handler http.Handler
}

// New returns a dashboard. It starts nothing.
func New(cfg Config) (*Dashboard, error) {
	hub := live.New(cfg.Jobs, cfg.Ledger, cfg.Log)
	mux, crowd := http.NewServeMux(), &guard.Crowd{}
	view := pages.New(pages.Config{Jobs: cfg.Jobs, Ledger: cfg.Ledger, Hub: hub, Crowd: crowd, Log: cfg.Log, Version: cfg.Version, Remotes: cfg.Remotes, Schedules: cfg.Schedules, Check: cfg.Check, Browse: cfg.Browse,
		LocalPaths: cfg.Guard.Open()})
	mux.Handle("/", patient(view, hub.Away, func(w http.ResponseWriter, r *http.Request, err error) {
		if r.URL.Path == "/" {
			view.HomeOf(w, r, hub.Before(err))
			return
		}
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Refresh", "5") // it comes back by itself
		view.Error(w, r, http.StatusServiceUnavailable, storeGone, goneHint)
	}))
	mux.Handle("/api/", patient(api.New(api.Config{Jobs: cfg.Jobs, Ledger: cfg.Ledger, Hub: hub, Crowd: crowd, Remotes: cfg.Remotes, Rooms: rooms(view), Schedules: cfg.Schedules, Account: cfg.Account,
		Log: cfg.Log, Version: cfg.Version, LocalPaths: cfg.Guard.Open()}), hub.Away, func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.Header().Set("Retry-After", "5")
		guard.Problem(w, http.StatusServiceUnavailable, storeGone, goneHint)
	}))
	m := metrics.New(metrics.Config{Jobs: cfg.Jobs, Hub: hub, RemoteStates: measured(view), Log: cfg.Log, Version: cfg.Version})
	mux.Handle("/metrics", m)
	g, err := guard.New(guarded(cfg, view))
	if err != nil {
		return nil, err
	}
	if cfg.Ping == nil {
		cfg.Ping = func(context.Context) error { return nil }
	}
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", (&readiness{ping: cfg.Ping, log: cfg.Log}).ready)
	return &Dashboard{hub: hub, pages: view, handler: m.Watch(g.Wrap(metrics.Named(mux)))}, nil
}

// measured is what the pages know of the remotes, for the metrics.
func measured(view *pages.Pages) func(context.Context) []metrics.RemoteState {
	return func(ctx context.Context) (all []metrics.RemoteState) {
		for _, r := range view.RemoteStates(ctx) {
			m := metrics.RemoteState{Name: r.Name, Storage: r.Storage}
			if r.DaysTold {
				m.TrustDays = &r.Days
			}
			all = append(all, m)
		}
		return all
	}
}

// rooms is what the pages know of the remotes' space, for the API.
func rooms(view *pages.Pages) func(context.Context) map[string]api.Room {
	return func(ctx context.Context) map[string]api.Room {
		all := map[string]api.Room{}
		for _, r := range view.RemoteStates(ctx) {
			if r.Storage != nil {
				all[r.Name] = api.Room{Storage: *r.Storage, At: r.Seen.UTC()}
			}
		}
		return all
	}
}

// Handler answers all requests.
func (d *Dashboard) Handler() http.Handler { return d.handler }

// Run keeps the live view up to date until ctx is done, and ends what runs in the background then.
func (d *Dashboard) Run(ctx context.Context) {
	d.hub.Run(ctx)
	d.Close()
}

// Close ends what runs in the background, where Run didn't run.
func (d *Dashboard) Close() { d.pages.Close() }
