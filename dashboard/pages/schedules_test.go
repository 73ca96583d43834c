package pages

import (
	"net/http"
	"net/url"
	"testing"

	"offload/dashboard/guard"
)

func TestSchedulesPages(t *testing.T) {
	w := newWorld(t)
	_, page := w.get("/schedules")
	holds(t, page, "There are no schedules", `href="/schedules/add"`)
	_, page = w.get("/schedules/add")
	holds(t, page, `value="Europe/Berlin"`, `<option value="America/New_York">`)
	form := url.Values{"name": {"nightly"}, "every": {"day"}, "at": {""}, "zone": {"Europe/Berlin"}, "source": {w.src}, "destination": {w.dst}, "delete-source": {"verified"}}
	change := func(name, value string) url.Values {
		f := url.Values{}
		for k, v := range form {
			f[k] = v
		}
		f.Set(name, value)
		return f
	}
	for _, f := range []url.Values{change("name", "../x"), change("zone", "Berlin"), change("at", "25:00"), change("source", ""), change("cron", "@daily"), change("free", "icloud:"), change("source", "nocloud:")} {
		if code, to := w.post("/schedules/add", f); code != http.StatusUnprocessableEntity || to != "" {
			t.Errorf("%v: %d %s", f, code, to)
		}
	}
	code, to := w.post("/schedules/add", form)
	if code != http.StatusSeeOther || to != "/schedules/of/default/nightly?note=schedule-added" {
		t.Fatalf("%d %s", code, to)
	}
	if code, _ := w.post("/schedules/add", change("at", "04:00")); code != http.StatusUnprocessableEntity {
		t.Errorf("the same name again: %d", code)
	}
	_, page = w.get(to)
	holds(t, page, "The schedule is added", "every day at 03:00 (Europe/Berlin)", "Moves ", "03:00 CE", "None yet")
	_, page = w.get("/schedules")
	holds(t, page, "1 schedule.", "nightly", "No worker is running", "none yet")
	at := "/schedules/of/default/nightly"
	for _, step := range []struct{ verb, want string }{
		{"pause", "It is paused"}, {"resume", "The schedule goes on"}, {"run", "is being begun"},
	} {
		code, to := w.post(at+"/"+step.verb, nil)
		if code != http.StatusSeeOther {
			t.Fatalf("%s: %d", step.verb, code)
		}
		_, page = w.get(to)
		holds(t, page, step.want)
	}
	if code, _ := w.post(at+"/run", nil); code != http.StatusConflict {
		t.Errorf("run twice: %d", code)
	}
	viewer := w.as(guard.Person{Name: "otto", Role: guard.Viewer})
	if code, _ := viewer.post(at+"/remove", nil); code != http.StatusForbidden {
		t.Errorf("a viewer removed it: %d", code)
	}
	_, page = viewer.get(at)
	lacks(t, page, "<button>")
	_, page = w.get(at + "/remove")
	holds(t, page, "Remove the schedule", "no file is touched")
	if code, to := w.post(at+"/remove", nil); code != http.StatusSeeOther || to != "/schedules?note=schedule-removed" {
		t.Errorf("%d %s", code, to)
	}
	for _, path := range []string{at, at + "/remove", "/schedules/of/x/%3Cb%3E"} {
		if code, _ := w.get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := w.post(at+"/explode", nil); code != http.StatusNotFound {
		t.Errorf("an unknown verb: %d", code)
	}
}
