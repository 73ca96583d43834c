package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

func (a *app) newQuotaShow() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show what each account and each limited remote used and has left",
		Description: `With --json: one document of an account with --account; else an array, with an element for each account ("account"), then
one for each limit of a remote ("remote", "measure"), then the bandwidth of all jobs together ("bwlimit"), if one is set.`,
		UsageText: "offload quota show\noffload quota show --account anna --json\noffload quota show --remote gdrive",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "account", Usage: "only the account `NAME`"},
			&cli.StringFlag{Name: "remote", Usage: "only the limits of the remote `NAME`"},
		},
		Action: func(c *cli.Context) error { return a.runQuotaShow(c) },
	}
}

// remoteLimit is how a limit of a remote stands: one element of `quota show --json`.
type remoteLimit struct {
	Remote  string        `json:"remote"`
	Measure quota.Measure `json:"measure"` // day, month or calls
	quota.Status
}

// fleetBandwidth is the bandwidth of all jobs together: one element of `quota show --json`.
type fleetBandwidth struct {
	BwLimit string `json:"bwlimit"` // as it was written
	Rate    int64  `json:"rate"`    // bytes a second now; 0 is no limit
}

func bandwidthNow(text string) fleetBandwidth {
	b, err := transfer.ParseBandwidth(text)
	if err != nil {
		return fleetBandwidth{BwLimit: text} // a newer version wrote it; it is shown as it is
	}
	return fleetBandwidth{text, b.At(time.Now())}
}

func (a *app) runQuotaShow(c *cli.Context) error {
	if err := notTogether(c, "account", "remote"); err != nil {
		return err
	}
	account, err := accountFlag(c, "")
	if err != nil {
		return err
	}
	remote, err := remoteFlag(c)
	if err != nil {
		return err
	}
	p, err := a.open(c)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	switch {
	case account != "":
		return a.showAccount(c, p, account)
	case remote != "":
		return a.showRemote(c, p, remote)
	}
	return a.showAll(c, p)
}

func (a *app) showAccount(c *cli.Context, p *parts, account string) error {
	all, err := statuses(c.Context, p, []string{account})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, all[0])
	}
	return writeQuotas(a.out, all)
}

func (a *app) showRemote(c *cli.Context, p *parts, remote string) error {
	limits, err := remoteLimits(c.Context, p, subjectsOf(remote))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, limits)
	}
	if len(limits) == 0 {
		a.note("remote %s has no limits; `offload quota set --remote %s --per-day SIZE` sets one", printable(remote), shellQuote(remote))
		return nil
	}
	return writeRemoteLimits(a.out, limits)
}

// showAll shows every account, every limit of a remote, and the bandwidth of all jobs.
func (a *app) showAll(c *cli.Context, p *parts) error {
	accounts, err := allAccounts(c.Context, p)
	if err != nil {
		return err
	}
	all, err := statuses(c.Context, p, accounts)
	if err != nil {
		return err
	}
	subjects, err := p.ledger.RemoteSubjects(c.Context)
	if err != nil {
		return fmt.Errorf("list the limits of remotes: %w", err)
	}
	limits, err := remoteLimits(c.Context, p, subjects)
	if err != nil {
		return err
	}
	bandwidth, err := p.jobs.Bandwidth(c.Context)
	if err != nil {
		return fmt.Errorf("read the bandwidth of all jobs: %w", err)
	}
	if c.Bool("json") {
		return writeJSON(a.out, elements(all, limits, bandwidth))
	}
	if err := writeQuotas(a.out, all); err != nil {
		return err
	}
	if len(limits) > 0 {
		fmt.Fprintln(a.out)
		if err := writeRemoteLimits(a.out, limits); err != nil {
			return err
		}
	}
	if bandwidth != "" {
		fmt.Fprintf(a.out, "\nBandwidth of all jobs together: %s\n", bandwidthWords(bandwidth))
	}
	return nil
}

// elements are the elements of `quota show --json`: accounts, as ever, and after them what else there is.
func elements(all []quota.Status, limits []remoteLimit, bandwidth string) []any {
	out := []any{}
	for _, st := range all {
		out = append(out, st)
	}
	for _, r := range limits {
		out = append(out, r)
	}
	if bandwidth != "" {
		out = append(out, bandwidthNow(bandwidth))
	}
	return out
}

