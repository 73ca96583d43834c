package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
)

// whereMost is how many files `where` lists at most.
const whereMost = 1000

func (a *app) newWhere() *cli.Command {
	return &cli.Command{
		Name: "where", Usage: "find offloaded files over all jobs", ArgsUsage: "NAME",
		Description: `Says where files lie that were offloaded, by a part of their path in any case; * stands for any characters. It finds those
of jobs that have ended or wait for the end of a hold, also of jobs that were removed since, the newest first, each with the
command that brings it back. A file that was brought back is still found: its copy stays where it is.`,
		UsageText: `offload where tax-2019
offload where 'photos/2019/*.heic' --limit 500 --json`,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "limit", Usage: "at most `N` files; default 100"}},
		Action: func(c *cli.Context) error { return a.runWhere(c) },
	}
}

func (a *app) runWhere(c *cli.Context) error {
	limit := int64(0)
	if c.IsSet("limit") {
		var err error
		if limit, err = configs.ParseCount(c.String("limit"), 1, whereMost); err != nil {
			return usageError("give a number of files", "--limit: %w", err)
		}
	}
	if err := jobs.CheckWhere(c.Args().First()); err != nil {
		return err
	}
	_, p, err := a.existing(c)
	if err != nil {
		return err
	}
	page := jobs.WherePage{Files: []jobs.Where{}}
	if p != nil {
		defer p.closeLogged()
		if page, err = p.jobs.Where(c.Context, c.Args().First(), int(limit)); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return writeJSON(a.out, page)
	}
	for _, f := range page.Files {
		a.writeWhere(f)
	}
	switch {
	case len(page.Files) == 0:
		fmt.Fprintf(a.out, "No offloaded file has %s in its path.\n", configs.Quote(c.Args().First()))
		a.note("files of a job that still runs are found when it has ended; `offload manifest import REMOTE` reads what another machine has offloaded")
	case page.More:
		a.note("there are more; give more of the name, or --limit up to %d", whereMost)
	}
	return nil
}

func (a *app) writeWhere(f jobs.Where) {
	state := "copied; still at the source when the job ended"
	if !f.Deleted.IsZero() {
		state = "deleted at the source " + moment(f.Deleted)
	}
	proved := "never"
	if !f.Proved.IsZero() {
		proved = moment(f.Proved)
	}
	fmt.Fprintf(a.out, "%s\n  %s, grade %s, proved %s, %s\n", printable(f.At), size(f.Size), orDefault(f.Grade, "-"), proved, state)
	fmt.Fprintf(a.out, "  job %s; it came from %s\n  offload restore %s --path %s\n", f.Job, printable(jobs.Below(f.Source, f.Path)), f.Job, printable(shellQuote(f.Path)))
}
