package jobs

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"offload/transfer"
)

// BenchmarkPlannedMillion makes a plan of a million files and has a scan read it.
func BenchmarkPlannedMillion(b *testing.B) {
	w := newWorld(b, "")
	w.put("one", 1)
	for b.Loop() {
		p, err := NewPlanned()
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for i := range 1_000_000 {
			f := PlannedFile{Entry: transfer.Entry{Path: fmt.Sprintf("Documents/Folder %03d/A file of mine %07d.pdf", i/1000, i), Size: int64(i) * 37,
				ModTime: time.Unix(1.6e9+int64(i)*61, 0).UTC(), ID: fmt.Sprintf("FILE::com.apple.CloudDocs::%08X-%04X-4B1C-9D2E-%012X", i*2654435761, i%65536, i*40503), ETag: fmt.Sprintf("%x::%x", i, i*3)},
				Seen: transfer.Seen{State: transfer.SeenNothing}}
			if err := p.Add(f); err != nil {
				b.Fatal(err)
			}
		}
		bytes := 0
		p.Seal()
		for _, part := range p.parts {
			bytes += len(part)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-made")
		b.ReportMetric(float64(bytes)/1e6, "MB-packed")
		o := w.order(transfer.DeleteVerified).WithPlan(p)
		began = time.Now()
		j, err := w.svc.Enqueue(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-stored")
		before, after := runtime.MemStats{}, runtime.MemStats{}
		runtime.GC()
		runtime.ReadMemStats(&before)
		began = time.Now()
		x, err := w.svc.expected(b.Context(), j)
		if err != nil || len(x) != 1_000_000 {
			b.Fatal(len(x), err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-read")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-held")
		runtime.KeepAlive(x)
	}
}
