package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// A task in a lane is a ticket: whoever takes it does a unit of the job whose turn it is. So a lane needs no more of them
// than its workers take until somebody sends more. What isn't sent is noted in the lane's ring as owed, and sent by the
// workers as the queue grows shorter. A hundred thousand jobs that wait cost no task each that way.
const (
	ticketsPlenty = 1024 // in a lane's queue: no more are sent
	ticketsFew    = 512  // in a lane's queue: more are sent where some are owed
)

// plenty tells whether a queue has as many tickets as it needs for now.
func (s *Service) plenty(ctx context.Context, queue string) (bool, error) {
	if !isLane(queue) {
		return false, nil
	}
	n, err := s.tickets(ctx, queue)
	return n >= ticketsPlenty, err
}

// tickets is how many tasks of a queue nobody has taken yet.
func (s *Service) tickets(ctx context.Context, queue string) (int64, error) {
	n, err := s.client.LLen(ctx, keyPending(queue)).Result()
	if err != nil {
		return 0, fmt.Errorf("count the tasks of %s: %w", queue, err)
	}
	return n, nil
}

// keyPending is asynq's list of a queue's tasks that nobody has taken yet.
func keyPending(queue string) string { return "asynq:{" + queue + "}:pending" }

// refill sends tickets that are owed to a lane when few are left. Should this process die on the way, the units are sent
// again by audits: the tickets that they need are nobody's in particular.
func (s *Service) refill(ctx context.Context, lane string) error {
	owed, err := s.ring.owes(ctx, lane)
	if err != nil || owed <= 0 {
		return err
	}
	left, err := s.tickets(ctx, lane)
	if err != nil || left >= ticketsFew {
		return err
	}
	n, err := s.ring.takeOwed(ctx, lane, ticketsPlenty-left)
	if err != nil {
		return err
	}
	for range n {
		if err := s.ticket(ctx, lane); err != nil {
			return err
		}
	}
	return nil
}

// ticket sends a ticket that is nobody's in particular.
func (s *Service) ticket(ctx context.Context, lane string) error {
	body, err := json.Marshal(payload{Version: payloadVersion})
	if err != nil {
		return fmt.Errorf("make task: %w", err)
	}
	_, err = s.tasks.EnqueueContext(ctx, asynq.NewTask(taskType, body), asynq.Queue(lane), asynq.MaxRetry(math.MaxInt32),
		asynq.Timeout(taskTime))
	if err != nil {
		return fmt.Errorf("send a ticket of %s: %w", lane, err)
	}
	return nil
}

func (r *ring) keyOwed(lane string) string { return "offload:{fair:" + lane + "}:owed" }

// owes tells how many tickets were not sent.
func (r *ring) owes(ctx context.Context, lane string) (int64, error) {
	n, err := r.client.Get(ctx, r.keyOwed(lane)).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("read what is owed to %s: %w", lane, err)
	}
	return n, nil
}

// takeOwed takes over the sending of tickets that are owed, so many at most.
func (r *ring) takeOwed(ctx context.Context, lane string, most int64) (int64, error) {
	n, err := r.owe.Run(ctx, r.client, r.keys(lane), strconv.FormatInt(most, 10)).Int64()
	if err != nil {
		return 0, fmt.Errorf("take what is owed to %s: %w", lane, err)
	}
	return n, nil
}
