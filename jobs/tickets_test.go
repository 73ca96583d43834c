package jobs

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// A lane whose queue has plenty of tickets gets no more for new jobs. When the others are used up those jobs are done all
// the same, at once: what they are owed is sent.
func TestTicketsThatWereSparedAreSentWhenTheyAreNeeded(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		if err := w.svc.ring.enter(ctx, string(Normal), "anna", "nothing to do here", ticketsPlenty); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.refill(ctx, string(Normal)); err != nil {
			t.Fatal(err)
		}
		if n, err := w.svc.tickets(ctx, string(Normal)); err != nil || n != ticketsPlenty {
			t.Fatalf("%d tickets, want %d, %v", n, ticketsPlenty, err)
		}
		w.tree(1, 10)
		var ids []string
		for range 20 {
			ids = append(ids, w.enqueue(w.order(transfer.DeleteNever)).ID)
		}
		if n, err := w.svc.tickets(ctx, string(Normal)); err != nil || n != ticketsPlenty {
			t.Fatalf("%d tickets, want %d as before, %v", n, ticketsPlenty, err)
		}
		if owed, err := w.svc.ring.owes(ctx, string(Normal)); err != nil || owed != 20 {
			t.Fatalf("%d tickets are owed, want 20, %v", owed, err)
		}
		// The tickets before are lost.
		if err := w.store.Client().Del(ctx, keyPending(string(Normal))).Err(); err != nil {
			t.Fatal(err)
		}
		w.worker(w.svc, WorkerOptions{})
		for _, id := range ids {
			w.reach(id, Completed)
		}
		until(t, "nothing is owed any more", func() bool {
			owed, err := w.svc.ring.owes(ctx, string(Normal))
			return err == nil && owed == 0
		})
	})
}

// What is owed is taken over by one process alone, and never more than there is.
func TestOwedTicketsAreTakenOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		if err := w.svc.ring.enter(t.Context(), string(High), "anna", "job", 5); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int64{3, 2, 0} {
			if n, err := w.svc.ring.takeOwed(t.Context(), string(High), 3); err != nil || n != want {
				t.Fatalf("took %d, want %d, %v", n, want, err)
			}
		}
	})
}

// slowQueue is a store that takes no tickets until it is let.
type slowQueue struct {
	Store
	let chan struct{}
}

// MakeRedisClient implements Store.
func (q *slowQueue) MakeRedisClient() any {
	c, _ := q.Store.MakeRedisClient().(redis.UniversalClient)
	c.AddHook(q)
	return c
}

// DialHook implements redis.Hook.
func (q *slowQueue) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (q *slowQueue) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (q *slowQueue) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for _, arg := range cmd.Args() {
			if raw, ok := arg.([]byte); ok && strings.Contains(string(raw), `"job":""`) {
				<-q.let
			}
		}
		return next(ctx, cmd)
	}
}

// Sending what is owed may take as long as a lease where the store is far: the unit that was claimed is done meanwhile.
func TestAUnitDoesntWaitForTheTicketsOfOthers(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.tree(1, 10)
		j := w.enqueue(w.order(transfer.DeleteNever))
		if err := w.svc.ring.enter(ctx, string(Normal), "anna", "nothing to do here", 3); err != nil {
			t.Fatal(err)
		}
		// Another one looks after the jobs, so that the tickets are sent by whoever claims.
		if err := w.store.Client().Set(ctx, keyLeader, "somebody", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		q := &slowQueue{Store: w.store, let: make(chan struct{})}
		s, err := New(Config{Store: q, Ledger: w.ledger, Log: w.log})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		stop := w.worker(s, WorkerOptions{})
		defer stop()
		defer close(q.let)
		until(t, "the scan has ended while tickets are being sent", func() bool {
			got, err := w.svc.Get(ctx, j.ID)
			if err != nil {
				t.Fatal(err)
			}
			owed, err := w.svc.ring.owes(ctx, string(Normal))
			if err != nil {
				t.Fatal(err)
			}
			return got.ScanComplete && owed == 0
		})
	})
}
