package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"offload/jobs"
	"offload/manifest"
)

func (s *server) routesManifest(a huma.API) {
	get := op("files", "getManifest", http.MethodGet, "/jobs/{id}/manifest", "The manifest of a job, as it lies at the destination", http.StatusNotFound)
	get.Description = "JSON lines, packed by gzip, each chained to the one before; docs/manifest.md describes them. It is there for jobs that were removed, too. " +
		"Where it can't be read to its end the connection is cut."
	get.Metadata = map[string]any{long: true}
	get.Responses = map[string]*huma.Response{"200": {Description: "The manifest", Content: map[string]*huma.MediaType{
		"application/gzip": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}
	huma.Register(a, get, s.getManifest)
	where := op("files", "findOffloaded", http.MethodGet, "/where", "Find offloaded files over all jobs by a part of their path")
	where.Description = "In any case; a star stands for any characters. The newest jobs come first, those that were removed, too. Files of a job that runs are found when it has ended."
	where.Errors = append(where.Errors, http.StatusUnprocessableEntity)
	huma.Register(a, where, s.where)
}

func (s *server) getManifest(ctx context.Context, in *JobID) (*huma.StreamResponse, error) {
	id := ""
	j, err := s.Jobs.Get(ctx, in.ID)
	if err == nil {
		id = j.ID
	} else if info, merr := s.Jobs.Manifest(ctx, in.ID); errors.Is(err, jobs.ErrNotFound) && merr == nil {
		id = info.Job
	} else {
		return nil, s.problem(err)
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/gzip")
		c.SetHeader("Content-Disposition", fmt.Sprintf(`attachment; filename="%s%s"`, id, manifest.Extension))
		c.SetHeader("Cache-Control", "no-store")
		if _, err := s.Jobs.WriteManifest(c.Context(), id, io.Writer(c.BodyWriter())); err != nil {
			s.Log.Warn("send the manifest of a job", "job", id, "error", err)
			panic(http.ErrAbortHandler) // else half a manifest would look like a whole one until it is verified
		}
	}}, nil
}

func (s *server) where(ctx context.Context, in *struct {
	Name  string `query:"name" required:"true" minLength:"1" maxLength:"1000" doc:"part of the path"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"files at most"`
}) (*struct{ Body jobs.WherePage }, error) {
	page, err := s.Jobs.Where(ctx, in.Name, in.Limit)
	if err != nil {
		return nil, s.problem(err)
	}
	return &struct{ Body jobs.WherePage }{page}, nil
}
