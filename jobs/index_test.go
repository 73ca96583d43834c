package jobs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// plant stores a job as it would look in a state, without anything else of it, and returns its ID.
func (w *world) plant(at time.Time, account string, state State) string {
	w.t.Helper()
	id := ulid.MustNew(ulid.Timestamp(at), nil)
	for i := range id.Entropy() {
		id[6+i] = byte(rand.Uint32())
	}
	w.become(id.String(), account, state)
	if err := w.store.Client().ZAdd(w.t.Context(), keyIndex, redis.Z{Member: id.String()}).Err(); err != nil {
		w.t.Fatal(err)
	}
	return id.String()
}

func (w *world) become(id, account string, state State) {
	w.t.Helper()
	order := `{"source":"/a","destination":"/b","account":"` + account + `"}`
	if err := w.store.Client().HSet(w.t.Context(), keysOf(id).job(), "state", string(state), "account", account, "order", order).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// reindexed looks the whole index over once.
func (w *world) reindexed() {
	w.t.Helper()
	r := reindexer{s: w.svc}
	for start := time.Now(); r.next.Before(start); {
		if err := r.round(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// pages lists all that the options choose, page by page.
func (w *world) pages(o ListOptions) []string {
	w.t.Helper()
	var ids []string
	for {
		page, next, err := w.svc.List(w.t.Context(), o)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, j := range page {
			ids = append(ids, j.ID)
		}
		if o.Cursor = next; next == "" {
			return ids
		}
		if len(page) != o.Limit {
			w.t.Fatalf("a page of %d jobs though there is another one, want %d", len(page), o.Limit)
		}
	}
}

// A list by the index holds the same jobs in the same order as one that reads all jobs, also where dozens have the same
// millisecond.
func TestListByIndexIsTheListOfAllJobs(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		accounts, now := []string{"anna", "ben", "cleo"}, time.Now()
		for i := range 300 {
			at := now.Add(time.Duration(i/90) * time.Millisecond)
			w.plant(at, accounts[i%3], places()[rand.IntN(len(places()))])
		}
		filters := []ListOptions{{}, {Account: "ben"}, {Account: "nobody"}, {States: []State{Waiting}}, {States: openStates()},
			{States: []State{FailedState, Queued}, Account: "anna"}}
		var want [][]string
		for _, o := range filters {
			o.Limit = 7
			want = append(want, w.pages(o)) // nothing is indexed yet: by the jobs themselves
		}
		w.reindexed()
		for i, o := range filters {
			for _, limit := range []int{1, 7, 1000} {
				o.Limit = limit
				if got := w.pages(o); !slices.Equal(got, want[i]) {
					t.Errorf("%+v: %d jobs, want %d, or in another order", o, len(got), len(want[i]))
				}
			}
			each := []string(nil)
			if err := w.svc.each(t.Context(), o, func(j Job) error { each = append(each, j.ID); return nil }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(each, want[i]) {
				t.Errorf("each of %+v: %d jobs, want %d, or in another order", o, len(each), len(want[i]))
			}
		}
	})
}

// What a command has changed is listed by its new state at once.
func TestIndexFollowsAJob(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.reindexed()
		w.tree(3, 10)
		j := w.enqueue(w.order(transfer.DeleteNever))
		listed := func(state State) {
			t.Helper()
			for _, st := range places() {
				got := w.pages(ListOptions{States: []State{st}, Account: DefaultAccount, Limit: 5})
				if want := st == state; (len(got) == 1) != want {
					t.Errorf("a job that is %s is listed %d times as %s", state, len(got), st)
				}
			}
		}
		listed(Queued)
		for _, step := range []struct {
			do func() (Job, error)
			to State
		}{
			{func() (Job, error) { return w.svc.Pause(t.Context(), j.ID) }, Paused},
			{func() (Job, error) { return w.svc.Resume(t.Context(), j.ID) }, Queued},
		} {
			if _, err := step.do(); err != nil {
				t.Fatal(err)
			}
			listed(step.to)
		}
		stop := w.worker(w.svc, WorkerOptions{})
		w.reach(j.ID, Completed)
		stop()
		listed(Completed)
		if err := w.svc.Remove(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if n := w.store.Client().ZCard(t.Context(), keyAccount(DefaultAccount)).Val(); n != 0 {
			t.Errorf("%d entries of a removed job are left", n)
		}
	})
}

// A job that an earlier version changed without the index isn't listed by a state that it isn't in, and stands right again
// after the index was looked over.
func TestIndexIsMended(t *testing.T) {
	w := newWorld(t, "")
	id := w.plant(time.Now(), "anna", Transferring)
	gone := ulid.Make().String()
	if err := w.svc.index(t.Context(), gone, "anna"); err != nil { // never created
		t.Fatal(err)
	}
	w.reindexed()
	w.become(id, "anna", Completed)
	if got := w.pages(ListOptions{States: []State{Transferring, Queued}, Limit: 5}); len(got) > 0 {
		t.Errorf("listed as transferring or queued: %v", got)
	}
	w.reindexed()
	if got := w.pages(ListOptions{States: []State{Completed}, Limit: 5}); !slices.Equal(got, []string{id}) {
		t.Errorf("listed as completed: %v, want %s", got, id)
	}
}

// The numbers of states are stored: none may change.
func TestPlacesStay(t *testing.T) {
	want := "[queued scanning transferring finishing waiting paused completed completed_with_warnings failed canceled]"
	if got := fmt.Sprint(places()); got != want {
		t.Errorf("places %s, want %s: add at the end alone", got, want)
	}
	if last := placeAt(1<<placeBits-1, Canceled); last >= 1<<53 || placeAt(1<<placeBits-1, Queued) >= placeAt(0, Scanning) {
		t.Errorf("places overlap, or %f isn't exact", last)
	}
}

// The history of a job begins with its creation, also where an earlier version has stored that.
func TestHistoryBeginsWithTheCreation(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(1, 1)
		j := w.enqueue(w.order(transfer.DeleteNever))
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		old := w.plant(time.Now(), "anna", Paused)
		lines := []any{"1700000000000||queued||host", "1700000000500|queued|paused||host"}
		if err := w.store.Client().RPush(t.Context(), keysOf(old).history(), lines...).Err(); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{j.ID, old} {
			h, err := w.svc.History(t.Context(), id)
			if err != nil || len(h) != 2 || h[0].To != Queued || h[0].From != "" || h[0].By == "" || h[0].At.IsZero() || h[1].To != Paused {
				t.Errorf("history of %s: %+v, %v", id, h, err)
			}
		}
	})
}

// However many jobs wait, those that run are looked at in the next round: their workers may be gone.
func TestJobsThatWaitDontKeepMaintenanceFromThoseThatRun(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.store.Client().Pipeline()
		for i := range 3000 {
			class := dueQueued
			if i%2 == 0 {
				class = dueWaiting
			}
			at := float64(class.base() + time.Now().Add(-time.Hour).UnixMilli())
			p.ZAdd(t.Context(), keyDue, redis.Z{Score: at, Member: fmt.Sprint("waits", i)})
		}
		if _, err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.svc.look(t.Context(), "runs", -time.Millisecond)
		w.svc.look(t.Context(), "later", time.Minute)
		due, err := w.svc.due(t.Context())
		if err != nil || len(due) == 0 || due[0] != "runs" || len(due) > 500 || slices.Contains(due, "later") {
			t.Errorf("due: %d jobs, the first is %v; %v", len(due), due[:min(1, len(due))], err)
		}
	})
}
