package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/fspath"
	"github.com/urfave/cli/v2"
)

func (a *app) newRemotes() *cli.Command {
	return &cli.Command{
		Name: "remotes", Usage: "look at the configured clouds",
		Description: "Remotes are those of rclone.conf; `rclone config` adds one. Secrets are never printed.",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the remotes and their kinds",
				UsageText: "offload remotes list\noffload remotes list --rclone-config /etc/rclone.conf --json",
				Action:    func(c *cli.Context) error { return a.runRemotesList(c) },
			},
			{
				Name: "check", Usage: "ask a remote: does it answer, what room has it, what can it do", ArgsUsage: "REMOTE",
				UsageText: "offload remotes check icloud\noffload remotes check dropbox:Backup --json",
				Action:    func(c *cli.Context) error { return a.runRemotesCheck(c) },
			},
		},
	}
}

// remoteInfo is one line of `remotes list`.
type remoteInfo struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func (a *app) runRemotesList(c *cli.Context) error {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	if err := setUpRclone(c.Context, cfg, log); err != nil {
		return err
	}
	remotes := []remoteInfo{}
	for _, r := range config.GetRemotes() {
		remotes = append(remotes, remoteInfo{r.Name, r.Type})
	}
	slices.SortFunc(remotes, func(a, b remoteInfo) int { return strings.Compare(a.Name, b.Name) })
	if c.Bool("json") {
		return writeJSON(a.out, remotes)
	}
	if len(remotes) == 0 {
		a.note("no remotes in %s; `rclone config` adds one", config.GetConfigPath())
		return nil
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REMOTE\tKIND")
	for _, r := range remotes {
		fmt.Fprintf(t, "%s:\t%s\n", printable(r.Name), printable(r.Type))
	}
	return t.Flush()
}

// remoteCheck is what `remotes check` found out. Bytes are nil where the remote doesn't tell.
type remoteCheck struct {
	Remote          string   `json:"remote"`
	Type            string   `json:"type"`
	Answers         bool     `json:"answers"`
	Milliseconds    int64    `json:"milliseconds"` // to open it and list its root
	Entries         int      `json:"entries"`      // in its root
	Hashes          []string `json:"hashes"`
	KeepsModTime    bool     `json:"keeps_mtime"`
	CaseInsensitive bool     `json:"case_insensitive"`
	Total           *int64   `json:"total"`
	Used            *int64   `json:"used"`
	Free            *int64   `json:"free"`
	Trashed         *int64   `json:"trashed"`
}

// checkTimeout bounds one check: some remotes wait minutes for a person's approval.
const checkTimeout = time.Minute

func (a *app) runRemotesCheck(c *cli.Context) error {
	name := c.Args().First()
	if !strings.ContainsAny(name, ":/") {
		name += ":"
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	if err := setUpRclone(c.Context, cfg, log); err != nil {
		return err
	}
	if name, err = remotePath("remote", name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, checkTimeout)
	defer cancel()
	found, err := checkOneRemote(ctx, name)
	if err != nil {
		return failure("check the connection; `rclone config reconnect "+remoteName(name)+":` signs in again", err)
	}
	if c.Bool("json") {
		return writeJSON(a.out, found)
	}
	writeCheck(a.out, found)
	return nil
}

func remoteName(path string) string {
	parsed, err := fspath.Parse(path)
	if err != nil {
		return path
	}
	return parsed.Name
}

func checkOneRemote(ctx context.Context, name string) (remoteCheck, error) {
	began := time.Now()
	found := remoteCheck{Remote: name, Hashes: []string{}}
	f, err := fs.NewFs(ctx, name)
	if err != nil {
		return found, fmt.Errorf("open remote %s: %w", name, err)
	}
	if shutdown := f.Features().Shutdown; shutdown != nil {
		// Nothing was written, so nothing can be lost by a shutdown that fails.
		defer func() { _ = shutdown(context.WithoutCancel(ctx)) }()
	}
	entries, err := f.List(ctx, "")
	if err != nil {
		return found, fmt.Errorf("list remote %s: %w", name, err)
	}
	found.Answers, found.Entries, found.Milliseconds = true, len(entries), time.Since(began).Milliseconds()
	if info, _, _, _, err := fs.ConfigFs(name); err == nil {
		found.Type = info.Name
	}
	for _, h := range f.Hashes().Array() {
		found.Hashes = append(found.Hashes, h.String())
	}
	found.KeepsModTime = f.Precision() != fs.ModTimeNotSupported
	found.CaseInsensitive = f.Features().CaseInsensitive
	if about := f.Features().About; about != nil {
		// Not knowing the space is no failure of the check.
		if usage, err := about(ctx); err == nil {
			found.Total, found.Used, found.Free, found.Trashed = usage.Total, usage.Used, usage.Free, usage.Trashed
		}
	}
	return found, nil
}

func writeCheck(w io.Writer, r remoteCheck) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%s (%s) answers: %s in its root, %d ms\n", printable(r.Remote), r.Type, count(int64(r.Entries), "entry"), r.Milliseconds)
	if r.Free != nil {
		line("free", "%s", size(*r.Free))
	}
	if r.Used != nil && r.Total != nil {
		line("used", "%s of %s", size(*r.Used), size(*r.Total))
	}
	if r.Trashed != nil {
		line("in trash", "%s", size(*r.Trashed))
	}
	if r.Free == nil && r.Used == nil {
		line("space", "the remote doesn't tell")
	}
	if len(r.Hashes) > 0 {
		line("proof", "grade A as a destination: it keeps content hashes (%s)", strings.Join(r.Hashes, ", "))
	} else {
		line("proof", "grade B as a destination: it keeps no content hash, so files are read back before a deletion")
	}
	if !r.KeepsModTime {
		line("times", "it doesn't keep modification times")
	}
	if r.CaseInsensitive {
		line("names", "upper and lower case are the same name there")
	}
}
