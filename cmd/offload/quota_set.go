package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/quota"
	"offload/quota/quotaform"
	"offload/transfer"
)

func (a *app) newQuotaSet() *cli.Command {
	text := func(name, usage string) cli.Flag { return &cli.StringFlag{Name: name, Usage: usage} }
	return &cli.Command{
		Name: "set", Usage: "change what an account, a remote or all jobs together may move; jobs that wait for it go on",
		Description: `One command changes one account, one remote (--remote), or the bandwidth of all jobs together (--bwlimit). It holds
at once, for every worker. What was used in the running month or day stays used, whatever is changed.`,
		UsageText: `offload quota set --plan plus
offload quota set --account anna --limit 20GiB --anchor-day 15 --time-zone Europe/Berlin
offload quota set --remote gdrive --per-day 750GiB
offload quota set --remote dropbox --calls-per-month 25000
offload quota set --bwlimit "08:00,512k 19:00,off"
offload quota set --bwlimit default
offload quota set --account anna --reset`,
		Flags: []cli.Flag{
			text("account", "`NAME` of the account; default \"default\""),
			text("plan", "`NAME` of a plan of the settings: free, basic, plus, unlimited"),
			text("limit", "`SIZE` a month in place of the plan's, such as 20GiB, or unlimited"),
			text("anchor-day", "`DAY` of the month, 1 to 31, on which the allowance begins anew"),
			text("time-zone", "`ZONE` whose midnight that is, such as Europe/Berlin"),
			text("remote", "`NAME` of a remote to limit, such as gdrive"),
			text("per-day", "`SIZE` through the remote a day, in or out, such as 750GiB, or unlimited"),
			text("per-month", "`SIZE` through the remote a month, or unlimited"),
			text("calls-per-month", "`N` API calls to the remote a month, or unlimited"),
			text("bwlimit", "at most `RATE` bytes a second over all jobs and workers, rclone's syntax: 4M, a timetable, off, or default (that of the settings)"),
			&cli.BoolFlag{Name: "reset", Usage: "take away what was set for the account or the remote: the settings hold again"},
		},
		Action: func(c *cli.Context) error { return a.runQuotaSet(c) },
	}
}

// The flags of `quota set` for an account and for a remote.
func accountSettings() []string { return []string{"plan", "limit", "anchor-day", "time-zone"} }
func remoteSettings() []string  { return []string{"per-day", "per-month", "calls-per-month"} }

func (a *app) runQuotaSet(c *cli.Context) error {
	if err := checkSetFlags(c); err != nil {
		return err
	}
	switch {
	case c.IsSet("bwlimit"):
		return a.setBandwidth(c)
	case c.IsSet("remote"):
		return a.setRemote(c)
	}
	return a.setAccount(c)
}

