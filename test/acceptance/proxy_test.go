package acceptance

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// proxy stands before the source: it paces downloads, counts what it serves and notes what is deleted.
type proxy struct {
	url   string
	delay time.Duration // before each request is handed on, as a distant server has it; fixed before the first one

	mu      sync.Mutex
	rate    int64 // bytes a second over all downloads; 0 is no limit
	next    time.Time
	served  int64            // body bytes of all downloads
	open    map[string]int64 // downloads that run now, by path, with the bytes served so far
	deletes map[string]int   // deletions asked for, by path
	breaks  breaks
}

// newProxy starts a proxy before target.
func newProxy(t testing.TB, target string, rate int64) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{rate: rate, open: map[string]int64{}, deletes: map[string]int{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
			r.Out.Header.Set("Accept-Encoding", "identity") // a byte served is a byte of the file
		},
		Transport:      transport,
		FlushInterval:  -1, // a paced byte is sent at once
		ModifyResponse: p.watch,
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // of downloads that are broken off
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway) // the client went away, or the server did: the test will see
		},
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { _ = recover() }() // ReverseProxy aborts a handler whose client was killed
		if r.Method == http.MethodDelete {
			p.mu.Lock()
			p.deletes[r.URL.Path]++
			p.mu.Unlock()
			// What is counted is carried out, though its client dies just then, as a server does that was asked: else whoever
			// takes the file over would have to ask again.
			asked, done := context.WithCancel(context.WithoutCancel(r.Context()))
			defer done()
			r = r.WithContext(asked)
		}
		if wait(r.Context(), p.delay) {
			forward.ServeHTTP(w, r)
		}
	}))
	server.Config.ConnContext = withConn
	server.Start()
	t.Cleanup(func() {
		p.setRate(0)
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	p.url = server.URL
	return p
}

// watch wraps the body of a download.
func (p *proxy) watch(r *http.Response) error {
	if r.Request.Method == http.MethodGet {
		r.Body = &pacedBody{ReadCloser: r.Body, proxy: p, ctx: r.Request.Context(), path: r.Request.URL.Path,
			until: p.breakAt(r)}
	}
	return nil
}

// setRate changes the pace, in bytes a second; 0 is no limit.
func (p *proxy) setRate(rate int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

// total returns the body bytes of all downloads so far.
func (p *proxy) total() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// midFile tells whether a download runs that has served at least n bytes.
func (p *proxy) midFile(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, served := range p.open {
		if served >= n {
			return true
		}
	}
	return false
}

// deleted returns how often each path was to be deleted.
func (p *proxy) deleted() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.deletes)
}

// count books n served bytes and returns how long to wait before they are handed on.
func (p *proxy) count(path string, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served += int64(n)
	p.open[path] += int64(n)
	if p.rate == 0 {
		return 0
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	return p.next.Sub(now)
}

// pacedBody is one download on its way through the proxy.
type pacedBody struct {
	io.ReadCloser
	proxy *proxy
	ctx   context.Context
	path  string
	until int64 // bytes until the connection breaks; 0 is never
	n     int64 // bytes so far
}

// Read hands on at most 32 KiB at a time, at the proxy's pace.
func (b *pacedBody) Read(buf []byte) (int, error) {
	if b.until > 0 {
		if b.n >= b.until {
			return 0, b.proxy.breakOff(b.ctx)
		}
		buf = buf[:min(int64(len(buf)), b.until-b.n)]
	}
	n, err := b.ReadCloser.Read(buf[:min(len(buf), 32<<10)])
	b.n += int64(n)
	if !wait(b.ctx, b.proxy.count(b.path, n)) {
		return 0, b.ctx.Err()
	}
	return n, err
}

// Close ends the download.
func (b *pacedBody) Close() error {
	b.proxy.mu.Lock()
	delete(b.proxy.open, b.path)
	b.proxy.mu.Unlock()
	return b.ReadCloser.Close()
}

// wait lets d go by and returns true, or false where ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
