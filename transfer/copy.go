package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/asyncreader"
	"github.com/rclone/rclone/fs/object"
)

const (
	// staleLook is how old a look at a destination name may be when the name is written to.
	staleLook = time.Minute
	// readAheadFrom is the size in bytes from which a file is read ahead while the destination is busy sending.
	readAheadFrom = 4 << 20
	// readAhead is how many buffers of 1 MiB that takes.
	readAhead = 4
	// longFrom is the size in bytes from which on a file is read further ahead, by longAhead buffers: a destination that takes
	// pieces of 16 MiB in turn, such as Dropbox, would else have the source wait while it is sent one. longAtOnce files of a pair
	// are, for the sake of memory.
	longFrom   = 512 << 20
	longAhead  = 17
	longAtOnce = 8
	// cleanUpTime bounds the removal of a partial upload after everything else was told to stop.
	cleanUpTime = 30 * time.Second
)

// copyTo copies src to where place said, and proves it.
func (w *work) copyTo(ctx context.Context, src fs.Object, m mark, pl placed) (Outcome, error) {
	if time.Since(pl.seen) > staleLook {
		o, _, err := w.r.dst.find(ctx, pl.target, true)
		if err != nil {
			return Outcome{}, destErr("look at destination file", err)
		}
		if o != nil && pl.over == nil {
			return Outcome{}, destErr("copy file", ErrTaken)
		}
		if pl.over != nil {
			pl.over = o
		}
	}
	if err := w.r.p.checkRoom(ctx, max(src.Size(), 0)); err != nil {
		return Outcome{}, err
	}
	if err := w.spoolRoom(); err != nil {
		return Outcome{}, err
	}
	w.dropFormer()
	if err := w.findPart(ctx, src, m); err != nil {
		return Outcome{}, err
	}
	var o Outcome
	err := w.metered(ctx, src.Size(), w.sentSoFar(), func(grant Grant) (used, vain int64, err error) {
		o, used, vain, err = w.sendAndProve(ctx, src, m, pl, grant)
		return used, vain, err
	})
	return o, err
}

// errInVain is the answer of a reading that went well and brought nothing.
var errInVain = errors.New("read in vain")

// metered reads from the source under a grant for size bytes, -1 for an unknown number, of which the first ones were read
// before. read returns how many count as used and how many of these were read in vain; its error is returned.
func (w *work) metered(ctx context.Context, size, before int64, read func(Grant) (used, vain int64, err error)) error {
	grant, err := w.reserve(ctx, size-before)
	if err != nil {
		return quotaOrPort("reserve traffic", err)
	}
	w.r.env.Watcher.Start(w.e.Path, size, before)
	defer w.r.env.Watcher.Done(w.e.Path)
	used, inVain, err := read(grant)
	used = grant.cover(context.WithoutCancel(ctx), used)
	inVain = min(inVain, used)
	w.wasted += inVain
	if err != nil {
		w.need = max(w.need, used+chargeStep) // more than listed, or of unknown length: it needs more than was to be had
		if size < 0 && errors.Is(err, ErrNoQuota) {
			w.least = grant.charged
			w.need = beyond(w.least) + inFlight
		}
	}
	if serr := grant.Settle(context.WithoutCancel(ctx), used, inVain); serr != nil && (err == nil || errors.Is(err, errInVain)) {
		return portErr("settle traffic", serr)
	}
	return err
}

// reserve sets aside what a reading needs at first. A file of unknown size is reserved as it is read; so that all that the
// source may have sent is counted wherever the reading breaks off, what may be on its way is charged beside it.
func (w *work) reserve(ctx context.Context, size int64) (*trackedGrant, error) {
	if size >= 0 {
		w.need = size
		grant, err := w.r.env.Meter.Reserve(ctx, size)
		return &trackedGrant{Grant: grant}, err
	}
	first := beyond(max(w.done.Least, w.least))
	w.need = first + inFlight
	spare, err := w.r.env.Meter.Reserve(ctx, inFlight)
	if err != nil {
		return nil, err
	}
	var grant Grant
	if err = spare.Charge(ctx, inFlight); err == nil {
		grant, err = w.r.env.Meter.Reserve(ctx, first)
	}
	if err != nil {
		return nil, errors.Join(err, spare.Settle(context.WithoutCancel(ctx), 0, 0))
	}
	return &trackedGrant{Grant: grant, spare: spare}, nil
}

