package jobs

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

func (w *world) totals() Totals {
	w.t.Helper()
	all, err := w.svc.Totals(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// What was done stays counted though its job is removed, and a worker's end loses nothing of it.
func TestTotalsOutliveTheirJobs(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		if all := w.totals(); len(all.Outcomes) != 0 || all.Last != nil {
			t.Errorf("an empty store: %+v", all)
		}
		w.tree(10, 100)
		j := w.enqueue(w.order(transfer.DeleteVerified))
		stop := w.worker(w.svc, WorkerOptions{})
		w.reach(j.ID, Completed)
		stop()
		j = w.reach(j.ID, Completed)
		if err := w.svc.Remove(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		all := w.totals()
		var files, bytes int64
		for _, o := range all.Outcomes {
			if o.Result != transfer.Copied || o.Grade == "" {
				t.Errorf("%+v", o)
			}
			files, bytes = files+o.Files, bytes+o.Bytes
		}
		if files != j.Files.Copied || files != 10 || bytes != j.Bytes.Copied || all.Deleted != 10 || all.DeletedBytes != 1000 || all.Last == nil {
			t.Errorf("%+v, want those of %+v", all, j)
		}
	})
}

// A call whose answer was lost is sent again and counts once; what comes meanwhile waits for it.
func TestTotalsCountOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		mine := newTotals(w.store.Client(), "me")
		client, ok := w.store.MakeRedisClient().(redis.UniversalClient)
		if !ok {
			t.Fatal("no client")
		}
		defer client.Close()
		deaf := &deaf{}
		client.AddHook(deaf)
		mine.client = client
		mine.add("retried", 1)
		if err := mine.flush(ctx); err != nil { // the store knows the script, and there is a connection
			t.Fatal(err)
		}
		mine.add("throttled", 3)
		mine.add("throttled", -1) // nothing goes back
		deaf.on = true
		if err := mine.flush(ctx); err == nil {
			t.Fatal("the answer was to be lost")
		}
		if n := w.totals().Throttled; n != 3 {
			t.Fatalf("%d were counted, want 3: only the answer was to be lost", n)
		}
		mine.add("throttled", 4)
		deaf.on = false
		for range 2 {
			if err := mine.flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.totals().Throttled; n != 7 {
			t.Errorf("%d, want 7", n)
		}
		if ttl := client.PTTL(ctx, keyTold("me")).Val(); ttl <= 0 || ttl > toldFor {
			t.Errorf("a process is remembered for %v", ttl)
		}
	})
}

// deaf loses the answers of a store that did what it was told.
type deaf struct{ on bool }

// DialHook implements redis.Hook.
func (d *deaf) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (d *deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if d.on && err == nil {
			err = errors.New("the answer was lost")
			cmd.SetErr(err)
		}
		return err
	}
}

func TestOutcomesAreCountedWhenTheyChange(t *testing.T) {
	e := transfer.Entry{Size: 100}
	failed := transfer.Outcome{Result: transfer.Failed, Wasted: 30}
	copied := transfer.Outcome{Result: transfer.Copied, Grade: "A", Bytes: 100, Wasted: 30, Source: transfer.Kept}
	gone := copied
	gone.Source = transfer.Deleted
	purged := gone
	purged.Source = transfer.Purged
	s := newTotals(nil, "")
	last := transfer.Outcome{}
	for _, o := range []transfer.Outcome{failed, failed, copied, copied, gone, purged, purged} {
		s.outcome(e, last, o)
		last = o
	}
	want := map[string]int64{"files:failed:": 1, "bytes:failed:": 100, "files:copied:A": 1, "bytes:copied:A": 100, "wasted": 30,
		"deleted": 1, "deleted_bytes": 100, "purged": 1, "purged_bytes": 100}
	for name, n := range want {
		if s.sum[name] != n {
			t.Errorf("%s is %d, want %d", name, s.sum[name], n)
		}
	}
	if len(s.sum) != len(want) {
		t.Errorf("%v", s.sum)
	}
}
