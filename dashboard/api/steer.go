package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/jobs"
	"offload/quota/quotaform"
)

// bulkMost is how many jobs one request acts on.
const bulkMost = 500

// Bulk is something to be done to several jobs.
type Bulk struct {
	Action jobs.Verb  `json:"action" doc:"what to do"`
	IDs    []string   `json:"ids,omitempty" minItems:"1" maxItems:"500" nullable:"false" doc:"the jobs; an unknown one is refused before anything is done"`
	Select *Selection `json:"select,omitempty" doc:"in place of ids; without states it means those in which the action makes sense (of what can be resumed, paused jobs)"`
	Cursor string     `json:"cursor,omitempty" maxLength:"500" doc:"next of the answer before, with the same selection"`
}

// BulkResult is what was done.
type BulkResult struct {
	Done    []jobs.Job `json:"done" nullable:"false" doc:"the jobs as they are now; removed ones as they were"`
	Refused []Refusal  `json:"refused" nullable:"false"`
	Next    string     `json:"next,omitempty" doc:"there are more: send the request again with this cursor"`
}

// Refusal is a job whose state didn't allow it.
type Refusal struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Change is what can be changed of a job.
type Change struct {
	BwLimit string `json:"bwlimit" minLength:"1" maxLength:"1000" doc:"bytes a second in rclone's syntax, a timetable, off, or default (what it was ordered with)"`
}

func (s *server) routesSteer(a huma.API) {
	words := map[jobs.Verb]string{
		jobs.VerbPause: "Stop a job after the files that have begun", jobs.VerbResume: "Go on with a paused or waiting job",
		jobs.VerbCancel: "End a job for good; what was moved stays moved", jobs.VerbRetry: "Do the failed files of an ended job again",
	}
	for _, v := range jobs.Verbs() {
		if words[v] == "" {
			continue // removing is DELETE
		}
		o := op("jobs", string(v)+"Job", http.MethodPost, "/jobs/{id}/"+string(v), words[v], http.StatusNotFound, http.StatusConflict)
		huma.Register(a, o, func(ctx context.Context, in *JobID) (*jobOut, error) { return s.do(ctx, v, in.ID) })
	}
	remove := op("jobs", "removeJob", http.MethodDelete, "/jobs/{id}", "Forget an ended job; no file is touched", http.StatusNotFound, http.StatusConflict)
	huma.Register(a, remove, func(ctx context.Context, in *JobID) (*struct{}, error) {
		_, err := s.do(ctx, jobs.VerbRemove, in.ID)
		return nil, err
	})
	for _, end := range []struct {
		id, path, done, what string
		do                   func(*jobs.Service, context.Context, string) (jobs.Job, error)
	}{
		{"releaseHold", "release", "released", "Delete now what a job on hold holds back, each file proved again before", (*jobs.Service).HoldRelease},
		{"keepHold", "keep", "kept", "Call the deletions of a job on hold off: its files stay at the source, too", (*jobs.Service).HoldKeep},
	} {
		o := op("jobs", end.id, http.MethodPost, "/jobs/{id}/hold/"+end.path, end.what, http.StatusNotFound, http.StatusConflict)
		huma.Register(a, o, func(ctx context.Context, in *JobID) (*jobOut, error) {
			j, err := end.do(s.Jobs, ctx, in.ID)
			if err != nil {
				return nil, s.problem(err)
			}
			deeds.ToJob(ctx, "hold "+end.done, j)
			return &jobOut{j}, nil
		})
	}
	seen := op("jobs", "seeJob", http.MethodPost, "/jobs/{id}/seen", "Note that somebody has seen how a job ended, with warnings or failed", http.StatusNotFound, http.StatusConflict)
	seen.Description = "The job needs nobody's attention any more on any dashboard, until it is retried and ends so again. What failed stays in the job."
	huma.Register(a, seen, s.seen)
	scrub := op("jobs", "scrubJob", http.MethodPost, "/jobs/{id}/scrub", "Look whether what a job has offloaded is still there as it was proved; the answer is the job that does it", http.StatusNotFound, http.StatusConflict)
	scrub.Metadata = map[string]any{long: true}
	huma.Register(a, scrub, s.scrub)
	huma.Register(a, op("jobs", "changeJob", http.MethodPatch, "/jobs/{id}", "Change the bandwidth of an unfinished job, also while it runs", http.StatusNotFound, http.StatusConflict), s.change)
	bulk := op("jobs", "actOnJobs", http.MethodPost, "/jobs/actions", "Pause, resume, cancel, retry or remove several jobs", http.StatusNotFound)
	bulk.Metadata = map[string]any{long: true}
	huma.Register(a, bulk, s.bulk)
}

