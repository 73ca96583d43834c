package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
	"golang.org/x/sync/errgroup"

	"offload/internal/failpoint"
)

// errNotAsRecorded says that a copy isn't what the record of an earlier job tells of.
var errNotAsRecorded = errors.New("it isn't what was proved there")

// partReturning is the Outcome.Part of an entry that is being put back from the trash: should the process die, the next one
// knows that an item which isn't in the trash any more may lie elsewhere by this job's doing.
const partReturning = "returning"

// Restore brings the entries of a batch back to where they were: from the trash of the pair's destination, where they still
// lie there, else by a copy from the source. An entry's Path (Dest) is its place, its Source where the copy lies, and its ID,
// Size, ModTime and Hash are what the record tells of the version that was offloaded (safety rule 14). Nothing is deleted or
// replaced anywhere. It reports and may be called again as RunBatch.
func (p *Pair) Restore(ctx context.Context, b Batch, env Env) (Report, error) {
	env, b = env.withDefaults(), confined(b)
	left, rep, err := p.restoreFromTrash(ctx, b, env)
	if err != nil || left == nil {
		return rep, err
	}
	b.Omit = left
	r := newRun(p, b, env, copyable)
	r.recalls = true
	r.src.gathers, r.dst.gathers = r.src.traits.gathers, r.dst.traits.gathers
	return r.each(ctx, (*work).recall)
}

// restoreFromTrash puts back what is in the trash. left are the entries to be omitted by what follows, those that are done
// among them; nil says that nothing may follow now.
func (p *Pair) restoreFromTrash(ctx context.Context, b Batch, env Env) (left map[int]bool, _ Report, err error) {
	left = maps.Clone(b.Omit)
	if left == nil {
		left = map[int]bool{}
	}
	t, ok := p.Dest.(Returner)
	if !ok {
		return left, Report{}, nil
	}
	r := newRun(p, b, env, func(e Entry, o Outcome) bool { return copyable(e, o) && e.ID != "" && e.Verdict == Pending })
	r.recalls = true
	if !slices.Contains(r.closed, false) {
		return left, Report{}, nil
	}
	inTrash, err := r.listTrash(ctx, t)
	switch {
	case ctx.Err() != nil:
		return nil, Report{}, context.Cause(ctx)
	case err != nil && waitsForLater(ctx, destErr("list the trash", err)):
		return nil, r.later(ctx, destErr("list the trash", err), len(b.Entries)), nil
	case err != nil: // all of it comes from the source then
		slog.WarnContext(ctx, "list the trash", "remote", remoteName(p.Dest), "error", err)
		return left, Report{}, nil
	}
	mine := false
	for i, e := range b.Entries {
		if _, ours := ruleReturnOnlyRecorded(e, inTrash); !ours && r.doneAt(i).Part != partReturning {
			r.closed[i] = true
		} else if !r.closed[i] {
			mine = true
		}
	}
	if !mine {
		return left, Report{}, nil
	}
	back := &returns{trash: t, inTrash: inTrash}
	passed := slices.Clone(r.closed)
	rep, err := r.each(ctx, func(w *work, ctx context.Context) error { return back.gather(ctx, w) })
	if err == nil && (rep.SignIn != "" || rep.NoCalls) {
		return nil, r.pendingOf(rep, b, passed), nil
	}
	if err == nil {
		err = back.send(ctx, r)
	}
	if err != nil {
		return nil, rep, err
	}
	for i, closed := range r.closed {
		if closed && !passed[i] {
			left[i] = true
		}
	}
	return left, rep, nil
}

// pendingOf is a report with all that is open counted as pending.
func (r *run) pendingOf(rep Report, b Batch, passed []bool) Report {
	for i := range b.Entries {
		if passed[i] && !b.Omit[i] && copyable(b.Entries[i], r.doneAt(i)) {
			rep.Pending++
		}
	}
	if r.allNoQuota {
		rep.NoQuota = rep.Pending
	}
	return rep
}

