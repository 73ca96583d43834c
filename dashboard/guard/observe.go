package guard

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// observe reads what a request is about, sets the headers of every answer, answers for code that panics, and logs.
func (g *Guard) observe(next func(http.ResponseWriter, *http.Request, *visit)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w := &recorder{ResponseWriter: rw, control: http.NewResponseController(rw)}
		r, v := g.arrive(r)
		setHeaders(w.Header(), v, bareHost(r.Host))
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p) // the handler gives up the connection; net/http says nothing of it
				}
				g.o.Log.Error("a request made the dashboard panic", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if w.status != 0 {
					panic(http.ErrAbortHandler) // what was begun can't be taken back: the other side must not take it for whole
				}
				g.refuse(w, r, refusal{http.StatusInternalServerError, "Something went wrong here", "The log of the dashboard says what. Transfers go on."})
			}
			g.logRequest(r, v, w.status, time.Since(began))
		}()
		next(w, r, v)
		if w.status == 0 {
			w.status = http.StatusOK
		}
		g.recordVisit(r, v, w.status)
	})
}

// routeOf is what kind of request it was: the pattern that it matched, or its path where no single one did.
func routeOf(r *http.Request, v *visit) string {
	route := v.route[strings.IndexByte(v.route, ' ')+1:]
	if route == "" || strings.HasSuffix(route, "/") {
		return r.URL.Path
	}
	return route
}

// logRequest logs what was changed, refused or failed; who only looks is logged for those who want to know everything.
// Queries can hold what was searched for, and are left out.
func (g *Guard) logRequest(r *http.Request, v *visit, status int, took time.Duration) {
	level := slog.LevelDebug
	switch {
	case status >= 500:
		level = slog.LevelError
	case !safe(r.Method), status == http.StatusForbidden, status == http.StatusMisdirectedRequest:
		level = slog.LevelInfo
	}
	g.o.Log.Log(r.Context(), level, "request", "person", v.person.Name, "method", r.Method, "route", routeOf(r, v), "path", r.URL.Path,
		"status", status, "took", took.Round(time.Microsecond), "from", v.client.String())
}

// policy lets pages load nothing but our own files, and nobody show them in a frame. Scripts and styles within pages are
// refused, so that a name that gets into a page as markup still does nothing.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func setHeaders(h http.Header, v *visit, host string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it, browsers hide even from us which site a form comes from.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store") // files of the program set their own
	if v.secure && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// writeTime is how long the other side may take to accept what is sent to it. It is longer than event streams are silent.
const writeTime = 2 * time.Minute

// recorder notes an answer's status, and gives up on those who don't accept what they asked for.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	limited time.Time // when the time was last limited
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the first final status.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.limit()
	return w.ResponseWriter.Write(p)
}

// Flush sends what was written so far.
func (w *recorder) Flush() {
	w.limit()
	// Whoever can't be flushed gets it when it is whole.
	_ = w.control.Flush()
}

// limit begins the time anew in which the next bytes must be accepted.
func (w *recorder) limit() {
	now := time.Now()
	if now.Sub(w.limited) < time.Second {
		return
	}
	w.limited = now
	// A writer without time limits, as in tests, has none.
	_ = w.control.SetWriteDeadline(now.Add(writeTime))
}

// recordVisit records what a request has changed by method and route, where its handler had no words of its own for it.
func (g *Guard) recordVisit(r *http.Request, v *visit, status int) {
	if safe(r.Method) || status >= 400 || v.person.Role < Operator || v.told.Load() || r.URL.Path == loginPath || r.URL.Path == logoutPath {
		return
	}
	g.record(r, Deed{Who: v.person.Name, Action: r.Method + " " + routeOf(r, v), Subject: r.URL.Path, Detail: "from " + v.client.String()})
}
