package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// BenchmarkFourWorkers moves the same played account with one worker and with four, each with the same settings, between
// clouds that answer slowly, so that the processors have little to do. It reports how many times as fast the four are, how
// long it takes from the first moment at which one of them has nothing left to do until the last file, and what share of
// the four workers' time was spent with work in hand.
func BenchmarkFourWorkers(b *testing.B) {
	for _, f := range []fleetRace{
		{name: "4000x10kB-200ms", files: 4000, folders: 100, size: func(int) int { return 10_000 }, latency: evenly(200 * time.Millisecond),
			settings: []string{"--batches", "4", "--transfers", "8"}},
		{name: "300x1kB-8MB-100ms", files: 300, folders: 12, size: uneven, latency: evenly(100 * time.Millisecond), bandwidth: 4 << 20,
			settings: []string{"--batches", "4", "--transfers", "4"}},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				one := f.run(b, 1)
				four := f.run(b, 4)
				b.ReportMetric(one.took.Seconds()/four.took.Seconds(), "x-four")
				b.ReportMetric(one.took.Seconds(), "s-one")
				b.ReportMetric(four.took.Seconds(), "s-four")
				b.ReportMetric(four.tail.Seconds(), "s-tail")
				b.ReportMetric(100*four.busy, "busy-%")
			}
		})
	}
}

// uneven is the size of a file: many are of a kilobyte, one in twenty of some megabytes.
func uneven(i int) int {
	switch {
	case i%60 == 7:
		return 8 << 20
	case i%20 == 3:
		return 2 << 20
	case i%4 == 1:
		return 200 << 10
	}
	return 1000
}

// fleetRace is one account to be moved by fleets of several sizes.
type fleetRace struct {
	name           string
	files, folders int
	size           func(i int) int
	latency        cloudtest.Latency
	bandwidth      int64
	settings       []string
}

// fleetTime is how a fleet did.
type fleetTime struct {
	took, tail time.Duration
	busy       float64 // share of the workers' time with work in hand, between the first batch and the last
}

func (f fleetRace) run(b *testing.B, workers int) fleetTime {
	b.Helper()
	c := newClouds(b, cloudtest.Options{Latency: f.latency, Bandwidth: f.bandwidth})
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range f.files {
		content := make([]byte, f.size(i))
		for j := range content {
			content[j] = byte(rnd.Uint32())
		}
		c.account.Put(fmt.Sprintf("Folder %03d/File %05d.bin", i%f.folders, i), content, time.Unix(1_700_000_000+int64(i), 0))
	}
	c.onRedis()
	var fleet []*process
	for i := range workers {
		fleet = append(fleet, c.another(i).start(append([]string{"worker"}, f.settings...)...))
	}
	for _, p := range fleet {
		eventually(b, time.Minute, "a worker to start", func() bool { return strings.Contains(p.out.String(), "worker started") })
	}
	began := time.Now()
	id := strings.TrimSpace(c.run(0, "enqueue", "icloud:", "dropbox:Backup", "--delete-source", "verified"))
	watch := c.watchFleet(id, workers)
	took := time.Since(began)
	if j := c.show(id); j.State != "completed" || j.Files.Deleted != int64(f.files) {
		b.Fatalf("%+v", j)
	}
	for _, p := range fleet {
		p.interrupt(b)
		if s := p.status(b, time.Minute); s != 0 {
			b.Fatalf("a worker ended with status %d", s)
		}
	}
	watch.took = took
	b.Logf("%d workers: %.2f s, tail %.2f s, busy %.0f %%, calls at once: %d at iCloud, %d at Dropbox; %s", workers, took.Seconds(),
		watch.tail.Seconds(), 100*watch.busy, c.play.MaxInFlight("icloud:*"), c.play.MaxInFlight("dropbox:*"), callsOf(c.play))
	if os.Getenv("OFFLOAD_BENCH_TIMELINE") != "" {
		b.Logf("calls that ended in each half second:\n%s", timeline(c.play, began))
	}
	return watch
}

// another is the same command line with a configuration of its own, as on another machine.
func (c *clouds) another(n int) *clouds {
	c.w.t.Helper()
	other := *c
	other.config = fmt.Sprintf("%s-%d", c.config, n)
	if err := copyFile(c.config, other.config); err != nil {
		c.w.t.Fatal(err)
	}
	return &other
}

// watchFleet looks at who holds units of the job until it has ended.
func (c *clouds) watchFleet(id string, workers int) fleetTime {
	c.w.t.Helper()
	key := "offload:{" + id + "}:"
	var looks [][]string // who held a batch, at each look
	var at []time.Time
	eventually(c.w.t, 10*time.Minute, "the job to end", func() bool {
		answer := strings.Split(c.redisCLI("eval", `local ended = redis.call('hget', KEYS[1], 'finished') or ''
local out = {ended == '' and 'no' or ended}
for i, v in ipairs(redis.call('hgetall', KEYS[2])) do out[i + 1] = v end
return out`, "2", key+"job", key+"holder"), "\n")
		var held []string
		for i := 1; i+1 < len(answer); i += 2 {
			if strings.HasPrefix(answer[i], "b") {
				held = append(held, answer[i+1])
			}
		}
		looks, at = append(looks, held), append(at, time.Now())
		return answer[0] != "no"
	})
	var f fleetTime
	first := slices.IndexFunc(looks, func(h []string) bool { return distinct(h) == workers })
	last := len(looks) - 1
	for last > 0 && len(looks[last]) == 0 {
		last--
	}
	if first < 0 || first > last {
		return f
	}
	sum, end := 0, last
	for i := first; i <= last; i++ {
		sum += distinct(looks[i])
	}
	for end > first && distinct(looks[end]) < workers {
		end--
	}
	f.busy = float64(sum) / float64(workers*(last-first+1))
	f.tail = at[last].Sub(at[end])
	if os.Getenv("OFFLOAD_BENCH_TIMELINE") != "" {
		c.w.t.Logf("batches held by each worker:\n%s", holdings(looks, at))
	}
	return f
}

func distinct(names []string) int {
	return len(slices.Compact(slices.Sorted(slices.Values(names))))
}

// holdings shows how many batches each worker held, about once a second.
func holdings(looks [][]string, at []time.Time) string {
	var all []string
	for _, held := range looks {
		all = append(all, held...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	var out strings.Builder
	shown := time.Time{}
	for i, held := range looks {
		if at[i].Sub(shown) < time.Second {
			continue
		}
		shown = at[i]
		fmt.Fprintf(&out, "%5.1f s", at[i].Sub(at[0]).Seconds())
		for _, name := range all {
			n := 0
			for _, h := range held {
				if h == name {
					n++
				}
			}
			out.WriteString(" " + strconv.Itoa(n))
		}
		out.WriteString("\n")
	}
	return out.String()
}
