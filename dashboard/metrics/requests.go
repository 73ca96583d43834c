package metrics

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requests counts the dashboard's own requests.
type requests struct {
	total    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newRequests() requests {
	return requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "offload_http_requests_total",
			Help: "Requests to the dashboard by the pattern of their route; \"none\" are those that had none or were refused before."}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "offload_http_request_duration_seconds",
			Help: "How long answers took; streams of events are left out.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "offload_http_requests_in_flight", Help: "Requests being answered now, streams of events included."}),
	}
}

// routeKey finds where a request's route is to be noted.
type routeKey struct{}

// noRoute names requests that no route was found for.
const noRoute = "none"

// Watch counts what h answers. It belongs around everything else. The route is what Named noted: paths aren't labels, for
// anybody can make up new ones.
func (m *Metrics) Watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, began, answer := noRoute, time.Now(), &answer{ResponseWriter: w}
		m.requests.inFlight.Inc()
		defer func() {
			m.requests.inFlight.Dec()
			method := r.Method
			if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) {
				method = other
			}
			m.requests.total.WithLabelValues(route, method, strconv.Itoa(answer.status())).Inc()
			if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
				m.requests.seconds.WithLabelValues(route, method).Observe(time.Since(began).Seconds())
			}
		}()
		h.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), routeKey{}, &route)))
	})
}

// Named notes the route of each request for Watch, which may be several handlers further out. mux is the http.ServeMux
// that finds it.
func Named(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			note, _ := r.Context().Value(routeKey{}).(*string)
			if note == nil || r.Pattern == "" {
				return
			}
			_, path, ok := strings.Cut(r.Pattern, " ")
			if !ok {
				path = r.Pattern
			}
			*note = valid(path)
		}()
		mux.ServeHTTP(w, r)
	})
}

// answer notes the status of an answer.
type answer struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 && code >= 200 {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController find what the server's own writer can do.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Flush implements http.Flusher, which streams of events look for.
func (a *answer) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// status is 200 where the handler said nothing.
func (a *answer) status() int {
	if a.code == 0 {
		return http.StatusOK
	}
	return a.code
}
