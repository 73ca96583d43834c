package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// WorkerState says what a worker of the pool is about.
type WorkerState string

// The states of a worker.
const (
	WorkerWorking  WorkerState = "working"
	WorkerIdle     WorkerState = "idle"
	WorkerDraining WorkerState = "draining" // takes nothing new; files that have begun may end
	WorkerDrained  WorkerState = "drained"  // takes nothing new, and has nothing in hand
	WorkerSilent   WorkerState = "silent"   // wasn't heard of for longer than its leases last, or is known to have ended
)

// WorkerInfo is one worker of the pool, as it was heard of last.
type WorkerInfo struct {
	Name    string         `json:"name"` // "host/pid"
	ID      string         `json:"id"`   // what leases name it; no other process has it
	Host    string         `json:"host"`
	PID     int            `json:"pid"`
	Version string         `json:"version,omitempty"` // of the program; "" for one that doesn't say so
	Started *time.Time     `json:"started,omitempty"`
	State   WorkerState    `json:"state"`
	Batches int            `json:"batches"` // that it may do at once
	Busy    int            `json:"busy"`    // units in hand: batches, scans, ends of jobs
	Files   int            `json:"files"`   // being moved now
	Jobs    map[string]int `json:"jobs"`    // units in hand by job
	Heard   time.Time      `json:"heard"`
}

// workerForgotten is how long a worker is still shown that wasn't heard of.
const workerForgotten = time.Hour

// Keys of the registry, in the slot of keyWorkers.
const (
	keyWorkerInfo  = "{" + keyWorkers + "}:info"
	keyWorkerDrain = "{" + keyWorkers + "}:drain"
)

func workerKeys() []string { return []string{keyWorkers, keyWorkerInfo, keyWorkerDrain} }

// report is what a worker tells of itself with each beat.
type report struct {
	Version string         `json:"version"`
	Started int64          `json:"started"` // ms since 1970 UTC
	Batches int            `json:"batches"`
	Files   int            `json:"files"`
	Jobs    map[string]int `json:"jobs"`
	Drained bool           `json:"drained"` // it has heard that it is to take nothing new, and doesn't
}

// hands are the units that a worker has in hand.
type hands struct {
	mu      sync.Mutex
	units   map[*unit]struct{}
	drained bool
}

// take notes a unit until drop is called.
func (h *hands) take(u *unit) (drop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.units == nil {
		h.units = map[*unit]struct{}{}
	}
	h.units[u] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.units, u)
	}
}

// drain notes whether anything new is taken.
func (h *hands) drain(drained bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drained = drained
}

// room tells whether the worker may take more units than it has in hand.
func (h *hands) room(most int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.drained && len(h.units) < most
}

func (h *hands) report() report {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := report{Jobs: map[string]int{}, Drained: h.drained}
	for u := range h.units {
		r.Jobs[u.job]++
		r.Files += u.watch.moving()
	}
	return r
}

// register tells each beat that this worker lives and what it does, until ctx is done, and hands on whether it is to take
// nothing new.
func (w *worker) register(ctx context.Context, started time.Time) {
	s := script("fleet/beat")
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		if err := w.beat(ctx, s, started); err != nil && ctx.Err() == nil {
			w.warn("report this worker", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *worker) beat(ctx context.Context, s *redis.Script, started time.Time) error {
	r := w.hands.report()
	r.Version, r.Started, r.Batches = w.s.cfg.Version, started.UnixMilli(), w.opt.Batches
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	call, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	drain, err := s.Run(call, w.s.client, workerKeys(), w.name, raw, leaseTime.Milliseconds(), workerForgotten.Milliseconds()).Int()
	if err != nil {
		return err
	}
	select { // what wasn't heeded yet is out of date
	case <-w.drains:
	default:
	}
	w.drains <- drain == 1
	return nil
}

// signOff takes the worker off the list.
func (w *worker) signOff(ctx context.Context) error {
	p := w.s.client.Pipeline()
	p.ZRem(ctx, keyWorkers, w.name)
	p.HDel(ctx, keyWorkerInfo, w.name)
	p.HDel(ctx, keyWorkerDrain, w.name)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("sign this worker off: %w", err)
	}
	return nil
}

// Workers lists the workers of the pool by name, those too that weren't heard of for up to an hour. Those that ended
// properly aren't in it, nor are processes that run one job in the foreground.
func (s *Service) Workers(ctx context.Context) ([]WorkerInfo, error) {
	p := s.client.Pipeline()
	answer := listWorkers(ctx, p)
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	return answer(now), nil
}

// listWorkers is Workers as calls of a pipeline: what it returns reads the answers.
func listWorkers(ctx context.Context, p redis.Pipeliner) func(now time.Time) []WorkerInfo {
	names := p.ZRangeWithScores(ctx, keyWorkers, 0, -1)
	infos := p.HGetAll(ctx, keyWorkerInfo)
	drains := p.HGetAll(ctx, keyWorkerDrain)
	return func(now time.Time) []WorkerInfo { return workersOf(names, infos, drains, now) }
}

func workersOf(names *redis.ZSliceCmd, infos, drains *redis.MapStringStringCmd, now time.Time) []WorkerInfo {
	all := []WorkerInfo{}
	for _, z := range names.Val() {
		name, _ := z.Member.(string)
		_, drain := drains.Val()[name]
		all = append(all, workerInfo(name, infos.Val()[name], time.UnixMilli(int64(z.Score)).UTC(), now, drain))
	}
	slices.SortFunc(all, func(a, b WorkerInfo) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID)) })
	return all
}

