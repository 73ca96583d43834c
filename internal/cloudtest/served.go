package cloudtest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// served counts the bytes that went out, by endpoint.
type served struct {
	mu    sync.Mutex
	bytes map[string]int64
}

// add counts n bytes of an answer's body. A refusal's text isn't content.
func (s *served) add(endpoint string, status, n int) {
	if status/100 != 2 || n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes == nil {
		s.bytes = map[string]int64{}
	}
	s.bytes[endpoint] += int64(n)
}

// Served is how many bytes of content an endpoint has handed to its clients' connections since the world began, whether
// or not they were read there. It is what a provider counts.
func (w *World) Served(endpoint string) int64 {
	w.served.mu.Lock()
	defer w.served.mu.Unlock()
	return w.served.bytes[endpoint]
}

// connKey finds the connection of a request in its context.
type connKey struct{}

// withConn lets a request know its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// reset drops the connection of a request the hard way: what lies in its buffers on the way to the client is lost.
func reset(r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	for conn != nil {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
		case *buffered:
			conn = c.Conn
		case *net.TCPConn:
			_ = c.SetLinger(0) // else what is left would still be sent
			_ = c.Close()
			return
		default:
			return
		}
	}
}
