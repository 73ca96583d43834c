package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/jobs/orderform"
)

func (a *app) newRun() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "do one job in the foreground: bars, then a summary", ArgsUsage: "[SRC] [DST]",
		Description: `Copies every file of SRC to DST and proves that it arrived. With --delete-source it then deletes what was
proved, and only that. SRC and DST are remotes of rclone.conf with a path (icloud:Documents) or local folders.

Running the same command again goes on with a job that was interrupted; where all is done already, it finds
nothing to do. Ctrl-C once gives the files that have begun a few seconds to end and keeps the job; twice
stops at once. Neither loses anything.`,
		UsageText: `offload run icloud: dropbox:Backup
offload run icloud: dropbox:Backup --delete-source verified --min-age 30d
offload run /home/anna/films nas:films --order largest --bwlimit 4M --json`,
		Flags:  withPlanFile("do what the plan in `FILE` says and nothing else, in place of SRC and DST"),
		Action: func(c *cli.Context) error { return a.runRun(c) },
	}
}

func (a *app) runRun(c *cli.Context) error {
	ctx := c.Context
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	p, order, err := a.openOrder(c, cfg, log)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	if err := p.checkStore(ctx); err != nil {
		return err
	}
	sender, err := p.sender(ctx)
	if err != nil {
		return err
	}
	job, err := a.findOrEnqueue(ctx, p, order)
	if err != nil {
		return err
	}
	stopMessages := p.run(ctx, sender)
	job, interrupted, err := a.work(ctx, p, job)
	stopMessages()
	p.tellLast(ctx, sender, job)
	if err != nil {
		return failure("run the same command again to go on; nothing is lost", fmt.Errorf("work on job %s: %w", job.ID, err))
	}
	code := statusOf(job)
	if interrupted && !job.State.Terminal() {
		code = exitInterrupted
	}
	if c.Bool("json") {
		err = writeJSON(a.out, job)
	} else {
		err = a.writeSummary(context.WithoutCancel(ctx), p, job)
	}
	if err != nil {
		return err
	}
	if code == exitInterrupted {
		a.note("job %s is kept; to resume: %s", job.ID, resumeCommand(c))
	}
	return status(code)
}

// findOrEnqueue goes on with an interrupted job of the same order, or accepts a new one.
func (a *app) findOrEnqueue(ctx context.Context, p *parts, order jobs.Order) (jobs.Job, error) {
	job, found, err := p.jobs.FindInterrupted(ctx, order)
	if errors.Is(err, jobs.ErrRunning) {
		return job, err
	}
	if err != nil {
		return job, fmt.Errorf("look for an interrupted job: %w", err)
	}
	if !found {
		if order.Kind == jobs.KindMove { // jobs of another kind are about different jobs, whatever their paths
			if err := a.noteOthers(ctx, p, order); err != nil {
				return job, err
			}
		}
		return p.jobs.EnqueueForeground(ctx, order)
	}
	a.note("going on with job %s of %s (%s)", job.ID, moment(job.Created), stateWords(job))
	if job.State == jobs.Paused || job.State == jobs.Waiting {
		return p.jobs.Resume(ctx, job.ID)
	}
	return job, nil
}

// noteOthers says where jobs of the same paths were interrupted that were given other options: this one doesn't go on
// with them, and a person who changed only the bandwidth may think that it does.
func (a *app) noteOthers(ctx context.Context, p *parts, order jobs.Order) error {
	others, err := p.jobs.SamePaths(ctx, order)
	if err != nil {
		return fmt.Errorf("look for an interrupted job: %w", err)
	}
	for _, j := range others {
		a.note("job %s of the same paths hasn't ended, but its options are others, so this is a new job; `offload jobs cancel %s` ends that one",
			j.ID, j.ID)
	}
	return nil
}

// sameSignal is how soon after a first signal another one is taken for the same: timeout(1) and some terminals send each
// to the process and to its group.
const sameSignal = 300 * time.Millisecond

// pollEvery is how often progress is read while a job runs.
const pollEvery = 300 * time.Millisecond

// work runs a worker for one job in this process until the job has ended or waits, and shows its progress. The first
// signal pauses the job and lets the files that have begun end; the second one abandons them. It returns the job as it
// is then, and whether a signal came.
func (a *app) work(ctx context.Context, p *parts, job jobs.Job) (jobs.Job, bool, error) {
	signals, err := a.takeSignals(ctx)
	if err != nil {
		return job, true, nil
	}
	soft, stopSoft := context.WithCancel(ctx)
	defer stopSoft()
	hard, stopHard := context.WithCancel(ctx)
	defer stopHard()
	ended := make(chan error, 1)
	go func() {
		ended <- p.jobs.RunWorker(soft, hard, jobs.WorkerOptions{
			Job: job.ID, Batches: p.cfg.Worker.Batches, Transfers: p.cfg.Worker.Transfers,
		})
	}()
	view := a.newView(job.Order.Deletes())
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	stops, first := 0, time.Time{}
	for {
		select {
		case err := <-ended:
			last, getErr := p.jobs.Get(context.WithoutCancel(ctx), job.ID)
			if getErr != nil {
				last = job
			}
			view.show(jobs.Progress{Job: last})
			view.close()
			return last, stops > 0, errors.Join(err, getErr)
		case <-ticker.C:
			if progress, err := p.jobs.Progress(ctx, job.ID); err == nil {
				view.show(progress)
			}
		case <-signals:
			if stops == 1 && time.Since(first) < sameSignal {
				continue
			}
			if stops++; stops == 1 {
				first = time.Now()
			}
			if stops > 1 {
				a.note("stopping at once; nothing is lost")
				stopHard()
				continue
			}
			a.note("stopping; files that have begun get a few seconds to end, and Ctrl-C again stops at once")
			if _, err := p.jobs.Pause(ctx, job.ID); err != nil && !errors.Is(err, jobs.ErrState) {
				p.log.Warn("pause the job", "job", job.ID, "error", err)
			}
			stopSoft()
		}
	}
}

// resumeCommand is the command line that goes on with the job: the same one again.
func resumeCommand(c *cli.Context) string {
	words := []string{"offload"}
	add := func(c *cli.Context, flags []cli.Flag) {
		for _, f := range flags {
			name := f.Names()[0]
			if !c.IsSet(name) {
				continue
			}
			switch f.(type) {
			case *cli.BoolFlag:
				words = append(words, "--"+name)
			case *cli.StringSliceFlag:
				for _, v := range c.StringSlice(name) {
					words = append(words, "--"+name, shellQuote(v))
				}
			default:
				value := c.String(name)
				if name == "redis" {
					value = configs.MaskURL(value)
				}
				words = append(words, "--"+name, shellQuote(value))
			}
		}
	}
	words = append(words, c.Command.Name)
	for _, arg := range c.Args().Slice() {
		words = append(words, shellQuote(arg))
	}
	add(c, c.Command.Flags)
	add(c, globalFlags())
	return strings.Join(words, " ")
}

// shellQuote writes a word so that a shell reads it back as it is.
func shellQuote(s string) string { return orderform.ShellQuote(s) }
