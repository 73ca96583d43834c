package browser

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// Several jobs are paused, resumed and canceled at once, by the boxes of the list; a search finds them first.
func TestSeveralJobs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.put("Later/old film.mov", 8<<20)
	url := h.serve("up")
	ids := map[string]string{}
	for _, label := range []string{"Album one", "Album two", "Letters"} {
		ids[label] = h.say(0, "", "enqueue", "icloud:Later", "dropbox:Backup/"+label, "--label", label, "--bwlimit", "16KiB")
	}
	become := func(state string, labels ...string) {
		t.Helper()
		for _, label := range labels {
			h.await(ids[label], label+" to be "+state, func(j job) bool { return j.State == state })
		}
	}
	tb := openTab(t, url, "")
	tb.open("/jobs", http.StatusOK)
	tb.fill("Search", "album")
	tb.click("Show")
	tb.see("Album one", "Album two", "2 jobs on this page")
	tb.lacks("Letters")
	tb.tick("All on this page")
	tb.click("Pause")
	tb.see("Paused: 2 jobs.")
	become("paused", "Album one", "Album two")
	if j := h.job(ids["Letters"]); j.State == "paused" {
		t.Error("a job that wasn't chosen is paused")
	}
	tb.open("/jobs?state=paused", http.StatusOK)
	tb.tick("Choose Album one")
	tb.click("Resume")
	tb.see("Going on: 1 job.")
	h.await(ids["Album one"], "Album one to go on", func(j job) bool { return j.State != "paused" })
	become("paused", "Album two")
	tb.open("/jobs", http.StatusOK)
	tb.click("Pause")
	tb.see("No job was chosen")
	tb.tick("All on this page")
	tb.click("Cancel...")
	tb.see("Cancel: 3 jobs?")
	tb.click("Cancel: 3 jobs")
	tb.see("Canceled: 3 jobs.")
	become("canceled", "Album one", "Album two", "Letters")
	tb.tick("Choose Letters")
	tb.click("Remove...")
	tb.see("Back, change nothing")
	tb.look("bulk remove")
	tb.fill("Type remove to go on", "remove")
	tb.click("Remove from the list: 1 job")
	tb.see("Removed from the list: 1 job.", "Album two")
	tb.lacks("Letters")
	if _, there := h.account.Lookup("Later/old film.mov"); !there {
		t.Error("the file of canceled jobs is gone")
	}
}

// What failed is found by its cause among the files, and done again from the job's page, alone.
func TestRetryOfWhatFailed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	for i := range 5 {
		h.put(fmt.Sprintf("Documents/File %d.pdf", i), 20_000)
	}
	var once sync.Once
	which := ""
	bad := h.play.Fault(cloudtest.Fault{Endpoint: "icloud:download_by_id", Kind: cloudtest.Status, Status: http.StatusNotFound, Match: func(r *http.Request) bool {
		once.Do(func() { which = r.URL.RequestURI() }) // the first file that is asked for can't be had
		return r.URL.RequestURI() == which
	}})
	url := h.serve("up")
	id := h.say(0, "", "enqueue", "icloud:Documents", "dropbox:Backup", "--delete-source", "verified", "--label", "Papers")
	before := h.await(id, "the job to end", func(j job) bool { return strings.HasPrefix(j.State, "completed") })
	if bad.Count() == 0 || before.Files.Failed == 0 {
		t.Fatalf("no file failed: %d hits, %+v", bad.Count(), before)
	}
	bad.Remove()
	tb := openTab(t, url, "")
	tb.open("/", http.StatusOK)
	tb.see("Needs attention")
	tb.open("/jobs/"+id, http.StatusOK)
	tb.click("See the files")
	tb.choose("Outcome", "Failed")
	tb.click("Show")
	tb.until("the failed files alone", fmt.Sprintf(`location.search.includes("outcome=failed") && document.querySelectorAll("tbody tr").length === %d`, before.Files.Failed))
	tb.click("Papers")
	tb.click(fmt.Sprintf("Retry %d failed file", before.Files.Failed))
	tb.see("What failed is done again.")
	after := h.await(id, "what failed to be done", func(j job) bool { return j.State == "completed" })
	if after.Files.Copied != 5 || after.Files.Deleted != 5 || after.Files.Failed != 0 || h.account.Files() != 0 {
		t.Errorf("after the retry: %+v, %d files at iCloud", after, h.account.Files())
	}
}

