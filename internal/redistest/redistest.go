// Package redistest starts a real redis-server for a test, alone, watched by Sentinels or as a cluster, and restarts it as a
// crash or a restored backup would.
package redistest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to answer.
const patience = 90 * time.Second

// aofFolder is where redis-server keeps its append-only file, in its working folder.
const aofFolder = "appendonlydir"

// Server is a redis-server of a test's own. It isn't safe for concurrent use.
type Server struct {
	t       testing.TB
	program string
	args    []string
	dir     string
	port    int           // on the loopback; 0 where it listens on its socket alone
	cmd     *exec.Cmd     // nil while it is down
	ended   chan struct{} // closed when cmd has ended
	copies  int           // that Save made
}

// Start starts a redis-server of the test's own and returns the path of the Unix socket that it listens on, in a folder
// of its own. It keeps nothing on disk unless args say so. The test is skipped where Redis isn't installed.
func Start(t testing.TB, args ...string) (socket string) {
	t.Helper()
	s := prepare(t, args)
	s.Run()
	return s.Socket()
}

// StartServer starts a redis-server that can be restarted: it keeps an append-only file, and a kill loses nothing that it
// has answered. Further args come behind. The server and its files are gone when the test ends.
func StartServer(t testing.TB, args ...string) *Server {
	t.Helper()
	s := prepare(t, append(durable(), args...))
	s.Run()
	return s
}

// durable are settings by which a kill loses nothing that was answered: each change is handed to the operating system
// before, so that only a power cut could lose it.
func durable() []string {
	return []string{"--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"}
}

// prepare returns a server that is down.
func prepare(t testing.TB, args []string) *Server {
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
	return s
}

// Socket is the path of the server's Unix socket; it stays the same over restarts.
func (s *Server) Socket() string { return filepath.Join(s.dir, "s") }

// URL names the server as `--redis` takes it.
func (s *Server) URL() string { return "unix://" + s.Socket() }

// Run starts the server on the files that it has, and returns when it answers. Where it runs already nothing happens. While
// it was down somebody may have taken its port, as a server of another test: it is started again until the port is free.
func (s *Server) Run() {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); s.cmd == nil && !s.run(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server didn't answer within %s; it was started with %q", patience, s.args)
		}
	}
}

// run starts the server and tells whether it came to answer: not where somebody else has its port.
func (s *Server) run() bool {
	s.t.Helper()
	cmd := exec.Command(s.program, s.args...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = cmd.Wait() // it is killed in the end
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if line, err := ask(s.Socket(), "PING", probe); err == nil && line == "PONG" { // it listens before it has read its data
			return true
		}
		select {
		case <-tick.C:
			continue
		case <-s.ended:
		case <-deadline:
		}
		s.Kill()
		return false
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
	<-s.ended                     // it was told to end
	s.cmd = nil
}

// Freeze stops the server where it stands: it takes connections and answers none. Kill ends it all the same.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("the redis-server is down")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
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
