package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"offload/internal/leaktest"
	"offload/jobs"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// counted is a source that counts what it is asked.
type counted struct {
	mu        sync.Mutex
	live      []string
	state     map[string]jobs.State
	err       error
	took      time.Duration
	overviews atomic.Int64
	singles   atomic.Int64
}

func (c *counted) Overview(ctx context.Context) (jobs.Overview, error) {
	c.overviews.Add(1)
	if err := sleep(ctx, c.took); err != nil {
		return jobs.Overview{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := jobs.Overview{At: time.Now(), Counts: map[jobs.State]int64{jobs.Transferring: int64(len(c.live))}}
	for _, id := range c.live {
		o.Live = append(o.Live, jobs.Progress{Job: jobs.Job{ID: id, State: jobs.Transferring}})
	}
	return o, c.err
}

func (c *counted) Progress(ctx context.Context, id string) (jobs.Progress, error) {
	c.singles.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	state, ok := c.state[id]
	if !ok {
		return jobs.Progress{}, jobs.ErrNotFound
	}
	return jobs.Progress{Job: jobs.Job{ID: id, State: state}}, c.err
}

func (c *counted) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// running starts a hub in a bubble and returns what ends it.
func running(c *counted) (*Hub, func()) {
	h := newHub(c, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	synctest.Wait()
	return h, func() { cancel(); <-done }
}

// follow reads snapshots until ctx ends and returns how many there were.
func follow(ctx context.Context, h *Hub) (n int) {
	for seq := uint64(0); ; n++ {
		s := h.After(ctx, seq)
		if s == nil {
			return n
		}
		seq = s.Seq
	}
}

func TestViewersShareOnePollASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{state: map[string]jobs.State{"A": jobs.Waiting}}
		h, stop := running(c)
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var all sync.WaitGroup
		var seen atomic.Int64
		for range 200 {
			all.Go(func() { seen.Add(int64(follow(ctx, h))) })
			all.Go(func() {
				w := h.Watch("A")
				defer w.Close()
				for seq := uint64(0); ; {
					v := w.After(ctx, seq)
					if v == nil {
						return
					}
					seq = v.Seq
				}
			})
		}
		all.Wait()
		if n := c.overviews.Load(); n < 58 || n > 61 {
			t.Errorf("200 viewers of 60 s made %d polls", n)
		}
		if n := c.singles.Load(); n < 58 || n > 61 {
			t.Errorf("200 viewers of one job for 60 s asked %d times for it", n)
		}
		if n := seen.Load(); n < 200*58 {
			t.Errorf("they saw %d snapshots in all", n)
		}
	})
}

func TestNobodyWatchesNothingIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{}
		h, stop := running(c)
		defer stop()
		if err := sleep(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if n := c.overviews.Load(); n != 0 {
			t.Fatalf("asked %d times while nobody ever watched", n)
		}
		first := h.Now(t.Context())
		if first == nil || c.overviews.Load() != 1 {
			t.Fatalf("the first look: %v after %d polls", first, c.overviews.Load())
		}
		if err := sleep(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if n := c.overviews.Load(); n > 6 {
			t.Errorf("asked %d times in an hour after one look", n)
		}
		again := h.Now(t.Context())
		if age := time.Since(again.At); age > time.Second {
			t.Errorf("after an hour of sleep Now is %v old", age)
		}
	})
}

func TestNowIsNewWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{state: map[string]jobs.State{"A": jobs.Completed}}
		h := newHub(c, nil, nil)
		for range 5 {
			if s := h.Now(t.Context()); s == nil || time.Since(s.At) > 2*time.Second {
				t.Fatalf("Now: %+v", s)
			}
		}
		if n := c.overviews.Load(); n != 1 {
			t.Errorf("5 looks at once asked %d times", n)
		}
		w := h.Watch("A")
		defer w.Close()
		if v := w.After(t.Context(), 0); v == nil || !v.Ended() {
			t.Errorf("job: %+v", v)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if n := follow(ctx, h); n < 9 || n > 11 {
			t.Errorf("%d snapshots in 10 s", n)
		}
	})
}

