package jobs

import (
	"context"
	"fmt"
	"slices"

	"offload/internal/failpoint"
	"offload/transfer"
)

// purge measures what the deletions have freed and, where the order says so, removes for good what this job put into the
// source's trash. It may be called again after a crash or a wait.
func (w *worker) purge(ctx context.Context, u *unit, j Job) error {
	o, release, err := w.pairs.get(ctx, j)
	if err != nil {
		return w.notOpened(ctx, u, j, err)
	}
	defer release()
	if o.pair.KeepsTrash() {
		if err := w.s.client.HSet(ctx, keysOf(u.job).job(), fieldTrash, "1").Err(); err != nil {
			return fmt.Errorf("note the source's trash of job %s: %w", u.job, err)
		}
	}
	if !j.Order.PurgeTrash {
		return w.measure(ctx, u, o.pair, fieldAfterTrash, fieldAfter)
	}
	if err := w.measure(ctx, u, o.pair, fieldAfterTrash); err != nil {
		return err
	}
	err = w.s.batches(ctx, u.job, func(b stored) error {
		if !slices.ContainsFunc(b.done, func(o transfer.Outcome) bool { return o.Source.InTrash() }) {
			return nil // a listing of the trash is spared
		}
		return w.purgeBatch(ctx, u, j, o, b)
	})
	if err != nil {
		return err
	}
	return w.measure(ctx, u, o.pair, fieldAfter)
}

func (w *worker) purgeBatch(ctx context.Context, u *unit, j Job, o *openJob, b stored) error {
	if err := u.check(ctx); err != nil {
		return err
	}
	failpoint.At("trash")
	jr := newJournal(w.s, u.hold, b.number, b.entries, b.done, u.saw)
	report, err := w.inPool(ctx, u, j, o, jr, func(env transfer.Env) (transfer.Report, error) {
		// It is asked just before the purge: a job that was paused or canceled meanwhile purges nothing. The answers of
		// the store to the records before it have told.
		env.Held = func() error {
			if u.stopped.Load() {
				return transfer.ErrStop
			}
			return u.held()
		}
		return o.pair.PurgeDeleted(ctx, w.transferBatch(u, j, b), env)
	})
	if err != nil {
		return err
	}
	if report.Pending > 0 {
		return w.notDeleted(ctx, u, j, report)
	}
	failpoint.At("purge recorded")
	return w.compact(ctx, u, jr)
}