// returns gathers the items of a batch that may be put back.
type returns struct {
	trash   Returner
	inTrash map[string]Trashed // fixed after the listing

	mu    sync.Mutex
	works []*work
	items []Trashed // of the works
}

// gather looks at the place of one file and queues it for the return where that is free.
func (rt *returns) gather(ctx context.Context, w *work) error {
	return w.tries(ctx, func(ctx context.Context, attempt int) error {
		dst, _, err := w.r.dst.find(ctx, w.e.DestPath(), attempt > 1)
		if errors.Is(err, fs.ErrorIsDir) || errors.Is(err, fs.ErrorNotAFile) {
			return nil // it comes beside, from the source
		}
		if err != nil {
			return destErr("look at the file's place", err)
		}
		if dst != nil {
			if w.done.Part == partReturning && idOf(dst) == w.e.ID && dst.Size() == w.e.Size {
				return w.returned(ctx) // by this job, before a crash
			}
			return nil
		}
		item, ok := ruleReturnOnlyRecorded(w.e, rt.inTrash)
		if !ok {
			item = Trashed{ID: w.e.ID, Size: w.e.Size, ModTime: w.e.ModTime}
		}
		item.Path = w.e.DestPath()
		if w.done.Part != partReturning {
			w.done = Outcome{Part: partReturning, Wasted: w.wasted}
			if err := w.r.record(ctx, w.i, w.done); err != nil {
				return err
			}
		}
		rt.mu.Lock()
		defer rt.mu.Unlock()
		rt.works, rt.items = append(rt.works, w), append(rt.items, item)
		return nil
	})
}

// send puts back what was gathered and looks at each in its place. What didn't come back is left to the copy.
func (rt *returns) send(ctx context.Context, r *run) error {
	if len(rt.items) == 0 {
		return nil
	}
	if err := r.env.Held(); err != nil {
		return portErr("put back from the trash", err)
	}
	failpoint.At("before return")
	errs := rt.trash.Return(ctx, rt.items)
	failpoint.At("returned")
	r.dst.run = func() context.Context { return ctx } // that of the entries has ended
	defer r.dst.asking.Wait()
	seen := make([]bool, len(rt.works))
	var looks errgroup.Group // together: one listing of a folder serves all files in it
	for i, w := range rt.works {
		if errs[i] != nil {
			continue
		}
		looks.Go(func() error {
			defer func() { _ = recover() }() // a bug in a backend: it counts as not seen
			dst, _, err := r.dst.find(ctx, w.e.DestPath(), true)
			seen[i] = err == nil && dst != nil && idOf(dst) == w.e.ID && (dst.Size() < 0 || w.e.Size < 0 || dst.Size() == w.e.Size)
			return nil
		})
	}
	_ = looks.Wait() // it returns no error
	for i, w := range rt.works {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(errs[i], ErrFenced):
			return portErr("put back from the trash", errs[i])
		case errs[i] != nil:
			slog.InfoContext(ctx, "not put back from the trash", "path", w.e.Path, "error", errs[i])
			continue
		}
		if !seen[i] {
			slog.InfoContext(ctx, "put back from the trash, but not seen in its place", "path", w.e.Path)
			continue
		}
		if err := w.returned(ctx); err != nil {
			return err
		}
	}
	return nil
}

// returned records a file that came back from the trash. It is known by its ID; its bytes were never read.
func (w *work) returned(ctx context.Context) error {
	return w.r.record(ctx, w.i, Outcome{Result: Copied, Grade: GradeC, Source: Kept, Wasted: w.wasted, Code: CodeFromTrash,
		Reason: fmt.Sprintf("%s: it was put back from the trash of %s.", w.e.Path, remoteName(w.r.p.Dest))})
}

