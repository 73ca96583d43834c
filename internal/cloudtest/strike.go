package cloudtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// strike carries a call out, or what the faults make of it, and tells whether one struck.
func (w *World) strike(rw http.ResponseWriter, r *http.Request, p player, ep *endpoint) bool {
	rewind := func() {}
	if !ep.upload {
		rewind = rewindable(r)
	}
	hooks, hit, bit := w.table.find(ep, r, rewind)
	for _, f := range hooks {
		if f.Hook != nil {
			f.Hook(r)
			rewind()
		}
	}
	if ep.content && ep.upload {
		r.Body = &slowBody{ReadCloser: r.Body, w: w, r: r}
	}
	if hit == nil {
		ep.serve(w.paced(rw, r, ep), r)
		return len(hooks) > 0
	}
	switch hit.Kind {
	case Status:
		drainBody(r)
		header, body := p.refusal(ep, hit.Status)
		if hit.Body != "" {
			body = hit.Body
		}
		for k, v := range hit.Header {
			if header == nil {
				header = http.Header{}
			}
			header[http.CanonicalHeaderKey(k)] = v
		}
		answer(rw, hit.Status, header, body)
	case Drop:
		panic(http.ErrAbortHandler)
	case Hang:
		drainBody(r) // the client's leaving is noticed only once its request was read
		select {
		case <-r.Context().Done():
		case <-w.done:
		}
		panic(http.ErrAbortHandler)
	case Lost:
		ep.serve(newRecord(), r)
		panic(http.ErrAbortHandler)
	case Cut:
		w.cut(rw, r, ep, hit)
	case Empty, Short, Flip:
		w.bend(rw, r, ep, hit.Kind, bit)
	}
	return true
}

// rewindable reads the body of a call whole, and returns how to have it read again.
func rewindable(r *http.Request) (rewind func()) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	rewind = func() { r.Body = io.NopCloser(bytes.NewReader(raw)) }
	rewind()
	return rewind
}

// bend answers with something other than what is right.
func (w *World) bend(rw http.ResponseWriter, r *http.Request, ep *endpoint, kind Kind, bit uint64) {
	if kind == Flip && ep.upload {
		r.Body = &flipped{ReadCloser: r.Body, at: int64(bit % max(uint64(max(r.ContentLength, 1)), 1)), mask: 1 << (bit >> 61)}
		ep.serve(w.paced(rw, r, ep), r)
		return
	}
	if kind == Empty {
		body := "{}"
		if answersList(ep) {
			body = "[]"
		}
		drainBody(r)
		answer(rw, http.StatusOK, nil, body)
		return
	}
	if kind == Flip && ep.content {
		ep.serve(&flipper{ResponseWriter: w.paced(rw, r, ep), bit: bit}, r)
		return
	}
	rec := newRecord()
	ep.serve(rec, r)
	body := rec.body.Bytes()
	switch {
	case kind == Flip && len(body) > 0:
		body[bit%uint64(len(body))] ^= 1 << (bit >> 61)
	case kind == Short && ep.short != nil:
		body = ep.short(body)
	case kind == Short:
		body = shorten(body)
	}
	rec.header.Set("Content-Length", strconv.Itoa(len(body)))
	rec.body = *bytes.NewBuffer(body)
	rec.send(w.paced(rw, r, ep))
}

// cut closes the connection in the middle.
func (w *World) cut(rw http.ResponseWriter, r *http.Request, ep *endpoint, f *Fault) {
	drop := func() { panic(http.ErrAbortHandler) }
	if f.Reset {
		drop = func() { reset(r); panic(http.ErrAbortHandler) }
	}
	share := f.CutAt
	if ep.upload {
		_, _ = io.CopyN(io.Discard, r.Body, int64(share*float64(max(r.ContentLength, 0))))
		drop()
	}
	out := &cutter{ResponseWriter: w.paced(rw, r, ep), rw: rw, share: share, drop: drop}
	ep.serve(out, r)
	if !out.known {
		whole := out.kept.Bytes()
		if !ep.content {
			rw.Header().Set("Content-Length", strconv.Itoa(len(whole)))
		}
		_, _ = out.ResponseWriter.Write(whole[:int(share*float64(len(whole)))])
	}
	out.end()
}

// cutter passes a share of an answer on and drops the connection then. It keeps an answer of unknown length whole first.
type cutter struct {
	http.ResponseWriter
	rw    http.ResponseWriter
	share float64
	drop  func() // ends the connection, and the handler with it
	begun bool
	known bool
	left  int64
	kept  bytes.Buffer
}

// Write implements io.Writer.
func (c *cutter) Write(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		if n, err := strconv.ParseInt(c.Header().Get("Content-Length"), 10, 64); err == nil {
			c.known, c.left = true, int64(c.share*float64(n))
		}
	}
	if !c.known {
		return c.kept.Write(p)
	}
	n, err := c.ResponseWriter.Write(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.left == 0 {
		c.end()
	}
	return n, err
}

