package browser

import (
	"net/http"
	"regexp"
	"testing"

	"offload/internal/cloudtest"
)

// Without scripts all of it works by loading pages.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.put("Films/Summer.mov", 16<<20)
	h.put("Films/Winter.mov", 1<<20)
	tb := openTab(t, h.serve("up"), "")
	tb.withoutScripts()
	tb.open("/", http.StatusOK)
	tb.click("New transfer")
	tb.click("Browse folders of the source")
	tb.click("icloud:")
	tb.click("Films")
	tb.click("Choose icloud:Films")
	tb.until("the source to be filled in", `document.querySelector("[name=source]").value === "icloud:Films"`)
	tb.fill("Destination", "dropbox:Backup")
	tb.click("How it runs")
	tb.fill("Bandwidth", "256KiB")
	tb.click("Preview")
	tb.see("nothing is begun yet", "Nothing will be deleted") // it loads itself again until it is made
	tb.click("Begin the transfer")
	tb.until("the job's page", `/^\/jobs\/[0-9A-Z]{26}/.test(location.pathname)`)
	path, _ := ask[string](tb, "location.pathname")
	id := regexp.MustCompile(`[0-9A-Z]{26}`).FindString(path)
	h.await(id, "the job to have begun", func(j job) bool { return j.State == "transferring" })
	tb.open("/jobs/"+id, http.StatusOK)
	tb.click("Pause job")
	h.await(id, "the job to be paused", func(j job) bool { return j.State == "paused" })
	tb.open("/jobs/"+id, http.StatusOK)
	tb.click("Resume job")
	h.await(id, "the job to go on", func(j job) bool { return j.State != "paused" })
	tb.open("/jobs/"+id, http.StatusOK)
	tb.click("Cancel job")
	tb.see("Back, change nothing") // a page of its own asks
	tb.click("Cancel")
	h.await(id, "the job to be canceled", func(j job) bool { return j.State == "canceled" })
	tb.open("/jobs", http.StatusOK)
	tb.fill("Search", "films")
	tb.click("Show")
	tb.until("what was searched for", `location.search.includes("films")`)
	tb.see("Canceled", "icloud:Films")
}
