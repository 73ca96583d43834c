package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"

	"offload/internal/failpoint"
)

// maxRenames is how many names are tried for a file whose own is taken by different content.
const maxRenames = 100

// errNotArrived says that an upload reported success and can't be seen.
var errNotArrived = errors.New("the upload was reported done, but the file can't be seen at the destination")

// work is one entry on its way through a run. It is used by one goroutine.
type work struct {
	r       *run
	i       int
	e       Entry
	done    Outcome // what the journal says
	release func(throttled bool)

	src    fs.Object // as seen last, nil before
	wasted int64     // bytes that failed attempts read in vain
	need   int64     // bytes that the last reservation asked for
	least  int64     // bytes that a file of unknown size has at least, where the allowance ended under it
	sent   *sent     // the last whole stream of this run: an upload whose answer was lost is known again by it
	ours   string    // name in place that this run may have written to and that was free before
	tidied bool      // partial uploads of former owners have been removed

	part      *part     // what was sent of the file and can be gone on with, nil for nothing
	kept      int64     // offset that was recorded of it
	keptAt    time.Time // and when
	whole     bool      // the file is to be read in one piece: its parts gave something else
	spoolNeed int64     // bytes of it that the spool folder held before it was full; 0 for none

	again bool // the watcher was told that it is tried again

	packed bool     // the source has said that it is a package
	pack   *spooled // its zip, once it is here

	atDest, atSource bool // it has come to its fresh look there, or won't
}

// seeDest and seeSource look anew. The first time, they tell the others of the folder that this one has come; while
// they may wait for others they hold no slot.
func (w *work) seeDest(ctx context.Context, p string) (fs.Object, error) {
	o, err := w.see(ctx, w.r.dst, p, func() { w.come(&w.atDest, w.r.dst, w.e.DestPath()) })
	return o, destErr("look at destination file", err)
}

func (w *work) seeSource(ctx context.Context) (fs.Object, error) {
	o, err := w.see(ctx, w.r.src, w.e.SourcePath(), func() { w.come(&w.atSource, w.r.src, w.e.SourcePath()) })
	return o, sourceErr("look at source file", err)
}

func (w *work) see(ctx context.Context, l *lookup, p string, came func()) (fs.Object, error) {
	if !l.waits(p) || w.release == nil {
		return l.findAnew(ctx, p, came)
	}
	w.free(false)
	o, err := l.findAnew(ctx, p, came)
	release, aerr := w.r.env.Slots.Acquire(ctx)
	if aerr != nil {
		return nil, aerr
	}
	w.release = release
	return o, err
}

func (w *work) come(once *bool, l *lookup, p string) {
	if !*once {
		*once = true
		l.arrived(p)
	}
}

// gone tells that this entry comes to no look any more.
func (w *work) gone() {
	if w.e.Verdict != Pending {
		return // nobody waits for it
	}
	w.come(&w.atDest, w.r.dst, w.e.DestPath())
	w.come(&w.atSource, w.r.src, w.e.SourcePath())
}

// sent is a source file that was streamed whole.
type sent struct {
	mark   mark
	mtime  time.Time
	n      int64
	drawn  int64 // bytes that count for it (meteredReader.drawn)
	lost   int64 // of these, on the way when connections broke
	inVain int64 // of these, booked as read in vain, since the upload seemed to have failed
	sums   map[hash.Type]string
	target string
	grade  Grade  // of the proof under a partial name, "" for none
	proof  string // its Outcome.Hash
	former bool   // by a process that died before it could tell what became of it
}

// free gives the slot back; calling it again does nothing.
func (w *work) free(throttled bool) {
	if w.release != nil {
		w.release(throttled)
		w.release = nil
	}
}

// run brings one entry to its outcome, or leaves it pending. Its error ends the batch.
func (w *work) run(ctx context.Context) error {
	if w.e.Verdict != Pending {
		return w.r.record(ctx, w.i, Outcome{Result: w.e.Verdict, Source: Kept, Code: w.e.Code, Reason: w.e.Reason})
	}
	defer w.dropPack()
	return w.tries(ctx, func(ctx context.Context, attempt int) error {
		if w.done.Source == Deleting && !w.r.p.Opt.Deletes() {
			return w.settle(ctx) // it was called off since
		}
		if w.done.Source == Deleting {
			again, err := w.resumeDeletion(ctx)
			if err != nil || !again {
				return err
			}
			w.done = Outcome{}
		}
		return w.attempt(ctx, attempt > 1)
	})
}

