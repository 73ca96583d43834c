package transfer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"offload/internal/failpoint"
)

// PurgeDeleted removes for good what the job deleted at the source, out of the source's trash, where each copy is proved
// once more (safety rule 12). b.Done says what was deleted. It is called when everything else of the job is done, and may
// be called again after a crash. A source without a trash is left alone.
func (p *Pair) PurgeDeleted(ctx context.Context, b Batch, env Env) (Report, error) {
	t, ok := p.Source.(Trash)
	if !ok {
		return Report{}, nil
	}
	env = env.withDefaults()
	r := newRun(p, b, env, purgeable)
	if !slices.Contains(r.closed, false) {
		return Report{}, nil
	}
	inTrash, err := r.listTrash(ctx, t)
	switch {
	case ctx.Err() != nil:
		return Report{}, context.Cause(ctx)
	case err != nil && waitsForLater(ctx, sourceErr("list the trash", err)):
		return r.later(ctx, sourceErr("list the trash", err), len(b.Entries)), nil
	case err != nil:
		// What was deleted stays in the trash, where the source removes it in its own time: no file is at stake.
		slog.WarnContext(ctx, "list the trash", "remote", remoteName(p.Source), "error", err)
		return r.each(ctx, (*work).notPurged)
	}
	pg := &purge{trash: t, inTrash: inTrash}
	rep, err := r.each(ctx, func(w *work, ctx context.Context) error { return pg.gather(ctx, w) })
	if err != nil {
		return rep, err
	}
	waiting, cause, err := pg.send(ctx, r)
	if cause != nil {
		rep = r.later(ctx, cause, rep.Pending+waiting)
	}
	return rep, err
}

// listTrash lists a trash by the IDs of its items, and tries again where that may help.
func (r *run) listTrash(ctx context.Context, t Trash) (items map[string]Trashed, err error) {
	err = r.retry.try(ctx, func() (err error) {
		items, err = itemsOf(ctx, t)
		return err
	})
	return items, err
}

// waitsForLater tells whether an error leaves what it is about pending.
func waitsForLater(ctx context.Context, err error) bool {
	c := classify(ctx, err)
	return c == classSignIn || c == classQuota
}

// later is the report of a run of which so many entries wait for what the error says.
func (r *run) later(ctx context.Context, err error, pending int) Report {
	r.pend(ctx, classify(ctx, err), err, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rep.Pending = pending; r.allNoQuota {
		r.rep.NoQuota = pending
	}
	return r.rep
}

// purge gathers the items of a batch that may go.
type purge struct {
	trash   Trash
	inTrash map[string]Trashed // fixed after the listing

	mu    sync.Mutex
	works []*work
	items []Trashed // of the works
}

// purgeable tells whether an entry's source file lies in the trash, by what was recorded.
func purgeable(_ Entry, o Outcome) bool { return o.Source.InTrash() }

// gather proves the copy of one deleted file again and queues the file for the purge.
func (pg *purge) gather(ctx context.Context, w *work) error {
	return w.tries(ctx, func(ctx context.Context, _ int) error {
		m, ok := parseMark(w.done.SourceMark)
		if !ok {
			return w.stays(ctx, "the record of its version can't be read")
		}
		item, ours := rulePurgeOnlyOurs(w.done, m, pg.inTrash)
		if _, there := pg.inTrash[m.id]; !ours && there {
			return w.stays(ctx, "the trash holds another version of it")
		}
		if !ours && w.done.Source == Purging {
			return w.purged(ctx) // by this purge, begun before a crash
		}
		if !ours {
			return w.stays(ctx, "it isn't in the trash any more")
		}
		held, err := w.holds(ctx, w.done, m)
		if err != nil {
			return err
		}
		if !held {
			return w.stays(ctx, "the copy at the destination was changed or removed")
		}
		w.done.Source, w.done.Code, w.done.Reason = Purging, "", ""
		if err := w.r.record(ctx, w.i, w.done); err != nil {
			return err
		}
		pg.mu.Lock()
		defer pg.mu.Unlock()
		pg.works, pg.items = append(pg.works, w), append(pg.items, item)
		return nil
	})
}

// send purges what was gathered and records each. waiting counts those that have to wait, for the sign-in or a limit, as
// cause says: they stay marked as being purged.
func (pg *purge) send(ctx context.Context, r *run) (waiting int, cause, err error) {
	if len(pg.items) == 0 {
		return 0, nil, nil
	}
	if err := r.env.Held(); err != nil {
		return 0, nil, portErr("purge the trash", err)
	}
	failpoint.At("before purge")
	errs := pg.trash.Purge(ctx, pg.items)
	failpoint.At("purged")
	for i, w := range pg.works {
		err := errors.New("the trash gave no answer")
		if i < len(errs) {
			err = errs[i]
		}
		switch {
		case ctx.Err() != nil:
			return waiting, cause, context.Cause(ctx)
		case err == nil, isNotFound(err):
			err = w.purged(ctx)
		case errors.Is(err, ErrFenced):
			err = portErr("purge the trash", err)
		case waitsForLater(ctx, sourceErr("purge the trash", err)):
			waiting, cause, err = waiting+1, sourceErr("purge the trash", err), nil
		default:
			err = w.stays(ctx, err.Error())
		}
		if err != nil {
			return waiting, cause, err
		}
	}
	return waiting, cause, nil
}

func (w *work) purged(ctx context.Context) error {
	o := w.done
	o.Source, o.Code, o.Reason = Purged, "", ""
	return w.r.record(ctx, w.i, o)
}

// notPurged records that the trash couldn't be read.
func (w *work) notPurged(ctx context.Context) error { return w.stays(ctx, "the trash can't be listed") }

// stays records a deleted file that isn't purged, and why. It stays deleted: no file is lost by it, only room.
func (w *work) stays(ctx context.Context, what string) error {
	o := w.done
	o.Source, o.Code = Deleted, CodeNotPurged
	o.Reason = sentence(CodeNotPurged, remoteName(w.r.p.Source), w.e.Path, what)
	return w.r.record(ctx, w.i, o)
}
