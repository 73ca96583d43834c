package acceptance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// passage is how a gate lets a worker through to Redis.
type passage int

const (
	open    passage = iota
	refused         // connections are reset, new ones too
	swallow         // connections stand and nothing passes either way, not even their end
)

// gate is a worker's own way to Redis, which can be cut.
type gate struct {
	target string // the server's Unix socket
	ln     net.Listener
	wg     sync.WaitGroup

	mu      sync.Mutex
	how     passage
	changed chan struct{} // closed when how changes
	closed  bool
	conns   map[net.Conn]bool
	hits    int // connections that were reset or refused, and messages that were held up
}

// newGate opens a gate before the server at a Unix socket. It ends with the test.
func newGate(t testing.TB, socket string) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{target: socket, ln: ln, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	g.wg.Go(g.accept)
	t.Cleanup(func() {
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.set(refused)
		_ = ln.Close()
		g.wg.Wait()
	})
	return g
}

// url is where the worker finds Redis.
func (g *gate) url() string { return "redis://" + g.ln.Addr().String() + "/0" }

func (g *gate) accept() {
	for {
		conn, err := g.ln.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		no := g.how == refused
		if no {
			g.hits++
		}
		g.mu.Unlock()
		if no {
			drop(conn)
			continue
		}
		g.wg.Go(func() { g.serve(conn) })
	}
}

// serve is one connection.
func (g *gate) serve(conn net.Conn) {
	defer drop(conn)
	if !g.pass(true) {
		return
	}
	server, err := net.Dial("unix", g.target)
	if err != nil {
		return // Redis is down
	}
	defer server.Close()
	g.mu.Lock()
	g.conns[conn] = true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.conns, conn)
		g.mu.Unlock()
	}()
	var answers sync.WaitGroup
	answers.Go(func() {
		g.pump(conn, server)
		drop(conn) // and with it the other direction
	})
	g.pump(server, conn)
	_ = server.Close()
	answers.Wait()
}

// pump hands on what comes, and its end, when the gate lets it.
func (g *gate) pump(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !g.pass(n > 0) {
			return
		}
		if _, e := to.Write(buf[:n]); err != nil || e != nil {
			return
		}
	}
}

// pass waits until the gate lets something through; ok is false where the connection is cut instead.
func (g *gate) pass(message bool) (ok bool) {
	for first := true; ; first = false {
		g.mu.Lock()
		how, changed, closed := g.how, g.changed, g.closed
		if how == swallow && message && first {
			g.hits++
		}
		g.mu.Unlock()
		if how != swallow || closed {
			return how == open
		}
		<-changed
	}
}

// set changes how the gate lets through.
func (g *gate) set(how passage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.how = how
	close(g.changed)
	g.changed = make(chan struct{})
	if how == refused {
		g.cut()
	}
}

// cut resets all connections. The gate is locked.
func (g *gate) cut() {
	for conn := range g.conns {
		g.hits++
		drop(conn)
	}
}

// reopen lets through again. late says that what was held up arrives now; else its connections are reset.
func (g *gate) reopen(late bool) (hits int) {
	g.mu.Lock()
	if !late {
		g.cut()
	}
	hits, g.hits = g.hits, 0
	g.mu.Unlock()
	g.set(open)
	return hits
}

// drop closes a connection so that the other side sees a reset.
func drop(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// met is how often the gate was met while it was closed.
func (g *gate) met() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hits
}

// asker sends commands to a redis-server. After one that failed it makes a new connection. It is one goroutine's.
type asker struct {
	network, address string
	patience         time.Duration // with one answer
	conn             net.Conn
	in               *bufio.Reader
}

// ask sends one command and returns its answer: a string, nil, or a list of these.
func (a *asker) ask(args ...string) (answer any, err error) {
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.conn == nil {
		if a.conn, err = net.DialTimeout(a.network, a.address, a.patience); err != nil {
			a.conn = nil
			return nil, err
		}
		a.in = bufio.NewReader(a.conn)
	}
	if err := a.conn.SetDeadline(time.Now().Add(a.patience)); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(a.conn, b.String()); err != nil {
		return nil, err
	}
	return a.answer()
}

func (a *asker) answer() (any, error) {
	line, err := a.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, fmt.Errorf("empty answer of redis")
	}
	switch kind, text := line[0], line[1:]; kind {
	case '-':
		return nil, fmt.Errorf("redis: %s", text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, err
		}
		buf := make([]byte, n+2)
		_, err = io.ReadFull(a.in, buf)
		return string(buf[:n]), err
	case '*':
		n, err := strconv.Atoi(text)
		list := make([]any, max(n, 0))
		for i := range list {
			if list[i], err = a.answer(); err != nil {
				return nil, err
			}
		}
		return list, err
	default:
		return text, nil
	}
}

// text asks for one string, "" where there is none.
func (a *asker) text(args ...string) (string, error) {
	v, err := a.ask(args...)
	s, _ := v.(string)
	return s, err
}

func (a *asker) close() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}
