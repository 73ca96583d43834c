package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"offload/dashboard/guard"
)

// How the streams of live pages behave.
const (
	beatEvery  = 15 * time.Second // a stream says at least so often that it is there
	writeTime  = 10 * time.Second // a browser that takes nothing for so long has gone
	retryAfter = 3000             // ms after which a browser asks again
	fullAfter  = 120_000          // the same where too many follow already
)

// fragment is a part of a page that is replaced when it changes: what is inside of the element with the ID.
type fragment struct {
	ID    string
	Block string // of the page's template; "" for plain text
	Text  string // where there is no block
	Data  any
	Key   string // where it isn't "", the fragment changes only with it, not with what is inside
}

// topic is what a stream is about: a page, for some a thing on it, and whether it is for somebody who may change things.
// All who watch the same share one room.
type topic struct {
	page, id string
	operator bool
}

// feed makes the fragments of a topic, one lot after the other, each when there is something new. It ends with ctx.
type feed func(ctx context.Context, t topic, publish func([]fragment)) error

// room makes the fragments of one topic for all who watch it: once for all of them.
type room struct {
	cancel   context.CancelFunc
	watchers int // guarded by rooms.mu

	mu      sync.Mutex
	parts   map[string]part
	version int           // of the newest part
	changed chan struct{} // closed when there is something newer
	over    bool          // nothing more will come
}

// part is a fragment as it was rendered last.
type part struct {
	html, key string
	version   int
}

// rooms are those that somebody is in.
type rooms struct {
	mu  sync.Mutex
	all map[topic]*room
	end sync.WaitGroup
}

func newRooms() *rooms { return &rooms{all: map[topic]*room{}} }

// enter returns the room of a topic, which begins with the first who enters; leave must be called.
func (p *Pages) enter(ctx context.Context, t topic, f feed) (rm *room, leave func()) {
	p.rooms.mu.Lock()
	defer p.rooms.mu.Unlock()
	rm = p.rooms.all[t]
	if rm == nil {
		// It goes on while anybody watches, however long the first one stays.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		rm = &room{cancel: cancel, parts: map[string]part{}, changed: make(chan struct{})}
		p.rooms.all[t] = rm
		p.rooms.end.Go(func() {
			err := f(ctx, t, func(all []fragment) { p.publish(rm, t, all) })
			if err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("keep a page up to date", "page", t.page, "id", t.id, "error", err)
			}
			p.close(t, rm)
		})
	}
	rm.watchers++
	return rm, func() {
		p.rooms.mu.Lock()
		defer p.rooms.mu.Unlock()
		if rm.watchers--; rm.watchers == 0 {
			rm.cancel()
			if p.rooms.all[t] == rm {
				delete(p.rooms.all, t)
			}
		}
	}
}

// close ends a room whose feed has ended: who is in it is sent home, and who comes later opens another.
func (p *Pages) close(t topic, rm *room) {
	p.rooms.mu.Lock()
	if p.rooms.all[t] == rm {
		delete(p.rooms.all, t)
	}
	p.rooms.mu.Unlock()
	rm.mu.Lock()
	defer rm.mu.Unlock()
	rm.over = true
	close(rm.changed)
	rm.changed = make(chan struct{})
}

// publish renders fragments and tells those who watch which have changed.
func (p *Pages) publish(rm *room, t topic, all []fragment) {
	made := make(map[string]part, len(all))
	for _, f := range all {
		html, err := p.draw(t, f)
		if err != nil {
			p.cfg.Log.Error("draw a part of a page", "page", t.page, "part", f.ID, "error", err)
			continue
		}
		key := f.Key
		if key == "" {
			key = html
		}
		made[f.ID] = part{html: html, key: key}
	}
	rm.mu.Lock()
	defer rm.mu.Unlock()
	next := rm.version + 1
	for id, m := range made {
		old, ok := rm.parts[id]
		m.version = old.version
		if !ok || old.key != m.key {
			m.version, rm.version = next, next
		}
		rm.parts[id] = m // with a key of its own: newer inside, but not worth sending
	}
	for id := range rm.parts {
		if _, ok := made[id]; !ok {
			delete(rm.parts, id)
		}
	}
	if rm.version == next {
		close(rm.changed)
		rm.changed = make(chan struct{})
	}
}

