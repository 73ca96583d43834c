package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/jobs"
)

func (a *app) newScrub() *cli.Command {
	return &cli.Command{
		Name: "scrub", Usage: "look whether what was offloaded is still there as it was proved", ArgsUsage: "[ID]",
		Description: `Looks at every file that job ID, or with --all that any job has deleted at its source: is it still at the destination, with
the hash that was recorded? Folders are listed, a few calls each; files are read only where the destination tells no hash,
or with --read: what is read counts against the quota. Nothing is written, changed or deleted anywhere.

--all takes all jobs that have offloaded something, also those that were removed since.

Files that are missing or different raise an alarm: exit status 3, a message, a line on the dashboard's first page. What
couldn't be looked at is told apart from what is missing. A scrub is a job like others: ` + "`offload jobs show ID`" + `.`,
		UsageText: `offload scrub 01KB3Q7W5T
offload scrub --all --json
offload scrub 01KB3Q7W5T --read --detach`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "what all jobs have offloaded, one scrub for each of them"},
			&cli.BoolFlag{Name: "read", Usage: "read every file, whatever hash the destination tells; counts against the quota"},
			&cli.BoolFlag{Name: "detach", Usage: "leave the work to a worker and print the jobs' IDs"},
		},
		Action: func(c *cli.Context) error { return a.runScrub(c) },
	}
}

func (a *app) runScrub(c *cli.Context) error {
	ctx := c.Context
	id := strings.ToUpper(c.Args().First())
	switch {
	case id == "" && !c.Bool("all"):
		return usageError("`offload jobs list` shows the IDs; --all takes all jobs", "scrub needs ID or --all")
	case id != "" && c.Bool("all"):
		return usageError("give one of them", "an ID and --all contradict each other")
	case id != "":
		if err := checkID(id); err != nil {
			return err
		}
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	_, p, err := a.setUpRemotes(ctx, cfg, log)
	if err != nil {
		return err
	}
	if p == nil && id != "" {
		return noStore(id)
	}
	var orders []jobs.Order
	if p != nil {
		defer p.closeLogged()
		if err := p.checkStore(ctx); err != nil {
			return err
		}
		if orders, err = p.jobs.ScrubOrders(ctx, id, c.Bool("read")); err != nil {
			return err
		}
	}
	if len(orders) == 0 {
		a.note("nothing has been deleted at a source: there is nothing to check")
		if c.Bool("json") {
			return writeJSON(a.out, []jobs.Job{})
		}
		return nil
	}
	if c.Bool("detach") {
		return a.enqueueAll(c, p, cfg, orders)
	}
	return a.doAll(c, p, orders)
}

// writeScrub says what a scrub has found.
func writeScrub(w io.Writer, job jobs.Job) {
	r := job.Scrub
	for _, line := range []struct {
		name string
		n    int64
		what string
	}{{"intact", r.Intact, ""}, {"missing", r.Missing, " not at the destination any more"}, {"different", r.Different, " not as proved"},
		{"unknown", r.Unknown, " couldn't be looked at"}} {
		if line.n > 0 || line.name != "unknown" {
			fmt.Fprintf(w, "  %-10s %s%s\n", line.name, count(line.n, "file"), line.what)
		}
	}
}

// scrubStep is what to do about a scrub that has found something.
func scrubStep(job jobs.Job) string {
	list := "`offload jobs files " + job.ID + " --outcome failed` lists them"
	if job.Scrub.Alarming() {
		return "`offload restore " + job.Of + "` brings back what is still in the source's trash, as long as it is there; else look in the version history and among the deleted files of " +
			printable(job.Source) + "; " + list
	}
	return "`offload jobs retry " + job.ID + "` looks at them again; " + list
}
