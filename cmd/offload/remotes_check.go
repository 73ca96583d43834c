package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fspath"
	"github.com/urfave/cli/v2"

	"offload/transfer"
)

// remoteCheck is what `remotes check` found out. Bytes are nil where the remote doesn't tell.
type remoteCheck struct {
	Remote          string           `json:"remote"`
	Type            string           `json:"type"`
	Where           string           `json:"where"`
	Answers         bool             `json:"answers"`
	Milliseconds    int64            `json:"milliseconds"` // to open it and list its root
	Entries         int              `json:"entries"`      // in its root
	Hashes          []string         `json:"hashes"`
	KeepsModTime    bool             `json:"keeps_mtime"`
	CaseInsensitive bool             `json:"case_insensitive"`
	Deletes         string           `json:"deletes"` // conditionally, or after_a_look
	Trash           bool             `json:"trash"`   // it can be listed, purged and put back from here
	Total           *int64           `json:"total"`
	Used            *int64           `json:"used"`
	Free            *int64           `json:"free"`
	Trashed         *int64           `json:"trashed"`
	ByKind          map[string]int64 `json:"by_kind,omitempty"` // photos, backup, docs, mail
	trustInfo
}

// checkTimeout bounds one check: some remotes wait minutes for a person's approval.
const checkTimeout = time.Minute

func (a *app) runRemotesCheck(c *cli.Context) error {
	name := c.Args().First()
	if !strings.ContainsAny(name, ":/") {
		name += ":"
	}
	r, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer r.close()
	opener := transfer.Opener{Backends: ownBackends(&transfer.LocalFleet{}, r.log)}
	if r.p != nil {
		opener = r.p.opener()
	}
	if name, err = remotePath("remote", name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, checkTimeout)
	defer cancel()
	found := remoteCheck{Remote: name, Hashes: []string{}, Where: r.conf.Where(remoteName(name)), trustInfo: trustOf(r.conf.Values(remoteName(name)))}
	if err := found.ask(ctx, opener); err != nil {
		if transfer.SignInRefused(ctx, err) != "" {
			return failure("`offload remotes reconnect "+remoteName(name)+"` signs in again", fmt.Errorf("%s: the sign-in is refused", remoteName(name)))
		}
		if errors.Is(err, fs.ErrorDirNotFound) {
			return failure("check the path; a destination needn't be there: the first file makes it", fmt.Errorf("there is no folder %s", printable(name)))
		}
		return failure("check the connection; `offload remotes reconnect "+remoteName(name)+"` signs in again", err)
	}
	if c.Bool("json") {
		return writeJSON(a.out, found)
	}
	found.write(a.out)
	return nil
}

func remoteName(path string) string {
	parsed, err := fspath.Parse(path)
	if err != nil {
		return path
	}
	return parsed.Name
}

// ask opens the remote, lists its root and asks for its room.
func (r *remoteCheck) ask(ctx context.Context, opener transfer.Opener) error {
	began := time.Now()
	f, err := opener.Remote(ctx, r.Remote)
	if f != nil {
		if shutdown := f.Features().Shutdown; shutdown != nil {
			// Nothing was written, so nothing can be lost by a shutdown that fails.
			defer func() { _ = shutdown(context.WithoutCancel(ctx)) }()
		}
	}
	if err != nil {
		return fmt.Errorf("open remote %s: %w", r.Remote, err)
	}
	entries, err := f.List(ctx, "")
	if err != nil {
		return fmt.Errorf("list remote %s: %w", strings.TrimSuffix(r.Remote, ":"), err)
	}
	r.Answers, r.Entries, r.Milliseconds = true, len(entries), time.Since(began).Milliseconds()
	if info, _, _, _, err := fs.ConfigFs(r.Remote); err == nil {
		r.Type = info.Name
	}
	for _, h := range f.Hashes().Array() {
		r.Hashes = append(r.Hashes, h.String())
	}
	r.KeepsModTime = f.Precision() != fs.ModTimeNotSupported
	r.CaseInsensitive = f.Features().CaseInsensitive
	r.Deletes = "after_a_look"
	if _, ok := f.(transfer.Deleter); ok {
		r.Deletes = "conditionally"
	}
	_, r.Trash = f.(transfer.Trash)
	r.askRoom(ctx, f)
	return nil
}

// askRoom asks for the room. Not knowing it is no failure of the check.
func (r *remoteCheck) askRoom(ctx context.Context, f fs.Fs) {
	if teller, ok := f.(transfer.StorageTeller); ok {
		if room, err := teller.Storage(ctx); err == nil {
			free := max(0, room.Total-room.Used)
			r.Total, r.Used, r.Free, r.ByKind = &room.Total, &room.Used, &free, room.ByKind
			return
		}
	}
	if about := f.Features().About; about != nil {
		if usage, err := about(ctx); err == nil {
			r.Total, r.Used, r.Free, r.Trashed = usage.Total, usage.Used, usage.Free, usage.Trashed
		}
	}
}

func (r *remoteCheck) write(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%s (%s) answers: %s there, %d ms\n", printable(r.Remote), r.Type, count(int64(r.Entries), "entry"), r.Milliseconds)
	if words := r.words(printable(remoteName(r.Remote))); words != "" {
		line("sign-in", "%s", words)
	}
	r.writeRoom(line)
	if len(r.Hashes) > 0 {
		line("proof", "grade A as a destination: it keeps content hashes (%s)", strings.Join(r.Hashes, ", "))
	} else {
		line("proof", "grade B as a destination: it keeps no content hash, so files are read back before a deletion")
	}
	if r.Deletes == "conditionally" {
		line("deletes", "only the very version that was proved")
	} else {
		line("deletes", "after one more look at the file, where the remote allows it")
	}
	if r.Trash {
		line("trash", "what is deleted lies there until it is purged, and counts meanwhile as the storage shows")
	}
	if !r.KeepsModTime {
		line("times", "it doesn't keep modification times")
	}
	if r.CaseInsensitive {
		line("names", "upper and lower case are the same name there")
	}
}

func (r *remoteCheck) writeRoom(line func(name, format string, args ...any)) {
	if r.Free != nil {
		line("free", "%s", size(*r.Free))
	}
	if r.Used != nil && r.Total != nil {
		line("used", "%s of %s", size(*r.Used), size(*r.Total))
	}
	for _, kind := range slices.Sorted(maps.Keys(r.ByKind)) {
		line("", "%s %s", size(r.ByKind[kind]), printable(kind))
	}
	if r.Trashed != nil {
		line("in trash", "%s", size(*r.Trashed))
	}
	if r.Free == nil && r.Used == nil {
		line("space", "the remote doesn't tell")
	}
}
