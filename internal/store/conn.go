package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

const (
	maxArgs     = 1 << 20   // of one command
	maxArg      = 512 << 20 // bytes, as in Redis
	maxBacklog  = 64 << 20  // bytes of messages that a listener may leave unread before it is cut off
	replyBatch  = 256 << 10 // bytes of replies after which a long pipeline gets its first ones
	replyCount  = 1000      // the same in replies
	drainLimit  = 2 * time.Second
	greetings   = 2       // commands that a client greets with: that of greet, and go-redis' own
	keepReplies = 1 << 20 // bytes of buffer that a connection keeps after a large reply
)

// conn is a client of the engine: another process on the socket, or this one.
type conn struct {
	e        *engine
	nc       net.Conn
	rd       *bufio.Reader
	peer     *server.Peer
	out      bytes.Buffer // replies not yet safe to send
	replies  []reply
	channels map[string]bool // guarded by the engine's lock, as patterns
	patterns map[string]bool
	q        sendQueue
	served   atomic.Int64 // commands
	ending   atomic.Bool
}

// serve talks to a client until it hangs up or the engine closes.
func (e *engine) serve(nc net.Conn) {
	c := &conn{e: e, nc: nc, rd: bufio.NewReaderSize(nc, 32<<10)}
	c.resetPeer()
	c.q.init()
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		nc.Close()
		return
	}
	e.conns[c] = struct{}{}
	e.wg.Go(c.loop)
	e.wg.Go(func() { c.q.run(nc) })
	e.mu.Unlock()
}

func (c *conn) resetPeer() {
	old := c.peer
	c.peer = server.NewPeer(bufio.NewWriterSize(&c.out, 512))
	if old != nil {
		c.peer.Resp3, c.peer.ClientName = old.Resp3, old.ClientName
	}
}

func (c *conn) loop() {
	defer c.leave()
	for {
		args, err := readCommand(c.rd)
		if err != nil {
			c.flush()
			var perr protocolError
			if errors.As(err, &perr) {
				c.q.send([]byte("-ERR Protocol error: " + string(perr) + "\r\n"))
			}
			return
		}
		if len(args) == 0 {
			continue
		}
		c.e.exec(c, args)
		if c.rd.Buffered() == 0 || c.out.Len() > replyBatch || len(c.replies) >= replyCount {
			c.flush()
		}
		if c.served.Add(1); c.peer.Closed() || c.ending.Load() && c.served.Load() >= greetings {
			c.flush()
			return
		}
	}
}

// flush sends the replies as soon as the journal holds what they acknowledge.
func (c *conn) flush() {
	c.e.settle(c)
	if c.out.Len() == 0 {
		return
	}
	c.q.send(c.out.Bytes())
	c.out.Reset()
	if c.out.Cap() > keepReplies {
		c.out = bytes.Buffer{}
	}
}

func (c *conn) leave() {
	c.e.mu.Lock()
	c.e.subs.drop(c)
	delete(c.e.conns, c)
	c.e.mu.Unlock()
	c.q.finish()
}

// hurry ends the connection after the command it is at. A client that is just greeting is answered first: go-redis sends
// its greeting again and again on a connection that is cut before, for half a minute (see greet).
func (c *conn) hurry() {
	c.ending.Store(true)
	until := time.Unix(1, 0)
	if c.served.Load() < greetings {
		until = time.Now().Add(c.e.tune.greet)
	}
	_ = c.nc.SetReadDeadline(until)
	_ = c.nc.SetWriteDeadline(time.Now().Add(drainLimit))
}

func (c *conn) subscribed() bool { return len(c.channels)+len(c.patterns) > 0 }

// push sends a message to a listener. The caller holds the engine's lock.
func (c *conn) push(parts ...string) {
	var b bytes.Buffer
	mark := byte('*')
	if c.peer.Resp3 {
		mark = '>'
	}
	fmt.Fprintf(&b, "%c%d\r\n", mark, len(parts))
	for _, p := range parts {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(p), p)
	}
	if c.q.send(b.Bytes()) > maxBacklog {
		c.e.log.Warn("a process that listens to the store has stopped reading; its connection is cut")
		c.nc.Close()
	}
}

// sendQueue writes to a connection in the background, so that a client that sends a long pipeline before it reads the
// first reply isn't waited for, and a stopped one holds up nobody.
type sendQueue struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	done bool
}

func (q *sendQueue) init() { q.cond = sync.NewCond(&q.mu) }

// send adds bytes, which the caller may use again, and returns how many wait.
func (q *sendQueue) send(b []byte) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.buf = append(q.buf, b...)
	q.cond.Signal()
	return len(q.buf)
}

func (q *sendQueue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = true
	q.cond.Signal()
}

// run writes until finish was called and nothing is left, or the client is gone, and closes the connection.
func (q *sendQueue) run(nc net.Conn) {
	defer nc.Close()
	var out []byte
	for {
		q.mu.Lock()
		for len(q.buf) == 0 && !q.done {
			q.cond.Wait()
		}
		if len(q.buf) == 0 {
			q.mu.Unlock()
			return
		}
		out, q.buf = q.buf, out[:0]
		q.mu.Unlock()
		if _, err := nc.Write(out); err != nil {
			nc.Close() // the reader notices too
			q.mu.Lock()
			for !q.done {
				q.buf = nil
				q.cond.Wait()
			}
			q.mu.Unlock()
			return
		}
		if cap(out) > keepReplies {
			out = nil
		}
	}
}

// protocolError is what a client that doesn't speak Redis' protocol is told.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// readCommand reads an array of bulk strings. What it returns shares no memory with the reader.
func readCommand(rd *bufio.Reader) ([]string, error) {
	n, err := readNumber(rd, '*', maxArgs)
	if err != nil {
		return nil, err
	}
	args := make([]string, 0, min(n, 64))
	for range n {
		size, err := readNumber(rd, '$', maxArg)
		if err != nil {
			return nil, err
		}
		b, err := readBulk(rd, size)
		if err != nil {
			return nil, err
		}
		args = append(args, b)
	}
	return args, nil
}

func readNumber(rd *bufio.Reader, mark byte, most int) (int, error) {
	line, err := rd.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return 0, protocolError("too long a line")
	}
	if err != nil {
		return 0, err
	}
	if len(line) < 4 || line[len(line)-2] != '\r' || line[0] != mark {
		return 0, protocolError("expected '" + string(mark) + "'")
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil || n < 0 || n > most {
		return 0, protocolError("invalid length")
	}
	return n, nil
}

// readBulk reads a string of the size and its line end. Memory grows with what arrives, not with what is announced.
func readBulk(rd *bufio.Reader, size int) (string, error) {
	var b []byte
	for size+2 > len(b) {
		step := min(size+2-len(b), 1<<20)
		at := len(b)
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(rd, b[at:]); err != nil {
			return "", err
		}
	}
	if b[size] != '\r' || b[size+1] != '\n' {
		return "", protocolError("a string doesn't end where it should")
	}
	return string(b[:size]), nil
}
