// Package pages serves the pages that people look at. They are made of templates on the server and work without
// JavaScript; the one script keeps them up to date. Every form is a POST that is answered with a redirect.
package pages

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
	"offload/remotes"
	"offload/schedules"
	"offload/transfer"
)

// Config of the pages.
type Config struct {
	Jobs    *jobs.Service
	Ledger  *quota.Ledger
	Hub     *live.Hub
	Log     *slog.Logger
	Version string
	// Crowd counts who follows streams, those of the API included. Defaults to one of its own.
	Crowd *guard.Crowd
	// LocalPaths lets orders name folders of this machine: only where nobody has to sign in.
	LocalPaths bool
	// RemoteStates tells what is known of the remotes without asking them. Nil is nothing.
	RemoteStates func(ctx context.Context) []RemoteState
	// Schedules of the store; nil for none.
	Schedules *schedules.Book
	// Remotes that are configured; nil for none.
	Remotes *remotes.Composed
	// Check looks at a remote (transfer.Opener.CheckRemote); nil for not at all.
	Check func(ctx context.Context, remote string) (transfer.RemoteCheck, error)
	// Browse lists a folder of a remote (transfer.Opener.ListDir); nil for not at all.
	Browse func(ctx context.Context, path string, limit int) (entries []transfer.DirEntry, more bool, err error)
}

// keptLasts is for how long what costs several calls to the store is shown before it is asked for again.
const keptLasts = 15 * time.Second

// pastLasts is the same for what has ended: the index of states comes a moment late.
const pastLasts = 4 * time.Second

// Pages are all pages.
type Pages struct {
	cfg     Config
	views   views
	assets  assets
	mux     *http.ServeMux
	rooms   *rooms
	follow  time.Duration // after which a stream is ended
	touched touched

	forecasts    *forecasts
	pasts        *kept[past]       // by how many jobs have ended
	completed    *kept[[]jobs.Job] // the newest that are completed, by their number
	planned      *kept[map[string]int64]
	accountNames *kept[[]string]
	histories    *kept[[]jobs.HistoryEvent] // by job and its state
	troubles     *kept[[]jobs.Trouble]      // by job and its counts
	work         *work
	plans        *kept[jobs.PlansForecast] // by account
}

// New returns the handler of the pages.
func New(cfg Config) *Pages {
	if cfg.Crowd == nil {
		cfg.Crowd = &guard.Crowd{}
	}
	p := &Pages{cfg: cfg, assets: newAssets(), mux: http.NewServeMux(), rooms: newRooms(), follow: guard.StreamTime, plans: newKept[jobs.PlansForecast](plansLast),
		pasts: newKept[past](pastLasts), completed: newKept[[]jobs.Job](keptLasts), planned: newKept[map[string]int64](keptLasts),
		histories: newKept[[]jobs.HistoryEvent](keptLasts), accountNames: newKept[[]string](keptLasts), troubles: newKept[[]jobs.Trouble](keptLasts)}
	p.views = newViews(p.funcs())
	p.forecasts = p.newForecasts()
	p.routesStatic(p.mux)
	p.routesEvents(p.mux)
	p.routesHome(p.mux)
	p.routesJobs(p.mux)
	p.routesJob(p.mux)
	p.routesWhere(p.mux)
	p.work = newWork(p)
	if p.cfg.RemoteStates == nil {
		p.cfg.RemoteStates = p.work.book.states
	}
	p.routesNew(p.mux)
	p.routesRemotes(p.mux)
	p.routesQuota(p.mux)
	p.routesWorkers(p.mux)
	p.routesQueues(p.mux)
	p.routesDeeds(p.mux)
	p.routesSchedules(p.mux)
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.fail(w, r, http.StatusNotFound, "There is no such page", "The address may be mistyped, or what it named was removed.")
	})
	return p
}

// ServeHTTP answers a request.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }
