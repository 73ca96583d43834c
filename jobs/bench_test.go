package jobs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"offload/internal/store"
	"offload/quota"
	"offload/transfer"
	"offload/transfer/xtest"
)

// BenchmarkPlanMillion scans a million entries into a real Redis and tells what that costs: the memory of Redis for the
// whole plan, and the resident memory of this process.
func BenchmarkPlanMillion(b *testing.B) {
	for b.Loop() {
		url := startRedis(b)
		st, err := store.Open(b.Context(), store.Options{URL: url})
		if err != nil {
			b.Fatal(err)
		}
		ledger, err := quota.New(st.Client(), quota.Config{})
		if err != nil {
			b.Fatal(err)
		}
		tree := xtest.NewGenFs("million", func(dir string) (dirs, files int) {
			if dir == "" {
				return 1000, 0
			}
			return 0, 1000
		})
		open := func(ctx context.Context, _, dest string, opt transfer.Options) (*transfer.Pair, error) {
			p, err := transfer.Open(ctx, b.TempDir(), dest, opt)
			if err != nil {
				return nil, err
			}
			return transfer.NewPair(tree, p.Dest, opt), nil
		}
		s, err := New(Config{Store: st, Ledger: ledger, Open: open})
		if err != nil {
			b.Fatal(err)
		}
		before := redisMemory(b, st)
		start := time.Now()
		j, err := s.Enqueue(b.Context(), Order{Source: "million:", Dest: filepath.Join(b.TempDir(), "dst"), MaxDelete: -1})
		if err != nil {
			b.Fatal(err)
		}
		w := &worker{s: s, opt: WorkerOptions{}, name: s.self, log: s.log, stopping: make(chan struct{}), pairs: newPairs(s, 0)}
		att := st.Client().HGet(b.Context(), string(keysOf(j.ID))+"att", unitScan).Val()
		n, _ := strconv.ParseInt(att, 10, 64)
		h, _, err := s.scripts.claim(b.Context(), j.ID, unitScan, n, s.self, time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.scan(b.Context(), w.newUnit(h, start.Add(time.Hour))); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		if j, err = s.Get(b.Context(), j.ID); err != nil || j.Files.Found != 1_000_000 || !j.ScanComplete {
			b.Fatalf("%+v, %v", j.Files, err)
		}
		b.ReportMetric(took.Seconds(), "s/scan")
		b.ReportMetric(float64(redisMemory(b, st)-before)/(1<<20), "redis-MiB")
		b.ReportMetric(peakRSS(b), "RSS-MiB")
		w.pairs.close(b.Context())
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func redisMemory(b *testing.B, st *store.Store) int64 {
	b.Helper()
	info := st.Client().Info(b.Context(), "memory").Val()
	m := regexp.MustCompile(`used_memory:(\d+)`).FindStringSubmatch(info)
	if m == nil {
		b.Fatalf("no memory in %q", info)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// peakRSS is this process's largest resident memory so far, in MiB.
func peakRSS(b *testing.B) float64 {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skipf("no resident memory to read here: %v", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(raw)
	if m == nil {
		b.Fatal("no VmHWM")
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return n / 1024
}

// BenchmarkSmallJob moves 2,000 small files between local folders on the embedded store: what a job costs beside the
// moving.
func BenchmarkSmallJob(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b, "")
		for i := range 2000 {
			w.put(fmt.Sprintf("d%02d/f%04d", i/100, i), 1000)
		}
		b.StartTimer()
		w.worker(w.svc, WorkerOptions{})
		w.reach(w.enqueue(w.order(transfer.DeleteVerified)).ID, Completed)
	}
}
