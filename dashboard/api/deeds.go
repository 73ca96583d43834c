package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/guard"
	"offload/jobs"
)

// DeedPage is a page of what people did.
type DeedPage struct {
	Deeds []jobs.Deed `json:"deeds" nullable:"false"`
	Next  string      `json:"next,omitempty" doc:"cursor of the next page; not there at the end"`
}

func (s *server) routesDeeds(a huma.API) {
	o := op("state", "listDeeds", http.MethodGet, "/deeds", "List what people did, newest first")
	o.Description = "Who signed in, ordered, paused, canceled, changed a quota and so on, on the pages and by this interface. The last 10,000 are kept. For operators alone."
	huma.Register(a, o, s.deeds)
}

func (s *server) deeds(ctx context.Context, in *struct {
	Cursor string `query:"cursor" maxLength:"50" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"deeds of a page"`
}) (*struct{ Body DeedPage }, error) {
	if guard.Who(ctx).Role < guard.Operator {
		return nil, problemOf(http.StatusForbidden, "what people did is for operators; sign in as one")
	}
	list, next, err := s.Jobs.AuditLog(ctx, in.Cursor, in.Limit)
	if err != nil {
		return nil, s.problem(err)
	}
	return &struct{ Body DeedPage }{DeedPage{list, next}}, nil
}
