package pages

import (
	"encoding/csv"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"offload/dashboard/guard"
	"offload/jobs"
	"offload/transfer"
)

var viewer = guard.Person{Name: "bert", Role: guard.Viewer}

func TestEmptyPages(t *testing.T) {
	w := newWorld(t)
	_, home := w.get("/")
	holds(t, home, "Nothing has been offloaded yet.", "offload enqueue", `data-live="/events?page=home"`, "Sign out")
	lacks(t, home, "Needs attention", "Under way")
	_, list := w.get("/jobs")
	holds(t, list, "There are no jobs yet.", "offload enqueue")
	if code, page := w.get("/jobs/01KB3Q7W5T0000000000000000"); code != 404 {
		t.Errorf("a job that there isn't: %d %s", code, page)
	}
	if code, _ := w.get("/nothing"); code != 404 {
		t.Errorf("a page that there isn't: %d", code)
	}
}

func TestJobFromBeginningToEnd(t *testing.T) {
	w := newWorld(t)
	w.put(1000, "one.txt", "two & <b>.txt", "sub/three.txt")
	j := w.order(func(o *jobs.Order) { o.Label = `<script>alert(1)</script>"><img src=x onerror=alert(2)>` })
	_, home := w.get("/")
	holds(t, home, "1 job can&#39;t go on: no worker is running.", "Queued", "offload worker")
	_, page := w.get("/jobs/" + j.ID)
	holds(t, page, "Pause job", "Cancel job...", "No worker is running", "offload enqueue", "--delete-source verified")
	lacks(t, page, "Danger zone", "Resume job")
	_, page = w.as(viewer).get("/jobs/" + j.ID)
	lacks(t, page, "Pause job", "Cancel job", "<form method=\"post\" action=\"/jobs")

	if code, to := w.post("/jobs/"+j.ID+"/pause", nil); code != 303 || to != "/jobs/"+j.ID+"?note=paused" {
		t.Fatalf("pause: %d %s", code, to)
	}
	_, page = w.get("/jobs/" + j.ID + "?note=paused")
	holds(t, page, "The job is paused.", "Resume job", "Somebody has paused it")
	if code, _ := w.post("/jobs/"+j.ID+"/retry", nil); code != 409 {
		t.Errorf("a paused job is retried: %d", code)
	}
	w.post("/jobs/"+j.ID+"/resume", nil)
	stop := w.worker()
	w.reach(j.ID, jobs.Completed)
	stop()

	_, page = w.get("/jobs/" + j.ID)
	holds(t, page, "Completed", "Every file is where it should be.", "read back and equal (grade B)", "3 files", "deleted at the source", "Danger zone", "Remove job (keeps files)...", ", by anna")
	lacks(t, page, "Pause job", "What wants a look")
	_, files := w.get("/jobs/" + j.ID + "/files")
	holds(t, files, "two &amp; &lt;b&gt;.txt", "sub/three.txt", "deleted at the source")
	_, files = w.get("/jobs/" + j.ID + "/files?q=three&outcome=copied")
	holds(t, files, "sub/three.txt")
	lacks(t, files, "one.txt")
	_, files = w.get("/jobs/" + j.ID + "/files?outcome=failed")
	holds(t, files, "No file is like that.")

	if code, to := w.post("/jobs/"+j.ID+"/remove", nil); code != 303 || to != "/jobs/"+j.ID+"/remove" {
		t.Fatalf("remove: %d %s", code, to)
	}
	_, page = w.get("/jobs/" + j.ID + "/remove")
	holds(t, page, "Type <code>remove</code> to go on")
	if _, to := w.post("/jobs/"+j.ID+"/remove", url.Values{"sure": {"yes"}, "typed": {"no"}}); to != "/jobs/"+j.ID+"/remove?wrong=1" {
		t.Errorf("a word too few removes: %s", to)
	}
	if _, to := w.post("/jobs/"+j.ID+"/remove", url.Values{"sure": {"yes"}, "typed": {"Remove"}}); to != "/jobs?note=removed" {
		t.Errorf("remove: %s", to)
	}
	_, page = w.get("/jobs?note=removed")
	holds(t, page, "No file was touched.", "There are no jobs yet.")
}

