package transfer

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/rclone/rclone/fs/fspath"
)

// CallGate is asked before each HTTP request to a remote.
type CallGate interface {
	// Call books one request to a remote, named as its section in rclone's configuration. With an error the request isn't
	// made: one that wraps ErrNoQuota says that the remote's limit is reached, any other that nobody knows. It is called
	// from several goroutines.
	Call(ctx context.Context, remote string) error
}

// CallHook leads the requests of remotes past a gate. An Opener that is to be counted has it as Calls.
type CallHook struct{ gate CallGate }

// InstallCallGate asks g before each request of the remotes that Openers with this hook open. rclone has one hook for
// requests in a process: the gate that was installed last counts, so it is installed once, where the process begins.
//
// It counts what goes through rclone's HTTP clients. Uncounted are remotes that speak another protocol (SFTP, SMB, FTP)
// and, of rclone's own backends, those that share one transport among all remotes (Swift, Proton Drive) and the lists of
// iCloud Photos.
func InstallCallGate(g CallGate) *CallHook {
	h := &CallHook{gate: g}
	fshttp.SetFaultInjector(h.ask)
	return h
}

// Remove lets requests pass uncounted again. The hook stays, since remotes that are still open mark their requests, and
// no server is to see the mark. On nil it does nothing.
func (h *CallHook) Remove() {
	if h != nil {
		fshttp.SetFaultInjector((&CallHook{}).ask)
	}
}

// callMark is the header by which the hook knows whose a request is. rclone puts it into each request of a client that was
// made under marked; the hook takes it out before the request is sent. Its value ends with a character that no header
// may have: a request that missed the hook would be refused by net/http, not sent with the mark.
const (
	callMark    = "X-Offload-Remote"
	callMarkEnd = "\n"
)

// marked returns a context under which rclone's clients mark their requests as those of a remote.
func (h *CallHook) marked(ctx context.Context, remote string) context.Context {
	if h == nil {
		return ctx
	}
	names := sectionsOf(remote)
	if len(names) == 0 {
		return ctx
	}
	// Some backends share one transport, made at its first use: it must not be marked as one of them.
	fshttp.NewTransport(ctx)
	return WithCallMark(ctx, strings.Join(names, callMarkEnd)+callMarkEnd)
}

// CallMark is the mark of the remote that is being opened under ctx, "" for none: for a backend that makes its client, or
// its calls, under another context.
func CallMark(ctx context.Context) string {
	for _, option := range fs.GetConfig(ctx).Headers {
		if option.Key == callMark {
			return option.Value
		}
	}
	return ""
}

// WithCallMark returns a context under which clients are made, and requests are sent, with a mark.
func WithCallMark(ctx context.Context, mark string) context.Context {
	if mark == "" {
		return ctx
	}
	ctx, ci := fs.AddConfig(ctx)
	ci.Headers = append(slices.Clip(ci.Headers), &fs.HTTPOption{Key: callMark, Value: mark})
	return ctx
}

// sectionsOf names the sections of rclone's configuration that requests to a remote go through: its own and, for a remote
// that wraps others (crypt, alias, union), theirs. A limit on either holds. What is given without a section has none.
func sectionsOf(remote string) []string {
	var names []string
	var follow func(remote string)
	follow = func(remote string) {
		p, err := fspath.Parse(remote)
		if err != nil || p.Name == "" || strings.HasPrefix(p.Name, ":") || slices.Contains(names, p.Name) {
			return
		}
		names = append(names, p.Name)
		get := func(key string) string {
			if v, ok := p.Config.Get(key); ok {
				return v
			}
			v, _ := config.LoadedData().GetValue(p.Name, key)
			return v
		}
		if inner := get("remote"); inner != "" {
			follow(inner)
		}
		for _, inner := range strings.Fields(get("upstreams")) {
			if _, after, ok := strings.Cut(inner, "="); ok { // combine: folder=remote
				inner = after
			}
			follow(inner)
		}
	}
	follow(remote)
	return names
}

// callState is what is known of one request on its way; it travels in the request's context.
type callState struct {
	names []string
	sent  atomic.Bool // it was written to a connection; net/http takes another one only to send it again
}

type callStateKey struct{}