// allAccounts are the accounts of the settings, those that were ever used, the one that jobs have by default, and those
// of waiting jobs: one that was removed is to be seen while jobs of it wait.
func allAccounts(ctx context.Context, p *parts) ([]string, error) {
	names, err := p.ledger.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the accounts: %w", err)
	}
	names = append(names, p.cfg.Account)
	err = eachJob(ctx, p, jobs.ListOptions{States: []jobs.State{jobs.Waiting}}, func(j jobs.Job) { names = append(names, j.Account) })
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func statuses(ctx context.Context, p *parts, accounts []string) ([]quota.Status, error) {
	all := make([]quota.Status, len(accounts))
	for i, name := range accounts {
		var err error
		if all[i], err = p.ledger.Status(ctx, name); err != nil {
			return nil, fmt.Errorf("read the quota of account %s: %w", name, err)
		}
	}
	return all, nil
}

// remoteLimits reads how limits of remotes stand; what is no limit now is left out.
func remoteLimits(ctx context.Context, p *parts, subjects []string) ([]remoteLimit, error) {
	all := []remoteLimit{}
	for _, subject := range subjects {
		remote, m, _ := quota.ParseSubject(subject)
		st, err := p.ledger.Status(ctx, subject)
		if err != nil {
			return nil, fmt.Errorf("read the limits of remote %s: %w", printable(remote), err)
		}
		if st.Limit >= 0 {
			all = append(all, remoteLimit{remote, m, st})
		}
	}
	return all, nil
}

// writeQuotas writes a table of accounts, and below it what a person should know of some of them.
func writeQuotas(w io.Writer, all []quota.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACCOUNT\tPLAN\tLIMIT\tUSED\tIN PROGRESS\tLEFT\tWASTED\tBEGINS ANEW")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Account, planName(s), size(s.Limit), size(s.Used), size(s.Reserved),
			size(s.Available), size(s.Wasted), dayIn(s.Period.End, s.TimeZone))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		writeRemark(w, s, "account "+s.Account)
	}
	return nil
}

// writeRemark says what a table doesn't: why nothing is granted, or since when little or nothing is left.
func writeRemark(w io.Writer, s quota.Status, name string) {
	if s.Why != "" {
		writeWrapped(w, "", s.Why)
		return
	}
	last := quota.Event{}
	for _, e := range s.Events {
		if e.Limit == s.Limit { // a limit that was raised has thresholds of its own
			last = e
		}
	}
	switch {
	case last.Percent >= 100 && last.Used < last.Limit:
		writeWrapped(w, "", fmt.Sprintf("%s: what is left is too little for any file that waits (since %s)", name, zoned(last.At, s.TimeZone)))
	case last.Percent >= 100:
		writeWrapped(w, "", fmt.Sprintf("%s: used up on %s", name, zoned(last.At, s.TimeZone)))
	case last.Percent > 0:
		writeWrapped(w, "", fmt.Sprintf("%s: passed %d %% on %s", name, last.Percent, zoned(last.At, s.TimeZone)))
	}
}

func writeRemoteLimits(w io.Writer, limits []remoteLimit) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REMOTE\tLIMIT\tUSED\tIN PROGRESS\tLEFT\tBEGINS ANEW")
	for _, r := range limits {
		fmt.Fprintf(t, "%s:\t%s\t%s\t%s\t%s\t%s\n", printable(r.Remote), r.Measure.Rate(r.Limit), r.Measure.Amount(r.Used),
			r.Measure.Amount(r.Reserved), r.Measure.Amount(r.Available), dayIn(r.Period.End, r.TimeZone))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range limits {
		writeRemark(w, r.Status, fmt.Sprintf("remote %s (%s)", printable(r.Remote), r.Measure.Rate(r.Limit)))
	}
	return nil
}

// zoned writes a time in the account's own zone.
func zoned(t time.Time, zone string) string { return inZone(t, zone).Format("2006-01-02 15:04 MST") }

// dayIn writes the day on which a period begins; it does so at midnight, but where clocks are put forward over that.
func dayIn(t time.Time, zone string) string {
	local := inZone(t, zone)
	if local.Hour() == 0 && local.Minute() == 0 {
		return local.Format("2006-01-02 MST")
	}
	return zoned(t, zone)
}

func inZone(t time.Time, zone string) time.Time {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		loc = time.UTC
	}
	return t.In(loc)
}
