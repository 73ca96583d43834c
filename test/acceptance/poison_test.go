package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// pool are workers on one Redis that are started again when they die, as a supervisor would.
type pool struct {
	t       *testing.T
	c       *clouds
	bin     string
	env     []string
	workers []*process
	deaths  int
}

// newPool starts so many workers; those whose files hold poison in their path kill the worker that begins them.
func newPool(t *testing.T, c *clouds, n int, env ...string) *pool {
	t.Helper()
	bin, err := mortal()
	if err != nil {
		t.Fatal(err)
	}
	c.redis = c.w.redis()
	p := &pool{t: t, c: c, bin: bin, env: env}
	for range n {
		p.workers = append(p.workers, p.begin())
	}
	return p
}

func (p *pool) begin() *process {
	cmd := p.c.command("worker")
	cmd.Path = p.bin
	cmd.Env = append(cmd.Env, p.env...)
	return start(p.t, "offload worker", cmd)
}

// tend starts workers again that have died.
func (p *pool) tend() {
	for i, w := range p.workers {
		if !w.running() {
			p.deaths++
			p.workers[i] = p.begin()
		}
	}
}

// enqueue accepts the job that moves everything.
func (p *pool) enqueue() string {
	p.t.Helper()
	return strings.TrimSpace(p.c.run(0, "enqueue", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified"))
}

// end waits for the end of a job, with the workers tended to.
func (p *pool) end(id string) job {
	p.t.Helper()
	return p.c.await(id, "the job to end", limit(), func(j job) bool {
		p.tend()
		return j.ended()
	})
}

// codes counts how files ended.
func (p *pool) codes(id string) map[string]int {
	p.t.Helper()
	n := map[string]int{}
	for _, r := range decode[[]fileRecord](p.t, p.c.run(0, "jobs", "files", id, "--json")) {
		n[r.Outcome+" "+r.Code]++
	}
	return n
}

// poison plants a file that kills whoever begins it.
func poison(s *stock, path string, size int) { s.put(path, size).stays = "killed_worker" }

func TestAFileThatKillsItsWorkersIsQuarantined(t *testing.T) {
	for _, c := range []struct {
		name   string
		files  int
		plant  func(*stock)
		bad    int
		deaths [2]int
	}{
		{"one of 300", 299, func(s *stock) { poison(s, "Documents/folder 01/poison.txt", 700) }, 1, [2]int{3, 3}},
		{"two of a batch", 12, func(s *stock) {
			poison(s, "Documents/folder 00/poison 1.txt", 700)
			poison(s, "Documents/folder 00/poison 2.txt", 900)
		}, 2, [2]int{7, 8}}, // for the second one more is asked for
		{"a batch of its own", 40, func(s *stock) { poison(s, "Documents/poison.mov", 40<<20) }, 1, [2]int{3, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newClouds(t, cloudtest.Options{Latency: evenly(20 * time.Millisecond)})
			s := newStock(w)
			c.plant(s)
			s.fill("Documents", c.files, 3)
			p := newPool(t, w, 3, "OFFLOAD_FAILPOINT_FILE=poison")
			id := p.enqueue()
			j := p.end(id)
			if j.State != "completed_with_warnings" || j.Files.Copied+j.Files.Skipped != int64(c.files) || j.Files.Failed != int64(c.bad) {
				t.Errorf("the job is %+v, want %d copied and %d failed", j, c.files, c.bad)
			}
			if n := p.codes(id); n["failed killed_worker"] != c.bad {
				t.Errorf("files ended as %v, want %d quarantined", n, c.bad)
			}
			if p.deaths < c.deaths[0] || p.deaths > c.deaths[1] {
				t.Errorf("%d workers died, want %d to %d", p.deaths, c.deaths[0], c.deaths[1])
			}
			t.Logf("%d workers died", p.deaths)
			s.moved(t)
			for _, piece := range s.all() {
				if piece.stays != "" && !s.live(piece) {
					t.Errorf("%q is quarantined and not at its source any more", piece.path)
				}
			}
			w.quarantineIsLifted(t, p, s, id, c.files+c.bad)
		})
	}
}

// quarantineIsLifted retries the job with workers that can do all files.
func (c *clouds) quarantineIsLifted(t *testing.T, p *pool, s *stock, id string, files int) {
	t.Helper()
	for _, w := range p.workers {
		w.kill()
	}
	p.env = nil
	c.run(0, "jobs", "retry", id)
	if j := p.end(id); j.State != "completed" || j.Files.Copied+j.Files.Skipped != int64(files) {
		t.Errorf("retried, the job is %+v, want all %d copied", j, files)
	}
	for _, piece := range s.all() {
		piece.stays = ""
	}
	s.moved(t)
}

// Who is killed from outside has files in hand that aren't to blame.
func TestRandomKillsQuarantineNothing(t *testing.T) {
	t.Parallel()
	seed := seeded(t)
	n, pause, latency := 700, 300*time.Millisecond, 60*time.Millisecond
	if full() { // long enough between two kills that suspects are tried
		n, pause, latency = 2000, time.Second, 250*time.Millisecond
	}
	c := newClouds(t, cloudtest.Options{Latency: evenly(latency)})
	s := newStock(c)
	for i := range n {
		s.put(fmt.Sprintf("Documents/folder %02d/file %03d.txt", i%10, i), 100+(i*977)%4000)
	}
	s.put("Documents/film.mov", 40<<20)
	p := newPool(t, c, 3)
	id := p.enqueue()
	kills, seen := 0, job{}
	for kills < 20 {
		if seen = c.show(id); seen.ended() {
			break
		}
		<-time.After(pause + time.Duration(seed.Int64N(int64(3*pause))))
		p.workers[seed.IntN(len(p.workers))].kill()
		kills++
		p.tend()
	}
	j := p.end(id)
	t.Logf("%d kills, %d of %d files copied before the last one, job %+v", kills, seen.Files.Copied, n+1, j)
	if kills < 20 {
		t.Errorf("the job ended after %d kills: it is too short to prove anything", kills)
	}
	if j.State != "completed" || j.Files.Failed != 0 {
		t.Errorf("the job is %+v: files ended as %v", j, p.codes(id))
	}
	s.moved(t)
}
