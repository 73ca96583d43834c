package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkBesideRcloneMove moves the same files between the same servers with rclone and with this program, one after
// the other, and reports how many times as fast as each rclone the program was (above 1 is faster).
func BenchmarkBesideRcloneMove(b *testing.B) {
	cases := []struct {
		name  string
		count int
		size  int64
		delay time.Duration // of each request to the source
	}{
		{"2000x10kB", 2000, 10_000, 0},
		{"2000x10kB-50ms", 2000, 10_000, 50 * time.Millisecond},
		{"1x512MiB", 1, 512 << 20, 0},
	}
	for _, bc := range cases {
		b.Run(bc.name, func(b *testing.B) {
			rnd := seeded(b)
			w := newWorld(b, func(dir string) { manyFiles(b, rnd, dir, bc.count, bc.size) })
			round := 0
			for b.Loop() {
				round++
				plain := w.race(round, bc.delay, "rclone move", func() *exec.Cmd {
					return w.rcloneCommand("move", "src:", w.target("plain", round))
				})
				wide := w.race(round, bc.delay, "rclone move --transfers 32 --checkers 32", func() *exec.Cmd {
					return w.rcloneCommand("move", "src:", w.target("wide", round), "--transfers", "32", "--checkers", "32")
				})
				ours := w.race(round, bc.delay, "offload run --delete-source verified", func() *exec.Cmd {
					c := cli{w: w, config: w.config("offload", w.webdav)}
					return c.command("run", "src:", w.target("offload", round), "--delete-source", "verified")
				})
				b.ReportMetric(plain.Seconds()/ours.Seconds(), "x-plain")
				b.ReportMetric(wide.Seconds()/ours.Seconds(), "x-wide")
			}
		})
	}
}

// target is a folder of its own for each run, so that nobody finds files of another.
func (w *world) target(who string, round int) string {
	return fmt.Sprintf("s3:%s/%s-%d", bucket, who, round)
}

// race fills the source anew, times one move and demands that it moved everything. Each move gets a WebDAV server of its
// own, since a server remembers the folders that the move before has emptied.
func (w *world) race(round int, delay time.Duration, name string, command func() *exec.Cmd) time.Duration {
	w.t.Helper()
	copyTree(w.t, w.keep, w.source)
	server := w.startWebDAV()
	defer server.kill()
	if delay > 0 {
		far := newProxy(w.t, w.webdav, 0)
		far.delay = delay
		w.webdav = far.url
	}
	cmd := command()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	if left := files(w.t, w.source); len(left) > 0 {
		w.t.Fatalf("%s left %d files at the source", name, len(left))
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	w.t.Logf("round %d: %-42s %6.2f s, %5.2f s of processor time", round, name, took.Seconds(), cpu.Seconds())
	return took
}

func manyFiles(t testing.TB, rnd *rand.Rand, dir string, count int, size int64) {
	t.Helper()
	for i := range count {
		randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("folder %02d", i/100), fmt.Sprintf("file %04d.bin", i)), size)
	}
}
