package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
	"offload/transfer/xcloud"
)

// workerOf is what the registry tells of a service's worker; false where it isn't in it.
func (w *world) workerOf(s *Service) (WorkerInfo, bool) {
	w.t.Helper()
	all, err := w.svc.Workers(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, i := range all {
		if i.ID == s.self {
			return i, true
		}
	}
	return WorkerInfo{}, false
}

// inState waits until the worker of a service is in a state.
func (w *world) inState(s *Service, state WorkerState) WorkerInfo {
	w.t.Helper()
	var i WorkerInfo
	until(w.t, "worker is "+string(state), func() bool {
		var ok bool
		i, ok = w.workerOf(s)
		return ok && i.State == state
	})
	return i
}

// pool starts n services with a worker each on a played cloud, and returns how to end each of them.
func (w *world) pool(c *xcloud.Cloud, n int, o WorkerOptions) (all []*Service, stops []func()) {
	w.t.Helper()
	for range n {
		s := w.service(c.Open)
		all, stops = append(all, s), append(stops, w.worker(s, o))
	}
	for _, s := range all {
		until(w.t, "the worker is listed", func() bool { _, ok := w.workerOf(s); return ok })
	}
	return all, stops
}

func TestWorkersAreListed(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		c.Delay = time.Second
		w.svc.cfg.Version = "1.2.3"
		stop := w.worker(w.svc, WorkerOptions{Batches: 5})
		i := w.inState(w.svc, WorkerIdle)
		if i.Batches != 5 || i.Version != "1.2.3" || i.Started == nil || i.Busy != 0 || i.Host == "" || i.Name != fmt.Sprintf("%s/%d", i.Host, i.PID) {
			t.Errorf("%+v", i)
		}
		w.tree(40, 100)
		j := w.enqueue(w.order(transfer.DeleteNever))
		until(t, "it tells what it moves", func() bool {
			i, _ = w.workerOf(w.svc)
			return i.State == WorkerWorking && i.Files > 0 && i.Jobs[j.ID] == i.Busy
		})
		w.reach(j.ID, Completed)
		w.inState(w.svc, WorkerIdle)
		if n, err := w.svc.WorkersRunning(t.Context()); err != nil || n != 1 {
			t.Errorf("%d running, %v", n, err)
		}
		stop()
		if i, ok := w.workerOf(w.svc); ok {
			t.Errorf("a worker that ended is still listed: %+v", i)
		}
		if left, err := w.store.Client().Exists(t.Context(), workerKeys()...).Result(); err != nil || left != 0 {
			t.Errorf("%d keys are left, %v", left, err)
		}
	})
}

// A process that runs one job is none of the pool's workers.
func TestForegroundProcessIsNotListed(t *testing.T) {
	w := newWorld(t, "")
	w.tree(3, 10)
	j, err := w.svc.EnqueueForeground(t.Context(), w.order(transfer.DeleteNever))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.svc.RunWorker(t.Context(), t.Context(), WorkerOptions{Job: j.ID}); err != nil {
		t.Fatal(err)
	}
	if n := w.store.Client().Exists(t.Context(), workerKeys()...).Val(); n != 0 {
		t.Errorf("%d keys of the registry", n)
	}
}

// Whoever wasn't heard of is silent, then forgotten; one of an earlier version, which tells nothing of itself, is listed.
func TestSilentWorkers(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		now := time.Now()
		add := func(name string, believed time.Time) {
			t.Helper()
			if err := w.store.Client().ZAdd(t.Context(), keyWorkers, redis.Z{Score: float64(believed.UnixMilli()), Member: name}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		add("old:x:1:AAAA", now.Add(10*time.Second))
		add("gone:x:2:BBBB", now.Add(-30*time.Minute))
		add("longgone:x:3:CCCC", now.Add(-61*time.Minute))
		if err := w.svc.Drain(t.Context(), "longgone:x:3:CCCC"); err != nil {
			t.Fatal(err)
		}
		w.worker(w.svc, WorkerOptions{})
		w.inState(w.svc, WorkerIdle)
		all, err := w.svc.Workers(t.Context())
		if err != nil || len(all) != 3 {
			t.Fatalf("%+v, %v", all, err)
		}
		for _, i := range all {
			switch i.Host {
			case "old":
				if i.State != WorkerIdle || i.Version != "" || i.PID != 1 {
					t.Errorf("%+v", i)
				}
			case "gone":
				if i.State != WorkerSilent || time.Since(i.Heard) < 30*time.Minute {
					t.Errorf("%+v", i)
				}
			}
		}
		if n, err := w.svc.WorkersRunning(t.Context()); err != nil || n != 2 {
			t.Errorf("%d running, %v", n, err)
		}
		if n := w.store.Client().HLen(t.Context(), keyWorkerDrain).Val(); n != 0 {
			t.Errorf("what was asked of a worker that is forgotten isn't: %d", n)
		}
		if err := w.svc.Drain(t.Context(), "longgone:x:3:CCCC"); !errors.Is(err, ErrNoWorker) {
			t.Errorf("drain of a worker that is forgotten: %v", err)
		}
	})
}

