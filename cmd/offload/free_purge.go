package main

import (
	"context"
	"errors"
	"fmt"

	"offload/jobs"
	"offload/room"
)

// purgeEarlier removes from the trash first what earlier jobs for room there have deleted: that may be enough. It returns the
// plan for what is missing then.
func (f *freeing) purgeEarlier(ctx context.Context, p room.Plan) (room.Plan, error) {
	earlier, err := f.p.jobs.UnpurgedFor(ctx, p.Goal.Remote)
	if err != nil {
		return p, fmt.Errorf("look for earlier jobs: %w", err)
	}
	if len(earlier) == 0 || p.Trash != nil && p.Trash.Files == 0 {
		return p, nil // it was emptied by hand
	}
	var n jobs.PlanCount
	for _, j := range earlier {
		n.Files += j.Unpurged().Files
		n.Bytes += j.Unpurged().Bytes
	}
	sure, err := f.agrees(ctx, fmt.Sprintf("Remove from the trash of %s for good what earlier jobs have deleted, at most %s (%s)? The copies are proved again before.",
		printable(remoteLabel(p.Goal.Remote)), count(n.Files, "file"), size(n.Bytes)))
	if err != nil {
		return p, err
	}
	if !sure {
		return p, usageError("type yes in full to do it, or leave out --purge-trash", "nothing was done")
	}
	f.a.note("removing from the trash first what %s deleted, at most %s (%s)", count(int64(len(earlier)), "earlier job"), count(n.Files, "file"), size(n.Bytes))
	done, interrupted, err := f.rounds.PurgeEarlier(ctx, earlier)
	f.purged = append(f.purged, done...)
	switch {
	case err != nil:
		return p, failure("run the same command again to go on; nothing is lost", err)
	case interrupted || errors.Is(context.Cause(ctx), errInterrupted):
		return p, failure("run the same command again to go on; nothing is lost", errInterrupted)
	}
	if last := done[len(done)-1]; !last.State.Terminal() {
		f.a.note("job %s is %s", last.ID, stateWords(last))
		return p, status(exitWaiting)
	}
	f.last = jobs.Job{} // what follows is another job's
	return f.rounds.Plan(ctx, f.a.foundSoFar())
}
