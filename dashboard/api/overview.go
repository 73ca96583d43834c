package api

import (
	"context"
	"net/http"
	"runtime"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/live"
)

// Version is what answers here.
type Version struct {
	Version string `json:"version"`
	API     string `json:"api"`
	Go      string `json:"go"`
}

func (s *server) routesOverview(a huma.API) {
	huma.Register(a, op("state", "getOverview", http.MethodGet, "/overview", "Show everything that is going on"), s.overview)
	huma.Register(a, op("state", "getVersion", http.MethodGet, "/version", "Show which version answers"),
		func(context.Context, *struct{}) (*struct{ Body Version }, error) {
			return &struct{ Body Version }{Version{s.Version, "v1", runtime.Version()}}, nil
		})
}

func (s *server) overview(ctx context.Context, _ *struct{}) (*struct{ Body live.Overview }, error) {
	snap := s.Hub.Now(ctx)
	if snap == nil {
		return nil, s.problem(context.DeadlineExceeded)
	}
	if snap.Err != nil && snap.At.IsZero() { // there was no view before
		return nil, s.problem(snap.Err)
	}
	return &struct{ Body live.Overview }{snap.Document()}, nil
}
