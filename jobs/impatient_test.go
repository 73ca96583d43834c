package jobs

import (
	"strings"
	"testing"

	"offload/quota"
)

// A job that only the reservations of others keep back is patient for a while. When they have used what they had set
// aside it waits at once, and says until when: there is nothing more to be patient for.
func TestPatienceEndsWhenOthersHaveUsedTheRest(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		ctx := t.Context()
		w.set("anna", 5000)
		other := w.ledger.Pool("anna", "somebody else")
		g, err := other.Reserve(ctx, 4500)
		if err != nil {
			t.Fatal(err)
		}
		w.tree(3, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		parked := keysOf(id).parked()
		until(t, "all of the job is parked", func() bool { return w.store.Client().ZCard(ctx, parked).Val() == 1 })
		if j, err := w.svc.Get(ctx, id); err != nil || j.State != Transferring {
			t.Errorf("the job is %s, want it patient: the rest may yet be given back (%v)", j.State, err)
		}
		if err := g.Charge(ctx, 4500); err != nil {
			t.Fatal(err)
		}
		if err := g.Settle(ctx, 4500, 0); err != nil {
			t.Fatal(err)
		}
		if err := other.Close(ctx); err != nil {
			t.Fatal(err)
		}
		j := w.waits(id, 0) // within a minute, which is shorter than the patience
		if j.Until == nil || !strings.Contains(j.Error, "500 B of its") {
			t.Errorf("waits until %v: %s", j.Until, j.Error)
		}
	})
}

// What a waiting job says is true now: its account got a larger plan, but by then a remote's limit was in the way.
func TestAWaitingJobSaysWhatIsInItsWayNow(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		ctx := t.Context()
		w.set("anna", 1500)
		w.tree(3, 1000)
		w.worker(w.svc, WorkerOptions{})
		id := w.enqueue(w.order("anna")).ID
		w.waits(id, 1)
		month := quota.RemoteSubject("src", quota.PerMonth)
		if _, err := w.ledger.Set(ctx, month, quota.Change{Limit: new(int64(900))}); err != nil {
			t.Fatal(err)
		}
		w.set("anna", 10_000)
		until(t, "the job says that the remote is in its way", func() bool {
			if err := w.svc.auditAnd(ctx, id, true); err != nil {
				t.Fatal(err)
			}
			j, err := w.svc.Get(ctx, id)
			return err == nil && j.State == Waiting && j.Until == nil && strings.Contains(j.Error, "whole allowance of remote src")
		})
		if _, err := w.ledger.Set(ctx, month, quota.Change{Limit: new(int64(5000))}); err != nil {
			t.Fatal(err)
		}
		w.completed(id, 3)
	})
}