func (s *server) do(ctx context.Context, v jobs.Verb, id string) (*jobOut, error) {
	j, err := s.Jobs.Do(ctx, v, id)
	if err != nil {
		return nil, s.problem(err)
	}
	deeds.ToJob(ctx, v.Done(), j)
	return &jobOut{j}, nil
}

func (s *server) seen(ctx context.Context, in *JobID) (*jobOut, error) {
	j, news, err := s.Jobs.Seen(ctx, in.ID, time.Time{})
	if err != nil {
		return nil, s.problem(err)
	}
	if news {
		deeds.JobSeen(ctx, j)
	} else {
		guard.Nothing(ctx)
	}
	return &jobOut{j}, nil
}

func (s *server) scrub(ctx context.Context, in *struct {
	JobID
	Read bool `query:"read" doc:"read every file, whatever hash the destination tells; counts against the quota"`
}) (*jobOut, error) {
	j, err := s.Jobs.Scrub(ctx, in.ID, in.Read)
	if err != nil {
		return nil, s.problem(err)
	}
	deeds.Scrubbed(ctx, j)
	return &jobOut{j}, nil
}

func (s *server) change(ctx context.Context, in *struct {
	JobID
	Body Change
}) (*jobOut, error) {
	spec, err := quotaform.BandwidthSpec(in.Body.BwLimit)
	if err != nil {
		return nil, s.problem(err)
	}
	j, err := s.Jobs.SetJobBandwidth(ctx, in.ID, spec)
	if err != nil {
		return nil, s.problem(err)
	}
	deeds.JobBandwidth(ctx, j.ID, spec)
	return &jobOut{j}, nil
}

func (s *server) bulk(ctx context.Context, in *struct{ Body Bulk }) (*struct{ Body BulkResult }, error) {
	b := in.Body
	ids, next, err := s.chosen(ctx, b)
	if err != nil {
		return nil, err
	}
	res := BulkResult{Done: []jobs.Job{}, Refused: []Refusal{}, Next: next}
	for _, id := range ids {
		j, err := s.Jobs.Do(ctx, b.Action, id)
		switch {
		case err == nil:
			deeds.ToJob(ctx, b.Action.Done(), j)
			res.Done = append(res.Done, j)
		case errors.Is(err, jobs.ErrNotFound): // removed meanwhile
		case errors.Is(err, jobs.ErrState):
			res.Refused = append(res.Refused, Refusal{id, plain(err.Error())})
		default:
			return nil, s.problem(err)
		}
	}
	if len(res.Done) == 0 {
		guard.Nothing(ctx)
	}
	return &struct{ Body BulkResult }{res}, nil
}

// chosen returns the whole IDs of the jobs that are meant, and the cursor of those after them.
func (s *server) chosen(ctx context.Context, b Bulk) (ids []string, next string, err error) {
	wrong := func(field, text string) error {
		return problemOf(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Message: text, Location: "body." + field})
	}
	if (len(b.IDs) > 0) == (b.Select != nil) {
		return nil, "", wrong("ids", "give either ids or select")
	}
	if b.Select == nil {
		if b.Cursor != "" {
			return nil, "", wrong("cursor", "belongs to a selection")
		}
		for _, id := range b.IDs {
			j, err := s.existing(ctx, id)
			if err != nil {
				return nil, "", err
			}
			if !slices.Contains(ids, j.ID) {
				ids = append(ids, j.ID)
			}
		}
		return ids, "", nil
	}
	o := jobs.ListOptions{States: b.Select.States, Account: b.Select.Account, Remote: remoteName(b.Select.Remote), Search: b.Select.Search,
		Cursor: b.Cursor, Limit: bulkMost}
	if len(o.States) == 0 {
		o.States = b.Action.Chosen()
	}
	for _, state := range o.States {
		if !b.Action.Allows(state) {
			return nil, "", wrong("select.states", "jobs that are "+string(state)+" can't have "+string(b.Action)+" done")
		}
	}
	list, next, err := s.Jobs.List(ctx, o)
	if err != nil {
		return nil, "", s.problem(err)
	}
	for _, j := range list {
		ids = append(ids, j.ID)
	}
	return ids, next, nil
}
