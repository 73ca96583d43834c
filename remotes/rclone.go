package remotes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rclone/rclone/fs/config"
)

var _ config.Storage = (*Storage)(nil)

// now brings the cache up to date for a caller without a context. Where the store doesn't answer, what was last read
// stands, and isn't asked for again for a moment: who lists the remotes would wait for each of them.
func (s *Storage) now() {
	s.mu.Lock()
	away := time.Since(s.missed) < awayFor
	s.mu.Unlock()
	if away {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := s.refresh(ctx, freshFor); err != nil {
		s.mu.Lock()
		s.missed = time.Now()
		s.mu.Unlock()
		s.log.Warn("look for changed remotes; the ones last read are used", "error", err)
	}
}

// GetSectionList implements config.Storage.
func (s *Storage) GetSectionList() []string {
	s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.sections))
}

// HasSection implements config.Storage.
func (s *Storage) HasSection(name string) bool {
	s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.sections[name]
	return ok
}

// GetKeyList implements config.Storage.
func (s *Storage) GetKeyList(name string) []string {
	s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.sections[name].values))
}

// GetValue implements config.Storage. A value that couldn't be stored yet is this process' own truth already.
func (s *Storage) GetValue(name, k string) (string, bool) {
	s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.unsaved[name][k]; ok && !s.superseded(name, k, s.sections[name].values) {
		return v, true
	}
	v, ok := s.sections[name].values[k]
	return v, ok
}

// SetValue implements config.Storage: it stores the value at once. What fails is tried again by Save, which can say so.
// A section begins with its type; a value for one that was removed meanwhile, as by a token's refresh, is dropped.
func (s *Storage) SetValue(name, k, value string) {
	if onTheFly(name) {
		return
	}
	s.mu.Lock()
	if s.unsaved[name] == nil {
		s.unsaved[name] = map[string]string{}
	}
	s.unsaved[name][k] = value
	s.mu.Unlock()
	if err := s.flush(name); err != nil {
		s.failed(name, k)
		s.log.Warn("store a value of a remote; it is tried again", "remote", name, "key", k, "error", err)
	}
}

// failed notes what was stored for a value that couldn't be: where that changes, somebody else knows better.
func (s *Storage) failed(name, k string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base[name] == nil {
		s.base[name] = map[string]string{}
	}
	s.base[name][k] = s.sections[name].values[k]
}

// superseded tells whether somebody else has stored a value since one of ours couldn't be; s.mu is held.
func (s *Storage) superseded(name, k string, now map[string]string) bool {
	was, failed := s.base[name][k]
	return failed && now[k] != was
}

// flush stores the unsaved values of one remote.
func (s *Storage) flush(name string) error {
	s.mu.Lock()
	values := maps.Clone(s.unsaved[name])
	s.mu.Unlock()
	if len(values) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := s.update(ctx, name, func(now map[string]string) (map[string]string, error) {
		if now == nil && values["type"] == "" {
			s.log.Warn("a remote was removed; what was to be stored for it is dropped", "remote", name)
			return nil, errUnchanged
		}
		if now == nil {
			now = map[string]string{}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for k, v := range values {
			if !s.superseded(name, k, now) {
				now[k] = v
			}
		}
		return now, nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range values {
		if s.unsaved[name][k] == v { // not set anew meanwhile
			delete(s.unsaved[name], k)
			delete(s.base[name], k)
		}
	}
	if len(s.unsaved[name]) == 0 {
		delete(s.unsaved, name)
	}
	return nil
}

// DeleteKey implements config.Storage.
func (s *Storage) DeleteKey(name, k string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	s.mu.Lock()
	delete(s.unsaved[name], k)
	delete(s.base[name], k)
	s.mu.Unlock()
	found := false
	err := s.update(ctx, name, func(now map[string]string) (map[string]string, error) {
		if _, found = now[k]; !found {
			return nil, errUnchanged
		}
		delete(now, k)
		return now, nil
	})
	if err != nil {
		s.log.Warn("remove a value of a remote", "remote", name, "key", k, "error", err)
	}
	return found && err == nil
}

// DeleteSection implements config.Storage.
func (s *Storage) DeleteSection(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	s.mu.Lock()
	delete(s.unsaved, name)
	delete(s.base, name)
	s.mu.Unlock()
	if err := s.Remove(ctx, name); err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Warn("remove a remote", "remote", name, "error", err)
	}
}

// Load implements config.Storage.
func (s *Storage) Load() error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return s.refresh(ctx, 0)
}

// Save implements config.Storage: it stores what couldn't be stored before.
func (s *Storage) Save() error {
	s.mu.Lock()
	names := slices.Collect(maps.Keys(s.unsaved))
	s.mu.Unlock()
	var errs []error
	for _, name := range names {
		errs = append(errs, s.flush(name))
	}
	return errors.Join(errs...)
}

// Serialize implements config.Storage. rclone asks for it to print its configuration: this one is never printed.
func (s *Storage) Serialize() (string, error) {
	names := map[string]map[string]string{}
	for _, name := range s.GetSectionList() {
		kind, _ := s.GetValue(name, "type")
		names[name] = map[string]string{"type": kind}
	}
	text, err := json.Marshal(names)
	if err != nil {
		return "", fmt.Errorf("list the remotes: %w", err)
	}
	return string(text), nil
}