// WriteHeader implements http.ResponseWriter: an answer that is kept gets its header with its first byte.
func (c *cutter) WriteHeader(status int) {
	if c.Header().Get("Content-Length") != "" {
		c.ResponseWriter.WriteHeader(status)
	}
}

// end sends what was written and drops the connection.
func (c *cutter) end() {
	_ = http.NewResponseController(c.rw).Flush()
	c.drop()
}

// flipper flips one bit of an answer, wherever it lies where the length is known, else in the first piece.
type flipper struct {
	http.ResponseWriter
	bit   uint64
	begun bool
	at    int64 // from here; negative once it is done
}

// Write implements io.Writer.
func (f *flipper) Write(p []byte) (int, error) {
	if !f.begun && len(p) > 0 {
		f.begun, f.at = true, int64(f.bit%uint64(len(p)))
		if n, err := strconv.ParseInt(f.Header().Get("Content-Length"), 10, 64); err == nil && n > 0 {
			f.at = int64(f.bit % uint64(n))
		}
	}
	if f.begun && f.at >= 0 && f.at < int64(len(p)) {
		p = bytes.Clone(p) // it may be what is stored
		p[f.at] ^= 1 << (f.bit >> 61)
	}
	f.at -= int64(len(p))
	return f.ResponseWriter.Write(p)
}

// answersList tells whether an endpoint of iCloud answers with a list rather than an object.
func answersList(ep *endpoint) bool {
	switch ep.name {
	case "icloud:retrieveItemDetailsInFolders", "icloud:retrieveItemDetails", "icloud:lookup_by_path", "icloud:upload_web":
		return true
	}
	return false
}

// shorten takes the second half off the longest list in a JSON document.
func shorten(body []byte) []byte {
	var doc any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if dec.Decode(&doc) != nil {
		return body[:len(body)/2]
	}
	most := 0
	walkLists(doc, func(l []any) []any { most = max(most, len(l)); return l })
	if most == 0 {
		return body
	}
	done := false
	doc = walkLists(doc, func(l []any) []any {
		if done || len(l) != most {
			return l
		}
		done = true
		return l[:most/2]
	})
	out, err := json.Marshal(doc)
	if err != nil {
		return body
	}
	return out
}

// walkLists replaces each list in a document by what f makes of it, the outer ones first.
func walkLists(doc any, f func([]any) []any) any {
	switch v := doc.(type) {
	case []any:
		l := f(v)
		for i := range l {
			l[i] = walkLists(l[i], f)
		}
		return l
	case map[string]any:
		for k := range v {
			v[k] = walkLists(v[k], f)
		}
	}
	return doc
}

// record is an http.ResponseWriter that keeps the answer.
type record struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecord() *record { return &record{header: http.Header{}} }

// Header implements http.ResponseWriter.
func (r *record) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *record) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *record) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// send passes the answer on.
func (r *record) send(rw http.ResponseWriter) {
	for k, v := range r.header {
		rw.Header()[k] = v
	}
	if r.status != 0 {
		rw.WriteHeader(r.status)
	}
	_, _ = rw.Write(r.body.Bytes())
}

// flipped is a body with some bits of one byte flipped.
type flipped struct {
	io.ReadCloser
	at   int64 // where from here
	mask byte
}

// Read implements io.Reader.
func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if f.at >= 0 && f.at < int64(n) {
		p[f.at] ^= f.mask
	}
	f.at -= int64(n)
	return n, err
}

// slice is how many bytes pass at once where the bandwidth is limited.
const slice = 16 << 10

// paced is rw at the world's bandwidth, where the endpoint is one that it limits.
func (w *World) paced(rw http.ResponseWriter, r *http.Request, ep *endpoint) http.ResponseWriter {
	if !ep.content || ep.upload || w.opt.Bandwidth <= 0 {
		return rw
	}
	return &slowWriter{ResponseWriter: rw, w: w, r: r}
}

// spell is how long n bytes take.
func (w *World) spell(n int) time.Duration {
	return time.Duration(float64(n) / float64(w.opt.Bandwidth) * float64(time.Second))
}

type slowWriter struct {
	http.ResponseWriter
	w *World
	r *http.Request
}

// Write implements io.Writer.
func (s *slowWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		part := p[:min(len(p), slice)]
		if !s.w.wait(s.r.Context(), s.w.spell(len(part))) {
			return done, http.ErrAbortHandler
		}
		n, err := s.ResponseWriter.Write(part)
		done += n
		if err != nil {
			return done, err
		}
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		p = p[n:]
	}
	return done, nil
}

type slowBody struct {
	io.ReadCloser
	w *World
	r *http.Request
}

// Read implements io.Reader.
func (s *slowBody) Read(p []byte) (int, error) {
	if s.w.opt.Bandwidth <= 0 {
		return s.ReadCloser.Read(p)
	}
	n, err := s.ReadCloser.Read(p[:min(len(p), slice)])
	if !s.w.wait(s.r.Context(), s.w.spell(n)) {
		return n, http.ErrAbortHandler
	}
	return n, err
}
