package transfer_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"offload/transfer"
	"offload/transfer/xtest"
)

// heard is a watcher that keeps what it is told of files that are tried again, in order.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) Start(string, int64, int64) {}
func (h *heard) Read(string, int64)         {}
func (h *heard) Done(string)                {}
func (h *heard) Again(path string, a transfer.Again) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, fmt.Sprintf("%s %d/%d %s", path, a.Attempt, a.Of, a.Why))
}

// A file that is tried again is told of before each further attempt, with what went wrong, and is told to be over once it
// has ended, be it well or not. A file that doesn't fail isn't told of.
func TestFilesThatAreTriedAgainAreTold(t *testing.T) {
	long := strings.Repeat("é", 300)
	for _, c := range []struct {
		name   string
		err    error
		fails  int
		result transfer.Result
		want   []string
	}{
		{"passes", fmt.Errorf("Post \"https://x.y/up?token=secret\": %w", io.ErrUnexpectedEOF), 2, transfer.Copied, []string{
			`a.txt 2/8 destination: upload file: Post "https://x.y/up?...": unexpected EOF`,
			`a.txt 3/8 destination: upload file: Post "https://x.y/up?...": unexpected EOF`, "a.txt 0/0 "}},
		{"doesn't pass", errors.New("odd\n  thing"), 5, transfer.Failed, []string{
			"a.txt 2/5 destination: upload file: odd thing", "a.txt 3/5 destination: upload file: odd thing",
			"a.txt 4/5 destination: upload file: odd thing", "a.txt 5/5 destination: upload file: odd thing", "a.txt 0/0 "}},
		{"long", errors.New(long), 1, transfer.Copied, []string{"a.txt 2/5 " + ("destination: upload file: " + long)[:240] + "...", "a.txt 0/0 "}},
		{"final", os.ErrPermission, 1, transfer.Failed, nil},
		{"fine", nil, 0, transfer.Copied, nil},
	} {
		src, dst := newRemote(t, "memory"), newRemote(t, "memory")
		put(t, src, "a.txt", "the content", day)
		var faults []xtest.Fault
		for n := range c.fails {
			faults = append(faults, xtest.Fault{N: n + 1, Op: "dst.Put", Err: c.err})
		}
		w := newWorld(t, src, dst, transfer.Options{}, xtest.NewScript(faults...), "a.txt")
		env, h := w.env(), &heard{}
		env.Watcher = h
		if rep, err := w.pair.RunBatch(t.Context(), w.batch(), env); err != nil || rep.Pending > 0 {
			t.Fatalf("%s: %+v, %v", c.name, rep, err)
		}
		if o := w.outcome("a.txt"); o.Result != c.result {
			t.Errorf("%s: %+v", c.name, o)
		}
		if got, want := strings.Join(h.all, "\n"), strings.Join(c.want, "\n"); got != want {
			t.Errorf("%s: told\n%s\nwant\n%s", c.name, got, want)
		}
	}
}
