package jobs

import (
	"maps"
	"testing"

	"offload/internal/redistest"
	"offload/transfer"
)

// Every script and pipeline of the service meets Sentinels and a Cluster, where keys of one call have to lie in one slot.
// OFFLOAD_TEST_REDIS_MODE runs all tests on either.
func TestEveryModeOfRedis(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"sentinel": func(t *testing.T) string { return redistest.StartSentinel(t).Patient().URL() },
		"cluster":  func(t *testing.T) string { return redistest.StartCluster(t).Patient().URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, url(t))
			w.tree(60, 900)
			want := files(t, w.src)
			ctx := t.Context()
			own, err := w.svc.EnqueueForeground(ctx, w.order(transfer.DeleteNever)) // whose queue is removed in the end
			if err != nil {
				t.Fatal(err)
			}
			if err := w.svc.RunWorker(ctx, ctx, WorkerOptions{Job: own.ID}); err != nil {
				t.Fatal(err)
			}
			if own = w.reach(own.ID, Completed); own.Files.Copied != 60 {
				t.Errorf("in the foreground: %+v", own.Files)
			}
			o := w.order(transfer.DeleteComplete)
			o.MaxDelete, o.MaxTransfer = 1000, 1<<30
			j := w.enqueue(slow(o, "1M"))
			if _, err := w.svc.Pause(ctx, j.ID); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				w.worker(w.service(nil), WorkerOptions{Batches: 2})
			}
			if _, err := w.svc.Resume(ctx, j.ID); err != nil {
				t.Fatal(err)
			}
			j = w.reach(j.ID, Completed, CompletedW, FailedState)
			if j.State != Completed || j.Files.Deleted != 60 || !maps.Equal(files(t, w.dst), want) {
				t.Errorf("%s, %+v: %s", j.State, j.Files, j.Error)
			}
			if all, _, err := w.svc.List(ctx, ListOptions{}); err != nil || len(all) != 2 {
				t.Errorf("%d jobs, %v; want 2", len(all), err)
			}
			for _, id := range []string{own.ID, j.ID} {
				if err := w.svc.Remove(ctx, id); err != nil {
					t.Error(err)
				}
			}
			if all, _, err := w.svc.List(ctx, ListOptions{}); err != nil || len(all) != 0 {
				t.Errorf("%d jobs, %v; want none", len(all), err)
			}
		})
	}
}
