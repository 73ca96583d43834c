package dropbox

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/rclone/rclone/backend/dropbox/dbhash"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"

	"offload/internal/cloudtest"
	"offload/transfer"
)

const mib = 1 << 20

var errEnded = errors.New("the worker ends")

// partly is an upload of b by f, from what is held to the byte after which its worker ends; 0 is to the end.
type partly struct {
	f     *Fs
	b     []byte
	part  transfer.Part
	until int64
	last  transfer.Part // as it was acknowledged
	wait  func()        // called at each acknowledgement
}

func (p *partly) put(ctx context.Context) (fs.Object, error) {
	sums := dbhash.New()
	_, _ = sums.Write(p.b)
	want := hex.EncodeToString(sums.Sum(nil))
	p.last = p.part
	return p.f.PutPart(ctx, onlyReader{bytes.NewReader(p.b[p.part.Offset:])}, info("large", p.b), transfer.PartUpload{
		Part: p.part, Sum: func(hash.Type) string { return want },
		Kept: func(k transfer.Part) error {
			p.last = k
			if p.wait != nil {
				p.wait()
			}
			if p.until > 0 && k.Offset >= p.until {
				return errEnded
			}
			return nil
		}})
}

type onlyReader struct{ io.Reader }

// begun is an upload of 6 MiB, in pieces of one, whose worker has ended after n bytes.
func begun(t *testing.T, n int64) (*cloudtest.World, *Fs, *partly) {
	t.Helper()
	w, remote := played(t, cloudtest.Options{})
	f := open(t, New(Options{}), remote+":").(*Fs)
	p := &partly{f: f, b: random(6*mib + 100), until: n}
	if _, err := p.put(within(t)); !errors.Is(err, errEnded) {
		t.Fatalf("the upload ended with %v", err)
	}
	if p.last.ID == "" || p.last.Offset != n {
		t.Fatalf("acknowledged %+v", p.last)
	}
	return w, open(t, New(Options{}), playedRemote(w)+":").(*Fs), p
}

// arrived demands the file, once.
func (p *partly) arrived(t *testing.T, w *cloudtest.World) {
	t.Helper()
	if got, ok := w.Dropbox.Get("/large"); !ok || !bytes.Equal(got, p.b) || w.Dropbox.Len() != 1 {
		t.Errorf("Dropbox holds %d bytes in %d files", len(got), w.Dropbox.Len())
	}
}

// uploaded counts the pieces with content that are sent from now on.
func uploaded(w *cloudtest.World) *atomic.Int64 {
	var n atomic.Int64
	w.Fault(cloudtest.Fault{Endpoint: "dropbox:append_v2", Kind: cloudtest.Do, Hook: func(r *http.Request) {
		if r.ContentLength != 0 { // of an upload its length isn't told; a question has none
			n.Add(1)
		}
	}})
	return &n
}

func TestUploadIsGoneOnWith(t *testing.T) {
	w, f, p := begun(t, 3*mib)
	held, err := f.Held(within(t), p.last)
	if err != nil || held != p.last {
		t.Fatalf("held %+v, %v", held, err)
	}
	sent := uploaded(w)
	next := &partly{f: f, b: p.b, part: p.last}
	o, err := next.put(within(t))
	if err != nil || o.Size() != int64(len(p.b)) || o.Remote() != "large" {
		t.Fatalf("%v, %v", o, err)
	}
	next.arrived(t, w)
	if got := sent.Load(); got != 4 || w.Dropbox.SessionsStarted() != 1 {
		t.Errorf("%d pieces were sent, %d uploads begun", got, w.Dropbox.SessionsStarted())
	}
}

// The session has more than was recorded, be it by the killed worker or by one that was frozen and goes on.
func TestUploadIsAhead(t *testing.T) {
	for name, at := range map[string]int64{"by a piece": 4 * mib, "by all but one": 1 * mib} {
		t.Run(name, func(t *testing.T) {
			w, f, p := begun(t, 5*mib)
			sent := uploaded(w)
			held, err := f.Held(within(t), transfer.Part{ID: p.last.ID, Offset: at})
			if err != nil || held.Offset != 5*mib {
				t.Fatalf("held %+v, %v", held, err)
			}
			next := &partly{f: f, b: p.b, part: transfer.Part{ID: p.last.ID, Offset: at}}
			if _, err := next.put(within(t)); err != nil {
				t.Fatal(err)
			}
			next.arrived(t, w)
			// One call finds out how far it is.
			if got := sent.Load(); got != 3 {
				t.Errorf("%d pieces were sent, want the first and the last two", got)
			}
		})
	}
}

