package pages

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/jobs"
)

// benchJobs is how many jobs wait while the pages are made: more than a forecast looks at.
const benchJobs = 6000

// The pages of quotas, workers and the queue with many unfinished jobs; p99-ms is of single answers.
func BenchmarkGauges(b *testing.B) {
	w := newGaugesWorld(b)
	src, dst := b.TempDir(), b.TempDir()
	for i := range benchJobs {
		if _, err := w.jobs.Enqueue(b.Context(), jobs.Order{Source: src, Dest: fmt.Sprintf("%s/%d", dst, i), MaxDelete: -1}); err != nil {
			b.Fatal(err)
		}
	}
	// As maintenance notes it.
	if err := w.store.Client().Set(b.Context(), "offload:jobs:indexed", 1, 0).Err(); err != nil {
		b.Fatal(err)
	}
	for _, path := range []string{"/quota", "/quota?account=anna", "/workers", "/queue"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				w.page(guard.Operator, path)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
		})
	}
}
