package jobs

import (
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"offload/transfer"
	"offload/transfer/xtest"
)

// A report tells how many files are tried again and of the one that has been tried most often, until bytes of it are read or
// it has ended.
func TestTheReportTellsWhatIsTriedAgain(t *testing.T) {
	now := time.Now()
	w := newWatcher(now)
	told := func(all ...*watcher) *Retrying {
		t.Helper()
		live := map[string]string{}
		for i, one := range all {
			raw, err := one.report(now)
			if err != nil {
				t.Fatal(err)
			}
			live[string(rune('a'+i))+"/1"] = raw
		}
		p, err := progressOf(Job{}, live, "", now)
		if err != nil {
			t.Fatal(err)
		}
		return p.Job.Retrying
	}
	is := func(got *Retrying, want Retrying) {
		t.Helper()
		if got == nil || *got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if raw, err := w.report(now); err != nil || json.Valid([]byte(raw)) && told(w) != nil || len(raw) > 80 {
		t.Errorf("with nothing to tell: %s, %v", raw, err)
	}
	w.Again("b", transfer.Again{Attempt: 2, Of: 5, Why: "source: EOF"})
	w.Again("a", transfer.Again{Attempt: 2, Of: 8, Why: "destination: EOF"})
	is(told(w), Retrying{2, "a", 2, 8, "destination: EOF"})
	w.Again("b", transfer.Again{Attempt: 3, Of: 5, Why: "source: EOF"})
	is(told(w), Retrying{2, "b", 3, 5, "source: EOF"})
	other := newWatcher(now)
	other.Again("c", transfer.Again{Attempt: 4, Of: 5, Why: "x"})
	is(told(w, other), Retrying{3, "c", 4, 5, "x"})
	is(told(other, newWatcher(now), w), Retrying{3, "c", 4, 5, "x"})
	w.Read("b", 1)
	is(told(w), Retrying{1, "a", 2, 8, "destination: EOF"})
	w.Again("a", transfer.Again{})
	if got := told(w); got != nil {
		t.Errorf("still told: %+v", got)
	}
}

// While uploads of a file fail its job tells so; it doesn't any more once the file is done.
func TestAJobTellsOfAFileThatFails(t *testing.T) {
	w := newWorld(t, "")
	w.put("a.txt", 100)
	var faults []xtest.Fault
	for n := range 4 { // for four to eight seconds, which is several reports
		faults = append(faults, xtest.Fault{N: n + 1, Op: "dst.Put", Err: io.ErrUnexpectedEOF})
	}
	script := xtest.NewScript(faults...)
	w.svc = w.service(func(ctx context.Context, src, dst string, o transfer.Options) (*transfer.Pair, error) {
		p, err := transfer.Open(ctx, src, dst, o)
		if err != nil {
			return nil, err
		}
		return transfer.NewPair(p.Source, xtest.Wrap(ctx, p.Dest, "dst", script), o), nil
	})
	id := w.enqueue(w.order(transfer.DeleteNever)).ID
	w.worker(w.svc, WorkerOptions{})
	until(t, "the job tells of the file", func() bool {
		p, err := w.svc.Progress(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		r := p.Job.Retrying
		if r != nil && (r.Files != 1 || r.Path != "a.txt" || r.Attempt < 2 || r.Of != 8 || r.Why != "destination: upload file: unexpected EOF") {
			t.Errorf("%+v", r)
		}
		return r != nil || p.Job.State.Terminal()
	})
	if p, err := w.svc.Progress(t.Context(), id); err != nil || p.Job.State.Terminal() {
		t.Errorf("it was never told: %s, %v", p.Job.State, err)
	}
	w.reach(id, Completed)
	if p, err := w.svc.Progress(t.Context(), id); err != nil || p.Job.Retrying != nil {
		t.Errorf("still told: %+v, %v", p.Job.Retrying, err)
	}
}