// All had arrived, and the session was closed, when the worker was killed before its commit.
func TestUploadWasClosed(t *testing.T) {
	w, f, p := begun(t, 5*mib)
	ctx, cancel := context.WithCancelCause(within(t))
	defer cancel(nil)
	hits := w.Fault(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Times: 1, Kind: cloudtest.Status, Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {"1"}}, Body: "{}"})
	w.Fault(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Times: 1, Kind: cloudtest.Do, Hook: func(*http.Request) { cancel(errEnded) }})
	if _, err := (&partly{f: p.f, b: p.b, part: p.last}).put(ctx); err == nil || hits.Count() != 1 {
		t.Fatalf("the upload ended with %v, %d hits", err, hits.Count())
	}
	next := &partly{f: f, b: p.b, part: transfer.Part{ID: p.last.ID, Offset: 2 * mib}}
	if _, err := next.put(within(t)); err != nil {
		t.Fatal(err)
	}
	next.arrived(t, w)
}

func TestUploadThatDropboxForgot(t *testing.T) {
	w, f, p := begun(t, 3*mib)
	w.Dropbox.ExpireSessions()
	if _, err := f.Held(within(t), p.last); !errors.Is(err, transfer.ErrPartLost) {
		t.Errorf("asked for it: %v", err)
	}
	if _, err := (&partly{f: f, b: p.b, part: p.last}).put(within(t)); !errors.Is(err, transfer.ErrPartLost) {
		t.Errorf("gone on with it: %v", err)
	}
	if w.Dropbox.Len() != 0 {
		t.Error("something was committed")
	}
}

// A damaged record costs what was sent, not the file.
func TestUploadOfAnIDThatIsNone(t *testing.T) {
	w, f, p := begun(t, 3*mib)
	w.Fault(cloudtest.Fault{Endpoint: "dropbox:append_v2", Times: 1, Kind: cloudtest.Status, Status: http.StatusBadRequest,
		Body: "Error in call to API function: invalid session id"})
	if _, err := f.Held(within(t), p.last); !errors.Is(err, transfer.ErrPartLost) {
		t.Errorf("asked for it: %v", err)
	}
}

// It has less than was acknowledged, as after a failure of the service: nothing is made of that.
func TestUploadThatLostBytes(t *testing.T) {
	w, f, p := begun(t, 2*mib)
	_, err := (&partly{f: f, b: p.b, part: transfer.Part{ID: p.last.ID, Offset: 4 * mib}}).put(within(t))
	if !errors.Is(err, transfer.ErrPartLost) || w.Dropbox.Len() != 0 {
		t.Errorf("%v, %d files", err, w.Dropbox.Len())
	}
}

// A worker that was frozen goes on while another one has taken its place: the file is right, and there once, whoever
// commits it.
func TestTwoWorkersOnOneUpload(t *testing.T) {
	w, f, p := begun(t, 2*mib)
	frozen, thaw := make(chan struct{}), make(chan struct{})
	old := &partly{f: p.f, b: p.b, part: p.last}
	old.wait = func() {
		if old.last.Offset == 3*mib {
			close(frozen)
			<-thaw
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := old.put(within(t))
		ended <- err
	}()
	<-frozen
	next := &partly{f: f, b: p.b, part: p.last}
	next.wait = func() {
		if next.last.Offset == 4*mib {
			close(thaw)
		}
	}
	_, err := next.put(within(t))
	oldErr := <-ended
	if err != nil && oldErr != nil {
		t.Errorf("neither has committed it: %v; %v", err, oldErr)
	}
	for _, err := range []error{err, oldErr} {
		if err != nil && !errors.Is(err, transfer.ErrPartLost) && !errors.Is(err, transfer.ErrTaken) {
			t.Errorf("one of them failed with %v", err)
		}
	}
	next.arrived(t, w)
}

// Trouble on the way is met as in any upload.
func TestUploadIsGoneOnWithInTrouble(t *testing.T) {
	for name, fault := range map[string]cloudtest.Fault{
		"lost": {Kind: cloudtest.Lost}, "drop": {Kind: cloudtest.Drop}, "cut": {Kind: cloudtest.Cut, CutAt: 0.5},
		"503": {Kind: cloudtest.Status, Status: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w, f, p := begun(t, 3*mib)
			fault.Endpoint, fault.After, fault.Times = "dropbox:append_v2", 1, 2
			hits := w.Fault(fault)
			if held, err := f.Held(within(t), p.last); err != nil || held != p.last {
				t.Fatalf("held %+v, %v", held, err)
			}
			next := &partly{f: f, b: p.b, part: p.last}
			if _, err := next.put(within(t)); err != nil || hits.Count() != 2 {
				t.Fatalf("%v, %d hits", err, hits.Count())
			}
			next.arrived(t, w)
		})
	}
}
