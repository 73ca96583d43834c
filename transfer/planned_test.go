package transfer_test

import (
	"testing"
	"time"

	"offload/transfer"
	"offload/transfer/xtest"
)

// Between the scan and the turn of a file it may change, and the destination may be given something else: the engine asks
// again what the plan saw.
func TestWhatDriftsAfterTheScanIsSetAside(t *testing.T) {
	for _, conflict := range []transfer.Conflict{transfer.ConflictRename, transfer.ConflictOverwrite, transfer.ConflictSkip} {
		opt := verified
		opt.Conflict = conflict
		aside := transfer.Outcome{Result: transfer.SetAside, Source: transfer.Kept, Code: transfer.CodeDrifted}
		nothing := &transfer.Seen{State: transfer.SeenNothing}

		w := single(t, opt, "content", "", xtest.NewScript())
		w.entries[0].There = nothing
		put(t, w.src, "f.txt", "another", day.Add(time.Hour))
		w.mustRun()
		w.want(aside)

		w = single(t, opt, "content", "somebody's", xtest.NewScript())
		w.entries[0].There = nothing
		w.mustRun()
		w.want(aside)
		if got := readAll(t, w.dst)["f.txt"]; got != "somebody's" || len(readAll(t, w.dst)) != 1 {
			t.Errorf("%s: the destination holds %q", conflict, readAll(t, w.dst))
		}

		// The very content is there already: an attempt whose record was lost has brought it.
		w = single(t, opt, "content", "content", xtest.NewScript())
		w.entries[0].There = nothing
		w.mustRun()
		w.want(transfer.Outcome{Result: transfer.Skipped, Grade: w.outcome("f.txt").Grade, Source: transfer.Deleted})

		w = single(t, opt, "content", "", xtest.NewScript())
		w.entries[0].There = nothing
		w.mustRun()
		w.want(transfer.Outcome{Result: transfer.Copied, Grade: w.outcome("f.txt").Grade, Source: transfer.Deleted})
	}
}
