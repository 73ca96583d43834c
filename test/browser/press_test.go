package browser

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"offload/internal/cloudtest"
)

// downloads lets the window keep what it downloads, in a folder that is returned.
func (tb *tab) downloads() string {
	tb.t.Helper()
	dir := tb.t.TempDir()
	tb.forgive("ERR_ABORTED") // the page stays where it is, since a file comes in place of another page
	do(tb, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow,
		DownloadPath: dir, BrowserContextID: chromedp.FromContext(tb.ctx).BrowserContextID})
	return dir
}

// arrived waits for the one file in a folder of downloads whose name ends so, and returns what is in it.
func (tb *tab) arrived(dir, end string) []byte {
	tb.t.Helper()
	var names []string
	eventually(tb.t, patience, func() string { return fmt.Sprintf("a file *%s to arrive, there is %q", end, names) }, func() bool {
		names, _ = filepath.Glob(filepath.Join(dir, "*"+end)) // an unfinished one has another ending
		return len(names) == 1
	})
	text, err := os.ReadFile(names[0])
	if err != nil {
		tb.t.Fatal(err)
	}
	return text
}

// The files of a job are paged through, filtered, and taken home: as a table, as JSON, and with their proof.
func TestFilesTakenHome(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	const letters = 101 // one more than a page shows
	for i := range letters {
		h.put(fmt.Sprintf("Documents/Letter %03d.txt", i), 300)
	}
	url := h.serve("up")
	id := h.say(0, "", "enqueue", "icloud:Documents", "dropbox:Backup", "--delete-source", "verified", "--label", "Letters")
	h.await(id, "the job to be done", func(j job) bool { return j.State == "completed" })
	tb := openTab(t, url, "")
	dir := tb.downloads()
	tb.open("/jobs/"+id+"/files", http.StatusOK)
	tb.until("the first page", `document.querySelectorAll("tbody tr").length === 100`)
	tb.click("More files")
	tb.until("the second page", `document.querySelectorAll("tbody tr").length === 1`)
	tb.click("First page")
	tb.until("the first page again", `document.querySelectorAll("tbody tr").length === 100`)
	tb.fill("Search", "letter 00")
	tb.click("Show")
	tb.until("what was searched for", `document.querySelectorAll("tbody tr").length === 10`)
	tb.click("These as CSV")
	rows, err := csv.NewReader(bytes.NewReader(tb.arrived(dir, "-files.csv"))).ReadAll()
	if err != nil || len(rows) != 11 || rows[0][0] != "path" || !strings.HasPrefix(rows[1][0], "Letter 00") || rows[1][5] != "deleted" {
		t.Errorf("the table has %d rows, %v: %.300q", len(rows), err, rows)
	}
	tb.open("/jobs/"+id, http.StatusOK)
	tb.click("JSON")
	var files []struct {
		Path string
		Size int64
	}
	if err := json.Unmarshal(tb.arrived(dir, "-files.json"), &files); err != nil || len(files) != letters || files[0].Size != 300 {
		t.Errorf("the JSON has %d files, %v", len(files), err)
	}
	tb.click("Manifest")
	packed, err := gzip.NewReader(bytes.NewReader(tb.arrived(dir, ".gz")))
	if err != nil {
		t.Fatalf("the manifest: %v", err)
	}
	text, err := io.ReadAll(packed)
	if n := strings.Count(string(text), "Letter "); err != nil || n < letters {
		t.Errorf("the manifest names %d letters, %v: %.300s", n, err, text)
	}

	tb.click("Check the offloaded files")
	tb.see("Nothing is changed by that")
	tb.until("the page of the check", `location.pathname.startsWith("/jobs/") && !location.pathname.includes("`+id+`")`)
	tb.until("the check to be done", `document.body.innerText.includes("Completed")`)
	tb.look("job scrub")
	tb.open("/quota", http.StatusOK)
	tb.choose("Plan", "unlimited")
	tb.click("Set quota")
	tb.see("The quota is set")
	if said := h.say(0, "", "quota", "show"); !strings.Contains(said, "unlimited") {
		t.Errorf("after the plan was chosen: %s", said)
	}
}