func TestAwayStoreKeepsTheLastView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{live: []string{"A"}, state: map[string]jobs.State{"B": jobs.Waiting}}
		h, stop := running(c)
		defer stop()
		w := h.Watch("B")
		defer w.Close()
		before, job := h.Now(t.Context()), w.After(t.Context(), 0)
		away := errors.New("away")
		c.fail(away)
		after := h.After(t.Context(), before.Seq)
		for after.Err == nil {
			after = h.After(t.Context(), after.Seq)
		}
		if !errors.Is(after.Err, away) || len(after.Live) != 1 || !after.At.Equal(before.At) && after.At.Before(before.At) {
			t.Errorf("the view without a store: %+v", after)
		}
		v := w.After(t.Context(), job.Seq)
		for v.Err == nil {
			v = w.After(t.Context(), v.Seq)
		}
		if v.Job.ID != "B" || v.Ended() {
			t.Errorf("the job without a store: %+v", v)
		}
		c.fail(nil)
		for after.Err != nil {
			after = h.After(t.Context(), after.Seq)
		}
		if s := h.Now(t.Context()); s.Err != nil {
			t.Error("the store is back, and the view still says it isn't")
		}
	})
}

func TestHangingStoreEndsInAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(&counted{took: time.Hour})
		defer stop()
		begun := time.Now()
		if s := h.Now(t.Context()); s == nil || s.Err == nil || time.Since(begun) > 2*lookTime {
			t.Errorf("%+v after %v", s, time.Since(begun))
		}
	})
}

func TestSlowViewersPassOverWhatIsBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(&counted{})
		defer stop()
		first := h.Now(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		go follow(ctx, h) // keeps it going
		if err := sleep(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if next := h.After(t.Context(), first.Seq); next.Seq < first.Seq+8 {
			t.Errorf("after 10 s: %d follows %d", next.Seq, first.Seq)
		}
		<-ctx.Done()
	})
}

func TestJobsOfTheOverviewAreNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{state: map[string]jobs.State{}}
		for i := range 50 {
			c.live = append(c.live, fmt.Sprint(i))
		}
		h, stop := running(c)
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for _, id := range c.live {
			all.Go(func() {
				w := h.Watch(id)
				defer w.Close()
				n, seq := 0, uint64(0)
				for v := w.After(ctx, seq); v != nil; v = w.After(ctx, v.Seq) {
					n++
				}
				if n < 9 {
					t.Errorf("job %s: %d views in 10 s", id, n)
				}
			})
		}
		all.Wait()
		if n, o := c.singles.Load(), c.overviews.Load(); n > apart || o > 12 { // the first few may come before the others
			t.Errorf("%d single questions and %d overviews", n, o)
		}
	})
}

func TestUnknownJobHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(&counted{})
		defer stop()
		w := h.Watch("X")
		defer w.Close()
		if v := w.After(t.Context(), 0); v == nil || !errors.Is(v.Err, jobs.ErrNotFound) || !v.Ended() {
			t.Errorf("%+v", v)
		}
		if s := h.Now(t.Context()); s.Err != nil {
			t.Errorf("an unknown job is told as a store that is away: %v", s.Err)
		}
	})
}

func TestWaitersEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := running(&counted{took: 3 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s := h.Now(ctx); s != nil {
			t.Errorf("a snapshot came: %+v", s)
		}
		stop()
		if s := h.Now(ctx); s != nil {
			t.Errorf("a snapshot came after the end: %+v", s)
		}
	})
}

// BenchmarkViewers measures a round for 200 viewers of the overview.
func BenchmarkViewers(b *testing.B) {
	h := newHub(&counted{live: []string{"A"}}, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	h.running = true
	var all sync.WaitGroup
	got := make(chan struct{}, 200)
	for range 200 {
		all.Go(func() {
			for s := h.After(ctx, 0); s != nil; s = h.After(ctx, s.Seq) {
				got <- struct{}{}
			}
		})
	}
	for b.Loop() {
		h.publish(h.ask(ctx), nil)
		for range 200 {
			<-got
		}
	}
	cancel()
	all.Wait()
}
