package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"offload/jobs"
	"offload/quota"
)

func (a *app) newQuotaForecast() *cli.Command {
	return &cli.Command{
		Name: "forecast", Usage: "say how far each account's allowance goes, and when its jobs will have ended",
		Description: `From what is left to move, what the limits allow in each month (or day), and the pace of the last days. A job whose
scan isn't complete needs at least that. With --json: one document with --account, else an array of them.`,
		UsageText: "offload quota forecast\noffload quota forecast --account anna --json",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "account", Usage: "only the account `NAME`"}},
		Action:    func(c *cli.Context) error { return a.runQuotaForecast(c) },
	}
}

func (a *app) runQuotaForecast(c *cli.Context) error {
	account, err := accountFlag(c, "")
	if err != nil {
		return err
	}
	p, err := a.open(c)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	accounts := []string{account}
	if account == "" {
		if accounts, err = allAccounts(c.Context, p); err != nil {
			return err
		}
	}
	all := make([]jobs.AccountForecast, len(accounts))
	for i, name := range accounts {
		if all[i], err = p.jobs.AccountForecast(c.Context, name); err != nil {
			return fmt.Errorf("forecast account %s: %w", name, err)
		}
	}
	switch {
	case c.Bool("json") && account != "":
		return writeJSON(a.out, all[0])
	case c.Bool("json"):
		return writeJSON(a.out, all)
	}
	for i, f := range all {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		writeForecast(a.out, f)
	}
	return nil
}

// writeForecast writes the outlook of an account, each of its unfinished jobs with its end, and all of them together.
func writeForecast(w io.Writer, f jobs.AccountForecast) {
	writeWrapped(w, "", quotaLine(f.Status))
	writeWrapped(w, "", f.Outlook.Sentence())
	for _, j := range f.Jobs {
		fmt.Fprintf(w, "\n%s  %s\n", j.ID, stateWords(jobs.Job{State: j.State, Reason: j.Reason}))
		fmt.Fprintf(w, "  %s -> %s\n", shorten(j.Source, 36), shorten(j.Dest, 36))
		writeWrapped(w, "  ", forecastWords(j.Forecast))
	}
	switch {
	case len(f.Jobs) == 0:
		fmt.Fprintln(w, "No job of it waits or runs.")
	case f.More:
		fmt.Fprintf(w, "\nThe account has more jobs than these %d.\n", len(f.Jobs))
	case len(f.Jobs) > 1:
		fmt.Fprintln(w)
		writeWrapped(w, "", "All together: "+forecastWords(f.All))
	}
}

// forecastWords are the words of a forecast of an unfinished job.
func forecastWords(f quota.Forecast) string {
	if f.AtLeast && f.Bytes == 0 && f.TooLarge == 0 && f.Closed == "" {
		return "Not known before the source has been scanned."
	}
	return f.Sentence()
}

// noteQuota tells whoever enqueues a job that it won't begin to move at once: a limit that has nothing left, or earlier
// jobs of the account that fill it. The job is accepted whatever comes of this.
func (a *app) noteQuota(ctx context.Context, p *parts, job jobs.Job) {
	text, err := quotaNote(ctx, p, job)
	if err != nil {
		p.log.Warn("look whether the quota has room for the job", "job", job.ID, "error", err)
	}
	if text != "" {
		a.note("%s", text)
	}
}

func quotaNote(ctx context.Context, p *parts, job jobs.Job) (string, error) {
	subjects, err := p.ledger.LimitsOf(ctx, remoteName(job.Source), remoteName(job.Dest))
	if err != nil {
		return "", err
	}
	for _, subject := range append([]string{job.Account}, subjects...) {
		st, err := p.ledger.Status(ctx, subject)
		if err != nil {
			return "", err
		}
		if st.Why != "" {
			return fmt.Sprintf("the job waits: %s", st.Why), nil
		}
		if st.Limit >= 0 && st.Available == 0 {
			return fmt.Sprintf("%s has nothing left until %s, so the job waits until then, or until `%s`", subjectName(subject), dayIn(st.Period.End, st.TimeZone), raiseCommand(subject)), nil
		}
	}
	all, n, err := p.jobs.Backlog(ctx, job.Account)
	if err != nil {
		return "", err
	}
	if all.WaitUntil == nil || n < 2 { // the new job itself counts nothing yet
		return "", nil
	}
	return fmt.Sprintf("earlier jobs of the account take all that %s has left until %s, and end %s; `offload quota forecast --account %s` says more",
		subjectName(all.Subject), dayIn(all.Resets, all.TimeZone), all.End(), job.Account), nil
}

// subjectName is what has a limit, for people.
func subjectName(subject string) string {
	if remote, _, ok := quota.ParseSubject(subject); ok {
		return "remote " + printable(remote)
	}
	return "account " + subject
}

// raiseCommand is the command that gives more room.
func raiseCommand(subject string) string { return printable(quota.RaiseCommand(subject)) }

// forecastOf is the forecast of an unfinished job; nil where it has ended, or where it can't be told, which is logged.
func forecastOf(ctx context.Context, p *parts, job jobs.Job) *quota.Forecast {
	if job.State.Terminal() {
		return nil
	}
	f, err := p.jobs.Forecast(ctx, job)
	if err != nil {
		p.log.Warn("forecast the job", "job", job.ID, "error", err)
		return nil
	}
	return &f
}
