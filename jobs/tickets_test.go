package jobs

import (
	"testing"

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