func TestTroubles(t *testing.T) {
	w := newWorld(t)
	w.put(10, "kept.txt", "fine.txt")
	if err := os.MkdirAll(w.dst, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dst, "kept.txt"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	j := w.order(func(o *jobs.Order) { o.Conflict = transfer.ConflictSkip })
	defer w.worker()()
	w.reach(j.ID, jobs.Completed, jobs.CompletedW)
	_, page := w.get("/jobs/" + j.ID)
	holds(t, page, "What wants a look", "1 file kept at the source", "conflict_kept", "Use --conflict rename", "outcome=skipped")
	_, files := w.get("/jobs/" + j.ID + "/files?code=conflict_kept")
	holds(t, files, "kept.txt", "kept at the source")
	lacks(t, files, "fine.txt")
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	w.put(10, "=cmd.txt", "a,b\"c.txt", "plain.txt")
	j := w.order(nil)
	_, before := w.get("/jobs/" + j.ID + "/files.json")
	if strings.TrimSpace(before) != "[]" {
		t.Errorf("no files as JSON: %q", before)
	}
	defer w.worker()()
	w.reach(j.ID, jobs.Completed)
	_, text := w.get("/jobs/" + j.ID + "/files.csv")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 4 || strings.Join(rows[0][:5], " ") != "path destination size mtime outcome" || rows[1][0] != "'=cmd.txt" || rows[1][4] != "copied" {
		t.Errorf("CSV: %v %q", err, text)
	}
	_, text = w.get("/jobs/" + j.ID + "/files.json?q=PLAIN")
	var all []jobs.FileRecord
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 || all[0].Path != "plain.txt" {
		t.Errorf("JSON: %v %s", err, text)
	}
}

func TestBulk(t *testing.T) {
	w := newWorld(t)
	w.put(10, "a.txt")
	var ids []string
	for i := range 3 {
		ids = append(ids, w.order(func(o *jobs.Order) { o.Dest = filepath.Join(w.dst, string(rune('a'+i))) }).ID)
	}
	_, list := w.get("/jobs")
	holds(t, list, ids[0], ids[1], ids[2], `name="id"`, "3 jobs in all")
	_, list = w.as(viewer).get("/jobs")
	lacks(t, list, `name="id"`, "/jobs/bulk\" class=\"row")
	if _, to := w.post("/jobs/bulk", url.Values{"action": {"pause"}, "id": ids[:2], "back": {"/jobs?state=queued&limit=25"}}); to != "/jobs?limit=25&note=paused-n%3A2&state=queued" {
		t.Errorf("pause two: %s", to)
	}
	_, list = w.get("/jobs?state=paused&note=paused-n:2")
	holds(t, list, "Paused: 2 jobs.", ids[0], ids[1])
	lacks(t, list, ids[2])
	_, to := w.post("/jobs/bulk", url.Values{"action": {"cancel"}, "id": ids})
	if !strings.HasPrefix(to, "/jobs/bulk?") {
		t.Fatalf("cancel without asking: %s", to)
	}
	_, page := w.get(to)
	holds(t, page, "Cancel: 3 jobs?", ids[0], ids[2], "canceling can&#39;t")
	if _, to = w.post("/jobs/bulk", url.Values{"action": {"cancel"}, "id": ids, "sure": {"yes"}}); to != "/jobs?note=canceled-n%3A3" {
		t.Errorf("cancel: %s", to)
	}
	for _, id := range ids {
		w.reach(id, jobs.Canceled)
	}
	if _, to = w.post("/jobs/bulk", url.Values{"action": {"resume"}, "id": ids}); to != "/jobs?note=nothing" {
		t.Errorf("resume canceled ones: %s", to)
	}
	if _, to = w.post("/jobs/bulk", url.Values{"action": {"remove"}, "id": ids, "sure": {"yes"}, "typed": {"remove"}}); to != "/jobs?note=removed-n%3A3" {
		t.Errorf("remove: %s", to)
	}
}

func TestBadInput(t *testing.T) {
	w := newWorld(t)
	w.put(10, "a.txt")
	j := w.order(nil)
	other := "01KB3Q7W5T0000000000000000"
	long := strings.Repeat("x", 3000)
	for path, want := range map[string]int{
		"/jobs?state=nosuch": 400, "/jobs?limit=0": 400, "/jobs?limit=-1": 400, "/jobs?limit=9999999999999999999": 400, "/jobs?limit=x": 400,
		"/jobs?q=" + long: 400, "/jobs?q=%ff%fe": 400, "/jobs?cursor=" + long: 400, "/jobs?q=%C3%A4": 200, "/jobs?account=nobody": 200,
		"/jobs/bulk": 400, "/jobs/bulk?action=explode": 400, "/jobs/bulk?action=cancel&id=../x": 400,
		"/jobs/..%2f..%2fetc": 404, "/jobs/x": 404, "/jobs/" + long: 404, "/jobs/" + j.ID + "/explode": 404, "/jobs/" + j.ID + "/pause": 404,
		"/jobs/" + j.ID + "/files?outcome=nosuch": 400, "/jobs/" + j.ID + "/files?source=nosuch": 400, "/jobs/" + j.ID + "/files?q=" + long: 400,
		"/jobs/" + j.ID[:10]: 303, "/jobs/" + other + "/files": 404, "/jobs/" + other + "/files.csv": 404,
		"/events": 404, "/events?page=nosuch": 404, "/events?page=job&id=" + long: 404, "/static/nosuch": 404, "/static/..%2fpages.go": 404,
	} {
		if code, body := w.get(path); code != want {
			t.Errorf("GET %s: %d, want %d: %s", path[:min(80, len(path))], code, want, body[:min(len(body), 300)])
		}
	}
	for _, c := range []struct {
		path string
		form url.Values
		want int
	}{
		{"/jobs/" + other + "/pause", nil, 404},
		{"/jobs/" + j.ID[:10] + "/pause", nil, 404}, // what changes something names the whole ID
		{"/jobs/" + j.ID + "/explode", nil, 404},
		{"/jobs/" + j.ID + "/bandwidth", url.Values{"bwlimit": {"fast"}}, 400},
		{"/jobs/" + j.ID + "/bandwidth", url.Values{"bwlimit": {"-5M"}}, 400},
		{"/jobs/" + j.ID + "/bandwidth", url.Values{"bwlimit": {long}}, 400},
		{"/jobs/" + j.ID + "/bandwidth", url.Values{"bwlimit": {"2M"}}, 303},
		{"/jobs/bulk", url.Values{"action": {"explode"}, "id": {j.ID}}, 400},
		{"/jobs/bulk", url.Values{"action": {"pause"}, "id": {"x"}}, 400},
		{"/jobs/bulk", url.Values{"action": {"pause"}}, 303},
	} {
		if code, to := w.post(c.path, c.form); code != c.want {
			t.Errorf("POST %s %v: %d %s, want %d", c.path, c.form, code, to, c.want)
		}
	}
	for _, back := range []string{"//evil.example/", "https://evil.example/jobs", `/\evil.example`, "/jobs/../../x", "javascript:alert(1)", "/login"} {
		if _, to := w.post("/jobs/bulk", url.Values{"action": {"pause"}, "back": {back}}); to != "/jobs?note=none" {
			t.Errorf("back %q leads to %s", back, to)
		}
	}
	if got, err := w.svc.Get(t.Context(), j.ID); err != nil || got.State != jobs.Queued {
		t.Errorf("after all that the job is %v, %v", got.State, err)
	}
}
