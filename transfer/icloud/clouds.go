package icloud

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rclone/rclone/fs/config/configmap"

	"offload/transfer"
)

// Options are what the accounts of a process share. The zero value works for a process that works alone.
type Options struct {
	Fleet transfer.Fleet   // Defaults to a transfer.LocalFleet.
	Log   *slog.Logger     // Defaults to slog.Default.
	Now   func() time.Time // Defaults to time.Now.
}

// Clouds are the iCloud accounts of a process: one for each remote name, shared by all who open it, so that the pace, the
// session and the lane of deletions are the account's and not one transfer's.
type Clouds struct {
	opt Options

	mu       sync.Mutex
	accounts map[string]*Account

	lanes lanes // what changes an account, one lane each
}

// New returns an empty set of accounts.
func New(o Options) *Clouds {
	if o.Fleet == nil {
		o.Fleet = &transfer.LocalFleet{}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Clouds{opt: o, accounts: map[string]*Account{}}
}

// Close ends the recoveries of sessions that are under way, and waits for them, but not for long. Whoever opened the accounts uses
// them no more: a recovery that was left alone would use the store and rclone's settings when others have them.
func (c *Clouds) Close() {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.accounts))
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), landTime)
	defer cancel()
	for _, a := range all {
		a.land(ctx.Done())
	}
}

// account returns the account of a remote, signed in. An account whose sign-in was refused is kept all the same: it
// remembers the refusal, and doesn't ask again with what was refused.
func (c *Clouds) account(ctx context.Context, name string, m configmap.Mapper) (*Account, error) {
	id, _ := m.Get(keyAppleID)
	c.mu.Lock()
	a := c.accounts[name]
	if a == nil || a.appleID != id { // the remote was made anew for somebody else
		var err error
		if a, err = makeAccount(name, m, c.opt, transfer.CallMark(ctx)); err != nil {
			c.mu.Unlock()
			return nil, err
		}
		c.accounts[name] = a
	}
	c.mu.Unlock()
	if err := a.start(ctx); err != nil {
		return nil, err
	}
	return a, nil
}
