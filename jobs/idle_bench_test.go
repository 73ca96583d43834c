package jobs

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkIdle tells what workers cost that have nothing to do: commands that Redis carries out a second, those inside
// scripts included, and the processor's time of this process, workers alone, in a thousandth of one core.
func BenchmarkIdle(b *testing.B) {
	for _, workers := range []int{1, 3} {
		b.Run(fmt.Sprintf("%d-workers", workers), func(b *testing.B) {
			for b.Loop() {
				url := startRedis(b)
				w := newWorld(b, url)
				for range workers {
					w.worker(w.service(nil), WorkerOptions{})
				}
				until(b, "the workers to be known", func() bool {
					n, err := w.svc.WorkersRunning(b.Context())
					return err == nil && n == workers
				})
				before, cpu, start := commandsDone(b, w, url), processorTime(b), time.Now()
				until(b, "some seconds to pass", func() bool { return time.Since(start) > 5*time.Second })
				took := time.Since(start).Seconds()
				b.ReportMetric(float64(commandsDone(b, w, url)-before)/took, "commands/s")
				b.ReportMetric(float64((processorTime(b)-cpu).Milliseconds())/took, "cpu-permille")
			}
		})
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
