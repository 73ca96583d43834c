package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"golang.org/x/text/unicode/norm"
)

// CheckError is what Check found wrong with a pair.
type CheckError struct {
	Field string // "source", "destination" or "delete-source"
	Hint  string // what to do about it, one sentence
	Err   error
	Final bool // asking again later won't help
}

// Error implements error; the hint is for the caller to show.
func (e *CheckError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *CheckError) Unwrap() error { return e.Err }

// Check tells whether a job on this pair can start: both remotes answer, their paths don't overlap, the source can
// delete where deletion is asked for, and the destination doesn't report uploads as done before they are. Nothing is
// written. Its error is a *CheckError, or the cause of a done ctx.
func (p *Pair) Check(ctx context.Context) error {
	for _, check := range []func(context.Context) *CheckError{
		p.checkOverlap, p.checkDeletion, p.checkTrash, p.checkAsync, p.checkRemotes,
	} {
		if err := check(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
	return nil
}

// checkRemotes asks both remotes at the same time. What is wrong with the source is told first.
func (p *Pair) checkRemotes(ctx context.Context) *CheckError {
	dest := make(chan *CheckError, 1)
	go func() { dest <- p.checkDest(ctx) }()
	err := p.checkSource(ctx)
	return cmp.Or(err, <-dest)
}

func (p *Pair) checkSource(ctx context.Context) *CheckError {
	err := p.listRoot(ctx, p.Source)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrorDirNotFound) {
		return &CheckError{Final: true, Field: SideSource, Hint: "Check the path: it begins at the top of the remote.",
			Err: fmt.Errorf("%s doesn't exist", remoteName(p.Source))}
	}
	return &CheckError{Field: SideSource, Hint: hintFor(ctx, remoteName(p.Source), err), Err: fmt.Errorf("list %s: %w", remoteName(p.Source), err)}
}

// checkDest takes a folder that doesn't exist yet for good: it is made with the first file.
func (p *Pair) checkDest(ctx context.Context) *CheckError {
	err := p.listRoot(ctx, p.Dest)
	if err == nil || errors.Is(err, fs.ErrorDirNotFound) {
		return nil
	}
	return &CheckError{Field: SideDest, Hint: hintFor(ctx, remoteName(p.Dest), err), Err: fmt.Errorf("list %s: %w", remoteName(p.Dest), err)}
}

// checkTries is how often a root is listed before a job is refused for it: one busy moment of a service must not.
const checkTries = 3

func (p *Pair) listRoot(ctx context.Context, f fs.Fs) (err error) {
	retry := p.engine.retry.withDefaults()
	retry.attempts = min(retry.attempts, checkTries)
	_ = retry.try(ctx, func() error { // the last listing tells
		_, err = f.List(ctx, "")
		if errors.Is(err, fs.ErrorDirNotFound) {
			return nil // it won't appear by asking again
		}
		err = withLimit("", err, time.Now())
		return err
	})
	return err
}

// hintFor says what a person can do about a remote that can't be opened or listed.
func hintFor(ctx context.Context, remote string, err error) string {
	switch c := classify(ctx, sourceErr("list", err)); c {
	case classSignIn, classForbidden:
		return "Sign in again with: offload remotes reconnect " + nameIn(remote)
	case classFinal:
		return "Check the path and its permissions."
	case classQuota:
		var own *LimitError
		if errors.As(err, &own) {
			return "Wait until the limit begins anew: it is the cloud's own."
		}
		return "Wait until the limit begins anew, or raise it with: offload quota set --remote " + nameIn(remote)
	}
	return "Check the connection and the remote's settings with: offload remotes check " + remote
}

// nameIn is the name in "name:path", without the mark for parameters.
func nameIn(remote string) string {
	if end := strings.IndexAny(remote, ":{,"); end > 0 {
		return remote[:end]
	}
	return remote
}

func (p *Pair) checkDeletion(context.Context) *CheckError {
	if why := traitsOf(p.Source).readOnly; p.Opt.Deletes() && why != "" {
		return &CheckError{Final: true, Field: "delete-source", Hint: "Use --delete-source never to copy only.",
			Err: fmt.Errorf("%s can't delete: %s", remoteName(p.Source), why)}
	}
	return nil
}

// checkTrash refuses to promise what can't be done.
func (p *Pair) checkTrash(context.Context) *CheckError {
	if _, ok := p.Source.(Trash); p.Opt.PurgeTrash && !ok {
		return &CheckError{Field: "purge-trash", Final: true, Hint: "Leave --purge-trash out, and empty the trash by hand where the source has one.",
			Err: fmt.Errorf("%s has no trash that offload can empty", remoteName(p.Source))}
	}
	return nil
}

// checkAsync refuses a destination whose uploads are answered before they are stored: nothing could be proved there.
func (p *Pair) checkAsync(context.Context) *CheckError {
	for _, layer := range layersOf(p.Dest) {
		_, _, _, config, err := fs.ConfigFs(fs.ConfigStringFull(layer))
		if err != nil {
			continue // a remote without configuration has no such option
		}
		if v, ok := config.Get("batch_mode"); ok && strings.EqualFold(v, "async") {
			return &CheckError{Final: true, Field: SideDest, Hint: "Set batch_mode = sync for this remote.",
				Err: fmt.Errorf("%s has batch_mode=async, which reports uploads as done before they are", remoteName(p.Dest))}
		}
	}
	return nil
}

func (p *Pair) checkOverlap(context.Context) *CheckError {
	for _, a := range layersOf(p.Source) {
		for _, b := range layersOf(p.Dest) {
			if overlap(a, b) {
				return &CheckError{Final: true, Field: SideDest, Hint: "Choose two folders of which neither lies in the other.",
					Err: fmt.Errorf("%s and %s overlap", remoteName(p.Source), remoteName(p.Dest))}
			}
		}
	}
	return nil
}

// overlap tells whether one root is the other or lies in it. A remote that is named with other parameters counts as the
// same remote: to take two accounts for one is a nuisance, to take one for two can cost files.
func overlap(a, b fs.Fs) bool {
	ra, rb := rootOf(a), rootOf(b)
	if a.Features().IsLocal && b.Features().IsLocal {
		ra, rb = realPath(a.Root()), realPath(b.Root())
	} else if plainName(a) != plainName(b) {
		return false
	}
	if a.Features().CaseInsensitive || b.Features().CaseInsensitive {
		ra, rb = foldName(ra), foldName(rb)
	}
	return within(ra, rb) || within(rb, ra)
}

// plainName is a remote's name without the mark for parameters, but for remotes that are nothing but parameters.
func plainName(f fs.Info) string {
	name, _, cut := strings.Cut(f.Name(), "{")
	if cut && strings.HasPrefix(name, ":") {
		return f.Name()
	}
	return name
}

func rootOf(f fs.Fs) string { return strings.Trim(norm.NFC.String(f.Root()), "/") }

// within tells whether path a is root b or lies below it; "" is the root of all.
func within(a, b string) bool {
	return b == "" || a == b || strings.HasPrefix(a, b+"/")
}

// realPath resolves the links of as much of a path as exists.
func realPath(p string) string {
	abs, err := filepath.Abs(p)
	if err != nil {
		abs = p
	}
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			abs = filepath.Join(real, rest)
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
	abs = filepath.ToSlash(abs)
	if runtime.GOOS == "windows" {
		abs = strings.ToLower(abs)
	}
	return strings.Trim(norm.NFC.String(abs), "/")
}