// checkSetFlags refuses what doesn't belong together, or sets nothing.
func checkSetFlags(c *cli.Context) error {
	account, remote := accountSettings(), remoteSettings()
	checks := []error{
		notTogether(c, "bwlimit", slices.Concat([]string{"account", "remote", "reset"}, account, remote)...),
		notTogether(c, "remote", slices.Concat([]string{"account"}, account)...),
		notTogether(c, "reset", slices.Concat(account, remote)...),
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	set := func(flags []string) bool { return slices.ContainsFunc(flags, c.IsSet) }
	switch {
	case c.IsSet("bwlimit"), c.Bool("reset"):
		return nil
	case !c.IsSet("remote") && set(remote):
		flag := remote[slices.IndexFunc(remote, c.IsSet)]
		return usageError("add --remote NAME", "--%s is the limit of a remote, and none is named", flag)
	case c.IsSet("remote") && !set(remote):
		return usageError("add --per-day, --per-month, --calls-per-month or --reset", "there is nothing to set for the remote")
	case !c.IsSet("remote") && !set(account):
		return usageError("add --plan, --limit, --anchor-day, --time-zone, --remote with its limits, --bwlimit or --reset", "there is nothing to set")
	}
	return nil
}

func (a *app) setAccount(c *cli.Context) error {
	change, err := readChange(c)
	if err != nil {
		return err
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	account, err := accountFlag(c, cfg.Account)
	if err != nil {
		return err
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
	if err := wake(c.Context, p, account); err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, st)
	}
	fmt.Fprintln(a.out, quotaLine(st))
	return nil
}

// wake lets the jobs that a limit holds up look whether they fit now.
func wake(ctx context.Context, p *parts, subject string) error {
	if err := p.jobs.QuotaChanged(ctx, subject); err != nil {
		return failure("`offload jobs resume ID` wakes them one by one", fmt.Errorf("the quota is set, but the jobs that wait for it weren't woken: %w", err))
	}
	return nil
}

// readChange reads the flags of `quota set` for an account.
func readChange(c *cli.Context) (quota.Change, error) {
	given := func(flag string) *string {
		if !c.IsSet(flag) {
			return nil
		}
		text := c.String(flag)
		return &text
	}
	change, err := quotaform.Settings{Plan: given("plan"), Limit: given("limit"), AnchorDay: given("anchor-day"), TimeZone: given("time-zone")}.Change()
	change.Reset = c.Bool("reset")
	return change, wrongFlag(err)
}

// wrongFlag tells of a mistake in a flag.
func wrongFlag(err error) error {
	if wrong, ok := quotaform.As(err); ok {
		return usageError(wrong.Hint, "--%s: %w", wrong.Field, wrong.Err)
	}
	return err
}

func planNames(tiers []configs.Tier) string {
	names := make([]string, len(tiers))
	for i, t := range tiers {
		names[i] = t.Name
	}
	return strings.Join(names, ", ")
}

// remoteChange is a limit of a remote to change.
type remoteChange struct {
	measure quota.Measure
	change  quota.Change
}

// readRemoteChanges reads the flags of `quota set` for a remote. --reset takes all its limits away.
func readRemoteChanges(c *cli.Context) ([]remoteChange, error) {
	var all []remoteChange
	if c.Bool("reset") {
		for _, m := range quota.Measures() {
			all = append(all, remoteChange{m, quota.Change{Reset: true}})
		}
		return all, nil
	}
	for _, m := range quotaform.Measures() {
		if !c.IsSet(m.Name) {
			continue
		}
		change, err := m.Change(c.String(m.Name))
		if err != nil {
			return nil, wrongFlag(err)
		}
		all = append(all, remoteChange{m.Measure, change})
	}
	return all, nil
}

func (a *app) setRemote(c *cli.Context) error {
	remote, err := remoteFlag(c)
	if err != nil {
		return err
	}
	changes, err := readRemoteChanges(c)
	if err != nil {
		return err
	}
	set, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer set.close()
	if !c.Bool("reset") { // the limits of a remote that was removed can still be taken away
		if err := checkRemoteKnown(remote); err != nil {
			return err
		}
	}
	if err := set.needStore(c.Context); err != nil {
		return err
	}
	for _, r := range changes {
		if _, err := set.p.ledger.Set(c.Context, quota.RemoteSubject(remote, r.measure), r.change); err != nil {
			return err
		}
	}
	if err := wake(c.Context, set.p, quota.RemoteSubject(remote, changes[0].measure)); err != nil {
		return err
	}
	limits, err := remoteLimits(c.Context, set.p, subjectsOf(remote))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, limits)
	}
	if len(limits) == 0 {
		fmt.Fprintf(a.out, "%s: has no limits\n", printable(remote))
		return nil
	}
	return writeRemoteLimits(a.out, limits)
}

// checkFleetBandwidth checks the setting, which only transfer can read.
func checkFleetBandwidth(cfg configs.Config) error {
	if cfg.Quota.BwLimit == "" {
		return nil
	}
	if _, err := quotaform.Bandwidth(cfg.Quota.BwLimit); err != nil {
		return &configs.FieldError{Field: "quota.bwlimit", Err: err, Hint: quotaform.BandwidthHint}
	}
	return nil
}

// bandwidthFlag reads --bwlimit of commands that change one; "" is the default.
func bandwidthFlag(c *cli.Context) (string, error) {
	text, err := quotaform.BandwidthSpec(c.String("bwlimit"))
	return text, wrongFlag(err)
}

// bandwidthWords says a bandwidth as it was written and what it comes to now: "4M (4.0 MiB/s now)".
func bandwidthWords(text string) string {
	b, err := transfer.ParseBandwidth(text)
	if err != nil {
		return printable(text)
	}
	if rate := b.At(time.Now()); rate > 0 {
		return fmt.Sprintf("%s (%s/s now)", printable(text), size(rate))
	}
	if text == "" {
		return "no limit"
	}
	return printable(text) + " (no limit now)"
}

func (a *app) setBandwidth(c *cli.Context) error {
	text, err := bandwidthFlag(c)
	if err != nil {
		return err
	}
	p, err := a.open(c)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	if err := p.jobs.SetBandwidth(c.Context, text); err != nil {
		return fmt.Errorf("set the bandwidth of all jobs: %w", err)
	}
	if text, err = p.jobs.Bandwidth(c.Context); err != nil {
		return fmt.Errorf("read the bandwidth of all jobs: %w", err)
	}
	if c.Bool("json") {
		return writeJSON(a.out, bandwidthNow(text))
	}
	fmt.Fprintf(a.out, "Bandwidth of all jobs together: %s\n", bandwidthWords(text))
	return nil
}
