package icloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// native is rclone's own backend, for what writes to iCloud. It is opened when it is first needed. Its session isn't
// safe for parallel use: one call at a time.
type native struct {
	remote string // composed: it finds no other spelling
	mark   string // of its calls (transfer.CallMark): its client is made under no context, so they go under one that has it
	// opener opens a remote. Defaults to fs.NewFs.
	opener func(ctx context.Context, remote string) (fs.Fs, error)

	mu sync.Mutex
	f  fs.Fs

	staleMu sync.Mutex
	stale   bool // folders that it remembers may be gone
}

// outdated says that folders were removed or put back behind its back.
func (n *native) outdated() {
	n.staleMu.Lock()
	defer n.staleMu.Unlock()
	n.stale = true
}

// wasOutdated tells whether outdated was called since it was last asked.
func (n *native) wasOutdated() bool {
	n.staleMu.Lock()
	defer n.staleMu.Unlock()
	was := n.stale
	n.stale = false
	return was
}

// write calls do with the backend. A panic of it is an error. It doesn't renew an expired session: then svc does, the
// backend is opened anew next time, and the error is one to try again after.
func (n *native) write(ctx context.Context, svc service, do func(context.Context, fs.Fs) error) error {
	ctx = transfer.WithCallMark(ctx, n.mark)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	err := n.open(ctx)
	if err == nil {
		if flush := n.f.Features().DirCacheFlush; n.wasOutdated() && flush != nil {
			flush()
		}
		err = guarded(func() error { return do(ctx, n.f) })
	}
	if err == nil || !sessionRefused(err) {
		return err
	}
	n.f = nil
	if l := svc.List(ctx, []string{rootID}); len(l) == 1 && l[0].Err != nil {
		return fmt.Errorf("renew session: %w", l[0].Err)
	}
	return errors.New("the session had ended; it was renewed: write again")
}

// open opens the backend where it isn't open; n.mu is held.
func (n *native) open(ctx context.Context) error {
	if n.f != nil {
		return nil
	}
	open := n.opener
	if open == nil {
		open = fs.NewFs
	}
	return guarded(func() error {
		f, err := open(ctx, n.remote)
		if err != nil && !errors.Is(err, fs.ErrorIsFile) {
			return err
		}
		n.f = f
		return nil
	})
}

// shutdown lets the backend go.
func (n *native) shutdown(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.f
	n.f = nil
	if f == nil || f.Features().Shutdown == nil {
		return nil
	}
	return f.Features().Shutdown(ctx)
}

// guarded turns a panic into an error: rclone's backend meets answers that it doesn't expect with one.
func guarded(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("rclone's iCloud backend failed: %v", r)
		}
	}()
	return do()
}

// sessionRefused tells whether rclone's backend was refused for its session.
func sessionRefused(err error) bool {
	text := strings.ToLower(err.Error())
	for _, s := range []string{"421 misdirected", "error 421", "error 450", "401 unauthorized", "error 401", "invalid session token"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}