// beyond is what is set aside for a file of unknown size of which n bytes were too few: a quarter more each time, so that it
// fits after a few attempts, however large it is and however little is left each time.
func beyond(n int64) int64 { return n + max(chargeStep, n/4) }

// trackedGrant is a grant that knows how much was charged, with a second one for what may be on its way; nil for none.
type trackedGrant struct {
	Grant
	charged int64
	spare   Grant
}

// Charge implements Grant.
func (g *trackedGrant) Charge(ctx context.Context, n int64) error {
	err := g.Grant.Charge(ctx, n)
	if err == nil {
		g.charged += n
	}
	return err
}

// cover charges what is used beyond what was charged while reading. It returns how much of it is covered: all, unless the
// source sent more than it had listed, or the ledger is away.
func (g *trackedGrant) cover(ctx context.Context, used int64) int64 {
	if g.spare != nil {
		return min(used, g.charged+inFlight)
	}
	if more := used - g.charged; more > 0 {
		_ = g.Charge(ctx, more)
	}
	return min(used, g.charged)
}

// Settle implements Grant.
func (g *trackedGrant) Settle(ctx context.Context, used, wasted int64) error {
	if g.spare == nil {
		return g.Grant.Settle(ctx, used, wasted)
	}
	over := max(used-g.charged, 0) // none of it was of any use
	return errors.Join(g.Grant.Settle(ctx, used-over, wasted-min(over, wasted)), g.spare.Settle(ctx, over, min(over, wasted)))
}

func quotaOrPort(op string, err error) error {
	if errors.Is(err, ErrNoQuota) || errors.Is(err, ErrCapped) {
		return err
	}
	return portErr(op, err)
}

// sendAndProve streams src once and proves what arrived. used is how many bytes count, also after a failure, vain how many of
// them brought nothing.
func (w *work) sendAndProve(ctx context.Context, src fs.Object, m mark, pl placed, grant Grant) (_ Outcome, used, vain int64, err error) {
	before := w.sentSoFar()
	o, s, err := w.sendOnce(ctx, src, m, pl, grant)
	if err == nil {
		w.part = nil
		return o, s.drawn, s.lost, nil
	}
	dropped := w.endPart(err)
	vain = max(s.drawn-max(w.sentSoFar()-before, 0), 0)
	s.inVain = vain - min(s.lost, vain)
	if dropped {
		w.wasted += before
		s.inVain += before
	}
	w.leavePart(ctx, err, vain)
	return Outcome{}, s.drawn, vain, err
}

// sendOnce is sendAndProve without the account of it. The sent it returns holds the bytes read also after a failure.
func (w *work) sendOnce(ctx context.Context, src fs.Object, m mark, pl placed, grant Grant) (Outcome, *sent, error) {
	name, partial := pl.target, false
	if feat := w.r.p.Dest.Features(); feat.PartialUploads && feat.Move != nil {
		name, partial = partialName(pl.target, w.r.env.Owner), true
		w.removeFormer(ctx, pl.target)
	}
	if !partial && pl.over == nil && !(w.r.recalls && w.r.dst.traits.atomic) {
		w.ours = pl.target
	}
	s, obj, err := w.send(ctx, src, m, pl, name, grant)
	if err != nil {
		if partial {
			w.removePartial(ctx, name)
		}
		if !ruleMayHaveWritten(err, src.Size(), s.n, w.r.dst.traits) {
			w.ours = "" // whatever stands there is somebody else's
		}
		return Outcome{}, s, err
	}
	if partial {
		if obj, err = w.takeName(ctx, obj, s, pl); err != nil {
			w.removePartial(ctx, name)
			return Outcome{}, s, err
		}
	}
	grade, proof, err := w.lookAgain(ctx, s, obj)
	if err != nil {
		return Outcome{}, s, err
	}
	w.ours = ""
	o := Outcome{Result: Copied, Grade: grade, Source: Kept, Bytes: s.n, Wasted: w.wasted + s.lost, Hash: proof, SourceMark: m.String(),
		Evidence: evidenceOf(src)}
	if pl.target != w.e.DestPath() {
		o.Dest = pl.target
	}
	return o, s, nil
}

