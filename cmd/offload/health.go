package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
)

// healthLimit is how long the store may take to answer. Docker's own limit is longer (see Dockerfile), so that the reason
// gets into `docker inspect`.
const healthLimit = 3 * time.Second

// healthText is the JSON form of a good answer.
type healthText struct {
	Healthy bool   `json:"healthy"`
	Worker  string `json:"worker"`
}

func (a *app) newHealth() *cli.Command {
	return &cli.Command{
		Name: "health", Usage: "tell whether a worker of this container or machine is alive; made for health checks",
		Description: `Exit status 0 where the store answers and a worker of this container, or of this machine outside of containers, has
reported to it in the last 15 seconds; else 1, with the reason. It changes nothing and takes a fraction of a second, or
three seconds where the store is silent.`,
		UsageText: "offload health\noffload health --redis redis://queue:6379/0",
		Action:    func(c *cli.Context) error { return a.runHealth(c) },
	}
}

func (a *app) runHealth(c *cli.Context) error {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, healthLimit)
	defer cancel()
	p, err := openExisting(ctx, cfg, log)
	if err != nil {
		return err
	}
	name := ""
	if p != nil {
		defer p.closeLogged()
		if name, err = p.jobs.WorkerHere(ctx); err != nil {
			return storeFailure(cfg, err)
		}
	}
	if name == "" {
		return failure("start one with `offload worker`; the log of one that runs says what it waits for",
			errors.New("no worker here has reported to the store "+storeName(cfg)+" in the last 15 seconds"))
	}
	if c.Bool("json") {
		return writeJSON(a.out, healthText{Healthy: true, Worker: name})
	}
	fmt.Fprintf(a.out, "worker %s is alive\n", printable(name))
	return nil
}
