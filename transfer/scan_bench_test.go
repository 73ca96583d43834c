package transfer

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/encoder"

	"offload/transfer/xtest"
)

// BenchmarkScanMillion scans trees of a million files that are at the destination by half, and reports the largest heap
// and resident memory. Run one tree at a time for a resident memory of its own.
func BenchmarkScanMillion(b *testing.B) {
	trees := map[string]func(dir string) (dirs, files int){
		"1000x1000": func(dir string) (int, int) {
			if dir == "" {
				return 1000, 0
			}
			return 0, 1000
		},
		"100x10000": func(dir string) (int, int) {
			if dir == "" {
				return 100, 0
			}
			return 0, 10_000
		},
		"chain100x10000": func(dir string) (int, int) {
			if strings.Count(dir, "/") < 99 {
				return 1, 10_000
			}
			return 0, 10_000
		},
		"tree10x10x10x1000": func(dir string) (int, int) {
			if dir == "" || strings.Count(dir, "/") < 2 {
				return 10, 0
			}
			return 0, 1000
		},
		"flat1000000": func(string) (int, int) { return 0, 1_000_000 },
	}
	for name, tree := range trees {
		b.Run(name, func(b *testing.B) {
			half := func(dir string) (int, int) {
				dirs, files := tree(dir)
				return dirs, files / 2
			}
			p := NewPair(xtest.NewGenFs("src", tree), xtest.NewGenFs("dst", half), Options{})
			var peak uint64
			scanResetPeak()
			for b.Loop() {
				res, err := p.Scan(context.Background(), ScanOptions{}, func(Chunk) error {
					peak = max(peak, scanHeap())
					return nil
				})
				if err != nil || !res.Complete || res.Files < 999_000 {
					b.Fatalf("got %+v, %v", res, err)
				}
			}
			b.ReportMetric(float64(peak)/1e6, "heap-MB")
			b.ReportMetric(float64(scanPeakRSS(b))/1e6, "rss-MB")
		})
	}
}

// scanHeap is the memory of live and dead objects on the heap, in bytes.
func scanHeap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// scanResetPeak makes the kernel count the peak of resident memory anew, where it lets us.
func scanResetPeak() {
	runtime.GC()
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// scanPeakRSS is the peak of this process's resident memory in bytes, 0 where there is no /proc.
func scanPeakRSS(b *testing.B) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n << 10
		}
	}
	return 0
}

func BenchmarkNameKey(b *testing.B) {
	var dropbox encoder.MultiEncoder
	if err := dropbox.Set("Slash,BackSlash,Del,RightSpace,InvalidUtf8,Dot"); err != nil {
		b.Fatal(err)
	}
	rules := nameRules{fold: true, enc: &dropbox}
	for name, text := range map[string]string{"ascii": "IMG_20231104_171501.jpg", "unicode": "Übungsblatt Größe " + nfdE + ".pdf"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = rules.key(text)
			}
		})
	}
}

var _ fs.Fs = (*xtest.GenFs)(nil)
