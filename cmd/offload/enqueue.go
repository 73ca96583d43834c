package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
)

func (a *app) newEnqueue() *cli.Command {
	return &cli.Command{
		Name: "enqueue", Usage: "accept a job and print its ID", ArgsUsage: "[SRC] [DST]",
		Description: `Checks the order, stores the job and prints its ID, and nothing else, on stdout. From then on the job is not
forgotten, whatever is killed. A worker (offload worker, offload up) does it. Where the quota has no room for it, stderr
says so, and when it will have.`,
		UsageText: `offload enqueue icloud: dropbox:Backup --delete-source verified
id=$(offload enqueue icloud:Photos nas:photos) && offload jobs watch "$id"`,
		Flags:  withPlanFile("do what the plan in `FILE` says and nothing else, in place of SRC and DST"),
		Action: func(c *cli.Context) error { return a.runEnqueue(c) },
	}
}

func (a *app) runEnqueue(c *cli.Context) error {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	p, order, err := a.openOrder(c, cfg, log)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	if err := p.checkStore(c.Context); err != nil {
		return err
	}
	others, err := p.jobs.Same(c.Context, order)
	if err != nil {
		return err
	}
	job, err := p.jobs.Enqueue(c.Context, order)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		a.note("job %s goes the same way and hasn't ended: what both read counts twice against the quota; `offload jobs cancel %s` ends one of them", others[0].ID, others[0].ID)
	}
	return a.accepted(c.Context, p, c.Bool("json"), job)
}

// accepted says that a job was accepted, and what it waits for.
func (a *app) accepted(ctx context.Context, p *parts, asJSON bool, job jobs.Job) error {
	a.noteQuota(ctx, p, job)
	if n, err := p.jobs.WorkersRunning(ctx); err == nil && n == 0 {
		a.note("no worker is running; the job begins with %s", startWorker(p.cfg))
	}
	if asJSON {
		return writeJSON(a.out, job)
	}
	fmt.Fprintln(a.out, job.ID)
	return nil
}

// startWorker is the command that starts a worker on the store in use.
func startWorker(cfg configs.Config) string {
	if cfg.Redis == "" {
		return "`offload up`"
	}
	return "`offload worker`"
}
