package transfer

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"sync"

	"github.com/rclone/rclone/fs"
	rhash "github.com/rclone/rclone/fs/hash"
)

// maxBarren is how many times in a row a reading that broke is gone on with where each time brought less than the break may
// have cost in traffic, or less than chargeStep: what is read in vain stays within a few times the file.
const maxBarren = 5

// ErrNoParts is what an Open answers that was asked for a part of a file and got something else from the service.
var ErrNoParts = errors.New("the service hands out no parts of files")

// PartReader is an optional power of a source's object: an Open in part gives just those bytes of the version that the
// object stands for, or fails (ErrNoParts, ErrChanged). Others may give whatever the service answers.
type PartReader interface {
	// ReadsParts says so; it is called for nothing else.
	ReadsParts()
	// Checksum is an empty hash of the kind that the source's own checksum of files is, to be given a file's bytes from
	// the beginning; nil where there is none.
	Checksum() hash.Hash
	// Check compares the sum of a whole reading with the source's own; "" is a reading whose sum isn't known. Its error
	// refuses the reading.
	Check(sum []byte) error
}

// mender goes on with the reading of a source file whose connection broke, at the very byte, under rule 13. It is used by
// one reading, by one goroutine at a time.
type mender struct {
	open func(offset int64) (io.ReadCloser, error)
	look func() error // that the source still has the version that is read
	w    *work
	what reading
	live func(error) bool // the error may pass, and nobody has called the work off
	rest func(n int, cause error) error
	body *stream

	joined bool  // the reading is of more than one part
	barren int   // goings-on in a row that brought nothing
	last   int64 // offset of the last one
}

// newMender returns nil where a file must be read from its beginning to its end.
func (w *work) newMender(ctx context.Context, what reading) *mender {
	if !w.mayResume(what.src, what.mark) || what.sums == nil {
		return nil
	}
	return &mender{w: w, what: what, joined: what.from > 0, last: what.from,
		open: func(offset int64) (io.ReadCloser, error) { return openAt(ctx, what.src, offset, what.size) },
		look: func() error { return w.unchanged(ctx, what.src, what.mark) },
		live: func(err error) bool {
			return ctx.Err() == nil && classify(ctx, err) == classRetry && !errors.Is(err, errTorn) &&
				!errors.Is(err, ErrChanged) && !errors.Is(err, ErrPackage) && !errors.Is(err, ErrNoParts)
		},
		rest: func(n int, cause error) error { return w.r.retry.sleep(ctx, w.r.retry.wait(n, cause)) },
	}
}

// mayResume asks rule 13 whether a source file may be read in parts.
func (w *work) mayResume(src fs.Object, m mark) bool {
	_, spool := src.(*spooled)
	_, exact := src.(PartReader)
	return !w.whole && !w.r.p.Source.Features().IsLocal && ruleMayResume(m, spool || isPackage(src), exact, w.r.src.traits)
}

// unchanged looks at the source anew and tells whether it still has the version with a mark.
func (w *work) unchanged(ctx context.Context, src fs.Object, m mark) error {
	now, _, err := w.r.src.find(ctx, src.Remote(), true)
	if err != nil {
		return sourceErr("look at source file", err)
	}
	if now == nil || !rulePartsAreOfOneVersion(m, markOf(ctx, now)) {
		return sourceErr("read source file", errTorn)
	}
	return nil
}

// openAt opens a file of the given size in bytes at an offset.
func openAt(ctx context.Context, src fs.Object, offset, size int64) (io.ReadCloser, error) {
	if offset == 0 {
		return src.Open(ctx)
	}
	return src.Open(ctx, &fs.RangeOption{Start: offset, End: size - 1})
}

// mends tells whether a reading that broke for a cause may be gone on with.
func (m *mender) mends(cause error) bool { return m != nil && m.live(cause) }

// joins tells whether the reading is of more than one part.
func (m *mender) joins() bool { return m != nil && m.joined }

