package jobs

import "offload/transfer"

// Retrying tells of the files of a job that have failed at least once and are tried again: until they go on or have ended,
// and not while a remote doesn't answer, which is an Outage.
type Retrying struct {
	Files   int    `json:"files" doc:"files that have failed at least once and are tried again now"`
	Path    string `json:"path" doc:"the one of them that has been tried most often"`
	Attempt int    `json:"attempt" doc:"the attempt at it that comes next, from 2"`
	Of      int    `json:"of" doc:"after as many attempts it is given up, by what went wrong last"`
	Why     string `json:"why" doc:"what the last attempt at it failed of"`
}

// before tells whether r is to be shown rather than o.
func (r Retrying) before(o Retrying) bool {
	if r.Attempt != o.Attempt {
		return r.Attempt > o.Attempt
	}
	return r.Path < o.Path
}

// addRetrying adds what one worker tells to what others have told; nil is nothing.
func addRetrying(all, more *Retrying) *Retrying {
	if all == nil || more == nil {
		if all == nil {
			return more
		}
		return all
	}
	sum := *all
	if more.before(*all) {
		sum = *more
	}
	sum.Files = all.Files + more.Files
	return &sum
}

// retryingOf tells of the files that are tried again, by their paths.
func retryingOf(again map[string]transfer.Again) (all *Retrying) {
	for path, a := range again {
		all = addRetrying(all, &Retrying{1, path, a.Attempt, a.Of, a.Why})
	}
	return all
}

// Again implements transfer.Watcher.
func (w *watcher) Again(path string, a transfer.Again) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case a == transfer.Again{}:
		delete(w.again, path)
	case w.again == nil:
		w.again = map[string]transfer.Again{path: a}
	default:
		w.again[path] = a
	}
}
