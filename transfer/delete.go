package transfer

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/rclone/rclone/fs"
)

// ErrChanged is what a Deleter answers for a file whose version isn't the one that was asked for: it is kept.
var ErrChanged = errors.New("the file changed at the source")

// Target is one source file to delete: the version that was proved, not whatever has its name by now.
type Target struct {
	Path    string // as the source spells it, below its root
	ID      string // "" where the source has none
	ETag    string // version mark as seen before the copy, "" where the source has none
	Size    int64  // bytes
	ModTime time.Time
	Object  fs.Object // as seen just now
}

// Keeper is an optional power of a source's object: it knows why it must not be deleted (shared by somebody else, a
// package whose content can't be compared). It asks nothing of the remote.
type Keeper interface {
	// KeepReason returns one of the codes and what is the matter, in words; "" where the object may be deleted.
	KeepReason() (code, what string)
}

// Deleter is an optional power of a source, found by asserting its fs.Fs: deletion on a condition, several at once.
// It may be called from several goroutines; one that must delete in one lane gathers the calls itself.
type Deleter interface {
	// Delete deletes the targets and returns an error for each, nil for those that are gone by it. A target whose
	// version differs is left alone with ErrChanged. Deleting what is gone already answers fs.ErrorObjectNotFound.
	// Where an answer was lost it may return any error: the engine looks again before it asks again.
	Delete(ctx context.Context, targets []Target) []error
}

// Trashed is one item in a source's trash.
type Trashed struct {
	ID   string
	ETag string
	Path string // where it was, below the source's root; "" where the trash doesn't say
	Size int64  // bytes
}

// Trash is an optional power of a source whose deletions can be taken back, found by asserting its fs.Fs.
type Trash interface {
	// ListTrash calls yield for each item until it returns an error.
	ListTrash(ctx context.Context, yield func(Trashed) error) error
	// Purge removes items for good, matched by ID in a listing just made. It returns an error for each.
	Purge(ctx context.Context, items []Trashed) []error
	// PutBack returns items to where they were. It returns an error for each.
	PutBack(ctx context.Context, items []Trashed) []error
}

// DeleteProved deletes at the source what an earlier RunBatch copied or found at the destination and proved: for the
// policy "complete" when the whole job is proved, and at the end of a hold. It proves the destination again first, under
// the same rules. max is how many files it may delete, -1 for no limit. It may be called again after a crash.
func (p *Pair) DeleteProved(ctx context.Context, b Batch, env Env, max int64) (Report, error) {
	if max >= 0 {
		b.AllowDelete = limited(b.AllowDelete, max)
	}
	return newRun(p, b, env.withDefaults(), deletable).each(ctx, (*work).runDeletion)
}

// Again is what Batch.Done must hold for an entry that is to be tried again after its job has ended: a failed entry
// starts anew, a failed deletion goes on where it was, and every other outcome stands.
func (o Outcome) Again() Outcome {
	switch {
	case o.Result == Failed:
		return Outcome{}
	case o.Code == CodeDeleteFailed:
		o.Source, o.Code, o.Reason = Deleting, "", ""
	}
	return o
}

// limited allows max deletions among those that allow allows.
func limited(allow func(context.Context) bool, max int64) func(context.Context) bool {
	var n atomic.Int64
	return func(ctx context.Context) bool {
		if allow != nil && !allow(ctx) {
			return false
		}
		return n.Add(1) <= max
	}
}

// deletable tells whether an entry has a proof and a source file that may still be deleted.
func deletable(_ Entry, o Outcome) bool {
	return (o.Result == Copied || o.Result == Skipped) && o.Grade != "" && o.Source != Deleted && o.Source != Purged
}

// runDeletion deletes the source file of an entry that was proved before.
func (w *work) runDeletion(ctx context.Context) error {
	return w.tries(ctx, func(ctx context.Context, attempt int) error {
		m, ok := parseMark(w.done.SourceMark)
		if !ok {
			return w.keep(ctx, w.done, CodeNoMark, "the record of its version can't be read")
		}
		held, err := w.holds(ctx, w.done, m)
		if err != nil {
			return err
		}
		if w.done.Source == Deleting && held {
			return w.remove(ctx, w.done, m)
		}
		src, _, err := w.r.src.find(ctx, w.e.SourcePath(), true)
		if err != nil {
			return sourceErr("look at source file", err)
		}
		switch {
		case !held:
			return w.lost(ctx, src)
		case src == nil:
			return w.keep(ctx, w.done, CodeSourceGone, "the file was gone already")
		}
		return w.deleteProved(ctx, w.done, m, src)
	})
}

// lost records that the destination doesn't hold a copy any more that it was proved to hold.
func (w *work) lost(ctx context.Context, src fs.Object) error {
	if src == nil {
		return w.r.record(ctx, w.i, w.failed(CodeDestGone, remoteName(w.r.p.Dest), "the copy was changed or removed, and the source file is gone"))
	}
	o := w.failed(CodeDestGone, remoteName(w.r.p.Dest), "the copy was changed or removed; the source file is kept")
	return w.r.record(ctx, w.i, o)
}

