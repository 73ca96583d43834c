package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
)

// enqueueAll accepts the jobs and prints their IDs.
func (a *app) enqueueAll(c *cli.Context, p *parts, cfg configs.Config, orders []jobs.Order) error {
	made := []jobs.Job{}
	for _, o := range orders {
		j, err := p.jobs.Enqueue(c.Context, o)
		if err != nil {
			return err
		}
		if made = append(made, j); !c.Bool("json") {
			fmt.Fprintln(a.out, j.ID)
		}
	}
	if n, err := p.jobs.WorkersRunning(c.Context); err == nil && n == 0 {
		a.note("no worker is running; the work begins with %s", startWorker(cfg))
	}
	if c.Bool("json") {
		return writeJSON(a.out, made)
	}
	return nil
}

// doAll does the jobs in this process, one after the other, and ends with the status that says most.
func (a *app) doAll(c *cli.Context, p *parts, orders []jobs.Order) error {
	ctx := c.Context
	sender, err := p.sender(ctx)
	if err != nil {
		return err
	}
	made, worst := []jobs.Job{}, exitDone
	for i, o := range orders {
		j, err := a.findOrEnqueue(ctx, p, o)
		if err != nil {
			return err
		}
		stopMessages := p.run(ctx, sender)
		j, interrupted, err := a.work(ctx, p, j)
		stopMessages()
		p.tellLast(ctx, sender, j)
		if err != nil {
			return failure("run the same command again to go on; nothing is lost", fmt.Errorf("work on job %s: %w", j.ID, err))
		}
		made = append(made, j)
		if !c.Bool("json") {
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			if err := a.writeSummary(context.WithoutCancel(ctx), p, j); err != nil {
				return err
			}
		}
		if interrupted && !j.State.Terminal() {
			a.note("job %s is kept; the same command goes on with it", j.ID)
			worst = exitInterrupted
			break
		}
		worst = worse(worst, statusOf(j))
	}
	if c.Bool("json") {
		if err := writeJSON(a.out, made); err != nil {
			return err
		}
	}
	return status(worst)
}

// worse is the status that says more of two: failed, then waiting, then warnings.
func worse(a, b int) int {
	for _, s := range []int{exitFailed, exitWaiting, exitWarnings} {
		if a == s || b == s {
			return s
		}
	}
	return exitDone
}
