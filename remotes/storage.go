package remotes

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed put.lua
var putSource string

// The keys of the store. The hash tag keeps them in one slot of a Redis Cluster.
const (
	keySections = "offload:{remotes}"         // hash of name to sealed text
	keyVersion  = "offload:{remotes}:version" // counts changes
	keyCheck    = "offload:{remotes}:check"   // a known text, sealed: tells a wrong password
	keyPending  = "offload:{remotes}:pending" // hash of name to sealed Draft
)

// checkText is what keyCheck holds, sealed.
const checkText = "offload remotes"

const (
	// freshFor is how old an answer to "did anything change" may be when a value is read.
	freshFor = 100 * time.Millisecond
	// callTimeout bounds the calls to the store that rclone makes without a context.
	callTimeout = 5 * time.Second
	// awayFor is for how long a store that didn't answer isn't asked for what may have changed.
	awayFor = time.Second
	// maxTries is how often a write is done again because another one was faster.
	maxTries = 100
)

// Options of a Storage.
type Options struct {
	Client redis.UniversalClient
	// Password seals the remotes. Empty is none: then KeyFile is used.
	Password string
	// KeyFile holds a random key in place of a password, for a store that one person uses alone; it is made when it is
	// first needed. Empty is none.
	KeyFile string
	// Log takes warnings. Defaults to nothing.
	Log *slog.Logger
}

// section is one remote as last seen.
type section struct {
	sealed string
	values map[string]string
}

// Storage is the sealed configuration of remotes in the store. It implements rclone's config.Storage; its methods may be
// called from any goroutine.
type Storage struct {
	client  redis.UniversalClient
	keyFile string
	log     *slog.Logger
	put     *redis.Script

	refreshing sync.Mutex // held by the one who asks the store for changes
	writing    sync.Mutex // held by the one who writes, so that the cache gets writes in their order

	mu       sync.Mutex // guards what follows
	key      *key       // nil until one is known
	sections map[string]section
	version  string    // of sections
	checked  time.Time // when version was last compared
	missed   time.Time // when the store last didn't answer a caller without a context
	unsaved  map[string]map[string]string
	base     map[string]map[string]string // what was stored when storing an unsaved value failed
	writes   int                          // by this process, so that a slow reading doesn't undo one in sections
}

// Open reads the sealed remotes. It fails with ErrPassword, ErrNoPassword or ErrKeyFile where there are some that it
// can't open; where there are none, a missing password is found out by the first write.
func Open(ctx context.Context, o Options) (*Storage, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Storage{client: o.Client, keyFile: o.KeyFile, log: o.Log, put: redis.NewScript(putSource),
		sections: map[string]section{}, unsaved: map[string]map[string]string{},
		base: map[string]map[string]string{}}
	var err error
	if o.Password != "" {
		if s.key, err = keyOf(o.Password); err != nil {
			return nil, err
		}
	} else if o.KeyFile != "" {
		if s.key, err = readKeyFile(o.KeyFile); err != nil {
			return nil, err
		}
	}
	if err := s.checkKey(ctx); err != nil {
		return nil, err
	}
	if err := s.refresh(ctx, 0); err != nil {
		return nil, err
	}
	return s, nil
}

// checkKey compares the key with the one that the remotes are sealed with.
func (s *Storage) checkKey(ctx context.Context) error {
	sealed, err := s.client.Get(ctx, keyCheck).Result()
	if errors.Is(err, redis.Nil) {
		return nil // nothing was ever sealed
	}
	if err != nil {
		return fmt.Errorf("read the remotes: %w", err)
	}
	s.mu.Lock()
	k := s.key
	s.mu.Unlock()
	if k == nil && s.keyFile != "" {
		return fmt.Errorf("%w: %s is missing, and no password is set", ErrKeyFile, s.keyFile)
	}
	if k == nil {
		return ErrNoPassword
	}
	_, err = k.open(sealed)
	return err
}

// ready makes sure that there is a key to seal with, and that it is the one that everybody seals with.
func (s *Storage) ready(ctx context.Context) (*key, error) {
	s.mu.Lock()
	k := s.key
	s.mu.Unlock()
	if k == nil && s.keyFile == "" {
		return nil, ErrNoPassword
	}
	if k == nil {
		// Another process may have sealed something since this one opened the store. It made the file before that, so the
		// store is asked first.
		n, err := s.client.Exists(ctx, keyCheck).Result()
		if err != nil {
			return nil, fmt.Errorf("read the remotes: %w", err)
		}
		if k, err = readKeyFile(s.keyFile); err != nil {
			return nil, err
		}
		if k == nil && n > 0 {
			return nil, s.checkKey(ctx)
		}
		if k == nil {
			if k, err = makeKeyFile(s.keyFile); err != nil {
				return nil, err
			}
		}
		s.mu.Lock()
		s.key = k
		s.mu.Unlock()
	}
	sealed, err := k.seal([]byte(checkText))
	if err != nil {
		return nil, err
	}
	if err := s.client.SetNX(ctx, keyCheck, sealed, 0).Err(); err != nil {
		return nil, fmt.Errorf("seal the remotes: %w", err)
	}
	return k, s.checkKey(ctx) // of two that seal first, one is refused here
}

// sealedSection is what is sealed for one remote. Its name is in it so that texts can't be exchanged unnoticed.
type sealedSection struct {
	Name   string            `json:"remote"`
	Values map[string]string `json:"values"`
}

func openSection(k *key, name, sealed string) (map[string]string, error) {
	if k == nil {
		return nil, ErrNoPassword
	}
	text, err := k.open(sealed)
	if err != nil {
		return nil, fmt.Errorf("open remote %s: %w", name, err)
	}
	var sec sealedSection
	if err := json.Unmarshal(text, &sec); err != nil || sec.Name != name {
		return nil, fmt.Errorf("open remote %s: its text in the store is damaged or another remote's", name)
	}
	if sec.Values == nil {
		sec.Values = map[string]string{}
	}
	return sec.Values, nil
}

