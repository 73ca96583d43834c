package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// What a turn costs: a base, and the bytes that were read in it. The base stands for what a unit of small files takes
// beside its bytes.
const (
	turnCost = 1024 // in units of turnUnit
	turnUnit = 1024 // bytes
)

// ring says whose turn it is in a lane of the pool, see lua/fair/prelude.lua. A task in a lane's queue is a ticket: whoever
// takes it does a unit of the job whose turn it is. So an account with many jobs, or a job with many units, that came first
// doesn't keep the others waiting.
type ring struct {
	client                  redis.UniversalClient
	join, pick, charge, owe *redis.Script
}

// turn is one that was given to a job; the zero turn is none.
type turn struct {
	lane, account, job string
	number             string
	ofAccount, ofJob   int64 // their virtual times with this turn, in units of turnUnit
	counted            int64 // what it has cost so far beyond its base, the same
}

func newRing(client redis.UniversalClient) *ring {
	of := func(name string) *redis.Script { return script("fair/prelude", "fair/"+name) }
	return &ring{client: client, join: of("join"), pick: of("pick"), charge: of("charge"), owe: of("owe")}
}

// keys are those of a lane's ring, all in one slot.
func (r *ring) keys(lane string) []string {
	base := "offload:{fair:" + lane + "}:"
	return []string{base + "accounts", base + "rest", base + "clock", base + "turn"}
}

// enter puts a job into the ring. It must be called between making units claimable and sending tasks for them; owed is how
// many of those won't be sent now.
func (r *ring) enter(ctx context.Context, lane, account, job string, owed int) error {
	if err := r.join.Run(ctx, r.client, r.keys(lane), account, job, owed).Err(); err != nil {
		return fmt.Errorf("put job %s in order: %w", job, err)
	}
	return nil
}

// next gives the turn to a job. vain is the turn before, of a job that had nothing to claim. It returns false where
// nobody is in the ring.
func (r *ring) next(ctx context.Context, lane string, vain turn) (turn, bool, error) {
	res, err := r.pick.Run(ctx, r.client, r.keys(lane), turnCost, vain.account, vain.job, vain.number).StringSlice()
	if err != nil {
		return turn{}, false, fmt.Errorf("ask whose turn it is: %w", err)
	}
	if len(res) == 0 {
		return turn{}, false, nil
	}
	if len(res) != 5 {
		return turn{}, false, fmt.Errorf("ask whose turn it is: unexpected answer %v", res)
	}
	return turn{lane: lane, account: res[0], job: res[1], number: res[2], ofAccount: number(res[3]), ofJob: number(res[4])}, true, nil
}

// count makes a turn cost so many bytes: those that it will probably read, and in the end those that were read. Where that
// is lost, an account has had a little more than its share.
func (r *ring) count(ctx context.Context, t *turn, bytes int64) error {
	more := bytes/turnUnit - t.counted
	if t.job == "" || more == 0 {
		return nil
	}
	if err := r.charge.Run(ctx, r.client, r.keys(t.lane), t.account, t.job, t.ofAccount+t.counted, t.ofJob+t.counted, more).Err(); err != nil {
		return fmt.Errorf("count the turn of job %s: %w", t.job, err)
	}
	t.counted += more
	return nil
}

// expect counts what a unit will probably read as soon as it begins. Else an account with large files would take most
// slots, and most of a scarce quota, before the first of them has ended. Small units end soon, so that the call is spared.
func (w *worker) expect(ctx context.Context, u *unit, bytes int64) {
	if bytes < turnCost*turnUnit {
		return
	}
	if err := w.s.ring.count(ctx, &u.turn, bytes); err != nil {
		w.log.Warn("count a turn", "job", u.job, "error", err)
	}
}

// claim takes the unit that a task is good for, and tells when it was asked for. In the pool that is the first one of the
// job whose turn it is; a process that runs one job takes the task's own. A hold without a fence is none: there is nothing
// to do.
func (w *worker) claim(ctx context.Context, queue string, p payload) (hold, turn, time.Time, error) {
	var t turn
	for isLane(queue) {
		next, ok, err := w.s.ring.next(ctx, queue, t)
		if err != nil {
			return hold{}, turn{}, time.Time{}, err
		}
		if !ok {
			break
		}
		asked := time.Now()
		h, err := w.s.scripts.claimNext(ctx, next.job, queue, w.name, leaseTime)
		if err != nil || h.fence != "" {
			return h, next, asked, err
		}
		t = next
	}
	if p.Job == "" { // nobody is in the ring: all has been claimed
		return hold{}, turn{}, time.Time{}, nil
	}
	// Should the ring have been lost, the task is good for its own unit.
	asked := time.Now()
	h, state, err := w.s.scripts.claim(ctx, p.Job, p.Unit, p.Attempt, w.name, leaseTime)
	if err == nil && h.fence == "" {
		w.log.Debug("task isn't needed any more", "job", p.Job, "unit", p.Unit, "attempt", p.Attempt, "state", state)
	}
	return h, turn{}, asked, err
}

// enter puts a job into the ring of its lane; a foreground process needs no order.
func (s *Service) enter(ctx context.Context, queue, account, id string, owed int) error {
	if !isLane(queue) {
		return nil
	}
	if account == "" { // of a version before this one
		j, err := s.Get(ctx, id)
		if err != nil {
			return err
		}
		account = j.Account
	}
	return s.ring.enter(ctx, queue, account, id, owed)
}

// short tells whether a lane has fewer tickets left than so many units need. Tickets are good for any unit, so one that is
// missing can't be seen by its own name: it may be in the hands of a worker that serves another unit.
func (s *Service) short(ctx context.Context, queue string, units int) (bool, error) {
	n, err := s.tickets(ctx, queue)
	return n < int64(units), err
}
