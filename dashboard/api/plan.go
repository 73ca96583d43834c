package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/guard"
	"offload/jobs"
)

// planEvery is how often a plan tells how far it is.
const planEvery = 500 * time.Millisecond

func (s *server) routesPlan(a huma.API) {
	plan := op("plans", "makePlan", http.MethodPost, "/plans", "Tell what a job would do; nothing is changed", http.StatusConflict, http.StatusBadGateway)
	plan.Description = "The source is scanned, which may take minutes. With `Accept: text/event-stream` the answer is a stream of events: " +
		"`progress` with the plan so far, then `plan` with the whole one, or `problem`. When the caller goes away the scan ends."
	plan.MaxBodyBytes, plan.Metadata = maxOrder, map[string]any{long: true}
	ref := &huma.Schema{Ref: "#/components/schemas/Plan"}
	plan.Responses = map[string]*huma.Response{"200": {Description: "The plan", Content: map[string]*huma.MediaType{
		"application/json": {Schema: ref}, eventStream: {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	a.OpenAPI().Components.Schemas.Schema(typeOf[jobs.Plan](), true, "Plan")
	huma.Register(a, plan, s.plan)
}

func (s *server) plan(ctx context.Context, in *struct {
	Accept string `header:"Accept" doc:"text/event-stream for a stream of events"`
	Body   Order
}) (*huma.StreamResponse, error) {
	guard.Nothing(ctx)
	o, err := s.read(in.Body)
	if err != nil {
		return nil, err
	}
	if strings.Contains(in.Accept, eventStream) {
		return s.planStream(o), nil
	}
	p, err := s.Jobs.Plan(ctx, o, nil)
	if err != nil {
		return nil, s.planProblem(err)
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/json")
		if err := plainJSON().Marshal(c.BodyWriter(), p); err != nil {
			s.Log.Debug("answer a plan", "error", err) // the client has gone
		}
	}}, nil
}

// planProblem answers a plan that couldn't be made. What a remote says of a folder belongs to the answer.
func (s *server) planProblem(err error) error {
	var order *jobs.OrderError
	if errors.As(err, &order) || away(err) {
		return s.problem(err)
	}
	return problemOf(http.StatusBadGateway, plain(err.Error()))
}

// planStream tells of a plan while it is made.
func (s *server) planStream(o jobs.Order) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(c huma.Context) {
		st := newStream(c)
		ctx, cancel := context.WithCancel(c.Context())
		defer cancel()
		var last time.Time
		p, err := s.Jobs.Plan(ctx, o, func(soFar jobs.Plan) {
			if now := time.Now(); now.Sub(last) >= planEvery {
				last = now
				if st.send("progress", 0, encode(soFar)) != nil {
					cancel() // nobody listens any more
				}
			}
		})
		if err != nil {
			err = st.send("problem", 0, encode(s.planProblem(err)))
		} else {
			err = st.send("plan", 0, encode(p))
		}
		if err != nil {
			s.Log.Debug("answer a plan", "error", err)
		}
	}}
}
