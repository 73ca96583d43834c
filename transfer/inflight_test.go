package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"

	"offload/transfer"
)

// source is a server with one file, "big", that counts what it hands to its connections, as a provider does.
type source struct {
	size    int64
	unknown bool   // it doesn't tell the size
	stop    int64  // it ends the connection after so many bytes; 0 for none
	reset   bool   // and resets it
	asked   func() // called when the file is asked for, before any of it is sent

	sent atomic.Int64
	gets atomic.Int64
}

const step = 32 << 10

func (s *source) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/big" {
		return
	}
	if !s.unknown {
		rw.Header().Set("Content-Length", strconv.FormatInt(s.size, 10))
	}
	if r.Method == http.MethodHead {
		return
	}
	s.gets.Add(1)
	if s.asked != nil {
		s.asked()
	}
	block := bytes.Repeat([]byte("offload!"), step/8)
	for n := int64(0); n < s.size; n += step {
		if s.stop > 0 && n >= s.stop {
			s.end(rw)
		}
		s.sent.Add(step) // of a write that fails nobody knows how much went out
		if _, err := rw.Write(block); err != nil {
			s.sent.Add(-step)
			return
		}
	}
}

// end ends the connection in the middle of the file, after what was written has gone out.
func (s *source) end(rw http.ResponseWriter) {
	_ = http.NewResponseController(rw).Flush()
	if !s.reset {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err == nil {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// settled waits until the server has sent all that fits the buffers.
func (s *source) settled(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last, same := int64(-1), 0; same < 10; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now := s.sent.Load(); now == last && (now > 0 || s.gets.Load() == 0) { // what was asked for comes, however long that takes
			same++
		} else {
			last, same = now, 0
		}
	}
}

// open serves the source and opens it as a remote.
func (s *source) open(t *testing.T) fs.Fs {
	t.Helper()
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = quietLog()
	server.Start()
	t.Cleanup(server.Close)
	name := fmt.Sprintf("source%d", rand.Uint64())
	config.LoadedData().SetValue(name, "type", "http")
	config.LoadedData().SetValue(name, "url", server.URL+"/")
	f, err := fs.NewFs(t.Context(), name+":")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// brokenDest takes some bytes of each upload and fails then.
type brokenDest struct {
	fs.Fs
	takes int64
	then  func(ctx context.Context) error
}

// Put implements fs.Fs.
func (d *brokenDest) Put(ctx context.Context, in io.Reader, _ fs.ObjectInfo, _ ...fs.OpenOption) (fs.Object, error) {
	if _, err := io.CopyN(io.Discard, in, d.takes); err != nil {
		return nil, err
	}
	return nil, d.then(ctx)
}

func (d *brokenDest) Features() *fs.Features {
	feat := *d.Fs.Features()
	feat.PutStream, feat.Move = nil, nil
	return &feat
}

// What the source has sent counts, also what never arrived here: the provider counts it. Without the rule (drawn) the
// server has sent megabytes more than are counted wherever we or a reset break a download off.
func TestWhatIsOnItsWayCounts(t *testing.T) {
	const size = 96 << 20
	refused := errors.New("the upload is refused")
	for name, c := range map[string]struct {
		source *source
		takes  int64 // bytes that the upload takes before it fails
		called bool  // off, in the middle
		exact  bool  // what was read is known to be what was sent
	}{
		"upload fails in the middle":     {takes: 3 << 20},
		"upload fails at once":           {takes: 0},
		"called off":                     {takes: 5 << 20, called: true},
		"upload fails near the end":      {takes: size - 100},
		"reset by the source":            {source: &source{stop: 20 << 20, reset: true}, takes: size},
		"the source ends it early":       {source: &source{stop: 20 << 20}, takes: size, exact: true},
		"all was read, the upload fails": {takes: size, exact: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.source
			if s == nil {
				s = &source{}
			}
			s.size = size
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			dst := &brokenDest{Fs: newRemote(t, "memory"), takes: c.takes, then: func(ctx context.Context) error {
				s.settled(ctx)
				if c.called {
					cancel()
				}
				return refused
			}}
			p := transfer.NewPair(s.open(t), dst, transfer.Options{}).NoWaiting(nil).Attempts(1)
			m := &memMeter{Limit: size}
			j := newJournal(1)
			entries := []transfer.Entry{{Path: "big", Size: size}}
			rep, err := p.RunBatch(ctx, transfer.Batch{Entries: entries}, transfer.Env{Journal: j, Meter: m})
			if c.called != (err != nil) {
				t.Fatalf("report %+v, error %v", rep, err)
			}
			sent, used := s.sent.Load(), m.Used()
			t.Logf("sent %d, taken %d, used %d", sent, c.takes, used)
			if used < sent || used > size {
				t.Errorf("the source sent %d bytes of %d, %d are counted", sent, int64(size), used)
			}
			if c.exact && used != sent {
				t.Errorf("%d bytes are counted where %d were sent and read", used, sent)
			}
			if most := min(size, c.takes+5<<20+transfer.OnTheWay()); !c.exact && used > most {
				t.Errorf("%d bytes are counted, at most %d could have been on their way", used, most)
			}
			if m.Wasted() != used || !c.called && j.Done()[0].Wasted != used {
				t.Errorf("%d bytes used in vain, counted as wasted: %d, %+v", used, m.Wasted(), j.Done()[0])
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// chargedMeter tells what is charged, settled or not: what counts where the process is killed now.
type chargedMeter struct {
	transfer.Meter
	n atomic.Int64
}

func (m *chargedMeter) Reserve(ctx context.Context, size int64) (transfer.Grant, error) {
	g, err := m.Meter.Reserve(ctx, size)
	return chargedGrant{g, &m.n}, err
}

type chargedGrant struct {
	transfer.Grant
	n *atomic.Int64
}

func (g chargedGrant) Charge(ctx context.Context, n int64) error {
	err := g.Grant.Charge(ctx, n)
	if err == nil {
		g.n.Add(n)
	}
	return err
}

// At each moment as much is charged as the source has sent, so that a process that is killed or frozen counts no less than
// the provider does. Most is on its way where the destination, or a bandwidth, lets it wait.
func TestWhatIsOnItsWayIsChargedBefore(t *testing.T) {
	const size = 96 << 20
	for name, c := range map[string]struct {
		takes int64 // bytes after which the upload stands still
		paced bool  // it is the bandwidth that stands still
		size  int64 // as it is listed
	}{
		"before the first byte":   {takes: 0, size: size},
		"in the middle":           {takes: 5 << 20, size: size},
		"in the middle of a step": {takes: 9<<20 + 100, size: size},
		"near the end":            {takes: size - 100, size: size},
		"no bandwidth":            {takes: 5 << 20, paced: true, size: size},
		"unknown, in the middle":  {takes: 5 << 20, paced: true, size: -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{size: size, unknown: c.size < 0}
			m := &chargedMeter{Meter: &memMeter{}}
			s.asked = func() {
				if m.n.Load() < 1<<20 {
					t.Errorf("the file is asked for when %d bytes are charged", m.n.Load())
				}
			}
			var sent, charged int64
			standstill := func(ctx context.Context) error {
				s.settled(ctx)
				sent, charged = s.sent.Load(), m.n.Load()
				return errors.New("it goes on no more")
			}
			dst, env := &brokenDest{Fs: newRemote(t, "memory"), takes: c.takes, then: standstill}, transfer.Env{Meter: m}
			if c.paced {
				dst.takes = size
				var read int64
				env.Pace = func(ctx context.Context, n int64) (int64, error) {
					if read += n; read > c.takes {
						return 0, standstill(ctx)
					}
					return n, nil
				}
			}
			env.Journal = newJournal(1)
			p := transfer.NewPair(s.open(t), dst, transfer.Options{}).NoWaiting(nil).Attempts(1)
			entries := []transfer.Entry{{Path: "big", Size: c.size}}
			if _, err := p.RunBatch(t.Context(), transfer.Batch{Entries: entries}, env); err != nil && !c.paced {
				t.Fatal(err)
			}
			t.Logf("sent %d, taken %d, charged %d", sent, c.takes, charged)
			if sent <= c.takes {
				t.Error("nothing was on its way: this proves nothing")
			}
			if charged < sent || charged > size {
				t.Errorf("%d bytes are charged when the source has sent %d of %d", charged, sent, int64(size))
			}
		})
	}
}

// What was on its way when a reading broke off is counted at once: it was sent, and no bandwidth slows it down any more.
func TestBandwidthIsKeptByWhatIsRead(t *testing.T) {
	const size, takes = 96 << 20, 5 << 20
	s := &source{size: size}
	refused := errors.New("the upload is refused")
	dst := &brokenDest{Fs: newRemote(t, "memory"), takes: takes, then: func(ctx context.Context) error {
		s.settled(ctx)
		return refused
	}}
	var paced atomic.Int64
	s.asked = func() {
		if paced.Load() == 0 {
			t.Error("the file is asked for before there is bandwidth for it")
		}
	}
	m := &memMeter{}
	p := transfer.NewPair(s.open(t), dst, transfer.Options{}).NoWaiting(nil).Attempts(1)
	_, err := p.RunBatch(t.Context(), transfer.Batch{Entries: []transfer.Entry{{Path: "big", Size: size}}}, transfer.Env{
		Journal: newJournal(1), Meter: m,
		Pace: func(_ context.Context, n int64) (int64, error) { paced.Add(n); return n, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	// The engine reads a few buffers ahead of the upload.
	if n := paced.Load(); n < takes || n > takes+6<<20 {
		t.Errorf("the bandwidth was asked for %d bytes where the upload took %d", n, int64(takes))
	}
	if m.Used() < s.sent.Load() {
		t.Errorf("the source sent %d bytes, %d are counted", s.sent.Load(), m.Used())
	}
}

// A low bandwidth lets a file's bytes through in pieces: they are read as they are let through, and charged in larger steps
// before.
func TestBandwidthIsGivenInPieces(t *testing.T) {
	const size, piece = 3 << 20, 40 << 10
	for name, known := range map[string]bool{"a file": true, "one of unknown size": false} {
		t.Run(name, func(t *testing.T) {
			s := &source{size: size, unknown: !known}
			m := &chargedMeter{Meter: &memMeter{}}
			seen := &readings{}
			var paced, steps, charged int64
			env := transfer.Env{Journal: newJournal(1), Meter: m, Watcher: seen, Pace: func(_ context.Context, n int64) (int64, error) {
				if now := m.n.Load(); now != charged {
					charged, steps = now, steps+1
				}
				if n < 1 || n > 1<<20 || m.n.Load() < paced+n {
					t.Errorf("%d bytes are asked for after %d, and %d are charged", n, paced, m.n.Load())
				}
				n = min(n, piece)
				paced += n
				return n, nil
			}}
			listed := int64(size)
			if !known {
				listed = -1
			}
			p := transfer.NewPair(s.open(t), newRemote(t, "memory"), transfer.Options{}).NoWaiting(nil).Attempts(1)
			rep, err := p.RunBatch(t.Context(), transfer.Batch{Entries: []transfer.Entry{{Path: "big", Size: listed}}}, env)
			if err != nil || rep.Pending > 0 {
				t.Fatalf("%+v, %v", rep, err)
			}
			if seen.all != size || seen.most > piece {
				t.Errorf("%d bytes were read, at most %d at once; want %d, and %d", seen.all, seen.most, int64(size), int64(piece))
			}
			if steps > size>>20+2 {
				t.Errorf("charged in %d steps", steps)
			}
		})
	}
}

// readings is a Watcher that counts.
type readings struct {
	mu        sync.Mutex
	all, most int64
}

func (r *readings) Start(string, int64, int64)   {}
func (r *readings) Done(string)                  {}
func (r *readings) Again(string, transfer.Again) {}
func (r *readings) Read(_ string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.most = r.all+n, max(r.most, n)
}

// A file of unknown size that finds the allowance full waits with a need that grows; it isn't begun again before that
// much can be had, so that no run uses up in vain what is left. The allowance is never exceeded, with what is on its way.
func TestUnknownSizeMakesProgress(t *testing.T) {
	const size = 9 << 20
	s := &source{size: size, unknown: true}
	src, dst := s.open(t), newRemote(t, "memory")
	m, j := &memMeter{Limit: 11 << 20}, newJournal(1)
	entries := []transfer.Entry{{Path: "big", Size: -1}}
	run := func() transfer.Report {
		t.Helper()
		p := transfer.NewPair(src, dst, transfer.Options{}).NoWaiting(nil)
		rep, err := p.RunBatch(t.Context(), transfer.Batch{Entries: entries, Done: j.Done()}, transfer.Env{Journal: j, Meter: m})
		if err != nil {
			t.Fatal(err)
		}
		if m.Used() > m.Limit || m.Used() < s.sent.Load() {
			t.Fatalf("%d of %d bytes used, the source sent %d", m.Used(), m.Limit, s.sent.Load())
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		return rep
	}
	rep := run()
	first := rep.Need
	if rep.NoQuota != 1 || rep.Pending != 1 || first <= 11<<20 || s.gets.Load() != 1 {
		t.Fatalf("report %+v after %d downloads", rep, s.gets.Load())
	}
	// In each further period the need decides: a run with less begins nothing, one with as much gets further.
	used := m.Used()
	m.grow(first - 1)
	if rep := run(); rep.Need != first || s.gets.Load() != 1 || m.Used() != used {
		t.Fatalf("with less than was needed: report %+v, %d downloads, %d bytes used", rep, s.gets.Load(), m.Used()-used)
	}
	for need, runs := first, 0; j.Done()[0].Result == transfer.Pending; runs++ {
		if runs == 10 {
			t.Fatal("it makes no progress")
		}
		m.grow(need)
		rep := run()
		if rep.Pending > 0 && rep.Need <= need {
			t.Fatalf("run %d needs %d after %d", runs, rep.Need, need)
		}
		need = rep.Need
	}
	o := j.Done()[0]
	if o.Result != transfer.Copied || o.Bytes != size || o.Wasted != m.Wasted() || m.Used() != o.Wasted+size {
		t.Errorf("outcome %+v, used %d, wasted %d", o, m.Used(), m.Wasted())
	}
}

// grow opens a new period with n bytes left.
func (m *memMeter) grow(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Limit = m.used + m.reserved + n
}

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
