package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rclone/rclone/fs"

	"offload/internal/failpoint"
)

// chargeStep is how many bytes are charged at once before they are read.
const chargeStep = 1 << 20

// inFlight is how many bytes of a file of unknown size are taken to be on their way when its connection is broken off.
// They are set aside beside it, so it is no more than what usually is.
const inFlight = 8 << 20

// onTheWay is how many bytes may be on their way from a source when its connection is broken off: what the receive buffer
// here and the sender's hold. Linux tells how far a receive buffer may grow: 6 MiB, and 32 MiB in newer kernels, of which
// more than 13 MB were seen in use.
var onTheWay = sync.OnceValue(func() int64 {
	const sender, least, most = 4 << 20, 8 << 20, 64 << 20
	raw, err := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	if err != nil {
		return least + sender // another system: theirs are smaller
	}
	sizes := strings.Fields(string(raw))
	if len(sizes) != 3 {
		return least + sender
	}
	limit, err := strconv.ParseInt(sizes[2], 10, 64)
	if err != nil {
		return least + sender
	}
	return min(max(limit, least)+sender, most)
})

// errTooLong says that a source sent more than its listed size.
var errTooLong = fmt.Errorf("%w: it is longer than it was listed", errTorn)

// errOver is what an upload gets that goes on reading after it has ended.
var errOver = errors.New("the reading is over")

// meteredReader reads a source file under a grant: every byte is charged before it is read, and with it what the source
// may be sending meanwhile, so that a process that is killed or frozen here has counted all that the provider counts. It
// hashes and counts on the way and remembers its own failure, since uploads wrap it beyond recognition.
type meteredReader struct {
	in     io.Reader // ends with its context
	charge func(n int64) error
	pace   func(n int64) (int64, error) // returns when bytes may be read, and how many of n
	hash   io.Writer
	seen   func(n int64) // told of each read
	size   int64         // listed size, -1 where it isn't known
	from   int64         // where the reading began: what lies before was read earlier
	local  bool          // the source is a disk: nothing is on its way
	asked  func() error  // asked before the last bytes are handed on; nil allows them
	mender *mender       // goes on where the connection breaks; nil where nothing may

	mu      sync.Mutex // n and err are read by the engine while an abandoned upload may still be reading
	n       int64      // of the file, from its beginning
	charged int64
	booked  int64 // up to here the reading may go before more is charged
	credit  int64 // may be read at once
	lost    int64 // may have been on their way when earlier connections broke
	down    bool  // the connection is broken, and counted in lost
	proved  bool  // the end was seen, and the whole is of one version
	err     error
}

// reading is what is to be read.
type reading struct {
	src  fs.Object
	mark mark
	size int64 // listed size in bytes, -1 for an unknown one
	from int64 // offset to begin at
	sums *sums // given every byte; nil for a package, which nothing is compared with
}

// openMetered opens a file at the source, to be read under grant. The source sends as soon as it is asked, so the first bytes
// are charged and waited for before. The caller closes the second result, once it has read what it wants. With an error the
// first may be there, to tell what it cost.
func (w *work) openMetered(ctx context.Context, what reading, grant Grant) (*meteredReader, io.Closer, error) {
	charge := func(n int64) error {
		err := grant.Charge(ctx, n)
		if err == nil || errors.Is(err, ErrNoQuota) {
			return err
		}
		return portErr("charge traffic", err)
	}
	pace := func(n int64) (int64, error) {
		n, err := w.r.env.Pace(ctx, n)
		if err != nil {
			return 0, portErr("keep to the bandwidth", err)
		}
		return n, nil
	}
	m := &meteredReader{charge: charge, pace: pace, size: what.size, from: what.from, n: what.from, charged: what.from, booked: what.from,
		seen:  func(n int64) { w.r.env.Watcher.Read(w.e.Path, n) },
		local: w.r.p.Source.Features().IsLocal, mender: w.newMender(ctx, what), hash: io.Discard}
	if what.sums != nil {
		m.hash = what.sums
		m.asked = w.recordedSum(what.sums)
	}
	if what.from > 0 {
		if err := m.mender.unchanged(); err != nil {
			return nil, nil, err
		}
	}
	if err := m.allow(); err != nil {
		return nil, nil, err
	}
	in, err := openAt(ctx, what.src, what.from, what.size)
	if err != nil {
		m.err, m.down = sourceErr("open source file", err), !errors.Is(err, ErrNoParts)
		return m, nil, m.err
	}
	body := &stream{in: in}
	m.in = cancelable(ctx, body)
	if m.mender != nil {
		m.mender.body = body
	}
	return m, body, nil
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
	if m.proved {
		return 0, io.EOF
	}
	if m.size >= 0 && m.n == m.size {
		return 0, m.expectEnd()
	}
	if m.credit == 0 {
		if err := m.allow(); err != nil {
			return 0, err
		}
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
		if m.n < m.size && m.mender.mends(err) {
			if err = m.rejoin(err); err == nil && n == 0 {
				return m.read(p)
			}
		}
	}
	if m.n == m.size && m.mender.joins() {
		whole := err
		if err == nil || err == io.EOF {
			whole = m.proveWhole(err)
		}
		if whole != nil {
			return 0, whole // the last bytes stay here: what isn't of one version is never whole anywhere
		}
	}
	if m.n == m.size && m.asked != nil && (err == nil || err == io.EOF) {
		if wrong := m.asked(); wrong != nil {
			return 0, wrong
		}
	}
	return n, err
}

