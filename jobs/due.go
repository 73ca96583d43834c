package jobs

import (
	"context"
	"fmt"
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

// base is where the scores of a class begin.
func (c dueClass) base() int64 { return int64(c) * dueStep }

// due returns the jobs that must be looked at now, the most urgent first.
func (s *Service) due(ctx context.Context) ([]string, error) {
	var all []string
	most := dueAtOnce()
	for _, c := range []dueClass{dueRunning, dueWaiting, dueQueued} {
		ids, err := s.times.passed(ctx, keyDue, most[c], c.base(), lookFarthest)
		if err != nil {
			return nil, fmt.Errorf("list jobs that are due: %w", err)
		}
		all = append(all, ids...)
	}
	return all, nil
}