// resumeDeletion finishes a deletion that a run before this one, or an attempt before this one, had begun. again says
// that the destination doesn't hold the copy any more while the source file is there: copy it again.
func (w *work) resumeDeletion(ctx context.Context) (again bool, err error) {
	m, ok := parseMark(w.done.SourceMark)
	if !ok {
		return false, w.keep(ctx, w.done, CodeNoMark, "the record of its version can't be read")
	}
	held, err := w.holds(ctx, w.done, m)
	if err != nil {
		return false, err
	}
	if held {
		return false, w.remove(ctx, w.done, m)
	}
	src, _, err := w.r.src.find(ctx, w.e.SourcePath(), true)
	if err != nil {
		return false, sourceErr("look at source file", err)
	}
	if src == nil {
		return false, w.lost(ctx, nil)
	}
	return true, nil
}

// deleteProved records the proof o together with the intent to delete, and deletes, where every rule allows it.
func (w *work) deleteProved(ctx context.Context, o Outcome, m mark, src fs.Object) error {
	code, what, err := w.mayDelete(ctx, o, m, src)
	if err != nil {
		return err
	}
	if code != "" {
		return w.keep(ctx, o, code, what)
	}
	o.Source, o.Code, o.Reason = Deleting, "", ""
	if err := w.r.record(ctx, w.i, o); err != nil {
		return err
	}
	w.done = o
	return w.remove(ctx, o, m)
}

// mayDelete asks every rule that can refuse the deletion of a proved file. It returns the code of the first refusal.
func (w *work) mayDelete(ctx context.Context, o Outcome, m mark, src fs.Object) (code, what string, err error) {
	t := w.r.src.traits
	for _, rule := range []refusal{
		{ruleReadOnlyIsKept(t), t.readOnly},
		{ruleSharedIsKept(idOf(src), t), "it is shared by somebody else"},
		ruleObjectIsKept(src),
		{ruleSizeIsTrusted(m.size, t), "its length at the source isn't certain"},
		{ruleGradeAllowsDeletion(o.Grade, w.r.p.Opt.MinGrade), "it was proved at grade " + string(o.Grade) + " only"},
		{ruleVersionIsKnown(m), "nothing tells its versions apart"},
	} {
		if rule.code != "" {
			return rule.code, rule.what, nil
		}
	}
	if o.Result == Skipped {
		code, err := w.ruleSourceIsNotDestination(ctx, src, o)
		if err != nil || code != "" {
			return code, "source and destination can't be told to be two files", err
		}
	}
	if allow := w.r.batch.AllowDelete; allow != nil && !allow(ctx) {
		return CodeMaxDelete, "the job may delete no more files", nil
	}
	return "", "", nil
}

// remove looks at the source file once more and deletes it, if it is the version that was proved.
func (w *work) remove(ctx context.Context, o Outcome, m mark) error {
	src, err := w.seeSource(ctx)
	if err != nil {
		return err
	}
	if src == nil {
		return w.deleted(ctx, o) // by this deletion, begun before, whose answer was lost
	}
	if code := ruleUnchangedBeforeDeletion(m, markOf(ctx, src)); code != "" {
		return w.keep(ctx, o, code, "it changed after it was copied")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := w.r.env.Held(); err != nil {
		return portErr("delete source file", err)
	}
	err = w.r.p.delete(ctx, Target{Path: w.e.SourcePath(), ID: m.id, ETag: m.etag, Size: m.size, ModTime: m.mtime, Object: src})
	switch {
	case err == nil, isNotFound(err):
		return w.deleted(ctx, o)
	case errors.Is(err, ErrChanged):
		return w.keep(ctx, o, CodeChangedLater, "it changed after it was copied")
	}
	return sourceErr("delete source file", err)
}

// delete deletes one source file by the source's own power, or plainly.
func (p *Pair) delete(ctx context.Context, t Target) error {
	if d, ok := p.Source.(Deleter); ok {
		if errs := d.Delete(ctx, []Target{t}); len(errs) > 0 {
			return errs[0]
		}
		return nil
	}
	return t.Object.Remove(ctx)
}

func (w *work) deleted(ctx context.Context, o Outcome) error {
	o.Source, o.Code, o.Reason = Deleted, "", ""
	return w.r.record(ctx, w.i, o)
}

// keep records a proved file whose source stays, and why.
func (w *work) keep(ctx context.Context, o Outcome, code, what string) error {
	slog.DebugContext(ctx, "source file kept", "path", w.e.Path, "code", code)
	o.Source, o.Code = Kept, code
	o.Reason = sentence(code, remoteName(w.r.p.Source), w.e.Path, what)
	return w.r.record(ctx, w.i, o)
}
