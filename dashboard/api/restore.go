package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/jobs"
	"offload/jobs/orderform"
)

// RestoreOrder says which files of a job come back; without any field all that it has deleted at its source.
type RestoreOrder struct {
	Path    string    `json:"path,omitempty" maxLength:"4096" doc:"a remote with a path: only what was there, or below"`
	Since   time.Time `json:"since,omitempty" doc:"only what was deleted at the source then or later"`
	Include []string  `json:"include,omitempty" maxItems:"1000" nullable:"false" doc:"only files that match, rclone's patterns"`
	Exclude []string  `json:"exclude,omitempty" maxItems:"1000" nullable:"false" doc:"no files that match; wins over include"`
	Label   string    `json:"label,omitempty" maxLength:"200"`
}

func (s *server) routesRestore(a huma.API) {
	o := op("jobs", "restoreJob", http.MethodPost, "/jobs/{id}/restore", "Bring the files of a job back to where they were", http.StatusNotFound, http.StatusConflict, http.StatusBadGateway)
	o.Description = "Makes a job that brings them back from the source's trash, or from the destination as they were recorded. Nothing is replaced " +
		"and nothing is deleted. Asked again with the same Idempotency-Key within a day, it answers with the job that the first request made, and 200."
	o.DefaultStatus, o.MaxBodyBytes, o.Metadata = http.StatusCreated, maxOrder, map[string]any{long: true}
	o.Responses = map[string]*huma.Response{"200": {Description: "The job that an earlier request with this key made",
		Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Job"}}}}}
	huma.Register(a, o, s.restoreJob)
}

func (s *server) restoreJob(ctx context.Context, in *struct {
	JobID
	Key  string `header:"Idempotency-Key" maxLength:"255" doc:"the caller's own name for this request, so that sending it again makes no second job"`
	Body RestoreOrder
}) (*createdOut, error) {
	b := in.Body
	orders, err := s.Jobs.RestoreOrders(ctx, jobs.RestoreAsk{Job: in.ID, Path: b.Path, Since: b.Since, Include: b.Include, Exclude: b.Exclude, Label: b.Label})
	if err != nil {
		return nil, s.problem(err)
	}
	if !s.LocalPaths {
		if wrong := orderform.RefuseLocal(orders[0]); len(wrong) > 0 {
			return nil, problemOf(http.StatusForbidden, "the job names folders of the dashboard's machine, which aren't taken from people who sign in; use `offload restore` on that machine")
		}
	}
	var j jobs.Job
	made := true
	if in.Key != "" {
		j, made, err = s.Jobs.EnqueueOnce(ctx, in.Key, orders[0])
	} else {
		j, err = s.Jobs.Enqueue(ctx, orders[0])
	}
	if err != nil {
		return nil, s.problem(err)
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
		deeds.Restored(ctx, j)
	} else {
		guard.Nothing(ctx)
	}
	return &createdOut{status, root + "/jobs/" + j.ID, j}, nil
}
