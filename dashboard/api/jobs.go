package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
)

// JobID names the job that a request is about.
type JobID struct {
	ID string `path:"id" minLength:"6" maxLength:"26" pattern:"^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]+$" doc:"ID of the job, or its first characters, at least 6, as long as they are unique"`
}

// JobPage is a page of jobs.
type JobPage struct {
	Jobs []jobs.Job `json:"jobs" nullable:"false"`
	Next string     `json:"next,omitempty" doc:"cursor of the next page; not there at the end"`
}

// JobDetail is the document of jobs show --json: the job, and when it will have ended while it hasn't.
type JobDetail struct {
	jobs.Job
	Forecast *quota.Forecast `json:"forecast,omitempty"`
}

// Selection chooses jobs.
type Selection struct {
	States  []jobs.State `json:"states,omitempty" nullable:"false" doc:"only jobs in these states"`
	Account string       `json:"account,omitempty" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$" doc:"only jobs of this account"`
	Remote  string       `json:"remote,omitempty" maxLength:"200" doc:"only jobs from or to this remote"`
	Search  string       `json:"search,omitempty" maxLength:"200" doc:"only jobs with this in the label, the source or the destination, or at the beginning of the ID"`
}

// jobsQuery is the same in a query.
type jobsQuery struct {
	State   []jobs.State `query:"state,explode" doc:"only jobs in this state; may be repeated"`
	Account string       `query:"account" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$" doc:"only jobs of this account"`
	Remote  string       `query:"remote" maxLength:"200" doc:"only jobs from or to this remote"`
	Search  string       `query:"search" maxLength:"200" doc:"only jobs with this in the label, the source or the destination, in any case, or at the beginning of the ID"`
	Cursor  string       `query:"cursor" maxLength:"500" doc:"next of the page before"`
	Limit   int          `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"jobs of a page"`
}

// The answers.
type (
	jobPageOut struct{ Body JobPage }
	jobOut     struct{ Body jobs.Job }
	detailOut  struct{ Body JobDetail }
	createdOut struct {
		Status   int
		Location string `header:"Location" doc:"where the job is"`
		Body     jobs.Job
	}
)

func (s *server) routesJobs(a huma.API) {
	huma.Register(a, op("jobs", "listJobs", http.MethodGet, "/jobs", "List jobs, newest first"), s.listJobs)
	create := op("jobs", "createJob", http.MethodPost, "/jobs", "Accept a job", http.StatusConflict, http.StatusBadGateway)
	create.Description = "Checks the order and its remotes, and stores the job. From then on it isn't forgotten. Asked again with the same " +
		"Idempotency-Key within a day, it answers with the job that the first request made, and 200. "
	// Its remotes are asked, which may take a while.
	create.DefaultStatus, create.MaxBodyBytes, create.Metadata = http.StatusCreated, maxOrder, map[string]any{long: true}
	create.Responses = map[string]*huma.Response{"200": {Description: "The job that an earlier request with this key made",
		Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Job"}}}}}
	huma.Register(a, create, s.createJob)
	huma.Register(a, op("jobs", "getJob", http.MethodGet, "/jobs/{id}", "Show one job", http.StatusNotFound), s.getJob)
	huma.Register(a, op("jobs", "getProgress", http.MethodGet, "/jobs/{id}/progress", "Show what a job does at the moment", http.StatusNotFound), s.progress)
	huma.Register(a, op("jobs", "getHistory", http.MethodGet, "/jobs/{id}/history", "List the changes of a job's state, oldest first", http.StatusNotFound), s.history)
	huma.Register(a, op("jobs", "getForecast", http.MethodGet, "/jobs/{id}/forecast", "Tell when a job will have ended", http.StatusNotFound), s.forecast)
}

func (s *server) listJobs(ctx context.Context, in *jobsQuery) (*jobPageOut, error) {
	list, next, err := s.Jobs.List(ctx, jobs.ListOptions{States: in.State, Account: in.Account, Remote: remoteName(in.Remote), Search: in.Search,
		Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, s.problem(err)
	}
	if list == nil {
		list = []jobs.Job{}
	}
	return &jobPageOut{JobPage{list, next}}, nil
}

func (s *server) createJob(ctx context.Context, in *struct {
	Key  string `header:"Idempotency-Key" maxLength:"255" doc:"the caller's own name for this request, so that sending it again makes no second job"`
	Body Order
}) (*createdOut, error) {
	o, err := s.read(in.Body)
	if err != nil {
		return nil, err
	}
	var j jobs.Job
	made := true
	if in.Key != "" {
		j, made, err = s.Jobs.EnqueueOnce(ctx, in.Key, o)
	} else {
		j, err = s.Jobs.Enqueue(ctx, o)
	}
	if err != nil {
		return nil, s.problem(err)
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
		deeds.ToJob(ctx, "created", j)
	} else {
		guard.Nothing(ctx)
	}
	return &createdOut{status, root + "/jobs/" + j.ID, j}, nil
}

func (s *server) getJob(ctx context.Context, in *JobID) (*detailOut, error) {
	p, err := s.Jobs.Progress(ctx, in.ID)
	if err != nil {
		return nil, s.problem(err)
	}
	d := JobDetail{Job: p.Job}
	if !p.Job.State.Terminal() {
		if f, err := s.Jobs.Forecast(ctx, p.Job); err == nil {
			d.Forecast = &f
		} else {
			s.Log.Warn("forecast the job", "job", p.Job.ID, "error", err)
		}
	}
	return &detailOut{d}, nil
}

func (s *server) progress(ctx context.Context, in *JobID) (*struct{ Body live.LiveJob }, error) {
	p, err := s.Jobs.Progress(ctx, in.ID)
	if err != nil {
		return nil, s.problem(err)
	}
	return &struct{ Body live.LiveJob }{live.NewLiveJob(p)}, nil
}

func (s *server) history(ctx context.Context, in *JobID) (*struct{ Body History }, error) {
	if _, err := s.existing(ctx, in.ID); err != nil {
		return nil, err
	}
	all, err := s.Jobs.History(ctx, in.ID)
	if err != nil {
		return nil, s.problem(err)
	}
	return &struct{ Body History }{History{all}}, nil
}

func (s *server) forecast(ctx context.Context, in *JobID) (*struct{ Body quota.Forecast }, error) {
	j, err := s.existing(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	f, err := s.Jobs.Forecast(ctx, j)
	if err != nil {
		return nil, s.problem(err)
	}
	return &struct{ Body quota.Forecast }{f}, nil
}

// History is what a job's state was.
type History struct {
	Events []jobs.HistoryEvent `json:"events" nullable:"false"`
}
