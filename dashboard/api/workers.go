package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/deeds"
	"offload/jobs"
	"offload/quota/quotaform"
)

// Workers are the workers of the pool and the limits of files at once: the document of workers list --json.
type Workers struct {
	Workers []jobs.WorkerInfo `json:"workers" nullable:"false"`
	Limits  []jobs.FileLimit  `json:"limits" nullable:"false"`
}

// LimitChange limits how many files all workers together move at once.
type LimitChange struct {
	Remote    *string `json:"remote,omitempty" minLength:"1" maxLength:"200" doc:"from and to this remote"`
	Account   *string `json:"account,omitempty" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$" doc:"in place of remote: for this account"`
	Transfers string  `json:"transfers" minLength:"1" maxLength:"20" doc:"a number of files, none (no limit), or default (that of the settings)" example:"8"`
}

// WorkerID names a worker.
type WorkerID struct {
	ID string `path:"id" minLength:"1" maxLength:"300" doc:"ID or name of a worker, or its beginning as long as it is unique; a slash is written %2F"`
}

type workersOut struct{ Body Workers }

func (s *server) routesWorkers(a huma.API) {
	huma.Register(a, op("workers", "listWorkers", http.MethodGet, "/workers", "List the workers, and the limits of files at once"), s.workers)
	huma.Register(a, op("workers", "drainWorker", http.MethodPost, "/workers/{id}/drain", "Let a worker take nothing new, so that it can be stopped without cutting a file", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *WorkerID) (*workersOut, error) {
			return s.steerWorker(ctx, in.ID, "drained", s.Jobs.Drain)
		})
	huma.Register(a, op("workers", "resumeWorker", http.MethodPost, "/workers/{id}/resume", "Let a drained worker go on", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *WorkerID) (*workersOut, error) {
			return s.steerWorker(ctx, in.ID, "resumed", s.Jobs.Undrain)
		})
	huma.Register(a, op("workers", "limitFiles", http.MethodPut, "/workers/limits", "Limit how many files all workers together move at once", http.StatusNotFound), s.limitFiles)
}

func (s *server) workers(ctx context.Context, _ *struct{}) (*workersOut, error) {
	w := Workers{}
	var err error
	if w.Workers, err = s.Jobs.Workers(ctx); err != nil {
		return nil, s.problem(err)
	}
	if w.Limits, err = s.Jobs.FileLimits(ctx); err != nil {
		return nil, s.problem(err)
	}
	if w.Workers == nil {
		w.Workers = []jobs.WorkerInfo{}
	}
	if w.Limits == nil {
		w.Limits = []jobs.FileLimit{}
	}
	return &workersOut{w}, nil
}

func (s *server) steerWorker(ctx context.Context, name, done string, act func(context.Context, string) error) (*workersOut, error) {
	all, err := s.Jobs.Workers(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	found, err := jobs.FindWorkers(all, name, false)
	if err != nil {
		return nil, s.problem(err)
	}
	if err := act(ctx, found[0].ID); err != nil {
		return nil, s.problem(err)
	}
	deeds.ToWorker(ctx, done, found[0].ID)
	return s.workers(ctx, nil)
}

func (s *server) limitFiles(ctx context.Context, in *struct{ Body LimitChange }) (*workersOut, error) {
	b := in.Body
	if (b.Remote == nil) == (b.Account == nil) {
		return nil, problemOf(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Location: "body.remote", Message: "give either remote or account"})
	}
	files, reset, err := quotaform.Files(b.Transfers, jobs.MaxFiles)
	if err != nil {
		return nil, s.problem(err)
	}
	subject, of := "", ""
	if b.Account != nil {
		subject, of = jobs.FilesOfAccount(*b.Account), "account "+*b.Account
	} else {
		name, err := quotaform.Remote(*b.Remote)
		if err != nil {
			return nil, s.problem(err)
		}
		if !reset && !s.knownRemote(name) { // what was set for a remote that was removed can still be taken away
			return nil, noRemote(name)
		}
		subject, of = jobs.FilesOfRemote(name), name+":"
	}
	if reset {
		err = s.Jobs.ResetFileLimit(ctx, subject)
	} else {
		err = s.Jobs.SetFileLimit(ctx, subject, files)
	}
	if err != nil {
		return nil, s.problem(err)
	}
	deeds.Files(ctx, of, files, reset)
	return s.workers(ctx, nil)
}

// remoteName takes off the colon that a path has.
func remoteName(name string) string { return strings.TrimSuffix(name, ":") }
