package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/quota"
)

// newJobs builds the commands that look at jobs and steer them.
func (a *app) newJobs() *cli.Command {
	list := &cli.Command{
		Name: "list", Usage: "list jobs, newest first",
		UsageText: "offload jobs list\noffload jobs list --state waiting --state paused --json\noffload jobs list --account anna --all\noffload jobs list --watch",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "state", Usage: "only jobs in `STATE` (may be repeated): " + strings.Join(flagValues("state"), ", ")},
			&cli.StringFlag{Name: "account", Usage: "only jobs of account `NAME`"},
			&cli.StringFlag{Name: "limit", Usage: "at most `N` jobs; default 50"},
			&cli.BoolFlag{Name: "all", Usage: "all jobs, however many"},
			&cli.BoolFlag{Name: "watch", Usage: "show the jobs that haven't ended and follow them until Ctrl-C; with --json a document on a line each second"},
		},
		Action: func(c *cli.Context) error { return a.runJobsList(c) },
	}
	one := func(name, usage, description string, action func(*cli.Context, *parts, string) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "ID", Description: description,
			UsageText: "offload jobs " + name + " 01KB3Q7W5T0000000000000000",
			Action:    func(c *cli.Context) error { return a.withJob(c, action) },
		}
	}
	files := one("files", "list the files of a job with what became of each", "", a.runJobsFiles)
	files.Flags = filesFlags()
	files.UsageText = "offload jobs files 01KB3Q7W5T --outcome failed --outcome set_aside\noffload jobs files 01KB3Q7W5T --source kept --json"
	all := &cli.Command{
		Name: "jobs", Usage: "look at jobs and steer them",
		Description: "An ID may be shortened to its first characters, at least 6, as long as they are unique.",
		Subcommands: []*cli.Command{
			list,
			one("show", "show one job", "", a.runJobsShow),
			one("watch", "follow a job until it ends, waits or is paused", `Shows the job's progress, and goes on while the store doesn't answer. The exit status is that of the job. Ctrl-C ends the
watching, not the job.`, a.runJobsWatch),
			files,
			a.newJobsSet(),
			a.newJobsHold(),
		},
	}
	for _, v := range jobVerbs() {
		all.Subcommands = append(all.Subcommands, a.newJobsVerb(v))
	}
	return all
}

// checkID refuses what can't be the ID of a job or the beginning of one. IDs are ULIDs.
func checkID(id string) error {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	hint := "`offload jobs list` shows the IDs; the first 6 or more characters are enough"
	for _, r := range strings.ToUpper(id) {
		if !strings.ContainsRune(digits, r) {
			return usageError(hint, "%s is no job ID", configs.Quote(id))
		}
	}
	if len(id) < 6 || len(id) > 26 {
		return usageError(hint, "%s is no job ID: those have 26 characters", configs.Quote(id))
	}
	return nil
}

// withJob checks the ID before anything is opened and runs the action.
func (a *app) withJob(c *cli.Context, action func(*cli.Context, *parts, string) error) error {
	id := strings.ToUpper(c.Args().First())
	if err := checkID(id); err != nil {
		return err
	}
	if err := checkFilesFlags(c); err != nil {
		return err
	}
	_, p, err := a.existing(c)
	if err != nil {
		return err
	}
	if p == nil {
		return noStore(id)
	}
	defer p.closeLogged()
	return action(c, p, id)
}

// listOptions reads which jobs are to be listed.
func listOptions(c *cli.Context) (jobs.ListOptions, error) {
	o := jobs.ListOptions{Account: c.String("account"), Limit: 50}
	for _, s := range c.StringSlice("state") {
		if !slices.Contains(flagValues("state"), s) {
			return o, usageError("the states are "+strings.Join(flagValues("state"), ", "), "--state: there is no state %s", configs.Quote(s))
		}
		o.States = append(o.States, jobs.State(s))
	}
	if c.IsSet("account") {
		if err := configs.CheckAccount(o.Account); err != nil {
			return o, usageError("use up to 64 of a-z 0-9 . _ -", "--account: %w", err)
		}
	}
	if c.IsSet("limit") {
		n, err := configs.ParseCount(c.String("limit"), 1, 1_000_000)
		if err != nil {
			return o, usageError("write a number of jobs", "--limit: %w", err)
		}
		o.Limit = int(n)
	}
	if c.Bool("all") {
		if c.IsSet("limit") {
			return o, usageError("give one of them", "--all and --limit contradict each other")
		}
		o.Limit = math.MaxInt
	}
	return o, nil
}

