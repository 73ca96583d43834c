package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hibiken/asynq"
)

// Times of the queue and of leases.
const (
	leaseTime    = 15 * time.Second // a unit whose worker is silent for so long is given to another
	leaseMargin  = 3 * time.Second  // work stops so long before its lease ends
	beat         = time.Second      // leases are renewed, and live reports written, this often
	storeWait    = 10 * time.Second // how long clean-up waits for the store
	ownerSilence = 10 * time.Second // a foreground process silent for so long has lost its job to the pool
	firstLook    = 5 * time.Second  // maintenance looks at a new job after this, should nobody else have
	resendAfter  = 20 * time.Second // a task that nobody claimed is sent again after this; the queue drops doubles
	taskTime     = 365 * 24 * time.Hour
	feedWindow   = 64 // units of one job that may be in the queue at once
	taskType     = "offload:unit"
)

// payloadVersion is that of the tasks that this program sends. A worker hands a newer one back for others to do.
const payloadVersion = 1

// payload of a task: references only, since asynq writes the payload of every active task again each five seconds.
type payload struct {
	Version int    `json:"v"`
	Job     string `json:"job"`
	Unit    string `json:"unit"`
	Attempt int64  `json:"attempt"`
}

// foregroundQueue is served by the one process that runs the job.
func foregroundQueue(id string) string { return "run-" + id }

// poolQueues are the lanes of the pool with their weights.
func poolQueues() map[string]int {
	return map[string]int{string(High): 6, string(Normal): 3, string(Low): 1}
}

// feed sends tasks for the next units of a job, up to the window.
func (s *Service) feed(ctx context.Context, id string) error {
	queue, tasks, err := s.scripts.feed(ctx, id, feedWindow)
	if err != nil {
		return err
	}
	return s.send(ctx, queue, id, tasks)
}

// send puts tasks into the queue. A task that is there already counts as sent: its ID is made of job, unit and attempt.
func (s *Service) send(ctx context.Context, queue, id string, tasks []task) error {
	for _, t := range tasks {
		body, err := json.Marshal(payload{payloadVersion, id, t.unit, t.attempt})
		if err != nil {
			return fmt.Errorf("make task: %w", err)
		}
		_, err = s.tasks.EnqueueContext(ctx, asynq.NewTask(taskType, body),
			asynq.TaskID(fmt.Sprintf("%s:%s:%d", id, t.unit, t.attempt)), asynq.Queue(queue),
			asynq.MaxRetry(math.MaxInt32), asynq.Timeout(taskTime))
		if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
			return fmt.Errorf("send %s of job %s: %w", t.unit, id, err)
		}
	}
	return nil
}
