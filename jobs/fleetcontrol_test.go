package jobs

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"offload/transfer"
	"offload/transfer/xcloud"
)

// held is how many units of a job are in workers' hands.
func (w *world) held(id string) int64 {
	w.t.Helper()
	n, err := w.store.Client().ZCard(w.t.Context(), string(keysOf(id))+"lease").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// stuck makes a cloud's downloads wait until free is called, also of a test that fails: till then workers are at the files that
// they have begun, however long the test looks.
func stuck(c *xcloud.Cloud) (free func()) {
	gate := make(chan struct{})
	c.OnCall = func(op string) error {
		if op == "download" {
			<-gate
		}
		return nil
	}
	return sync.OnceFunc(func() { close(gate) })
}

// busyAll waits until each worker of the pool moves files.
func (w *world) busyAll(pool []*Service) {
	w.t.Helper()
	until(w.t, "all workers move files", func() bool {
		for _, s := range pool {
			if i, _ := w.workerOf(s); i.Files == 0 {
				return false
			}
		}
		return true
	})
}

// A pause reaches all workers within a beat; files that have begun end, nothing is cut, and resumed the job ends.
func TestPauseStopsTheFleet(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		c.Delay = 150 * time.Millisecond // a file of which nothing has come for half a second would be cut
		pool, _ := w.pool(c, 3, WorkerOptions{Batches: 2, Transfers: 3})
		const many = 400
		for i := range many {
			w.put(fmt.Sprintf("dir%02d/f%03d", i/10, i), 500)
		}
		want := files(t, w.src)
		j := w.enqueue(w.order(transfer.DeleteVerified))
		w.busyAll(pool)
		began := time.Now()
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		until(t, "all is handed back", func() bool { return w.held(j.ID) == 0 })
		took, downloads := time.Since(began), c.Calls("download")
		t.Logf("the last of three workers stopped %v after the pause; a file takes %v", took, c.Delay)
		if took > beat+c.Delay+3*time.Second {
			t.Errorf("the pause took %v", took)
		}
		pass(t, 2*beat) // nothing tells that nothing will begin
		if n := c.Calls("download"); n != downloads {
			t.Errorf("%d files began while the job was paused", n-downloads)
		}
		if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		if j.State != Completed || j.Files.Deleted != many || c.Calls("download") != many || j.Bytes.Wasted != 0 {
			t.Errorf("%s, %+v, %d downloads, %+v", j.State, j.Files, c.Calls("download"), j.Bytes)
		}
		if !maps.Equal(files(t, w.dst), want) {
			t.Error("the destination differs")
		}
	})
}

// A cancel cuts what is under way on all workers within two beats, however long it would take.
func TestCancelStopsTheFleetAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		c.Delay = time.Hour
		pool, _ := w.pool(c, 3, WorkerOptions{Batches: 1, Transfers: 2, Grace: time.Hour})
		for i := range 200 {
			w.put(fmt.Sprintf("dir%02d/f%03d", i/10, i), 500)
		}
		j := w.enqueue(w.order(transfer.DeleteVerified))
		w.busyAll(pool)
		began := time.Now()
		if _, err := w.svc.Cancel(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		until(t, "all is handed back", func() bool { return w.held(j.ID) == 0 })
		t.Logf("the last of three workers stopped %v after the cancel", time.Since(began))
		if took := time.Since(began); took > 2*beat+3*time.Second {
			t.Errorf("the cancel took %v", took)
		}
		if len(files(t, w.src)) != 200 || len(files(t, w.dst)) != 0 {
			t.Error("something was moved")
		}
	})
}

// A job of high priority goes before one that is under way, on all workers, and its removal keeps the files.
func TestPriorityOverTheFleet(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	c.Delay = 100 * time.Millisecond
	free := stuck(c)
	defer free()
	pool, _ := w.pool(c, 2, WorkerOptions{Batches: 1, Transfers: 2})
	for i := range 240 { // most of them are left when the other job has ended
		w.put(fmt.Sprintf("dir%02d/f%03d", i/10, i), 500)
	}
	low := w.order(transfer.DeleteNever)
	low.Priority = Low
	slowJob := w.enqueue(low)
	w.busyAll(pool)
	high := w.order(transfer.DeleteNever)
	high.Priority, high.Dest, high.Include = High, t.TempDir(), []string{"dir00/**"}
	first := w.enqueue(high)
	free()
	if j := w.reach(first.ID, Completed, CompletedW, FailedState); j.State != Completed || j.Files.Copied != 10 {
		t.Fatalf("%s: %s, %+v", j.State, j.Error, j.Files)
	}
	j, err := w.svc.Get(t.Context(), slowJob.ID)
	if err != nil || j.State.Terminal() {
		t.Fatalf("the job of low priority has ended before: %s, %v", j.State, err)
	}
	if err := w.svc.Remove(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, high.Dest)); n != 10 {
		t.Errorf("%d files after the removal of their job, want 10", n)
	}
	if j = w.reach(slowJob.ID, Completed, CompletedW, FailedState); j.State != Completed {
		t.Errorf("%s: %s", j.State, j.Error)
	}
}
