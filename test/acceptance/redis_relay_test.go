package acceptance

import (
	"net"
	"sync"
	"testing"
)

// relay stands before a redis-server, and can be cut as a network is: nothing comes through any more, and nobody is told.
type relay struct {
	addr   string
	target string // Unix socket

	mu   sync.Mutex
	open *sync.Cond
	cut  bool
	done bool
}

// newRelay starts a relay before the server at a Unix socket.
func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), target: target}
	r.open = sync.NewCond(&r.mu)
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
			wg.Go(func() { r.serve(c); conns.Delete(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		r.done = true
		r.open.Broadcast()
		r.mu.Unlock()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return r
}

// url names the server behind the relay.
func (r *relay) url() string { return "redis://" + r.addr + "/0" }

// setCut cuts all connections, or lets them go on: what was sent meanwhile arrives then.
func (r *relay) setCut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	r.open.Broadcast()
}

// pass waits until the relay isn't cut, and tells whether it still runs.
func (r *relay) pass() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.cut && !r.done {
		r.open.Wait()
	}
	return !r.done
}

func (r *relay) serve(c net.Conn) {
	defer c.Close()
	if !r.pass() {
		return
	}
	s, err := net.Dial("unix", r.target)
	if err != nil {
		return
	}
	defer s.Close()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
		wg.Go(func() {
			defer c.Close()
			defer s.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := way[0].Read(buf)
				if n > 0 && r.pass() {
					if _, err := way[1].Write(buf[:n]); err != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}
