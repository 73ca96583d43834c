package jobs

import (
	"context"
	"fmt"
	"strings"
)

// WorkerHere names the worker of the pool that runs in this container, or on this machine where it is none, and was heard
// of lately; "" where there is none. A worker that is frozen, or that no longer reaches the store, isn't heard of any more
// when its lease of 15 seconds has run out.
func (s *Service) WorkerHere(ctx context.Context) (string, error) {
	names, err := s.liveWorkers(ctx)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if sameHome(name, s.self) {
			return shortName(name), nil
		}
	}
	return "", nil
}

// sameHome tells whether two processes, as processName names them, run on the same host and in the same set of process
// IDs: that of a container, or the machine's own.
func sameHome(a, b string) bool {
	p, q := strings.Split(a, ":"), strings.Split(b, ":")
	return len(p) == 4 && len(q) == 4 && p[0] == q[0] && p[1] == q[1]
}

// Ping asks the store whether it is there. It reads a key: of a cluster, some server may answer while others are gone.
func (s *Service) Ping(ctx context.Context) error {
	if err := s.client.Exists(ctx, keyLeader).Err(); err != nil {
		return fmt.Errorf("ask the store: %w", err)
	}
	return nil
}
