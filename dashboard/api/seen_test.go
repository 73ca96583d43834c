package api

import (
	"net/http"
	"testing"

	"offload/jobs"
)

// Only an end with failures can be called seen.
func TestSeenIsOfWhatFailed(t *testing.T) {
	w := newWorld(t)
	w.worker()
	w.put("a", 10)
	j := w.reach(w.make("").ID, jobs.Completed)
	w.ask("POST", "/api/v1/jobs/"+j.ID+"/seen", "").want(t, http.StatusConflict, nil)
	w.ask("POST", "/api/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/seen", "").want(t, http.StatusNotFound, nil)
}