// send streams src to name at the destination. The sent it returns holds the bytes read also after a failure.
func (w *work) send(ctx context.Context, src fs.Object, m mark, pl placed, name string, grant Grant) (*sent, fs.Object, error) {
	s := &sent{mark: m, mtime: w.timeOf(ctx, src), target: pl.target}
	h, err := w.newSumsFor(src, m)
	if err != nil {
		return s, nil, err
	}
	up, err := w.partUpload(ctx, src, m, h)
	if err != nil {
		return s, nil, err
	}
	mr, in, err := w.openMetered(ctx, reading{src, m, src.Size(), w.sentSoFar(), h}, grant)
	if err != nil {
		if mr != nil {
			s.drawn, s.lost = mr.drawn()
		}
		return s, nil, err
	}
	upCtx, uploaded := w.arrives(ctx, src, s, mr, h)
	obj, putErr := w.upload(upCtx, readCloser{mr, in}, src.Size(), s.mtime, name, pl.over, up)
	uploaded()
	var readErr error
	s.n, readErr = mr.state()
	s.drawn, s.lost = mr.drawn()
	if readErr != nil {
		return s, nil, readErr // the cause of whatever the upload says
	}
	whole := mr.ended()
	if putErr == nil && !whole {
		return s, nil, destErr(opUpload, fmt.Errorf("%w: it took %d bytes of %d", errMismatch, s.n, src.Size()))
	}
	if whole {
		s.sums = h.Sums()
	}
	if putErr != nil {
		return w.answerLost(ctx, s, name, whole, putErr)
	}
	if err := w.notTorn(ctx, src, m); err != nil {
		if name == pl.target {
			w.sent = nil
		}
		return s, nil, err
	}
	w.sent = s
	return s, obj, nil
}

// answerLost handles an upload that failed after all was sent: perhaps only the answer was lost, and then the file is
// there and need not be sent again. Only a hash of the remote's own is believed here.
func (w *work) answerLost(ctx context.Context, s *sent, name string, whole bool, putErr error) (*sent, fs.Object, error) {
	putErr = destErr(opUpload, putErr)
	if whole && ctx.Err() != nil {
		w.ours = "" // nobody has seen what stands there: the next run compares it
	}
	if !whole || ctx.Err() != nil {
		return s, nil, putErr
	}
	w.sent = s
	o, _, err := w.r.dst.find(ctx, name, true)
	if err != nil || o == nil {
		return s, nil, putErr
	}
	if g, _, err := w.proof(ctx, o, s, false); err != nil || g != GradeA {
		return s, nil, putErr
	}
	return s, o, nil
}

// notTorn makes sure that a file on a local disk was not written to while it was read: a disk, unlike a cloud, hands out
// bytes of two versions without a word.
func (w *work) notTorn(ctx context.Context, src fs.Object, m mark) error {
	if !w.r.p.Source.Features().IsLocal {
		return nil
	}
	now, _, err := w.r.src.find(ctx, src.Remote(), true)
	if err != nil {
		return sourceErr("look at source file", err)
	}
	if now == nil || !m.same(markOf(ctx, now)) {
		return sourceErr("read source file", errTorn)
	}
	return nil
}

// takeName gives a proved partial upload its real name.
func (w *work) takeName(ctx context.Context, o fs.Object, s *sent, pl placed) (fs.Object, error) {
	var err error
	if s.grade, s.proof, err = w.proof(ctx, o, s, false); err != nil {
		return nil, err
	}
	there, _, err := w.r.dst.find(ctx, pl.target, true)
	if err != nil {
		return nil, destErr("look at destination file", err)
	}
	if there != nil && pl.over == nil {
		return nil, destErr("rename upload", ErrTaken)
	}
	o, err = w.r.p.Dest.Features().Move(ctx, o, pl.target)
	if err != nil {
		return nil, destErr("rename upload", err)
	}
	return o, nil
}

// lookAgain proves a copy by a fresh look under its final name. A bad copy is removed, if it is the one that this
// attempt wrote. Where hashing costs a reading and nothing is to be deleted, the proof under the partial name is enough.
func (w *work) lookAgain(ctx context.Context, s *sent, put fs.Object) (Grade, string, error) {
	o, err := w.seeDest(ctx, s.target)
	if err != nil {
		return "", "", err
	}
	if o == nil {
		return "", "", destErr("look at destination file", errNotArrived)
	}
	if s.grade != "" && o.Size() == s.n && w.r.p.Dest.Features().SlowHash && !w.r.p.Opt.Deletes() {
		return s.grade, s.proof, nil
	}
	g, proof, err := w.proof(ctx, o, s, w.r.recalls || ruleExistingNeedsContent(w.r.p.Opt))
	if isMismatch(err) {
		if put == nil || !ruleRemoveOnlyOurs(markOf(ctx, put), markOf(ctx, o)) {
			w.ours = "" // somebody else has written there since: it isn't ours to remove
		} else if rerr := w.removeBad(ctx, o); rerr != nil {
			return "", "", errors.Join(err, rerr)
		}
	}
	return g, proof, err
}

