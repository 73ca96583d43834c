package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// probe is how long an answer is waited for where none may come: a server that starts, or is frozen, is asked again.
const probe = time.Second

// ask sends one command to a server and returns the answer as text: nothing for nil, and the elements of a list each on
// a line of its own. The answer may take as long as said: a server that writes its settings to a busy disk takes seconds.
func ask(socket, command string, atMost time.Duration) (string, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(atMost)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	return answer(bufio.NewReader(c))
}

// answer reads one reply.
func answer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", io.ErrUnexpectedEOF
	}
	kind, rest := line[0], line[1:]
	n := 0
	if kind == '$' || kind == '*' {
		if n, err = strconv.Atoi(rest); err != nil {
			return "", err
		}
	}
	switch kind {
	case '-':
		return "", errors.New(rest)
	case '$':
		if n < 0 {
			return "", nil
		}
		body := make([]byte, n+2)
		_, err := io.ReadFull(r, body)
		return string(body[:n]), err
	case '*':
		var lines []string
		for range n {
			one, err := answer(r)
			if err != nil {
				return "", err
			}
			lines = append(lines, one)
		}
		return strings.Join(lines, "\n"), nil
	}
	return rest, nil
}

// do sends a command that must succeed.
func (s *Server) do(command string) string {
	s.t.Helper()
	text, err := ask(s.Socket(), command, patience)
	if err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
	return text
}

// poll waits until ok says true. Sentinels look every ten seconds, and rest for thirty where their machine has been slow.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", 3*patience, what)
		}
	}
}
