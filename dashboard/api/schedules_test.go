package api

import (
	"fmt"
	"strings"
	"testing"
)

func TestSchedules(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	body := fmt.Sprintf(`{"name":"nightly","when":{"every":"day","zone":"Europe/Berlin"},"options":{"source":[%q],"destination":[%q]}}`, w.src, w.dst)
	steps := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/schedules", "", 200, `"schedules":[]`},
		{"POST", "/schedules", body, 200, `"words":"every day at 03:00 (Europe/Berlin)"`},
		{"POST", "/schedules", body, 200, `"upcoming":["20`},
		{"POST", "/schedules", strings.Replace(body, "day", "week", 1), 409, "already"},
		{"POST", "/schedules", strings.Replace(body, "Europe/Berlin", "Berlin", 1), 422, "did you mean Europe/Berlin?"},
		{"POST", "/schedules", strings.Replace(body, "nightly", "../x", 1), 422, "a-z"},
		{"POST", "/schedules", strings.Replace(body, `"source"`, `"sauce"`, 1), 422, "sauce"},
		{"POST", "/schedules", `{"name":"x","when":{},"options":{"scrub":["all"]}}`, 422, "nothing says when it runs"},
		{"POST", "/schedules", `{"name":"x","when":{"every":"day"},"options":{}}`, 422, "nothing says what it does"},
		{"POST", "/schedules", `{"name":"room","when":{"cron":"0 3 * * *"},"options":{"free":["icloud:"],"to":["dropbox:A"],"target":["20GiB"]}}`, 422, "icloud"},
		{"GET", "/schedules/nightly", "", 200, `"kind":"move"`},
		{"GET", "/schedules/other", "", 404, "no such schedule"},
		{"POST", "/schedules/nightly/pause", "", 200, `"paused":true`},
		{"POST", "/schedules/nightly/resume", "", 200, `"paused":false`},
		{"POST", "/schedules/nightly/run", "", 200, `"trigger":"hand"`},
		{"POST", "/schedules/nightly/run", "", 409, "hasn't ended"},
		{"POST", "/schedules/other/run", "", 404, "no such schedule"},
		{"DELETE", "/schedules/nightly", "", 204, ""},
		{"DELETE", "/schedules/nightly", "", 404, "no such schedule"},
	}
	for _, s := range steps {
		a := w.ask(s.method, "/api/v1"+s.path, s.body)
		if a.status != s.status || !strings.Contains(a.body, s.want) {
			t.Errorf("%s %s %s: %d %s, want %d with %q", s.method, s.path, s.body, a.status, a.body, s.status, s.want)
		}
	}
}