// upload writes r, of a file of the given size in bytes or -1, to name. It closes r. up is nil for an upload that isn't to be
// gone on with.
func (w *work) upload(ctx context.Context, r io.ReadCloser, size int64, mtime time.Time, name string, over fs.Object, up *PartUpload) (_ fs.Object, err error) {
	if size >= readAheadFrom {
		buffers := readAhead
		if size >= longFrom {
			long := &w.r.p.engine.long
			defer long.Add(-1)
			if long.Add(1) <= longAtOnce {
				buffers = longAhead
			}
		}
		ahead, err := asyncreader.New(ctx, r, buffers)
		if err != nil {
			_ = r.Close()
			return nil, fmt.Errorf("read ahead: %w", err)
		}
		r = ahead
	}
	defer func() {
		// Most uploads read the listed size and not the end after it: ask for that, so that a longer source is noticed.
		_, _ = r.Read(make([]byte, 1))
		// What was read is hashed and compared: a source that fails to close has delivered all the same.
		_ = r.Close()
	}()
	var in io.Reader = r
	dest := w.r.p.Dest
	if size < 0 && dest.Features().PutStream == nil {
		f, n, err := w.spool(r)
		if err != nil {
			return nil, err
		}
		defer dropSpool(f)
		in, size = f, n
	}
	info := object.NewStaticObjectInfo(name, mtime, size, true, nil, w.r.p.Source)
	switch {
	case up != nil:
		if over != nil && name == over.Remote() {
			up.Over = over
		}
		return dest.(Resumer).PutPart(ctx, in, info, *up)
	case over != nil && name == over.Remote():
		return over, over.Update(ctx, in, info)
	case size < 0:
		return dest.Features().PutStream(ctx, in, info)
	}
	return dest.Put(ctx, in, info)
}

// readCloser reads from one and closes the other.
type readCloser struct {
	io.Reader
	io.Closer
}

// partialName is the name of an upload until it is proved. It is the same at each attempt of one owner.
func partialName(target, owner string) string {
	sum := sha256.Sum256([]byte(owner + "\x00" + target))
	tail := "." + hex.EncodeToString(sum[:4]) + PartialSuffix
	dir, name := path.Split(target)
	return dir + truncate(name, 255-len(tail)) + tail
}

// removePartial removes a partial upload of this run after a failure. One that can't be removed is removed by the next
// owner of the batch; a scan passes over it.
func (w *work) removePartial(ctx context.Context, name string) {
	if _, silent := w.r.p.engine.silence(SideDest).now(); silent {
		return // nobody would hear it
	}
	_ = w.dropPartial(context.WithoutCancel(ctx), name)
}

// removeFormer removes what earlier owners of the batch left of an upload to target. What fails the next attempt tries again.
func (w *work) removeFormer(ctx context.Context, target string) {
	if w.tidied {
		return
	}
	w.tidied = true
	for _, owner := range w.r.env.Former {
		if err := w.dropPartial(ctx, partialName(target, owner)); err != nil {
			w.tidied = false
		}
	}
}

func (w *work) dropPartial(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTime)
	defer cancel()
	o, err := w.r.p.Dest.NewObject(ctx, name)
	if err == nil {
		err = o.Remove(ctx)
	}
	if isNotFound(err) {
		return nil
	}
	return err
}

// cleanUp removes what an upload left in place under a name that was free before, where its bytes aren't right. It is
// called when no further attempt follows.
func (w *work) cleanUp(ctx context.Context) {
	if w.ours == "" || ctx.Err() != nil {
		return
	}
	o, _, err := w.r.dst.find(ctx, w.ours, true)
	if err != nil || o == nil {
		return
	}
	if w.sent != nil && w.sent.target == w.ours {
		if _, _, err := w.proof(ctx, o, w.sent, false); !errors.Is(err, errMismatch) {
			return // whole, or can't be told: the next run compares it
		}
	}
	_ = w.removeBad(ctx, o)
}
