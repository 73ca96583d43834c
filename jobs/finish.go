package jobs

import (
	"context"
	"errors"
	"fmt"
	"path"

	"offload/internal/failpoint"
	"offload/transfer"
)

// finish runs when the scan and every batch have ended: what was held back is deleted, emptied folders are removed, the
// source's trash is purged where the order says so, and the job gets its last state.
func (w *worker) finish(ctx context.Context, u *unit) error {
	j, err := w.s.Get(ctx, u.job)
	if err != nil {
		return err
	}
	if held, err := w.holding(ctx, u, j); held || err != nil {
		return err
	}
	failpoint.At("finishing")
	note := ""
	if j.HoldCalledOff {
		err := w.keepHeld(ctx, u, j)
		if errors.Is(err, errHandedBack) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	switch {
	case j.Order.Kind != KindMove: // nothing is deleted by it
	case j.Order.Deletes():
		if note, err = w.deleteHeld(ctx, u, j); err == nil {
			err = w.emptyFolders(ctx, u, j)
		}
		if err == nil {
			err = w.purge(ctx, u, j)
		}
		if errors.Is(err, errHandedBack) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := w.manifest(ctx, u); err != nil {
		return err
	}
	failpoint.At("concluding")
	return w.conclude(ctx, u, note)
}

// conclude gives the job its last state. note says why nothing was deleted, if so.
func (w *worker) conclude(ctx context.Context, u *unit, note string) error {
	j, err := w.s.Get(ctx, u.job)
	if err != nil {
		return err
	}
	f, err := w.s.client.HMGet(ctx, keysOf(u.job).job(), "scan_error", "undeleted", "not_purged", fieldManifestError).Result()
	if err != nil {
		return fmt.Errorf("read job %s: %w", u.job, err)
	}
	text := func(i int) string { s, _ := f[i].(string); return s }
	if note == "" {
		note = text(0) // waits in between have cleared the job's error: what the scan couldn't read is kept apart
	}
	if n := number(text(2)); n > 0 {
		if note != "" {
			note += "; "
		}
		note += fmt.Sprintf("%s in the trash of %s: `offload jobs files` says why", filesStay(n), remoteOf(j.Source))
	}
	to := Completed
	if number(text(1)) > 0 || j.Files.Failed > 0 || j.Files.SetAside > 0 || note != "" || text(3) != "" {
		to = CompletedW
	}
	_, err = w.s.scripts.transition(ctx, u.job, from(to), string(to), w.name, note, u.hold)
	return err
}

func filesStay(n int64) string {
	if n == 1 {
		return "1 deleted file stays"
	}
	return fmt.Sprintf("%d deleted files stay", n)
}

// errHandedBack ends a finish whose unit was handed back on the way.
var errHandedBack = errors.New("the unit was handed back")

// notOpened ends a finish that can't open the remotes: with errHandedBack where the job waits now, else with the failure.
func (w *worker) notOpened(ctx context.Context, u *unit, j Job, err error) error {
	if err := w.openFailed(ctx, u, j, err); err != nil {
		return err
	}
	return errHandedBack
}

// holding makes the job wait until its --hold is over.
func (w *worker) holding(ctx context.Context, u *unit, j Job) (bool, error) {
	if j.Order.Hold == 0 || !j.Order.Deletes() {
		return false, nil
	}
	// The hold counts from when everything was proved; the first to finish writes that down.
	k := keysOf(u.job).job()
	now, err := w.s.now(ctx)
	if err != nil {
		return false, err
	}
	if err := w.s.client.HSetNX(ctx, k, "proved", now.UnixMilli()).Err(); err != nil {
		return false, fmt.Errorf("begin the hold: %w", err)
	}
	at, err := w.s.client.HGet(ctx, k, "proved").Result()
	if err != nil {
		return false, fmt.Errorf("read the hold: %w", err)
	}
	until := fromMillis(at).Add(j.Order.Hold)
	if !until.After(now) {
		return false, nil
	}
	if err := w.manifest(ctx, u); err != nil { // of what is proved; it is written anew when the hold is over
		return false, err
	}
	_, err = w.s.scripts.giveback(ctx, u.hold, giveBack{wait: true, reason: ReasonHold, until: until})
	return true, err
}

// deleteHeld deletes what the policy held back: everything at once (complete), or after a hold. It returns why nothing
// was deleted, if so.
func (w *worker) deleteHeld(ctx context.Context, u *unit, j Job) (string, error) {
	if j.Order.DeleteSource != transfer.DeleteComplete && j.Order.Hold == 0 {
		return "", nil
	}
	if j.Order.DeleteSource == transfer.DeleteComplete {
		if why, err := w.incomplete(ctx, j); why != "" || err != nil {
			return why, err
		}
	}
	o, release, err := w.pairs.get(ctx, j)
	if err != nil {
		return "", w.notOpened(ctx, u, j, err)
	}
	defer release()
	return "", w.s.batches(ctx, u.job, func(b stored) error {
		if err := u.check(ctx); err != nil {
			return err
		}
		jr := newJournal(w.s, u.hold, b.number, b.entries, b.done, u.saw)
		report, err := w.inPool(ctx, u, j, o, jr, func(env transfer.Env) (transfer.Report, error) {
			return o.pair.DeleteProved(ctx, w.transferBatch(u, j, b), env, -1)
		})
		if err != nil {
			return err
		}
		if report.Pending > 0 {
			return w.notDeleted(ctx, u, j, report)
		}
		return w.compact(ctx, u, jr)
	})
}

// incomplete tells why the policy "complete" deletes nothing: safety rule 10, and that every file must be proved.
func (w *worker) incomplete(ctx context.Context, j Job) (string, error) {
	unlisted, err := w.s.client.HGet(ctx, keysOf(j.ID).job(), "unlisted").Result()
	if err != nil {
		return "", fmt.Errorf("read job %s: %w", j.ID, err)
	}
	proved := j.Grades.A
	if j.Order.MinGrade >= transfer.GradeB {
		proved += j.Grades.B
	}
	if j.Order.MinGrade >= transfer.GradeC {
		proved += j.Grades.C
	}
	folders, files := number(unlisted), j.Files.Found-j.Files.Excluded-proved
	switch {
	case transfer.RuleListingWasWhole(j.Order.Options, folders+files):
		return "", nil
	case folders > 0:
		return fmt.Sprintf("nothing was deleted: %d folders could not be read whole", folders), nil
	}
	return fmt.Sprintf("nothing was deleted: %d of %d files are not proved, and --delete-source complete needs all", files, files+proved), nil
}

// notDeleted hands the finish back, with the reason.
func (w *worker) notDeleted(ctx context.Context, u *unit, j Job, r transfer.Report) error {
	if r.SignIn == "" && !r.Space && r.NoQuota == 0 {
		return transfer.ErrStop
	}
	back, err := w.whyNot(ctx, u, j, r)
	if err != nil {
		return err
	}
	if back.reason == "" { // some of it was refused and some stopped: the next attempt tells
		return transfer.ErrStop
	}
	back.parked, back.wait = false, true // the finish is one unit: the job waits as a whole
	return &waitError{back}
}

// waitError makes the job wait.
type waitError struct{ back giveBack }

func (e *waitError) Error() string { return "wait for " + string(e.back.reason) }

func (w *worker) compact(ctx context.Context, u *unit, jr *journal) error {
	blob, err := w.s.codec.packOutcomes(jr.outcomes())
	if err != nil {
		return err
	}
	k := keysOf(u.job)
	_, err = w.s.scripts.owned(ctx, "compact", u.hold, []string{k.outcomes(jr.batch), k.ended(jr.batch)}, u.unit, u.fence, blob, jr.tail.last)
	return err
}

// emptyFolders removes the source folders that this job has emptied.
func (w *worker) emptyFolders(ctx context.Context, u *unit, j Job) error {
	dirs := map[string]struct{}{}
	err := w.s.batches(ctx, u.job, func(b stored) error {
		for i, o := range b.done {
			if !o.Source.Gone() {
				continue
			}
			if dir := path.Dir(b.entries[i].SourcePath()); dir != "." {
				dirs[dir] = struct{}{}
			}
		}
		return nil
	})
	if err != nil || len(dirs) == 0 {
		return err
	}
	o, release, err := w.pairs.get(ctx, j)
	if err != nil {
		return w.notOpened(ctx, u, j, err)
	}
	defer release()
	all := make([]string, 0, len(dirs))
	for d := range dirs {
		all = append(all, d)
	}
	n, err := o.pair.RemoveEmptyDirs(ctx, all)
	if errors.Is(err, transfer.ErrNoQuota) {
		return err // the rest is removed when there are calls again
	}
	if err != nil {
		// Folders that stay hold nothing: no reason to call a finished job anything else.
		w.log.Info("remove emptied folders", "job", u.job, "removed", n, "error", err)
	}
	return nil
}
