package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"offload/dashboard/guard"
	"offload/dashboard/live"
)

// eventStream is the type of server-sent events.
const eventStream = "text/event-stream"

// How often a silent stream says that it lives, how long a client is told to wait before it connects again, and how long
// one event may take to be written before a client counts as gone.
const (
	beat      = 15 * time.Second
	retry     = 2 * time.Second
	writeTime = 10 * time.Second
)

// LastSeen is what a browser sends when it connects again. Each event is whole, so that nothing has to be told later.
type LastSeen struct {
	Last string `header:"Last-Event-ID" doc:"what a browser sends when it connects again; not heeded, since each event is the whole state"`
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func (s *server) routesEvents(a huma.API) {
	stream := func(id, path, summary, text string, codes ...int) huma.Operation {
		o := op("state", id, http.MethodGet, path, summary, append(codes, http.StatusTooManyRequests)...)
		o.Metadata = map[string]any{long: true}
		o.Middlewares = huma.Middlewares{s.crowded(a)}
		o.Description = text + " A line that begins with a colon comes every 15 seconds where nothing else does. The stream ends after five minutes: connect again, as browsers do. Whoever reads slowly passes over states in between."
		o.Responses = map[string]*huma.Response{"200": {Description: "Server-sent events", Content: map[string]*huma.MediaType{eventStream: {Schema: &huma.Schema{Type: huma.TypeString}}}}}
		return o
	}
	a.OpenAPI().Components.Schemas.Schema(typeOf[live.LiveJob](), true, "LiveJob")
	a.OpenAPI().Components.Schemas.Schema(typeOf[live.Overview](), true, "Overview")
	huma.Register(a, stream("watchAll", "/events", "Follow everything that is going on",
		"About once a second an event `overview` whose data is an Overview. While the store is away its `away` is true."), s.watchAll)
	huma.Register(a, stream("watchJob", "/jobs/{id}/events", "Follow one job",
		"About once a second, as long as something changes, an event `job` whose data is a LiveJob. When the job has ended, or is gone, an event `end` with the state as its "+
			"data (`{\"state\":\"completed\"}`), and the stream closes. While the store is away an event `away`.", http.StatusNotFound), s.watchJob)
}

// crowded bounds how many streams are followed at once, and for how long each: whoever was signed out meanwhile isn't let in again.
func (s *server) crowded(a huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		leave, ok := s.Crowd.Enter(ctx.Context(), ctx.RemoteAddr())
		if !ok {
			err := huma.WriteErr(a, ctx, http.StatusTooManyRequests, "too many streams are followed at once; close some of them, or try again later")
			_ = err // the client has gone
			return
		}
		defer leave()
		in, cancel := context.WithTimeout(ctx.Context(), guard.StreamTime)
		defer cancel()
		next(huma.WithContext(ctx, in))
	}
}

func (s *server) watchAll(context.Context, *LastSeen) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(c huma.Context) {
		st := newStream(c)
		for seq := uint64(0); ; {
			snap, err := next(c.Context(), st, func(ctx context.Context) *live.Snapshot { return s.Hub.After(ctx, seq) })
			if err != nil {
				return
			}
			seq = snap.Seq
			if st.send("overview", seq, s.sheet.of(snap)) != nil {
				return
			}
		}
	}}, nil
}

func (s *server) watchJob(ctx context.Context, in *struct {
	JobID
	LastSeen
}) (*huma.StreamResponse, error) {
	j, err := s.existing(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		st := newStream(c)
		w := s.Hub.Watch(j.ID)
		defer w.Close()
		var before []byte
		for seq := uint64(0); ; {
			v, err := next(c.Context(), st, func(ctx context.Context) *live.JobView { return w.After(ctx, seq) })
			if err != nil {
				return
			}
			seq = v.Seq
			name, data := jobEvent(v)
			if same := bytes.Equal(before, data); same && !v.Ended() {
				continue
			}
			before = data
			if st.send(name, seq, data) != nil {
				return
			}
			if v.Ended() {
				if err := st.send("end", seq, encode(map[string]string{"state": endState(v)})); err != nil {
					s.Log.Debug("end a stream", "error", err)
				}
				return
			}
		}
	}}, nil
}

// jobEvent is the event that tells of a view.
func jobEvent(v *live.JobView) (name string, data []byte) {
	switch {
	case v.Err != nil && v.Ended():
		return "gone", encode(map[string]string{"id": v.Job.ID})
	case v.Err != nil:
		return "away", encode(map[string]bool{"away": true})
	}
	return "job", encode(live.NewLiveJob(v.Progress))
}

func endState(v *live.JobView) string {
	if v.Err != nil {
		return "removed"
	}
	return string(v.Job.State)
}

// next waits for the next view and keeps the stream alive meanwhile. It fails when the client has gone.
func next[T any](ctx context.Context, st *stream, after func(context.Context) *T) (*T, error) {
	for {
		in, cancel := context.WithTimeout(ctx, beat)
		v := after(in)
		cancel()
		if v != nil {
			return v, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := st.write(": still here\n\n"); err != nil {
			return nil, err
		}
	}
}

// stream writes server-sent events.
type stream struct {
	out  io.Writer
	ctrl *http.ResponseController
}

// newStream begins a stream. What lies between may not keep events back.
func newStream(c huma.Context) *stream {
	_, w := humago.Unwrap(c)
	c.SetHeader("Content-Type", eventStream)
	c.SetHeader("Cache-Control", "no-store")
	c.SetHeader("X-Accel-Buffering", "no")
	st := &stream{w, http.NewResponseController(w)}
	if err := st.write(fmt.Sprintf("retry: %d\n\n", retry.Milliseconds())); err != nil {
		return st // the next event meets the same
	}
	return st
}

// send writes an event; id 0 is none. An error means that the client has gone.
func (s *stream) send(name string, id uint64, data []byte) error {
	var b bytes.Buffer
	if id > 0 {
		fmt.Fprintf(&b, "id: %d\n", id)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, bytes.TrimSpace(data))
	return s.write(b.String())
}

func (s *stream) write(text string) error {
	// Not every writer knows deadlines; without one a client that hangs is found by the server's own means.
	_ = s.ctrl.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := io.WriteString(s.out, text); err != nil {
		return err
	}
	return s.ctrl.Flush()
}

// encode makes JSON of what can't fail: one line.
func encode(v any) []byte {
	var b bytes.Buffer
	if err := plainJSON().Marshal(&b, v); err != nil {
		return []byte(`{}`)
	}
	return b.Bytes()
}

// sheet keeps the JSON of the newest snapshot, which is made once for all viewers.
type sheet struct {
	mu  sync.Mutex
	seq uint64
	raw []byte
}

func (s *sheet) of(snap *live.Snapshot) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq != snap.Seq {
		s.seq, s.raw = snap.Seq, encode(snap.Document())
	}
	return s.raw
}
