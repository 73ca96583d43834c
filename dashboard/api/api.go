// Package api serves /api/v1, its OpenAPI document and its events. The document is generated from the Go types of this
// package and of the service, and requests are checked against it before anything else; what an order may be is checked by
// the parser that the command line and the pages use, too.
package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
	"offload/remotes"
	"offload/schedules"
)

// Config of the API.
type Config struct {
	Jobs    *jobs.Service
	Ledger  *quota.Ledger
	Hub     *live.Hub
	Remotes *remotes.Composed // nil tells of no remotes
	// Rooms tells the space of the remotes as it was last measured, by name; it asks no cloud. Nil tells of none.
	Rooms func(context.Context) map[string]Room
	// Schedules of the store; nil tells of none.
	Schedules *schedules.Book
	Account   string       // pays for orders that name none. Defaults to "default".
	Log       *slog.Logger // Defaults to nothing.
	Version   string
	// Crowd counts who follows streams, those of the pages included. Defaults to one of its own.
	Crowd *guard.Crowd
	// LocalPaths lets orders name folders of this machine: only where nobody has to sign in.
	LocalPaths bool
}

// server answers the operations.
type server struct {
	Config
	sheet sheet
}

// askTime is how long a request may ask the store: while that is away its client would try again for minutes.
const askTime = 10 * time.Second

// long marks an operation that may take as long as it takes: a stream, a scan, a change of many jobs.
const long = "long"

// bounded ends questions to a store that doesn't answer.
func bounded(ctx huma.Context, next func(huma.Context)) {
	if ctx.Operation().Metadata[long] == true {
		next(ctx)
		return
	}
	in, cancel := context.WithTimeout(ctx.Context(), askTime)
	defer cancel()
	next(huma.WithContext(ctx, in))
}

// root is where everything of the API lies.
const root = "/api/v1"

// New returns the handler of the API.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Crowd == nil {
		cfg.Crowd = &guard.Crowd{}
	}
	s := &server{Config: cfg}
	mux := http.NewServeMux()
	a := humago.New(mux, settings())
	a.UseMiddleware(once(a), bounded)
	s.routesJobs(a)
	s.routesFiles(a)
	s.routesManifest(a)
	s.routesSteer(a)
	s.routesRestore(a)
	s.routesPlan(a)
	s.routesQuota(a)
	s.routesWorkers(a)
	s.routesRemotes(a)
	s.routesOverview(a)
	s.routesSchedules(a)
	s.routesEvents(a)
	s.routesDeeds(a)
	nullable(a, "Forecast", "better")
	return problems(mux)
}

// nullable says that a field may be null, which the framework can't say of an object.
func nullable(a huma.API, schema, field string) {
	of := a.OpenAPI().Components.Schemas.Map()[schema]
	of.Properties[field] = &huma.Schema{AnyOf: []*huma.Schema{of.Properties[field], {Type: "null"}}}
}

// settings of the framework: one format, no page from elsewhere, and no links to schemas in the answers, whose form is the
// contract of the command line.
func settings() huma.Config {
	reg := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	words(reg)
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "offload", Version: "1", Description: "Jobs that move files out of a full cloud, prove that each arrived, and only then delete it there. " +
				"Sizes are IEC (\"5GiB\"), durations Go's plus d and w (\"7d\"), times UTC. Limits of -1 are none. Errors are problem details of RFC 9457: " +
				"`detail` says what is wrong and what to do, `errors` which field."},
			Components: &huma.Components{Schemas: reg, SecuritySchemes: map[string]*huma.SecurityScheme{
				"token":  {Type: "http", Scheme: "bearer", Description: "a token of the settings"},
				"signIn": {Type: "apiKey", In: "cookie", Name: "offload", Description: "the cookie of a person who signed in on the pages"},
			}},
			// The last one is none: on this machine's own address nobody has to sign in unless users or tokens are set.
			Security: []map[string][]string{{"token": {}}, {"signIn": {}}, {}},
			Tags:     []*huma.Tag{{Name: "jobs"}, {Name: "files"}, {Name: "plans"}, {Name: "quota"}, {Name: "workers"}, {Name: "remotes"}, {Name: "schedules"}, {Name: "state"}},
		},
		OpenAPIPath:                  root + "/openapi",
		Formats:                      map[string]huma.Format{"application/json": plainJSON(), "json": plainJSON()},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	return c
}

// plainJSON is JSON without escapes for HTML, as the command line writes it.
func plainJSON() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			if err := e.Encode(v); err != nil {
				return fmt.Errorf("write JSON: %w", err)
			}
			return nil
		},
		Unmarshal: json.Unmarshal,
	}
}

// op describes an operation; codes are the errors that it can answer with, beside those that each can.
func op(tag, id, method, path, summary string, codes ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: root + path, Summary: summary, Tags: []string{tag},
		Errors: append(codes, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable)}
}
