package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"offload/transfer"
)

// JobStorage is the room of the account behind a job's source as it was measured around the job; what couldn't be
// measured is nil.
type JobStorage struct {
	Before     *transfer.Storage `json:"before,omitempty"`      // before the job deleted anything
	AfterTrash *transfer.Storage `json:"after_trash,omitempty"` // after its deletions, before the purge of the trash
	After      *transfer.Storage `json:"after,omitempty"`       // at the end; without a purge the same as AfterTrash
}

// The fields of a job's hash that hold the measurements.
const (
	fieldBefore     = "storage_before"
	fieldAfterTrash = "storage_after_trash"
	fieldAfter      = "storage_after"
	fieldTrash      = "trash"    // "1" where the source keeps what is deleted in a trash
	fieldRefusals   = "refusals" // refused sign-ins in a row
)

// measureTime is how long a measurement may delay a job.
const measureTime = 15 * time.Second

// storageOf reads the measurements of a job; nil where there are none.
func storageOf(f map[string]string) (*JobStorage, error) {
	var s JobStorage
	for name, to := range map[string]**transfer.Storage{fieldBefore: &s.Before, fieldAfterTrash: &s.AfterTrash, fieldAfter: &s.After} {
		if f[name] == "" {
			continue
		}
		if err := json.Unmarshal([]byte(f[name]), to); err != nil {
			return nil, fmt.Errorf("read storage: %w", err)
		}
	}
	if s == (JobStorage{}) {
		return nil, nil
	}
	return &s, nil
}

// measure asks for the room of the source's account and notes it in the given fields that are still empty. It is no
// reason for a job to fail: what goes wrong is logged. Only that no API calls are left comes back, since that is waited
// for. It returns after measureTime at the latest, whatever the source does.
func (w *worker) measure(ctx context.Context, u *unit, p *transfer.Pair, fields ...string) error {
	have, err := w.s.client.HMGet(ctx, keysOf(u.job).job(), fields...).Result()
	if err == nil && !holdsNil(have) {
		return nil
	}
	s, ok, err := w.storage(ctx, p)
	switch {
	case errors.Is(err, transfer.ErrNoQuota):
		return err
	case err != nil:
		w.log.Warn("measure the storage", "job", u.job, "error", err)
	case ok:
		w.note(ctx, u, s, fields...)
	}
	return nil
}

// holdsNil tells whether a field is missing.
func holdsNil(values []any) bool {
	for _, v := range values {
		if v == nil {
			return true
		}
	}
	return false
}

func (w *worker) storage(ctx context.Context, p *transfer.Pair) (transfer.Storage, bool, error) {
	type answer struct {
		s   transfer.Storage
		ok  bool
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	come := make(chan answer, 1)
	go func() { // a source that doesn't heed its context must not keep the job
		s, ok, err := p.Storage(ctx)
		come <- answer{s, ok, err}
	}()
	var a answer
	select {
	case a = <-come:
	case <-ctx.Done():
		a.err = context.Cause(ctx)
	}
	return a.s, a.ok, a.err
}

// note stores a measurement; the first one stands.
func (w *worker) note(ctx context.Context, u *unit, s transfer.Storage, fields ...string) {
	raw, err := json.Marshal(s)
	if err != nil {
		w.log.Warn("note the storage", "job", u.job, "error", err)
		return
	}
	for _, field := range fields {
		if err := w.s.client.HSetNX(ctx, keysOf(u.job).job(), field, raw).Err(); err != nil {
			w.log.Warn("note the storage", "job", u.job, "error", err)
		}
	}
}
