package jobs

import (
	"context"
	"errors"
	"fmt"
	"path"

	"offload/manifest"
	"offload/transfer"
)

// Jobs that go by the record of an earlier job instead of a listing: the earlier job is Order.Of.

// isID tells whether a text is the whole ID of a job.
func isID(text string) bool { return isIDPart(text) && len(text) == 26 }

// checkKind refuses an order about a job that isn't there or that isn't one of the right kind.
func (s *Service) checkKind(ctx context.Context, o Order) error {
	if o.Kind == KindMove {
		return nil
	}
	of, err := s.recorded(ctx, o.Of)
	wrong := func(what, hint string) error {
		return &OrderError{Field: "of", Value: o.Of, Hint: hint, Err: errors.New(what)}
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return wrong("there is no such job", "`offload jobs list` shows the IDs")
	case err != nil:
		return err
	case of.Kind != KindMove:
		return wrong("that job is a "+string(of.Kind)+" itself", "name the job that offloaded the files")
	case o.Kind == KindScrub && o.Source != of.Dest:
		return wrong("that job went to "+of.Dest, "a scrub looks where the files went")
	case o.Kind == KindRestore && (o.Source != of.Dest || o.Dest != of.Source):
		return wrong("that job went from "+of.Source+" to "+of.Dest, "files come back the very way that they went")
	}
	return nil
}

// entryOf makes an entry of a file in the record of an earlier job; ok is false where the job has nothing to do with it.
func entryOf(o Order, l manifest.Line) (e transfer.Entry, ok bool) {
	switch o.Kind {
	case KindRestore:
		return restoreEntry(l), l.Gone()
	case KindScrub:
		return scrubEntry(l), l.Gone()
	}
	return transfer.Entry{}, false
}

// restoreEntry is the way back of a file: its source is where it lies now, its destination where it was.
func restoreEntry(l manifest.Line) transfer.Entry {
	e := transfer.Entry{Path: l.Path, Dest: l.Source, Size: l.Size, ModTime: l.ModTime, ID: l.ID, ETag: l.ETag, Hash: l.Hash, Package: l.Package}
	if l.Dest != l.Path {
		e.Source = l.Dest
	}
	return e
}

// recordChunk is how many entries of one folder go to the planner at once.
const recordChunk = 256

// scanRecord finds what there is to do in the record of the earlier job and stores it in batches.
func (w *worker) scanRecord(ctx context.Context, u *unit, j Job, p *planner) error {
	var c transfer.Chunk
	flush := func() error {
		if len(c.Entries) == 0 {
			return nil
		}
		if err := u.check(ctx); err != nil {
			return err
		}
		err := p.take(ctx, c)
		c = transfer.Chunk{}
		return err
	}
	want, err := w.s.wantedOf(ctx, j.Order, j.Created)
	if err != nil {
		return fmt.Errorf("read what newer jobs have offloaded: %w", err)
	}
	_, err = w.s.Record(ctx, j.Order.Of, func(l manifest.Line) error {
		e, ok := entryOf(j.Order, l)
		if !ok || j.Order.Kind == KindRestore && !want.takes(l) {
			return nil
		}
		if !plainPath(e.Path) || !plainPath(e.SourcePath()) || !plainPath(e.DestPath()) {
			return &finalError{fmt.Errorf("it names %q, which doesn't lie below a folder that it may touch: it was made by somebody else", e.Path)}
		}
		dir := path.Dir(e.SourcePath())
		if dir == "." {
			dir = ""
		}
		if dir != c.SourceDir || len(c.Entries) >= recordChunk {
			if err := flush(); err != nil {
				return err
			}
		}
		c.SourceDir, c.SourceCount, c.DestCount = dir, -1, -1
		c.Entries = append(c.Entries, e)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = p.flush(ctx)
	}
	if errors.Is(err, ErrNotFound) {
		return &finalError{fmt.Errorf("read the record of job %s: it was removed: %w", j.Order.Of, err)}
	}
	if err != nil {
		return fmt.Errorf("read the record of job %s: %w", j.Order.Of, err)
	}
	_, err = w.s.scripts.owned(ctx, "scan_done", u.hold, nil, u.fence, w.name, 0, 0, 0, "", p.count)
	return err
}

// run does the work of a batch as the job's kind asks for.
func (o *openJob) run(ctx context.Context, b transfer.Batch, env transfer.Env) (transfer.Report, error) {
	switch o.order.Kind {
	case KindMove:
		return o.pair.RunBatch(ctx, b, env)
	case KindRestore:
		return o.pair.Restore(ctx, b, env)
	case KindScrub:
		return o.pair.Scrub(ctx, b, env, o.order.Read)
	}
	return transfer.Report{}, &finalError{fmt.Errorf("do a job of kind %q: this worker doesn't know it", o.order.Kind)}
}