// draw renders a fragment.
func (p *Pages) draw(t topic, f fragment) (string, error) {
	if f.Block == "" {
		return f.Text, nil
	}
	view := p.views[t.page]
	if view == nil {
		return "", fmt.Errorf("there is no page %s", t.page)
	}
	fr := &frame{Nav: t.page, Operator: t.operator, Data: f.Data}
	if d, ok := f.Data.(framer); ok {
		d.frame(fr)
	}
	var b bytes.Buffer
	err := view.ExecuteTemplate(&b, f.Block, fr)
	return b.String(), err
}

// since returns the parts that are newer than a version, that version, and what tells of more.
func (rm *room) since(version int) (parts map[string]string, now int, changed <-chan struct{}, over bool) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	for id, one := range rm.parts {
		if one.version > version {
			if parts == nil {
				parts = map[string]string{}
			}
			parts[id] = one.html
		}
	}
	return parts, rm.version, rm.changed, rm.over
}

func (p *Pages) routesEvents(mux *http.ServeMux) {
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		t := topic{page: q.Get("page"), id: q.Get("id"), operator: guard.Who(r.Context()).Role >= guard.Operator}
		f := p.feeds()[t.page]
		if t.page != "job" {
			t.id = "" // else each one would have a room of its own
		}
		if f == nil || t.page == "job" && !wholeID(t.id) { // each beginning of an ID would have a room of its own, too
			p.fail(w, r, http.StatusNotFound, "There is no such stream", "Pages ask for theirs by themselves.")
			return
		}
		leave, ok := p.cfg.Crowd.Enter(r.Context(), r.RemoteAddr)
		if !ok {
			p.cfg.Log.Info("too many pages are followed live: one more isn't", "page", t.page, "person", guard.Who(r.Context()).Name)
			full(w)
			return
		}
		defer leave()
		p.stream(w, r, t, f)
	})
}

// full says that the page isn't followed, as an event: a script can't see the status of a stream that is refused, and would take
// it for a connection that is lost.
func full(w http.ResponseWriter) {
	streams(w)
	_, _ = fmt.Fprintf(w, "retry: %d\nevent: full\ndata: %[1]d\n\n", fullAfter) // who has gone has nobody to tell
}

// streams begins an answer that is a stream.
func streams(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy mustn't gather what is to be seen now
	w.WriteHeader(http.StatusOK)
}

// stream sends a topic's fragments as they change until the browser goes, the dashboard ends, or the session is to be looked at
// anew.
func (p *Pages) stream(w http.ResponseWriter, r *http.Request, t topic, f feed) {
	out := http.NewResponseController(w)
	send := func(text []byte) bool {
		_ = out.SetWriteDeadline(time.Now().Add(writeTime)) // a writer without deadlines is as good as it gets
		_, err := w.Write(text)
		return err == nil && out.Flush() == nil
	}
	streams(w)
	if !send(fmt.Appendf(nil, "retry: %d\n\n", retryAfter)) {
		return
	}
	rm, leave := p.enter(r.Context(), t, f)
	defer leave()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	end := time.NewTimer(p.follow)
	defer end.Stop()
	for version := 0; ; {
		parts, now, changed, over := rm.since(version)
		if version = now; len(parts) > 0 {
			text, err := json.Marshal(parts)
			if err != nil {
				p.cfg.Log.Error("write the parts of a page", "page", t.page, "error", err)
				return
			}
			if !send(fmt.Appendf(nil, "data: %s\n\n", text)) {
				return
			}
		}
		if over {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			return
		case <-changed:
		case <-beat.C:
			if !send([]byte(":\n\n")) {
				return
			}
		}
	}
}