// distrust has the file read whole from now on: a reading in parts gave something else than the file.
func (m *mender) distrust() { m.w.whole = true }

// unchanged is look for the first part of a reading that doesn't begin at the beginning.
func (m *mender) unchanged() error {
	if m == nil {
		return sourceErr("read source file", ErrNoParts)
	}
	return m.look()
}

// reopen goes on at an offset after a connection broke for a cause, with so many bytes perhaps on their way. pay is called
// before anything is asked for. Its error is the one to end the reading with.
func (m *mender) reopen(offset, cost int64, cause error, pay func() error) error {
	m.body.drop()
	if offset-m.last >= max(chargeStep, cost) {
		m.barren = 0
	}
	m.last = offset
	for {
		if m.barren++; m.barren > maxBarren {
			return cause
		}
		if err := m.rest(m.barren, cause); err != nil {
			return err
		}
		err := m.goOn(offset, pay)
		if err == nil {
			slog.Debug("a download broke and goes on", "path", m.w.e.Path, "at", offset, "cause", cause)
			return nil
		}
		if errors.Is(err, ErrNoParts) {
			m.distrust()
		}
		if !m.mends(err) {
			return err
		}
		cause = err
	}
}

func (m *mender) goOn(offset int64, pay func() error) error {
	if err := m.look(); err != nil {
		return err
	}
	if err := pay(); err != nil {
		return err
	}
	m.joined = true
	in, err := m.open(offset)
	if err != nil {
		return sourceErr("open source file", err)
	}
	m.body.put(in)
	return nil
}

// whole makes sure that what was read in parts is one version of the file, before its last bytes are handed out.
func (m *mender) whole() error {
	if err := m.look(); err != nil {
		return err
	}
	if p, ok := m.what.src.(PartReader); ok {
		if err := p.Check(m.what.sums.own()); err != nil {
			m.distrust()
			return sourceErr("read source file", err)
		}
		if m.what.mark.etag != "" {
			return nil
		}
	}
	t, want := splitHash(m.what.mark.hash)
	if got := m.what.sums.Sums()[t]; want == "" || got != want {
		m.distrust()
		return sourceErr("read source file", fmt.Errorf("%w: its parts don't have the source's own hash together", errTorn))
	}
	return nil
}

// newSumsFor computes what a copy of a source file is compared by, at the destination and, if it is read in parts, at the
// source.
func (w *work) newSumsFor(src fs.Object, m mark) (*sums, error) {
	types := w.r.types
	if t, _ := splitHash(w.e.Hash); w.r.recalls && t != rhash.None {
		types = append([]rhash.Type{t}, types...)
	}
	if !w.mayResume(src, m) {
		return newSums(types, nil)
	}
	var own hash.Hash
	if p, ok := src.(PartReader); ok {
		own = p.Checksum()
	}
	t, _ := splitHash(m.hash)
	return newSums(append([]rhash.Type{t}, types...), own)
}

// stream is the open body of a source file; another one takes its place where it breaks.
type stream struct {
	mu     sync.Mutex
	in     io.ReadCloser // nil while there is none
	closed bool
}

// Read implements io.Reader. It may be closed meanwhile, which ends it.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	in := s.in
	s.mu.Unlock()
	if in == nil {
		return 0, io.ErrClosedPipe
	}
	return in.Read(p)
}

// drop closes a body that broke.
func (s *stream) drop() {
	s.mu.Lock()
	in := s.in
	s.in = nil
	s.mu.Unlock()
	if in != nil {
		_ = in.Close() // it has failed before
	}
}

// put takes another body.
func (s *stream) put(in io.ReadCloser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = in.Close() // nobody wants it any more
		return
	}
	s.in = in
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.mu.Lock()
	in := s.in
	s.in, s.closed = nil, true
	s.mu.Unlock()
	if in == nil {
		return nil
	}
	return in.Close()
}
