package jobs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// processes returns the fleets of two processes on one store.
func (w *world) processes() (a, b transfer.Fleet) { return w.svc.Fleet(), w.service(nil).Fleet() }

func TestOneTurnAtATime(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, b := w.processes()
		var inside, most, turns atomic.Int64
		var wg sync.WaitGroup
		for i := range 16 {
			f := a
			if i%2 == 1 {
				f = b
			}
			wg.Go(func() {
				for range 5 {
					_, leave, err := f.Turn(t.Context(), "lane")
					if err != nil {
						t.Error(err)
						return
					}
					if n := inside.Add(1); n > most.Load() {
						most.Store(n)
					}
					turns.Add(1)
					inside.Add(-1)
					leave()
					leave() // twice is once
				}
			})
		}
		wg.Wait()
		if most.Load() != 1 || turns.Load() != 80 {
			t.Errorf("%d turns, at most %d at a time; want 80, one at a time", turns.Load(), most.Load())
		}
		if n, err := w.store.Client().Exists(t.Context(), keysTurn("lane")...).Result(); err != nil || n != 0 {
			t.Errorf("after the last turn, %d keys are left (%v)", n, err)
		}
	})
}

// A process that always has more to do doesn't keep the others from their turn.
func TestTurnsGoRound(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, b := w.processes()
		_, leave, err := a.Turn(t.Context(), "lane")
		if err != nil {
			t.Fatal(err)
		}
		ctx, enough := context.WithCancel(t.Context())
		had := make(chan error, 1)
		var other sync.WaitGroup
		defer other.Wait()
		defer enough()
		other.Go(func() {
			_, leave, err := b.Turn(ctx, "lane")
			had <- err // before it leaves: from that moment on the first one may have the turn
			if err == nil {
				leave()
			}
		})
		until(t, "the other process waits", func() bool {
			return w.store.Client().ZCard(t.Context(), keysTurn("lane")[1]).Val() == 1
		})
		leave()
		_, leave, err = a.Turn(t.Context(), "lane")
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		select {
		case err := <-had:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("a process had the turn twice while another waited")
		}
	})
}

// A process that died while it waited keeps its place for a moment only, whatever the server's clock does.
func TestWhoDiedWaitingHoldsNobodyUp(t *testing.T) {
	for name, asked := range map[string]time.Duration{"long ago": -time.Minute, "just now": 0, "before the clock was put back": time.Hour} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				a, _ := w.processes()
				keys, client := keysTurn("lane"), w.store.Client()
				now := time.Now().Add(asked)
				client.ZAdd(t.Context(), keys[1], redis.Z{Score: float64(now.UnixMicro()), Member: "dead"})
				client.ZAdd(t.Context(), keys[2], redis.Z{Score: float64(now.Add(turnPatience).UnixMilli()), Member: "dead"})
				ctx, cancel := context.WithTimeout(t.Context(), 20*turnPatience)
				defer cancel()
				_, leave, err := a.Turn(ctx, "lane")
				if err != nil {
					t.Fatal(err)
				}
				leave()
				if n := client.Exists(t.Context(), keys...).Val(); n != 0 {
					t.Errorf("%d keys are left", n)
				}
			})
		})
	}
}

// slowHook is a store that is far away.
type slowHook struct {
	redis.Hook
	by time.Duration
}

func (h slowHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h slowHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h slowHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := transfer.Sleep(ctx, h.by); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

// A process that the store answers slowly keeps its place among those that ask more often.
func TestADistantProcessHasItsTurn(t *testing.T) {
	url := startRedis(t)
	near, far := newWorld(t, url), newWorld(t, url)
	far.store.Client().AddHook(slowHook{by: 2 * turnPatience})
	ctx, enough := context.WithTimeout(t.Context(), 30*time.Second)
	defer enough()
	var all sync.WaitGroup
	defer all.Wait()
	a, b := near.processes()
	busy, stop := context.WithCancel(ctx)
	defer stop()
	for _, f := range []transfer.Fleet{a, b} {
		all.Go(func() {
			for {
				_, leave, err := f.Turn(busy, "lane")
				if err != nil {
					return
				}
				_ = transfer.Sleep(busy, 50*time.Millisecond)
				leave()
			}
		})
	}
	_, leave, err := far.svc.Fleet().Turn(ctx, "lane")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	leave()
}

func TestLanesAreApart(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, b := w.processes()
		_, leave, err := a.Turn(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		_, leaveOther, err := b.Turn(t.Context(), "two")
		if err != nil {
			t.Fatal(err)
		}
		leaveOther()
	})
}

