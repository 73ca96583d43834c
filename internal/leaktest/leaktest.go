// Package leaktest fails tests that leave goroutines behind.
package leaktest

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// Patience is how long goroutines may take to end after the tests: what ends does so slowly on a busy machine, and goleak alone
// waits for half a second. Tests that leave none wait for nothing.
const Patience = 30 * time.Second

// Run runs the tests of a package for its TestMain and returns the exit status: 1 where they pass but leave goroutines behind,
// each of which is told on stderr.
func Run(m interface{ Run() int }, but ...goleak.Option) int {
	if code := m.Run(); code != 0 {
		return code
	}
	if err := Find(Patience, but...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Find returns an error with the goroutines that are left once all others have ended, or the limit has passed.
func Find(limit time.Duration, but ...goleak.Option) error {
	deadline := time.Now().Add(limit)
	for {
		err := goleak.Find(but...) // it waits for half a second where there are any
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Rclone are goroutines that rclone starts once for a process and never ends.
func Rclone() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/rclone/rclone/lib/pacer.New"),
		goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"),
	}
}
