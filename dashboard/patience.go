package dashboard

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// How long an answer may take before the store is asked whether it is there, and how often after that.
const (
	patience  = time.Second
	askAgain  = 2 * time.Second
	storeGone = "The store doesn't answer"
	goneHint  = "Nothing is lost: transfers go on as far as they can without it, and the rest goes on when it is back. Try again in a moment."
)

// patient answers for h where that waits for a store that is away: its client would try again for minutes, and some of what
// it is asked by can't be ended. What h does then is left alone. Only requests that change nothing are answered so, and only
// before h has begun to.
func patient(h http.Handler, away func(context.Context) error, refuse func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.ServeHTTP(w, r)
			return
		}
		in, cancel := context.WithCancel(r.Context())
		defer cancel()
		first, inner := &firstWriter{w: w, header: w.Header().Clone()}, r.WithContext(in)
		done := make(chan any, 1)
		go func() {
			defer func() { done <- recover() }()
			h.ServeHTTP(first, inner)
		}()
		wait := time.NewTimer(patience)
		defer wait.Stop()
		for {
			select {
			case fault := <-done:
				if fault != nil {
					panic(fault) // as without the goroutine between: the server logs it and closes the connection
				}
				first.begin()
				r.Pattern = inner.Pattern
				return
			case <-wait.C:
			}
			if first.began() { // the rest takes as long as it takes
				continue
			}
			if err := away(in); err != nil && in.Err() == nil && first.takeAway() {
				refuse(w, r, err)
				return
			}
			wait.Reset(askAgain)
		}
	})
}

// errTaken says that somebody else has answered.
var errTaken = errors.New("the store was away for too long: the request was answered without this")

// firstWriter hands an answer on as soon as it begins, unless it was taken away before.
type firstWriter struct {
	w      http.ResponseWriter
	header http.Header // until it begins

	mu    sync.Mutex
	state writerState
}

type writerState int

const (
	unbegun writerState = iota
	begun
	taken
)

func (f *firstWriter) began() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == begun
}

// takeAway keeps the answer from beginning; false where it has.
func (f *firstWriter) takeAway() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == unbegun {
		f.state = taken
	}
	return f.state == taken
}

// begin lets the answer through; false where it was taken away.
func (f *firstWriter) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == unbegun {
		to := f.w.Header()
		clear(to)
		for k, v := range f.header {
			to[k] = v
		}
		f.header, f.state = to, begun
	}
	return f.state == begun
}

// Header implements http.ResponseWriter.
func (f *firstWriter) Header() http.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.header
}

// WriteHeader implements http.ResponseWriter.
func (f *firstWriter) WriteHeader(status int) {
	if f.begin() {
		f.w.WriteHeader(status)
	}
}

// Write implements io.Writer.
func (f *firstWriter) Write(b []byte) (int, error) {
	if !f.begin() {
		return 0, errTaken
	}
	return f.w.Write(b)
}

// FlushError sends what was written.
func (f *firstWriter) FlushError() error {
	if !f.begin() {
		return errTaken
	}
	return http.NewResponseController(f.w).Flush()
}

// SetWriteDeadline bounds the writing of what comes.
func (f *firstWriter) SetWriteDeadline(t time.Time) error {
	if !f.begin() {
		return errTaken
	}
	return http.NewResponseController(f.w).SetWriteDeadline(t)
}