// rejoin goes on with another connection where one broke for cause; its error is the one to end with.
func (m *meteredReader) rejoin(cause error) error {
	cost := m.onTheWay(cause)
	m.lost += cost
	m.down = true
	err := m.mender.reopen(m.n, cost, cause, func() error { return m.book(max(m.credit, min(chargeStep, m.size-m.n))) })
	if errors.Is(err, ErrNoQuota) && !CallRefused(err) {
		return cause // nothing is left for what was sent twice: the next attempt begins when there is
	}
	if err == nil {
		m.down = false
	} else if errors.Is(err, ErrNoParts) {
		m.lost += m.onTheWay(err) // something was sent, and thrown away
	}
	return err
}

// proveWhole makes sure that a file which was read in parts has ended, and that all of it is of one version.
func (m *meteredReader) proveWhole(end error) error {
	if end == nil {
		if end = m.expectEnd(); end != io.EOF {
			if errors.Is(end, errTooLong) {
				m.mender.distrust()
			}
			return end
		}
	}
	if err := m.mender.whole(); err != nil {
		return err
	}
	m.proved = true
	return nil
}

// allow lets the next bytes be read, once they are charged and the bandwidth has room for them. A low bandwidth lets them
// through in smaller pieces than are charged at once.
func (m *meteredReader) allow() error {
	if m.n >= m.booked {
		step := int64(chargeStep)
		if m.size >= 0 {
			step = min(step, m.size-m.n)
		}
		if err := m.book(step); err != nil {
			return err
		}
		m.booked = m.n + step
	}
	piece, err := m.pace(m.booked - m.n)
	m.credit = piece
	return err
}

// book charges the next step bytes, as far as they aren't yet, with what may be on its way beside them; for a file of unknown
// size that is charged already (reserve).
func (m *meteredReader) book(step int64) error {
	need := m.n + step
	if m.size >= 0 && !m.local {
		need = min(m.size, need+onTheWay())
	}
	need += m.lost
	if more := need - m.charged; more > 0 {
		if err := m.charge(more); err != nil {
			return err
		}
		m.charged = need
	}
	return nil
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

// drawn ends the reading and tells how many bytes count as used: those that the source has sent, as far as can be known, and
// how many of them were lost on the way though the reading went on. Where the file was read to its end, or the source
// ended it early, that is what was read. Where the connection was broken off by us (the upload failed, the work was called
// off) or reset on the way, more may have been sent than arrived here, and the provider counts it: what may be on its way
// counts too, up to the listed size. What an upload sends twice was read once, and counts once.
func (m *meteredReader) drawn() (used, lost int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = errOver
	}
	used = m.n - m.from + m.lost
	if !m.down {
		used += m.onTheWay(m.err)
	}
	return used, m.lost
}

// onTheWay is how many bytes may have been on their way when the reading ended by err.
func (m *meteredReader) onTheWay(err error) int64 {
	switch {
	case m.n == m.size, m.proved, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), m.local:
		return 0
	case m.size < 0:
		return inFlight
	case m.size < m.n: // it is longer than it was listed
		return onTheWay()
	}
	return min(m.size-m.n, onTheWay())
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
