package jobs

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// What is stored as a time, and compared with now, is on the store's clock: no process's own clock becomes a number of
// milliseconds, but where the number is a name or is overwritten by a script.
func TestNoLocalClockIsStored(t *testing.T) {
	allowed := map[string]int{
		"queue.go": 1, // makes a task's name differ
	}
	local := regexp.MustCompile(`time\.(Now|Since|Until)\(.*Unix|Unix.*time\.(Now|Since|Until)\(|time\.(Since|Until)\((fromMillis|time\.Unix)|(Before|After)\(time\.Now`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../quota/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, more...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := local.FindAll(text, -1); len(found) != allowed[filepath.Base(name)] {
			t.Errorf("%s reads this process's clock for what others compare: %q", name, found)
		}
	}
}

// Times of the sets are the store's.
func TestTimesAreOnTheStoresClock(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx, s := t.Context(), w.svc
		for name, d := range map[string]time.Duration{"past": -time.Minute, "coming": time.Minute, "long past": -2 * time.Hour} {
			if err := s.times.set(ctx, "offload:times", name, d, 0); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.times.passed(ctx, "offload:times", 1, 0, 0); err != nil || len(got) != 1 || got[0] != "long past" {
			t.Errorf("passed: %v, %v", got, err)
		}
		if got, err := s.times.ahead(ctx, "offload:times", time.Hour); err != nil || len(got) != 1 || got[0] != "coming" {
			t.Errorf("ahead: %v, %v", got, err)
		}
		if got, err := s.times.passed(ctx, "offload:times", 5, 0, 0); err != nil || len(got) != 1 || got[0] != "past" {
			t.Errorf("passed: %v, %v; what is long past must be gone", got, err)
		}
	})
}

// The queue's own leases are on the workers' clocks: to one that is ahead all others' look as if they had run out, and it
// sends their tasks again. That does nothing twice.
func TestTasksThatLookLostToAWrongClockDoNothingTwice(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(60, 20_000)
		want := files(t, w.src)
		w.worker(w.svc, WorkerOptions{Batches: 4, Transfers: 2})
		j := w.enqueue(slow(w.order(transfer.DeleteVerified), "400k"))
		until(t, "some of it is copied", func() bool { return w.reach(j.ID, Queued, Scanning, Transferring, Completed).Files.Copied > 5 })
		ctx, c := t.Context(), w.store.Client()
		held, err := c.ZRange(ctx, "asynq:{normal}:lease", 0, -1).Result()
		if err != nil || len(held) == 0 {
			t.Fatalf("the queue's leases: %v, %v", held, err)
		}
		for _, task := range held {
			if err := c.ZAddXX(ctx, "asynq:{normal}:lease", redis.Z{Score: 1, Member: task}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		w.worker(w.service(nil), WorkerOptions{Batches: 4, Transfers: 2}) // looks for lost tasks as it starts
		until(t, "the tasks are sent again", func() bool {
			left, err := c.ZCount(ctx, "asynq:{normal}:lease", "1", "1").Result()
			return err == nil && left == 0
		})
		got := w.reach(j.ID, Completed, CompletedW, FailedState)
		if got.State != Completed || got.Files.Copied != 60 || got.Files.Deleted != 60 || !maps.Equal(files(t, w.dst), want) {
			t.Errorf("%s, %+v: %s", got.State, got.Files, got.Error)
		}
		if got.Bytes.Copied != 60*20_000 {
			t.Errorf("%d bytes were copied, want each file once", got.Bytes.Copied)
		}
	})
}

// A time further ahead than any is set was set before the store's clock was put back: it has come. Those of another range
// aren't touched by that.
func TestTimesOfAClockThatWasPutBackHaveCome(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx, s := t.Context(), w.svc
		for name, d := range map[string]time.Duration{"put back": 10 * time.Minute, "coming": time.Minute} {
			for _, c := range []dueClass{dueRunning, dueWaiting} {
				if err := s.times.set(ctx, keyDue, name+" "+string('0'+rune(c)), d, c.base()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got, err := s.due(ctx); err != nil || !slices.Equal(got, []string{"put back 0", "put back 1"}) {
			t.Errorf("due: %v, %v", got, err)
		}
	})
}
