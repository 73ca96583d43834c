package jobs

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"offload/internal/redistest"
	"offload/transfer"
)

// These tests put Redis back to an earlier state, as a failover does that the last writes hadn't reached, or a restart on
// an older append-only file.

func olderWorld(t *testing.T) (*world, *redistest.Server) {
	t.Helper()
	server := redistest.StartServer(t)
	return newWorld(t, server.URL()), server
}

// The same number is handed out twice; only the second holder owns the unit, and their uploads have other names.
func TestANumberHandedOutTwiceHasOneOwner(t *testing.T) {
	w, server := olderWorld(t)
	w.tree(3, 500)
	j := w.enqueue(w.order(transfer.DeleteVerified))
	backup := server.Save()
	first := w.steal(j.ID, unitScan, "somewhere:else:1:x")
	server.Restore(backup)
	w.refused(first) // though nobody else has claimed it yet
	second := w.steal(j.ID, unitScan, "somewhere:else:2:y")
	if first.attempt() != second.attempt() {
		t.Fatalf("fences %s and %s: want the same number", first.fence, second.fence)
	}
	w.refused(first)
	if _, err := w.svc.scripts.renew(t.Context(), second, leaseTime, ""); err != nil {
		t.Errorf("the second holder: %v", err)
	}
	a, b := unit{hold: first}, unit{hold: second}
	if a.owner(a.fence) == b.owner(b.fence) {
		t.Error("both write to the same partial upload")
	}
}

// A claim that outlives what it has recorded must not go on counting: its unit is handed back and read anew.
func TestAForgottenRecordEndsItsClaim(t *testing.T) {
	w, server := olderWorld(t)
	j := w.enqueue(w.order(transfer.DeleteVerified))
	h, sc, ctx, k := w.steal(j.ID, unitScan, "somewhere:else:1:x"), w.svc.scripts, t.Context(), keysOf(j.ID)
	entries := make([]transfer.Entry, 3)
	record := func(jr *journal, i int) error {
		return jr.Record(ctx, i, transfer.Outcome{Result: transfer.Copied, Source: transfer.Kept})
	}
	jr := newJournal(w.svc, h, 1, entries, make([]transfer.Outcome, 3), func(State) {})
	if err := record(jr, 0); err != nil {
		t.Fatal(err)
	}
	backup := server.Save()
	if err := record(jr, 1); err != nil {
		t.Fatal(err)
	}
	server.Restore(backup)
	for name, call := range map[string]func() error{
		"batch_done": func() error {
			_, err := sc.owned(ctx, "batch_done", h, []string{k.outcomes(1), k.ended(1)}, h.unit, h.fence, "w", "x", jr.tail.last)
			return err
		},
		"compact": func() error {
			_, err := sc.owned(ctx, "compact", h, []string{k.outcomes(1), k.ended(1)}, h.unit, h.fence, "x", jr.tail.last)
			return err
		},
		"record":       func() error { return record(jr, 2) },
		"record again": func() error { return record(jr, 2) },
	} {
		if err := call(); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("%s after a record was lost: %v", name, err)
		}
	}
	if got, err := w.svc.Get(ctx, j.ID); err != nil || got.Files.Copied != 1 {
		t.Errorf("%d copied, %v; want 1", got.Files.Copied, err)
	}
	if _, err := sc.giveback(ctx, h, giveBack{}); err != nil {
		t.Errorf("hand the unit back: %v", err)
	}
}

// A record whose answer never came may be stored: nothing is counted on top of it.
func TestARecordWithoutAnAnswerEndsTheClaim(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j := w.enqueue(w.order(transfer.DeleteVerified))
		h := w.steal(j.ID, unitScan, "somewhere:else:1:x")
		jr := newJournal(w.svc, h, 1, make([]transfer.Entry, 1), make([]transfer.Outcome, 1), func(State) {})
		if err := jr.write(t.Context(), []*record{{o: transfer.Outcome{Result: transfer.Copied}, done: make(chan error, 1)}}); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		late := []*record{{o: transfer.Outcome{Result: transfer.Failed}, done: make(chan error, 1)}}
		if err := jr.write(gone, late); err == nil || errors.Is(err, transfer.ErrFenced) {
			t.Fatalf("a record that couldn't be sent: %v", err)
		}
		if err := jr.write(t.Context(), late); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("the next record: %v", err)
		}
		if got, err := w.svc.Get(t.Context(), j.ID); err != nil || got.Files.Copied != 1 || got.Files.Failed != 0 {
			t.Errorf("%+v, %v", got.Files, err)
		}
	})
}

