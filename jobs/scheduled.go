package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// IDFor makes a job's ID of a key and a time: the same of the same. Whoever makes its jobs by such IDs makes each once,
// however often it begins anew.
func IDFor(key string, at time.Time, n int) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(key), uint64(n)))
	id := ulid.ULID(sum[:16])
	// What SetTime refuses is a time after the year 10889.
	_ = id.SetTime(uint64(max(0, at.UnixMilli())))
	return id.String()
}

// EnqueueAs is Enqueue under an ID of the caller's, of IDFor: where there is a job of that ID already, it returns that one
// and changes nothing.
func (s *Service) EnqueueAs(ctx context.Context, id string, o Order) (Job, error) {
	if _, err := ulid.ParseStrict(id); err != nil {
		return Job{}, fmt.Errorf("make job %.40q: %w", id, err)
	}
	if j, err := s.get(ctx, id); err == nil {
		return j, nil
	}
	o, err := s.Check(ctx, o)
	if err != nil {
		return Job{}, err
	}
	j, _, err := s.store(ctx, id, o, "")
	if err != nil {
		return Job{}, err
	}
	// Maintenance may have given up the ID, if it is of an hour ago, a moment before it became a job.
	return j, s.index(ctx, id, o.Account)
}
