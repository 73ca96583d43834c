package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"offload/internal/failpoint"
)

// chargeStep is how many bytes are charged at once before they are read.
const chargeStep = 1 << 20

// errTooLong says that a source sent more than its listed size.
var errTooLong = fmt.Errorf("%w: it is longer than it was listed", errTorn)

// meteredReader reads a source file under a grant: every byte is charged before it is read. It hashes and counts on the
// way and remembers its own failure, since uploads wrap it beyond recognition.
type meteredReader struct {
	in     io.Reader // ends with its context
	charge func(n int64) error
	hash   io.Writer
	seen   func(n int64) // told of each read
	size   int64         // listed size, -1 where it isn't known

	mu     sync.Mutex // n and err are read by the engine while an abandoned upload may still be reading
	n      int64
	credit int64 // charged and not yet read
	err    error
}

// newMeteredReader reads in, of the listed size in bytes, under grant; h is given every byte, seen every count.
func newMeteredReader(ctx context.Context, in io.Reader, grant Grant, h io.Writer, size int64, seen func(int64)) *meteredReader {
	charge := func(n int64) error {
		err := grant.Charge(ctx, n)
		if err == nil || errors.Is(err, ErrNoQuota) {
			return err
		}
		return portErr("charge traffic", err)
	}
	return &meteredReader{in: cancelable(ctx, in), charge: charge, hash: h, seen: seen, size: size}
}

// Read implements io.Reader.
func (m *meteredReader) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := m.read(p)
	if err != nil {
		m.err = err
	}
	return n, err
}

func (m *meteredReader) read(p []byte) (int, error) {
	if m.size >= 0 && m.n == m.size {
		return 0, m.expectEnd()
	}
	if m.credit == 0 {
		step := int64(chargeStep)
		if m.size >= 0 {
			step = min(step, m.size-m.n)
		}
		if err := m.charge(step); err != nil {
			return 0, err
		}
		m.credit = step
	}
	n, err := m.in.Read(p[:min(int64(len(p)), m.credit)])
	if n > 0 {
		m.n += int64(n)
		m.credit -= int64(n)
		_, _ = m.hash.Write(p[:n]) // hashes never fail
		m.seen(int64(n))
		if m.n == m.size {
			failpoint.At("downloaded")
		}
	}
	if err == io.EOF && !ruleStreamedWholeSize(m.size, m.n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		err = sourceErr("read source file", err)
	}
	return n, err
}

// expectEnd makes sure that the source ends where it said. The byte that shows the contrary is charged afterwards: it
// can't be known before, and the attempt fails by it anyway.
func (m *meteredReader) expectEnd() error {
	var one [1]byte
	for range 100 {
		n, err := m.in.Read(one[:])
		if n > 0 {
			// A refusal changes nothing: the byte was read and is settled as used.
			_ = m.charge(1)
			m.n++
			return sourceErr("read source file", errTooLong)
		}
		if err == io.EOF {
			return io.EOF
		}
		if err != nil {
			return sourceErr("read source file", err)
		}
	}
	return sourceErr("read source file", io.ErrNoProgress)
}

// state is how many bytes were read and the failure that ended the reading, nil at a proper end.
func (m *meteredReader) state() (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == io.EOF {
		return m.n, nil
	}
	return m.n, m.err
}

// ended tells whether the source was read to its proper end.
func (m *meteredReader) ended() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err == io.EOF
}

// drain reads r to its end.
func drain(r io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		if _, err := r.Read(buf); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}