func TestFindWorkers(t *testing.T) {
	all := []WorkerInfo{
		{Name: "alpha/1", ID: "alpha:x:1:AAAA", Host: "alpha"}, {Name: "alpha/12", ID: "alpha:x:12:BBBB", Host: "alpha"},
		{Name: "beta/1", ID: "beta:x:1:CCCC", Host: "beta"}, {Name: "beta/1", ID: "beta:x:1:DDDD", Host: "beta", State: WorkerSilent},
		{Name: "gone/1", ID: "gone:x:1:EEEE", Host: "gone", State: WorkerSilent},
	}
	for _, c := range []struct {
		name   string
		byHost bool
		want   string // IDs
	}{
		{"alpha/1", false, "alpha:x:1:AAAA"}, {"alpha/12", false, "alpha:x:12:BBBB"}, {"alpha", false, ""}, {"al", false, ""},
		{"alpha:x:12", false, "alpha:x:12:BBBB"}, {"beta", false, "beta:x:1:CCCC"}, {"b", false, "beta:x:1:CCCC"},
		{"beta:x:1:DDDD", false, "beta:x:1:DDDD"}, {"gone", false, "gone:x:1:EEEE"}, {"x", false, ""}, {"", false, ""},
		{"alpha", true, "alpha:x:1:AAAA alpha:x:12:BBBB"}, {"alph", true, ""}, {"", true, ""},
	} {
		found, err := FindWorkers(all, c.name, c.byHost)
		var ids []string
		for _, i := range found {
			ids = append(ids, i.ID)
		}
		if got := strings.Join(ids, " "); got != c.want || (c.want == "") != (errors.Is(err, ErrNoWorker) || errors.Is(err, ErrManyWorkers)) {
			t.Errorf("%q (by host: %v): %s, %v, want %s", c.name, c.byHost, got, err, c.want)
		}
	}
	for _, c := range []struct {
		all  []WorkerInfo
		name string
		want string
	}{
		{all, "alpha", `"alpha" fits alpha/1, alpha/12: more than one worker`},
		{append(all, WorkerInfo{Name: "beta/1", ID: "beta:x:1:FFFF", Host: "beta"}), "beta/1", `"beta/1" fits beta:x:1:CCCC, beta:x:1:FFFF: more than one worker`},
		{all, strings.Repeat("ü", 5000), `"` + strings.Repeat("ü", 60) + `": no such worker`},
	} {
		if _, err := FindWorkers(c.all, c.name, false); err == nil || err.Error() != c.want {
			t.Errorf("%.60s: %v, want %s", c.name, err, c.want)
		}
	}
}

// A drained worker ends the files that it has begun, however long they take, gives the rest to the others at once and takes
// nothing new, while the others do everything promptly. Resumed, it works again.
func TestDrainedWorkerTakesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		c.Delay = time.Second // far longer than the grace
		free := stuck(c)
		defer free()
		pool, stops := w.pool(c, 2, WorkerOptions{Batches: 1, Transfers: 2, Grace: 100 * time.Millisecond})
		w.tree(24, 1000)
		want := files(t, w.src)
		j := w.enqueue(w.order(transfer.DeleteVerified))
		until(t, "both work", func() bool {
			a, _ := w.workerOf(pool[0])
			b, _ := w.workerOf(pool[1])
			return a.Files > 0 && b.Files > 0
		})
		if err := pool[1].Drain(t.Context(), pool[0].self); err != nil {
			t.Fatal(err)
		}
		w.inState(pool[0], WorkerDraining)
		free()
		w.inState(pool[0], WorkerDrained)
		opened := c.Calls("download")
		began := time.Now()
		if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || j.Files.Copied != 24 || j.Files.Deleted != 24 {
			t.Fatalf("%s: %s, %+v", j.State, j.Error, j.Files)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("the other worker took %v for the rest", took)
		}
		if j.Bytes.Wasted != 0 || c.Calls("download") != 24 {
			t.Errorf("%d downloads for 24 files, %d of them before the drain's end; %d bytes in vain: a file that had begun was cut", c.Calls("download"), opened, j.Bytes.Wasted)
		}
		if !maps.Equal(files(t, w.dst), want) {
			t.Error("the destination differs")
		}
		// Alone and drained: nothing moves. Resumed: it does.
		stops[1]()
		for i := range 5 {
			w.put(fmt.Sprintf("more/f%d", i), 100)
		}
		j = w.enqueue(w.order(transfer.DeleteVerified))
		pass(t, 3*beat) // nothing tells that nothing will happen
		if j, err := w.svc.Get(t.Context(), j.ID); err != nil || j.State != Queued {
			t.Fatalf("a drained worker has taken a job: %s, %v", j.State, err)
		}
		if i := w.inState(pool[0], WorkerDrained); i.Busy != 0 {
			t.Errorf("%+v", i)
		}
		if err := w.svc.Undrain(t.Context(), pool[0].self); err != nil {
			t.Fatal(err)
		}
		w.reach(j.ID, Completed)
		stops[0]()
	})
}