func (a *app) runJobsList(c *cli.Context) error {
	o, err := listOptions(c)
	if err != nil {
		return err
	}
	if c.Bool("watch") {
		if err := watched(c, o); err != nil {
			return err
		}
	}
	_, p, err := a.existing(c)
	if err != nil {
		return err
	}
	if c.Bool("watch") && p != nil {
		defer p.closeLogged()
		return a.runJobsListWatch(c, p, o)
	}
	list, more := []jobs.Job{}, false
	if p != nil {
		defer p.closeLogged()
		if list, more, err = listJobs(c.Context, p.jobs, o); err != nil {
			return err
		}
	}
	if more {
		defer a.note("there are more jobs than these %d; --all shows all, --limit N so many, --state and --account some", len(list))
	}
	if c.Bool("json") {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 && (len(o.States) > 0 || o.Account != "") {
		a.note("no job is like that; `offload jobs list` shows all")
		return nil
	}
	if len(list) == 0 {
		a.note("no jobs; `offload run SRC DST` or `offload enqueue SRC DST` makes one")
		return nil
	}
	if err := writeJobs(a.out, list); err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(j jobs.Job) bool { return j.State == jobs.Waiting && j.Error != "" }) {
		a.note("`offload jobs show ID` says what a waiting job waits for, and what helps")
	}
	return nil
}

// listJobs reads as many pages as the limit needs, and tells whether there are more.
func listJobs(ctx context.Context, s *jobs.Service, o jobs.ListOptions) (list []jobs.Job, more bool, err error) {
	list = []jobs.Job{}
	for want := o.Limit; ; {
		// One more than wanted is asked for: the cursor of a full page doesn't say whether anything comes after it.
		o.Limit = min(want-len(list), 200) + 1
		page, next, err := s.List(ctx, o)
		if err != nil {
			return nil, false, fmt.Errorf("list the jobs: %w", err)
		}
		if list = append(list, page...); len(list) > want {
			return list[:want], true, nil
		}
		if next == "" {
			return list, false, nil
		}
		o.Cursor = next
	}
}

// eachJob calls visit for every job that the options choose.
func eachJob(ctx context.Context, p *parts, o jobs.ListOptions, visit func(jobs.Job)) error {
	for o.Limit = 200; ; {
		page, next, err := p.jobs.List(ctx, o)
		if err != nil {
			return fmt.Errorf("list the jobs: %w", err)
		}
		for _, j := range page {
			visit(j)
		}
		if o.Cursor = next; next == "" {
			return nil
		}
	}
}

func writeJobs(w io.Writer, list []jobs.Job) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tFROM -> TO\tFILES\tBYTES\tAGE")
	for _, j := range list {
		fmt.Fprintf(t, "%s\t%s\t%s -> %s\t%d/%d\t%s/%s\t%s\n", j.ID, stateWords(j), kindWord(j)+shorten(j.Source, 40), shorten(j.Dest, 40),
			done(j.Files), j.Files.Found, size(j.Bytes.Copied), size(j.Bytes.Found), span(time.Since(j.Created)))
	}
	return t.Flush()
}

// kindWord says before the remotes of a job what it does, where it doesn't move files.
func kindWord(j jobs.Job) string {
	if j.Kind == jobs.KindMove {
		return ""
	}
	return string(j.Kind) + ": "
}

func (a *app) runJobsShow(c *cli.Context, p *parts, id string) error {
	progress, err := p.jobs.Progress(c.Context, id)
	if err != nil {
		return err
	}
	job := progress.Job
	if !c.Bool("json") {
		return a.writeSummary(c.Context, p, job)
	}
	return writeJSON(a.out, shownJob{job, forecastOf(c.Context, p, job)})
}

// shownJob is the document of `jobs show --json`: the job, and when it will have ended while it hasn't.
type shownJob struct {
	jobs.Job
	Forecast *quota.Forecast `json:"forecast,omitempty"`
}

func (a *app) newJobsSet() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "change the bandwidth of an unfinished job, also while it runs", ArgsUsage: "ID",
		Description: "The limit holds over all workers of the job, within two seconds; that of all jobs together (`offload quota set --bwlimit`) holds beside it.",
		UsageText:   "offload jobs set 01KB3Q7W5T --bwlimit 2M\noffload jobs set 01KB3Q7W5T --bwlimit off",
		Flags: []cli.Flag{&cli.StringFlag{Name: "bwlimit",
			Usage: "at most `RATE` bytes a second, rclone's syntax: 2M, a timetable, off, or default (what the job was ordered with)"}},
		Action: func(c *cli.Context) error {
			id := c.Args().First()
			if err := checkID(id); err != nil {
				return err
			}
			if !c.IsSet("bwlimit") {
				return usageError("add --bwlimit RATE", "there is nothing to set for job %s", strings.ToUpper(id))
			}
			text, err := bandwidthFlag(c)
			if err != nil {
				return err
			}
			return a.withJob(c, func(c *cli.Context, p *parts, id string) error { return a.runJobsSet(c, p, id, text) })
		},
	}
}

func (a *app) runJobsSet(c *cli.Context, p *parts, id, bandwidth string) error {
	job, err := p.jobs.SetJobBandwidth(c.Context, id, bandwidth)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, job)
	}
	fmt.Fprintf(a.out, "%s bandwidth: %s\n", job.ID, bandwidthWords(job.BwLimit))
	return nil
}