// tries calls do until it succeeds or its error allows no further attempt. An entry that can't be done is recorded as
// failed; one that has to wait stays pending. A remote that doesn't answer is waited for. Its error ends the batch.
func (w *work) tries(ctx context.Context, do func(ctx context.Context, attempt int) error) error {
	defer w.endAgain()
	vain := w.wasted
	for n, all := 1, 1; ; n, all = n+1, all+1 {
		began, before := time.Now(), w.wasted
		err := do(ctx, all)
		if err == nil {
			return nil
		}
		err = w.ofFolder(err)
		c := classify(ctx, err)
		if c == classForbidden {
			c, err = w.judgeRefusal(ctx, err)
		}
		switch {
		case c == classFatal:
			if ctx.Err() != nil {
				w.tidyCut(ctx)
				return context.Cause(ctx)
			}
			return err
		case c == classCapped:
			w.cleanUp(ctx)
			return w.r.record(ctx, w.i, Outcome{Result: SetAside, Source: Kept, Wasted: w.wasted, Code: CodeMaxTransfer,
				Reason: sentence(CodeMaxTransfer, remoteName(w.r.p.Source), w.e.Path, "the job has moved as much as it may")})
		case c == classQuota, c == classSignIn, c == classSpace:
			w.cleanUp(ctx)
			w.r.pend(ctx, c, err, w.need)
			return w.noteLeast(ctx)
		case c == classFinal:
			w.cleanUp(ctx)
			return w.fail(ctx, err)
		}
		silent, werr := w.waitOut(ctx, n, began, err)
		switch {
		case werr != nil:
		case silent && w.wasted-vain <= w.mayWaste(ctx, err):
			n-- // the file isn't to blame: that doesn't count against it
			continue
		case w.wasted == before && n < w.r.retry.patience(ctx, err):
			w.tellAgain(n+1, w.r.retry.patience(ctx, err), err)
			werr = w.pause(ctx, n, err)
		case n >= w.r.retry.limit(ctx, err):
			w.cleanUp(ctx)
			return w.fail(ctx, err)
		default:
			w.tellAgain(n+1, w.r.retry.limit(ctx, err), err)
			werr = w.pause(ctx, n, err)
		}
		if w.leaves(ctx, werr) {
			return nil
		}
		if werr != nil {
			return werr
		}
	}
}

// mayWaste is how many bytes may be read in vain by attempts that outages ended and that don't count: as many as those that do.
// On a line that breaks again and again one file would use up the allowance otherwise.
func (w *work) mayWaste(ctx context.Context, err error) int64 {
	size := w.e.Size
	if size < 0 {
		size = w.need
	}
	return size * int64(w.r.retry.limit(ctx, err))
}

// noteLeast records how long a file of unknown size is at least. Else each run would begin it anew with whatever is left
// of the allowance, and use that up in vain.
func (w *work) noteLeast(ctx context.Context) error {
	if w.least <= w.done.Least || w.done.Result != Pending {
		return nil
	}
	return w.r.record(ctx, w.i, Outcome{Least: w.least, Wasted: w.wasted})
}

// pause waits before the next attempt without holding a slot; it ends with ErrStop when the job is stopped meanwhile.
func (w *work) pause(ctx context.Context, n int, cause error) error {
	throttled := isThrottled(cause, causeText(cause))
	w.r.again(throttled)
	w.free(throttled)
	d := w.r.retry.wait(n, cause)
	slog.DebugContext(ctx, "trying again", "path", w.e.Path, "attempt", n, "wait", d, "error", cause)
	if err := w.r.retry.sleep(w.r.waiting(), d); err != nil {
		return err
	}
	release, err := w.r.env.Slots.Acquire(ctx)
	if err != nil {
		return err
	}
	w.release = release
	return nil
}

// judgeRefusal tells a refused file from a refused sign-in: the latter may not list the root either. The error is the one
// that the class is about.
func (w *work) judgeRefusal(ctx context.Context, err error) (class, error) {
	side := sideOf(err)
	_, rootErr := w.r.p.of(side).List(ctx, "")
	if rootErr == nil || isNotFound(rootErr) {
		return classFinal, err
	}
	rootErr = wrapSide(side, "list the root", rootErr)
	switch c := classify(ctx, rootErr); c {
	case classForbidden, classSignIn:
		return classSignIn, err
	case classFatal:
		return c, err
	case classQuota:
		return c, rootErr
	}
	return classRetry, err
}

