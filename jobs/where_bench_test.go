package jobs

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"offload/manifest"
)

// offloaded makes lines as a job on iCloud and Dropbox leaves them: hashes, IDs and most names differ from each other.
func offloaded(r *rand.Rand, n int) []manifest.Line {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	text := func(bytes int) string {
		raw := make([]byte, 0, bytes+8)
		for len(raw) < bytes {
			raw = binary.LittleEndian.AppendUint64(raw, r.Uint64())
		}
		return hex.EncodeToString(raw[:bytes])
	}
	words := []string{"Invoice", "letter", "Scan", "minutes", "draft", "Übung", "report", "Receipt", "holiday", "contract"}
	var all []manifest.Line
	for i := range n {
		at = at.Add(time.Duration(r.IntN(4000)) * time.Millisecond)
		l := manifest.Line{Size: r.Int64N(5 << 20), ModTime: at.AddDate(-3, 0, -r.IntN(900)), Hash: "dropbox:" + text(32), Grade: "A",
			ID: "FILE::com.apple.CloudDocs::" + text(16), ETag: text(2), Result: "copied", State: "deleted", Copied: at, Proved: at, Deleted: at.Add(time.Second)}
		switch folder := i / 120; i % 3 {
		case 0:
			l.Path = fmt.Sprintf("Photos/%d/%02d/IMG_%04d.HEIC", 2010+folder%14, folder%12+1, i%10000)
		case 1:
			l.Path = fmt.Sprintf("Documents/%s %d/%s %s.pdf", words[folder%10], folder, words[r.IntN(10)], text(3))
		default:
			l.Path = fmt.Sprintf("Projects/%s/src/%s/%s.txt", words[folder%10], words[folder/10%10], text(8))
		}
		l.Dest = l.Path
		all = append(all, l)
	}
	return all
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// plantManifests fills a store with manifests of jobs that were removed. It returns a name that one file alone has.
func (w *world) plantManifests(jobs, each int) string {
	w.t.Helper()
	r := newRand()
	rare := ""
	for n := range jobs {
		lines := offloaded(r, each)
		if n == jobs/3 {
			rare = "the-one-that-is-looked-for-" + fmt.Sprint(n)
			lines[each/2].Path = "Documents/Über alles/" + rare + ".pdf"
			lines[each/2].Dest = lines[each/2].Path
		}
		id, err := newID()
		if err != nil {
			w.t.Fatal(err)
		}
		h := manifest.Header{Job: id, Source: "icloud:", Destination: "dropbox:Backup", Account: "default", Created: time.Now().UTC()}
		if _, err := w.svc.writeManifest(w.t.Context(), h, io.Discard, func() error { return nil }, func(yield func(manifest.Line) error) error {
			for _, l := range lines {
				if err := yield(l); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	return rare
}

// BenchmarkWhere looks for files among a million of a thousand jobs: one that is there once, one that isn't, one of digits
// that every block has, and names that thousands have.
func BenchmarkWhere(b *testing.B) {
	const jobs, each = 1000, 1000
	for name, url := range map[string]func() string{"embedded": func() string { return "" }, "redis": func() string { return startRedis(b) }} {
		b.Run(name, func(b *testing.B) {
			at := url()
			w := newWorld(b, at)
			before := int64(0)
			if at != "" {
				before = redisMemory(b, w.store)
			}
			began := time.Now()
			rare := w.plantManifests(jobs, each)
			wrote, memory := time.Since(began).Seconds(), int64(0)
			if at != "" {
				memory = redisMemory(b, w.store) - before
			}
			infos, err := w.svc.Manifests(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			stored := int64(0)
			for _, m := range infos {
				stored += m.Stored
			}
			for b.Loop() {
				for _, q := range []struct {
					metric, text string
					found        int
				}{{"rare", rare, 1}, {"none", "nowhere-to-be-found", 0}, {"digits", "IMG_00001111", 0}, {"folder", "über alles/the", 1}, {"many", "img_", 100}, {"short", "q9", 0}} {
					w.p99(b, q.metric, 15, func(int) error {
						page, err := w.svc.Where(b.Context(), q.text, 100)
						if err == nil && len(page.Files) != q.found {
							err = fmt.Errorf("found %d", len(page.Files))
						}
						return err
					})
				}
			}
			b.ReportMetric(wrote, "s/writing")
			b.ReportMetric(float64(memory)/(jobs*each), "redis-B/file")
			b.ReportMetric(float64(stored)/(jobs*each), "B/file")
		})
	}
}
