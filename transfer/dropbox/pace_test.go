package dropbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// round makes as many calls at once as the pace allows, of which the service refuses those above n (0 = none).
func round(t *testing.T, p *pace, n int) (busy int) {
	t.Helper()
	p.mu.Lock()
	busy = p.limit
	p.mu.Unlock()
	var rounds []int
	for range busy {
		r, err := p.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rounds = append(rounds, r)
	}
	p.mu.Lock()
	p.full = true // there is always one more to do
	p.mu.Unlock()
	for i := range rounds {
		how := endedWell
		if n > 0 && i < busy-n {
			how = endedRefused
		}
		p.release(rounds[i], how)
	}
	return busy
}

func TestPace(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPace()
	p.now = func() time.Time { return now }
	var got []int
	for range 7 {
		got = append(got, round(t, p, 0))
	}
	if want := []int{8, 12, 18, 27, 40, 48, 48}; !slices.Equal(got, want) {
		t.Errorf("rises %v, want %v", got, want)
	}
	round(t, p, 30) // 18 of 48 are refused
	if p.limit != 24 {
		t.Errorf("the limit is %d after a burst of refusals, want it halved once", p.limit)
	}
	for range 40 {
		if busy := round(t, p, 0); busy > 46 {
			t.Fatalf("%d at once, though 48 were refused", busy)
		}
	}
	if p.limit != 46 {
		t.Errorf("the limit is %d, want it just below the refused one", p.limit)
	}
	now = now.Add(paceMemory)
	round(t, p, 0)
	round(t, p, 0)
	if p.limit != 48 {
		t.Errorf("the limit is %d, want the refused one tried again later", p.limit)
	}
	for range 10 {
		round(t, p, 1)
	}
	if p.limit != 1 {
		t.Errorf("the limit is %d, want at least one call at once, and no more", p.limit)
	}
}

// The limit of the service lies between what went well and what was refused.
func TestPaceGuessesInBetween(t *testing.T) {
	p := newPace()
	for range 3 { // 8, 12, 18
		round(t, p, 0)
	}
	round(t, p, 24) // of 27
	if p.limit != 13 || p.ceiling != 21 {
		t.Errorf("limit %d, ceiling %d", p.limit, p.ceiling)
	}
}

// A commit that is refused has no place of its own: the calls beside it make room.
func TestPaceMakesRoomForCommits(t *testing.T) {
	p := newPace()
	for range 6 {
		if _, err := p.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.slow()
	if p.limit != 4 || p.ceiling != 5 {
		t.Errorf("limit %d, ceiling %d", p.limit, p.ceiling)
	}
}

func TestPaceKeepsWhereNoMoreIsAsked(t *testing.T) {
	p := newPace()
	for range 100 {
		r, err := p.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.release(r, endedWell)
	}
	if p.limit != paceStart {
		t.Errorf("the limit rose to %d with one call at a time", p.limit)
	}
}

func TestPaceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		p.limit = 1
		first, err := p.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		left, got := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := p.acquire(ctx)
			left <- err
		}()
		synctest.Wait()
		go func() {
			_, err := p.acquire(t.Context())
			got <- err
		}()
		synctest.Wait()
		cancel(stop)
		if err := <-left; !errors.Is(err, stop) {
			t.Errorf("error %v", err)
		}
		p.release(first, endedWell)
		if err := <-got; err != nil || p.busy != 1 {
			t.Errorf("error %v, %d at once", err, p.busy)
		}
	})
}