// fail records an entry that couldn't be done.
func (w *work) fail(ctx context.Context, err error) error {
	if w.done.Source.Gone() { // it is in the trash: only the purge failed
		slog.InfoContext(ctx, "deleted file not purged", "path", w.e.Path, "error", err)
		return w.stays(ctx, err.Error())
	}
	if w.done.Result != Pending { // its copy is proved: only the deletion failed
		if w.done.Source == Deleting {
			if src, _, lerr := w.r.src.find(ctx, w.e.SourcePath(), true); lerr == nil && src == nil {
				return w.deleted(ctx, w.done) // the answer was lost, not the deletion
			}
		}
		slog.InfoContext(ctx, "source file not deleted", "path", w.e.Path, "error", err)
		if w.done.Source != Deleting { // no rule has allowed it yet: nothing may take it for a deletion that was begun
			return w.keep(ctx, w.done, CodeNotSeenAgain, err.Error())
		}
		return w.keep(ctx, w.done, CodeDeleteFailed, err.Error())
	}
	code := finalCode(err)
	remote := w.r.p.of(sideOf(err))
	if k := ruleObjectIsKept(w.src); k.code == CodeShared && sideOf(err) == SideSource {
		// What somebody else shares can't always be read from outside; no retry and no permission of ours changes that.
		slog.InfoContext(ctx, "shared file not read", "path", w.e.Path, "error", err)
		return w.r.record(ctx, w.i, Outcome{Result: SetAside, Source: Kept, Wasted: w.wasted, Code: CodeShared,
			Reason: sentence(CodeShared, remoteName(remote), w.e.Path, "it is shared by somebody else and can't be read from here")})
	}
	slog.InfoContext(ctx, "file failed", "path", w.e.Path, "code", code, "error", err)
	return w.r.record(ctx, w.i, Outcome{Result: Failed, Source: Kept, Wasted: w.wasted, Code: code,
		Reason: sentence(code, remoteName(remote), w.e.Path, err.Error())})
}

// failed is the outcome of an entry that can't be done, for a cause that is no error of a remote.
func (w *work) failed(code, remote, what string) Outcome {
	return Outcome{Result: Failed, Source: Kept, Wasted: w.wasted, Code: code,
		Reason: sentence(code, remote, w.e.Path, what)}
}

// attempt looks, copies where needed, proves, records and, where the policy says so, deletes.
func (w *work) attempt(ctx context.Context, fresh bool) error {
	src, _, err := w.r.src.find(ctx, w.e.SourcePath(), fresh)
	if err == nil && src == nil && !fresh {
		src, _, err = w.r.src.find(ctx, w.e.SourcePath(), true)
	}
	if err != nil {
		return sourceErr("look at source file", err)
	}
	if src == nil {
		return w.r.record(ctx, w.i, w.failed(CodeSourceGone, remoteName(w.r.p.Source), "the file isn't there any more"))
	}
	w.src = src
	failpoint.File(w.e.Path)
	m := markOf(ctx, src)
	if code := ruleSourceAsPlanned(w.e, m); code != "" {
		return w.r.record(ctx, w.i, w.drifted("it isn't the file that the plan saw"))
	}
	o, err := w.move(ctx, src, m, fresh)
	if errors.Is(err, ErrPackage) && !w.packed {
		w.packed = true
		o, err = w.move(ctx, src, m, fresh)
	}
	if err != nil {
		return err
	}
	failpoint.At("proved")
	if opt := w.r.p.Opt; opt.DeleteSource != DeleteVerified || opt.Hold > 0 || !deletable(w.e, o) {
		return w.r.record(ctx, w.i, o)
	}
	if o.Result == Skipped && (o.Grade == GradeA || w.r.dst.lists(w.e.DestPath())) {
		// The destination was seen in a listing that may be old by now, or before the source was read to be compared with it.
		if held, err := w.holds(ctx, o, m); err != nil || !held {
			return cmp.Or(err, destErr("look at destination file", ErrTaken))
		}
	}
	return w.deleteProved(ctx, o, m, src)
}

// move brings the file to the destination and proves it, or finds that it is there.
func (w *work) move(ctx context.Context, src fs.Object, m mark, fresh bool) (Outcome, error) {
	src, err := w.resolved(ctx, src)
	if err != nil {
		return Outcome{}, err
	}
	if src == nil {
		return w.failed(CodeSourceGone, remoteName(w.r.p.Source), "the file isn't there any more"), nil
	}
	if isPackage(src) {
		w.packed = true
		return w.movePackage(ctx, src, m)
	}
	pl, err := w.place(ctx, w.e.DestPath(), m, fresh, func(dst fs.Object, target string) (Outcome, error) {
		return w.existing(ctx, src, m, dst, target)
	})
	if err != nil || pl.outcome.Result != Pending {
		return pl.outcome, err
	}
	return w.copyTo(w.idles(ctx), src, m, pl)
}

