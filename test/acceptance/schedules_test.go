package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// scheduled is what the tests read of a schedule.
type scheduled struct {
	Running *struct{} `json:"running"`
	Runs    []struct {
		Due    time.Time `json:"due"`
		Result string    `json:"result"`
		Jobs   []string  `json:"jobs"`
	} `json:"runs"`
}

// The process that runs the schedules is killed before it has made a run's job, after that, and before it has noted it. The
// other one takes the run over, and there is one job.
func TestAKilledProcessLeavesItsSchedulesToTheOther(t *testing.T) {
	for _, step := range []string{"schedule_begun", "schedule_enqueued", "schedule_settles"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w, c := plainWorld(t)
			c.redis = w.redis()
			bin, err := mortal()
			if err != nil {
				t.Fatal(err)
			}
			cmd := c.command("worker")
			cmd.Path, cmd.Args[0] = bin, bin
			cmd.Env = append(cmd.Env, "OFFLOAD_FAILPOINT="+step)
			first := start(t, "the worker that dies", cmd)
			store := &asker{network: "unix", address: strings.TrimPrefix(c.redis, "unix://"), patience: 10 * time.Second}
			defer store.close()
			eventually(t, time.Minute, "the first worker to look after the schedules", func() bool {
				leader, err := store.text("GET", "{offload:schedules}:lead")
				return err == nil && leader != ""
			})
			c.start("worker")
			c.run(0, "schedules", "add", "often", filepath.Join(w.dir, "src"), filepath.Join(w.dir, "dst"), "--cron", "* * * * *", "--zone", "Europe/Berlin")
			select {
			case <-first.ended:
			case <-time.After(3 * time.Minute): // it is due within one
				t.Fatal("the first worker didn't die: it ran nothing")
			}
			died := time.Now()
			var s scheduled
			eventually(t, 3*time.Minute, "the other one to take the run over", func() bool {
				s = decode[scheduled](t, c.run(0, "schedules", "show", "often", "--json"))
				return len(s.Runs) > 0
			})
			t.Logf("taken over after %s", time.Since(died).Round(time.Second))
			c.run(0, "schedules", "remove", "often")
			run, all := s.Runs[len(s.Runs)-1], decode[[]job](t, c.run(0, "jobs", "list", "--json"))
			if len(s.Runs) != 1 || run.Result != "made" || len(run.Jobs) != 1 || len(all) != 1 || all[0].ID != run.Jobs[0] {
				t.Errorf("runs %+v, jobs %+v", s.Runs, all)
			}
			c.await(run.Jobs[0], "the job to end", limit(), job.ended)
			if _, err := os.Stat(filepath.Join(w.dir, "dst", "a")); err != nil {
				t.Error(err)
			}
		})
	}
}

// On one machine `up` runs the schedules on the embedded store; a run by hand beside it makes its job at once, and what was
// due while nothing ran is made up for, once.
func TestSchedulesOfOneMachine(t *testing.T) {
	t.Parallel()
	w, c := plainWorld(t)
	c.run(0, "schedules", "add", "often", filepath.Join(w.dir, "src"), filepath.Join(w.dir, "dst"), "--cron", "* * * * *", "--zone", "UTC")
	c.run(0, "schedules", "add", "rest", filepath.Join(w.dir, "src"), filepath.Join(w.dir, "dst2"), "--every", "week")
	// Two minutes pass in which nothing runs.
	eventually(t, 3*time.Minute, "two runs to be missed", func() bool {
		s := decode[struct {
			Next time.Time `json:"next"`
		}](t, c.run(0, "schedules", "show", "often", "--json"))
		return time.Since(s.Next) > 61*time.Second
	})
	c.start("up", "--listen", "off")
	var s scheduled
	eventually(t, time.Minute, "the missed run", func() bool {
		s = decode[scheduled](t, c.run(0, "schedules", "show", "often", "--json"))
		return len(s.Runs) > 0
	})
	if len(s.Runs) > 2 || s.Runs[len(s.Runs)-1].Result != "made" {
		t.Errorf("runs %+v", s.Runs)
	}
	id := c.run(0, "schedules", "run", "rest")[:26]
	c.await(id, "the job of a run by hand", limit(), job.ended)
}

// plainWorld has a folder with a file, and no server.
func plainWorld(t *testing.T) (*world, cli) {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.data = filepath.Join(w.dir, "data")
	for _, dir := range []string{"src", "home"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "src", "a"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(w.dir, "rclone.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return w, cli{w: w, config: conf}
}
