package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
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
three seconds where the store is silent. With --dashboard it asks the dashboard of this container or machine instead, at
the address that the settings name; whether the store answers doesn't count then.`,
		UsageText: "offload health\noffload health --redis redis://queue:6379/0\noffload health --dashboard",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "dashboard", Usage: "tell whether the dashboard is alive"}, listenFlag()},
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
	if c.Bool("dashboard") {
		return a.dashboardHealth(ctx, c, cfg)
	}
	if c.IsSet("listen") {
		return usageError("add --dashboard, or leave out --listen", "--listen is about the dashboard, and --dashboard is missing")
	}
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

// dashboardHealthText is the JSON form of a dashboard's good answer.
type dashboardHealthText struct {
	Healthy   bool   `json:"healthy"`
	Dashboard string `json:"dashboard"`
}

// dashboardHealth asks the dashboard that the settings describe whether it is alive.
func (a *app) dashboardHealth(ctx context.Context, c *cli.Context, cfg configs.Config) error {
	if err := dashboardSettings(c, &cfg); err != nil {
		return err
	}
	if cfg.Dashboard.Listen == configs.ListenOff {
		return usageError("name the dashboard's address with --listen", "the settings turn the dashboard off: dashboard.listen is off")
	}
	scheme := "http"
	if cfg.Dashboard.TLSCert != "" {
		scheme = "https"
	}
	address := scheme + "://" + reachable(cfg.Dashboard.Listen)
	// The certificate is for the name that people use, not for this address; nothing secret is sent.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("ask the dashboard: %w", err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return failure("start one with `offload dashboard`; its log says what it waits for", fmt.Errorf("the dashboard at %s doesn't answer: %w", address, err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return failure("is it another program that listens there?", fmt.Errorf("what listens at %s answers with status %d", address, res.StatusCode))
	}
	if c.Bool("json") {
		return writeJSON(a.out, dashboardHealthText{Healthy: true, Dashboard: address})
	}
	fmt.Fprintf(a.out, "the dashboard at %s is alive\n", address)
	return nil
}
