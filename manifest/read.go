package manifest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// BrokenError says that a manifest isn't what was written, and where that begins to show.
type BrokenError struct {
	Line int64 // counted from 1, the header's
	What string
	Err  error // of unpacking it; nil for none
}

func (e *BrokenError) Error() string {
	s := fmt.Sprintf("line %d: %s", e.Line, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *BrokenError) Unwrap() error { return e.Err }

// ErrNewer says that a manifest was written in a form that this program doesn't know.
var ErrNewer = errors.New("a newer offload wrote this manifest: read it with that one")

// Reader reads a manifest and verifies it on the way. It holds one line at a time.
type Reader struct {
	head  Header
	src   *bufio.Reader // the packed bytes
	in    *bufio.Reader // the lines
	at    chain
	lines int64
	sum   Summary
	err   error // that ended the reading
}

// NewReader reads the header of a manifest, packed or unpacked. A file that is no manifest, or a broken one, is a
// *BrokenError; one of a later version is ErrNewer (wrapped); a failure of r itself is returned as it is, wrapped.
func NewReader(r io.Reader) (*Reader, error) {
	m := &Reader{src: bufio.NewReaderSize(&marked{r}, buffered)}
	m.in = m.src
	if magic, err := m.src.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		zip, err := gzip.NewReader(m.src)
		if err != nil {
			return nil, m.broken("it can't be unpacked", err)
		}
		zip.Multistream(false)
		m.in = bufio.NewReaderSize(zip, buffered)
	}
	text, err := m.line()
	if errors.Is(err, io.EOF) {
		return nil, m.broken("it is empty", nil)
	}
	if err != nil {
		return nil, err
	}
	var h headerJSON
	if json.Unmarshal(text, &h) != nil || h.Offload != marker || h.Version < 1 {
		return nil, m.broken("this is no manifest of offload", nil)
	}
	if h.Version > Version {
		return nil, fmt.Errorf("it has version %d, and this program knows %d: %w", h.Version, Version, ErrNewer)
	}
	m.head = h.Header
	return m, m.follows(text)
}

// Header is what the first line says.
func (m *Reader) Header() Header { return m.head }

// Summary is what the last line says, once Next has answered io.EOF.
func (m *Reader) Summary() Summary { return m.sum }

// Next returns the next file. It answers io.EOF when all have been read and the whole is verified: what was read before is
// certain only then, as far as each line follows on those before it. Anything wrong is a *BrokenError.
func (m *Reader) Next() (Line, error) {
	if m.err != nil {
		return Line{}, m.err
	}
	l, err := m.next()
	if err != nil {
		m.err = err
	}
	return l, err
}

// Each calls yield for each line that is left, until it returns an error. Its error is Next's or yield's.
func (m *Reader) Each(yield func(Line) error) error {
	for {
		l, err := m.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := yield(l); err != nil {
			return err
		}
	}
}

func (m *Reader) next() (Line, error) {
	before := m.at
	text, err := m.line()
	if errors.Is(err, io.EOF) {
		return Line{}, m.broken("the end is missing: the file was cut off here", nil)
	}
	if err != nil {
		return Line{}, err
	}
	if err := m.follows(text); err != nil {
		return Line{}, err
	}
	if bytes.HasPrefix(text, []byte(trailerTag)) {
		return Line{}, m.end(text, before)
	}
	l, err := UnpackLine(text)
	if err != nil || l.Path == "" {
		return Line{}, m.broken("it tells of no file", err)
	}
	m.sum.count(l)
	return l, nil
}

// end compares the last line with what was read, and makes sure that nothing follows. It answers io.EOF where all is well.
func (m *Reader) end(text []byte, before chain) error {
	var t trailerJSON
	if err := json.Unmarshal(text, &t); err != nil {
		return m.broken("the last line can't be read", err)
	}
	m.sum.Hash = hex.EncodeToString(before[:])
	if t.Summary != m.sum {
		return m.broken(fmt.Sprintf("the last line tells of %d files, and there are %d, or of another sum of them", t.Files, m.sum.Files), nil)
	}
	_, err := m.line()
	switch {
	case err == nil:
		return m.broken("something follows the last line", nil)
	case !errors.Is(err, io.EOF):
		return err
	}
	if _, err := m.src.ReadByte(); !errors.Is(err, io.EOF) {
		return m.broken("something follows the end of the file", nil)
	}
	return io.EOF
}

// follows makes sure that a line stands where it was written: behind all those that were read.
func (m *Reader) follows(text []byte) error {
	cut := len(text) - tailLength
	if cut < 1 || !bytes.HasPrefix(text[cut:], []byte(chainTag)) || !bytes.HasSuffix(text, []byte(chainEnd)) {
		return m.broken("it isn't a whole line", nil)
	}
	m.at.add(text[:cut])
	if string(text[cut+len(chainTag):len(text)-len(chainEnd)]) != m.at.shown() {
		return m.broken("it doesn't follow on the line before: one of them was changed, or lines were left out, added or moved here", nil)
	}
	return nil
}

// line reads the next line without its break; io.EOF where there is none. It is good until the next call.
func (m *Reader) line() ([]byte, error) {
	m.lines++
	text, err := m.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) { // a long one
		text = bytes.Clone(text)
		for errors.Is(err, bufio.ErrBufferFull) && len(text) <= maxLine {
			var more []byte
			more, err = m.in.ReadSlice('\n')
			text = append(text, more...)
		}
	}
	var own *sourceError
	switch {
	case errors.As(err, &own):
		return nil, fmt.Errorf("read manifest: %w", own.err)
	case len(text) > maxLine:
		return nil, m.broken("it is longer than any line of a manifest", nil)
	case errors.Is(err, io.EOF) && len(text) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, m.broken("the file was cut off here", nil)
	case err != nil:
		return nil, m.broken("it can't be unpacked", err)
	}
	return text[:len(text)-1], nil
}

func (m *Reader) broken(what string, err error) error {
	return &BrokenError{max(m.lines, 1), what, err}
}

// marked marks the failures of a source, so that they aren't taken for a broken manifest.
type marked struct{ r io.Reader }

type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (s *marked) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{err}
	}
	return n, err
}

// Verify reads a manifest to its end. Its error is NewReader's or Next's; nil is a whole one.
func Verify(r io.Reader) (Header, Summary, error) {
	m, err := NewReader(r)
	if err != nil {
		return Header{}, Summary{}, err
	}
	err = m.Each(func(Line) error { return nil })
	return m.head, m.sum, err
}
