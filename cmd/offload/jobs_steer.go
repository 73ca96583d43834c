package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
)

// verb is something that a person does to jobs: pause, resume, cancel, retry, remove.
type verb struct {
	jobs.Verb
	usage, done string
}

// jobVerbs are the verbs in the order of the help.
func jobVerbs() []verb {
	return []verb{
		{jobs.VerbPause, "stop jobs after the files that have begun", "paused"},
		{jobs.VerbResume, "go on with paused or waiting jobs", "resumed"},
		{jobs.VerbCancel, "end jobs for good; what was moved stays moved", "canceled"},
		{jobs.VerbRetry, "do the failed files of ended jobs again", "begun again"},
		{jobs.VerbRemove, "forget ended jobs; no file is touched, and their manifests stay", "removed"},
	}
}

func (a *app) newJobsVerb(v verb) *cli.Command {
	about := fmt.Sprintf("--all, --state and --account choose all jobs that can be %s instead of naming them.", v.done)
	all := "all jobs that can be " + v.done
	if v.Verb == jobs.VerbResume {
		about = "--all and --account choose paused jobs, --state also those that wait, instead of naming them."
		all = "all paused jobs"
	}
	return &cli.Command{
		Name: string(v.Verb), Usage: v.usage, ArgsUsage: "[ID...]",
		Description: about + "\nWith --json one job that is named is printed as an object, several and chosen ones as an array.",
		UsageText: fmt.Sprintf("offload jobs %s 01KB3Q7W5T0000000000000000\noffload jobs %s --account anna --state %s",
			v.Verb, v.Verb, v.States()[0]),
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: all},
			&cli.StringSliceFlag{Name: "state", Usage: "those in `STATE` (may be repeated): " + strings.Join(stateNames(v.States()), ", ")},
			&cli.StringFlag{Name: "account", Usage: "those of account `NAME`"},
		},
		Action: func(c *cli.Context) error { return a.runJobsVerb(c, v) },
	}
}

func stateNames(states []jobs.State) []string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return names
}

// chosen reads which jobs are meant: the IDs, or a selection.
func (v verb) chosen(c *cli.Context) (ids []string, o jobs.ListOptions, err error) {
	selects := c.Bool("all") || c.IsSet("state") || c.IsSet("account")
	for _, arg := range c.Args().Slice() {
		if err := checkID(arg); err != nil {
			return nil, o, err
		}
		if id := strings.ToUpper(arg); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	switch {
	case selects && len(ids) > 0:
		return nil, o, usageError("name the jobs, or choose them", "IDs don't go together with --all, --state and --account")
	case !selects && len(ids) == 0:
		return nil, o, usageError("`offload jobs list` shows the IDs; --all, --state and --account choose several", "jobs %s needs ID", v.Verb)
	}
	o.States = v.Chosen()
	if c.IsSet("state") {
		o.States = nil
	}
	for _, s := range c.StringSlice("state") {
		if !slices.Contains(flagValues("state"), s) {
			return nil, o, usageError("the states are "+strings.Join(flagValues("state"), ", "), "--state: there is no state %s", configs.Quote(s))
		}
		if !slices.Contains(v.States(), jobs.State(s)) {
			return nil, o, usageError("choose of "+strings.Join(stateNames(v.States()), ", "), "--state: jobs that are %s can't be %s", s, v.done)
		}
		o.States = append(o.States, jobs.State(s))
	}
	if c.IsSet("account") {
		if o.Account, err = accountFlag(c, ""); err != nil {
			return nil, o, err
		}
	}
	return ids, o, nil
}

func (a *app) runJobsVerb(c *cli.Context, v verb) error {
	ids, o, err := v.chosen(c)
	if err != nil {
		return err
	}
	_, p, err := a.existing(c)
	if err != nil {
		return err
	}
	if p == nil && len(ids) > 0 {
		return noStore(ids[0])
	}
	named := len(ids) > 0
	if p != nil {
		defer p.closeLogged()
		if ids, err = fullIDs(c.Context, p, ids, o); err != nil {
			return err
		}
	}
	if named && len(ids) == 1 {
		job, err := p.jobs.Do(c.Context, v.Verb, ids[0])
		if err != nil {
			return err
		}
		return a.showSteered(c, v, []jobs.Job{job}, true)
	}
	return a.steerAll(c, p, v, ids, named)
}

// fullIDs completes the IDs, or finds those of the selection where none are named. An unknown one is an error before
// anything is changed.
func fullIDs(ctx context.Context, p *parts, ids []string, o jobs.ListOptions) ([]string, error) {
	var full []string
	if len(ids) == 0 {
		err := eachJob(ctx, p, o, func(j jobs.Job) { full = append(full, j.ID) })
		return full, err
	}
	for _, id := range ids {
		j, err := p.jobs.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(full, j.ID) {
			full = append(full, j.ID)
		}
	}
	return full, nil
}

// steerAll does the verb to several jobs. One that refuses doesn't keep back the others: it is told where it was named,
// and passed over where it was chosen, since then it has only gone on meanwhile, or has nothing to retry.
func (a *app) steerAll(c *cli.Context, p *parts, v verb, ids []string, named bool) error {
	done, refused := []jobs.Job{}, 0
	for _, id := range ids {
		job, err := p.jobs.Do(c.Context, v.Verb, id)
		switch {
		case err == nil:
			done = append(done, job)
		case errors.Is(err, jobs.ErrState) && !named:
		case errors.Is(err, jobs.ErrNotFound): // removed meanwhile
		case errors.Is(err, jobs.ErrState):
			refused++
			a.note("%s", oneLine(err.Error()))
		default:
			return errors.Join(err, a.showSteered(c, v, done, false))
		}
	}
	if err := a.showSteered(c, v, done, false); err != nil {
		return err
	}
	if refused > 0 {
		return failure("`offload jobs show ID` shows a job's state", fmt.Errorf("%d of %d jobs weren't %s", refused, len(ids), v.done))
	}
	if len(done) == 0 {
		a.note("there is no job to %s", v.Verb)
	}
	return nil
}

// showSteered prints what became of jobs.
func (a *app) showSteered(c *cli.Context, v verb, done []jobs.Job, single bool) error {
	if !c.Bool("json") {
		for _, job := range done {
			text := stateWords(job)
			if v.Verb == jobs.VerbRemove {
				text = "removed; no file was touched, and its manifest is kept (`offload manifest list`)"
			}
			fmt.Fprintf(a.out, "%s %s\n", job.ID, text)
		}
		return nil
	}
	docs := make([]any, len(done))
	for i, job := range done {
		if docs[i] = job; v.Verb == jobs.VerbRemove {
			docs[i] = map[string]any{"id": job.ID, "removed": true}
		}
	}
	if single {
		return writeJSON(a.out, docs[0])
	}
	return writeJSON(a.out, docs)
}
