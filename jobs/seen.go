package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// fieldSeen of a job's hash holds the end of the job that a person has seen, see lua/seen.lua.
const fieldSeen = "seen"

// Seen notes that a person has seen how a job ended, with warnings or failed: it needs nobody's attention any more, until it
// is retried and ends so again. With an end that isn't zero only that one is meant. It tells whether that is news.
func (s *Service) Seen(ctx context.Context, id string, end time.Time) (j Job, news bool, err error) {
	id, err = s.resolve(ctx, id)
	if err != nil {
		return Job{}, false, err
	}
	n, state, err := s.scripts.verdict(ctx, "seen", id, nil, millis(end))
	switch {
	case err != nil:
		return Job{}, false, err
	case n == 0 && one(state, CompletedW, FailedState):
		return Job{}, false, fmt.Errorf("job %s has ended anew since: %w", id, ErrState)
	case n == 0 && state != "":
		return Job{}, false, fmt.Errorf("job %s is %s: %w", id, state, ErrState)
	}
	j, err = s.Get(ctx, id)
	return j, n == 1, err
}

// Redid tells whether the job has done again, and whole, what an earlier one didn't end well: it began when that had ended,
// between the same paths for the same account, chose the same files and did the same to them, and nothing of it is amiss. Of
// a job that makes room it must be the same goal, whichever files that took.
func (j Job) Redid(old Job) bool {
	if j.State != Completed || j.HoldCalledOff || j.Started == nil || old.Finished == nil || !j.Started.After(*old.Finished) {
		return false
	}
	if old.Order.MaxAge > 0 { // what was young enough then may not be now
		return false
	}
	a, errA := json.Marshal(essence(j.Order))
	b, errB := json.Marshal(essence(old.Order))
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// essence is an order without what changes nothing of what a job has done once it is complete: when, how fast, in which order,
// and the bounds that it hasn't reached.
func essence(o Order) Order {
	o = o.WithDefaults()
	o.Priority, o.MaxTransfer, o.MaxDelete, o.BwLimit, o.Window, o.Transfers, o.Label = "", 0, 0, "", "", 0, ""
	o.Order, o.Hold = "", 0
	if o.Goal != nil {
		o.Plan = ""
	}
	return o
}