// placed is where a copy goes, or the outcome where none is needed.
type placed struct {
	target  string
	over    fs.Object // what is to be replaced there, nil for nothing
	seen    time.Time // when that was seen
	outcome Outcome   // with a Result where there is nothing to copy
}

// place finds the name for the copy: its own, or one beside it where different content has that. compare answers for what
// is there already: with a Result where it is the same.
func (w *work) place(ctx context.Context, own string, m mark, fresh bool, compare func(dst fs.Object, target string) (Outcome, error)) (placed, error) {
	target := own
	for n := 1; n <= maxRenames; n++ {
		dst, seen, err := w.r.dst.find(ctx, target, fresh)
		folder := errors.Is(err, fs.ErrorIsDir) || errors.Is(err, fs.ErrorNotAFile)
		if err != nil && !folder {
			return placed{}, destErr("look at destination file", err)
		}
		if dst == nil && !folder {
			return placed{target: target, seen: seen}, nil
		}
		if dst != nil {
			o, err := compare(dst, target)
			if err != nil || o.Result != Pending {
				return placed{outcome: o}, err
			}
			if w.ours == target {
				if err := w.removeBad(ctx, dst); err != nil {
					return placed{}, err
				}
				return placed{target: target, seen: time.Now()}, nil
			}
		}
		if w.mayBePacked() {
			return placed{}, ErrPackage // its zip has another length: ask before it is taken for different content
		}
		if code := ruleDestAsPlanned(w.e, w.nowThere(ctx, dst)); code != "" && target == w.e.DestPath() {
			return placed{outcome: w.drifted("the destination has something else under this name than the plan saw")}, nil
		}
		if done, ok := w.conflict(dst, target, folder, seen); ok {
			return done, nil
		}
		target = renamed(own, m.mtime, n)
	}
	return placed{outcome: w.failed(CodeConflictKept, remoteName(w.r.p.Dest),
		fmt.Sprintf("%d names for it are taken by different content", maxRenames))}, nil
}

// mayBePacked tells whether nobody has asked yet what the file is.
func (w *work) mayBePacked() bool {
	_, ok := w.src.(Resolver)
	return ok && !w.packed
}

// conflict decides on a name that different content has; ok is false where another name is to be tried.
func (w *work) conflict(dst fs.Object, target string, folder bool, seen time.Time) (_ placed, ok bool) {
	opt := w.r.p.Opt
	if w.r.recalls {
		opt = ruleNothingIsReplaced(opt)
	}
	switch {
	case ruleMayOverwrite(opt.Conflict) && !folder:
		return placed{target: target, over: dst, seen: seen}, true
	case ruleMayOverwrite(opt.Conflict):
		return placed{outcome: w.failed(CodeConflictDir, remoteName(w.r.p.Dest), "a folder has this name")}, true
	case opt.Conflict == ConflictSkip:
		return placed{outcome: Outcome{Result: Skipped, Source: Kept, Wasted: w.wasted, Code: CodeConflictKept,
			Reason: sentence(CodeConflictKept, remoteName(w.r.p.Dest), w.e.Path, "different content has this name")}}, true
	}
	return placed{}, false
}

// removeBad removes what an earlier attempt of this run left under a name that was free before.
func (w *work) removeBad(ctx context.Context, o fs.Object) error {
	if err := w.r.env.Held(); err != nil {
		return portErr("remove bad copy", err)
	}
	if err := o.Remove(ctx); err != nil && !isNotFound(err) {
		return destErr("remove bad copy", err)
	}
	return nil
}

// renamed is the n-th name for a copy beside a taken one. It depends on nothing but the name and the time of the source
// file, so that a run that is repeated finds its own earlier copy.
func renamed(p string, mtime time.Time, n int) string {
	dir, name := path.Split(p)
	ext := path.Ext(name)
	if ext == name || len(ext) > 20 {
		ext = ""
	}
	tag := " (offload"
	if !mtime.IsZero() {
		tag += mtime.Format(" 2006-01-02")
	}
	if n > 1 {
		tag += fmt.Sprintf(" %d", n)
	}
	tag += ")"
	return dir + truncate(strings.TrimSuffix(name, ext), 255-len(tag)-len(ext)) + tag + ext
}

// truncate shortens s to at most n bytes without cutting a character.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// remoteName is a remote as people know it, without the parameters of a connection string, which may be secrets.
func remoteName(f fs.Fs) string { return fs.ConfigString(f) }
