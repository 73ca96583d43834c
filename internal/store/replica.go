package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// keySync is written before a replica is waited for: what a replica has of it, it has of everything before.
const keySync = "offload:sync"

const (
	replicaTime  = time.Second      // how long a replica is waited for
	replicaPause = 10 * time.Second // how long nobody waits after that was in vain
)

// ErrUnreplicated says that what was written is on the master alone: a failover now would lose it.
var ErrUnreplicated = errors.New("no replica of Redis has confirmed it")

// Replicated waits until a replica has all that was written before, where the store is behind Sentinels: a master that
// fails takes with it what no replica has. It returns ErrUnreplicated where none confirms that within a second, and for a
// while after that without asking. Any other store has nobody to fail over to, and is done at once. In a Cluster nothing
// is waited for.
func (s *Store) Replicated(ctx context.Context) error {
	if s.target == nil || !s.target.sentinel {
		return nil
	}
	s.mu.Lock()
	pause := !s.noReplica.IsZero() && time.Since(s.noReplica) < replicaPause
	s.mu.Unlock()
	if pause {
		return ErrUnreplicated
	}
	// Both on one connection: WAIT is for what its own connection has written.
	p := s.shared.Pipeline()
	p.Set(ctx, keySync, 1, 0)
	wait := redis.NewIntCmd(ctx, "wait", 1, replicaTime.Milliseconds())
	_ = p.Process(ctx, wait) // Exec tells
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("wait for a replica: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait.Val() < 1 {
		s.noReplica = time.Now()
		return ErrUnreplicated
	}
	s.noReplica = time.Time{}
	return nil
}
