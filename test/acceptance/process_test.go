package acceptance

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a child that ends with the test at the latest.
type process struct {
	name  string
	cmd   *exec.Cmd
	out   *log // standard output and standard error together
	ended chan struct{}
}

// start runs the command in the background. Its output is shown when the test fails.
func start(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, cmd: cmd, out: &log{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the status is read from ProcessState
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s (%s) said:\n%s", name, cmd.ProcessState, p.out.tail(6000))
		}
	})
	return p
}

// kill ends the process with SIGKILL and waits until it is gone. It may be called again.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only where it has ended
	<-p.ended
}

// interrupt sends SIGINT, as Ctrl-C does.
func (p *process) interrupt(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("interrupt %s: %v", p.name, err)
	}
}

// running tells whether the process hasn't ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// status waits for the end and returns the exit status, -1 after a kill.
func (p *process) status(t testing.TB, limit time.Duration) int {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-timer.C:
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to its output, which the clean-up shows
		timer.Reset(5 * time.Second)
		select {
		case <-p.ended:
		case <-timer.C:
		}
		t.Fatalf("%s still ran after %s", p.name, limit)
		return -1
	}
}

// log is a buffer that a process writes and a test reads at the same time.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends to the log.
func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// tail returns the last n bytes.
func (l *log) tail(n int) string {
	s := strings.TrimSpace(l.String())
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
