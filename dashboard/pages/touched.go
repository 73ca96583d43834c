package pages

import (
	"sync"
	"time"

	"offload/jobs"
)

// staleFor is how old a view of the hub's may be: for so long after a job was changed here, one may be of before.
const staleFor = 1500 * time.Millisecond

// touched remembers which jobs were changed by way of these pages a moment ago, so that nobody who has just paused a job is
// shown that it runs.
type touched struct {
	mu   sync.Mutex
	last time.Time
	jobs map[string]time.Time
}

// touch notes that a job was changed. Whoever opens one of the live pages from now on is told of it by a feed that begins
// anew, not by what was kept for others.
func (p *Pages) touch(j jobs.Job) {
	p.forecasts.forget(j)
	p.touched.mu.Lock()
	now := time.Now()
	p.touched.last = now
	if p.touched.jobs == nil {
		p.touched.jobs = map[string]time.Time{}
	}
	for id, at := range p.touched.jobs {
		if now.Sub(at) > staleFor {
			delete(p.touched.jobs, id)
		}
	}
	p.touched.jobs[j.ID] = now
	p.touched.mu.Unlock()
	p.rooms.mu.Lock()
	defer p.rooms.mu.Unlock()
	for t := range p.rooms.all {
		if t.page != "job" || t.id == j.ID {
			delete(p.rooms.all, t) // those who are in it stay, and are told a moment later
		}
	}
}

// lately tells whether a job, or any job with "", was changed so lately that the hub may not know.
func (p *Pages) lately(id string) bool {
	p.touched.mu.Lock()
	defer p.touched.mu.Unlock()
	at := p.touched.last
	if id != "" {
		at = p.touched.jobs[id]
	}
	return time.Since(at) < staleFor
}
