package jobs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// jobVersion is the newest kind of job that this program can work on. Who adds something to orders, batches or outcomes
// that an older worker would overlook or drop raises it, and has leastVersion tell which orders need that; all that such a
// job stores may then be of the new kind, and what a job of an older version stores stays of the old.
const jobVersion = 2

// fieldVersion of a job's hash holds the version that a worker needs; a missing one is 1. fieldTooNew is there while no
// worker has it.
const (
	fieldVersion = "version"
	fieldTooNew  = "too_new"
)

// tooNewText is what people see of a job that no running worker can do.
const tooNewText = "needs a newer worker: no worker that runs knows this kind of job; start one of the offload version that made it"

// errNewer says that something was stored by a newer version of this program.
var errNewer = errors.New("it was made by a newer version of offload: use that")

// leastVersion is the least version of a worker that may do an order. Version 2 knows kinds of jobs, plans and rules that
// choose files: an older worker would take a restore or a scrub for a move, and move what was to stay.
func leastVersion(o Order) int {
	switch {
	case o.Kind != KindMove, o.Plan != "", len(o.Filter) > 0, len(o.ExcludeIfPresent) > 0, !o.ModifiedFrom.IsZero(), !o.ModifiedTo.IsZero():
		return 2
	}
	return 1
}

// versionNumber reads the version of a job; one that can't be read is newer than any.
func versionNumber(text string) int {
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 1 << 30
	}
	return n
}

// laneOf is the queue of the pool for jobs of a priority and version. Each version has lanes of its own, so that a worker
// which is too old never takes a ticket that it can't use.
func laneOf(p Priority, version int) string {
	if version <= 1 {
		return string(p)
	}
	return fmt.Sprintf("%s-v%d", p, version)
}

// isLane tells whether a queue is a lane of the pool, of whichever version.
func isLane(queue string) bool {
	base, version, versioned := strings.Cut(queue, "-v")
	if !one(Priority(base), High, Normal, Low) {
		return false
	}
	n, err := strconv.Atoi(version)
	return !versioned || err == nil && n > 1
}

// poolQueues are the lanes of the pool that a worker of a version serves, strictly one after the other, the highest number
// first: of a priority, first what older workers can't do.
func poolQueues(version int) map[string]int {
	lanes := map[string]int{}
	for i, p := range []Priority{Low, Normal, High} {
		for v := 1; v <= version; v++ {
			lanes[laneOf(p, v)] = i*version + v
		}
	}
	return lanes
}

// workerVersion is the version that a process's name tells of.
func workerVersion(name string) int {
	p := strings.Split(name, ":")
	_, version, ok := strings.Cut(p[len(p)-1], ".v")
	if n, err := strconv.Atoi(version); ok && err == nil {
		return n
	}
	return 1
}

// versioned adds to a process's name the version of the jobs that it can do.
func versioned(name string, version int) string {
	if version <= 1 {
		return name
	}
	return fmt.Sprintf("%s.v%d", name, version)
}

// checkVersion refuses what an older program would spoil in a job that it doesn't know whole.
func (s *Service) checkVersion(ctx context.Context, id string) error {
	v, err := s.client.HMGet(ctx, keysOf(id).job(), fieldVersion).Result()
	if err != nil {
		return fmt.Errorf("read job %s: %w", id, err)
	}
	if text, _ := v[0].(string); versionNumber(text) > s.scripts.version {
		return fmt.Errorf("job %s: %w", id, errNewer)
	}
	return nil
}

// noteVersion notes whether a job that runs waits for a worker of its version.
func (s *Service) noteVersion(ctx context.Context, id string, a audited) error {
	if a.version <= 1 {
		return nil
	}
	note := ""
	if a.state.Runs() {
		workers, err := s.liveWorkers(ctx)
		if err != nil {
			return err
		}
		note = "1"
		for _, name := range workers {
			if workerVersion(name) >= a.version {
				note = ""
			}
		}
	}
	_, _, err := s.scripts.verdict(ctx, "too_new", id, nil, note)
	return err
}
