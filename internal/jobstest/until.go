package jobstest

import (
	"testing"
	"time"
)

// Until waits for a condition, and fails the test when it doesn't come within a minute.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end, tick := time.NewTimer(time.Minute), time.NewTicker(10*time.Millisecond)
	defer end.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-end.C:
			t.Fatalf("waited a minute in vain: %s", what)
		case <-tick.C:
		}
	}
}
