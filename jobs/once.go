package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A key of the caller's is kept apart from the job: the two lie in different slots of a cluster. It reserves the job's ID
// before there is a job, so that whoever comes with the same key makes the same job, however often and from wherever, also
// after a crash between the two. Creating a job that exists already changes nothing.

// onceKept is how long a key is remembered.
const onceKept = 24 * time.Hour

// onceMost bounds a key, in characters.
const onceMost = 255

func keyOnce(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "offload:once:" + hex.EncodeToString(sum[:])
}

// onceStored marks a reservation whose job was stored; a job that is missing then was removed.
const onceStored = "stored"

// reserved is what is kept of a key: the ID of its job, what was ordered, and whether the job was stored.
type reserved struct {
	id, digest string
	stored     bool
}

func (r reserved) String() string {
	s := r.id + " " + r.digest
	if r.stored {
		s += " " + onceStored
	}
	return s
}

func parseReserved(text string) reserved {
	p := strings.Fields(text)
	if len(p) < 2 {
		return reserved{}
	}
	return reserved{p[0], p[1], len(p) > 2 && p[2] == onceStored}
}

// EnqueueOnce is Enqueue under a key of the caller's: asked again with the same key within a day it returns the job that the
// first call made, and false. The same key with another order is an *OrderError of the field "idempotency-key", and so is one
// whose job was removed. Of calls at the same time one makes the job.
func (s *Service) EnqueueOnce(ctx context.Context, key string, o Order) (j Job, made bool, err error) {
	if err := checkOnceKey(key); err != nil {
		return Job{}, false, err
	}
	digest, err := digestOf(o)
	if err != nil {
		return Job{}, false, err
	}
	had, err := s.reservation(ctx, key)
	if err != nil {
		return Job{}, false, err
	}
	if had.id == "" {
		// Only an order that can be stored reserves anything: a mistake may be mended under the same key.
		if o, err = s.Check(ctx, o); err != nil {
			return Job{}, false, err
		}
		if had, err = s.reserve(ctx, key, digest); err != nil {
			return Job{}, false, err
		}
	}
	if had.digest != digest {
		return Job{}, false, onceError(errors.New("was used for another order"), "use a new key for each order")
	}
	return s.storeOnce(ctx, key, had, o.WithDefaults())
}

// storeOnce returns the job of a reservation. It stores the job first where nobody has yet.
func (s *Service) storeOnce(ctx context.Context, key string, had reserved, o Order) (j Job, made bool, err error) {
	j, err = s.get(ctx, had.id)
	switch {
	case err == nil && had.stored:
		return j, false, nil
	case errors.Is(err, ErrNotFound) && had.stored:
		return Job{}, false, onceError(fmt.Errorf("made job %s, which was removed", had.id), "use a new key for each order")
	case errors.Is(err, ErrNotFound):
		if j, made, err = s.store(ctx, had.id, o, ""); err == nil {
			// Maintenance may have given an old reservation up a moment before it became a job.
			err = s.index(ctx, had.id, o.Account)
		}
	}
	if err != nil {
		return Job{}, false, err
	}
	had.stored = true
	// Should this be lost, the next call finds the job all the same.
	if err := s.client.SetArgs(ctx, keyOnce(key), had.String(), redis.SetArgs{Mode: "XX", KeepTTL: true}).Err(); err != nil && !errors.Is(err, redis.Nil) {
		s.log.Warn("note that the job of an idempotency key is stored", "job", had.id, "error", err)
	}
	return j, made, nil
}

// reserve keeps an ID for the key, or returns what another call has reserved a moment before.
func (s *Service) reserve(ctx context.Context, key, digest string) (reserved, error) {
	id, err := newID()
	if err != nil {
		return reserved{}, err
	}
	mine := reserved{id: id, digest: digest}
	won, err := s.client.SetNX(ctx, keyOnce(key), mine.String(), onceKept).Result()
	if err != nil {
		return reserved{}, fmt.Errorf("reserve an idempotency key: %w", err)
	}
	if won {
		return mine, nil
	}
	had, err := s.reservation(ctx, key)
	if err == nil && had.id == "" {
		err = errors.New("reserve an idempotency key: it ended at this moment, try again")
	}
	return had, err
}

func (s *Service) reservation(ctx context.Context, key string) (reserved, error) {
	text, err := s.client.Get(ctx, keyOnce(key)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return reserved{}, fmt.Errorf("look for an idempotency key: %w", err)
	}
	return parseReserved(text), nil
}

// digestOf tells orders apart.
func digestOf(o Order) (string, error) {
	raw, err := json.Marshal(o.WithDefaults())
	if err != nil {
		return "", fmt.Errorf("read the order: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16]), nil
}

func checkOnceKey(key string) error {
	ok := key != "" && len(key) <= onceMost
	for i := range len(key) {
		ok = ok && key[i] >= ' ' && key[i] <= '~'
	}
	if ok {
		return nil
	}
	return onceError(errors.New("isn't usable"), fmt.Sprintf("use 1 to %d printable ASCII characters, such as a random number", onceMost))
}

// onceError is about a key, which is the caller's and isn't told again.
func onceError(err error, hint string) error {
	return &OrderError{Field: "idempotency-key", Err: err, Hint: hint}
}
