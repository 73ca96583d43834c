package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/internal/store"
)

func listenFlag() cli.Flag {
	return &cli.StringFlag{Name: "listen", Usage: "`ADDRESS` of the pages and the API; default 127.0.0.1:7317 (OFFLOAD_DASHBOARD_LISTEN)"}
}

func (a *app) newDashboard() *cli.Command {
	return &cli.Command{
		Name: "dashboard", Usage: "serve the pages and the API until stopped",
		Description: `Any number of dashboards work on one store, beside the workers. Without users and tokens in the settings
it serves this machine only, and whoever is on it may do everything; ` + "`offload config example`" + ` says how to name
them, and how to encrypt with TLS. While the store doesn't answer, the dashboard waits for it and says so.`,
		UsageText:   "offload dashboard\noffload dashboard --redis redis://queue:6379/0 --listen :7317",
		Flags:       []cli.Flag{listenFlag()},
		Action:      func(c *cli.Context) error { return a.runDashboard(c) },
		Subcommands: []*cli.Command{a.newDashboardHash()},
	}
}

// dashboardSettings lets --listen win over the settings.
func dashboardSettings(c *cli.Context, cfg *configs.Config) error {
	if c.IsSet("listen") {
		if cfg.Dashboard.Listen = c.String("listen"); cfg.Dashboard.Listen == "" {
			return usageError("write one like 127.0.0.1:7317", "--listen: the address is empty")
		}
	}
	return cfg.Validate()
}

func (a *app) runDashboard(c *cli.Context) error {
	if err := refuseJSON(c); err != nil {
		return err
	}
	cfg, log, err := a.settings(c, "info")
	if err != nil {
		return err
	}
	if err := dashboardSettings(c, &cfg); err != nil {
		return err
	}
	if cfg.Dashboard.Listen == configs.ListenOff {
		return usageError("name an address with --listen, such as 127.0.0.1:7317", "the settings turn the dashboard off: dashboard.listen is off")
	}
	s, err := openSite(cfg, log)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, stop, err := a.untilStopped(c.Context)
	if err != nil {
		return err
	}
	defer stop()
	if cfg.Redis != "" {
		store.LogRedis(log.With("from", "redis"))
	}
	a.tellAddress(s)
	served := s.serve(ctx, stop)
	err = a.runSite(ctx, s)
	stop()
	if failed := <-served; err == nil {
		err = failed
	}
	if err == nil {
		log.Info("dashboard stopped")
	}
	return err
}

// storeWait is how long a dashboard waits for its Redis: it has nothing better to do.
const storeWait = 365 * 24 * time.Hour

// runSite opens the store, and the dashboard on it, until ctx is done.
func (a *app) runSite(ctx context.Context, s *site) error {
	if s.cfg.Redis != "" {
		store.Await(ctx, s.cfg.Redis, storeWait, s.log)
	}
	if ctx.Err() != nil {
		return nil
	}
	_, p, err := a.openRemotes(ctx, s.cfg, s.log)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer p.closeLogged()
	stopMessages, err := p.startMessages(ctx)
	if err != nil {
		return err
	}
	defer stopMessages()
	d, err := s.dashboard(p)
	if err != nil {
		return err
	}
	s.front.Open(d.Handler())
	d.Run(ctx)
	<-ctx.Done()
	s.ended.Wait() // requests use the store until the last
	return nil
}

// untilStopped returns a context that the first signal ends, which is no failure; the second one ends the process.
func (a *app) untilStopped(parent context.Context) (context.Context, func(), error) {
	signals, err := a.takeSignals(parent)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(parent)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for first := true; ; first = false {
			select {
			case <-signals:
			case <-quit:
				return
			}
			if !first {
				a.exit(exitInterrupted)
			}
			cancel()
		}
	}()
	return ctx, sync.OnceFunc(func() { cancel(); close(quit); <-done }), nil
}

// tellAddress says where the dashboard is. Logs in JSON are collected by programs, which find it there.
func (a *app) tellAddress(s *site) {
	s.log.Info("dashboard started", "address", s.address())
	if s.cfg.Log.Format == "text" {
		fmt.Fprintf(a.out, "dashboard: %s/\n", s.address())
	}
}

// listen takes the address of the dashboard.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, usageError("choose another address with --listen, or stop what listens there; `offload up --listen off` runs without a dashboard",
			"the dashboard can't listen on %s: the address is in use", configs.Quote(address))
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return nil, usageError("choose another address with --listen, such as 127.0.0.1:7317", "the dashboard can't listen on %s: %w", configs.Quote(address), err)
}

// newDashboardHash builds the command that makes what the settings hold in place of a password.
func (a *app) newDashboardHash() *cli.Command {
	return &cli.Command{
		Name: "hash", Usage: "ask for a password and print its hash, for dashboard.users in the settings",
		Description: `Reads the password from the terminal, twice and without showing it, or one line from the standard input.`,
		UsageText:   "offload dashboard hash\noffload dashboard hash < password.txt",
		Action:      func(c *cli.Context) error { return a.runDashboardHash(c) },
	}
}

func (a *app) runDashboardHash(c *cli.Context) error {
	if err := refuseJSON(c); err != nil {
		return err
	}
	p := a.newPrompter()
	asks := p.asks()
	var password, again string
	var err error
	if asks {
		if password, err = p.secret(c.Context, "Password: "); err == nil {
			again, err = p.secret(c.Context, "Once more: ")
		}
		if err == nil && password != again {
			return usageError("type the same password twice", "the two passwords differ")
		}
	} else {
		password, err = p.wait(c.Context, func() (string, error) { return p.lines.ReadString('\n') })
	}
	if err != nil {
		return err
	}
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out, strings.TrimSpace(hash))
	return nil
}

// siteBeside opens the site of `offload up`; nil for a worker alone.
func siteBeside(c *cli.Context, cfg *configs.Config, log *slog.Logger) (*site, error) {
	if c.Command.Name != "up" {
		return nil, nil
	}
	if err := refuseJSON(c); err != nil {
		return nil, err
	}
	if err := dashboardSettings(c, cfg); err != nil || cfg.Dashboard.Listen == configs.ListenOff {
		return nil, err
	}
	return openSite(*cfg, log)
}

// serveBeside serves the dashboard on the parts of a worker until the returned function is called. s may be nil.
func (a *app) serveBeside(ctx context.Context, s *site, p *parts) (stop func(), err error) {
	if s == nil {
		return func() {}, nil
	}
	d, err := s.dashboard(p)
	if err != nil {
		return nil, err
	}
	s.front.Open(d.Handler())
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.ended.Go(func() { d.Run(ctx) })
	a.tellAddress(s)
	served := s.serve(ctx, cancel)
	return func() {
		cancel()
		if err := <-served; err != nil {
			s.log.Error("the dashboard ended early", "error", err)
		}
		s.ended.Wait()
	}, nil
}
