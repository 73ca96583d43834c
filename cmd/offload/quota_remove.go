package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
)

func (a *app) newQuotaRemove() *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "close an account: nothing more is moved for it",
		Description: `Nothing more is granted to the account: files that are being read for it stop after a few MiB at most, its jobs wait,
and new ones are refused. No job and no file is lost. What it used in the running month stays counted. ` + "`offload quota set --account NAME --plan PLAN`" + ` opens it again, and
its jobs go on.`,
		UsageText: "offload quota remove --account anna",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "account", Usage: "`NAME` of the account to close"}},
		Action:    func(c *cli.Context) error { return a.runQuotaRemove(c) },
	}
}

func (a *app) runQuotaRemove(c *cli.Context) error {
	account, err := accountFlag(c, "")
	if err != nil {
		return err
	}
	if account == "" {
		return usageError("`offload quota show` lists the accounts", "name the account to close with --account")
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	unknown := usageError("`offload quota show` lists the accounts", "--account: there is no account %s", configs.Quote(account))
	if _, configured := cfg.Quota.Accounts[account]; cfg.Redis == "" && !exists(storeDir(cfg)) && !configured {
		return unknown
	}
	p, err := open(c.Context, cfg, log)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	known, err := knownAccount(c.Context, p, account)
	if err != nil {
		return err
	}
	if !known {
		return unknown
	}
	if err := p.ledger.Remove(c.Context, account); err != nil {
		return fmt.Errorf("close account %s: %w", account, err)
	}
	st, err := p.ledger.Status(c.Context, account)
	if err != nil {
		return fmt.Errorf("read the quota of account %s: %w", account, err)
	}
	if err := p.jobs.QuotaChanged(c.Context, account); err != nil { // they find out by themselves, only later
		log.Warn("tell the jobs that the account is closed", "account", account, "error", err)
	}
	if c.Bool("json") {
		return writeJSON(a.out, st)
	}
	n, err := unfinished(c.Context, p, account)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s removed: nothing more is moved for it. The %s that it used stay counted until %s.", account, size(st.Used), dayIn(st.Period.End, st.TimeZone))
	if n > 0 {
		text += fmt.Sprintf(" Its jobs wait until it is opened again (%d now); `offload jobs cancel ID` ends one.", n)
	}
	writeWrapped(a.out, "", text+fmt.Sprintf(" `%s` opens it again.", raiseCommand(account)))
	return nil
}

// unfinished counts the jobs of an account that have not ended.
func unfinished(ctx context.Context, p *parts, account string) (int64, error) {
	n, o := int64(0), jobs.ListOptions{Account: account,
		States: []jobs.State{jobs.Queued, jobs.Scanning, jobs.Transferring, jobs.Finishing, jobs.Paused, jobs.Waiting}}
	err := eachJob(ctx, p, o, func(jobs.Job) { n++ })
	return n, err
}
