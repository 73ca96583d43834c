package jobs

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"offload/transfer"
)

// climb moves files through slots against a remote that takes latency for each, and serves at most width at once. It
// returns the limit after each second.
func climb(t *testing.T, width int, latency time.Duration, seconds int) (limits []int) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := newSlots(0, time.Now)
		server := make(chan struct{}, width)
		for i := range 200 {
			go func() {
				// Files aren't of one length: they don't end in step.
				took := latency + time.Duration(i%20)*latency/100
				for {
					release, err := s.Acquire(ctx)
					if err != nil {
						return
					}
					select {
					case server <- struct{}{}:
						<-time.After(took)
						<-server
					case <-ctx.Done():
					}
					release(false)
				}
			}()
		}
		for range seconds {
			<-time.After(time.Second)
			s.mu.Lock()
			limits = append(limits, s.limit)
			s.mu.Unlock()
		}
		stop()
		synctest.Wait()
		<-time.After(2 * latency)
	})
	return limits
}

func TestSlotsClimbWhileItHelps(t *testing.T) {
	for _, c := range []struct {
		width   int
		latency time.Duration
	}{{1000, time.Second}, {1000, 400 * time.Millisecond}, {1000, 50 * time.Millisecond}} {
		limits := climb(t, c.width, c.latency, 30)
		if limits[2] != slotsMax {
			t.Errorf("%v a file: %d files at once after 3 s, want %d: %v", c.latency, limits[2], slotsMax, limits)
		}
		for i, n := range limits[3:] {
			if n < slotsMax*3/4 {
				t.Errorf("%v a file: the limit fell to %d in second %d: %v", c.latency, n, i+4, limits)
				break
			}
		}
	}
}

func TestSlotsSettleWhereMoreBringsNothing(t *testing.T) {
	for _, latency := range []time.Duration{50 * time.Millisecond, 400 * time.Millisecond} {
		limits := climb(t, 20, latency, 120)
		swings := 0
		for i := 60; i < len(limits); i++ {
			if limits[i] != limits[i-1] {
				swings++
			}
		}
		// Where files end in waves a rate can't be told well from few of them, and the limit may stay above what is of use:
		// that is harmless as long as nothing is refused.
		if last := limits[len(limits)-1]; swings > 20 || latency < 100*time.Millisecond && last > slotsMax*3/4 {
			t.Errorf("%v a file, 20 served at once: %d changes in the second minute: %v", latency, swings, limits)
		}
	}
}

// 400 files of one second each, in 40 folders: all of them have to be spread over enough batches to be under way
// together.
func TestManySlowFilesAreMovedTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	w := newWorld(t, "")
	c := cloudWorld(w)
	c.Delay, c.DeleteDelay = time.Second, 200*time.Millisecond
	for i := range 400 {
		w.put(fmt.Sprintf("dir%02d/f%03d", i/10, i), 200)
	}
	w.worker(w.svc, WorkerOptions{})
	began := time.Now()
	j := w.reach(w.enqueue(w.order(transfer.DeleteVerified)).ID, Completed, CompletedW, FailedState)
	took := time.Since(began)
	t.Logf("%v, at most %d at once", took, c.MostAtOnce())
	if j.State != Completed || j.Files.Deleted != 400 {
		t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
	}
	// It is seven seconds on a machine that has nothing else to do; eight files at once would take fifty.
	if took > 30*time.Second || c.MostAtOnce() < slotsMax*3/4 {
		t.Errorf("took %v with at most %d at once", took, c.MostAtOnce())
	}
}

// Between remotes that pace themselves there is nothing to find out; what the user has set stays.
func TestSlotsWiden(t *testing.T) {
	for n, want := range map[int]int{0: slotsPaced, 5: 5} {
		s := newSlots(n, time.Now)
		s.widen()
		if s.limit != want {
			t.Errorf("%d files at once of %d, want %d", s.limit, n, want)
		}
	}
}
