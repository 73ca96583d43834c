package transfer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/accounting"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/list"
	"golang.org/x/text/unicode/norm"
)

const (
	listAttempts = 3
	// maxListWait is the longest wait that a remote may ask for before a folder is given up.
	maxListWait = 10 * time.Minute
)

// listContext keeps rclone from sorting large folders on disk: that asks the remote for each file once more.
func (s *scan) listContext(ctx context.Context) context.Context {
	ctx, config := fs.AddConfig(ctx)
	config.ListCutoff = math.MaxInt
	return ctx
}

// stopError says that going on with the scan is useless.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// attempt calls do until it succeeds, fails for good or has failed three times. A remote that doesn't answer at all is waited
// for where the scan is patient. A missing folder or file is no failure to try again. Errors that every further call would meet (a refused sign-in, no calls left) come back
// as *stopError.
func (s *scan) attempt(ctx context.Context, side, op string, do func() error) error {
	p := policy{attempts: listAttempts}.withDefaults()
	for n := 1; ; n++ {
		began := time.Now()
		err := guarded(do)
		switch {
		case err == nil, isNotFound(err):
			return err
		case ctx.Err() != nil:
			return &stopError{context.Cause(ctx)}
		}
		kind := classify(ctx, wrapSide(side, op, err))
		if kind == classSignIn || kind == classFatal || kind == classQuota || fserrors.IsFatalError(err) {
			return &stopError{wrapSide(side, op, err)}
		}
		if s.patient && n == p.attempts && Unreachable(ctx, wrapSide(side, op, err)) {
			silent, werr := s.pair.await(ctx, side, began, 0)
			if werr != nil {
				return &stopError{werr}
			}
			if silent {
				n = 0
				continue
			}
		}
		wait := p.wait(n, err)
		if kind != classRetry || n == p.attempts || wait > maxListWait {
			return err
		}
		if err := p.sleep(ctx, wait); err != nil {
			return &stopError{err}
		}
	}
}

// guarded turns a panic of a backend into an error: some meet answers that they don't expect with one, and that must
// not end the other jobs of this process.
func guarded(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fserrors.NoRetryError(fmt.Errorf("the remote's backend failed: %v", r))
		}
	}()
	return do()
}

// distrusted is an entry of a listing that must not be followed or copied.
type distrusted struct {
	fs.DirEntry
	name string // below its folder, as the remote spells it
	why  string
}

// listDir lists a folder whole, in the order of names, and apart the entries with names that can't be trusted.
func (s *scan) listDir(ctx context.Context, f fs.Fs, side, dir string) (found fs.DirEntries, bad []distrusted, err error) {
	err = s.attempt(ctx, side, fmt.Sprintf("list %s folder %q", side, dir), func() error {
		sc := &screen{Fs: f, dir: dir, features: *f.Features()}
		if sc.features.ListP != nil {
			sc.features.ListP = sc.listP
		}
		found = nil
		err := list.DirSortedFn(ctx, sc, true, dir, func(entries fs.DirEntries) error {
			found = slices.Concat(found, entries) // rclone clears its slice afterwards
			return nil
		}, nil)
		bad = sc.bad
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return found, bad, nil
}

// screen stands between a remote and rclone's listing, which drops entries that lead out of their folder with no more
// than a log line: screen keeps them aside first, so that they are counted and reported.
type screen struct {
	fs.Fs
	features fs.Features
	dir      string
	bad      []distrusted
}

// Features returns those of the remote, with the listing led through the screen.
func (sc *screen) Features() *fs.Features { return &sc.features }

// List lists a folder through the screen.
func (sc *screen) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	entries, err := sc.Fs.List(ctx, dir)
	return sc.take(entries), err
}

func (sc *screen) listP(ctx context.Context, dir string, callback fs.ListRCallback) error {
	return sc.Fs.Features().ListP(ctx, dir, func(entries fs.DirEntries) error { return callback(sc.take(entries)) })
}

// take returns the entries that lie in the folder by their names, in place, and keeps the others.
func (sc *screen) take(entries fs.DirEntries) fs.DirEntries {
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		if e == nil {
			return true
		}
		name, why := sc.judge(e.Remote())
		if why != "" {
			sc.bad = append(sc.bad, distrusted{e, name, why})
		}
		return why != ""
	})
}

// judge returns the name of an entry below the folder and why it can't be trusted, "" where it can.
func (sc *screen) judge(remote string) (name, why string) {
	name, below := remote, true
	if sc.dir != "" {
		name, below = strings.CutPrefix(remote, sc.dir+"/")
	}
	switch {
	case remote == sc.dir:
		return "", unsafeName("")
	case !below:
		return name, "the source lists it in a folder where it doesn't belong"
	}
	if why = unsafeName(name); why == "" && list.RemoteEscapesRoot(remote) {
		why = "the path leads out of the source"
	}
	return name, why
}

// hidden watches for failures that a backend doesn't return: the local one reports a folder that it may not read as
// an empty one, and an entry that it can't look at as none, and only counts an error in rclone's statistics.
type hidden struct {
	group string       // of rclone's statistics, one of this scan and side alone
	seen  atomic.Int64 // errors counted so far
}

func (h *hidden) watch(ctx context.Context) context.Context {
	return accounting.WithStatsGroup(ctx, h.group)
}

// news returns an error where more errors were counted than at the last call. With several listings at once it may
// come up with another one's folder; the error's text names the right one.
func (h *hidden) news(ctx context.Context) error {
	stats := accounting.Stats(ctx)
	now := stats.GetErrors()
	if before := h.seen.Swap(now); now <= before {
		return nil
	}
	if err := stats.GetLastError(); err != nil {
		return err
	}
	return errors.New("not all of the folder could be read")
}

// list lists a folder of one side. What comes back beside *stopError and fs.ErrorDirNotFound is to be recorded.
func (s *scan) list(ctx context.Context, side, dir string) (fs.DirEntries, []distrusted, error) {
	f, h := s.src, &s.srcHidden
	if side == SideDest {
		f, h = s.dst, &s.dstHidden
	}
	ctx = h.watch(ctx)
	found, bad, err := s.listDir(ctx, f, side, dir)
	if err == nil {
		if err := h.news(ctx); err != nil {
			s.fault(dir, side, err)
		}
	}
	return found, bad, err
}

// listSource lists a source folder, by its NFC spelling where the remote can't find the one that it listed; used is
// the spelling that was found.
func (s *scan) listSource(ctx context.Context, dir string) (used string, found fs.DirEntries, bad []distrusted, err error) {
	found, bad, err = s.list(ctx, SideSource, dir)
	if composed := norm.NFC.String(dir); isNotFound(err) && composed != dir {
		found, bad, err = s.list(ctx, SideSource, composed)
		return composed, found, bad, err
	}
	return dir, found, bad, err
}
