// Package containers builds the image of the Dockerfile and brings up the pool of docker-compose.yml with real containers,
// on a Docker daemon of its own that lives in namespaces of its own: whatever happens, no container, mount, network or
// process is left. There is no registry: stand-ins for the base images are made of what is installed here (standin_test.go),
// and the clouds are played in this process (internal/cloudtest).
//
// OFFLOAD_CONTAINERS=1 runs it (`make containers`, which `make test` does, too). Where Docker can't run the test is skipped
// by name with the reason; OFFLOAD_NEED_DOCKER=1 makes that a failure. OFFLOAD_DOCKER_ROOT names a folder for what the
// daemon keeps, so that the next run compiles less; without it nothing is kept.
package containers

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// root is the top of the tree.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// cantRun skips the test because Docker can't run here, or fails it where OFFLOAD_NEED_DOCKER says that it has to.
func cantRun(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("OFFLOAD_NEED_DOCKER") != "" {
		t.Fatalf("Docker can't run here, and OFFLOAD_NEED_DOCKER is set: %s", reason)
	}
	t.Skipf("Docker can't run here: %s", reason)
}

// eventually polls until ok says true, and fails the test with what was waited for when that takes too long.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for: %s", limit, what)
		}
		<-tick.C
	}
}

// call runs a command to its end, at most for limit, and returns what it said on either stream and its exit status, -1
// where it was ended.
func call(ctx context.Context, limit time.Duration, cmd func(context.Context) *exec.Cmd) (stdout, stderr string, status int) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := cmd(ctx)
	var out, msg bytes.Buffer
	c.Stdout, c.Stderr = &out, &msg
	c.WaitDelay = 10 * time.Second
	if err := c.Run(); err != nil && c.ProcessState == nil {
		return "", err.Error(), -1
	}
	return strings.TrimSpace(out.String()), strings.TrimSpace(msg.String()), c.ProcessState.ExitCode()
}
