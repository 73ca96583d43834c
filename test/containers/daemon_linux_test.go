package containers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside is what begins in the new namespaces: nothing that it mounts, no process and no network is seen outside, and
// nothing of it outlives its first process.
const inside = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
ip link set lo up
exec docker-init -- dockerd "$@"`

// startDaemon starts a Docker daemon that ends with the test, or skips the test with the reason.
func startDaemon(t testing.TB) *daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		cantRun(t, "the daemon needs root")
	}
	for _, tool := range []string{"dockerd", "containerd", "docker-init", "iptables", "ip", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			cantRun(t, tool+" is missing: run `make docker`")
		}
	}
	d := &daemon{t: t, dir: t.TempDir()}
	var err error
	if d.client, err = findClient(); err != nil {
		cantRun(t, "the docker program is missing: run `make docker`")
	}
	if err := d.plugCompose(); err != nil {
		t.Fatal(err)
	}
	data := os.Getenv("OFFLOAD_DOCKER_ROOT")
	if data == "" {
		data = filepath.Join(d.dir, "root")
	}
	group := fmt.Sprintf("/offload-test-%d", os.Getpid())
	cmd := exec.Command("sh", "-c", inside, "sh", "--data-root", data, "--exec-root", filepath.Join(d.dir, "exec"),
		"--pidfile", filepath.Join(d.dir, "pid"), "--host", "unix://"+d.socket(), "--cgroup-parent", group,
		"--exec-opt", "native.cgroupdriver=cgroupfs")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL, // of the first process, which takes all others with it
	}
	said := &lines{}
	cmd.Stdout, cmd.Stderr = said, said
	t.Cleanup(func() { removeGroups(group) })
	if err := cmd.Start(); err != nil {
		cantRun(t, "start the daemon in namespaces of its own: "+err.Error())
	}
	d.init = cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the reason is in what it said
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only where it has ended
		<-ended
		if t.Failed() {
			t.Logf("the daemon said last:\n%s", said.last(15))
		}
	})
	d.await(ended, said)
	return d
}

// await waits until the daemon answers and a client with compose can use it.
func (d *daemon) await(ended <-chan struct{}, said *lines) {
	d.t.Helper()
	limit, tick := time.After(time.Minute), time.NewTicker(200*time.Millisecond)
	defer tick.Stop()
	ask := func(args ...string) (string, int) {
		_, msg, status := call(d.t.Context(), 20*time.Second, func(ctx context.Context) *exec.Cmd { return d.command(ctx, args...) })
		return msg, status
	}
	for {
		if _, status := ask("info"); status == 0 {
			break
		}
		select {
		case <-ended:
			cantRun(d.t, "dockerd ended:\n"+said.last(5))
		case <-limit:
			cantRun(d.t, "dockerd doesn't answer:\n"+said.last(5))
		case <-tick.C:
		}
	}
	if msg, status := ask("compose", "version"); status != 0 {
		cantRun(d.t, "docker compose is missing, run `make docker`: "+msg)
	}
}

// listen opens a port in the daemon's network.
func (d *daemon) listen(addr string) net.Listener {
	d.t.Helper()
	// A thread that ended in another network would take along what it started: it comes back first.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		d.t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", d.init))
	if err != nil {
		d.t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		d.t.Fatalf("enter the daemon's network: %v", err)
	}
	in, err := net.Listen("tcp", addr)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic("leave the daemon's network: " + back.Error()) // nothing on this thread would be right any more
	}
	if err != nil {
		d.t.Fatalf("listen in the daemon's network: %v", err)
	}
	return in
}

// crash kills the first process of a container from outside, as a fault of the program would, so that Docker's restart
// policy applies.
func (d *daemon) crash(container string) {
	d.t.Helper()
	pid := d.docker("inspect", "--format", "{{.State.Pid}}", container)
	cmd := exec.CommandContext(d.t.Context(), "nsenter", "--target", strconv.Itoa(d.init), "--pid", "--mount", "kill", "-KILL", pid)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("kill process %s of %s: %v\n%s", pid, container, err, out)
	}
}

// removeGroups removes the empty control groups that the daemon's containers leave.
func removeGroups(group string) {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*" + group) // one of each kind, or
	for _, top := range append(tops, "/sys/fs/cgroup"+group) {
		var dirs []string
		_ = filepath.WalkDir(top, func(p string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = os.Remove(dirs[i]) // what is in use stays
		}
	}
}

// lines keeps what a process said.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// last returns the last n lines that aren't mere information.
func (l *lines) last(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	chatter := regexp.MustCompile(`level=(info|debug)`)
	var kept []string
	for line := range strings.Lines(l.buf.String()) {
		if !chatter.MatchString(line) {
			kept = append(kept, strings.TrimSpace(line))
		}
	}
	return strings.Join(kept[max(0, len(kept)-n):], "\n")
}
