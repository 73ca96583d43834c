package jobs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateLetsOneInAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		s := gated{newSlots(4, time.Now), &g}
		ctx := t.Context()
		var inside, alone atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 5 {
					release, err := s.Acquire(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1); alone.Load() > 0 {
						t.Error("somebody is inside beside the one that is alone")
					}
					<-time.After(time.Second)
					inside.Add(-1)
					release(false)
				}
			})
		}
		for range 3 {
			wg.Go(func() {
				patience, cancel := context.WithTimeout(ctx, aloneWait)
				defer cancel()
				ok, err := g.alone(ctx, patience)
				if err != nil || !ok {
					t.Errorf("alone: %v, %v", ok, err)
					return
				}
				if n := alone.Add(1); n > 1 || inside.Load() > 0 {
					t.Errorf("%d are alone beside %d", n, inside.Load())
				}
				release, err := s.Slots.Acquire(ctx) // those who wait at the gate hold none
				if err != nil {
					t.Error(err)
					return
				}
				<-time.After(3 * time.Second)
				release(false)
				alone.Add(-1)
				g.endTrial()
			})
		}
		wg.Wait()
		if g.inside != 0 || g.closed || g.trial {
			t.Errorf("left behind: %d inside, closed %v, trial %v", g.inside, g.closed, g.trial)
		}
	})
}

func TestGateDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		ctx := t.Context()
		if err := g.enter(ctx); err != nil { // a large file
			t.Fatal(err)
		}
		patience, cancel := context.WithTimeout(ctx, aloneWait)
		defer cancel()
		if ok, err := g.alone(ctx, patience); ok || err != nil {
			t.Fatalf("alone beside another: %v, %v", ok, err)
		}
		if !g.pass() {
			t.Error("the gate stays closed though nobody is alone")
		}
		second, stop := context.WithCancel(ctx)
		stop()
		if _, err := g.alone(second, second); !errors.Is(err, context.Canceled) {
			t.Errorf("a second trial beside the first: %v", err)
		}
		g.endTrial()
		if _, err := g.alone(second, second); !errors.Is(err, context.Canceled) || g.closed || g.trial {
			t.Errorf("a trial of somebody who was stopped: %v, closed %v, trial %v", err, g.closed, g.trial)
		}
	})
}
