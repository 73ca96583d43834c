package jobs

import (
	"errors"
	"testing"
	"time"

	"offload/transfer"
)

// purgeable is an ended job that was on hold, with three deleted files in the source's trash.
func (w *world) purgeable() Job {
	w.t.Helper()
	w.tree(3, 1000)
	w.worker(w.svc, WorkerOptions{})
	o := w.order(transfer.DeleteVerified)
	o.Hold = time.Hour
	j := w.reach(w.enqueue(o).ID, Waiting)
	w.over(j.ID)
	if _, err := w.svc.Resume(w.t.Context(), j.ID); err != nil {
		w.t.Fatal(err)
	}
	j = w.reach(j.ID, Completed, CompletedW, FailedState)
	if j.State != Completed || j.Unpurged().Files != 3 {
		w.t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
	}
	return j
}

// What is in the trash has had its hold: to purge it later waits for no other one.
func TestPurgeLaterHoldsNothingAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		j := w.purgeable()
		if _, err := w.svc.PurgeTrash(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		j = w.reach(j.ID, Completed, CompletedW, FailedState, Waiting)
		if j.State != Completed || j.Files.Purged != 3 || c.InTrash() != 0 {
			t.Fatalf("%s %s (%s), %+v, %d in the trash", j.State, j.Reason, j.Error, j.Files, c.InTrash())
		}
		if _, err := w.svc.PurgeTrash(t.Context(), j.ID); !errors.Is(err, ErrState) {
			t.Errorf("again: %v", err)
		}
	})
}

// An order that was changed after it was read, as by deletions that were called off, stays as it is.
func TestPurgeLaterKeepsToTheOrderOfNow(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		cloudWorld(w)
		j := w.purgeable()
		k := keysOf(j.ID)
		n, _, err := w.svc.scripts.verdict(t.Context(), "restart", j.ID, []string{k.crashes()}, from(Transferring), "me", false, "another", "not that of now")
		if err != nil || n != 0 {
			t.Fatalf("%d, %v", n, err)
		}
		now, err := w.svc.Get(t.Context(), j.ID)
		if err != nil || now.State != Completed || now.DeleteSource != transfer.DeleteVerified {
			t.Fatalf("%+v, %v", now, err)
		}
	})
}