// refresh reads what changed, where the last comparison is older than age.
func (s *Storage) refresh(ctx context.Context, age time.Duration) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	s.mu.Lock()
	fresh, version := time.Since(s.checked) < age, s.version
	s.mu.Unlock()
	if fresh {
		return nil
	}
	began := time.Now()
	now, err := s.client.Get(ctx, keyVersion).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the remotes: %w", err)
	}
	if now == version {
		s.mu.Lock()
		s.checked = began
		s.mu.Unlock()
		return nil
	}
	return s.readAll(ctx, now, began)
}

// readAll reads all sealed texts and opens those that changed. The version was asked for before: what changes meanwhile
// is found by the next refresh.
func (s *Storage) readAll(ctx context.Context, version string, began time.Time) error {
	s.mu.Lock()
	k, before, writes := s.key, maps.Clone(s.sections), s.writes
	s.mu.Unlock()
	all, err := s.client.HGetAll(ctx, keySections).Result()
	if err != nil {
		return fmt.Errorf("read the remotes: %w", err)
	}
	if k == nil && len(all) > 0 && s.keyFile != "" {
		// Another process has made the key since this one opened the store.
		if k, err = readKeyFile(s.keyFile); err != nil {
			return err
		}
	}
	after := make(map[string]section, len(all))
	for name, sealed := range all {
		if sec, ok := before[name]; ok && sec.sealed == sealed {
			after[name] = sec
			continue
		}
		values, err := openSection(k, name, sealed)
		if err != nil {
			return err
		}
		after[name] = section{sealed, values}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key = k; s.writes == writes { // else what was read may be older than what was written: the next one reads again
		s.sections, s.version, s.checked = after, version, began
	}
	return nil
}

// errUnchanged ends an update that has nothing to write.
var errUnchanged = errors.New("nothing changes")

// update changes one remote. change gets its newest values, nil where it doesn't exist, and returns the ones to store,
// nil to remove it; it may be called several times.
func (s *Storage) update(ctx context.Context, name string, change func(now map[string]string) (map[string]string, error)) error {
	k, err := s.ready(ctx)
	if err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	for range maxTries {
		seen, err := s.client.HGet(ctx, keySections, name).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read remote %s: %w", name, err)
		}
		var now map[string]string
		if seen != "" {
			if now, err = openSection(k, name, seen); err != nil {
				return err
			}
		}
		next, err := change(maps.Clone(now))
		if errors.Is(err, errUnchanged) || err == nil && next != nil && now != nil && maps.Equal(next, now) {
			return nil
		}
		if err != nil {
			return err
		}
		done, err := s.swap(ctx, k, name, seen, next)
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("store remote %s: others change it all the time", name)
}

// swap replaces the sealed text of a remote if it is still the one that was seen.
func (s *Storage) swap(ctx context.Context, k *key, name, seen string, next map[string]string) (bool, error) {
	sealed := ""
	if next != nil {
		text, err := json.Marshal(sealedSection{name, next})
		if err != nil {
			return false, fmt.Errorf("store remote %s: %w", name, err)
		}
		if sealed, err = k.seal(text); err != nil {
			return false, err
		}
	}
	n, err := s.put.Run(ctx, s.client, []string{keySections, keyVersion}, name, seen, sealed).Int()
	if err != nil {
		return false, fmt.Errorf("store remote %s: %w", name, err)
	}
	if n != 1 {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	// The version isn't touched: the next refresh reads it all once more, which is right whoever else wrote.
	if next == nil {
		delete(s.sections, name)
	} else {
		s.sections[name] = section{sealed, next}
	}
	return true, nil
}

// Remotes returns the names of the sealed remotes, sorted.
func (s *Storage) Remotes(ctx context.Context) ([]string, error) {
	if err := s.refresh(ctx, 0); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.sections)), nil
}

// Add stores a new remote. It fails with ErrExists where there is one.
func (s *Storage) Add(ctx context.Context, name string, values map[string]string) error {
	return s.update(ctx, name, func(now map[string]string) (map[string]string, error) {
		if now != nil {
			return nil, fmt.Errorf("%s: %w", name, ErrExists)
		}
		return values, nil
	})
}

// Replace stores a remote, whatever was there.
func (s *Storage) Replace(ctx context.Context, name string, values map[string]string) error {
	return s.update(ctx, name, func(map[string]string) (map[string]string, error) { return values, nil })
}

// Merge changes keys of a remote: an empty value removes its key. It fails with ErrNotFound where there is none.
func (s *Storage) Merge(ctx context.Context, name string, values map[string]string) error {
	return s.update(ctx, name, func(now map[string]string) (map[string]string, error) {
		if now == nil {
			return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		for k, v := range values {
			if now[k] = v; v == "" {
				delete(now, k)
			}
		}
		return now, nil
	})
}

// Remove forgets a remote. It fails with ErrNotFound where there is none.
func (s *Storage) Remove(ctx context.Context, name string) error {
	return s.update(ctx, name, func(now map[string]string) (map[string]string, error) {
		if now == nil {
			return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		return nil, nil
	})
}

// Ready tells whether a remote could be sealed now: ErrNoPassword, ErrKeyFile or ErrPassword say why not. It may make the
// key file.
func (s *Storage) Ready(ctx context.Context) error {
	_, err := s.ready(ctx)
	return err
}

// onTheFly tells whether a section is none of ours to keep: rclone names remotes without a configuration so.
func onTheFly(name string) bool { return strings.HasPrefix(name, ":") }
