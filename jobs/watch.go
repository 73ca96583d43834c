package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"sync"
	"time"

	"offload/transfer"
)

// liveReport is what a worker tells about one unit, once a second. The JSON is read by Progress.
type liveReport struct {
	At      int64    `json:"t"`           // ms since 1970 UTC
	Rate    float64  `json:"r"`           // bytes a second
	Steady  float64  `json:"p,omitempty"` // the same over a longer time
	Seen    int64    `json:"w,omitempty"` // ms that both are of
	Idle    int64    `json:"i,omitempty"` // ms since a byte was read
	Held    bool     `json:"h,omitempty"` // files wait for bandwidth
	Current []string `json:"c"`
	Moving  int64    `json:"m"` // bytes read of files that haven't ended
	Scanned int64    `json:"s,omitempty"`
	Outages []Outage `json:"o,omitempty"`

	Retrying *Retrying `json:"f,omitempty"`
}

// currentShown bounds the names in a report.
const currentShown = 8

// watcher gathers what a unit does at the moment. It implements transfer.Watcher.
type watcher struct {
	mu      sync.Mutex
	files   map[string]*moving
	read    int64 // bytes in all
	scanned int64
	last    int64 // read at the report before
	lastAt  time.Time
	begun   bool // a file has begun: the speeds are of the time since then
	speeds  speeds
	held    int // files that wait for bandwidth
	again   map[string]transfer.Again
	outages func() []Outage // tells which remotes don't answer; nil before there are any
}

type moving struct{ read, size int64 }

func newWatcher(now time.Time) *watcher {
	return &watcher{files: map[string]*moving{}, lastAt: now, speeds: speeds{moved: now}}
}

// goOn begins with the speeds that another unit of the job left.
func (w *watcher) goOn(s speeds) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.speeds, w.begun = s, true
}

// leave are the speeds for the next unit of the job; nil where there are none.
func (w *watcher) leave() *speeds {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		return nil
	}
	s := w.speeds
	return &s
}

// paced is pace, with a note of who waits for it.
func (w *watcher) paced(pace func(context.Context, int64) (int64, error)) func(context.Context, int64) (int64, error) {
	held := func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held += n
	}
	return func(ctx context.Context, n int64) (int64, error) {
		held(1)
		defer held(-1)
		return pace(ctx, n)
	}
}

func (w *watcher) Start(path string, size, before int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = true
	w.files[path] = &moving{read: before, size: size}
}

func (w *watcher) Read(path string, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read += n
	delete(w.again, path) // it goes on
	if m := w.files[path]; m != nil {
		m.read += n
	}
}

func (w *watcher) Done(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.files, path)
}

// total is how many bytes were read so far.
func (w *watcher) total() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read
}

// moving is how many files are under way.
func (w *watcher) moving() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.files)
}

// found notes how many entries a scan has found.
func (w *watcher) found(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scanned = n
}

// silent says whom to ask which remotes don't answer.
func (w *watcher) silent(ask func() []Outage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outages = ask
}

// waits tells whether a remote doesn't answer now.
func (w *watcher) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outages != nil && len(w.outages()) > 0
}

// gauge adds what was read since it was last called to the speeds. The caller holds mu.
func (w *watcher) gauge(now time.Time) {
	took := now.Sub(w.lastAt)
	if took <= 0 {
		return
	}
	if w.begun {
		w.speeds.add(w.read-w.last, now, took)
	}
	w.last, w.lastAt = w.read, now
}

// report tells what happens now, as JSON.
func (w *watcher) report(now time.Time) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gauge(now)
	idle := now.Sub(w.speeds.moved)
	r := liveReport{At: now.UnixMilli(), Seen: w.speeds.seen.Milliseconds(), Idle: idle.Milliseconds(), Held: w.held > 0, Scanned: w.scanned,
		Retrying: retryingOf(w.again)}
	if idle < speedOver {
		r.Rate, r.Steady = w.speeds.now.rate(), w.speeds.steady.rate()
	}
	if w.outages != nil {
		r.Outages = w.outages()
	}
	for path, m := range w.files {
		r.Moving += m.read
		line := path
		if m.size >= 1<<20 {
			line = fmt.Sprintf("%s (%d%%)", path, m.read*100/m.size)
		}
		r.Current = append(r.Current, line)
	}
	sort.Strings(r.Current)
	if len(r.Current) > currentShown {
		r.Current = r.Current[:currentShown]
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("make live report: %w", err)
	}
	return string(raw), nil
}
