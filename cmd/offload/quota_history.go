package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/quota"
)

// The days that `quota history` shows, and the most that are kept.
const (
	historyDays = 30
	keptDays    = 400
)

func (a *app) newQuotaHistory() *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "show what was moved on each day",
		Description: `Days are those of the account's time zone; days without traffic are left out. MOVED is what counted, exact to the
byte, and WASTED the part of it that was read in vain. BUSY is for how long something was moved. A remote is counted
while it has a limit.`,
		UsageText: "offload quota history --days 400 --csv > traffic.csv\noffload quota history --account anna\noffload quota history --remote gdrive --json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "account", Usage: "`NAME` of the account; default \"default\""},
			&cli.StringFlag{Name: "remote", Usage: "`NAME` of a remote in place of an account"},
			&cli.StringFlag{Name: "days", Usage: fmt.Sprintf("the last `N` days, today included; default %d, at most %d", historyDays, keptDays)},
			&cli.BoolFlag{Name: "csv", Usage: "print comma-separated values with a header: bytes and seconds as plain numbers"},
		},
		Action: func(c *cli.Context) error { return a.runQuotaHistory(c) },
	}
}

// trafficDay is what was moved on one day.
type trafficDay struct {
	Date   string `json:"date"`
	Used   int64  `json:"used"`
	Wasted int64  `json:"wasted"`
	Busy   int64  `json:"busy_seconds"`
	Calls  *int64 `json:"calls,omitempty"` // of a remote; an account's aren't counted
}

func (a *app) runQuotaHistory(c *cli.Context) error {
	if err := notTogether(c, "account", "remote"); err != nil {
		return err
	}
	if err := notTogether(c, "csv", "json"); err != nil {
		return err
	}
	remote, err := remoteFlag(c)
	if err != nil {
		return err
	}
	days := int64(historyDays)
	if c.IsSet("days") {
		if days, err = configs.ParseCount(c.String("days"), 1, keptDays); err != nil {
			return usageError(fmt.Sprintf("%d days are kept", keptDays), "--days: %w", err)
		}
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	account, err := accountFlag(c, cfg.Account)
	if err != nil {
		return err
	}
	p, err := openExisting(c.Context, cfg, log)
	if err != nil {
		return err
	}
	list := []trafficDay{}
	switch {
	case p == nil: // no store, so nothing was ever moved
	case remote != "":
		defer p.closeLogged()
		list, err = remoteHistory(c.Context, p, remote, days)
	default:
		defer p.closeLogged()
		list, err = history(c.Context, p, account, days)
	}
	if err != nil {
		return err
	}
	switch {
	case c.Bool("json"):
		return writeJSON(a.out, list)
	case c.Bool("csv"):
		return writeHistoryCSV(a.out, list, remote != "")
	case len(list) == 0:
		if remote != "" {
			a.note("nothing was counted for remote %s in the last %s; a remote is counted while it has a limit", printable(remote), count(days, "day"))
			return nil
		}
		a.note("nothing was moved in the last %s", count(days, "day"))
		return nil
	}
	return writeHistory(a.out, list, remote != "")
}

// history reads the last days of a subject, oldest first.
func history(ctx context.Context, p *parts, subject string, days int64) ([]trafficDay, error) {
	all, err := p.ledger.History(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	st, err := p.ledger.Status(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	first := inZone(time.Now(), st.TimeZone).AddDate(0, 0, 1-int(days)).Format(time.DateOnly)
	list := []trafficDay{}
	for _, d := range all {
		if d.Date >= first {
			list = append(list, trafficDay{Date: d.Date, Used: d.Used, Wasted: d.Wasted, Busy: int64(d.Busy.Round(time.Second) / time.Second)})
		}
	}
	return list, nil
}

// remoteHistory joins what was counted for the limits of a remote. The limits of a day and of a month count the same
// bytes, but each only from when it was set.
func remoteHistory(ctx context.Context, p *parts, remote string, days int64) ([]trafficDay, error) {
	byDate := map[string]trafficDay{}
	for _, m := range quota.Measures() {
		list, err := history(ctx, p, quota.RemoteSubject(remote, m), days)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			sum, ok := byDate[d.Date]
			if !ok {
				sum.Date, sum.Calls = d.Date, new(int64)
			}
			if m == quota.Calls {
				*sum.Calls = d.Used
			} else if d.Used >= sum.Used {
				sum.Used, sum.Wasted, sum.Busy = d.Used, d.Wasted, d.Busy
			}
			byDate[d.Date] = sum
		}
	}
	list := slices.Collect(maps.Values(byDate))
	slices.SortFunc(list, func(a, b trafficDay) int { return cmp.Compare(a.Date, b.Date) })
	return list, nil
}

func writeHistory(w io.Writer, list []trafficDay, calls bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "DATE\tMOVED\tOF IT WASTED\tBUSY"
	if calls {
		head += "\tCALLS"
	}
	fmt.Fprintln(t, head)
	sum := trafficDay{Date: "in all", Calls: new(int64)}
	line := func(d trafficDay) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s", d.Date, size(d.Used), size(d.Wasted), span(time.Duration(d.Busy)*time.Second))
		if calls {
			fmt.Fprintf(t, "\t%s", quota.Calls.Amount(*d.Calls))
		}
		fmt.Fprintln(t)
	}
	for _, d := range list {
		line(d)
		sum.Used, sum.Wasted, sum.Busy = sum.Used+d.Used, sum.Wasted+d.Wasted, sum.Busy+d.Busy
		if calls {
			*sum.Calls += *d.Calls
		}
	}
	line(sum)
	return t.Flush()
}

// writeHistoryCSV writes the form of RFC 4180.
func writeHistoryCSV(w io.Writer, list []trafficDay, calls bool) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	rows := [][]string{{"date", "used", "wasted", "busy_seconds"}}
	if calls {
		rows[0] = append(rows[0], "calls")
	}
	for _, d := range list {
		row := []string{d.Date}
		for _, n := range []int64{d.Used, d.Wasted, d.Busy} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		if calls {
			row = append(row, strconv.FormatInt(*d.Calls, 10))
		}
		rows = append(rows, row)
	}
	return out.WriteAll(rows)
}
