package pages

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"offload/dashboard/guard"
	"offload/jobs"
	"offload/transfer"
)

func TestRestoreFromTheJobPage(t *testing.T) {
	w := newWorld(t)
	w.worker()
	w.put(1000, "a.txt", "b.txt")
	j := w.order(nil)
	j = w.reach(j.ID, jobs.Completed, jobs.CompletedW, jobs.FailedState)
	at := "/jobs/" + j.ID
	_, page := w.get(at)
	holds(t, page, "Bring files back...", `href="`+at+`/restore"`)
	viewer := w.as(guard.Person{Name: "otto", Role: guard.Viewer})
	_, page = viewer.get(at)
	lacks(t, page, "Bring files back", at+"/restore")
	if code, _ := viewer.get(at + "/restore"); code != 403 {
		t.Errorf("a viewer is asked: %d", code)
	}
	_, page = w.get(at + "/restore")
	holds(t, page, "Bring 2 files back", "From the destination</dt><dd>2 files, 2.0 KiB", "From the trash</dt><dd>none", "Nothing is replaced")
	once := regexp.MustCompile(`name="once" value="([^"]+)"`).FindStringSubmatch(page)[1]
	w.post(at+"/restore", url.Values{"once": {once}}) // not sure
	viewer.post(at+"/restore", url.Values{"sure": {"yes"}, "once": {once}})
	if all, _, err := w.svc.List(t.Context(), jobs.ListOptions{}); err != nil || len(all) != 1 {
		t.Fatalf("a job was made without a word: %+v, %v", all, err)
	}
	_, to := w.post(at+"/restore", url.Values{"sure": {"yes"}, "once": {once}})
	if _, again := w.post(at+"/restore", url.Values{"sure": {"yes"}, "once": {once}}); again != to { // a double click
		t.Errorf("pressed twice: %s and %s", to, again)
	}
	all, _, err := w.svc.List(t.Context(), jobs.ListOptions{})
	if err != nil || len(all) != 2 || all[0].Kind != jobs.KindRestore || all[0].Of != j.ID {
		t.Fatalf("%+v, %v", all, err)
	}
	back := w.reach(all[0].ID, jobs.Completed, jobs.CompletedW, jobs.FailedState)
	if b, err := os.ReadFile(filepath.Join(j.Source, "a.txt")); err != nil || len(b) != 1000 {
		t.Errorf("not back: %d bytes, %v", len(b), err)
	}
	_, page = w.get("/jobs/" + back.ID)
	holds(t, page, "Every file is back where it was.", "2 files from the destination")
	lacks(t, page, "Bring files back...", "at the source")
	for path, want := range map[string]int{"/jobs/" + back.ID + "/restore": 303, "/jobs/01KB3Q7W5T0000000000000000/restore": 404} {
		if code, _ := w.get(path); code != want {
			t.Errorf("get %s: %d, want %d", path, code, want)
		}
	}
}

func TestRestoredFromTheTrashIsNoTrouble(t *testing.T) {
	j := jobs.Job{Kind: jobs.KindRestore, Files: jobs.Files{Copied: 5, Skipped: 1, Failed: 1}, Grades: jobs.Grades{A: 2, C: 4}}
	words, n, left := restoredFrom(j, []jobs.Trouble{
		{Result: transfer.Failed, Code: transfer.CodeCopyGone, Files: 1}, {Result: transfer.Copied, Code: transfer.CodeFromTrash, Files: 3, Bytes: 3 << 20}})
	if n != 3 || len(left) != 1 || len(words) != 3 || words[0] != "3 files from the trash: 3.0 MiB, put back as they were, without traffic" {
		t.Errorf("%d, %+v, %q", n, left, words)
	}
	if title := troubleOf(j, left[0]).Title; title != "1 file not brought back" {
		t.Error(title)
	}
	v := jobPage{FromTrash: n}
	v.Job = j
	if proofs := v.Proofs(); len(proofs) != 1 {
		t.Errorf("proofs: %q", proofs)
	}
}
