package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// dueClass is how urgent it is to look at a job. Each class has its own part of the scores of keyDue, so that ever so many
// jobs that wait don't keep maintenance from those whose worker may have died.
type dueClass int

// The classes. Earlier versions know the first alone.
const (
	dueRunning dueClass = iota
	dueWaiting
	dueQueued
)

// dueStep is between the scores of two classes: more than any time in ms.
const dueStep = 1e15

// dueAtOnce is how many jobs of each class are looked at in one round of maintenance. What isn't comes in the next one.
func dueAtOnce() map[dueClass]int64 {
	return map[dueClass]int64{dueRunning: 200, dueWaiting: 200, dueQueued: 50}
}

func dueScore(c dueClass, at time.Time) float64 { return float64(c)*dueStep + float64(at.UnixMilli()) }

// due returns the jobs that must be looked at now, the most urgent first.
func (s *Service) due(ctx context.Context) ([]string, error) {
	var all []string
	most := dueAtOnce()
	for _, c := range []dueClass{dueRunning, dueWaiting, dueQueued} {
		ids, err := s.client.ZRangeByScore(ctx, keyDue, &redis.ZRangeBy{Min: score(float64(c) * dueStep),
			Max: score(dueScore(c, time.Now())), Count: most[c]}).Result()
		if err != nil {
			return nil, fmt.Errorf("list jobs that are due: %w", err)
		}
		all = append(all, ids...)
	}
	return all, nil
}
