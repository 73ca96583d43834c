package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"offload/internal/redistest"
)

// leaseTime is how long a unit of work stays with a worker that can't renew it.
const leaseTime = 15 * time.Second

// ownGrace is how long a worker may take to stop, whatever has become of the store.
const ownGrace = 25 * time.Second

// away are the ways in which Redis can be gone; each returns how it comes back.
func away(s *redistest.Server, r *relay) map[string]func() (back func()) {
	return map[string]func() func(){
		"killed":      func() func() { s.Kill(); return s.Run },
		"hung":        func() func() { s.Freeze(); return s.Thaw },
		"unreachable": func() func() { r.setCut(true); return func() { r.setCut(false) } },
	}
}

// smallFiles fills a folder with so many small files.
func smallFiles(t testing.TB, n int) func(dir string) {
	return func(dir string) {
		rnd := seeded(t)
		for i := range n {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("folder %02d", i%17), fmt.Sprintf("%04d.bin", i)), 20<<10+rnd.Int64N(20<<10))
		}
	}
}

// Redis is gone for longer than the leases last. The workers stop what they hold and delete nothing, stay, keep quiet, and
// go on when it is back: nothing is lost, deleted twice or moved twice.
func TestRedisIsAwayForLongerThanTheLeases(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]time.Duration{"killed": 25 * time.Second, "hung": 25 * time.Second, "unreachable": 40 * time.Second} {
		if full() {
			gone = 5 * time.Minute
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, smallFiles(t, 300))
			w.wholeUploads()
			w.killed = true // a file whose lease ran out on its way leaves a partial upload
			server := redistest.StartServer(t, "--maxmemory-policy", "noeviction")
			link := newRelay(t, server.Socket())
			total := sum(files(t, w.keep))
			way := newProxy(t, w.webdav, total/20)
			c := cli{w: w, redis: link.url(), config: w.config("offload", way.url)}
			// Few files at once, so that few are on their way when the leases end.
			workers := []*process{c.start("worker", "--transfers", "3"), c.start("worker", "--transfers", "3")}
			id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
			eventually(t, time.Minute, "a third of the move", func() bool { return way.total() > total/3 })

			back := away(server, link)[name]()
			lost := time.Now()
			way.setRate(0)
			await(t, leaseTime) // until then the workers may own what they hold
			before, busy := way.deleted(), cpu(t, workers)
			await(t, gone-time.Since(lost))
			if after := way.deleted(); len(after) != len(before) {
				t.Errorf("%d files were deleted without a lease", len(after)-len(before))
			}
			spent := cpu(t, workers) - busy
			if limit := (gone - leaseTime) / 5; spent > limit {
				t.Errorf("two workers spent %s waiting for Redis, want at most %s", spent, limit)
			}
			w.nothingLost()
			served := way.total()
			for _, p := range workers {
				if !p.running() {
					t.Fatal("a worker ended")
				}
			}

			back()
			returned := time.Now()
			eventually(t, time.Minute, "the workers to go on", func() bool { return way.total() > served })
			resumed := time.Since(returned)
			whole(t, w, c, c.await(id, "the job to end", limit(), job.ended))
			onceDeleted(t, w, way)
			lines := 0
			for _, p := range workers {
				said := p.out.String()
				lines += strings.Count(said, "\n")
				for _, want := range []string{"the store doesn't answer: what was begun", `"the store answers again" after`} {
					if n := strings.Count(said, want); n != 1 {
						t.Errorf("a worker says %d times that %s, want once", n, want)
					}
				}
			}
			t.Logf("gone %s: CPU of two workers %s, %d lines logged, went on after %s, served %.2f times the tree",
				gone, spent, lines, resumed, float64(way.total())/float64(total))
			if lines > 100 {
				t.Errorf("the workers logged %d lines", lines)
			}
			if resumed > 20*time.Second { // measured: below 10 s on a quiet machine
				t.Errorf("the workers went on %s after Redis was back", resumed)
			}
			if got := way.total(); got > total*115/100 {
				t.Errorf("the source served %d bytes of a tree of %d", got, total)
			}
		})
	}
}

