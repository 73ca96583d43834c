package cloudtest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"
)

// Kind is what a fault does to a call.
type Kind int

const (
	// Status answers with Fault.Status and carries nothing out.
	Status Kind = iota
	// Cut closes the connection in the middle of the content, after the share CutAt of it.
	Cut
	// Lost carries the call out and drops the connection instead of answering.
	Lost
	// Drop closes the connection before anything is done.
	Drop
	// Empty answers 200 with {} or [], whichever this endpoint's answer would be, and carries nothing out.
	Empty
	// Hang answers nothing until the client goes.
	Hang
	// Flip flips one bit of the content, as it is stored or as it is sent.
	Flip
	// Short carries the call out and leaves something of the answer out: items of a listing, results of a call.
	Short
	// Do calls Fault.Hook before the call is carried out as always.
	Do
)

// Fault is something that goes wrong at an endpoint.
type Fault struct {
	// Endpoint is a name of World.Endpoints, "*" for all, or "icloud:*" or "dropbox:*".
	Endpoint string
	After    int                      // pass so many calls first
	Times    int                      // then strike so often; 0 is always
	Share    float64                  // strike this share of the calls, by the world's seed; 0 is each
	Match    func(*http.Request) bool // only these calls; nil is all. It may read the body, but of an upload
	Kind     Kind
	Status   int         // for the kind Status
	Header   http.Header // of the answer, beside what the service sends
	Body     string      // of the answer; "" is what the real service sends with that status at that endpoint
	CutAt    float64     // for the kind Cut: 0 to 1
	Reset    bool        // for the kind Cut: the connection is reset, and what is under way to the client is lost
	Hook     func(r *http.Request)
}

// Hits counts how often a fault struck.
type Hits struct {
	table *faultTable
	fault Fault
	seen  int
	count int
	gone  bool
}

// Count is how often it struck so far.
func (h *Hits) Count() int {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	return h.count
}

// Remove ends the fault.
func (h *Hits) Remove() {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	h.gone = true
	h.table.faults = slices.DeleteFunc(h.table.faults, func(o *Hits) bool { return o == h })
}

// faultTable holds the faults in the order in which they were declared; the first that fits a call strikes.
type faultTable struct {
	mu     sync.Mutex
	faults []*Hits
	rng    *rand.Rand
}

func (t *faultTable) seed(seed uint64) { t.rng = rand.New(rand.NewPCG(seed, 0x0ff10ad)) }

// Fault declares a fault. Where an endpoint of that name doesn't exist it panics: a fault that can't strike proves
// nothing.
func (w *World) Fault(f Fault) *Hits {
	if !slices.Contains([]string{"*", "icloud:*", "dropbox:*", "apple:*"}, f.Endpoint) && !slices.Contains(w.Endpoints(), f.Endpoint) {
		panic(fmt.Sprintf("cloudtest: no endpoint %q; there are %v", f.Endpoint, w.Endpoints()))
	}
	h := &Hits{table: &w.table, fault: f}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	w.table.faults = append(w.table.faults, h)
	return h
}

// ClearFaults removes all faults.
func (w *World) ClearFaults() {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	for _, h := range w.table.faults {
		h.gone = true
	}
	w.table.faults = nil
}

// Together returns a hook for calls that a test wants to be under way at once, whatever the machine has to do beside: each
// waits until n have come, and later ones pass. Where they don't come they go on after half a minute, one by one.
func Together(n int) func(*http.Request) {
	var mu sync.Mutex
	come, all := 0, make(chan struct{})
	return func(r *http.Request) {
		mu.Lock()
		if come++; come == n {
			close(all)
		}
		mu.Unlock()
		late := time.NewTimer(30 * time.Second)
		defer late.Stop()
		select {
		case <-all:
		case <-late.C:
		case <-r.Context().Done():
		}
	}
}

// AllCome returns a hook for calls of which a test counts how many are under way at once: none is answered before all that
// the client has begun are there, and then all are, or a moment has passed. Else a busy machine keeps many of them on
// their way, and the service sees fewer than there are.
func AllCome(begun func() int) func(*http.Request) {
	var mu sync.Mutex
	here, round := 0, make(chan struct{})
	ends := func(over chan struct{}, late bool) {
		mu.Lock()
		defer mu.Unlock()
		if over == round && (late || here >= begun()) {
			close(round)
			here, round = 0, make(chan struct{})
		}
	}
	return func(*http.Request) {
		mu.Lock()
		here++
		mine := round
		mu.Unlock()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		late := time.NewTimer(2 * time.Second)
		defer late.Stop()
		for {
			select {
			case <-mine:
				return
			case <-tick.C:
				ends(mine, false)
			case <-late.C:
				ends(mine, true)
			}
		}
	}
}

// find returns the faults that strike a call: any number of Do, and at most one of another kind. bit is random.
func (t *faultTable) find(ep *endpoint, r *http.Request, rewind func()) (hooks []Fault, hit *Fault, bit uint64) {
	t.mu.Lock()
	faults := slices.Clone(t.faults)
	t.mu.Unlock()
	for _, h := range faults {
		f := h.fault
		if ok, _ := path.Match(f.Endpoint, ep.name); !ok && f.Endpoint != "*" {
			continue
		}
		if hit != nil && f.Kind != Do {
			continue
		}
		if f.Match != nil {
			fits := f.Match(r)
			rewind()
			if !fits {
				continue
			}
		}
		if !t.strikes(h) {
			continue
		}
		if f.Kind == Do {
			hooks = append(hooks, f)
		} else {
			hit = &f
		}
	}
	t.mu.Lock()
	bit = t.rng.Uint64()
	t.mu.Unlock()
	return hooks, hit, bit
}

// strikes counts a call that a fault is for, and tells whether it strikes this time.
func (t *faultTable) strikes(h *Hits) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.gone {
		return false
	}
	h.seen++
	if h.seen <= h.fault.After || h.fault.Times > 0 && h.count >= h.fault.Times {
		return false
	}
	if h.fault.Share > 0 && t.rng.Float64() >= h.fault.Share {
		return false
	}
	h.count++
	return true
}
