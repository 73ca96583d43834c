package live

import (
	"context"
	"errors"
	"time"

	"offload/jobs"
)

// apart is how many single jobs are asked for one by one; where more are watched the overview tells of most of them at once.
const apart = 3

// JobView is one job at one moment. Nobody changes it.
type JobView struct {
	jobs.Progress
	Err error  // jobs.ErrNotFound, or why the store couldn't be asked: then the rest is of the last time
	Seq uint64 // grows with each
}

// gone tells whether there is no such job.
func (v JobView) gone() bool { return errors.Is(v.Err, jobs.ErrNotFound) }

// Ended tells whether nothing more will come of the job unless it is retried, or there is none.
func (v JobView) Ended() bool { return v.gone() || v.Err == nil && v.Job.State.Terminal() }

// jobWatch is a job that somebody watches.
type jobWatch struct {
	watchers int
	last     *JobView
}

// Watch is one watcher of one job.
type Watch struct {
	hub *Hub
	id  string
}

// Watch begins to watch a job, which is asked for once a second for all its watchers until each has called Close. The ID is
// a whole one.
func (h *Hub) Watch(id string) *Watch {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.each[id]
	if w == nil {
		w = &jobWatch{}
		h.each[id] = w
	}
	w.watchers++
	if w.last == nil && h.last != nil && h.last.Err == nil && time.Since(h.made) < h.last.lasts() {
		w.last = h.last.job(id)
	}
	h.stir()
	return &Watch{hub: h, id: id}
}

// job is what a snapshot tells of one job, nil for nothing.
func (s *Snapshot) job(id string) *JobView {
	for _, p := range s.Live {
		if p.Job.ID == id {
			return &JobView{Progress: p, Seq: s.Seq}
		}
	}
	return nil
}

// Close ends the watching. It is called once.
func (w *Watch) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	j := w.hub.each[w.id]
	if j.watchers--; j.watchers == 0 {
		delete(w.hub.each, w.id)
	}
}

// After returns a view of the job newer than the one of the given Seq: it waits until there is one, and returns nil when
// ctx ends before. Whoever is slow passes over those in between.
func (w *Watch) After(ctx context.Context, seq uint64) *JobView {
	var found *JobView
	w.hub.wait(ctx, func() bool {
		found = nil
		if v := w.hub.each[w.id].last; v != nil && v.Seq > seq {
			found = v
		}
		return found != nil
	})
	return found
}

// watched returns the IDs of the jobs that are watched. The caller holds mu.
func (h *Hub) watched() []string {
	ids := make([]string, 0, len(h.each))
	for id := range h.each {
		ids = append(ids, id)
	}
	return ids
}

// askEach returns the watched jobs: from the overview where it tells of them, else each by itself.
func (h *Hub) askEach(ctx context.Context, ids []string, s *Snapshot) map[string]JobView {
	views := make(map[string]JobView, len(ids))
	if len(ids) == 0 {
		return views
	}
	known := map[string]jobs.Progress{}
	if s != nil {
		for _, p := range s.Live {
			known[p.Job.ID] = p
		}
	}
	for _, id := range ids {
		if p, ok := known[id]; ok {
			views[id] = JobView{Progress: p}
			continue
		}
		if s != nil && s.Err != nil {
			views[id] = JobView{Err: s.Err}
			continue
		}
		p, err := h.jobs.Progress(ctx, id)
		views[id] = JobView{Progress: p, Err: err}
	}
	return views
}
