package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
)

// SignInRefused names the side (SideSource or SideDest) whose sign-in an error of Open, Check or Scan says is refused;
// "" for any other error.
func SignInRefused(ctx context.Context, err error) string {
	if err == nil || classify(ctx, err) != classSignIn {
		return ""
	}
	var c *CheckError
	var s ScanError
	switch {
	case errors.As(err, &c):
		return c.Field
	case errors.As(err, &s):
		return s.Side
	case sideOf(err) != "":
		return sideOf(err)
	}
	return SideSource
}

// NotFound tells whether an error of Open, Check or Scan says that the source's folder doesn't exist.
func NotFound(err error) bool { return errors.Is(err, fs.ErrorDirNotFound) }

// openError is what Open returns for a remote that can't be opened: a *CheckError that names it and says what to do.
func openError(ctx context.Context, side, remote string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = withLimit(side, err, time.Now())
	e := &CheckError{Field: side, Hint: hintFor(ctx, bare(remote), err), Err: fmt.Errorf("open %s: %w", bare(remote), err)}
	text := causeText(err)
	switch {
	case errors.Is(err, fs.ErrorNotFoundInConfigFile), strings.Contains(text, "didn't find section in config file"),
		strings.Contains(text, "didn't find backend called"):
		e.Final, e.Hint = true, "List the remotes that are configured with: offload remotes list"
	case isFinal(err), errors.Is(err, fs.ErrorIsFile):
		e.Final = true
	}
	return e
}

// bare is a remote without the parameters of a connection string, which may be secrets.
func bare(remote string) string {
	name, rest, ok := strings.Cut(remote, ",")
	if !ok || strings.ContainsAny(name, ":/") && !strings.HasPrefix(name, ":") {
		return remote
	}
	if i := strings.LastIndex(rest, ":"); i >= 0 {
		return name + rest[i:]
	}
	return name + ":"
}
