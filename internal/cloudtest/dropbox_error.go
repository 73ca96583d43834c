package cloudtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// union is a tagged union as Dropbox writes it in JSON.
type union map[string]any

// tag is a union without a value.
func tag(name string) union { return union{".tag": name} }

// nest is a union whose value is a union again, e.g. {".tag":"path","path":{".tag":"not_found"}}. It takes the tags from
// the outermost to the innermost.
func nest(name string, inner ...string) union {
	if len(inner) == 0 {
		return tag(name)
	}
	return wrapTag(name, nest(inner[0], inner[1:]...))
}

// wrapTag puts a union into another one.
func wrapTag(name string, inner union) union { return union{".tag": name, name: inner} }

// summary is the chain of tags in a union, as in error_summary.
func (u union) summary() string {
	name, ok := u[".tag"].(string)
	if !ok {
		return ""
	}
	for _, key := range []string{name, "reason"} {
		if inner, ok := u[key].(union); ok {
			return name + "/" + inner.summary()
		}
	}
	return name + "/"
}

// errorBody is the body of an error of an endpoint.
func errorBody(u union) map[string]any {
	return map[string]any{"error_summary": u.summary() + "..", "error": u}
}

// tooMany is the body of a 429.
func tooMany(reason string, seconds int) map[string]any {
	return map[string]any{
		"error_summary": reason + "/..",
		"error":         map[string]any{"reason": tag(reason), "retry_after": seconds},
	}
}

// dropboxError is an error that is answered as it is.
type dropboxError struct {
	status     int
	body       any // JSON, or plain text where it is a string
	retryAfter int // of a 429
}

func (e *dropboxError) Error() string { return fmt.Sprintf("%d %v", e.status, e.body) }

// failWith is an error of an endpoint.
func failWith(u union) error {
	return &dropboxError{status: http.StatusConflict, body: errorBody(u)}
}

// fail is failWith for a chain of tags.
func fail(name string, inner ...string) error { return failWith(nest(name, inner...)) }

// badInput is a request in a wrong form.
func badInput(route, format string, args ...any) error {
	return &dropboxError{status: http.StatusBadRequest, body: fmt.Sprintf("Error in call to API function %q: ", route) + fmt.Sprintf(format, args...)}
}

// busy is a 429.
func (d *Dropbox) busy(reason string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &dropboxError{status: http.StatusTooManyRequests, body: tooMany(reason, d.retryAfter), retryAfter: d.retryAfter}
}

// asJSON never fails for what is answered here.
func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}

// sendError writes an error.
func sendError(rw http.ResponseWriter, err error) {
	var e *dropboxError
	if !errors.As(err, &e) {
		e = &dropboxError{status: http.StatusInternalServerError, body: err.Error()}
	}
	header := http.Header{"X-Dropbox-Request-Id": {"played"}}
	if e.status == http.StatusTooManyRequests {
		header.Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	text, plain := e.body.(string)
	if plain {
		header.Set("Content-Type", "text/plain; charset=utf-8")
	} else {
		text = string(asJSON(e.body))
	}
	answer(rw, e.status, header, text)
}

// headerJSON is v as JSON in ASCII, for a header.
func headerJSON(v any) string {
	var s strings.Builder
	for _, r := range string(asJSON(v)) {
		switch {
		case r < 0x7f:
			s.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&s, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&s, `\u%04x`, r)
		}
	}
	return s.String()
}
