package cloudtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// maxArg is the most that an argument may have in bytes.
const maxArg = 8 << 20

// dropboxCall is one call of a route.
type dropboxCall struct {
	rw    http.ResponseWriter
	r     *http.Request
	route dropboxRoute
	arg   []byte
	late  bool // another commit was in flight when this one came
}

// sent says that a route has written its answer itself.
type sent struct{}

// serve answers one call: its form, its token, its turn among the commits, then the route itself.
func (d *Dropbox) serve(rw http.ResponseWriter, r *http.Request, route dropboxRoute) {
	c := &dropboxCall{rw: rw, r: r, route: route}
	result, err := d.run(c)
	if err != nil {
		drainBody(r) // else a client that still sends finds a closed connection, not the answer
		sendError(rw, err)
		return
	}
	if _, ok := result.(sent); ok {
		return
	}
	answer(rw, http.StatusOK, http.Header{"Content-Type": {"application/json"}}, string(asJSON(result)))
}

// run does what serve says, up to the answer.
func (d *Dropbox) run(c *dropboxCall) (any, error) {
	if err := d.admit(c); err != nil {
		return nil, err
	}
	if err := d.transport(c.route); err != nil {
		return nil, err
	}
	if !c.route.write {
		return c.route.run(c)
	}
	leave, err := d.enter(c)
	if err != nil {
		return nil, err
	}
	defer leave()
	if c.route.commit && !d.w.wait(c.r.Context(), d.w.opt.Latency.Commit) {
		panic(http.ErrAbortHandler)
	}
	return c.route.run(c)
}

// admit checks the form of a request and its token, and reads its argument.
func (d *Dropbox) admit(c *dropboxCall) error {
	name, r := c.route.path, c.r
	if r.Method != http.MethodPost {
		return badInput(name, "Bad HTTP method %q.", r.Method)
	}
	if c.route.host != dropboxNotify {
		if err := d.authorized(name, r.Header.Get("Authorization")); err != nil {
			return err
		}
	}
	if root := r.Header.Get("Dropbox-API-Path-Root"); root != "" && !strings.Contains(root, `"`+dropboxNamespace+`"`) {
		return &dropboxError{status: http.StatusUnprocessableEntity, body: errorBody(tag("no_permission"))}
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if c.route.host == dropboxContent {
		if kind != "application/octet-stream" && (c.route.upload || kind != "" && kind != "text/plain") {
			return badInput(name, "Bad HTTP %q header: %q. Expecting one of \"application/octet-stream\".", "Content-Type", kind)
		}
		c.arg = []byte(r.Header.Get("Dropbox-API-Arg"))
		d.mu.Lock()
		raw := d.rawHeaders
		d.mu.Unlock()
		if !raw && bytes.IndexFunc(c.arg, func(r rune) bool { return r > 0x7e }) >= 0 {
			return badInput(name, `HTTP header "Dropbox-API-Arg": could not decode input as JSON`)
		}
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxArg))
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	if c.arg = body; len(body) > 0 && kind != "application/json" {
		return badInput(name, "Bad HTTP %q header: %q. Expecting one of \"application/json\", \"application/json; charset=utf-8\".", "Content-Type", kind)
	}
	return nil
}

// decode reads the argument of a call. Unknown fields and wrong types are refused, as Dropbox does.
func (c *dropboxCall) decode(arg any) error {
	dec := json.NewDecoder(bytes.NewReader(c.arg))
	dec.DisallowUnknownFields()
	if err := dec.Decode(arg); err != nil {
		return badInput(c.route.path, "request body: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if dec.More() {
		return badInput(c.route.path, "request body: could not decode input as JSON")
	}
	return nil
}

// enter gives a write its turn, or refuses it, and counts how many are in flight.
func (d *Dropbox) enter(c *dropboxCall) (leave func(), err error) {
	d.mu.Lock()
	mode, writing, committing := d.overlap, d.count.writing, d.count.committing
	d.count.writing++
	if c.route.commit {
		d.count.committing++
		d.count.maxCommitting = max(d.count.maxCommitting, d.count.committing)
	}
	refuse := mode == OverlapWrites && writing > 0 || mode != OverlapFree && c.route.commit && committing > 0
	if refuse {
		d.count.overlapped++
	}
	d.mu.Unlock()
	leave = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.count.writing--
		if c.route.commit {
			d.count.committing--
		}
	}
	if refuse && (mode != OverlapEntries || c.route.name != "finish_batch_v2") {
		leave()
		return nil, d.busy("too_many_write_operations")
	}
	c.late = refuse
	return leave, nil
}
