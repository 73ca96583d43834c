package jobs

import (
	"encoding/json"
	"fmt"
	"sort"
	"sync"
	"time"
)

// liveReport is what a worker tells about one unit, once a second. The JSON is read by Progress.
type liveReport struct {
	At      int64    `json:"t"` // ms since 1970 UTC
	Rate    float64  `json:"r"` // bytes a second
	Current []string `json:"c"`
	Moving  int64    `json:"m"` // bytes read of files that haven't ended
	Scanned int64    `json:"s,omitempty"`
	Outages []Outage `json:"o,omitempty"`
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
	rate    float64
	outages func() []Outage // tells which remotes don't answer; nil before there are any
}

type moving struct{ read, size int64 }

func newWatcher(now time.Time) *watcher { return &watcher{files: map[string]*moving{}, lastAt: now} }

func (w *watcher) Start(path string, size, before int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[path] = &moving{read: before, size: size}
}

func (w *watcher) Read(path string, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read += n
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

// report tells what happens now, as JSON.
func (w *watcher) report(now time.Time) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := now.Sub(w.lastAt).Seconds(); took > 0 {
		w.rate = (w.rate + float64(w.read-w.last)/took) / 2
		w.last, w.lastAt = w.read, now
	}
	r := liveReport{At: now.UnixMilli(), Rate: w.rate, Scanned: w.scanned}
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
