package jobs

import (
	"context"
	"errors"
	"sync"
	"testing"

	"offload/transfer"
)

// Backends renew their access with the context that they were opened with: the unit that opened them ends long before.
func TestOpenRemotesOutliveTheirUnit(t *testing.T) {
	w := newWorld(t, "")
	w.tree(40, 100)
	var mu sync.Mutex
	var kept context.Context
	s := w.service(func(ctx context.Context, src, dst string, o transfer.Options) (*transfer.Pair, error) {
		mu.Lock()
		defer mu.Unlock()
		kept = ctx
		return transfer.Open(ctx, src, dst, o)
	})
	j := w.enqueue(w.order(transfer.DeleteVerified))
	stop := w.worker(s, WorkerOptions{})
	w.reach(j.ID, Completed)
	mu.Lock()
	defer mu.Unlock()
	if kept.Err() != nil {
		t.Error("the context ended with a unit")
	}
	stop()
	if kept.Err() == nil {
		t.Error("the context doesn't end with the worker")
	}
}

// Remotes that were opened while their unit was stopped aren't kept: what they were opened with has ended.
func TestRemotesOpenedTooLateAreNotKept(t *testing.T) {
	w := newWorld(t, "")
	j := w.enqueue(w.order(transfer.DeleteNever))
	ctx, stop := context.WithCancelCause(t.Context())
	opened := 0
	s := w.service(func(own context.Context, src, dst string, o transfer.Options) (*transfer.Pair, error) {
		opened++
		if opened == 1 {
			stop(transfer.ErrStop)
			<-own.Done()
		}
		return transfer.Open(t.Context(), src, dst, o)
	})
	p := newPairs(s, 0)
	defer p.close(t.Context())
	if _, _, err := p.get(ctx, j); !errors.Is(err, transfer.ErrStop) {
		t.Fatalf("opened by a unit that was stopped: %v", err)
	}
	_, release, err := p.get(t.Context(), j)
	if err != nil || opened != 2 {
		t.Fatalf("opened %d times, %v", opened, err)
	}
	release()
}

// Remotes that were opened for an order that deletes aren't used for the same job once its deletions were called off.
func TestRemotesAreOpenedAnewWhereDeletionsWereCalledOff(t *testing.T) {
	w := newWorld(t, "")
	o := w.order(transfer.DeleteVerified)
	j := w.enqueue(o)
	p := newPairs(w.svc, 0)
	defer p.close(t.Context())
	open := func(j Job) (*openJob, func()) {
		t.Helper()
		o, release, err := p.get(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		return o, release
	}
	before, release := open(j)
	again, releaseAgain := open(j)
	if again != before {
		t.Error("the same order is opened twice")
	}
	releaseAgain()
	j.Order.DeleteSource = transfer.DeleteNever
	now, releaseNow := open(j)
	if now == before || now.pair.Opt.Deletes() || !before.pair.Opt.Deletes() {
		t.Errorf("the job may still delete: %+v", now.pair.Opt)
	}
	release()
	releaseNow()
}
