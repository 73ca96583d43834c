package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Times of the queue and of leases.
const (
	leaseTime    = 15 * time.Second       // a unit whose worker is silent for so long is given to another
	leaseMargin  = 3 * time.Second        // work stops so long before its lease ends
	beat         = time.Second            // leases are renewed, and live reports written, this often
	quietAfter   = 3 * beat               // a store that wasn't heard of for so long is silent: nothing begins
	quietPoll    = beat / 10              // between two looks whether it is heard of again
	recordPause  = 200 * time.Millisecond // between two attempts to record outcomes
	storeWait    = 10 * time.Second       // how long clean-up waits for the store
	ownerSilence = 10 * time.Second       // a foreground process silent for so long has lost its job to the pool
	firstLook    = 5 * time.Second        // maintenance looks at a new job after this, should nobody else have
	resendAfter  = 20 * time.Second       // a task that nobody claimed is sent again after this; the queue drops doubles
	taskTime     = 365 * 24 * time.Hour
	feedWindow   = 64 // units of one job that may be in the queue at once
	taskType     = "offload:unit"
)

// payloadVersion is that of the tasks that this program sends. A worker hands a newer one back for others to do.
const payloadVersion = 1

// payload of a task: references only, since asynq writes the payload of every active task again each five seconds.
type payload struct {
	Version int    `json:"v"`
	Job     string `json:"job"` // "" for a ticket that is nobody's in particular
	Unit    string `json:"unit"`
	Attempt int64  `json:"attempt"`
}

// foregroundQueue is served by the one process that runs the job.
func foregroundQueue(id string) string { return "run-" + id }

// feed sends tasks for the next units of a job, up to the window.
func (s *Service) feed(ctx context.Context, id string) error {
	queue, account, tasks, err := s.scripts.feed(ctx, id, feedWindow)
	if err != nil || len(tasks) == 0 {
		return err
	}
	plenty, err := s.plenty(ctx, queue)
	if err != nil {
		return err
	}
	if plenty {
		return s.enter(ctx, queue, account, id, len(tasks))
	}
	if err := s.enter(ctx, queue, account, id, 0); err != nil {
		return err
	}
	for _, t := range tasks {
		if _, err := s.put(ctx, queue, id, t, ""); err != nil {
			return err
		}
	}
	return nil
}

// send puts tasks into the queue for units that were sent before or that were taken back from a worker. In the pool a task
// of the same name may be in the hands of a worker that does another unit with it, or that is gone; where fewer are left to
// take than there are units, more are sent.
func (s *Service) send(ctx context.Context, queue, id string, tasks []task) error {
	if len(tasks) == 0 {
		return nil
	}
	account, err := s.client.HGet(ctx, keysOf(id).job(), "account").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read job %s: %w", id, err)
	}
	if err := s.enter(ctx, queue, account, id, 0); err != nil {
		return err
	}
	if plenty, err := s.plenty(ctx, queue); err != nil || plenty {
		return err // what is in the queue is good for these units too, or was when they were sent first
	}
	for _, t := range tasks {
		sent, err := s.put(ctx, queue, id, t, "")
		if err != nil {
			return err
		}
		if sent || !isLane(queue) {
			continue
		}
		short, err := s.short(ctx, queue, len(tasks))
		if err != nil {
			return err
		}
		if short {
			if _, err := s.put(ctx, queue, id, t, ":"+strconv.FormatInt(time.Now().UnixMilli(), 10)); err != nil {
				return err
			}
		}
	}
	return nil
}

// put puts a task into the queue, unless one of its name is there already. The name is made of job, unit and attempt, so
// that sending a task twice does nothing.
func (s *Service) put(ctx context.Context, queue, id string, t task, more string) (bool, error) {
	body, err := json.Marshal(payload{payloadVersion, id, t.unit, t.attempt})
	if err != nil {
		return false, fmt.Errorf("make task: %w", err)
	}
	_, err = s.tasks.EnqueueContext(ctx, asynq.NewTask(taskType, body),
		asynq.TaskID(fmt.Sprintf("%s:%s:%d%s", id, t.unit, t.attempt, more)), asynq.Queue(queue),
		asynq.MaxRetry(math.MaxInt32), asynq.Timeout(taskTime))
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("send %s of job %s: %w", t.unit, id, err)
	}
	return true, nil
}
