package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"offload/transfer"
)

// A job on hold waits between proof and deletion. Its order is what workers of every version go by: a deletion that was
// called off isn't in the order any more.

// fieldCalledOff of a job's hash is there when the deletions that were on hold have been called off.
const fieldCalledOff = "hold_called_off"

// Holds returns the jobs on hold of an account ("" for all), those that were paused meanwhile included, newest first.
func (s *Service) Holds(ctx context.Context, account string) ([]Job, error) {
	held := []Job{}
	for o := (ListOptions{States: []State{Waiting, Paused}, Account: account, Limit: 200}); ; {
		page, next, err := s.List(ctx, o)
		if err != nil {
			return nil, err
		}
		for _, j := range page {
			if j.HoldUntil != nil {
				held = append(held, j)
			}
		}
		if o.Cursor = next; next == "" {
			return held, nil
		}
	}
}

// holdOf fills in what there is to say of a job's hold.
func holdOf(j *Job, f map[string]string) {
	j.HoldCalledOff = f[fieldCalledOff] == "1"
	proved := fromMillis(f["proved"])
	onHold := j.State == Waiting && j.Reason == ReasonHold || j.State == Paused
	if !onHold || proved.IsZero() || j.Order.Hold == 0 || !j.Order.Deletes() {
		return
	}
	until := proved.Add(j.Order.Hold)
	j.HoldUntil = &until
	all, whole := tallies(f)
	if !whole {
		return // an earlier version has recorded some of it: nobody has counted
	}
	j.Held = &PlanCount{}
	for k, n := range all {
		if held(k.result, k.source, k.code) {
			j.Held.Files += n.files
			j.Held.Bytes += n.bytes
		}
	}
}

// held tells whether files of this kind are deleted at the end of a hold, if each proves to be at the destination still.
func held(r transfer.Result, s transfer.SourceState, code string) bool {
	return one(r, transfer.Copied, transfer.Skipped) && s == transfer.Kept && code == ""
}

// HoldRelease ends the hold of a job now: what it holds back is deleted, each file proved again before.
func (s *Service) HoldRelease(ctx context.Context, id string) (Job, error) {
	return s.endHold(ctx, id, func(j Job) (string, []any, error) {
		return "hold_release", []any{j.Order.Hold.Milliseconds()}, nil
	})
}

// HoldKeep calls the deletions of a job on hold off: the job ends with its files both at the source and at the destination.
func (s *Service) HoldKeep(ctx context.Context, id string) (Job, error) {
	return s.endHold(ctx, id, func(j Job) (string, []any, error) {
		o := j.Order
		o.DeleteSource, o.Hold, o.PurgeTrash, o.DeletePackages = transfer.DeleteNever, 0, false, false
		raw, err := json.Marshal(o)
		return "hold_keep", []any{raw}, err
	})
}

// endHold runs the script that ends a hold one way or the other.
func (s *Service) endHold(ctx context.Context, id string, how func(Job) (script string, args []any, err error)) (Job, error) {
	j, err := s.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if err := s.checkVersion(ctx, j.ID); err != nil {
		return Job{}, err
	}
	script, args, err := how(j)
	if err != nil {
		return Job{}, fmt.Errorf("end the hold of job %s: %w", j.ID, err)
	}
	s.look(ctx, j.ID, firstLook) // should this process die right after the change
	n, state, err := s.scripts.verdict(ctx, script, j.ID, nil, append(args, s.by(ctx))...)
	switch {
	case err != nil:
		return Job{}, err
	case state == "":
		return Job{}, fmt.Errorf("job %s: %w", j.ID, ErrNotFound)
	case n == -1:
		return Job{}, fmt.Errorf("job %s: a worker is still at its deletions, wait a moment: %w", j.ID, ErrState)
	case n != 1:
		return Job{}, fmt.Errorf("job %s is %s and not on hold: %w", j.ID, state, ErrState)
	}
	// A deletion that was called off must stay so over a failover.
	if err := s.cfg.Store.Replicated(ctx); err != nil {
		s.log.Warn("the end of a hold is on the Redis master alone: should it fail now, look at the job again", "job", j.ID, "error", err)
	}
	s.look(ctx, j.ID, 0)
	if err := s.audit(ctx, j.ID); err != nil {
		return Job{}, err
	}
	return s.get(ctx, j.ID)
}

// keepHeld writes down that the files of a job stay since their deletion was called off. Only where a deletion had been
// asked for by a worker that ended then, the source is looked at.
func (w *worker) keepHeld(ctx context.Context, u *unit, j Job) error {
	return w.s.batches(ctx, u.job, func(b stored) error {
		if err := u.check(ctx); err != nil {
			return err
		}
		jr := newJournal(w.s, u.hold, b.number, b.entries, b.done, u.saw)
		n, err := recordKept(ctx, jr, b, remoteOf(j.Source))
		if err != nil {
			return err
		}
		doubtful := 0
		for _, o := range b.done {
			if o.Source == transfer.Deleting {
				doubtful++
			}
		}
		if doubtful > 0 {
			if err := w.keepDoubtful(ctx, u, j, b, jr); err != nil {
				return err
			}
		}
		if n+doubtful == 0 {
			return nil
		}
		return w.compact(ctx, u, jr)
	})
}

// recordKept records the files of a batch that were held back as kept, and returns how many they are.
func recordKept(ctx context.Context, jr *journal, b stored, source string) (int, error) {
	var all errgroup.Group // records that come together are written together
	n := 0
	for i, o := range b.done {
		// Nor may a retry go on with a deletion that had failed.
		if one(o.Code, transfer.CodeDeleteFailed, transfer.CodeNotSeenAgain) {
			o.Code = ""
		}
		if !held(o.Result, o.Source, o.Code) {
			continue
		}
		n++
		o = o.CalledOff(b.entries[i].Path, source)
		o.At = time.Now().UTC()
		all.Go(func() error { return jr.Record(ctx, i, o) })
	}
	return n, all.Wait()
}

// keepDoubtful looks what became of files whose deletion had begun.
func (w *worker) keepDoubtful(ctx context.Context, u *unit, j Job, b stored, jr *journal) error {
	o, release, err := w.pairs.get(ctx, j)
	if err != nil {
		return w.notOpened(ctx, u, j, err)
	}
	defer release()
	report, err := w.inPool(ctx, u, j, o, jr, func(env transfer.Env) (transfer.Report, error) {
		return o.pair.KeepProved(ctx, w.transferBatch(u, j, b), env)
	})
	if err == nil && report.Pending > 0 {
		err = w.notDeleted(ctx, u, j, report)
	}
	return err
}
