package jobs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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
		if got, err := s.times.passed(ctx, "offload:times", 1, 0); err != nil || len(got) != 1 || got[0] != "long past" {
			t.Errorf("passed: %v, %v", got, err)
		}
		if got, err := s.times.ahead(ctx, "offload:times", time.Hour); err != nil || len(got) != 1 || got[0] != "coming" {
			t.Errorf("ahead: %v, %v", got, err)
		}
		if got, err := s.times.passed(ctx, "offload:times", 5, 0); err != nil || len(got) != 1 || got[0] != "past" {
			t.Errorf("passed: %v, %v; what is long past must be gone", got, err)
		}
	})
}
