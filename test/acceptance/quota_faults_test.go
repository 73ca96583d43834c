package acceptance

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
)

// breaks is how a proxy breaks downloads off in the middle: every second time by a reset.
type breaks struct {
	rnd        *rand.Rand
	share      float64 // of the downloads; the first ones are broken in any case
	cut, reset int
}

// errCut ends a body before its time.
var errCut = errors.New("cut by the test")

// cutSome breaks a share of the downloads from now on.
func (p *proxy) cutSome(rnd *rand.Rand, share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breaks.rnd, p.breaks.share = rand.New(rand.NewPCG(rnd.Uint64(), 1)), share
}

// cuts is how many downloads were broken off, by closing the connection and by resetting it.
func (p *proxy) cuts() (cut, reset int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.breaks.cut, p.breaks.reset
}

// breakAt decides after how many bytes a download breaks, 0 for never.
func (p *proxy) breakAt(r *http.Response) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.breaks
	if b.rnd == nil || r.ContentLength < 2 || b.cut > 0 && b.reset > 0 && b.rnd.Float64() >= b.share {
		return 0
	}
	return 1 + b.rnd.Int64N(r.ContentLength-1)
}

// breakOff breaks a download now.
func (p *proxy) breakOff(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := &p.breaks; b.reset < b.cut {
		b.reset++
		resetConn(ctx)
	} else {
		b.cut++
	}
	return errCut
}

// connKey finds a request's connection in its context.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// resetConn drops the connection of a request so that what is under way to the client is lost.
func resetConn(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*net.TCPConn); ok {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// failingUploads puts a front before the S3 server that drops a share of the uploads after half of their bytes. The
// returned function tells how many it dropped.
func (w *world) failingUploads(rnd *rand.Rand, share float64) (dropped func() int) {
	w.t.Helper()
	var mu sync.Mutex
	own, n := rand.New(rand.NewPCG(rnd.Uint64(), 2)), 0
	strikes := func() bool {
		mu.Lock()
		defer mu.Unlock()
		if n > 0 && own.Float64() >= share { // the first one is dropped in any case
			return false
		}
		n++
		return true
	}
	w.frontS3(func(forward http.Handler, rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.ContentLength > 1 && strikes() {
			_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(rw, r)
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}