func TestTurnWaitEndsWithItsContext(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, b := w.processes()
		_, leave, err := a.Turn(t.Context(), "lane")
		if err != nil {
			t.Fatal(err)
		}
		stop := errors.New("stop")
		for name, f := range map[string]transfer.Fleet{"the same process": a, "another process": b} {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() {
				_, _, err := f.Turn(ctx, "lane")
				done <- err
			}()
			cancel(stop)
			if err := <-done; !errors.Is(err, stop) {
				t.Errorf("%s: %v, want the cause of the context", name, err)
			}
		}
		leave()
		_, again, err := b.Turn(t.Context(), "lane") // nothing of the waits is left
		if err != nil {
			t.Fatal(err)
		}
		again()
	})
}

// A process that was frozen for longer than its lease finds that another one has the turn.
func TestLostTurnIsFenced(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, _ := w.processes()
		held, leave, err := a.Turn(t.Context(), "lane")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Client().Set(t.Context(), keyTurn("lane"), "other", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-held.Done():
		case <-time.After(2 * turnLease):
			t.Fatal("the work under a lost turn wasn't stopped")
		}
		if !errors.Is(context.Cause(held), transfer.ErrFenced) {
			t.Errorf("cause is %v, want ErrFenced", context.Cause(held))
		}
		leave()
		if who := w.store.Client().Get(t.Context(), keyTurn("lane")).Val(); who != "other" {
			t.Errorf("leaving took the turn of %q away", "other")
		}
	})
}

func TestTurnIsExtendedWhileHeld(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, _ := w.processes()
		held, leave, err := a.Turn(t.Context(), "lane")
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		if err := w.store.Client().PExpire(t.Context(), keyTurn("lane"), 2*turnRenew).Err(); err != nil {
			t.Fatal(err)
		}
		until(t, "the lease is extended", func() bool {
			left := w.store.Client().PTTL(t.Context(), keyTurn("lane")).Val()
			return left > 2*turnRenew && left <= turnLease
		})
		if held.Err() != nil {
			t.Errorf("a turn that was extended ended: %v", context.Cause(held))
		}
	})
}

func TestRestReachesEveryProcess(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		a, b := w.processes()
		if at, err := b.Resting(t.Context(), "lane"); err != nil || time.Until(at) > 0 {
			t.Fatalf("a lane that nobody asked to rest rests until %v (%v)", at, err)
		}
		late := time.Now().Add(time.Hour)
		if err := a.Rest(t.Context(), "lane", late); err != nil {
			t.Fatal(err)
		}
		if err := b.Rest(t.Context(), "lane", time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]transfer.Fleet{"who asked": a, "the other": b} {
			until(t, name+" sees the later rest", func() bool {
				at, err := f.Resting(t.Context(), "lane")
				return err == nil && at.Sub(late).Abs() < time.Second // the rest travels as a duration
			})
		}
		if at, _ := a.Resting(t.Context(), "other"); time.Until(at) > 0 {
			t.Error("another lane rests too")
		}
		if err := a.Rest(t.Context(), "short", time.Now().Add(50*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		until(t, "a rest that is over leaves nothing", func() bool {
			return w.store.Client().Exists(t.Context(), keyRest("short")).Val() == 0
		})
	})
}

func BenchmarkTurn(b *testing.B) {
	w := newWorld(b, "")
	f := w.svc.Fleet()
	for b.Loop() {
		_, leave, err := f.Turn(b.Context(), "lane")
		if err != nil {
			b.Fatal(err)
		}
		leave()
	}
}
