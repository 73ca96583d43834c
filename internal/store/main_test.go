package store

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"offload/internal/leaktest"
	"offload/internal/redistest"
)

// helperEnv names what a child process of the tests does; see helper_test.go.
const helperEnv = "OFFLOAD_STORE_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		os.Exit(helper(mode, os.Args[1:]))
	}
	LogRedis(quiet())
	os.Exit(leaktest.Run(m))
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// openDir opens the embedded store in a folder, and closes it with the test.
func openDir(t testing.TB, dir string) *Store {
	t.Helper()
	return openWith(t, Options{Dir: dir})
}

// openWith opens a store quietly, and closes it with the test.
func openWith(t testing.TB, o Options) *Store {
	t.Helper()
	o.Log = quiet()
	s, err := Open(t.Context(), o)
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
func startRedis(t testing.TB, args ...string) string { return "unix://" + redistest.Start(t, args...) }

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
		s, err := Open(t.Context(), Options{URL: redistest.URL(t), Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		f(t, s)
	})
}