// ask is rclone's hook. It books the request for its remote, or refuses it.
func (h *CallHook) ask(req *http.Request) (status int, err error) {
	names := claimed(req)
	if names == nil || h.gate == nil || !counts(req) {
		return 0, nil
	}
	if err := h.book(req.Context(), names); err != nil {
		return 0, err
	}
	h.watch(req, names)
	return 0, nil
}

// claimed takes the mark out of a request, and returns whose it is; nil for nobody's. A redirect to another host comes
// without the header: there the request that led to it tells.
func claimed(req *http.Request) []string {
	mark := req.Header.Get(callMark)
	req.Header.Del(callMark)
	if mark == "" {
		mark = CallMark(req.Context())
	}
	if mark != "" {
		return strings.Split(strings.TrimSuffix(mark, callMarkEnd), callMarkEnd)
	}
	for r := req; r.Response != nil && r.Response.Request != nil; {
		r = r.Response.Request
		if st, ok := r.Context().Value(callStateKey{}).(*callState); ok {
			return st.names
		}
	}
	return nil
}

// book asks the gate for one request of each remote.
func (h *CallHook) book(ctx context.Context, names []string) error {
	for _, name := range names {
		err := h.gate.Call(ctx, name)
		switch {
		case err == nil:
		case errors.Is(err, ErrNoQuota):
			return &callError{text: ErrNoQuota.Error() + ": " + err.Error(), err: fserrors.NoLowLevelRetryError(err)}
		default:
			err = portErr("book a call to "+name, err)
			return &callError{text: err.Error(), err: fserrors.NoLowLevelRetryError(err)}
		}
	}
	return nil
}

// callError is a call that wasn't made, by the gate's word. rclone's pacers don't repeat it. Where the limit is reached its
// text begins with that of ErrNoQuota, by which it is known where a backend keeps no more than the text.
type callError struct {
	text string
	err  error
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.err }

// CallRefused tells whether an error says that a call wasn't made since the gate refused it: nothing was carried out, and
// trying again is no use.
func CallRefused(err error) bool {
	var e *callError
	return errors.As(err, &e) || err != nil && saysNoQuota(err)
}

// saysNoQuota knows a refusal by its text, where a backend kept no more of it.
func saysNoQuota(err error) bool { return strings.Contains(err.Error(), ErrNoQuota.Error()) }

// counts tells whether a request is one of those that a limit of calls is about. Dropbox's limit on teams, its "data
// transport limit", counts uploads only; everybody else counts everything.
func counts(req *http.Request) bool {
	host := strings.ToLower(req.URL.Hostname())
	if !inDomain(host, "dropboxapi.com") && !inDomain(host, "dropbox.com") && !inDomain(host, "dropboxusercontent.com") {
		return true
	}
	switch p := req.URL.Path; {
	case strings.HasPrefix(p, "/2/files/upload_session/"):
		return true
	default:
		return p == "/2/files/upload" || p == "/2/files/save_url" || p == "/2/files/copy_reference/save"
	}
}

func inDomain(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// watch lets a request know whose it is, for redirects, and books what net/http sends again by itself, without asking
// anybody: a request that may be repeated and whose connection, used before, broke off before an answer came. It was sent,
// and the server may have counted it. Over HTTP/2 only what the server surely didn't see is sent again.
func (h *CallHook) watch(req *http.Request, names []string) {
	ctx := req.Context()
	if earlier, ok := ctx.Value(callStateKey{}).(*callState); ok { // of a request that this one follows
		earlier.sent.Store(false)
		return
	}
	st := &callState{names: names}
	with := context.WithValue(ctx, callStateKey{}, st)
	if replayable(req) {
		with = httptrace.WithClientTrace(with, &httptrace.ClientTrace{
			WroteRequest: func(info httptrace.WroteRequestInfo) { st.sent.Store(info.Err == nil) },
			GotConn: func(info httptrace.GotConnInfo) {
				if st.sent.Swap(false) && !overHTTP2(info) && h.book(ctx, names) != nil {
					_ = info.Conn.Close() // nothing was sent on it yet, and nothing can be now
				}
			},
		})
	}
	*req = *req.WithContext(with)
}

// replayable tells whether net/http may send a request again that was sent already.
func replayable(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != ""
}

func overHTTP2(info httptrace.GotConnInfo) bool {
	c, ok := info.Conn.(*tls.Conn)
	return ok && c.ConnectionState().NegotiatedProtocol == "h2"
}