// A worker that is told to stop while Redis is gone ends in its own time, with status 0, and the files are safe.
func TestAWorkerStopsWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"killed", "hung", "unreachable"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, smallFiles(t, 200))
			w.wholeUploads()
			w.killed = true
			server := redistest.StartServer(t, "--maxmemory-policy", "noeviction")
			link := newRelay(t, server.Socket())
			total := sum(files(t, w.keep))
			way := newProxy(t, w.webdav, total/20)
			c := cli{w: w, redis: link.url(), config: w.config("offload", way.url)}
			worker := c.start("worker")
			id := strings.TrimSpace(c.run(0, "enqueue", "src:", "s3:"+bucket, "--delete-source", "verified"))
			eventually(t, time.Minute, "a part of the move", func() bool { return way.total() > total/5 })

			back := away(server, link)[name]()
			begun := time.Now()
			if err := worker.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if status := worker.status(t, ownGrace); status != 0 {
				t.Errorf("the worker ended with status %d, want 0", status)
			}
			t.Logf("stopped after %s", time.Since(begun))
			w.nothingLost()
			back()
			way.setRate(0)
			c.start("worker")
			whole(t, w, c, c.await(id, "the job to end", limit(), job.ended))
			onceDeleted(t, w, way)
		})
	}
}

// A command says within seconds, in one line and a hint, that Redis is gone. Nothing is stored.
func TestCommandsWithoutRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(dir string) { randomFile(t, seeded(t), filepath.Join(dir, "a"), 10) })
	config := w.config("offload", w.webdav)
	for _, name := range []string{"killed", "hung", "unreachable"} {
		server := redistest.StartServer(t)
		link := newRelay(t, server.Socket())
		away(server, link)[name]()
		type call struct {
			*process
			begun time.Time
		}
		var calls []*call
		for _, url := range []string{link.url(), "redis-sentinel://" + link.addr + "/0?master=m", "redis-cluster://" + link.addr} {
			for _, args := range [][]string{{"jobs", "list"}, {"enqueue", "src:", "s3:" + bucket}} {
				calls = append(calls, &call{process: cli{w: w, redis: url, config: config}.start(args...), begun: time.Now()})
			}
		}
		for _, p := range calls {
			status := p.status(t, time.Minute)
			said := strings.TrimSpace(p.out.String())
			if status != 1 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "reach Redis at") {
				t.Errorf("%s, %s: status %d: %s", name, p.name, status, said)
			}
			if took := time.Since(p.begun); took > 30*time.Second { // 5 s and what a busy machine adds
				t.Errorf("%s, %s: ended after %s", name, p.name, took)
			}
		}
	}
}

// A worker that is started before its Redis waits for it, and says so once.
func TestAWorkerWaitsForItsRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(dir string) { randomFile(t, seeded(t), filepath.Join(dir, "a"), 10) })
	server := redistest.StartServer(t, "--maxmemory-policy", "noeviction")
	server.Kill()
	c := cli{w: w, redis: server.URL(), config: w.config("offload", w.webdav)}
	p := c.start("worker")
	eventually(t, time.Minute, "the worker to say that it waits", func() bool {
		return strings.Contains(p.out.String(), "waiting for it") || !p.running()
	})
	server.Run()
	eventually(t, time.Minute, "the worker to start", func() bool {
		return strings.Contains(p.out.String(), "worker started") || !p.running()
	})
	if !p.running() || strings.Count(p.out.String(), "waiting for it") != 1 {
		t.Errorf("the worker said:\n%s", p.out)
	}
}

// onceDeleted demands that every file was to be deleted once at the source.
func onceDeleted(t *testing.T, w *world, ways ...*proxy) {
	t.Helper()
	for path := range files(t, w.keep) {
		asked := 0
		for _, way := range ways {
			asked += way.deleted()["/"+path]
		}
		if asked != 1 {
			t.Errorf("%q was to be deleted %d times, want once", path, asked)
		}
	}
}

// await lets a time go by that is itself what is tested.
func await(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// cpu is the processor time that processes have used so far.
func cpu(t testing.TB, all []*process) (spent time.Duration) {
	t.Helper()
	const tick = 10 * time.Millisecond // of /proc, on every Linux
	for _, p := range all {
		raw, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/stat")
		if err != nil {
			t.Skipf("this system doesn't tell the processor time of a process: %v", err)
		}
		f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		for _, field := range f[11:13] { // user and system
			n, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			spent += time.Duration(n) * tick
		}
	}
	return spent
}
