package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Workers' clocks may differ by minutes and may be set while they run. So every time that is stored, and every stored time
// that is compared with now, is on the store's clock; what one process measures alone is a duration. The exceptions: the
// time zone of --window is the worker's, --min-age and --max-age go by the scanning worker's clock, and when a remote's
// own daily or monthly limit ends is reckoned by the clock of the worker that met it.

// times are sets of members by a time on the store's clock.
type times struct {
	client           redis.UniversalClient
	at, past, coming *redis.Script
}

func newTimes(client redis.UniversalClient) *times {
	return &times{client: client, at: script("clock/at"), past: script("clock/past"), coming: script("clock/coming")}
}

// set puts a member into a set, d from now. A set may hold several ranges of times, each with a base of its own; 0 is the
// first one.
func (t *times) set(ctx context.Context, key, member string, d time.Duration, base int64) error {
	return t.at.Run(ctx, t.client, []string{key}, d.Milliseconds(), member, base).Err()
}

// setIn is set as one of the calls of a pipeline.
func (t *times) setIn(ctx context.Context, p redis.Pipeliner, key, member string, d time.Duration, base int64) {
	t.at.Eval(ctx, p, []string{key}, d.Milliseconds(), member, base)
}

// passed are at most n members of the base's range whose time has come. No time is ever set more than far from now (0 is
// without bound): one that is was set before the store's clock was put back, and counts as come.
func (t *times) passed(ctx context.Context, key string, n, base int64, far time.Duration) ([]string, error) {
	return t.past.Run(ctx, t.client, []string{key}, n, base, far.Milliseconds(), int64(dueStep)).StringSlice()
}

// ahead are the members whose time hasn't come; those that are past by more than d are dropped.
func (t *times) ahead(ctx context.Context, key string, d time.Duration) ([]string, error) {
	return t.coming.Run(ctx, t.client, []string{key}, d.Milliseconds()).StringSlice()
}

// now is the time on the store's clock, in this process's zone.
func (s *Service) now(ctx context.Context) (time.Time, error) {
	t, err := s.client.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store for the time: %w", err)
	}
	return t.Local(), nil
}
