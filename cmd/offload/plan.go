package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"offload/jobs"
	"offload/transfer"
)

func (a *app) newPlan() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "say what a job would do; nothing is changed", ArgsUsage: "SRC DST",
		Description: `Scans SRC against DST and says how many files and bytes would be copied, compared, deleted and set aside, and
whether the quota carries it now or how long it takes. No job is made and no file is touched. With --plan-file the plan is
kept, to be looked at and done later, exactly: what has changed by then is set aside. Options of the job belong into it.`,
		UsageText: `offload plan icloud: dropbox:Backup --delete-source verified
offload plan /home/anna nas:anna --exclude '*.tmp' --json
offload plan icloud: dropbox:Backup --delete-source verified --plan-file plan.jsonl.gz`,
		Flags:  withPlanFile("write the plan to `FILE`, to be looked at and done by `offload run --plan-file`"),
		Action: func(c *cli.Context) error { return a.runPlan(c) },
	}
}

func (a *app) runPlan(c *cli.Context) error {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	p, order, err := a.openOrder(c, cfg, log)
	if err != nil {
		return err
	}
	defer p.closeLogged()
	soFar := a.foundSoFar()
	files, err := newPlanFile(c)
	if err != nil {
		return err
	}
	defer files.close()
	plan, err := p.jobs.PlanInto(c.Context, order, files.list(), func(so jobs.Plan) { soFar(so.Files.Files) })
	if err == nil {
		err = files.write(order)
	}
	if err != nil {
		return err
	}
	if files != nil {
		a.note("the plan is in %s: `offload run --plan-file %s` does it, and nothing else", files.name, shellQuote(files.name))
	}
	if c.Bool("json") {
		return writeJSON(a.out, plan)
	}
	writePlan(a.out, plan, order)
	return nil
}

// foundSoFar says now and then how many files a scan has found.
func (a *app) foundSoFar() func(files int64) {
	last := time.Now()
	return func(files int64) {
		if time.Since(last) >= lineEvery {
			last = time.Now()
			a.note("%s found so far", count(files, "file"))
		}
	}
}

func writePlan(w io.Writer, p jobs.Plan, order jobs.Order) {
	line := func(name string, n jobs.PlanCount, note string) {
		fmt.Fprintf(w, "  %-10s %s, %s%s\n", name, count(n.Files, "file"), size(n.Bytes), note)
	}
	fmt.Fprintf(w, "Plan: %s -> %s (nothing was changed)\n\n", printable(p.Source), printable(p.Dest))
	writeRules(w, order)
	line("found", p.Files, "")
	line("copy", p.Copy, "")
	line("compare", p.Check, " with what is at the destination under the same name")
	if order.Deletes() {
		// A listing doesn't tell packages from files, and empty files stay where their length isn't certain.
		fmt.Fprintf(w, "  %-10s at most %s, %s at the source, each only if it is proved to have arrived\n", "delete", count(p.Delete.Files, "file"), size(p.Delete.Bytes))
		if !order.DeletePackages {
			fmt.Fprintf(w, "  %-10s packages (Pages, Keynote...) stay without --delete-packages\n", "")
		}
		if order.PurgeTrash {
			fmt.Fprintf(w, "  %-10s at the end, from the source's trash, what was deleted, and nothing else\n", "purge")
		}
	} else {
		fmt.Fprintf(w, "  %-10s nothing (--delete-source never)\n", "delete")
	}
	if p.SetAside.Files > 0 {
		line("set aside", p.SetAside, ": never copied, never deleted")
	}
	if p.Excluded.Files > 0 {
		line("excluded", p.Excluded, " by the filters")
	}
	fmt.Fprintf(w, "  %-10s at most %s\n\n", "traffic", size(p.Traffic))
	writePlanQuota(w, p)
	t := &tally{}
	for _, r := range p.Examples {
		r.Result = transfer.SetAside
		t.aside = addTo(t.aside, r)
	}
	writeGroups(w, "Set aside (the first hundred):", t.aside)
	if !p.Complete {
		fmt.Fprintln(w, "\nSome folders couldn't be listed, so this plan lacks their files.")
	}
	for i, warning := range p.Warnings {
		if i == 0 {
			fmt.Fprintln(w, "\nWarnings:")
		}
		fmt.Fprintf(w, "  %s\n", oneLine(warning))
	}
}

// writePlanQuota says how the plan fits the allowance, and which files never will.
func writePlanQuota(w io.Writer, p jobs.Plan) {
	writeWrapped(w, "", fmt.Sprintf("Quota (account %s): %s", p.Quota.Account, p.Quota.Forecast.Sentence()))
	if len(p.TooLarge) == 0 {
		return
	}
	title := "Too large to be moved"
	if more := p.Quota.Forecast.TooLarge - int64(len(p.TooLarge)); more > 0 {
		title += fmt.Sprintf(" (and %d more)", more)
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, r := range p.TooLarge {
		fmt.Fprintf(w, "  %s, %s: %s\n", printable(r.Path), size(r.Size), oneLine(r.Reason))
	}
}
