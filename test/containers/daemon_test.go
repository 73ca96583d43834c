package containers

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// daemon is a Docker daemon of the test's own.
type daemon struct {
	t      testing.TB
	dir    string // its folder
	client string // the docker program
	init   int    // the first process of its namespaces
}

// socket is where the daemon listens.
func (d *daemon) socket() string { return filepath.Join(d.dir, "sock") }

// command prepares a call of the docker program on this daemon.
func (d *daemon) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.client, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "DOCKER_HOST=unix://" + d.socket(),
		"DOCKER_CONFIG=" + filepath.Join(d.dir, "client"), "DOCKER_BUILDKIT=1"}
	return cmd
}

// docker runs the docker program, demands success and returns its standard output.
func (d *daemon) docker(args ...string) string {
	d.t.Helper()
	out, msg, status := call(d.t.Context(), 2*time.Minute, func(ctx context.Context) *exec.Cmd { return d.command(ctx, args...) })
	if status != 0 {
		d.t.Fatalf("docker %s: status %d\n%s\n%s", strings.Join(args, " "), status, out, msg)
	}
	return out
}

// findClient returns the docker program. Debian's comes with its daemon, and builds images without a plugin.
func findClient() (string, error) {
	if _, err := os.Stat("/usr/bin/docker"); err == nil {
		return "/usr/bin/docker", nil
	}
	return exec.LookPath("docker")
}

// plugCompose gives the client the compose that `make docker` built, where it did.
func (d *daemon) plugCompose() error {
	plugins := filepath.Join(d.dir, "client", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	built := filepath.Join(root(d.t), ".cache", "bin", "docker-compose")
	if _, err := os.Stat(built); err != nil {
		return nil // the client may have one of its own
	}
	return os.Symlink(built, filepath.Join(plugins, "docker-compose"))
}

// relay makes the port of a server in this process reachable from the daemon's containers, and returns the port there.
func (d *daemon) relay(target string) string {
	d.t.Helper()
	in := d.listen("0.0.0.0:0")
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			conn, err := in.Accept()
			if err != nil {
				return // closed below
			}
			all.Go(func() { forward(ctx, conn, target) })
		}
	})
	d.t.Cleanup(func() {
		cancel()
		in.Close()
		all.Wait()
	})
	_, port, err := net.SplitHostPort(in.Addr().String())
	if err != nil {
		d.t.Fatal(err)
	}
	return port
}

// forward copies both ways between the connection and the target until either ends.
func forward(ctx context.Context, conn net.Conn, target string) {
	defer conn.Close()
	var dialer net.Dialer
	other, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return // whoever called sees the connection end
	}
	defer other.Close()
	defer context.AfterFunc(ctx, func() { conn.Close(); other.Close() })()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{conn, other}, {other, conn}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // the end of either is the end of both
			conn.Close()
			other.Close()
		})
	}
	both.Wait()
}
