package jobs

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkPermitCall is one call of one process beside 59 others that hold permits of the same remote: at rest each makes
// one a second.
func BenchmarkPermitCall(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"embedded": func(testing.TB) string { return "" }, "redis": startRedis} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, url(b))
			w.limitFiles("remote/x", 120)
			call := 0
			ask := func(holder string) {
				call++
				err := script("fleet/permit").Run(b.Context(), w.store.Client(), []string{keyPermitLimits, keyPermits},
					holder, "account/a,remote/x,remote/y", 2, 16, time.Hour.Milliseconds(), call, 5000).Err()
				if err != nil {
					b.Fatal(err)
				}
			}
			for i := range 60 {
				ask(fmt.Sprintf("host%02d:space:1:AAAAAAAA", i))
			}
			for b.Loop() {
				ask("host07:space:1:AAAAAAAA")
			}
		})
	}
}

// BenchmarkPermit is what a file costs beside a limit that has room.
func BenchmarkPermit(b *testing.B) {
	w := newWorld(b, "")
	w.limitFiles("remote/x", 8)
	p := w.permitsOf("p", nil)
	for b.Loop() {
		free, err := p.take(b.Context(), "remote/x")
		if err != nil {
			b.Fatal(err)
		}
		free()
	}
}
