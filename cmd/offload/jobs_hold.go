package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"offload/jobs"
)

// newJobsHold builds the commands about jobs that wait between proof and deletion.
func (a *app) newJobsHold() *cli.Command {
	about := func(name, usage, description string, do func(*jobs.Service, context.Context, string) (jobs.Job, error)) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "ID", Description: description,
			UsageText: "offload jobs hold " + name + " 01KB3Q7W5T",
			Action: func(c *cli.Context) error {
				return a.withJob(c, func(c *cli.Context, p *parts, id string) error {
					job, err := do(p.jobs, c.Context, id)
					if err != nil {
						return err
					}
					return a.showHeld(c, job)
				})
			},
		}
	}
	return &cli.Command{
		Name: "hold", Usage: "look at jobs that wait between proof and deletion (--hold), and end that wait",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the jobs on hold: until when, and what is deleted then",
				UsageText: "offload jobs hold list\noffload jobs hold list --account anna --json",
				Flags:     []cli.Flag{&cli.StringFlag{Name: "account", Usage: "only jobs of account `NAME`"}},
				Action:    func(c *cli.Context) error { return a.runHoldList(c) },
			},
			about("release", "delete now what a job holds back", "Doesn't wait for the end of the hold. Each file is proved to be at the destination once more before it is deleted at the source.", (*jobs.Service).HoldRelease),
			about("keep", "call the deletions of a job off: its files stay at the source, too",
				"The job ends, and nothing of it is deleted any more. To delete its files after all, order the same job again.", (*jobs.Service).HoldKeep),
		},
	}
}

func (a *app) showHeld(c *cli.Context, job jobs.Job) error {
	if c.Bool("json") {
		return writeJSON(a.out, job)
	}
	what := "its deletions begin"
	if job.HoldCalledOff {
		what = "nothing is deleted"
	}
	fmt.Fprintf(a.out, "%s %s; %s\n", job.ID, stateWords(job), what)
	return nil
}

func (a *app) runHoldList(c *cli.Context) error {
	o, err := listOptions(c)
	if err != nil {
		return err
	}
	_, p, err := a.existing(c)
	if err != nil {
		return err
	}
	list := []jobs.Job{}
	if p != nil {
		defer p.closeLogged()
		if list, err = p.jobs.Holds(c.Context, o.Account); err != nil {
			return fmt.Errorf("list the jobs on hold: %w", err)
		}
	}
	if c.Bool("json") {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		a.note("no job is on hold; --hold 7d makes one wait between proof and deletion")
		return nil
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUNTIL\tSTATE\tFROM -> TO\tFILES\tBYTES")
	for _, j := range list {
		files, bytes := "?", "?"
		if j.Held != nil {
			files, bytes = fmt.Sprint(j.Held.Files), size(j.Held.Bytes)
		}
		state := "on hold"
		if j.State == jobs.Paused {
			state = "paused"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s -> %s\t%s\t%s\n", j.ID, moment(*j.HoldUntil), state, shorten(j.Source, 40), shorten(j.Dest, 40), files, bytes)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	a.note("`offload jobs hold keep ID` calls the deletions of a job off, `offload jobs hold release ID` doesn't wait for the time")
	return nil
}

// holdWords says what happens at the end of a job's hold.
func holdWords(job jobs.Job) string {
	if job.HoldUntil == nil {
		return ""
	}
	what := "what is proved is"
	if h := job.Held; h != nil {
		what = fmt.Sprintf("%s (%s) are", count(h.Files, "file"), size(h.Bytes))
		if h.Files == 1 {
			what = fmt.Sprintf("1 file (%s) is", size(h.Bytes))
		}
	}
	words := fmt.Sprintf("waits until %s (hold): then %s deleted at the source, each proved again before", moment(*job.HoldUntil), what)
	if job.State == jobs.Paused {
		words += ", once the job is resumed"
	}
	return words
}
