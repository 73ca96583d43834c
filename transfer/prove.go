package transfer

import (
	"context"
	"errors"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// proof compares a destination file with what was sent. With content it reads the file back where the destination has no
// hash that proves anything. It returns errMismatch (wrapped) where they differ for certain.
func (w *work) proof(ctx context.Context, o fs.Object, s *sent, content bool) (Grade, string, error) {
	if o.Size() >= 0 && o.Size() != s.n {
		return "", "", destErr("compare size", errMismatch)
	}
	for _, t := range w.r.types {
		h, err := hashOf(ctx, o, t, w.r.dst.traits.ofOurs()) // an upload of ours carries no claim that could be echoed
		if err != nil {
			return "", "", destErr("read hash", err)
		}
		if h == "" {
			continue
		}
		if h != s.sums[t] {
			return "", "", destErr("compare "+t.String(), errMismatch)
		}
		return GradeA, hashName(t, h), nil
	}
	own := hashName(readBackType(), s.sums[readBackType()])
	if content {
		return GradeB, own, w.readBackEquals(ctx, o, s.sums[readBackType()], s.n)
	}
	if o.Size() == s.n && w.sameTime(ctx, o, s.mtime) {
		return GradeC, own, nil
	}
	return GradeD, own, nil
}

// readBackEquals reads a destination file whole and compares it with a sum of the read-back type and a length in bytes;
// -1 is any length.
func (w *work) readBackEquals(ctx context.Context, o fs.Object, sum string, n int64) error {
	got, gotN, err := readBack(ctx, o)
	if err != nil {
		return destErr("read copy back", err)
	}
	if got != sum || n >= 0 && gotN != n {
		return destErr("read copy back", errMismatch)
	}
	return nil
}

// sameTime tells whether the destination file has the modification time t, as exactly as both remotes keep it. Where
// the destination keeps none, it hasn't; a source that can't set times may still report them to the second.
func (w *work) sameTime(ctx context.Context, o fs.Object, t time.Time) bool {
	if w.timeless(t) {
		return false
	}
	window := fs.GetModifyWindow(ctx, w.r.p.Dest)
	if p := w.r.p.Source.Precision(); p == fs.ModTimeNotSupported {
		window = max(window, time.Second)
	} else {
		window = max(window, p)
	}
	return o.ModTime(ctx).Sub(t).Abs() <= window
}

// timeless tells whether times can't be compared: t is none, or the destination keeps none.
func (w *work) timeless(t time.Time) bool {
	return t.Unix() <= 0 || w.r.p.Dest.Precision() == fs.ModTimeNotSupported
}

// existing compares a file that is already at the destination with the source file. The outcome has a Result where they
// are equal: Skipped, or Copied where this run sent it and the answer was lost.
func (w *work) existing(ctx context.Context, src fs.Object, m mark, dst fs.Object, target string) (Outcome, error) {
	o := Outcome{Source: Kept, Wasted: w.wasted, SourceMark: m.String()}
	if target != w.e.DestPath() {
		o.Dest = target
	}
	if g, proof, err := w.sentBefore(ctx, dst, target, m); err != nil || g != "" {
		o.Result, o.Grade, o.Hash, o.Bytes, o.Wasted = Copied, g, proof, w.sent.n, max(w.wasted-w.sent.inVain, 0)
		return o, err
	}
	if w.ours == target {
		return Outcome{}, nil // left by an attempt that didn't send the whole: length and time may be right all the same
	}
	if src.Size() >= 0 && dst.Size() >= 0 && src.Size() != dst.Size() {
		return Outcome{}, nil
	}
	g, proof, err := w.sameContent(ctx, src, m, dst)
	if err != nil || g == "" {
		return Outcome{}, err
	}
	o.Result, o.Grade, o.Hash, o.Wasted = Skipped, g, proof, w.wasted
	return o, nil
}

// sentBefore proves a file at the destination that this run sent there itself, and whose answer was lost; no grade says
// that it didn't, or that other bytes are there.
func (w *work) sentBefore(ctx context.Context, dst fs.Object, target string, m mark) (Grade, string, error) {
	s := w.sent
	if s == nil || s.target != target || !s.mark.same(m) {
		return "", "", nil
	}
	g, proof, err := w.proof(ctx, dst, s, ruleExistingNeedsContent(w.r.p.Opt))
	if isMismatch(err) || err == nil && !ruleFormerIsBelieved(s.former, g) {
		return "", "", nil
	}
	if err == nil {
		w.ours = ""
	}
	return g, proof, err
}

// sameContent grades the equality of two files of one size; no grade says that they differ.
func (w *work) sameContent(ctx context.Context, src fs.Object, m mark, dst fs.Object) (Grade, string, error) {
	needed := ruleExistingNeedsContent(w.r.p.Opt)
	sized := src.Size() >= 0 && src.Size() == dst.Size()
	timed := sized && w.sameTime(ctx, dst, m.mtime)
	slow := w.r.p.Source.Features().SlowHash || w.r.p.Dest.Features().SlowHash
	if !needed && timed && slow {
		return GradeC, "", nil
	}
	g, proof, told, err := w.sameHash(ctx, src, dst)
	if err != nil || told {
		return g, proof, err
	}
	switch {
	case !needed && timed:
		return GradeC, "", nil
	case !needed && sized && w.timeless(m.mtime):
		return GradeD, "", nil // nothing to compare but the size; to read both each time would cost too much
	case !needed && ruleMayOverwrite(w.r.p.Opt.Conflict):
		return "", "", nil // to replace it costs less than to compare it
	}
	return w.compareByReading(ctx, src, m, dst)
}

// sameHash compares by a hash that both remotes have; told is false where they have none in common for this file.
func (w *work) sameHash(ctx context.Context, src, dst fs.Object) (g Grade, proof string, told bool, err error) {
	for _, t := range commonTypes(w.r.p.Source, w.r.p.Dest) {
		a, err := hashOf(ctx, src, t, w.r.src.traits)
		if err != nil {
			return "", "", false, sourceErr("read hash", err)
		}
		if a == "" {
			continue
		}
		b, err := hashOf(ctx, dst, t, w.r.dst.traits)
		if err != nil {
			return "", "", false, destErr("read hash", err)
		}
		if b == "" {
			continue
		}
		if a != b {
			return "", "", true, nil
		}
		return GradeA, hashName(t, b), true, nil
	}
	return "", "", false, nil
}

// compareByReading streams the source file, metered like a copy, and compares it with the destination's own hash, or
// with the destination file read back.
func (w *work) compareByReading(ctx context.Context, src fs.Object, m mark, dst fs.Object) (g Grade, proof string, err error) {
	err = w.metered(ctx, src.Size(), 0, func(grant Grant) (used, vain int64, err error) {
		s, err := w.readSource(ctx, src, m, grant)
		if err == nil {
			g, proof, err = w.compareRead(ctx, dst, s)
		}
		if err == nil && g == "" {
			err = errInVain
		}
		if err != nil {
			return s.drawn, s.drawn, err
		}
		return s.drawn, s.lost, nil
	})
	if errors.Is(err, errInVain) {
		err = nil
	}
	return g, proof, err
}

// compareRead compares a file that was at the destination before with a source that was read.
func (w *work) compareRead(ctx context.Context, dst fs.Object, s *sent) (Grade, string, error) {
	for _, t := range w.r.types {
		h, err := hashOf(ctx, dst, t, w.r.dst.traits)
		if err != nil {
			return "", "", destErr("read hash", err)
		}
		if h == "" {
			continue
		}
		if h != s.sums[t] {
			return "", "", nil
		}
		return GradeA, hashName(t, h), nil
	}
	sum := s.sums[readBackType()]
	err := w.readBackEquals(ctx, dst, sum, s.n)
	if isMismatch(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	return GradeB, hashName(readBackType(), sum), nil
}

// readSource reads a source file whole under a grant, for its sums.
func (w *work) readSource(ctx context.Context, src fs.Object, m mark, grant Grant) (*sent, error) {
	s := &sent{mark: m}
	h, err := w.newSumsFor(src, m)
	if err != nil {
		return s, err
	}
	mr, in, err := w.openMetered(ctx, reading{src, m, src.Size(), 0, h}, grant)
	if err != nil {
		return s, err
	}
	err = drain(mr)
	_ = in.Close() // all that was wanted has been read
	s.n, _ = mr.state()
	s.drawn, s.lost = mr.drawn()
	if err != nil {
		return s, err
	}
	s.sums = h.Sums()
	return s, w.notTorn(ctx, src, m)
}

// holds tells whether the destination still holds what an outcome recorded as proved, by the recorded hash.
func (w *work) holds(ctx context.Context, o Outcome, m mark) (bool, error) {
	target := o.Dest
	if target == "" {
		target = w.e.DestPath()
	}
	dst, _, err := w.r.dst.find(ctx, target, true)
	if errors.Is(err, fs.ErrorIsDir) || errors.Is(err, fs.ErrorNotAFile) {
		return false, nil // a folder has its name now
	}
	if err != nil {
		return false, destErr("look at destination file", err)
	}
	size := m.size
	if o.Package {
		size = -1 // the zip's length is its own; its hash tells
	}
	if dst == nil || size >= 0 && dst.Size() >= 0 && dst.Size() != size {
		return false, nil
	}
	t, sum := splitHash(o.Hash)
	if t != hash.None && dst.Fs().Hashes().Contains(t) {
		echo := w.r.dst.traits
		if o.Result == Copied {
			echo = echo.ofOurs() // an upload of ours carries no claim that could be echoed
		}
		h, err := hashOf(ctx, dst, t, echo)
		if err != nil {
			return false, destErr("read hash", err)
		}
		if h != "" {
			return h == sum, nil
		}
	}
	if t == readBackType() && o.Grade.AtLeast(GradeB) {
		err := w.readBackEquals(ctx, dst, sum, size)
		if isMismatch(err) {
			return false, nil
		}
		return err == nil, err
	}
	return !o.Package && o.Grade == GradeC && w.sameTime(ctx, dst, m.mtime), nil
}
