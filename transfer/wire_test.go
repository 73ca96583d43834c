package transfer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"offload/transfer"
)

var errTimeLimit = errors.New("set deadline: use of closed network connection")

// lateError reports each write as failed, once the server has closed the connection, though all of it was written: as
// rclone's connections do where the server is quick.
type lateError struct {
	net.Conn
	armed *atomic.Bool
	gone  chan struct{}
}

func (c lateError) Write(p []byte) (int, error) {
	armed := c.armed.Load()
	n, err := c.Conn.Write(p)
	if err == nil && armed {
		<-c.gone
		err = errTimeLimit
	}
	return n, err
}

// A request that changes something is sent once, though its connection breaks right after it: nobody may take the answer
// to the second one for that to the first.
func TestRuleAChangeIsSentOnce(t *testing.T) {
	for _, mended := range []bool{true, false} { // without, to show that the fault is hit
		var changes atomic.Int64
		var armed atomic.Bool
		gone := make(chan struct{})
		srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Method == http.MethodPost && changes.Add(1) == 1 {
				armed.Store(false) // the next connection works
				defer close(gone)
				panic(http.ErrAbortHandler)
			}
		}))
		client := srv.Client()
		tr := client.Transport.(*http.Transport)
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return lateError{c, &armed, gone}, err
		}
		if mended {
			transfer.SendOnce(tr)
		}
		resp, err := client.Get(srv.URL) // only a connection that was of use is replaced
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		armed.Store(true)
		resp, err = client.Post(srv.URL, "text/plain", strings.NewReader("delete it"))
		if err == nil {
			_ = resp.Body.Close()
		}
		if got := changes.Load(); mended && (got != 1 || err == nil) || !mended && got != 2 {
			t.Errorf("mended %v: sent %d times, %v", mended, got, err)
		}
		tr.CloseIdleConnections()
		srv.Close()
	}
}