// workerInfo reads what a worker told of itself; one of an earlier version tells nothing but that it lives.
func workerInfo(id, raw string, believed, now time.Time, drain bool) WorkerInfo {
	i := WorkerInfo{ID: id, Name: shortName(id), Host: id, Jobs: map[string]int{}, Heard: believed.Add(-leaseTime)}
	if p := strings.Split(id, ":"); len(p) == 4 {
		i.Host = p[0]
		i.PID, _ = strconv.Atoi(p[2])
	}
	var r report
	if json.Unmarshal([]byte(raw), &r) == nil {
		i.Version, i.Started, i.Batches, i.Files = r.Version, optional(strconv.FormatInt(r.Started, 10)), r.Batches, r.Files
		for job, n := range r.Jobs {
			i.Jobs[job] = n
			i.Busy += n
		}
	}
	switch {
	case !believed.After(now) || knownDead(id):
		i.State = WorkerSilent
	case drain && r.Drained && i.Busy == 0:
		i.State = WorkerDrained
	case drain:
		i.State = WorkerDraining
	case i.Busy > 0:
		i.State = WorkerWorking
	default:
		i.State = WorkerIdle
	}
	return i
}

// WorkersRunning tells how many of the pool's workers are running, as far as they were heard of lately.
func (s *Service) WorkersRunning(ctx context.Context) (int, error) {
	names, err := s.liveWorkers(ctx)
	return len(names), err
}

// ErrNoWorker says that a name fits no worker, ErrManyWorkers that it fits several.
var (
	ErrNoWorker    = errors.New("no such worker")
	ErrManyWorkers = errors.New("more than one worker")
)

// FindWorkers returns the workers that a name means: one by its name, its ID or the beginning of either, or with byHost all
// of one host. A silent one is meant only where no living one is. It returns ErrNoWorker or ErrManyWorkers, wrapped, for a
// name that fits none or several.
func FindWorkers(all []WorkerInfo, name string, byHost bool) ([]WorkerInfo, error) {
	fits := []func(WorkerInfo) bool{func(i WorkerInfo) bool { return i.Host == name }}
	if !byHost {
		fits = []func(WorkerInfo) bool{
			func(i WorkerInfo) bool { return i.Name == name || i.ID == name },
			func(i WorkerInfo) bool { return i.Host == name },
			func(i WorkerInfo) bool { return strings.HasPrefix(i.Name, name) || strings.HasPrefix(i.ID, name) },
		}
	}
	for _, silent := range []bool{false, true} {
		for _, fit := range fits {
			var found []WorkerInfo
			for _, i := range all {
				if name != "" && fit(i) && (i.State == WorkerSilent) == silent {
					found = append(found, i)
				}
			}
			if len(found) == 1 || byHost && len(found) > 0 {
				return found, nil
			}
			if len(found) > 1 {
				return nil, fmt.Errorf("%.60q fits %s: %w", name, strings.Join(tellApart(found), ", "), ErrManyWorkers)
			}
		}
	}
	return nil, fmt.Errorf("%.60q: %w", name, ErrNoWorker)
}

// tellApart names workers: by their IDs where two have the same name.
func tellApart(all []WorkerInfo) []string {
	names, ids := make([]string, len(all)), make([]string, len(all))
	twins, seen := false, map[string]bool{}
	for n, i := range all {
		twins = twins || seen[i.Name]
		names[n], ids[n], seen[i.Name] = i.Name, i.ID, true
	}
	if twins {
		return ids
	}
	return names
}

// Drain asks a worker, named by its ID, to take nothing new: files that have begun may end, however long they take, and
// the rest of what it has goes to the others at once. It then waits until it is stopped or Undrain is called. It heeds
// that within two seconds. A worker that isn't there any more is ErrNoWorker.
func (s *Service) Drain(ctx context.Context, id string) error { return s.drain(ctx, id, "1") }

// Undrain lets a worker go on after Drain.
func (s *Service) Undrain(ctx context.Context, id string) error { return s.drain(ctx, id, "0") }

func (s *Service) drain(ctx context.Context, id, to string) error {
	n, err := script("fleet/drain").Run(ctx, s.client, workerKeys(), id, to).Int()
	if err != nil {
		return fmt.Errorf("drain worker %s: %w", shortName(id), err)
	}
	if n != 1 {
		return fmt.Errorf("%s: %w", shortName(id), ErrNoWorker)
	}
	return nil
}
