package jobstest

import (
	"cmp"
	"slices"
	"sync"
	"testing"
	"time"
)

// P99 calls ask again and again, so many at once as said, and reports how long a call took, at the 99th of 100 and at the
// middle.
func P99(b *testing.B, atOnce int, ask func() error) {
	b.Helper()
	b.ReportAllocs()
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	for b.Loop() {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				began := time.Now()
				err := ask()
				d := time.Since(began)
				mu.Lock()
				defer mu.Unlock()
				took = append(took, d)
				failed = cmp.Or(failed, err)
			})
		}
		all.Wait()
	}
	if failed != nil {
		b.Fatal(failed)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
}
