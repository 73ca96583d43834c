package remotes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/rclone/rclone/fs/config"
)

// The places of a remote's configuration.
const (
	WhereStore = "store"
	WhereFile  = "rclone.conf"
)

// Composed is the configuration that rclone sees: the sealed remotes of a store, and those of an rclone.conf. A name that
// both have means the sealed one. A change goes to where the remote is; a new remote goes to the store.
type Composed struct {
	file    config.Storage // nil is none
	sealed  atomic.Pointer[Storage]
	touched atomic.Bool // the file's own values were changed and aren't saved
}

var _ config.Storage = (*Composed)(nil)

// Compose returns the remotes of a file, which may be nil. Attach adds those of a store.
func Compose(file config.Storage) *Composed { return &Composed{file: file} }

// Attach makes the sealed remotes of a store visible; nil hides them again.
func (c *Composed) Attach(s *Storage) { c.sealed.Store(s) }

// Sealed returns the storage that is attached, nil for none.
func (c *Composed) Sealed() *Storage { return c.sealed.Load() }

// home returns the storage that holds a section, nil where none does.
func (c *Composed) home(name string) config.Storage {
	if s := c.sealed.Load(); s != nil && s.HasSection(name) {
		return s
	}
	if c.file != nil && c.file.HasSection(name) {
		return c.file
	}
	return nil
}

// Where tells which place a remote is in: WhereStore, WhereFile, or "" for none.
func (c *Composed) Where(name string) string {
	switch c.home(name) {
	case nil:
		return ""
	case c.file:
		return WhereFile
	}
	return WhereStore
}

// Hidden returns the names of remotes of the file that can't be seen since the store has one of that name.
func (c *Composed) Hidden() []string {
	var names []string
	if s := c.sealed.Load(); s != nil && c.file != nil {
		for _, name := range c.file.GetSectionList() {
			if s.HasSection(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Values returns a copy of what is configured for a remote; nil where there is none.
func (c *Composed) Values(name string) map[string]string {
	home := c.home(name)
	if home == nil {
		return nil
	}
	values := map[string]string{}
	for _, k := range home.GetKeyList(name) {
		if v, ok := home.GetValue(name, k); ok {
			values[k] = v
		}
	}
	return values
}

// ErrNoStore says that there is no store to keep a remote in.
var ErrNoStore = errors.New("there is no store to keep remotes in")

// Add stores a new remote in the store.
func (c *Composed) Add(ctx context.Context, name string, values map[string]string) error {
	s := c.sealed.Load()
	if s == nil {
		return ErrNoStore
	}
	if c.home(name) != nil {
		return fmt.Errorf("%s: %w", name, ErrExists)
	}
	return s.Add(ctx, name, values)
}

// Merge changes keys of a remote where it is: an empty value removes its key.
func (c *Composed) Merge(ctx context.Context, name string, values map[string]string) error {
	switch home := c.home(name); home {
	case nil:
		return fmt.Errorf("%s: %w", name, ErrNotFound)
	case c.file:
		for k, v := range values {
			if v == "" {
				home.DeleteKey(name, k)
			} else {
				home.SetValue(name, k, v)
			}
		}
		if err := home.Save(); err != nil {
			return fmt.Errorf("write rclone.conf: %w", err)
		}
		return nil
	}
	return c.sealed.Load().Merge(ctx, name, values)
}

// GetSectionList implements config.Storage.
func (c *Composed) GetSectionList() []string {
	var names []string
	if s := c.sealed.Load(); s != nil {
		names = s.GetSectionList()
	}
	if c.file != nil {
		for _, name := range c.file.GetSectionList() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// HasSection implements config.Storage.
func (c *Composed) HasSection(name string) bool { return c.home(name) != nil }

// DeleteSection implements config.Storage.
func (c *Composed) DeleteSection(name string) {
	if home := c.home(name); home != nil {
		c.touch(home)
		home.DeleteSection(name)
	}
}

// GetKeyList implements config.Storage.
func (c *Composed) GetKeyList(name string) []string {
	if home := c.home(name); home != nil {
		return home.GetKeyList(name)
	}
	return nil
}

// GetValue implements config.Storage.
func (c *Composed) GetValue(name, k string) (string, bool) {
	if home := c.home(name); home != nil {
		return home.GetValue(name, k)
	}
	return "", false
}

// SetValue implements config.Storage.
func (c *Composed) SetValue(name, k, value string) {
	if onTheFly(name) {
		return
	}
	home := c.home(name)
	if s := c.sealed.Load(); home == nil && s != nil {
		home = s
	}
	if home != nil {
		c.touch(home)
		home.SetValue(name, k, value)
	}
}

// DeleteKey implements config.Storage.
func (c *Composed) DeleteKey(name, k string) bool {
	home := c.home(name)
	if home == nil {
		return false
	}
	c.touch(home)
	return home.DeleteKey(name, k)
}

// touch notes that the file has to be written by the next Save. It is written only then: there may be none.
func (c *Composed) touch(home config.Storage) {
	if home == c.file {
		c.touched.Store(true)
	}
}

// Load implements config.Storage. A missing file is an empty one.
func (c *Composed) Load() error {
	if c.file != nil {
		if err := c.file.Load(); err != nil && !errors.Is(err, config.ErrorConfigFileNotFound) {
			return err
		}
	}
	if s := c.sealed.Load(); s != nil {
		return s.Load()
	}
	return nil
}

// Save implements config.Storage.
func (c *Composed) Save() error {
	var errs []error
	if s := c.sealed.Load(); s != nil {
		errs = append(errs, s.Save())
	}
	if c.touched.Swap(false) {
		if err := c.file.Save(); err != nil {
			c.touched.Store(true)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Serialize implements config.Storage: the sealed part is never printed.
func (c *Composed) Serialize() (string, error) {
	if c.file != nil {
		return c.file.Serialize()
	}
	return "", nil
}