// A scan may not end where batches that it stored are gone: their files would be forgotten.
func TestAForgottenBatchIsScannedAgain(t *testing.T) {
	w, server := olderWorld(t)
	j := w.enqueue(w.order(transfer.DeleteNever))
	h, sc, ctx, k := w.steal(j.ID, unitScan, "somewhere:else:1:x"), w.svc.scripts, t.Context(), keysOf(j.ID)
	add := func(n int64) {
		t.Helper()
		if _, err := sc.owned(ctx, "batch_add", h, []string{k.batch(n)}, h.fence, n, "blob", 1, 1, 10); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	backup := server.Save()
	add(2)
	server.Restore(backup)
	if _, err := sc.owned(ctx, "scan_done", h, nil, h.fence, "w", 0, 0, 0, "", 2); !errors.Is(err, transfer.ErrFenced) {
		t.Errorf("scan_done after a batch was lost: %v", err)
	}
}

// Two workers move a tree while Redis is put back again and again: every file has one outcome, and is whole.
func TestPutBackUnderTwoWorkers(t *testing.T) {
	w, server := olderWorld(t)
	w.tree(300, 4000)
	want := files(t, w.src)
	for range 2 {
		s := w.service(func(ctx context.Context, a, b string, o transfer.Options) (*transfer.Pair, error) {
			return transfer.Open(ctx, a, b, o)
		})
		w.worker(s, WorkerOptions{Batches: 2, Transfers: 2})
	}
	j := w.enqueue(slow(w.order(transfer.DeleteVerified), "60k")) // so that there is enough left in the last round
	copied := func() int64 {
		j, err := w.svc.Get(t.Context(), j.ID)
		if err != nil {
			return 0
		}
		return j.Files.Copied
	}
	for range 3 {
		had := copied()
		until(t, "the job goes on", func() bool { return copied() > had+5 })
		backup := server.Save()
		saved := copied()
		until(t, "more is recorded than the copy has", func() bool { return copied() > saved+3 })
		server.Restore(backup)
	}
	if _, err := w.svc.SetJobBandwidth(t.Context(), j.ID, "off"); err != nil {
		t.Fatal(err)
	}
	j = w.reach(j.ID, Completed, CompletedW, FailedState)
	f := j.Files
	t.Logf("%s: %+v %s", j.State, f, j.Error)
	if j.State == FailedState || f.Found != int64(len(want)) || f.Found != f.Copied+f.Skipped+f.SetAside+f.Failed+f.Excluded {
		t.Errorf("%s, %+v: want an outcome for each of %d files", j.State, f, len(want))
	}
	if got := files(t, w.dst); !maps.Equal(got, want) {
		t.Errorf("%d files arrived, want %d, all whole", len(got), len(want))
	}
}

// replicas counts the questions for a replica.
type replicas struct {
	Store
	asked atomic.Int64
}

func (r *replicas) Replicated(context.Context) error {
	r.asked.Add(1)
	return errors.New("none")
}

// A job is acknowledged, and a source deleted, only after a replica was waited for; where none is there, work goes on.
func TestAReplicaIsWaitedFor(t *testing.T) {
	w := newWorld(t, "")
	r := &replicas{Store: w.store}
	s, err := New(Config{Store: r, Ledger: w.ledger, Log: w.log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j, err := s.Enqueue(t.Context(), w.order(transfer.DeleteVerified))
	if err != nil || r.asked.Load() != 1 {
		t.Fatalf("%v, asked %d times, want once", err, r.asked.Load())
	}
	h := w.steal(j.ID, unitScan, "somewhere:else:1:x")
	jr := newJournal(s, h, 1, make([]transfer.Entry, 1), make([]transfer.Outcome, 1), func(State) {})
	if err := jr.Record(t.Context(), 0, transfer.Outcome{Result: transfer.Copied}); err != nil || r.asked.Load() != 2 {
		t.Errorf("%v, asked %d times, want twice", err, r.asked.Load())
	}
}

// deafHook loses calls, or their answers, as long as there are any to lose.
type deafHook struct {
	redis.Hook
	after bool // the call is carried out, and its answer lost
	left  atomic.Int64
}

func (h *deafHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *deafHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h *deafHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.left.Load() <= 0 {
			return next(ctx, cmd)
		}
		if h.after {
			if err := next(ctx, cmd); err != nil {
				return err // the script isn't loaded yet, say
			}
		}
		h.left.Add(-1)
		cmd.SetErr(io.ErrUnexpectedEOF)
		return io.ErrUnexpectedEOF
	}
}

// What couldn't be recorded would have to be read from the source once more: a store that is away for a moment is waited for, and
// what was stored without an answer counts once.
func TestARecordIsSentUntilItIsAnswered(t *testing.T) {
	for name, after := range map[string]bool{"the store is away": false, "answers are lost": true} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				j := w.enqueue(w.order(transfer.DeleteVerified))
				jr := newJournal(w.svc, w.steal(j.ID, unitScan, "somewhere:else:1:x"), 1, make([]transfer.Entry, 2), make([]transfer.Outcome, 2), func(State) {})
				deaf := &deafHook{after: after}
				w.store.Client().AddHook(deaf)
				for i := range 2 {
					deaf.left.Store(3)
					if err := jr.Record(t.Context(), i, transfer.Outcome{Result: transfer.Copied, Bytes: 5}); err != nil || deaf.left.Load() != 0 {
						t.Fatalf("record %d: %v, %d failures left", i, err, deaf.left.Load())
					}
				}
				if got, err := w.svc.Get(t.Context(), j.ID); err != nil || got.Files.Copied != 2 || got.Bytes.Copied != 10 {
					t.Errorf("%+v, %+v, %v; want 2 copied", got.Files, got.Bytes, err)
				}
			})
		})
	}
}
