// Package redistest starts a real redis-server for a test, and restarts it as a crash or a restored backup would.
package redistest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to answer.
const patience = 30 * time.Second

// aofFolder is where redis-server keeps its append-only file, in its working folder.
const aofFolder = "appendonlydir"

// Server is a redis-server of a test's own. It isn't safe for concurrent use.
type Server struct {
	t       testing.TB
	program string
	args    []string
	dir     string
	cmd     *exec.Cmd // nil while it is down
	copies  int       // that Save made
}

// Start starts a redis-server of the test's own and returns the path of the Unix socket that it listens on, in a folder
// of its own. It keeps nothing on disk unless args say so. The test is skipped where Redis isn't installed.
func Start(t testing.TB, args ...string) (socket string) {
	t.Helper()
	return start(t, args).Socket()
}

// StartServer starts a redis-server that can be restarted: it keeps an append-only file, and a kill loses nothing that it
// has answered. Further args come behind. The server and its files are gone when the test ends.
func StartServer(t testing.TB, args ...string) *Server {
	t.Helper()
	// Each change is handed to the operating system before it is answered: only a power cut could lose it.
	return start(t, append([]string{"--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"}, args...))
}

func start(t testing.TB, args []string) *Server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed (apt-get install redis-server)")
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir may be longer than the path of a socket is allowed to be
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, program: program, dir: dir}
	s.args = append([]string{"--port", "0", "--unixsocket", s.Socket(), "--dir", dir, "--save", "", "--appendonly", "no"}, args...)
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	s.Run()
	return s
}

// Socket is the path of the server's Unix socket; it stays the same over restarts.
func (s *Server) Socket() string { return filepath.Join(s.dir, "s") }

// Run starts the server on the files that it has, and returns when it answers. Where it runs already nothing happens.
func (s *Server) Run() {
	s.t.Helper()
	if s.cmd != nil {
		return
	}
	cmd := exec.Command(s.program, s.args...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !answers(s.Socket()); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server didn't answer within %s", patience)
		}
	}
}

// Kill ends the server without a warning. It may be down already.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server as an operator would: it finishes its files. It may be down already.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig) // fails only where it has ended
	_ = s.cmd.Wait()              // it was told to end
	s.cmd = nil
}

// Save copies the append-only file as it is now and returns the copy's name for Restore. The server may run meanwhile.
func (s *Server) Save() (backup string) {
	s.t.Helper()
	s.copies++
	backup = filepath.Join(s.dir, "backup"+strconv.Itoa(s.copies))
	s.replace(filepath.Join(s.dir, aofFolder), backup)
	return backup
}

// Restore kills the server and starts it on a copy that Save made: all later changes are lost.
func (s *Server) Restore(backup string) {
	s.t.Helper()
	s.Kill()
	s.replace(backup, filepath.Join(s.dir, aofFolder))
	s.Run()
}

// Wipe kills the server and starts it empty.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Kill()
	if err := os.RemoveAll(filepath.Join(s.dir, aofFolder)); err != nil {
		s.t.Fatal(err)
	}
	s.Run()
}

// replace makes folder to a copy of folder from.
func (s *Server) replace(from, to string) {
	s.t.Helper()
	err := os.RemoveAll(to)
	if err == nil {
		err = os.CopyFS(to, os.DirFS(from))
	}
	if err != nil {
		s.t.Fatal(err)
	}
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
