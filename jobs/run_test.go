package jobs

import (
	"maps"
	"testing"

	"offload/transfer"
)

func TestJobMovesATree(t *testing.T) {
	for _, policy := range []transfer.DeletePolicy{transfer.DeleteNever, transfer.DeleteVerified, transfer.DeleteComplete} {
		t.Run(string(policy), func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				w.tree(150, 2000)
				want := files(t, w.src)
				j := w.enqueue(w.order(policy))
				if j.State != Queued || j.Account != DefaultAccount {
					t.Fatalf("accepted as %+v", j)
				}
				w.worker(w.svc, WorkerOptions{})
				j = w.reach(j.ID, Completed, CompletedW, FailedState)
				if j.State != Completed || j.Error != "" {
					t.Fatalf("ended as %s: %s", j.State, j.Error)
				}
				if got := files(t, w.dst); !maps.Equal(got, want) {
					t.Fatalf("destination holds %d files, want %d", len(got), len(want))
				}
				left := files(t, w.src)
				if policy == transfer.DeleteNever && !maps.Equal(left, want) || policy != transfer.DeleteNever && len(left) != 0 {
					t.Fatalf("source holds %d files", len(left))
				}
				deleted := int64(0)
				if policy != transfer.DeleteNever {
					deleted = 150
				}
				if want := (Files{Found: 150, Copied: 150, Deleted: deleted}); j.Files != want {
					t.Fatalf("counted %+v, want %+v", j.Files, want)
				}
				if j.Bytes.Copied != 300000 || j.Grades.A != 150 || !j.ScanComplete {
					t.Fatalf("counted %+v %+v", j.Bytes, j.Grades)
				}
				st, err := w.ledger.Status(t.Context(), DefaultAccount)
				if err != nil || st.Used != 300000 || st.Reserved != 0 {
					t.Fatalf("quota %+v, %v", st, err)
				}
			})
		})
	}
}
