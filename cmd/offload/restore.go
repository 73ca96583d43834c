package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
)

func (a *app) newRestore() *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "bring files back to where they were", ArgsUsage: "[ID]",
		Description: `Brings back what job ID offloaded, or with --path what was offloaded from a place by any job, or with --since alone all
that was deleted since then: from the source's trash while it lies there, which costs no traffic, else from the destination, and only what still is what was proved there.
Nothing is replaced: where another file has taken the place, the one that comes back is put beside it. Nothing is
deleted at the destination. What is back already is passed over.

Shows what it would do and asks; --yes doesn't. The job shows like any other in ` + "`offload jobs`" + `.`,
		UsageText: `offload restore 01KB3Q7W5T
offload restore --path icloud:Documents/2024 --since 7d
offload restore --since 2026-11-01
offload restore --path icloud: --from dropbox:Archive --include '*.jpg' --yes --detach`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "path", Usage: "what was offloaded from `REMOTE:PATH` or below, by all jobs; with an ID by that job"},
			&cli.StringFlag{Name: "from", Usage: "only what was offloaded to `REMOTE:PATH` or below"},
			&cli.StringFlag{Name: "since", Usage: "only what was deleted at the source since `TIME`: a date (2026-11-01) or an age (7d)"},
			&cli.StringSliceFlag{Name: "include", Usage: "only files that match `PATTERN`, rclone's syntax (may be repeated)"},
			&cli.StringSliceFlag{Name: "exclude", Usage: "no files that match `PATTERN` (may be repeated); exclude wins"},
			&cli.BoolFlag{Name: "yes", Usage: "don't ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only show what it would do"},
			&cli.BoolFlag{Name: "detach", Usage: "leave the work to a worker and print the jobs' IDs"},
		},
		Action: func(c *cli.Context) error { return a.runRestore(c) },
	}
}

// restoreAsk reads what is to come back.
func restoreAsk(c *cli.Context, now time.Time) (jobs.RestoreAsk, error) {
	ask := jobs.RestoreAsk{Job: strings.ToUpper(c.Args().First()), Include: c.StringSlice("include"), Exclude: c.StringSlice("exclude")}
	var err error
	if ask.Job == "" && !c.IsSet("path") && !c.IsSet("since") {
		return ask, usageError("name a job (`offload jobs list` shows them), --path icloud:Documents, or --since 7d", "nothing says what to bring back")
	}
	if ask.Job != "" {
		if err := checkID(ask.Job); err != nil {
			return ask, err
		}
	}
	for _, f := range []struct {
		name string
		into *string
	}{{"path", &ask.Path}, {"from", &ask.From}} {
		if !c.IsSet(f.name) {
			continue
		}
		if strings.TrimSpace(c.String(f.name)) == "" {
			return ask, usageError("name a remote and a path, such as icloud:Documents", "--%s is empty", f.name)
		}
		if *f.into, err = remotePath("--"+f.name, c.String(f.name)); err != nil {
			return ask, err
		}
	}
	if c.IsSet("since") {
		if ask.Since, err = sinceFlag(c.String("since"), now); err != nil {
			return ask, err
		}
	}
	return ask, nil
}

// sinceFlag reads a date, a moment or an age.
func sinceFlag(text string, now time.Time) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339, "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	d, err := configs.ParseDuration(text)
	if err != nil || d <= 0 {
		return time.Time{}, usageError("write a date such as 2026-11-01, or an age such as 7d", "--since: %s is neither a date nor an age", configs.Quote(text))
	}
	return now.Add(-d), nil
}

func (a *app) runRestore(c *cli.Context) error {
	ctx := c.Context
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	conf, p, err := a.setUpRemotes(ctx, cfg, log)
	if err != nil {
		return err
	}
	if p == nil {
		p, err = a.openStore(ctx, conf, cfg, log)
	}
	if err != nil {
		return err
	}
	defer p.closeLogged()
	ask, err := restoreAsk(c, time.Now())
	if err != nil {
		return err
	}
	if err := p.checkStore(ctx); err != nil {
		return err
	}
	orders, err := p.jobs.RestoreOrders(ctx, ask)
	if err != nil {
		return err
	}
	preview, err := p.jobs.PreviewRestore(ctx, orders)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") && c.Bool("json") {
		return writeJSON(a.out, preview)
	}
	if c.Bool("dry-run") {
		writeRestorePreview(a.out, preview)
		return nil
	}
	if preview.Files.Files == 0 {
		a.note("nothing that was offloaded is like that: there is nothing to bring back")
		if c.Bool("json") {
			return writeJSON(a.out, []jobs.Job{})
		}
		return nil
	}
	if err := a.mayRestore(c, preview); err != nil {
		return err
	}
	orders = slices.DeleteFunc(orders, func(o jobs.Order) bool {
		return slices.ContainsFunc(preview.Jobs, func(of jobs.RestoreOf) bool { return of.Job == o.Of && of.Files.Files == 0 })
	})
	if c.Bool("detach") {
		return a.enqueueAll(c, p, cfg, orders)
	}
	return a.doAll(c, p, orders)
}

// mayRestore shows what would be done and asks.
func (a *app) mayRestore(c *cli.Context, preview jobs.RestorePreview) error {
	if c.Bool("yes") {
		return nil
	}
	ask := a.newPrompter()
	if !ask.asks() {
		return usageError("add --yes; --dry-run shows what it would do", "nobody is here to ask whether to bring back %s", count(preview.Files.Files, "file"))
	}
	writeRestorePreview(a.err, preview)
	sure, err := ask.yes(c.Context, "Bring them back?")
	if err == nil && !sure {
		err = usageError("answer y to bring them back", "nothing was brought back")
	}
	return err
}

func writeRestorePreview(w io.Writer, p jobs.RestorePreview) {
	line := func(name string, n jobs.PlanCount, note string) {
		if n.Files > 0 {
			fmt.Fprintf(w, "  %-10s %s, %s%s\n", name, count(n.Files, "file"), size(n.Bytes), note)
		}
	}
	fmt.Fprintln(w, "Restore (nothing was changed):")
	for _, of := range p.Jobs {
		fmt.Fprintf(w, "  job %s: %s -> %s, %s, %s\n", of.Job, printable(of.From), printable(of.To), count(of.Files.Files, "file"), size(of.Files.Bytes))
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "  %-10s %s, %s\n", "files", count(p.Files.Files, "file"), size(p.Files.Bytes))
	line("trash", p.Trash, " still in the source's trash: no traffic")
	line("copy", p.Dest, " read from where they were offloaded to")
	line("set aside", p.Aside, ": packages that left the trash; their copy stays a zip")
	fmt.Fprintf(w, "  %-10s at most %s\n\n", "traffic", size(p.Traffic))
	writeWrapped(w, "", fmt.Sprintf("Quota (account %s): %s", p.Quota.Account, p.Quota.Forecast.Sentence()))
	for i, warning := range p.Warnings {
		if i == 0 {
			fmt.Fprintln(w, "\nWarnings:")
		}
		fmt.Fprintf(w, "  %s\n", oneLine(warning))
	}
}
