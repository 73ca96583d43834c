package api

import (
	"net/http"
	"testing"

	"offload/jobs"
)

func TestHoldAndScrub(t *testing.T) {
	w := newWorld(t)
	w.worker()
	for _, n := range []string{"a", "b", "c"} {
		w.put(n, 10)
	}
	j := w.reach(w.make(`,"delete_source":"verified","hold":"6d"`).ID, jobs.Waiting)
	if j.Held == nil || j.Held.Files != 3 || j.HoldUntil == nil {
		t.Fatalf("%+v", j)
	}
	w.ask("POST", "/api/v1/jobs/"+j.ID+"/scrub", "").want(t, http.StatusConflict, nil)
	w.ask("POST", "/api/v1/jobs/"+j.ID+"/hold/release", "").want(t, http.StatusOK, nil)
	j = w.reach(j.ID, jobs.Completed)
	w.ask("POST", "/api/v1/jobs/"+j.ID+"/hold/keep", "").want(t, http.StatusConflict, nil)
	var s jobs.Job
	w.ask("POST", "/api/v1/jobs/"+j.ID+"/scrub?read=true", "").want(t, http.StatusOK, &s)
	if s = w.reach(s.ID, jobs.Completed); s.Scrub == nil || s.Scrub.Intact != 3 || s.Of != j.ID {
		t.Errorf("%+v", s)
	}
}