// Tickets aren't lost between a worker that is drained again and again and one that goes on.
func TestDrainLosesNoTicket(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		c.Delay = 30 * time.Millisecond
		pool, _ := w.pool(c, 2, WorkerOptions{Batches: 2, Transfers: 2})
		w.tree(300, 100)
		j := w.enqueue(w.order(transfer.DeleteVerified))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var rounds atomic.Int64
		all.Go(func() {
			for ctx.Err() == nil {
				if err := errors.Join(w.svc.Drain(ctx, pool[0].self), transfer.Sleep(ctx, 1200*time.Millisecond),
					w.svc.Undrain(ctx, pool[0].self), transfer.Sleep(ctx, 1200*time.Millisecond)); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				rounds.Add(1)
			}
		})
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		cancel()
		all.Wait()
		if j.State != Completed || j.Files.Deleted != 300 || c.Calls("download") != 300 {
			t.Errorf("%s, %+v, %d downloads", j.State, j.Files, c.Calls("download"))
		}
		t.Logf("drained %d times", rounds.Load())
	})
}

// A drained worker that is stopped ends within its grace, though files are under way.
func TestStopOfADrainedWorker(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	c.Delay = time.Hour
	w.tree(3, 100)
	stop := w.worker(w.svc, WorkerOptions{Grace: 200 * time.Millisecond})
	j := w.enqueue(w.order(transfer.DeleteNever))
	until(t, "files are under way", func() bool { i, _ := w.workerOf(w.svc); return i.Files > 0 })
	if err := w.svc.Drain(t.Context(), w.svc.self); err != nil {
		t.Fatal(err)
	}
	w.inState(w.svc, WorkerDraining)
	pass(t, 2*beat)
	w.inState(w.svc, WorkerDraining) // the files may take as long as they do
	began := time.Now()
	stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if n := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Val(); n != 0 {
		t.Errorf("%d units weren't handed back", n)
	}
}

// Three workers keep to one limit of files at once from a remote, as the remote sees it, and use it.
func TestFleetKeepsToALimitOfFiles(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		c.Delay = 100 * time.Millisecond
		w.limitFiles(FilesOfAccount("default"), 5)
		pool, _ := w.pool(c, 3, WorkerOptions{})
		w.tree(200, 100)
		began := time.Now()
		j := w.reach(w.enqueue(w.order(transfer.DeleteNever)).ID, Completed, CompletedW, FailedState)
		took := time.Since(began)
		if j.State != Completed || j.Files.Copied != 200 {
			t.Fatalf("%s, %+v", j.State, j.Files)
		}
		if most := c.MostAtOnce(); most > 5 || most < 4 {
			t.Errorf("at most %d downloads at once, want 5", most)
		}
		t.Logf("%v for 200 files of 0.1 s, 5 at once, with %d workers", took, len(pool))
	})
}

// A process that runs one job in the foreground keeps to the limits, too.
func TestForegroundKeepsToALimitOfFiles(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	c.Delay = 50 * time.Millisecond
	w.limitFiles(FilesOfAccount("default"), 2)
	w.tree(30, 100)
	j, err := w.svc.EnqueueForeground(t.Context(), w.order(transfer.DeleteNever))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.svc.RunWorker(t.Context(), t.Context(), WorkerOptions{Job: j.ID}); err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, Completed); c.MostAtOnce() != 2 {
		t.Errorf("%d downloads at once, want 2", c.MostAtOnce())
	}
	if left := w.store.Client().Exists(t.Context(), keyPermits).Val(); left != 0 {
		t.Error("the process ended and didn't give its permits back")
	}
}

