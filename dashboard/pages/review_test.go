package pages

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/jobs"
	"offload/transfer"
)

// Where people sign in, orders name remotes alone.
func TestLocalPathsAreForThisMachine(t *testing.T) {
	w := newWorld(t)
	form := url.Values{"source": {w.src}, "destination": {w.dst}}
	w.pages.cfg.LocalPaths = false
	if code, to := w.post("/new/preview", form); code != 422 || to != "" {
		t.Errorf("local paths: %d %s", code, to)
	}
	w.pages.cfg.LocalPaths = true
	if code, to := w.post("/new/preview", form); code != 303 {
		t.Errorf("local paths where nobody signs in: %d %s", code, to)
	}
	w.pages.Close()
}

// A number confirms nothing where it isn't known how many files will be deleted.
func TestUnknownDeletionIsConfirmedByName(t *testing.T) {
	p := bare(t)
	for _, complete := range []bool{true, false} {
		page := &previewPage{preview: preview{ID: "X", Done: true, Order: jobs.Order{Source: "icloud:A", Dest: "dropbox:B", Options: transfer.Options{DeleteSource: transfer.DeleteComplete}}, Plan: jobs.Plan{Complete: complete}}}
		for typed, want := range map[string]bool{"0": complete, "-1": false, "icloud:A": true} {
			if page.Typed = typed; page.confirms() != want {
				t.Errorf("complete %v: %q confirms: %v", complete, typed, !want)
			}
		}
		a := httptest.NewRecorder()
		p.render(a, httptest.NewRequest("GET", "/", nil), 200, "preview", page)
		const unknown = "How many files it will delete isn"
		if strings.Contains(a.Body.String(), unknown) == complete || strings.Contains(a.Body.String(), "about 0 files") != complete {
			t.Errorf("complete %v: %s", complete, a.Body)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.put(10, "one.txt")
	j := w.order(nil)
	for path, want := range map[string]int{"/events?page=job&id=" + j.ID[:10]: 404, "/events?page=job": 404, "/events?page=job&id=" + strings.Repeat("!", 26): 404,
		"/events?page=nosuch": 404} {
		if code, _ := w.get(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	srv := w.served(t)
	w.follow(t, srv, "/events?page=home&id=1").sees("headline", "")
	w.follow(t, srv, "/events?page=home&id=2").sees("headline", "")
	w.pages.rooms.mu.Lock()
	n := len(w.pages.rooms.all)
	w.pages.rooms.mu.Unlock()
	if n != 1 {
		t.Errorf("%d rooms for one page, want 1", n)
	}
	for full := false; !full; {
		_, ok := w.pages.cfg.Crowd.Enter(guard.As(t.Context(), w.who), "192.0.2.1:1")
		full = !ok
	}
	// A script doesn't see the status of a stream that is refused: the stream itself says why nothing comes.
	r := httptest.NewRequest("GET", "/events?page=home", nil)
	r.RemoteAddr = "192.0.2.1:2"
	code, body, _ := w.ask(r)
	if code != 200 || body != "retry: 120000\nevent: full\ndata: 120000\n\n" {
		t.Errorf("one stream too many: %d %q", code, body)
	}
}

// Who was signed out while a stream was open mustn't follow on.
func TestStreamsEnd(t *testing.T) {
	w := newWorld(t)
	w.pages.follow = time.Millisecond
	one := w.follow(t, w.served(t), "/events?page=home")
	select {
	case <-one.end:
	case <-time.After(30 * time.Second):
		t.Error("the stream doesn't end")
	}
}
