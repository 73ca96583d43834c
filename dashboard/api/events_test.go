package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"offload/dashboard/live"
	"offload/jobs"
)

// event is one server-sent event.
type event struct{ name, id, data string }

// follow reads the events of a stream until it closes or heed says that it is enough.
func (w *world) follow(path string, heed func(event) bool, header ...string) (all []event) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != eventStream || res.Header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	var e event
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				all = append(all, e)
				if heed != nil && heed(e) {
					return all
				}
			}
			e = event{}
		}
	}
	return all
}

func TestEventsOfAJob(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.put(fmt.Sprint(i), 1000)
	}
	j := w.make("")
	begun := false
	all := w.follow("/api/v1/jobs/"+j.ID+"/events", func(event) bool {
		if !begun {
			begun = true
			w.worker()
		}
		return false
	}, "Last-Event-ID", "harmless; '\"")
	if len(all) < 2 {
		t.Fatalf("%+v", all)
	}
	var first, last live.LiveJob
	if err := json.Unmarshal([]byte(all[0].data), &first); err != nil || first.ID != j.ID || first.State != jobs.Queued {
		t.Errorf("%v %+v", err, all[0])
	}
	end, before := all[len(all)-1], all[len(all)-2]
	if end.name != "end" || end.data != `{"state":"completed"}` {
		t.Errorf("%+v", end)
	}
	if err := json.Unmarshal([]byte(before.data), &last); err != nil || last.State != jobs.Completed || last.Files.Copied != 20 {
		t.Errorf("%v %+v", err, before)
	}
}

// A job that has ended, or is removed, ends the stream at once.
func TestEventsOfAnEndedJob(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	j := w.make("")
	if _, err := w.svc.Cancel(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	all := w.follow("/api/v1/jobs/"+j.ID+"/events", nil)
	if len(all) != 2 || all[0].name != "job" || all[1].data != `{"state":"canceled"}` {
		t.Errorf("%+v", all)
	}
	j = w.make("")
	removed := false
	all = w.follow("/api/v1/jobs/"+j.ID+"/events", func(event) bool {
		if !removed {
			removed = true
			if _, err := w.svc.Cancel(t.Context(), j.ID); err != nil {
				t.Error(err)
			}
			if err := w.svc.Remove(t.Context(), j.ID); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	if end := all[len(all)-1]; end.name != "end" || end.data != `{"state":"removed"}` {
		t.Errorf("%+v", all)
	}
}

func TestEventsOfAll(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	made := jobs.Job{}
	n := 0
	all := w.follow("/api/v1/events", func(e event) bool {
		if n++; n == 1 {
			made = w.make("")
		}
		return strings.Contains(e.data, `"live":[{"id":"`) || n > 10
	})
	var o live.Overview
	if err := json.Unmarshal([]byte(all[len(all)-1].data), &o); err != nil || len(o.Live) != 1 || o.Live[0].ID != made.ID || o.Counts[jobs.Queued] != 1 {
		t.Errorf("%v %+v", err, o)
	}
	if all[0].id == "" || all[0].id == all[len(all)-1].id {
		t.Errorf("ids %s and %s", all[0].id, all[len(all)-1].id)
	}
}
