package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/notify"
	"offload/remotes"
)

// How long messages may keep a process that ends.
const (
	messagesEnd  = 5 * time.Second  // a message on its way
	lastMessages = 20 * time.Second // what a run in the foreground has to say at its end
)

// How often is looked for news that no job makes.
const (
	watchStore = 30 * time.Second
	watchOften = time.Minute
	watchIdle  = 10 * time.Minute
	watchTrust = time.Hour
)

func (a *app) newNotify() *cli.Command {
	return &cli.Command{
		Name: "notify", Usage: "the targets of messages: who is told what happens",
		Subcommands: []*cli.Command{
			{
				Name: "test", Usage: "send each target, or one, a test message", ArgsUsage: "[NAME]",
				Description: `Tells for each target whether its service took the message. Exits with status 1 where one didn't.
docs/messages.md shows the forms of addresses.`,
				UsageText: "offload notify test\noffload notify test phone\nOFFLOAD_MESSAGES_URL=ntfy://ntfy.sh/my-topic offload notify test",
				Action:    func(c *cli.Context) error { return a.runNotifyTest(c) },
			},
			{
				Name: "list", Usage: "list the targets, without their secrets",
				UsageText: "offload notify list --json",
				Action:    func(c *cli.Context) error { return a.runNotifyList(c) },
			},
		},
	}
}

// messageTargets reads the addresses of the configured targets.
func messageTargets(cfg configs.Config) ([]notify.Target, error) {
	var all []notify.Target
	for _, t := range cfg.Messages.Targets {
		address, err := t.Address()
		if err != nil {
			return nil, err
		}
		target := notify.Target{Name: t.Name, Address: address, Accounts: t.Accounts}
		for _, e := range t.Events {
			target.Events = append(target.Events, jobs.NewsKind(e))
		}
		all = append(all, target)
	}
	return all, nil
}

func newSender(c notify.Config) (*notify.Sender, error) {
	s, err := notify.New(c)
	if err != nil {
		return nil, usageError("docs/messages.md shows the forms of addresses", "%w", err)
	}
	return s, nil
}

// sender returns what sends the messages of this store and subscribes it, so that nothing is missed from now on; nil where
// no targets are configured.
func (p *parts) sender(ctx context.Context) (*notify.Sender, error) {
	cfg := p.cfg
	targets, err := messageTargets(cfg)
	if err != nil || len(targets) == 0 {
		return nil, err
	}
	idle := time.Duration(cfg.Messages.Idle)
	s, err := newSender(notify.Config{Targets: targets, Store: p.jobs, Name: p.jobs.Self(), Every: time.Duration(cfg.Messages.Every), Link: cfg.Messages.Link,
		Details: cfg.Messages.Details, Log: p.log,
		Watches: []notify.Watch{
			{What: "the store", Every: watchStore, Look: p.jobs.WatchStore},
			{What: "quotas", Every: watchOften, Look: p.jobs.WatchQuota},
			{What: "workers", Every: watchOften, Look: p.jobs.WatchWorkers},
			{What: "jobs that don't move", Every: watchIdle, Look: func(ctx context.Context) error { return p.jobs.WatchIdle(ctx, idle) }},
			{What: "sign-ins", Every: watchTrust, Look: p.watchTrust},
		}})
	if err != nil {
		return nil, err
	}
	if err := s.Subscribe(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// startMessages tells the targets what happens until stop is called.
func (p *parts) startMessages(ctx context.Context) (stop func(), err error) {
	s, err := p.sender(ctx)
	if err != nil {
		return nil, err
	}
	return p.run(ctx, s), nil
}

// run runs a sender, which may be nil, until stop is called.
func (p *parts) run(ctx context.Context, s *notify.Sender) (stop func()) {
	if s == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(messagesEnd):
			p.log.Warn("a message was on its way as the program ended; it may be sent again")
		}
	}
}

// tellLast sends what is to be said of a job that was done in the foreground, unless others go on sending.
func (p *parts) tellLast(ctx context.Context, s *notify.Sender, job jobs.Job) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastMessages)
	defer cancel()
	if err := p.jobs.Announce(ctx, job.ID); err != nil {
		p.log.Warn("tell how the job ended", "job", job.ID, "error", err)
	}
	s.Flush(ctx)
}

// watchTrust makes news of sign-ins that end soon: a week and a day before.
func (p *parts) watchTrust(ctx context.Context) error {
	if p.remotes == nil {
		return nil
	}
	now := time.Now()
	for _, name := range p.remotes.GetSectionList() {
		days, known := remotes.TrustLeft(p.remotes.Values(name), now)
		if !known {
			continue
		}
		if err := p.jobs.SignInEnds(ctx, name, days); err != nil {
			return err
		}
	}
	return nil
}

// targetInfo is a target as it is listed.
type targetInfo struct {
	Name     string   `json:"name"`
	Service  string   `json:"service"`
	Events   []string `json:"events"`
	Accounts []string `json:"accounts"`
}

func (a *app) runNotifyList(c *cli.Context) error {
	cfg, _, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	targets, err := messageTargets(cfg)
	if err != nil {
		return err
	}
	list := make([]targetInfo, len(targets))
	for i, t := range targets {
		list[i] = targetInfo{Name: t.Name, Service: t.Service(), Events: []string{}, Accounts: append([]string{}, t.Accounts...)}
		for _, e := range t.Events {
			list[i].Events = append(list[i].Events, string(e))
		}
	}
	if c.Bool("json") {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		a.note("no targets are configured: nobody is told of anything; `offload config example` shows messages")
		return nil
	}
	for _, t := range list {
		fmt.Fprintf(a.out, "%-16s %-12s %s\n", t.Name, t.Service, wantsWords(t))
	}
	return nil
}

// wantsWords says what a target is told.
func wantsWords(t targetInfo) string {
	words := "all that happens"
	if len(t.Events) > 0 {
		words = strings.Join(t.Events, ", ")
	}
	if len(t.Accounts) > 0 {
		words += " of " + strings.Join(t.Accounts, ", ")
	}
	return words
}

func (a *app) runNotifyTest(c *cli.Context) error {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	targets, err := messageTargets(cfg)
	if err != nil {
		return err
	}
	if name := c.Args().First(); c.Args().Present() {
		targets = slices.DeleteFunc(targets, func(t notify.Target) bool { return t.Name != name })
		if len(targets) == 0 {
			return usageError("`offload notify list` shows the targets", "there is no target %s", configs.Quote(name))
		}
	}
	if len(targets) == 0 {
		return usageError("`offload config example` shows how to name some under messages, or set OFFLOAD_MESSAGES_URL", "no targets are configured")
	}
	s, err := newSender(notify.Config{Targets: targets, Link: cfg.Messages.Link, Log: log})
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	reports, failed := s.Test(c.Context, targets, host), 0
	for _, r := range reports {
		line := fmt.Sprintf("%-16s %-12s sent", r.Name, r.Service)
		if !r.Sent {
			failed++
			line = fmt.Sprintf("%-16s %-12s failed: %s", r.Name, r.Service, printable(r.Error))
		}
		if !c.Bool("json") {
			fmt.Fprintln(a.out, line)
		}
	}
	if c.Bool("json") {
		if err := writeJSON(a.out, reports); err != nil {
			return err
		}
	}
	if failed > 0 {
		return status(exitFailed)
	}
	return nil
}
