package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/rclone/rclone/fs"

	"offload/internal/failpoint"
)

// errStillHere says that a source called a file gone which it lists.
var errStillHere = errors.New("the source says that the file isn't there, and lists it")

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
	case o.Code == CodeNotSeenAgain: // the next finish looks again, and asks every rule
		o.Code, o.Reason = "", ""
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
	return (o.Result == Copied || o.Result == Skipped) && o.Grade != "" && !o.Source.Gone()
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
			return w.remove(ctx, w.done, m, nil, true)
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
		return false, w.remove(ctx, w.done, m, nil, true)
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
	if code == "" && w.r.batch.AllowDelete != nil && !w.r.batch.AllowDelete(ctx) {
		code, what = CodeMaxDelete, "the job may delete no more files"
	}
	if code != "" {
		return w.keep(ctx, o, code, what)
	}
	o.Source, o.Code, o.Reason = Deleting, "", ""
	if err := w.r.record(ctx, w.i, o); err != nil {
		return err
	}
	w.done = o
	failpoint.At("deletion recorded")
	return w.remove(ctx, o, m, src, false)
}

// mayDelete asks every rule that can refuse the deletion of a proved file. It returns the code of the first refusal.
func (w *work) mayDelete(ctx context.Context, o Outcome, m mark, src fs.Object) (code, what string, err error) {
	t := w.r.src.traits
	for _, rule := range []refusal{
		{ruleReadOnlyIsKept(t), t.readOnly},
		{ruleSharedIsKept(idOf(src), t), "it is shared by somebody else"},
		ruleObjectIsKept(src),
		{rulePackageIsKept(o, w.r.p.Opt), "it is a package, of which the source makes another zip each time"},
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
	return "", "", nil
}

// remove deletes the source file, if it is the version that was proved. src is the file as it was seen last. again says
// that a deletion may have been asked for before. A source that deletes on the condition of an etag needs no look before
// the first deletion (rule 4); any other is looked at once more.
func (w *work) remove(ctx context.Context, o Outcome, m mark, src fs.Object, again bool) error {
	if err := w.ruleCopyIsOnDisk(ctx, o); err != nil {
		return err
	}
	if again || !w.conditional(m) {
		var err error
		if src, err = w.seeSource(ctx); err != nil {
			return err
		}
		if src == nil {
			return w.deleted(ctx, o) // by this deletion, begun before, whose answer was lost
		}
		if code := ruleUnchangedBeforeDeletion(m, markOf(ctx, src)); code != "" {
			return w.keep(ctx, o, code, "it changed after it was copied")
		}
	}
	if again { // the record says that it may be deleted: that of an earlier version may have had it from no rule
		if code, what, err := w.mayDelete(ctx, o, m, src); err != nil || code != "" {
			if err != nil {
				return err
			}
			return w.keep(ctx, o, code, what)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := w.r.env.Held(); err != nil {
		return portErr("delete source file", err)
	}
	err := w.delete(ctx, Target{Path: w.e.SourcePath(), ID: m.id, ETag: m.etag, Size: m.size, ModTime: m.mtime, Object: src,
		Held: w.r.env.Held})
	failpoint.At("deleted")
	if isNotFound(err) { // one word about one file: it is looked for
		there, lerr := w.seeSource(ctx)
		switch {
		case lerr != nil:
			return lerr
		case there == nil:
			err = nil
		case ruleUnchangedBeforeDeletion(m, markOf(ctx, there)) != "":
			err = ErrChanged
		default:
			err = errStillHere
		}
	}
	switch {
	case err == nil:
		return w.deleted(ctx, o)
	case errors.Is(err, ErrChanged):
		return w.keep(ctx, o, CodeChangedLater, "it changed after it was copied")
	case errors.Is(err, ErrDoubted):
		return w.keep(ctx, o, CodeDoubted, ErrDoubted.Error())
	case errors.Is(err, ErrFenced):
		return portErr("delete source file", err)
	}
	return sourceErr("delete source file", err)
}

// conditional tells whether the source deletes the version m and no other.
func (w *work) conditional(m mark) bool {
	_, ok := w.r.p.Source.(Deleter)
	return ok && m.id != "" && m.etag != ""
}

// delete deletes one source file by the source's own power, or plainly. While it may wait in a lane for others it holds
// no slot.
func (w *work) delete(ctx context.Context, t Target) error {
	d, ok := w.r.p.Source.(Deleter)
	if !ok {
		return t.Object.Remove(ctx)
	}
	w.come(&w.atSource, w.r.src, w.e.SourcePath()) // nobody needs to wait for its look
	w.free(false)
	errs := d.Delete(ctx, []Target{t})
	if len(errs) != 1 {
		return fmt.Errorf("delete %s: %d answers for one file", t.Path, len(errs))
	}
	return errs[0]
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
