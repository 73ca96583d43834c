package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// far is how long both clouds take to answer in the benchmark of the issue.
func far() cloudtest.Latency {
	return cloudtest.Latency{List: 300 * time.Millisecond, Meta: 150 * time.Millisecond, FirstByte: 100 * time.Millisecond,
		Delete: 200 * time.Millisecond, Upload: 150 * time.Millisecond, Commit: 300 * time.Millisecond}
}

// evenly is one latency for every call.
func evenly(d time.Duration) cloudtest.Latency {
	return cloudtest.Latency{List: d, Meta: d, FirstByte: d, Delete: d, Upload: d, Commit: d}
}

// cloudRace is one account to be moved by each of the programs.
type cloudRace struct {
	name           string
	files, folders int
	size           int
	latency        cloudtest.Latency
	limit          int  // calls at once at which each cloud begins to refuse; 0 is none. Only for this program
	rclone         bool // whether rclone runs as well; it has the clouds without a limit, at their best for it
}

// BenchmarkICloudToDropboxBesideRclone moves the same played account with rclone at its defaults, with rclone at 32 transfers and
// with this program at its defaults, each between clouds of its own, and reports how many times as fast as each rclone
// the program was (above 1 is faster), and how many calls the clouds refused it. OFFLOAD_BENCH_ALONE leaves rclone out,
// which takes minutes; OFFLOAD_BENCH_TIMELINE shows what happened when.
func BenchmarkICloudToDropboxBesideRclone(b *testing.B) {
	for _, race := range []cloudRace{
		{"400x20kB-far-limit24", 400, 40, 20_000, far(), 24, true},
		{"400x20kB-far-limit12", 400, 40, 20_000, far(), 12, false},
		{"400x20kB-far-limit48", 400, 40, 20_000, far(), 48, false},
		{"2000x20kB-near", 2000, 200, 20_000, cloudtest.Latency{}, 0, true},
		{"5000x1kB-50ms", 5000, 500, 1000, evenly(50 * time.Millisecond), 0, false},
	} {
		b.Run(race.name, func(b *testing.B) {
			seed := seeded(b).Uint64()
			for b.Loop() {
				ours := race.ours(b, seed)
				if !race.rclone || os.Getenv("OFFLOAD_BENCH_ALONE") != "" {
					continue
				}
				wide := race.theirs(b, seed, "--transfers", "32", "--checkers", "32")
				plain := race.theirs(b, seed)
				b.ReportMetric(plain.Seconds()/ours.Seconds(), "x-plain")
				b.ReportMetric(wide.Seconds()/ours.Seconds(), "x-wide")
			}
		})
	}
}

// fill puts the files of the race into a new pair of clouds.
func (race cloudRace) fill(b *testing.B, seed uint64) *clouds {
	b.Helper()
	c := newClouds(b, cloudtest.Options{Latency: race.latency, Seed: seed})
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range race.files {
		content := make([]byte, race.size)
		for j := range content {
			content[j] = byte(rnd.Uint32())
		}
		c.account.Put(fmt.Sprintf("Folder %03d/File %05d.bin", i%race.folders, i), content, time.Unix(1_700_000_000+int64(i), 0))
	}
	c.play.ResetCounts()
	return c
}

// ours times this program and demands that it proved and deleted every file.
func (race cloudRace) ours(b *testing.B, seed uint64) time.Duration {
	c := race.fill(b, seed)
	c.play.ICloud.SetLimit(race.limit)
	c.play.Dropbox.SetLimit(race.limit)
	took := race.time(b, c, "offload run --delete-source verified",
		c.command("run", "icloud:", "dropbox:Backup", "--delete-source", "verified"))
	refused := c.play.ICloud.Refused() + c.play.Dropbox.Refused()
	b.Logf("refused: %d by iCloud, %d by Dropbox; at once: %d at iCloud, %d at Dropbox", c.play.ICloud.Refused(),
		c.play.Dropbox.Refused(), c.play.MaxInFlight("icloud:*"), c.play.MaxInFlight("dropbox:*"))
	b.ReportMetric(float64(refused), "refused")
	for _, f := range decode[[]fileRecord](b, c.run(0, "jobs", "files", c.only().ID, "--json")) {
		if f.Grade != "A" || f.Source != "deleted" {
			b.Fatalf("%s: grade %q, %s at the source, code %q", f.Path, f.Grade, f.Source, f.Code)
		}
	}
	return took
}

// theirs times rclone, with no limit on the clouds.
func (race cloudRace) theirs(b *testing.B, seed uint64, flags ...string) time.Duration {
	c := race.fill(b, seed)
	return race.time(b, c, strings.Join(append([]string{"rclone move"}, flags...), " "),
		c.rclone(append([]string{"move", "icloud:", "dropbox:Backup"}, flags...)...))
}

// time runs one move, which must leave nothing behind.
func (race cloudRace) time(b *testing.B, c *clouds, name string, cmd *exec.Cmd) time.Duration {
	b.Helper()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		b.Fatalf("%s: %v\n%s", name, err, out)
	}
	if left := c.account.Files(); left > 0 {
		b.Fatalf("%s left %d files at iCloud\n%s", name, left, out)
	}
	if came := c.arrived(); came != race.files {
		b.Fatalf("%s brought %d files of %d to Dropbox", name, came, race.files)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	b.Logf("%-45s %7.2f s, %6.2f s of processor time, calls: %s", name, took.Seconds(), cpu.Seconds(), callsOf(c.play))
	if os.Getenv("OFFLOAD_BENCH_TIMELINE") != "" {
		b.Logf("calls that ended in each half second:\n%s", timeline(c.play, began))
	}
	return took
}

// callsOf lists the endpoints that were called, and how often.
func callsOf(w *cloudtest.World) string {
	var parts []string
	for _, name := range w.Endpoints() {
		if n := w.Calls(name); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	}
	return strings.Join(parts, ", ")
}

// timeline tells for each half second which calls ended in it.
func timeline(w *cloudtest.World, began time.Time) string {
	const step = 500 * time.Millisecond
	slots := map[int]map[string]int{}
	last := 0
	for _, r := range w.Requests() {
		n := int(r.Time.Sub(began) / step)
		if slots[n] == nil {
			slots[n] = map[string]int{}
		}
		name := r.Endpoint
		if r.Status/100 != 2 {
			name += fmt.Sprint("=", r.Status)
		}
		slots[n][name]++
		last = max(last, n)
	}
	var out strings.Builder
	for n := range last + 1 {
		var parts []string
		for name, count := range slots[n] {
			parts = append(parts, fmt.Sprintf("%s %d", name, count))
		}
		slices.Sort(parts)
		fmt.Fprintf(&out, "%5.1f s  %s\n", (time.Duration(n) * step).Seconds(), strings.Join(parts, ", "))
	}
	return out.String()
}
