package jobs

import (
	"errors"
	"maps"
	"testing"
)

// What a removed job has offloaded comes back by its manifest, named by the job's ID, by its beginning, or by the place.
func TestRestoreOfARemovedJob(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		of := w.offloaded(20)
		want := files(t, w.dst)
		for name := range want {
			if len(name) > 0 && name[0] == '.' { // the manifest lies beside the files
				delete(want, name)
			}
		}
		if err := w.svc.Remove(t.Context(), of.ID); err != nil {
			t.Fatal(err)
		}
		for _, ask := range []RestoreAsk{{Job: of.ID}, {Job: of.ID[:12]}, {Path: w.src}} {
			orders, err := w.svc.RestoreOrders(t.Context(), ask)
			if err != nil || len(orders) != 1 || orders[0].Of != of.ID {
				t.Fatalf("%+v: %+v, %v", ask, orders, err)
			}
		}
		orders, err := w.svc.RestoreOrders(t.Context(), RestoreAsk{Path: w.src})
		if err != nil {
			t.Fatal(err)
		}
		if scrubs, err := w.svc.ScrubOrders(t.Context(), "", false); err != nil || len(scrubs) != 1 || scrubs[0].Of != of.ID {
			t.Errorf("scrubs %+v, %v", scrubs, err)
		}
		p, err := w.svc.PreviewRestore(t.Context(), orders)
		if err != nil || p.Files.Files != 20 {
			t.Fatalf("%+v, %v", p, err)
		}
		j := w.reach(w.enqueue(orders[0]).ID, Completed, CompletedW, FailedState)
		if j.State != Completed || !maps.Equal(files(t, w.src), want) {
			t.Errorf("%s (%s), %d files are back", j.State, j.Error, len(files(t, w.src)))
		}
		if _, err := w.svc.RestoreOrders(t.Context(), RestoreAsk{Job: "01KB3Q7W5T0000000000000000"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a job that never was: %v", err)
		}
	})
}