// farOff is a time of day half a day from now: what is scheduled for then doesn't run by itself in the midst of a test.
func farOff() string { return time.Now().Add(12 * time.Hour).Format("15:04") }

// A schedule is added by its form, with a mistake first, runs by hand, rests and is removed.
func TestScheduleByHand(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.put("Documents/a letter.txt", 3000)
	url := h.serve("up")
	tb := openTab(t, url, "")
	tb.forgive(`status of 4\d\d`) // what is wrong in a form is answered so
	tb.open("/schedules", http.StatusOK)
	tb.click("Add a schedule")
	tb.fill("Name", "nightly")
	tb.fill("At", "25:00")
	tb.fill("Source", "icloud:Documents")
	tb.fill("Destination", "dropbox:Backup")
	tb.click("Add the schedule")
	tb.see("Nothing was added")
	tb.look("schedule wrong")
	at := farOff()
	tb.fill("At", at)
	tb.click("Add the schedule")
	tb.see("The schedule is added", at)
	tb.look("schedule")
	tb.click("Run now")
	tb.see("A worker runs it now")
	eventually(t, 2*time.Minute, func() string { return "the schedule's job to be done" }, func() bool {
		return strings.Contains(h.say(0, "", "jobs", "list", "--json"), `"state":"completed"`)
	})
	if _, there := h.dropbox.Get("/Backup/a letter.txt"); !there {
		t.Error("the schedule's job has copied nothing")
	}
	tb.click("Pause")
	tb.see("The schedule is paused")
	tb.click("Resume")
	tb.see("The schedule goes on")
	tb.click("Remove")
	tb.see("The jobs that it made stay")
	tb.look("schedule remove")
	tb.click("Remove the schedule")
	tb.see("The schedule is removed", "There are no schedules")
}

// An operator drains a worker, limits files at once, traffic of a remote and bandwidth, and takes that back; a remote is added
// by a token and looked at.
func TestLimitsByHand(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	url := h.serve("up")
	tb := openTab(t, url, "")
	tb.forgive(`status of 4\d\d`) // what is wrong in a form is answered so
	tb.open("/workers", http.StatusOK)
	tb.click("Drain")
	tb.see("The worker takes nothing new")
	tb.until("the worker to be drained", `document.body.innerText.toLowerCase().includes("drained")`)
	tb.click("Resume")
	tb.see("The worker goes on")
	tb.fill("Name", "icloud:")
	tb.fill("Files at once", "many")
	tb.click("Set limit")
	tb.see("Nothing was changed")
	tb.look("workers wrong")
	tb.fill("Files at once", "8")
	tb.click("Set limit")
	tb.see("The limit of files at once is set")
	tb.click("Back to the settings")
	tb.see("No remote and no account has a limit")

	tb.open("/quota", http.StatusOK)
	tb.fill("Remote", "dropbox")
	tb.fill("Limit", "750GiB")
	tb.click("Set limit")
	tb.see("The limit of the remote is set")
	tb.click("Take away")
	tb.see("No remote has a limit")
	tb.fill("At most, a second", "4M")
	tb.click("Set bandwidth")
	tb.see("All jobs of all workers together")
	tb.look("quota with bandwidth")

	tb.open("/remotes/add?kind=dropbox", http.StatusOK)
	tb.look("remote consent")
	tb.fill("Name", "second")
	tb.tick("By a token")
	tb.fill("Token", "no token")
	tb.click("Go on")
	tb.see("Nothing was kept")
	tb.look("remote consent wrong")
	tb.fill("Token", h.dropbox.TokenJSON())
	tb.click("Go on")
	tb.see("second is signed in")
	tb.click("Go to the remotes")
	tb.click("Look again at second")
	tb.until("the remote to answer", `[...document.querySelectorAll("section.card")].some(c => c.innerText.includes("second:") && c.innerText.includes("Answers"))`)
}
