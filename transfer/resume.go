package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

const (
	// partPause is the shortest time between two records of how far an upload is, partStep the bytes after which one is
	// made all the same: of what a killed process has sent, so much at most is sent again.
	partPause = 250 * time.Millisecond
	partStep  = 64 << 20
	// partTime bounds the record of how far an upload is when everything else was told to stop.
	partTime = 5 * time.Second
)

// ErrPartLost says that a destination doesn't know an upload any more, or takes nothing more for it.
var ErrPartLost = errors.New("the destination doesn't know the upload any more")

// Part is an upload that hasn't come to its end.
type Part struct {
	ID     string // the destination's own
	Offset int64  // bytes of the file that it holds
}

// Resumer is an optional power of a destination, found by asserting its fs.Fs: an upload that broke off goes on where it was,
// also in another process.
type Resumer interface {
	// ResumesFrom is the size in bytes from which on files are uploaded so.
	ResumesFrom() int64
	// Held asks how much of an upload the destination holds. It returns ErrPartLost (wrapped) where it knows none.
	Held(ctx context.Context, p Part) (Part, error)
	// PutPart uploads in as Put does, or over a file as its Update does. It returns ErrPartLost (wrapped) where the upload
	// can't be gone on with.
	PutPart(ctx context.Context, in io.Reader, info fs.ObjectInfo, up PartUpload) (fs.Object, error)
}

// PartUpload is an upload that can be gone on with.
type PartUpload struct {
	Over fs.Object // the file that is replaced, nil for none
	// Part is what was sent earlier; in begins at its Offset. The destination may hold more by now: that isn't sent again.
	// The zero Part begins an upload.
	Part Part
	// Sum is the hash of the whole file, once in was read to its end; "" where it isn't computed.
	Sum func(hash.Type) string
	// Kept is told how much the destination has acknowledged, by the goroutine that called PutPart. Its error ends the upload.
	Kept func(Part) error
}

// part is an upload on its way: how far it is, and the sums of that.
type part struct {
	Part
	mark  mark
	state sumState
}

// partJSON is a part as an outcome keeps it.
type partJSON struct {
	Version int               `json:"v"`
	ID      string            `json:"id"`
	Offset  int64             `json:"n"`
	Mark    string            `json:"m"`
	Hashes  map[string][]byte `json:"h"`
}

// partVersion is that of stored parts. A part of another version is passed over: the file is sent from its beginning.
const partVersion = 1

// String is the form kept in Outcome.Part.
func (p *part) String() string {
	b, err := json.Marshal(partJSON{Version: partVersion, ID: p.ID, Offset: p.Offset, Mark: p.mark.String(), Hashes: p.state.hashes})
	if err != nil {
		return "" // it isn't kept then
	}
	return string(b)
}

// parsePart reads what String wrote; nil for anything else. A damaged part costs the bytes that were sent, and no more.
func parsePart(s string) *part {
	var j partJSON
	if s == "" || json.Unmarshal([]byte(s), &j) != nil || j.Version != partVersion || j.ID == "" || j.Offset <= 0 {
		return nil
	}
	m, ok := parseMark(j.Mark)
	if !ok {
		return nil
	}
	return &part{Part{j.ID, j.Offset}, m, sumState{j.Offset, j.Hashes}}
}

// resumer is the destination, where it goes on with uploads and the file is worth it; nil otherwise.
func (w *work) resumer(src fs.Object, m mark) Resumer {
	r, ok := w.r.p.Dest.(Resumer)
	if !ok || m.size < r.ResumesFrom() || !w.mayResume(src, m) {
		return nil
	}
	return r
}

// findPart makes sure that what was sent of the file before can be gone on with, and drops it where not.
func (w *work) findPart(ctx context.Context, src fs.Object, m mark) error {
	p := w.part
	if p == nil {
		return nil
	}
	r := w.resumer(src, m)
	if r == nil {
		w.dropPart()
		return nil
	}
	held, err := r.Held(ctx, p.Part)
	switch {
	case errors.Is(err, ErrPartLost):
		w.dropPart()
		return nil
	case err != nil:
		return destErr("ask for the upload", err)
	}
	if s, err := w.newSumsFor(src, m); err != nil || s.restore(p.state) != nil ||
		!rulePartIsUsable(p.mark, m, p.Offset, held.Offset) {
		w.dropPart()
	}
	return nil
}

// dropPart gives up what was sent of the file: it was read in vain.
func (w *work) dropPart() {
	if w.part != nil {
		w.wasted += w.part.Offset
		w.part = nil
	}
}

// sentSoFar is how many bytes of the file needn't be read again.
func (w *work) sentSoFar() int64 {
	if w.part == nil {
		return 0
	}
	return w.part.Offset
}

// partUpload prepares an upload that can be gone on with; nil where the destination or the file doesn't allow it.
func (w *work) partUpload(ctx context.Context, src fs.Object, m mark, s *sums) (*PartUpload, error) {
	if w.resumer(src, m) == nil || !s.keepStates() {
		return nil, nil
	}
	up := &PartUpload{Sum: func(t hash.Type) string { return s.Sums()[t] }}
	if w.part != nil {
		if err := s.restore(w.part.state); err != nil {
			return nil, err
		}
		up.Part = w.part.Part
	}
	up.Kept = func(p Part) error {
		if state, ok := s.upTo(p.Offset); ok && state.at < m.size {
			w.part = &part{Part{p.ID, state.at}, m, state}
			return w.keepPart(ctx)
		}
		return nil
	}
	return up, nil
}

// keepPart records how far the upload is, once that is due. A store that is away costs no more than some bytes that are sent
// again; work that was taken over ends.
func (w *work) keepPart(ctx context.Context) error {
	p := w.part
	if p.Offset == w.kept || w.done.Result != Pending || time.Since(w.keptAt) < partPause && p.Offset-w.kept < partStep {
		return nil
	}
	w.keptAt = time.Now()
	err := w.r.record(ctx, w.i, Outcome{Part: p.String(), Wasted: w.wasted})
	if err == nil {
		w.kept = p.Offset
		return nil
	}
	if errors.Is(err, ErrFenced) || ctx.Err() != nil {
		return err
	}
	slog.WarnContext(ctx, "how far an upload is wasn't recorded", "path", w.e.Path, "error", err)
	return nil
}

// endPart drops an upload that ended with err, where it can't be gone on with.
func (w *work) endPart(err error) (dropped bool) {
	if errors.Is(err, ErrPartLost) || isMismatch(err) || errors.Is(err, errTorn) || errors.Is(err, ErrNoParts) {
		w.part = nil
		w.whole = w.whole || errors.Is(err, ErrNoParts)
		return true
	}
	return false
}

// leavePart records how far an upload is that ended with err, and that so many bytes were read in vain, for whoever goes on
// with it. What was taken over is somebody else's.
func (w *work) leavePart(ctx context.Context, err error, vain int64) {
	p := w.part
	if p == nil || w.done.Result != Pending || p.Offset == w.kept && vain == 0 ||
		errors.Is(err, ErrFenced) || errors.Is(context.Cause(ctx), ErrFenced) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partTime)
	defer cancel()
	if err := w.r.record(ctx, w.i, Outcome{Part: p.String(), Wasted: w.wasted + vain}); err != nil {
		slog.WarnContext(ctx, "how far an upload is wasn't recorded", "path", w.e.Path, "error", err)
		return
	}
	w.kept = p.Offset
}
