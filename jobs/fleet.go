package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

const (
	// turnLease is how long a turn outlives a process that was killed while it had it.
	turnLease = 5 * time.Second
	// turnRenew is how often a turn is extended while it is held.
	turnRenew = time.Second
	// turnMargin before the end of a lease that couldn't be extended, the work under it is stopped.
	turnMargin = time.Second
	// turnPollFirst and turnPollMax bound the wait between two attempts while another process has the turn, turnPollNext
	// that of the process which has it next: until it asks, nobody has it.
	turnPollFirst = 10 * time.Millisecond
	turnPollNext  = 25 * time.Millisecond
	turnPollMax   = 100 * time.Millisecond
	// turnPatience is for how long a process that asks no more keeps its place among those who wait for the turn, turnLongest
	// the same for one that the store answers slowly.
	turnPatience = 500 * time.Millisecond
	turnLongest  = 10 * time.Second
	// restKnown is for how long the answer about a rest is used again.
	restKnown = 200 * time.Millisecond
)

// fleet is the transfer.Fleet of all processes that share a store. Within the process turns go by a queue in memory, so
// that only one of its goroutines at a time asks the store.
type fleet struct {
	client                  redis.UniversalClient
	log                     *slog.Logger
	take, keep, leave, rest *redis.Script
	local                   transfer.LocalFleet

	mu    sync.Mutex
	rests map[string]knownRest
}

// knownRest is what was last heard of a lane's rest.
type knownRest struct {
	until, asked time.Time
}

// Fleet is what the workers of this store settle among themselves. It is one for the service.
func (s *Service) Fleet() transfer.Fleet {
	s.fleetOnce.Do(func() { s.fleet = newFleet(s.client, s.log) })
	return s.fleet
}

func newFleet(client redis.UniversalClient, log *slog.Logger) *fleet {
	return &fleet{client: client, log: log, take: script("fleet/take"), keep: script("fleet/keep"), leave: script("fleet/leave"),
		rest: script("fleet/rest"), rests: map[string]knownRest{}}
}

func keyTurn(lane string) string { return "offload:fleet:{" + lane + "}:turn" }

// keysTurn are the turn of a lane and those who wait for it.
func keysTurn(lane string) []string {
	return []string{keyTurn(lane), "offload:fleet:{" + lane + "}:line", "offload:fleet:{" + lane + "}:waits"}
}

func keyRest(lane string) string { return "offload:fleet:{" + lane + "}:rest" }

// Turn implements transfer.Fleet.
func (f *fleet) Turn(ctx context.Context, lane string) (context.Context, func(), error) {
	_, leaveLocal, err := f.local.Turn(ctx, lane)
	if err != nil {
		return nil, nil, err
	}
	token := rand.Text()
	until, err := f.await(ctx, lane, token)
	if err != nil {
		f.giveBack(ctx, lane, token) // it may have been taken, and only the answer lost
		leaveLocal()
		return nil, nil, err
	}
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.hold(held, cancel, lane, token, until)
	}()
	return held, sync.OnceFunc(func() {
		cancel(context.Canceled)
		<-done
		f.giveBack(ctx, lane, token)
		leaveLocal()
	}), nil
}

// await asks for the turn until it is had, and returns until when its lease lasts at least. Processes have it in the order
// in which they came: one that always has more to do would else take it again each time before the others ask.
func (f *fleet) await(ctx context.Context, lane, token string) (time.Time, error) {
	patience := turnPatience
	for pause := turnPollFirst; ; {
		asked := time.Now()
		got, err := f.take.Run(ctx, f.client, keysTurn(lane), token, turnLease.Milliseconds(), patience.Milliseconds(), turnLongest.Milliseconds()).Int()
		patience = min(max(turnPatience, 4*time.Since(asked)), turnLongest)
		switch {
		case ctx.Err() != nil:
			return time.Time{}, context.Cause(ctx)
		case err != nil:
			return time.Time{}, fmt.Errorf("take the turn of %s: %w", lane, err)
		case got == 1:
			return asked.Add(turnLease), nil
		case got == 0:
			pause = min(pause, turnPollNext)
		}
		if err := transfer.Sleep(ctx, pause/2+mathrand.N(pause)); err != nil {
			return time.Time{}, err
		}
		pause = min(2*pause, turnPollMax)
	}
}

// hold extends the lease until held is done, or cancels it with transfer.ErrFenced when the turn is lost.
func (f *fleet) hold(held context.Context, lost context.CancelCauseFunc, lane, token string, until time.Time) {
	tick := time.NewTicker(turnRenew)
	defer tick.Stop()
	for {
		select {
		case <-held.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		ctx, cancel := context.WithTimeout(held, turnRenew)
		kept, err := f.keep.Run(ctx, f.client, []string{keyTurn(lane)}, token, turnLease.Milliseconds()).Int()
		cancel()
		switch {
		case held.Err() != nil:
			return
		case err == nil && kept == 1:
			until = asked.Add(turnLease)
			continue
		case err != nil && time.Until(until) > turnRenew+turnMargin:
			f.log.Debug("extend a turn", "lane", lane, "error", err)
			continue
		}
		lost(fmt.Errorf("the turn of %s was lost: %w", lane, errors.Join(transfer.ErrFenced, err)))
		return
	}
}

// giveBack frees the turn if it is still the token's. Where the store doesn't answer, the lease ends by itself.
func (f *fleet) giveBack(ctx context.Context, lane, token string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), turnRenew)
	defer cancel()
	if err := f.leave.Run(ctx, f.client, keysTurn(lane), token).Err(); err != nil {
		f.log.Warn("give a turn back", "lane", lane, "error", err)
	}
}

// Rest implements transfer.Fleet.
func (f *fleet) Rest(ctx context.Context, lane string, until time.Time) error {
	left := time.Until(until)
	if left < time.Millisecond {
		return nil
	}
	f.note(lane, until, time.Time{})
	asked := time.Now()
	ms, err := f.rest.Run(ctx, f.client, []string{keyRest(lane)}, left.Milliseconds()).Int64()
	if err != nil {
		return fmt.Errorf("ask for a rest of %s: %w", lane, err)
	}
	f.note(lane, asked.Add(time.Duration(ms)*time.Millisecond), asked)
	return nil
}

// Resting implements transfer.Fleet.
func (f *fleet) Resting(ctx context.Context, lane string) (time.Time, error) {
	f.mu.Lock()
	r := f.rests[lane]
	if time.Since(r.asked) < restKnown {
		f.mu.Unlock()
		return r.until, nil
	}
	r.asked = time.Now() // the others use what is known while this call asks
	f.rests[lane] = r
	f.mu.Unlock()
	left, err := f.client.PTTL(ctx, keyRest(lane)).Result()
	if err != nil {
		f.forget(lane)
		return time.Time{}, fmt.Errorf("ask whether %s rests: %w", lane, err)
	}
	if left <= 0 { // there is none
		return r.until, nil
	}
	now := time.Now()
	return f.note(lane, now.Add(left), now), nil
}

// note remembers the later end of two rests, and when the store was asked.
func (f *fleet) note(lane string, until, asked time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rests[lane]
	if until.After(r.until) {
		r.until = until
	}
	if asked.After(r.asked) {
		r.asked = asked
	}
	f.rests[lane] = r
	return r.until
}

// forget makes the next question go to the store.
func (f *fleet) forget(lane string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rests[lane]
	r.asked = time.Time{}
	f.rests[lane] = r
}
