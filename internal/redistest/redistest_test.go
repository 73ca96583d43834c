package redistest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

// say sends one command and returns the first line of the answer, and of a string its content.
func say(t *testing.T, socket, command string) string {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err == nil && strings.HasPrefix(line, "$") && line != "$-1\r\n" {
		line, err = r.ReadString('\n')
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// A killed server comes back with all that it answered, a restored one with what the copy had, a wiped one with nothing.
func TestServerRestarts(t *testing.T) {
	s := StartServer(t)
	want := func(what, answer string) {
		t.Helper()
		if got := say(t, s.Socket(), "GET k"); got != answer {
			t.Errorf("%s: k is %q, want %q", what, got, answer)
		}
	}
	say(t, s.Socket(), "SET k 1")
	backup := s.Save()
	say(t, s.Socket(), "SET k 2")
	s.Kill()
	s.Run()
	want("killed", "2")
	s.Stop()
	s.Run()
	want("stopped", "2")
	s.Restore(backup)
	want("restored", "1")
	say(t, s.Socket(), "SET k 3")
	s.Restore(backup)
	want("restored again", "1")
	s.Wipe()
	want("wiped", "$-1")
	s.Kill()
	s.Kill()
}
