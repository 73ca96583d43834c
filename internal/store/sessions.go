package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Keys of the dashboard's sign-ins.
const (
	keySessions = "offload:sessions:key"   // the secret that signs cookies
	keyEnded    = "offload:sessions:ended" // zset of ended sessions by the second until which they would have held
)

// mostEnded bounds the list of ended sessions: somebody who signs in and out all day must not fill the store. What is
// dropped first is what ends by itself first.
const mostEnded = 10_000

// Sessions keeps what the sign-ins of all dashboards of a store have in common.
type Sessions struct{ client redis.UniversalClient }

// Sessions returns the sign-ins of this store.
func (s *Store) Sessions() Sessions { return Sessions{s.shared} }

// Key returns the secret that signs cookies. The first one to ask makes it.
func (s Sessions) Key(ctx context.Context) ([]byte, error) {
	if err := s.client.SetNX(ctx, keySessions, rand.Text()+rand.Text(), 0).Err(); err != nil {
		return nil, fmt.Errorf("make the key of sessions: %w", err)
	}
	key, err := s.client.Get(ctx, keySessions).Bytes()
	if err != nil {
		return nil, fmt.Errorf("read the key of sessions: %w", err)
	}
	return key, nil
}

// End notes until then that a session was ended.
func (s Sessions) End(ctx context.Context, id string, until time.Time) error {
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, keyEnded, redis.Z{Score: float64(until.Unix() + 1), Member: id})
		p.ZRemRangeByScore(ctx, keyEnded, "-inf", "("+strconv.FormatInt(time.Now().Unix(), 10))
		p.ZRemRangeByRank(ctx, keyEnded, 0, -mostEnded-1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("note that a session was ended: %w", err)
	}
	return nil
}

// Ended returns the sessions that were ended and would still hold.
func (s Sessions) Ended(ctx context.Context) ([]string, error) {
	ids, err := s.client.ZRangeByScore(ctx, keyEnded, &redis.ZRangeBy{Min: strconv.FormatInt(time.Now().Unix(), 10), Max: "+inf"}).Result()
	if err != nil {
		return nil, fmt.Errorf("read the ended sessions: %w", err)
	}
	return ids, nil
}

// Ping asks the store whether it is there.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.shared.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ask the store: %w", err)
	}
	return nil
}
