package cloudtest

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// player is one played cloud. Its name is the part of endpoint names before the colon.
type player interface {
	name() string
	// plays tells whether a host is one of its own.
	plays(host string) bool
	// endpoints lists all endpoints, for Endpoints and for checking the names in faults.
	endpoints() []*endpoint
	// route finds the endpoint of a request; nil where there is none, which is answered 404.
	route(r *http.Request) *endpoint
	// refusal is what the real service answers with this status at this endpoint.
	refusal(ep *endpoint, status int) (http.Header, string)
	// limit is the concurrency above which it refuses, 0 for none, and the status that it does so with. It is asked for
	// each call that is one too many.
	limit() (n, status int)
}

// endpoint is one call of a service.
type endpoint struct {
	name  string // "icloud:moveItemsToTrash"
	serve http.HandlerFunc
	// delay picks this endpoint's part of the latency; nil for none.
	delay func(Latency) time.Duration
	// upload says that what matters is in the request: Flip, Cut and the bandwidth work on it, not on the answer.
	upload bool
	// content says that the bandwidth limits it.
	content bool
	// free says that it doesn't count for the limit on concurrency.
	free bool
	// short leaves out something of a whole answer, for the Short kind. Nil takes the first half of the longest list.
	short func(body []byte) []byte
	// path is what the log shows instead of the request's path, where that would tell a secret.
	path string
}

// Request is one call that came in, without anything secret.
type Request struct {
	Time     time.Time
	Endpoint string
	Method   string
	Host     string
	Path     string // without its query
	Status   int    // 0 where the connection was dropped
	Fault    bool   // a fault struck
}

// logged is how many requests the log keeps: the newest.
const logged = 20000

// tally counts calls and keeps the log.
type tally struct {
	mu       sync.Mutex
	calls    map[string]int
	inFlight map[string]int
	most     map[string]int
	refused  map[string]int
	log      []Request
	next     int // where the log goes on once it is full
}

func (t *tally) init() {
	t.calls, t.inFlight = map[string]int{}, map[string]int{}
	t.most, t.refused = map[string]int{}, map[string]int{}
}

// groups are the names that a call counts under.
func groups(p player, ep *endpoint) []string { return []string{ep.name, p.name() + ":*", "*"} }

// enter counts a call. ok is false where it is one more than the service's limit allows.
func (t *tally) enter(p player, ep *endpoint) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range groups(p, ep) {
		t.calls[g]++
	}
	if n, _ := p.limit(); n > 0 && !ep.free && t.inFlight[p.name()+":counted"] >= n {
		t.refused[p.name()]++
		return false
	}
	for _, g := range groups(p, ep) {
		t.inFlight[g]++
		t.most[g] = max(t.most[g], t.inFlight[g])
	}
	if !ep.free {
		t.inFlight[p.name()+":counted"]++
	}
	return true
}

func (t *tally) leave(p player, ep *endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range groups(p, ep) {
		t.inFlight[g]--
	}
	if !ep.free {
		t.inFlight[p.name()+":counted"]--
	}
}

func (t *tally) note(r Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.log) < logged {
		t.log = append(t.log, r)
		return
	}
	t.log[t.next] = r
	t.next = (t.next + 1) % logged
}

func (t *tally) refusals(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused[name]
}

// Calls counts the calls of an endpoint so far, refused and struck ones included. The endpoint may be "*", "icloud:*" or
// "dropbox:*".
func (w *World) Calls(endpoint string) int {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	return w.tally.calls[endpoint]
}

// MaxInFlight is the most calls that were being answered at one moment; the pattern is as for Calls.
func (w *World) MaxInFlight(pattern string) int {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	return w.tally.most[pattern]
}

// ResetCounts sets Calls and MaxInFlight back to nothing and empties the log.
func (w *World) ResetCounts() {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	clear(w.tally.calls)
	clear(w.tally.most)
	clear(w.tally.refused)
	w.tally.log, w.tally.next = nil, 0
}

// Requests returns the newest calls in the order in which they ended.
func (w *World) Requests() []Request {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	return slices.Concat(w.tally.log[w.tally.next:], w.tally.log[:w.tally.next])
}

// Endpoints lists the names of all endpoints, sorted.
func (w *World) Endpoints() []string {
	var names []string
	for _, p := range w.players {
		for _, ep := range p.endpoints() {
			names = append(names, ep.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// playerOf finds who plays a host, nil for nobody.
func (w *World) playerOf(host string) player {
	host = strings.ToLower(host)
	for _, p := range w.players {
		if p.plays(host) {
			return p
		}
	}
	return nil
}

// play answers one request to one of the services.
func (w *World) play(rw http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	rw.Header().Set("Date", w.now().UTC().Format(http.TimeFormat)) // the hosts have the world's clock
	p := w.playerOf(host)
	if p == nil {
		http.Error(rw, "misdirected", http.StatusMisdirectedRequest)
		return
	}
	ep := p.route(r)
	if ep == nil {
		drainBody(r)
		header, body := p.refusal(&endpoint{name: p.name() + ":unknown"}, http.StatusNotFound)
		answer(rw, http.StatusNotFound, header, body)
		w.tally.note(Request{Time: w.now(), Endpoint: p.name() + ":unknown", Method: r.Method, Host: host, Path: r.URL.Path, Status: http.StatusNotFound})
		return
	}
	entry := Request{Endpoint: ep.name, Method: r.Method, Host: host, Path: r.URL.Path}
	if ep.path != "" {
		entry.Path = ep.path
	}
	seen := &watched{ResponseWriter: rw, sent: func(status, n int) { w.served.add(ep.name, status, n) }}
	defer func() {
		entry.Time, entry.Status = w.now(), seen.status
		w.tally.note(entry)
	}()
	if !w.tally.enter(p, ep) {
		drainBody(r)
		_, status := p.limit()
		header, body := p.refusal(ep, status)
		answer(seen, status, header, body)
		return
	}
	defer w.tally.leave(p, ep)
	if ep.delay != nil && !w.wait(r.Context(), ep.delay(w.opt.Latency)) {
		panic(http.ErrAbortHandler)
	}
	entry.Fault = w.strike(seen, r, p, ep)
}

// watched remembers the status of an answer, and counts what is sent of it.
type watched struct {
	http.ResponseWriter
	status int
	sent   func(status, n int)
}

// WriteHeader implements http.ResponseWriter.
func (s *watched) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *watched) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	s.sent(s.status, len(p)) // before: of a write that fails nobody knows how much went out
	return s.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (s *watched) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// answer writes a whole answer.
func answer(rw http.ResponseWriter, status int, header http.Header, body string) {
	for k, v := range header {
		rw.Header()[k] = v
	}
	if rw.Header().Get("Content-Type") == "" && body != "" {
		rw.Header().Set("Content-Type", "application/json; charset=UTF-8")
	}
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, body)
}

// drainBody reads what a client still sends, so that it reads the answer rather than meet a closed connection.
func drainBody(r *http.Request) { _, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 256<<20)) }
