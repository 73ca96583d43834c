package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// The pages of what keeps room free, with everything in them: schedules of each kind, files that were offloaded, a job on hold.
func TestPagesOfRoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.account.SetStorage(5<<30, 3<<30, 1<<30, 300<<20)
	for i := range 8 {
		h.put(fmt.Sprintf("Documents/Taxes/Return %d.pdf", 2018+i), int64(20_000+i*977))
	}
	h.put("Documents/"+endless(), 3000)
	h.put("Photos/held.raw", 30_000)
	url := h.serve("up")
	inspect(t, url, []sight{
		{"schedules none", "/schedules", http.StatusOK, []string{"Schedules"}},
		{"where nothing", "/where", http.StatusOK, nil},
	})
	at := farOff()
	hours := fmt.Sprintf("%d,%d", time.Now().Add(12*time.Hour).Hour(), time.Now().Add(13*time.Hour).Hour())
	h.say(0, "", "schedules", "add", "keep-room", "--free", "icloud:", "--to", "dropbox:Archive", "--target", "1GiB", "--every", "day", "--at", at,
		"--zone", "Europe/Berlin")
	h.say(0, "", "schedules", "add", strings.Repeat("long-name", 7), "icloud:Photos", "dropbox:Backup/"+strings.Repeat("Photos", 9), "--cron", "*/5 "+hours+" 1-7 * mon")
	h.say(0, "", "schedules", "add", "check", "--scrub", "all", "--every", "month", "--on", "last", "--at", "04:30")
	h.say(0, "", "schedules", "pause", "check")
	moved := h.say(0, "", "enqueue", "icloud:Documents", "dropbox:Backup", "--delete-source", "verified")
	h.await(moved, "the job to end", func(j job) bool { return strings.HasPrefix(j.State, "completed") })
	held := h.say(0, "", "enqueue", "icloud:Photos", "dropbox:Backup", "--delete-source", "verified", "--hold", "7d")
	h.await(held, "the job to hold", func(j job) bool { return j.Reason == "hold" })
	inspect(t, url, []sight{
		{"schedules", "/schedules", http.StatusOK, []string{"keep-room", at, "Europe/Berlin"}},
		{"where", "/where?q=return", http.StatusOK, []string{"Return 2018.pdf"}},
		{"where long", "/where?q=very", http.StatusOK, []string{"Verylong"}},
		{"where none", "/where?q=nothing+of+the+kind", http.StatusOK, nil},
		{"job moved", "/jobs/" + moved, http.StatusOK, nil},
		{"job held", "/jobs/" + held, http.StatusOK, nil},
		{"home with holds", "/", http.StatusOK, nil},
	})
}

// What was offloaded is brought back from the page of its job, and holds are ended from theirs, each after a question.
func TestWayBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	for i := range 3 {
		h.put(fmt.Sprintf("Documents/Return %d.pdf", 2018+i), 20_000)
	}
	h.put("Photos/kept.raw", 30_000)
	h.put("Films/released.mov", 40_000)
	url := h.serve("up")
	order := func(source string, more ...string) string {
		return h.say(0, "", append([]string{"enqueue", "icloud:" + source, "dropbox:Backup/" + source, "--delete-source", "verified"}, more...)...)
	}
	done := func(id string, deleted int64) {
		t.Helper()
		if j := h.await(id, "the job to be done", func(j job) bool { return j.State == "completed" }); j.Files.Deleted != deleted {
			t.Errorf("%d files were deleted at the source, want %d", j.Files.Deleted, deleted)
		}
	}
	moved, kept, released := order("Documents"), order("Photos", "--hold", "7d"), order("Films", "--hold", "7d")
	done(moved, 3)
	tb := openTab(t, url, "")
	end := func(id, button, not string, deleted int64) {
		t.Helper()
		h.await(id, "the job to hold", func(j job) bool { return j.Reason == "hold" })
		tb.open("/jobs/"+id, http.StatusOK)
		tb.click(button + "...")
		tb.see("Back, change nothing")
		tb.lacks(not)
		tb.look("hold " + button)
		if j := h.job(id); j.Reason != "hold" {
			t.Errorf("looking at the question has ended the hold: %+v", j)
		}
		tb.click(button)
		done(id, deleted)
	}
	end(kept, "Keep the files", "Delete now", 0)
	end(released, "Delete now", "Keep the files", 1)
	for path, want := range map[string]bool{"Photos/kept.raw": true, "Films/released.mov": false, "Documents/Return 2019.pdf": false} {
		if _, there := h.account.Lookup(path); there != want {
			t.Errorf("%s at iCloud: %v, want %v", path, there, want)
		}
	}

	tb.open("/jobs/"+moved, http.StatusOK)
	tb.click("Bring files back...")
	tb.see("From the trash", "3 files", "Nothing is replaced")
	tb.look("restore preview")
	tb.click("Bring 3 files back")
	tb.until("the page of the restore", `location.pathname.startsWith("/jobs/") && !location.pathname.includes("`+moved+`")`)
	tb.until("the restore to be done", `document.body.innerText.includes("Completed")`)
	tb.look("job restore")
	for i := range 3 {
		if content, _ := h.account.Get(fmt.Sprintf("Documents/Return %d.pdf", 2018+i)); len(content) != 20_000 {
			t.Errorf("file %d has %d bytes at iCloud after the restore", i, len(content))
		}
	}
}
