// Package acceptance runs the real program against real servers: rclone's WebDAV server as the source, versitygw as the
// S3 destination, redis-server as the store of a pool of workers. It kills processes where it hurts and compares every
// byte afterwards.
//
// Missing tools skip a test by name; OFFLOAD_ACCEPTANCE=1 (which `make test` sets) makes them a failure, and
// OFFLOAD_FULL=1 (`make acceptance`) moves all of GOROOT/src and a 1 GiB file instead of a part and 64 MiB.
// Random choices come from a seed that each test logs; OFFLOAD_SEED repeats it.
package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"offload/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	code := leaktest.Run(m)
	if built := builtIn(); built != "" {
		os.RemoveAll(built)
	}
	return code
}

// program builds the real binary once for all tests and returns its path.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "offload-acceptance-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "offload")
	cmd := exec.Command("go", "build", "-o", bin, "offload/cmd/offload")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("build offload: %w\n%s", err, out)
	}
	builds.Store("dir", dir)
	return bin, nil
})

// builds remembers where the binary was built, for the clean-up at the end.
var builds sync.Map

func builtIn() string {
	dir, ok := builds.Load("dir")
	if !ok {
		return ""
	}
	return dir.(string)
}

// offloadBinary returns the program under test: $OFFLOAD_TEST_BINARY, or what this tree builds.
func offloadBinary(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("OFFLOAD_TEST_BINARY"); bin != "" {
		return bin
	}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// tool finds a program that the tests need: by environment, in .cache/bin where `make tools` puts it, or in the PATH.
func tool(t testing.TB, name, env string) string {
	t.Helper()
	if path := os.Getenv(env); path != "" {
		return path
	}
	cached, err := filepath.Abs(filepath.Join("..", "..", ".cache", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cached); err == nil {
		return cached
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("OFFLOAD_ACCEPTANCE") != "" {
		t.Fatalf("%s is missing: run `make tools redis`, or name it in %s", name, env)
	}
	t.Skipf("%s is missing: run `make tools redis`, or name it in %s", name, env)
	return ""
}

// full tells whether the long form was asked for.
func full() bool { return os.Getenv("OFFLOAD_FULL") != "" }

// seeded returns a source of random choices that can be repeated.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("OFFLOAD_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("OFFLOAD_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("seed: OFFLOAD_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// eventually polls until ok says true, and fails the test with what was waited for when that takes too long.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for: %s", limit, what)
		}
		<-tick.C
	}
}
