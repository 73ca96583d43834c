package jobs

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// How a worker watches its store.
const (
	askEvery  = 2 * time.Second
	askTime   = 3 * time.Second
	missesOut = 2               // questions without an answer in a row after which the store counts as gone
	stopSlack = 2 * time.Second // after the grace of a stop, before a store that doesn't answer is given up
)

// presence is what a worker knows of its store.
type presence struct {
	away  atomic.Bool // it hasn't answered for a while, and that was said
	given atomic.Bool // it was given up, so that the worker can end
}

// attend asks the store again and again whether it is there, until ctx is done. It says once that the store is gone and
// once that it is back, instead of what every call has to say. A worker that is to stop gives up a store that doesn't
// answer: asynq and go-redis would go on asking for minutes. Nothing is lost by that, leases end by themselves.
func (w *worker) attend(ctx, soft, hard context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	var giveUp <-chan time.Time
	var till time.Time // when giveUp comes, which may be while an answer is waited for
	softly, at := soft.Done(), hard.Done()
	misses, late := 0, false
	var gone time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-softly:
			softly = nil
			t := time.NewTimer(w.opt.Grace + stopSlack)
			defer t.Stop()
			giveUp, till = t.C, time.Now().Add(w.opt.Grace+stopSlack)
			continue
		case <-giveUp:
			late = true
		case <-at:
			at, late = nil, true
		case <-tick.C:
		}
		asked := time.Now()
		err := w.ask(ctx)
		late = late || !till.IsZero() && time.Now().After(till)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if w.away.Swap(false) {
				w.log.Info("the store answers again", "after", time.Since(gone).Round(time.Second))
			}
			misses = 0
			continue
		}
		if misses++; misses == 1 {
			gone = asked
		}
		if misses == missesOut && !w.away.Swap(true) {
			w.log.Warn("the store doesn't answer: what was begun is stopped when its lease ends, and done again when the store is back", "error", err)
		}
		if late {
			w.log.Warn("stopped without the store: what this worker held goes to others when its leases end")
			w.given.Store(true)
			w.s.cfg.Store.Abandon()
			return
		}
	}
}

// warn logs what one of many calls has to say: while the store is known to be away to those who look closely alone.
func (w *worker) warn(message string, args ...any) {
	level := slog.LevelWarn
	if w.away.Load() {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, message, args...)
}

// ask tells whether the store answers. It reads a key: of a cluster, some server may answer while others are gone.
func (w *worker) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err := w.s.client.Exists(ctx, keyLeader).Err()
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer within " + askTime.String())
	}
	return err
}
