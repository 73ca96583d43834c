package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/redis/go-redis/v9"
)

const (
	dialTimeout   = time.Minute           // for another process to load a large journal
	electionPause = 20 * time.Millisecond // between looks at who owns the folder
	localTimeout  = 30 * time.Second      // for a reply; nothing gets lost on the way, so a retry could only run it twice
)

var errClosed = errors.New("the store is closed")

// node is this process's part in an embedded store. Whoever holds the lock file owns the folder, loads it and listens on
// the socket; the others connect. There is no other protocol: a process that can't connect tries for the lock, and the
// kernel gives it to one of them when the owner has ended, however it ended.
type node struct {
	dir    string
	always bool
	log    *slog.Logger
	lock   *flock.Flock
	gate   chan struct{} // held by whoever looks for the owner or is becoming it; guards own and closed
	own    *owner        // nil while another process owns the folder
	closed bool
}

// owner is what this process runs while it owns the folder.
type owner struct {
	e      *engine
	l      *net.UnixListener
	socket string
	wg     sync.WaitGroup
}

func openNode(ctx context.Context, o Options) (*node, error) {
	if o.Dir == "" {
		return nil, errors.New("no folder is named; use --data")
	}
	if o.Fsync != "" && o.Fsync != "everysec" && o.Fsync != "always" {
		return nil, fmt.Errorf("fsync %q is unknown; use everysec or always", o.Fsync)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	n := &node{dir: dir, always: o.Fsync == "always", log: o.Log, gate: make(chan struct{}, 1)}
	n.lock = flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := n.dial(ctx, "", "")
	if err != nil {
		return nil, err
	}
	return n, c.Close()
}

// checkDir makes the folder, and refuses one that this user can't write to or that others can.
func checkDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w; choose another folder with --data", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 && os.PathSeparator == '/' {
		return fmt.Errorf("others may write to it; run chmod 700 %s", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("%w; make the folder writable, or choose another with --data", err)
	}
	return f.Close()
}

// dial returns a connection to the store, whoever owns it; where nobody does, this process becomes the owner first.
func (n *node) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout) // a subscription connects anew without a limit, and under a lock
	defer cancel()
	t := time.NewTicker(electionPause)
	defer t.Stop()
	for {
		select {
		case n.gate <- struct{}{}:
		case <-ctx.Done():
			return nil, n.noAnswer(ctx)
		}
		c, err := n.tryDial(ctx)
		<-n.gate
		if c != nil || err != nil {
			return c, err
		}
		select {
		case <-t.C: // another process has the lock and doesn't listen yet, or not any more
		case <-ctx.Done():
			return nil, n.noAnswer(ctx)
		}
	}
}

func (n *node) noAnswer(ctx context.Context) error {
	pid, _ := os.ReadFile(filepath.Join(n.dir, lockName))
	return fmt.Errorf("the process that owns the store in %s (PID %s) doesn't answer: %w",
		n.dir, clip(strings.TrimSpace(string(pid))), context.Cause(ctx))
}

// tryDial returns neither a connection nor an error where another process is just taking or leaving the folder.
func (n *node) tryDial(ctx context.Context) (net.Conn, error) {
	if n.closed {
		return nil, errClosed
	}
	if n.own == nil {
		if c, err := dialSocket(ctx, filepath.Join(n.dir, socketName)); err == nil {
			return c, nil
		}
		ok, err := n.lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", n.lock.Path(), err)
		}
		if !ok {
			return nil, nil
		}
		if err := n.become(); err != nil {
			return nil, errors.Join(err, n.lock.Unlock())
		}
	}
	return dialSocket(ctx, n.own.socket)
}

// become makes this process the owner. It holds the lock.
func (n *node) become() error {
	// For noAnswer's message alone; the lock is what counts.
	_ = os.WriteFile(n.lock.Path(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	e, err := openEngine(n.dir, n.always, n.log, createFile, defaultTuning())
	if err != nil {
		return err
	}
	o := &owner{e: e, socket: filepath.Join(n.dir, socketName)}
	if o.l, err = listenSocket(o.socket); err != nil {
		return errors.Join(fmt.Errorf("listen on %s: %w", o.socket, err), e.close())
	}
	o.wg.Go(o.accept)
	n.own = o
	return nil
}

func (o *owner) accept() {
	for {
		c, err := o.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely
			o.e.log.Warn("a process could not be connected to the store", "error", err)
			t := time.NewTimer(100 * time.Millisecond)
			select {
			case <-t.C:
			case <-o.e.stop:
			}
			t.Stop()
			continue
		}
		o.e.serve(c)
	}
}

// close ends the ownership in the order that leaves no moment with two owners: no new connections, the engine, the lock.
func (o *owner) close() error {
	err := o.l.Close()
	o.wg.Wait()
	removeQuietly(o.socket)
	return errors.Join(o.e.close(), err)
}

func (n *node) close() error {
	n.gate <- struct{}{}
	defer func() { <-n.gate }()
	if n.closed {
		return nil
	}
	n.closed = true
	if n.own == nil {
		return n.lock.Close()
	}
	return errors.Join(n.own.close(), n.lock.Close())
}

func (n *node) client() redis.UniversalClient {
	return redis.NewClient(&redis.Options{
		Addr: "embedded", Dialer: n.dial, DialTimeout: dialTimeout, DialerRetries: dialerRetries,
		MaxRetries: maxRetries, MinRetryBackoff: minRetryBackoff, MaxRetryBackoff: maxRetryBackoff,
		ReadTimeout: localTimeout, WriteTimeout: localTimeout, ContextTimeoutEnabled: true,
		DisableIdentity: true, PoolSize: poolSize(), MaintNotificationsConfig: noMaintenance(),
	})
}
