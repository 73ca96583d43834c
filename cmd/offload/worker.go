package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/internal/store"
	"offload/jobs"
)

func workerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "batches", Usage: "`N` batches of files at once; default 16 (OFFLOAD_WORKER_BATCHES)"},
		&cli.StringFlag{Name: "transfers", Usage: "`N` files at once over all batches; 0 (default) adapts (OFFLOAD_WORKER_TRANSFERS)"},
	}
}

const stopText = `The first Ctrl-C or SIGTERM gives the files that have begun a few seconds to end and hands the rest back; the
second one stops at once. Neither loses anything.`

func (a *app) newWorker() *cli.Command {
	return &cli.Command{
		Name: "worker", Usage: "work on the jobs of the store until stopped",
		Description: `Any number of workers share the jobs of one store. It refuses to start on a Redis that may evict keys, and
warns where nothing is persisted.
` + stopText,
		UsageText: "offload worker --redis redis://queue:6379/0\noffload worker --batches 2 --transfers 4",
		Flags:     workerFlags(),
		Action:    func(c *cli.Context) error { return a.runWorker(c) },
	}
}

func (a *app) newUp() *cli.Command {
	return &cli.Command{
		Name: "up", Usage: "run everything that one machine needs in one process, on the embedded store",
		Description: `Runs a worker, the schedules and the dashboard (http://127.0.0.1:7317 unless --listen or the settings say otherwise). Other commands of
the same user (enqueue, jobs, quota) work beside it on the same data folder.
` + stopText,
		UsageText: "offload up\noffload up --listen 127.0.0.1:8080\noffload up --listen off",
		Flags:     append(workerFlags(), listenFlag()),
		Action: func(c *cli.Context) error {
			return a.runWorker(c)
		},
	}
}

// redisWait is how long a worker that is started before its Redis waits for it. Whoever restarts workers tries again.
const redisWait = 30 * time.Second

// How long a stop may take, after the first signal and after the second: longer than files are waited for.
const (
	stopSlowly = 15 * time.Second
	stopAtOnce = 10 * time.Second
)

func (a *app) runWorker(c *cli.Context) error {
	cfg, log, err := a.settings(c, "info")
	if err != nil {
		return err
	}
	if err := workerSettings(c, &cfg); err != nil {
		return err
	}
	if c.Command.Name == "up" && cfg.Redis != "" {
		return usageError("use `offload worker`, or leave out --redis and OFFLOAD_REDIS", "up runs on the embedded store, but the settings name %s", configs.MaskURL(cfg.Redis))
	}
	ctx := c.Context
	s, err := siteBeside(c, &cfg, log)
	if err != nil {
		return err
	}
	defer s.close()
	if cfg.Redis != "" {
		store.LogRedis(log.With("from", "redis"))
		store.Await(ctx, cfg.Redis, redisWait, log)
	}
	_, p, err := a.openRemotes(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	if err := p.checkStore(ctx); err != nil {
		return err
	}
	stopMessages, err := p.startMessages(ctx)
	if err != nil {
		return err
	}
	defer stopMessages()
	signals, err := a.takeSignals(ctx)
	if err != nil {
		return err
	}
	soft, stopSoft := context.WithCancel(ctx)
	defer stopSoft()
	hard, stopHard := context.WithCancel(ctx)
	defer stopHard()
	defer p.startSchedules(soft)()
	log.Info("worker starts", "batches", cfg.Worker.Batches, "transfers", cfg.Worker.Transfers, "store", storeName(cfg))
	stopSite, err := a.serveBeside(ctx, s, p)
	if err != nil {
		return err
	}
	defer stopSite()
	ended := make(chan error, 1)
	go func() {
		ended <- p.jobs.RunWorker(soft, hard, jobs.WorkerOptions{
			Batches: cfg.Worker.Batches, Transfers: cfg.Worker.Transfers,
		})
	}()
	var late <-chan time.Time // when a stop has taken too long; nil before there is one
	for stops := 0; ; {
		select {
		case <-late:
			if stops > 1 {
				return failure("nothing is lost by it; docs/state-machine.md says who goes on", errors.New("the worker didn't stop in time and was ended"))
			}
			log.Warn("stopping takes too long: what has begun is left, and done again later")
			stops, late = 2, time.After(stopAtOnce)
			stopHard()
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("run the worker: %w", err)
			}
			log.Info("worker stopped")
			return nil
		case <-signals:
			if stops++; stops == 1 {
				log.Info("stopping; files that have begun get a few seconds to end, and a second signal stops at once")
				late = time.After(stopSlowly)
				stopSoft()
				continue
			}
			log.Warn("stopping at once; the files that have begun are done again later")
			late = time.After(stopAtOnce)
			stopHard()
		}
	}
}

// workerSettings lets the flags of a worker win over its settings.
func workerSettings(c *cli.Context, cfg *configs.Config) error {
	for flag, to := range map[string]struct {
		field    *int
		min, max int64
	}{
		"batches":   {&cfg.Worker.Batches, 1, configs.MaxBatches},
		"transfers": {&cfg.Worker.Transfers, 0, configs.MaxTransfers},
	} {
		if !c.IsSet(flag) {
			continue
		}
		n, err := configs.ParseCount(c.String(flag), to.min, to.max)
		if err != nil {
			return usageError(fmt.Sprintf("write a number from %d to %d", to.min, to.max), "--%s: %w", flag, err)
		}
		*to.field = int(n)
	}
	return cfg.Validate()
}

func storeName(cfg configs.Config) string {
	if cfg.Redis == "" {
		return "embedded in " + storeDir(cfg)
	}
	return configs.MaskURL(cfg.Redis)
}

func (a *app) newConfig() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "print the settings",
		Subcommands: []*cli.Command{
			{
				Name: "example", Usage: "print a settings file with every setting, its default and what it means",
				UsageText: "offload config example > ~/.config/offload/offload.yaml",
				Action: func(c *cli.Context) error {
					if err := refuseJSON(c); err != nil {
						return err
					}
					_, err := a.out.Write(configs.Example())
					return err
				},
			},
			{
				Name: "show", Usage: "print the settings in effect, with passwords masked",
				UsageText: "offload config show --redis redis://queue:6379/0",
				Action: func(c *cli.Context) error {
					cfg, _, err := a.settings(c, "warn")
					if err != nil {
						return err
					}
					if c.Bool("json") {
						return writeJSON(a.out, cfg.Masked())
					}
					_, err = io.WriteString(a.out, cfg.String())
					return err
				},
			},
		},
	}
}
