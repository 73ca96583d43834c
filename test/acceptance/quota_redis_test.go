package acceptance

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger looks at a subject's record in Redis itself: one answer is one moment, and hundreds of them a second show what
// the program's own commands would miss.
type ledger struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// openLedger connects to the redis-server at a URL of a Unix socket.
func openLedger(t testing.TB, url string) *ledger {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(url, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &ledger{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// counts are the bytes (or calls) of a subject that are used and that are set aside, read at one moment.
func (l *ledger) counts(subject string) (used, reserved int64, err error) {
	key := fmt.Sprintf("offload:{q:%s}:account", subject)
	if _, err := fmt.Fprintf(l.conn, "*4\r\n$5\r\nHMGET\r\n$%d\r\n%s\r\n$4\r\nused\r\n$8\r\nreserved\r\n", len(key), key); err != nil {
		return 0, 0, err
	}
	var values [2]int64
	if line, err := l.line(); err != nil || line != "*2" {
		return 0, 0, fmt.Errorf("answer of redis: %q, %v", line, err)
	}
	for i := range values {
		switch line, err := l.line(); {
		case err != nil:
			return 0, 0, err
		case line == "$-1":
		default:
			if line, err = l.line(); err != nil {
				return 0, 0, err
			}
			if values[i], err = strconv.ParseInt(line, 10, 64); err != nil {
				return 0, 0, err
			}
		}
	}
	return values[0], values[1], nil
}

func (l *ledger) line() (string, error) {
	s, err := l.in.ReadString('\n')
	return strings.TrimRight(s, "\r\n"), err
}

// watched is the most that a subject came to while it was looked at.
type watched struct {
	most  int64 // used and reserved together
	looks int
	err   error
}

// watch looks at a subject until the returned function is called, which tells what was seen.
func watch(t testing.TB, url, subject string) (seen func() watched) {
	t.Helper()
	l := openLedger(t, url)
	var w watched
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			used, reserved, err := l.counts(subject)
			if err != nil {
				w.err = err
				return
			}
			w.most = max(w.most, used+reserved)
			w.looks++
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(end)
	return func() watched {
		end()
		return w
	}
}
