package pages

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"offload/dashboard/deeds"
	"offload/jobs"
	"offload/quota/quotaform"
)

func (p *Pages) routesWorkers(mux *http.ServeMux) {
	mux.HandleFunc("GET /workers", func(w http.ResponseWriter, r *http.Request) { p.showWorkers(w, r, nil) })
	mux.HandleFunc("POST /workers/drain", func(w http.ResponseWriter, r *http.Request) { p.steerWorker(w, r, "drain") })
	mux.HandleFunc("POST /workers/resume", func(w http.ResponseWriter, r *http.Request) { p.steerWorker(w, r, "resume") })
	mux.HandleFunc("POST /workers/files", p.setFiles)
}

// workersPage is what the page of workers shows.
type workersPage struct {
	Workers  []workerRow
	More     int // workers that are left out
	Versions []string
	Mine     string // the dashboard's version
	Silent   int
	Limits   []jobs.FileLimit
	Wrong    *badField
	Away     bool // the store doesn't answer: this is of the last time
}

func (w workersPage) frame(f *frame) {
	f.Nav, f.Refresh, f.Live, f.Away = "workers", refreshEvery, "/events?page=workers", w.Away
}

// refreshEvery is how often a browser without script loads pages again that change all the time, in seconds.
const refreshEvery = 15

// workersShown bounds the rows of the page.
const workersShown = 200

// workerRow is one worker and its jobs.
type workerRow struct {
	jobs.WorkerInfo
	Twin  bool   // another has the same name: the ID tells them apart
	Word  string // its state
	Kind  string // the state's class
	Help  string // one sentence on what the state means
	Held  []heldJob
	More  int
	Older bool // its version isn't the dashboard's
}

// heldJob is a job that a worker has units of in hand.
type heldJob struct {
	ID    string
	Units int
}

// heldShown bounds the jobs of a row.
const heldShown = 8

func (p *Pages) showWorkers(w http.ResponseWriter, r *http.Request, wrong *badField) {
	page, err := p.workersPage(r.Context())
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	status := http.StatusOK
	if page.Wrong = wrong; wrong != nil {
		status = http.StatusBadRequest
	}
	p.render(w, r, status, "workers", page)
}

func (p *Pages) workersPage(ctx context.Context) (workersPage, error) {
	all, err := p.cfg.Jobs.Workers(ctx)
	if err != nil {
		return workersPage{}, err
	}
	page := p.workersOf(all)
	page.Limits, err = p.cfg.Jobs.FileLimits(ctx)
	return page, err
}

// workersOf is what there is to say of the workers.
func (p *Pages) workersOf(all []jobs.WorkerInfo) workersPage {
	page := workersPage{Mine: p.cfg.Version}
	versions, names := map[string]bool{}, map[string]int{}
	for _, i := range all {
		names[i.Name]++
		if i.State == jobs.WorkerSilent {
			page.Silent++
		} else {
			versions[i.Version] = true
		}
	}
	page.Versions = slices.Sorted(maps.Keys(versions))
	if len(all) > workersShown {
		page.More, all = len(all)-workersShown, all[:workersShown]
	}
	for _, i := range all {
		row := workerRow{WorkerInfo: i, Twin: names[i.Name] > 1, Older: i.Version != page.Mine && i.State != jobs.WorkerSilent}
		row.Word, row.Kind, row.Help = workerWords(i, time.Now())
		for _, id := range slices.Sorted(maps.Keys(i.Jobs)) {
			row.Held = append(row.Held, heldJob{id, i.Jobs[id]})
		}
		if len(row.Held) > heldShown {
			row.More, row.Held = len(row.Held)-heldShown, row.Held[:heldShown]
		}
		page.Workers = append(page.Workers, row)
	}
	return page
}

// workerWords are a worker's state, its class, and what it means.
func workerWords(i jobs.WorkerInfo, now time.Time) (word, kind, help string) {
	switch i.State {
	case jobs.WorkerWorking:
		return "Working", "run", "It has work in hand."
	case jobs.WorkerIdle:
		return "Idle", "good", "It waits for work."
	case jobs.WorkerDraining:
		return "Draining", "wait", "It takes nothing new; files that have begun may end."
	case jobs.WorkerDrained:
		return "Drained", "still", "It has nothing in hand and takes nothing new: it can be stopped without cutting a file."
	case jobs.WorkerSilent:
		return "Silent for " + coarse(now.Sub(i.Heard)), "bad", "Nothing was heard of it for more than 15 seconds: it was killed, its machine sleeps, or it can't reach the store. " +
			"Its work went to the others. It is forgotten after an hour."
	}
	return string(i.State), "still", ""
}

// steerWorker drains a worker or lets it go on.
func (p *Pages) steerWorker(w http.ResponseWriter, r *http.Request, action string) {
	id := r.PostFormValue("worker")
	do, done := p.cfg.Jobs.Drain, "drained"
	if action == "resume" {
		do, done = p.cfg.Jobs.Undrain, "resumed"
	}
	err := do(r.Context(), id)
	if errors.Is(err, jobs.ErrNoWorker) {
		p.fail(w, r, http.StatusNotFound, "There is no such worker", "It may have ended meanwhile. The page Workers lists those that there are.")
		return
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	deeds.ToWorker(r.Context(), done, id)
	p.done(w, r, "/workers", "worker-"+done)
}

// setFiles limits how many files all workers together move at once.
func (p *Pages) setFiles(w http.ResponseWriter, r *http.Request) {
	text := r.PostFormValue("transfers")
	if r.PostFormValue("reset") != "" {
		text = quotaform.FilesDefault
	}
	subject, name, of, err := p.filesSubject(r)
	files, reset := 0, false
	if err == nil {
		files, reset, err = quotaform.Files(text, jobs.MaxFiles)
	}
	if err == nil && !reset && r.PostFormValue("of") == "remote" {
		err = p.knownRemote(name)
	}
	switch {
	case err != nil:
	case reset:
		err = p.cfg.Jobs.ResetFileLimit(r.Context(), subject)
	default:
		err = p.cfg.Jobs.SetFileLimit(r.Context(), subject, files)
	}
	if wrong := wrongInput("files", r, err); wrong != nil {
		p.showWorkers(w, r, wrong)
		return
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	deeds.Files(r.Context(), of, files, reset)
	p.done(w, r, "/workers", "files-set")
}

// filesSubject is whose files are limited, by name and in words.
func (p *Pages) filesSubject(r *http.Request) (subject, name, of string, err error) {
	name = strings.TrimSpace(r.PostFormValue("name"))
	if r.PostFormValue("of") == "account" {
		name, err = quotaform.Account(name)
		return jobs.FilesOfAccount(name), name, "account " + name, err
	}
	name, err = quotaform.Remote(name)
	return jobs.FilesOfRemote(name), name, name + ":", err
}
