package pages

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/jobstest"
	"offload/jobs"
	"offload/transfer"
)

// onHold is a job on hold with two files.
func (w *world) onHold() jobs.Job {
	w.t.Helper()
	w.put(1000, "a.txt", "b.txt")
	j := w.order(func(o *jobs.Order) { o.DeleteSource, o.Hold = transfer.DeleteVerified, 6*24*time.Hour })
	return w.reach(j.ID, jobs.Waiting, jobs.Completed, jobs.CompletedW, jobs.FailedState)
}

func TestHoldOnTheJobPage(t *testing.T) {
	w := newWorld(t)
	w.worker()
	j := w.onHold()
	at := "/jobs/" + j.ID
	_, page := w.get(at)
	holds(t, page, "2 files (2.0 KiB) are deleted at the source on", "Delete now...", "Keep the files...", at+"/hold/keep", at+"/hold/release")
	for _, end := range []string{"keep", "release"} {
		if code, body := w.get(at + "/hold/" + end); code != 200 {
			t.Errorf("%s asks with %d: %s", end, code, body)
		} else {
			holds(t, body, `action="`+at+"/hold/"+end+`"`, "Back, change nothing")
		}
		w.post(at+"/hold/"+end, url.Values{}) // not sure
	}
	if now, err := w.svc.Get(t.Context(), j.ID); err != nil || now.HoldUntil == nil {
		t.Fatalf("a post without a word of confirmation did something: %+v, %v", now, err)
	}
	for path, want := range map[string]int{at + "/hold/extend": 404, "/jobs/01KB3Q7W5T0000000000000000/hold/keep": 404, "/jobs/x/hold/keep": 404} {
		if code, _ := w.get(path); code != want {
			t.Errorf("get %s: %d, want %d", path, code, want)
		}
		if code, _ := w.post(path, url.Values{"sure": {"yes"}}); code != want {
			t.Errorf("post %s: %d, want %d", path, code, want)
		}
	}
	w.post(at+"/hold/keep", url.Values{"sure": {"yes"}})
	if j = w.reach(j.ID, jobs.Completed, jobs.CompletedW, jobs.FailedState); j.Files.Deleted != 0 || !j.HoldCalledOff {
		t.Fatalf("%+v", j)
	}
	_, page = w.get(at)
	holds(t, page, "Its deletions were called off", "2 files kept at the source, as the deletion was called off")
	lacks(t, page, "Delete now", at+"/hold/keep", at+"/scrub")
}

func TestScrubFromTheJobPage(t *testing.T) {
	w := newWorld(t)
	w.worker()
	j := w.onHold()
	w.post("/jobs/"+j.ID+"/hold/release", url.Values{"sure": {"yes"}})
	if j = w.reach(j.ID, jobs.Completed, jobs.CompletedW, jobs.FailedState); j.Files.Deleted != 2 {
		t.Fatalf("%+v", j)
	}
	_, page := w.get("/jobs/" + j.ID)
	holds(t, page, "Check the offloaded files")
	if err := os.WriteFile(filepath.Join(j.Dest, "a.txt"), make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(j.Dest, "b.txt")); err != nil {
		t.Fatal(err)
	}
	w.post("/jobs/"+j.ID+"/scrub", url.Values{})
	all, _, err := w.svc.List(t.Context(), jobs.ListOptions{})
	if err != nil || len(all) != 2 || all[0].Of != j.ID {
		t.Fatalf("%+v, %v", all, err)
	}
	scrub := w.reach(all[0].ID, jobs.Completed, jobs.CompletedW, jobs.FailedState)
	_, page = w.get("/jobs/" + scrub.ID)
	holds(t, page, "1 file missing at the destination", "1 file different from what was proved", "offload restore")
	lacks(t, page, "still at the source", "Check the offloaded files")
	jobstest.Until(t, "the first page raises the alarm", func() bool {
		_, home := w.get("/")
		return strings.Contains(home, "2 files of 2 files that were offloaded to") && strings.Contains(home, "offload restore "+j.ID) && strings.Contains(home, "/jobs/"+scrub.ID+"#trouble")
	})
	if code, _ := w.post("/jobs/"+scrub.ID+"/scrub", url.Values{}); code < 400 || code >= 500 {
		t.Errorf("a scrub of a scrub: %d", code)
	}
}