// recall brings one entry back by a copy from the source. Its error ends the batch.
func (w *work) recall(ctx context.Context) error {
	if w.e.Verdict != Pending {
		return w.r.record(ctx, w.i, Outcome{Result: w.e.Verdict, Source: Kept, Code: w.e.Code, Reason: w.e.Reason})
	}
	return w.tries(ctx, func(ctx context.Context, attempt int) error {
		o, err := w.recallOnce(ctx, attempt > 1)
		if err != nil {
			return err
		}
		failpoint.At("brought back")
		return w.r.record(ctx, w.i, o)
	})
}

// recallOnce looks at the place, copies where nothing of the recorded content is there, and proves.
func (w *work) recallOnce(ctx context.Context, fresh bool) (Outcome, error) {
	w.packed = true // nobody is asked whether it is one: the record tells
	pl, err := w.place(ctx, w.e.DestPath(), mark{mtime: w.e.ModTime}, fresh, func(dst fs.Object, target string) (Outcome, error) {
		return w.isBack(ctx, dst, target)
	})
	if err != nil || pl.outcome.Result != Pending {
		return pl.outcome, err
	}
	if w.e.Package {
		return Outcome{Result: SetAside, Source: Kept, Wasted: w.wasted, Code: CodePackage, Reason: fmt.Sprintf(
			"%s: it isn't in the trash of %s any more, and its copy is a zip, which can't be made a package again from here. It lies at %s as %s.",
			w.e.Path, remoteName(w.r.p.Dest), remoteName(w.r.p.Source), w.e.SourcePath())}, nil
	}
	src, _, err := w.r.src.find(ctx, w.e.SourcePath(), true)
	if err != nil {
		return Outcome{}, sourceErr("look at source file", err)
	}
	if src == nil {
		return w.failed(CodeCopyGone, remoteName(w.r.p.Source), "its copy isn't there any more"), nil
	}
	w.src = src
	failpoint.File(w.e.Path)
	if err := w.asRecorded(ctx, src); err != nil {
		return Outcome{}, err
	}
	o, err := w.copyTo(w.idles(ctx), src, markOf(ctx, src), pl)
	if err == nil && pl.target != w.e.DestPath() {
		o.Code = CodeBeside
		o.Reason = fmt.Sprintf("%s: another file is at its place; it was brought back beside that, as %s.", w.e.Path, pl.target)
	}
	return o, err
}

// isBack compares a file at the entry's place, or beside it, with the record. The outcome has a Result where it is the same.
func (w *work) isBack(ctx context.Context, dst fs.Object, target string) (Outcome, error) {
	o := Outcome{Result: Skipped, Source: Kept, Wasted: w.wasted}
	if target != w.e.DestPath() {
		o.Dest = target
	}
	if w.sent != nil && w.sent.target == target {
		o.Result, o.Bytes = Copied, w.sent.n // by this run, and the answer was lost
	}
	if w.e.Size >= 0 && dst.Size() >= 0 && dst.Size() != w.e.Size {
		return Outcome{}, nil
	}
	if w.e.ID != "" && idOf(dst) == w.e.ID && (etagOf(dst) != "" && etagOf(dst) == w.e.ETag || sameMoment(dst.ModTime(ctx), w.e.ModTime)) {
		o.Grade = GradeC
		return o, nil
	}
	t, want := splitHash(w.e.Hash)
	if want == "" {
		if w.e.Size < 0 || !w.sameTime(ctx, dst, w.e.ModTime) {
			return Outcome{}, nil
		}
		o.Grade = GradeC
		return o, nil
	}
	if dst.Fs().Hashes().Contains(t) {
		h, err := hashOf(ctx, dst, t, w.r.dst.traits)
		if err != nil {
			return Outcome{}, destErr("read hash", err)
		}
		if h != "" && h != want {
			return Outcome{}, nil
		}
		if h != "" {
			o.Grade, o.Hash = GradeA, w.e.Hash
			return o, nil
		}
	}
	got, err := readSum(ctx, dst, t)
	if err != nil {
		return Outcome{}, destErr("read the file at its place", err)
	}
	if got != want {
		return Outcome{}, nil
	}
	o.Grade, o.Hash = GradeB, w.e.Hash
	return o, nil
}

