// Package redistest starts a real redis-server for a test.
package redistest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a server may take to answer.
const patience = 30 * time.Second

// Start starts a redis-server of the test's own and returns the path of the Unix socket that it listens on, in a folder
// of its own. It keeps nothing on disk unless args say so. The test is skipped where Redis isn't installed.
func Start(t testing.TB, args ...string) (socket string) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed (apt-get install redis-server)")
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir may be longer than the path of a socket is allowed to be
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	base := []string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no"}
	cmd := exec.Command(program, append(base, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only where it has ended
		_ = cmd.Wait()         // it was killed
		_ = os.RemoveAll(dir)
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !answers(socket); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("redis-server didn't answer within %s", patience)
		}
	}
	return socket
}

// answers tells whether the server is ready: it listens before it has read its data.
func answers(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && line == "+PONG\r\n"
}
