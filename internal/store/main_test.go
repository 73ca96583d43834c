package store

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperEnv names what a child process of the tests does; see helper_test.go.
const helperEnv = "OFFLOAD_STORE_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		os.Exit(helper(mode, os.Args[1:]))
	}
	LogRedis(quiet())
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// openDir opens the embedded store in a folder, and closes it with the test.
func openDir(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// eventually polls until f holds, and fails the test when it doesn't within half a minute.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// startRedis starts a redis-server of the test's own and returns its URL.
func startRedis(t testing.TB, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed; install it (apt-get install redis-server) to run this test")
	}
	dir, err := os.MkdirTemp("", "ofl") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	args = append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--daemonize", "no"}, args...)
	cmd := exec.Command(bin, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		os.RemoveAll(dir)
	})
	url := "unix://" + socket
	eventually(t, "redis-server answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s, err := os.Stat(socket)
		if err != nil || s.Mode()&os.ModeSocket == 0 {
			return false
		}
		target, err := parseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		c := target.open(-1)
		defer c.Close()
		return c.Ping(ctx).Err() == nil
	})
	return url
}

// backends runs a test against the embedded store and against a real Redis.
func backends(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Run("embedded", func(t *testing.T) { f(t, openDir(t, t.TempDir())) })
	t.Run("embedded, always", func(t *testing.T) {
		s, err := Open(t.Context(), Options{Dir: t.TempDir(), Fsync: "always", Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		f(t, s)
	})
	t.Run("redis", func(t *testing.T) {
		s, err := Open(t.Context(), Options{URL: startRedis(t), Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		f(t, s)
	})
}
