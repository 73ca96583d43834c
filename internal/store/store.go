package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options say which Redis to open.
type Options struct {
	// URL of a Redis: redis://, rediss:// or unix:// as go-redis reads them,
	// redis-sentinel://host1,host2/db?master=name, or redis-cluster://host1,host2. Empty is the embedded store.
	URL string
	// Dir is the folder of the embedded store. It is created with mode 0700 where it is missing.
	Dir string
	// Fsync of the embedded store: "everysec" syncs its journal once a second, "always" before each reply.
	// Defaults to "everysec".
	Fsync string
	// Log takes warnings. Defaults to slog.Default().
	Log *slog.Logger
}

// Store is an open Redis. Its methods may be called from any goroutine.
type Store struct {
	shared redis.UniversalClient
	fresh  func() redis.UniversalClient
	target *target // nil where embedded
	node   *node   // nil where not embedded
	close  func() error

	mu        sync.Mutex
	noReplica time.Time // when a replica was last waited for in vain

	abandon context.CancelFunc // see Abandon
}

// Open connects to the Redis that the options name and makes sure that it answers. For the embedded store it loads the
// folder, or connects to the process that owns it; it fails where the folder can't be used or the journal is damaged, and
// says how to mend it.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{}
	bind, abandon := newBinder()
	s.abandon = abandon
	if o.URL != "" {
		t, err := openURL(ctx, o.URL)
		if err != nil {
			abandon()
			return nil, err
		}
		s.target = t
		s.fresh = func() redis.UniversalClient { return mortal(t.open(maxRetries), bind) }
	} else {
		n, err := openNode(ctx, o)
		if err != nil {
			abandon()
			return nil, fmt.Errorf("open the embedded store in %s: %w", o.Dir, err)
		}
		s.node = n
		s.fresh = func() redis.UniversalClient { return mortal(n.client(), bind) }
	}
	s.shared = s.fresh()
	s.close = sync.OnceValue(s.closeOnce)
	return s, nil
}

// Client returns the client that all callers share. Close closes it.
func (s *Store) Client() redis.UniversalClient { return s.shared }

// MakeRedisClient returns a new client at each call, which the caller closes. It makes a Store an asynq.RedisConnOpt.
func (s *Store) MakeRedisClient() any { return steady{s.fresh()} }

// Embedded tells whether this is the embedded store.
func (s *Store) Embedded() bool { return s.node != nil }

// Close frees the connections. Where this process owns the embedded store, it syncs the journal and hands the folder to
// whichever other process uses it. Clients from MakeRedisClient should be closed before.
func (s *Store) Close() error { return s.close() }

func (s *Store) closeOnce() error {
	err := s.shared.Close()
	s.abandon()
	if s.node != nil {
		err = errors.Join(err, s.node.close())
	}
	if err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

// Check looks for settings of a real Redis that would lose jobs: an error where keys may be evicted, a warning where
// nothing is persisted or where the server doesn't tell. The embedded store has nothing to check.
func (s *Store) Check(ctx context.Context) ([]string, error) {
	if s.node != nil {
		return nil, nil
	}
	return s.checkServer(ctx)
}
