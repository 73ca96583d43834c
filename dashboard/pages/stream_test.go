package pages

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/internal/jobstest"
	"offload/jobs"
)

// viewer is a browser that follows a page.
type follower struct {
	t     *testing.T
	parts chan map[string]string
	end   chan struct{}
}

// follow opens a stream of the pages, as somebody.
func (w *world) follow(t *testing.T, srv *httptest.Server, path string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", srv.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("stream %s: %s %v", path, a.Status, a.Header)
	}
	f := &follower{t, make(chan map[string]string, 1000), make(chan struct{})}
	go func() {
		defer close(f.end)
		lines := bufio.NewScanner(a.Body)
		lines.Buffer(nil, 1<<22)
		for lines.Scan() {
			text, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var parts map[string]string
			if err := json.Unmarshal([]byte(text), &parts); err != nil {
				t.Errorf("stream %s sends %q: %v", path, text, err)
			}
			f.parts <- parts
		}
	}()
	t.Cleanup(func() { cancel(); <-f.end; _ = a.Body.Close() })
	return f
}

// sees waits until a part holds a text.
func (f *follower) sees(id, text string) {
	f.t.Helper()
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	last := ""
	for {
		select {
		case parts := <-f.parts:
			html, ok := parts[id]
			for id, one := range parts {
				if id != "title" { // which is text, not markup
					safe(f.t, one)
				}
			}
			if ok {
				last = html
			}
			if ok && strings.Contains(html, text) {
				return
			}
		case <-f.end:
			f.t.Fatalf("the stream ended before %s held %q, last: %s", id, text, last)
		case <-end.C:
			f.t.Fatalf("%s never held %q, last: %s", id, text, last)
		}
	}
}

// served are the pages behind a real server.
func (w *world) served(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
		w.pages.ServeHTTP(a, r.WithContext(guard.As(r.Context(), w.who)))
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		w.pages.rooms.end.Wait()
	})
	return srv
}

func TestLivePages(t *testing.T) {
	w := newWorld(t)
	w.put(1000, "one.txt", "two.txt")
	srv := w.served(t)
	home := w.follow(t, srv, "/events?page=home")
	home.sees("headline", "Nothing has been offloaded yet.")
	j := w.order(func(o *jobs.Order) { o.Label = `<img src=x onerror=alert(1)>` })
	home.sees("running", "card-"+j.ID)
	one := w.follow(t, srv, "/events?page=job&id="+j.ID)
	one.sees("jobhead", "Queued")
	list := w.follow(t, srv, "/events?page=jobs")
	list.sees("state-"+j.ID, "Queued")
	defer w.worker()()
	one.sees("jobhead", "Completed")
	list.sees("state-"+j.ID, "Completed")
	home.sees("headline", "Everything that was ordered is done.")
	home.sees("recent", j.ID)
	w.pages.rooms.mu.Lock()
	n := len(w.pages.rooms.all)
	w.pages.rooms.mu.Unlock()
	if n != 3 {
		t.Errorf("%d rooms are open, want 3", n)
	}
}

func TestRemovedJobIsTold(t *testing.T) {
	w := newWorld(t)
	w.put(10, "one.txt")
	j := w.order(nil)
	f := w.follow(t, w.served(t), "/events?page=job&id="+j.ID)
	f.sees("jobhead", "Queued")
	if _, err := w.svc.Cancel(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	f.sees("jobhead", "Canceled")
	if err := w.svc.Remove(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	f.sees("away", "This job was removed")
}

// However many look, a page's parts are made once.
func TestRoomIsShared(t *testing.T) {
	p := bare(t)
	var made, publishes atomic.Int64
	step := make(chan string)
	f := func(ctx context.Context, _ topic, publish func([]fragment)) error {
		made.Add(1)
		for {
			select {
			case <-ctx.Done():
				return nil
			case text := <-step:
				publish([]fragment{{ID: "a", Text: text}, {ID: "b", Text: "same"}, {ID: "c", Text: text, Key: "kept"}})
				publishes.Add(1)
			}
		}
	}
	const viewers = 200
	var gone sync.WaitGroup
	rooms := make([]*room, viewers)
	leaves := make([]func(), viewers)
	for i := range viewers {
		rooms[i], leaves[i] = p.enter(t.Context(), topic{page: "home"}, f)
	}
	step <- "one"
	step <- "two"
	jobstest.Until(t, "both were published", func() bool { return publishes.Load() == 2 })
	for i, rm := range rooms {
		if parts, _, _, _ := rm.since(0); parts["a"] != "two" || parts["b"] != "same" || parts["c"] != "two" {
			t.Fatalf("viewer %d sees %v", i, parts)
		}
		if parts, _, _, _ := rm.since(1); len(parts) != 1 || parts["a"] != "two" {
			t.Fatalf("viewer %d is sent %v again", i, parts)
		}
	}
	if _, leave := p.enter(t.Context(), topic{page: "home", operator: true}, f); made.Load() > 2 {
		t.Errorf("%d feeds", made.Load())
	} else {
		leave()
	}
	for _, leave := range leaves {
		gone.Go(leave)
	}
	gone.Wait()
	p.rooms.end.Wait() // all feeds have ended
	if len(p.rooms.all) != 0 {
		t.Errorf("%d rooms are left", len(p.rooms.all))
	}
	if n := made.Load(); n != 2 {
		t.Errorf("%d feeds were begun for %d viewers of one page and an operator, want 2", n, viewers)
	}
}

func TestKept(t *testing.T) {
	k, asked := newKept[int](time.Hour), 0
	ask := func(context.Context) (int, error) { asked++; return asked, nil }
	for range 3 {
		if n, err := k.get(t.Context(), "a", ask); n != 1 || err != nil {
			t.Errorf("%d %v", n, err)
		}
	}
	k.drop("a")
	if n, _ := k.get(t.Context(), "a", ask); n != 2 {
		t.Errorf("after it was dropped: %d", n)
	}
	for i := range keptMost + 1 {
		_, _ = k.get(t.Context(), fmt.Sprint(i), ask)
	}
	if len(k.all) > keptMost {
		t.Errorf("%d are kept", len(k.all))
	}
	old := newKept[int](0)
	_, _ = old.get(t.Context(), "a", ask)
	if n, err := old.get(t.Context(), "a", func(context.Context) (int, error) { return 0, context.Canceled }); n == 0 || err == nil {
		t.Errorf("after an error: %d %v, want the answer of before", n, err)
	}
}

// Who has just paused a job mustn't be shown that it runs, be it for a second.
func TestNobodyIsToldWhatWasBefore(t *testing.T) {
	w := newWorld(t)
	w.put(10, "one.txt")
	j := w.order(nil)
	srv := w.served(t)
	other := w.follow(t, srv, "/events?page=job&id="+j.ID)
	other.sees("jobhead", "Queued")
	w.post("/jobs/"+j.ID+"/pause", nil)
	f := w.follow(t, srv, "/events?page=job&id="+j.ID)
	if first := <-f.parts; !strings.Contains(first["jobhead"], "Paused") || !strings.Contains(first["actions"], "Resume job") {
		t.Errorf("the first that is told is %s %s", first["jobhead"], first["actions"])
	}
	list := w.follow(t, srv, "/events?page=jobs")
	if first := <-list.parts; !strings.Contains(first["state-"+j.ID], "Paused") {
		t.Errorf("the first that the list is told is %s", first["state-"+j.ID])
	}
	other.sees("jobhead", "Paused")
}