// Jobs are found by account, remote and state, paged through, ordered again with mistakes first, steered, retried and removed.
func TestJobsByHand(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.put("Notes/a.txt", 2000)
	h.put("Films/Summer.mov", 8<<20)
	url := h.serve("up")
	bad := h.play.Fault(cloudtest.Fault{Endpoint: "icloud:download_by_id", Kind: cloudtest.Status, Status: http.StatusNotFound})
	var failed []string
	for _, name := range []string{"First", "Second"} {
		failed = append(failed, h.say(0, "", "enqueue", "icloud:Notes", "dropbox:"+name, "--label", name+" try"))
	}
	for _, id := range failed {
		h.await(id, "the job to end", func(j job) bool {
			return j.Files.Failed == 1 && !strings.HasPrefix(j.State, "transfer") && j.State != "finishing"
		})
	}
	if bad.Count() == 0 {
		t.Error("nothing was refused")
	}
	bad.Remove()
	films := h.say(0, "", "enqueue", "icloud:Films", "dropbox:Films", "--label", "Family films", "--account", "family", "--bwlimit", "16KiB")
	h.await(films, "the job to copy", func(j job) bool { return j.State == "transferring" })
	tb := openTab(t, url, "")
	tb.forgive(`status of 4\d\d`) // what is wrong in a form is answered so
	h.narrow(tb)
	tb.open("/jobs?q=try", http.StatusOK)
	tb.tick("All on this page")
	tb.click("Retry")
	tb.see("Begun again: 2 jobs.")
	for _, id := range failed {
		h.await(id, "what failed to be done", func(j job) bool { return j.State == "completed" && j.Files.Copied == 1 })
	}

	tb.open("/jobs/"+films, http.StatusOK)
	tb.click("Change its bandwidth")
	tb.fill("Bandwidth", "off")
	tb.click("Set bandwidth")
	tb.see("The bandwidth is set.")
	h.await(films, "the job to be done without a limit", func(j job) bool { return j.State == "completed" })
	h.again(tb, failed[0])

	tb.open("/jobs/"+films, http.StatusOK)
	tb.click("Remove job")
	tb.see("Back, change nothing")
	tb.look("job remove")
	tb.fill("Type remove to go on", "yes")
	tb.click("Remove job")
	tb.see("Nothing was changed")
	tb.look("job remove wrong")
	tb.fill("Type remove to go on", "remove")
	tb.click("Remove job")
	tb.see("The job is removed from the list", "First try")
	tb.lacks("Family films")
	if _, there := h.dropbox.Get("/Films/Summer.mov"); !there {
		t.Error("the file of the removed job is gone")
	}
}

// narrow chooses among three jobs: two that were tried, and the family's that runs.
func (h *house) narrow(tb *tab) {
	h.t.Helper()
	tb.open("/jobs?limit=1", http.StatusOK)
	tb.see("Family films")
	tb.lacks("Second try")
	tb.click("Older jobs")
	tb.see("Second try")
	tb.lacks("Family films")
	tb.click("Newest")
	tb.see("Family films")
	for _, by := range []struct{ field, value, shows, hides string }{
		{"Account", "family", "Family films", "First try"},
		{"Remote", "nosuch", "No job is like that", "Family films"},
		{"State", "Running", "Family films", "First try"},
		{"State", "Ended", "First try", "Family films"},
	} {
		tb.open("/jobs", http.StatusOK)
		if by.field == "State" {
			tb.choose(by.field, by.value)
		} else {
			tb.fill(by.field, by.value)
		}
		tb.click("Show")
		tb.until("the list to be narrowed", `location.search.includes("=`+strings.ToLower(by.value)+`")`)
		tb.see(by.shows)
		tb.lacks(by.hides)
	}
	tb.open("/jobs?remote=icloud:", http.StatusOK)
	tb.see("Family films", "First try")
}

// again orders a job again from its page, to a destination that doesn't exist first, and with another folder.
func (h *house) again(tb *tab, id string) {
	h.t.Helper()
	tb.open("/jobs/"+id, http.StatusOK)
	tb.click("Order it again...")
	tb.until("the order to be filled in", `document.querySelector("[name=source]").value === "icloud:Notes"`)
	tb.fill("Destination", "nosuch:Notes")
	tb.click("How it runs")
	tb.fill("Bandwidth", "fast")
	tb.click("Preview")
	tb.see("Nothing was begun")
	tb.look("new wrong")
	tb.fill("Bandwidth", "off")
	tb.fill("Destination", "dropbox:")
	tb.click("Browse folders of the destination")
	tb.see("Choose the destination", "Films")
	tb.look("new folders")
	tb.click("All remotes")
	tb.see("Close")
	tb.look("new remotes")
	tb.click("Close")
	tb.fill("Destination", "dropbox:Third")
	tb.click("Preview")
	tb.see("nothing is begun yet", "Nothing will be deleted")
	tb.click("Begin the transfer")
	tb.until("the page of the new job", `/^\/jobs\/[0-9A-Z]{26}/.test(location.pathname)`)
	tb.until("the new job to be done", `document.body.innerText.includes("Completed")`)
	if _, there := h.dropbox.Get("/Third/a.txt"); !there {
		h.t.Error("the job that was ordered again has copied nothing")
	}
}
