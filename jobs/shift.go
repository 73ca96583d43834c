package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

// shift is one time of a worker at the queue: from its start, or from the end of a drain, to the next drain or its stop.
// Each has a server of the queue of its own, since one that was stopped can't be started again.
type shift struct {
	srv  *asynq.Server
	over chan struct{} // closed when the worker is drained
	busy atomic.Int64  // tasks in hand
}

// errShiftOver puts a task back into the queue that was taken in the moment in which the worker was to take none.
var errShiftOver = errors.New("this worker takes nothing new")

// shifts works until soft or hard is done, or the one job has ended. While the worker is drained it takes no task; what it
// had begun ends beside, under the next shift where there is one.
func (w *worker) shifts(soft, hard, work context.Context, queues map[string]int) error {
	var earlier sync.WaitGroup
	defer earlier.Wait()
	var stopped sync.Once
	stop := func() { stopped.Do(func() { close(w.stopping) }) }
	defer stop() // before earlier.Wait
	for told := "worker started"; ; told = "this worker takes work again" {
		sh, err := w.begin(work, queues)
		if err != nil {
			return err
		}
		w.log.Info(told, "worker", w.name, "batches", w.opt.Batches)
		drained := w.untilStop(soft, hard, true)
		if drained {
			close(sh.over)
		}
		sh.srv.Stop()
		if !drained {
			stop()
			sh.srv.Shutdown()
			return nil
		}
		w.hands.drain(true)
		w.log.Info("drained: this worker takes nothing new", "worker", w.name)
		earlier.Go(func() { w.wait(sh) })
		if resumed := w.untilStop(soft, hard, false); !resumed {
			return nil
		}
		w.hands.drain(false)
	}
}

// begin starts a shift.
func (w *worker) begin(work context.Context, queues map[string]int) (*shift, error) {
	sh := &shift{over: make(chan struct{})}
	sh.srv = asynq.NewServer(w.s.cfg.Store, asynq.Config{
		Concurrency:              w.opt.Batches,
		Queues:                   queues,
		StrictPriority:           true,
		BaseContext:              func() context.Context { return work },
		TaskCheckInterval:        50 * time.Millisecond,
		DelayedTaskCheckInterval: time.Second,
		// Failures are counted by us, in the job's own state: for asynq a task never fails, it is only tried again.
		IsFailure: func(error) bool { return false },
		RetryDelayFunc: func(_ int, err error, _ *asynq.Task) time.Duration {
			if errors.Is(err, errShiftOver) {
				return 0
			}
			return 5 * time.Second
		},
		ShutdownTimeout: w.opt.Grace + storeWait,
		Logger:          asynqLog{w.log, &w.away},
		LogLevel:        asynq.WarnLevel,
	})
	w.over.Store(&sh.over)
	handle := func(ctx context.Context, t *asynq.Task) error {
		sh.busy.Add(1)
		defer sh.busy.Add(-1)
		select {
		case <-sh.over:
			return errShiftOver
		default:
			return w.handle(ctx, t)
		}
	}
	if err := sh.srv.Start(asynq.HandlerFunc(handle)); err != nil {
		return nil, fmt.Errorf("start the queue's worker: %w", err)
	}
	return sh, nil
}

// wait lets a drained shift end what it has in hand, and closes its server. That is closed no sooner: it keeps up the
// queue's own leases, and gives up what takes longer than a stop may.
func (w *worker) wait(sh *shift) {
	tick := time.NewTicker(beat / 10)
	defer tick.Stop()
	for sh.busy.Load() > 0 {
		select {
		case <-w.stopping:
			sh.srv.Shutdown()
			return
		case <-tick.C:
		}
	}
	sh.srv.Shutdown()
}

// untilStop waits for the stop, which is false, or until the worker is to take nothing new, or to go on, as drain says:
// true. A worker for one job waits for the job's end instead.
func (w *worker) untilStop(soft, hard context.Context, drain bool) bool {
	if w.opt.Job != "" {
		w.untilEnded(soft, hard)
		return false
	}
	for {
		select {
		case <-soft.Done():
			return false
		case <-hard.Done():
			return false
		case now := <-w.drains:
			if now == drain {
				return true
			}
		}
	}
}
