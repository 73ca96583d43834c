package pages

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"offload/jobs"
)

// A bandwidth that is refused leaves its form open, with what was written and what is wrong with it.
func TestRefusedBandwidthKeepsItsForm(t *testing.T) {
	w := newWorld(t)
	w.put(10, "a.txt")
	j := w.order(nil)
	send := func(spec string) (int, string) {
		r := httptest.NewRequest("POST", "/jobs/"+j.ID+"/bandwidth", strings.NewReader(url.Values{"bwlimit": {spec}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		code, body, _ := w.ask(r)
		safe(t, body)
		return code, body
	}
	for spec, says := range map[string]string{"fast": "&#34;fast&#34; isn&#39;t a bandwidth: give bytes a second such as 2M", "-5M": "&#34;-5M&#34; isn&#39;t a bandwidth",
		strings.Repeat("x", 300): "is too long for a bandwidth"} {
		code, body := send(spec)
		if code != 400 {
			t.Errorf("%.20s: status %d", spec, code)
		}
		// The stream's box of that name would take away what was written.
		holds(t, body, says, `<details id="bandwidth" class="card" open>`, `value="`+spec+`"`, `id="bwlimit-error"`, `id="jobstate"`, j.ID)
		lacks(t, body, "be used as bwlimit", `id="danger"`)
	}
	if _, page := w.get("/jobs/" + j.ID); !strings.Contains(page, `id="danger"`) || strings.Contains(page, "bwlimit-error") {
		t.Error("the job's page shows a mistake that nobody made")
	}
	if _, err := w.svc.Do(t.Context(), jobs.VerbCancel, j.ID); err != nil {
		t.Fatal(err)
	}
	w.reach(j.ID, jobs.Canceled)
	if code, body := send("fast"); code != 409 || strings.Contains(body, "bwlimit") {
		t.Errorf("of a job that has ended: %d %s", code, body)
	}
}

// An address that names no place in a list says so, and leads to the beginning of what was chosen.
func TestBadPlaceInAList(t *testing.T) {
	w := newWorld(t)
	w.put(10, "a.txt")
	files := "/jobs/" + w.order(nil).ID + "/files"
	long := strings.Repeat("x", 1000)
	for path, begin := range map[string]string{
		"/jobs?cursor=%22xyz%22": "/jobs", "/jobs?cursor=" + long: "/jobs", "/jobs?state=queued&cursor=!": "/jobs?state=queued",
		files + "?cursor=xyz": files, files + "?outcome=copied&cursor=" + long: files + "?outcome=copied", "/record?cursor=xyz": "/record",
	} {
		code, body := w.get(path)
		if code != 400 {
			t.Errorf("GET %.60s: %d", path, code)
		}
		holds(t, body, "This address of the list can&#39;t be read", `href="`+begin+`">Go to its beginning`)
		lacks(t, body, "can&#39;t be used as", "xyz&#34;")
	}
}
