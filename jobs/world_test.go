package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"offload/internal/leaktest"
	"offload/internal/redistest"
	"offload/internal/store"
	"offload/quota"
	"offload/transfer"
	_ "offload/transfer/xtest" // the local backend
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, leaktest.Rclone()...))
}

// world is a service on a store with two folders to move files between.
type world struct {
	t        testing.TB
	store    *store.Store
	ledger   *quota.Ledger
	svc      *Service
	src, dst string
	calls    atomic.Int64 // that a test has numbered
	log      *slog.Logger
}

// eachStore runs a test on the embedded store and on a real Redis.
func eachStore(t *testing.T, test func(t *testing.T, w *world)) {
	if os.Getenv(redistest.ModeEnv) == "" {
		t.Run("embedded", func(t *testing.T) { test(t, newWorld(t, "")) })
	}
	t.Run("redis", func(t *testing.T) { test(t, newWorld(t, startRedis(t))) })
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, src: t.TempDir(), dst: filepath.Join(t.TempDir(), "dst"), log: slog.New(slog.DiscardHandler)}
	if os.Getenv("OFFLOAD_TEST_LOG") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
	if w.store, err = store.Open(t.Context(), store.Options{URL: url, Dir: t.TempDir(), Log: w.log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.ledger, err = quota.New(w.store.Client(), quota.Config{DefaultTier: "unlimited"}); err != nil {
		t.Fatal(err)
	}
	w.svc = w.service(nil)
	return w
}

// service returns one more service on the world's store, as another process would have.
func (w *world) service(open func(context.Context, string, string, transfer.Options) (*transfer.Pair, error)) *Service {
	w.t.Helper()
	s, err := New(Config{Store: w.store, Ledger: w.ledger, Log: w.log, Open: open})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return s
}

// startRedis starts a real Redis of the test's own and returns its URL.
func startRedis(t testing.TB) string { return redistest.URL(t) }

// until waits for a condition, and fails the test when it doesn't come within a minute.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end.C:
			t.Fatalf("waited a minute in vain: %s", what)
		case <-tick.C:
		}
	}
}

// worker runs a worker until the test ends or stop is called.
func (w *world) worker(s *Service, o WorkerOptions) (stop func()) {
	w.t.Helper()
	soft, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.RunWorker(soft, context.Background(), o) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("worker: %v", err)
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

// put writes a file of the source with content that depends on its name alone.
func (w *world) put(name string, size int) {
	w.t.Helper()
	p := filepath.Join(w.src, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(p, content(name, size), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// overwrite gives a file of the destination other content.
func (w *world) overwrite(name string, content []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dst, name), content, 0o644); err != nil {
		w.t.Error(err)
	}
}

func content(name string, size int) []byte {
	var seed [32]byte
	copy(seed[:], name)
	b := make([]byte, size)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// tree writes n files of the given size in folders of twenty.
func (w *world) tree(n, size int) {
	for i := range n {
		w.put(fmt.Sprintf("dir%02d/file %03d.bin", i/20, i), size)
	}
}

// files reads all files below a folder.
func files(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() && p == filepath.Join(root, transfer.ManifestDir) {
			return filepath.SkipDir // the jobs' own
		}
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		rel, _ := filepath.Rel(root, p)
		all[filepath.ToSlash(rel)] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (w *world) order(policy transfer.DeletePolicy) Order {
	return Order{Source: w.src, Dest: w.dst, MaxDelete: -1, Options: transfer.Options{DeleteSource: policy}}
}

func (w *world) enqueue(o Order) Job {
	w.t.Helper()
	j, err := w.svc.Enqueue(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// reach waits until the job is in one of the states.
func (w *world) reach(id string, states ...State) Job {
	w.t.Helper()
	var j Job
	until(w.t, fmt.Sprintf("job reaches %v", states), func() bool {
		var err error
		if j, err = w.svc.Get(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
		return one(j.State, states...)
	})
	return j
}