// Files that wait for a permit don't keep another job of the same workers waiting.
func TestLimitOfFilesHoldsUpNoOtherJob(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	c.Delay = time.Second
	w.limitFiles(FilesOfAccount("anna"), 1)
	w.worker(w.svc, WorkerOptions{Batches: 8})
	w.tree(60, 100)
	o := w.order(transfer.DeleteNever)
	o.Account = "anna"
	first := w.enqueue(o)
	until(t, "the limited job works", func() bool { i, _ := w.workerOf(w.svc); return i.Files > 0 })
	o = w.order(transfer.DeleteNever)
	o.Account, o.Dest = "ben", t.TempDir()
	if j := w.reach(w.enqueue(o).ID, Completed, CompletedW, FailedState); j.State != Completed {
		t.Fatalf("%s: %s", j.State, j.Error)
	}
	if j, err := w.svc.Get(t.Context(), first.ID); err != nil || j.State.Terminal() {
		t.Fatalf("the limited job, at a second a file, has ended before: %s, %v", j.State, err)
	}
	if _, err := w.svc.Cancel(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
}

// A worker whose files only wait for permits that others hold is drained at once.
func TestDrainOfAWorkerThatWaitsForPermits(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	c.Delay = time.Hour
	w.limitFiles(FilesOfAccount("default"), 1)
	pool, _ := w.pool(c, 2, WorkerOptions{Batches: 1, Grace: 100 * time.Millisecond})
	w.tree(80, 100)
	w.enqueue(w.order(transfer.DeleteNever))
	var idle *Service // has a batch, and no file under way
	until(t, "one has the permit, both have a batch", func() bool {
		a, _ := w.workerOf(pool[0])
		b, _ := w.workerOf(pool[1])
		idle = pool[0]
		if a.Files > 0 {
			idle = pool[1]
		}
		return a.Busy > 0 && b.Busy > 0 && a.Files+b.Files == 1
	})
	if err := w.svc.Drain(t.Context(), idle.self); err != nil {
		t.Fatal(err)
	}
	w.inState(idle, WorkerDrained)
}

// A task that is taken in the moment of a drain goes back into the queue as it is, for others to take soon.
func TestTaskTakenInTheMomentOfADrainGoesBack(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(3, 100)
		k := &worker{s: w.service(nil), opt: WorkerOptions{Batches: 2}, name: "late", log: w.log, stopping: make(chan struct{})}
		k.pairs = newPairs(k.s, 0)
		sh, err := k.begin(context.Background(), poolQueues(jobVersion))
		if err != nil {
			t.Fatal(err)
		}
		close(sh.over)
		j := w.enqueue(w.order(transfer.DeleteNever))
		retry := "asynq:{" + string(Normal) + "}:retry"
		until(t, "the task was taken and put back", func() bool { return w.store.Client().ZCard(t.Context(), retry).Val() > 0 })
		sh.srv.Stop()
		sh.srv.Shutdown()
		if j, err := w.svc.Get(t.Context(), j.ID); err != nil || j.State != Queued {
			t.Fatalf("the drained worker has begun it: %s, %v", j.State, err)
		}
		w.worker(w.svc, WorkerOptions{})
		began := time.Now()
		w.reach(j.ID, Completed)
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("another worker took it after %v", took)
		}
	})
}

// Whoever asks for the living workers leaves it to the next report to forget those that are long gone, with all that is
// kept of them.
func TestAForgottenWorkerLeavesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx, client := t.Context(), w.store.Client()
		if err := w.svc.times.set(ctx, keyWorkers, "gone", -2*workerForgotten, 0); err != nil {
			t.Fatal(err)
		}
		if err := client.HSet(ctx, keyWorkerInfo, "gone", "{}").Err(); err != nil {
			t.Fatal(err)
		}
		if names, err := w.svc.liveWorkers(ctx); err != nil || len(names) != 0 {
			t.Fatalf("living workers: %v, %v", names, err)
		}
		if err := script("fleet/beat").Run(ctx, client, workerKeys(), "other", "{}", leaseTime.Milliseconds(), workerForgotten.Milliseconds()).Err(); err != nil {
			t.Fatal(err)
		}
		if known, err := client.HExists(ctx, keyWorkerInfo, "gone").Result(); err != nil || known {
			t.Errorf("what is kept of the worker is there still: %v, %v", known, err)
		}
	})
}
