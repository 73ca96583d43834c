package acceptance

import (
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// BenchmarkKilledAt90Percent tells what it costs to end a file of 1 GiB whose worker was killed when nine tenths of it had
// been read, over a line of 100 MiB a second, beside moving it in one go: seconds, and how often iCloud has handed it out.
func BenchmarkKilledAt90Percent(b *testing.B) {
	const size = 1 << 30
	for b.Loop() {
		var took [2]time.Duration
		for i, killed := range []bool{false, true} {
			c := newClouds(b, cloudtest.Options{Bandwidth: 100 << 20})
			c.dropbox.SetForget(true)
			c.account.PutGenerated("Documents/film.mov", size, 7)
			order := []string{"run", "icloud:Documents", "dropbox:Backup", "--delete-source", "verified"}
			if killed {
				p := start(b, "offload to be killed", c.command(order...))
				eventually(b, 5*time.Minute, "nine tenths to be read", func() bool { return c.served() > size/10*9 })
				p.kill()
			}
			begun := time.Now()
			c.run(0, order...)
			took[i] = time.Since(begun)
			if c.arrived() != 1 {
				b.Fatal("the file isn't at Dropbox")
			}
			if killed {
				b.ReportMetric(float64(c.served())/size, "times-read")
			}
		}
		b.ReportMetric(took[0].Seconds(), "s-in-one-go")
		b.ReportMetric(took[1].Seconds(), "s-after-the-kill")
		b.ReportMetric(0, "ns/op")
	}
}
