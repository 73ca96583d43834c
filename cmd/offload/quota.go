package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/quota"
)

func (a *app) newQuota() *cli.Command {
	account := &cli.StringFlag{Name: "account", Usage: "`NAME` of the account; default \"default\" for set, all for show"}
	return &cli.Command{
		Name: "quota", Usage: "look at and change monthly traffic allowances",
		Subcommands: []*cli.Command{
			{
				Name: "show", Usage: "show what each account used and has left",
				UsageText: "offload quota show\noffload quota show --account anna --json",
				Flags:     []cli.Flag{account},
				Action:    func(c *cli.Context) error { return a.runQuotaShow(c) },
			},
			{
				Name: "set", Usage: "change an account's allowance; jobs that wait for it go on",
				Description: `What was used in the running month stays used, whatever is changed.`,
				UsageText:   "offload quota set --plan plus\noffload quota set --account anna --limit 20GiB --anchor-day 15 --time-zone Europe/Berlin",
				Flags: []cli.Flag{
					account,
					&cli.StringFlag{Name: "plan", Usage: "`NAME` of a plan of the settings: free, basic, plus, unlimited"},
					&cli.StringFlag{Name: "limit", Usage: "`SIZE` a month in place of the plan's, such as 20GiB, or unlimited"},
					&cli.StringFlag{Name: "anchor-day", Usage: "`DAY` of the month, 1 to 31, on which the allowance begins anew"},
					&cli.StringFlag{Name: "time-zone", Usage: "`ZONE` whose midnight that is, such as Europe/Berlin"},
				},
				Action: func(c *cli.Context) error { return a.runQuotaSet(c) },
			},
		},
	}
}

func (a *app) runQuotaShow(c *cli.Context) error {
	account := c.String("account")
	if c.IsSet("account") {
		if err := configs.CheckAccount(account); err != nil {
			return usageError("use up to 64 of a-z 0-9 . _ -", "--account: %w", err)
		}
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	p, err := open(c.Context, cfg, log)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	accounts := []string{account}
	if account == "" {
		if accounts, err = p.ledger.Accounts(c.Context); err != nil {
			return fmt.Errorf("list the accounts: %w", err)
		}
		if !slices.Contains(accounts, cfg.Account) {
			accounts = append([]string{cfg.Account}, accounts...)
		}
		slices.Sort(accounts)
	}
	all := make([]quota.Status, len(accounts))
	for i, name := range accounts {
		if all[i], err = p.ledger.Status(c.Context, name); err != nil {
			return fmt.Errorf("read the quota of account %s: %w", name, err)
		}
	}
	if c.Bool("json") && account != "" {
		return writeJSON(a.out, all[0])
	}
	if c.Bool("json") {
		return writeJSON(a.out, all)
	}
	return writeQuotas(a.out, all)
}

func writeQuotas(w io.Writer, all []quota.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACCOUNT\tPLAN\tLIMIT\tUSED\tIN PROGRESS\tLEFT\tOF IT WASTED\tBEGINS ANEW")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Account, s.Plan, size(s.Limit), size(s.Used), size(s.Reserved),
			size(s.Available), size(s.Wasted), zoned(s.Period.End, s.TimeZone))
	}
	return t.Flush()
}

// zoned writes a time in the account's own zone.
func zoned(t time.Time, zone string) string {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		loc = time.UTC
	}
	return t.In(loc).Format("2006-01-02 15:04 MST")
}

func (a *app) runQuotaSet(c *cli.Context) error {
	change, err := readChange(c)
	if err != nil {
		return err
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	account := cfg.Account
	if c.IsSet("account") {
		account = c.String("account")
	}
	if err := configs.CheckAccount(account); err != nil {
		return usageError("use up to 64 of a-z 0-9 . _ -", "--account: %w", err)
	}
	if change.Plan != nil && !slices.ContainsFunc(cfg.Quota.Tiers, func(t configs.Tier) bool { return t.Name == *change.Plan }) {
		return usageError("the plans are "+planNames(cfg.Quota.Tiers), "--plan: there is no plan %s", configs.Quote(*change.Plan))
	}
	p, err := open(c.Context, cfg, log)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	st, err := p.ledger.Set(c.Context, account, change)
	if err != nil {
		return err
	}
	if err := p.jobs.QuotaChanged(c.Context, account); err != nil {
		return failure("`offload jobs resume ID` wakes them one by one", fmt.Errorf("the quota is set, but the jobs that wait for it weren't woken: %w", err))
	}
	if c.Bool("json") {
		return writeJSON(a.out, st)
	}
	fmt.Fprintln(a.out, quotaLine(st))
	return nil
}

// readChange reads the flags of `quota set`.
func readChange(c *cli.Context) (quota.Change, error) {
	var change quota.Change
	if c.IsSet("plan") {
		plan := c.String("plan")
		change.Plan = &plan
	}
	if c.IsSet("limit") {
		limit, err := configs.ParseLimit(c.String("limit"))
		if err != nil {
			return change, usageError("write a size like 20GiB, or unlimited", "--limit: %w", err)
		}
		change.Limit = &limit
	}
	if c.IsSet("anchor-day") {
		day, err := configs.ParseCount(c.String("anchor-day"), 1, 31)
		if err != nil {
			return change, usageError("write a day of the month", "--anchor-day: %w", err)
		}
		n := int(day)
		change.AnchorDay = &n
	}
	if c.IsSet("time-zone") {
		zone := c.String("time-zone")
		if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
			return change, usageError("write an IANA name such as Europe/Berlin or UTC", "--time-zone: there is no time zone %s", configs.Quote(zone))
		}
		change.TimeZone = &zone
	}
	if change == (quota.Change{}) {
		return change, usageError("add --plan, --limit, --anchor-day or --time-zone", "there is nothing to set")
	}
	return change, nil
}

func planNames(tiers []configs.Tier) string {
	names := ""
	for i, t := range tiers {
		if i > 0 {
			names += ", "
		}
		names += t.Name
	}
	return names
}
