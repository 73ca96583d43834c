package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// statusGone is the status of an answer that nobody waits for any more; it is seen in logs alone.
const statusGone = 499

// problem turns an error of the service into an answer. What nobody foresaw is logged and not told.
func (s *server) problem(err error) error {
	var (
		order *jobs.OrderError
		input *quota.InputError
		done  huma.StatusError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		return err
	case errors.As(err, &order):
		return orderProblem(order)
	case scheduleProblem(err) != nil:
		return scheduleProblem(err)
	case errors.As(err, &input):
		return problemOf(http.StatusUnprocessableEntity, sentence(input.Error(), input.Hint), detail(input.Field, input.Value, input.Err, input.Hint))
	case errors.Is(err, jobs.ErrNotFound), errors.Is(err, jobs.ErrNoWorker):
		return problemOf(http.StatusNotFound, plain(err.Error()))
	case errors.Is(err, jobs.ErrState), errors.Is(err, jobs.ErrRunning), errors.Is(err, jobs.ErrManyWorkers),
		errors.Is(err, quota.ErrNoQuota), errors.Is(err, transfer.ErrNoQuota):
		return problemOf(http.StatusConflict, plain(err.Error()))
	case errors.Is(err, context.Canceled):
		return problemOf(statusGone, "whoever asked has gone away")
	case away(err):
		s.Log.Warn("the store doesn't answer a request", "error", err)
		return huma.ErrorWithHeaders(problemOf(http.StatusServiceUnavailable, "the store doesn't answer now; jobs go on as soon as it does: try again"),
			http.Header{"Retry-After": {"5"}})
	}
	s.Log.Error("answer a request", "error", err)
	return problemOf(http.StatusInternalServerError, "something went wrong here; the log of the dashboard says what")
}

// orderProblem answers a mistake in an order. It may be right where only the remote can't be asked now.
func orderProblem(e *jobs.OrderError) error {
	status := http.StatusUnprocessableEntity
	var n net.Error
	switch {
	case errors.Is(e, transfer.ErrNoQuota), transfer.SignInRefused(context.Background(), e) != "":
		status = http.StatusConflict
	case errors.As(e, &n):
		status = http.StatusBadGateway
	}
	return problemOf(status, sentence(e.Error(), e.Hint), detail(e.Field, e.Value, e.Err, e.Hint))
}

// orderProblems answers several mistakes at once.
func orderProblems(all []*jobs.OrderError) error {
	if len(all) == 1 {
		return orderProblem(all[0])
	}
	var details []error
	for _, e := range all {
		details = append(details, detail(e.Field, e.Value, e.Err, e.Hint))
	}
	return problemOf(http.StatusUnprocessableEntity, "several parts of the order are wrong; errors names each", details...)
}

// problemOf makes the answer.
func problemOf(status int, text string, details ...error) huma.StatusError {
	return huma.NewError(status, text, details...)
}

// detail says which field is wrong, where it stood in the request.
func detail(field, value string, err error, hint string) error {
	d := &huma.ErrorDetail{Message: sentence(err.Error(), hint), Location: "body." + strings.ReplaceAll(field, "-", "_")}
	if field == "idempotency-key" {
		d.Location = "header.Idempotency-Key"
	}
	if value != "" {
		d.Value = plain(value)
	}
	return d
}

// option finds the options of the command line in a text that was made for it.
var option = regexp.MustCompile(`--([a-z]+(?:-[a-z]+)*)`)

// sentence joins what is wrong and what to do, in the names of the API.
func sentence(what, hint string) string {
	switch {
	case hint != "" && unicode.IsUpper([]rune(hint)[0]): // a sentence of its own
		what += ". " + hint
	case hint != "":
		what += "; " + hint
	}
	return option.ReplaceAllStringFunc(plain(what), func(name string) string { return strings.ReplaceAll(name[2:], "-", "_") })
}

// plain takes off what may be secret.
func plain(text string) string { return transfer.WithoutQueries(text) }

// away tells whether an error means that the store can't be asked now.
func away(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

// once refuses parameters that are empty or given twice, of which the framework would take the first or none: a filter
// that isn't heeded chooses too much.
func once(a huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		u := ctx.URL()
		query := u.Query()
		for _, p := range ctx.Operation().Parameters {
			if p.In != "query" {
				continue
			}
			values := query[p.Name]
			message := ""
			if len(values) > 1 && p.Schema.Type != huma.TypeArray {
				message = "is given more than once"
			}
			for _, v := range values {
				if v == "" {
					message = "is empty; give it a value, or leave it out"
				}
			}
			if message != "" {
				refuse(a, ctx, "query."+p.Name, message)
				return
			}
		}
		next(ctx)
	}
}

func refuse(a huma.API, ctx huma.Context, location, message string) {
	err := huma.WriteErr(a, ctx, http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Message: message, Location: location})
	_ = err // the client has gone
}

// problems answers what no operation does in the same form as they do.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		silent := &mute{header: http.Header{}, status: http.StatusNotFound}
		h.ServeHTTP(silent, r)
		text := "there is no such resource; " + root + "/openapi.json lists all"
		if allow := silent.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			text = "this resource knows only " + allow
		}
		writeProblem(w, silent.status, text)
	})
}

// mute takes the status and the headers of an answer and drops the rest.
type mute struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (m *mute) Header() http.Header { return m.header }

// WriteHeader implements http.ResponseWriter.
func (m *mute) WriteHeader(status int) { m.status = status }

func (m *mute) Write(b []byte) (int, error) { return len(b), nil }

func writeProblem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	err := json.NewEncoder(w).Encode(problemOf(status, text))
	_ = err // the client has gone
}
