package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// TrashKept is how long iCloud keeps what was deleted.
const TrashKept = 30 * 24 * time.Hour

// Unpurged is what a job has deleted that is in the source's trash still, as far as its record tells.
func (j Job) Unpurged() PlanCount {
	if !j.Trash {
		return PlanCount{}
	}
	return PlanCount{Files: j.Files.Deleted - j.Files.Purged, Bytes: j.Bytes.Deleted - j.Bytes.Purged}
}

// TrashCounts tells whether what a job deleted without purging it seems to be counted by the cloud still: its own measurements
// show less than half of it as freed.
func (j Job) TrashCounts() bool {
	s := j.Storage
	return s == nil || s.Before == nil || s.After == nil || s.Before.Used-s.After.Used < j.Bytes.Deleted/2
}

// UnpurgedFor returns the ended jobs that were made for room on a remote and whose deleted files may be in the trash still and
// count, newest first.
func (s *Service) UnpurgedFor(ctx context.Context, remote string) ([]Job, error) {
	var found []Job
	err := s.each(ctx, ListOptions{States: []State{Completed, CompletedW}}, func(j Job) error {
		if j.Goal != nil && j.Goal.Remote == remote && j.Unpurged().Files > 0 && j.TrashCounts() && j.Finished != nil && time.Since(*j.Finished) < TrashKept {
			found = append(found, j)
		}
		return nil
	})
	return found, err
}

// PurgeTrash has an ended job remove for good what it put into the source's trash, and nothing else: by the same rules as if
// its order had said so from the beginning. The job runs again until that is done.
func (s *Service) PurgeTrash(ctx context.Context, id string) (Job, error) {
	j, err := s.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if !one(j.State, Completed, CompletedW) {
		return Job{}, fmt.Errorf("job %s is %s: %w", j.ID, j.State, ErrState)
	}
	if j.Unpurged().Files <= 0 {
		return Job{}, fmt.Errorf("job %s has nothing in a trash: %w", j.ID, ErrState)
	}
	if err := s.checkVersion(ctx, j.ID); err != nil {
		return Job{}, err
	}
	now, err := s.client.HGet(ctx, keysOf(j.ID).job(), "order").Result()
	if err != nil {
		return Job{}, fmt.Errorf("have job %s purge: %w", j.ID, err)
	}
	var o Order
	if err := json.Unmarshal([]byte(now), &o); err != nil {
		return Job{}, fmt.Errorf("have job %s purge: %w", j.ID, err)
	}
	o.PurgeTrash = true
	then, err := json.Marshal(o)
	if err != nil {
		return Job{}, fmt.Errorf("have job %s purge: %w", j.ID, err)
	}
	return s.restart(ctx, j.ID, false, then, now)
}