// sameMoment tells whether both times are there and the same.
func sameMoment(a, b time.Time) bool { return !a.IsZero() && !b.IsZero() && a.Equal(b) }

// readSum reads a file whole and returns its hash of a type.
func readSum(ctx context.Context, o fs.Object, t hash.Type) (string, error) {
	h, err := newSums([]hash.Type{t}, nil)
	if err != nil {
		return "", err
	}
	in, err := o.Open(ctx)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(h, cancelable(ctx, in))
	if err = errors.Join(err, in.Close()); err != nil {
		return "", err
	}
	return h.Sums()[t], nil
}

// asRecorded compares a copy with the record by what the source itself tells, before any of it is read.
func (w *work) asRecorded(ctx context.Context, src fs.Object) error {
	t, want := splitHash(w.e.Hash)
	sum := ""
	if want != "" && src.Fs().Hashes().Contains(t) && !src.Fs().Features().SlowHash {
		var err error
		if sum, err = src.Hash(ctx, t); err != nil && !errors.Is(err, hash.ErrUnsupported) {
			return sourceErr("read hash", err)
		}
	}
	if !ruleCopyIsAsRecorded(w.e, src.Size(), t, sum) {
		return sourceErr("compare with the record", errNotAsRecorded)
	}
	return nil
}

// recordedSum returns what is asked before the last bytes of a copy that is read are handed on; nil where nothing is recorded.
func (w *work) recordedSum(read *sums) func() error {
	t, want := splitHash(w.e.Hash)
	if !w.r.recalls || want == "" {
		return nil
	}
	return func() error {
		if !ruleCopyIsAsRecorded(w.e, w.e.Size, t, read.Sums()[t]) {
			return sourceErr("compare with the record", errNotAsRecorded)
		}
		return nil
	}
}

// timeOf is the modification time that a copy of a source file gets: what was recorded of a file that is brought back.
func (w *work) timeOf(ctx context.Context, src fs.Object) time.Time {
	if w.r.recalls && !w.e.ModTime.IsZero() {
		return w.e.ModTime
	}
	return src.ModTime(ctx)
}

// Selector returns what tells whether the filters of the options let an entry pass; ages count from now. Its error is a
// *FilterError.
func Selector(opt Options, now time.Time) (func(Entry) bool, error) {
	f, err := newFilter(opt, now)
	if err != nil {
		return nil, err
	}
	return func(e Entry) bool { return f.Include(e.Path, e.Size, e.ModTime, nil) }, nil
}

// Restorable lists the trash of the pair's destination and returns what tells whether Restore would find an entry there. A
// destination without a trash has none.
func (p *Pair) Restorable(ctx context.Context) (func(Entry) bool, error) {
	var inTrash map[string]Trashed
	if t, ok := p.Dest.(Returner); ok {
		var err error
		if inTrash, err = itemsOf(ctx, t); err != nil {
			return nil, fmt.Errorf("list the trash of %s: %w", remoteName(p.Dest), err)
		}
	}
	return func(e Entry) bool {
		_, ok := ruleReturnOnlyRecorded(e, inTrash)
		return ok
	}, nil
}

// AsCopied is an entry with what the source said of the version that was copied, where that is recorded.
func AsCopied(e Entry, o Outcome) Entry {
	m, ok := parseMark(o.SourceMark)
	if !ok {
		return e
	}
	if m.size >= 0 {
		e.Size = m.size
	}
	if !m.mtime.IsZero() {
		e.ModTime = m.mtime
	}
	if m.id != "" {
		e.ID = m.id
	}
	if m.etag != "" {
		e.ETag = m.etag
	}
	return e
}
