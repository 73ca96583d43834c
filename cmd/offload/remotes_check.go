package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs/fspath"
	"github.com/urfave/cli/v2"

	"offload/remotes"
	"offload/transfer"
)

// remoteCheck is what `remotes check` found out.
type remoteCheck struct {
	Remote string `json:"remote"`
	Where  string `json:"where"`
	transfer.RemoteCheck
	trustInfo
}

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
	opener := r.opener()
	if name, err = remotePath("remote", name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, remotes.CheckTime)
	defer cancel()
	found := remoteCheck{Remote: name, Where: r.conf.Where(remoteName(name)), trustInfo: trustOf(r.conf.Values(remoteName(name)))}
	if found.RemoteCheck, err = opener.CheckRemote(ctx, name); err != nil {
		if transfer.SignInRefused(ctx, err) != "" {
			return failure("`offload remotes reconnect "+remoteName(name)+"` signs in again", fmt.Errorf("%s: the sign-in is refused", remoteName(name)))
		}
		if transfer.NotFound(err) {
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
