package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"offload/internal/human"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// group counts files that share an outcome and a cause.
type group struct {
	code     string
	reason   string // of the first file
	mixed    bool   // others have another reason
	files    int64
	bytes    int64
	examples []string
}

// maxExamples is how many files of a group are named.
const maxExamples = 3

// tally groups the files of a job that weren't simply copied and, where asked for, deleted.
type tally struct {
	deletes bool
	failed  []*group
	aside   []*group
	kept    []*group // copied or there already, but not deleted though the job deletes
	skipped []*group
	trashed []*group // deleted, but not out of the source's trash though the job purges it
	beside  []*group // brought back under a name of its own
	back    backFrom // of a restore
}

func (t *tally) add(r jobs.FileRecord) error {
	t.back.add(r)
	switch {
	case r.Code == transfer.CodeBeside:
		t.beside = addTo(t.beside, r)
	case r.Result == transfer.Failed:
		t.failed = addTo(t.failed, r)
	case r.Result == transfer.SetAside:
		t.aside = addTo(t.aside, r)
	case r.Code == transfer.CodeNotPurged:
		t.trashed = addTo(t.trashed, r)
	case t.deletes && (r.Result == transfer.Copied || r.Result == transfer.Skipped) && !r.Source.Gone():
		t.kept = addTo(t.kept, r)
	case r.Result == transfer.Skipped && r.Code != "":
		t.skipped = addTo(t.skipped, r)
	}
	return nil
}

func addTo(groups []*group, r jobs.FileRecord) []*group {
	i := slices.IndexFunc(groups, func(g *group) bool { return g.code == r.Code })
	if i < 0 {
		i, groups = len(groups), append(groups, &group{code: r.Code, reason: r.Reason})
	}
	g := groups[i]
	if len(g.examples) > 0 && strings.ReplaceAll(r.Reason, r.Path, "") != strings.ReplaceAll(g.reason, g.examples[0], "") {
		g.mixed = true
	}
	g.files++
	g.bytes += max(r.Size, 0)
	if len(g.examples) < maxExamples {
		g.examples = append(g.examples, r.Path)
	}
	return groups
}

// writeSummary says what became of a job: what was proved, deleted, kept and why, what the quota still allows, and how
// to go on.
func (a *app) writeSummary(ctx context.Context, p *parts, job jobs.Job) error {
	t := &tally{deletes: job.DeleteSource != transfer.DeleteNever}
	if err := p.jobs.Files(ctx, job.ID, jobs.FileFilter{}, t.add); err != nil {
		return fmt.Errorf("read the files of job %s: %w", job.ID, err)
	}
	w := a.out
	fmt.Fprintf(w, "Job %s: %s\n", job.ID, stateWords(job))
	fmt.Fprintf(w, "%s -> %s\n%s", printable(job.Source), printable(job.Dest), purpose(job))
	if job.Kind != jobs.KindMove {
		fmt.Fprintf(w, "a %s of job %s\n", job.Kind, job.Of)
	}
	fmt.Fprintln(w)
	writeRules(w, job.Order)
	for _, words := range troubleWords(job) {
		writeWrapped(w, "", words)
	}
	writeCounts(w, job, t)
	failed, aside := groupTitles(job)
	writeGroups(w, failed, t.failed)
	writeGroups(w, aside, t.aside)
	writeGroups(w, "Brought back beside another file:", t.beside)
	writeGroups(w, "Kept at the source though they are at the destination:", t.kept)
	writeGroups(w, "Deleted, but still in the source's trash:", t.trashed)
	writeGroups(w, "Left as they are:", t.skipped)
	st, err := p.ledger.Status(ctx, job.Account)
	if err != nil {
		p.log.Warn("read the quota", "account", job.Account, "error", err)
	} else {
		fmt.Fprintln(w)
		writeWrapped(w, "", quotaLine(st))
	}
	forecast := forecastOf(ctx, p, job)
	if forecast != nil {
		writeWrapped(w, "", "Forecast: "+forecastWords(*forecast))
	}
	if next := nextStep(job, t, forecast, a.goesOn(ctx, p)); next != "" {
		writeWrapped(w, "", "Next: "+next)
	}
	return nil
}

func writeCounts(w io.Writer, job jobs.Job, t *tally) {
	f, b, g := job.Files, job.Bytes, job.Grades
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("found", "%s, %s", count(f.Found, "file"), size(b.Found))
	took := ""
	if job.Started != nil && job.Finished != nil {
		took = " in " + span(job.Finished.Sub(*job.Started))
	}
	switch {
	case job.Scrub != nil:
		writeScrub(w, job)
	case job.Kind == jobs.KindRestore:
		writeBack(w, job, t.back, took)
		g.C = max(0, g.C-t.back.known)
	default:
		line("copied", "%s, %s%s", count(f.Copied, "file"), size(b.Copied), took)
	}
	if f.Skipped > 0 && job.Kind == jobs.KindMove {
		line("skipped", "%s already there or left as they are", count(f.Skipped, "file"))
	}
	for _, grade := range []struct {
		n    int64
		what string
	}{
		{g.A, "by the destination's own content hash (grade A)"},
		{g.B, "by reading them back (grade B)"},
		{g.C, "by size and time alone (grade C)"},
		{g.D, "by less than that (grade D)"},
	} {
		if grade.n > 0 {
			line("proved", "%s %s", count(grade.n, "file"), grade.what)
		}
	}
	if job.DeleteSource != transfer.DeleteNever {
		line("deleted", "%s, %s at the source", count(f.Deleted, "file"), size(b.Deleted))
	}
	if words := holdWords(job); words != "" {
		var text strings.Builder
		writeWrapped(&text, strings.Repeat(" ", 13), words)
		line("hold", "%s", strings.TrimSpace(text.String()))
	}
	if job.HoldCalledOff {
		line("hold", "its deletions were called off")
	}
	if f.Purged > 0 {
		line("purged", "%s, %s from the source's trash", count(f.Purged, "file"), size(b.Purged))
	}
	if f.SetAside > 0 {
		line("set aside", "%s", count(f.SetAside, "file"))
	}
	if f.Excluded > 0 {
		line("excluded", "%s by the filters", count(f.Excluded, "file"))
	}
	if f.Failed > 0 && job.Scrub == nil {
		line("failed", "%s", count(f.Failed, "file"))
	}
	if b.Wasted > 0 {
		line("wasted", "%s read in vain by attempts that failed", size(b.Wasted))
	}
	if job.BwLimit != "" && !job.State.Terminal() {
		line("bandwidth", "%s", bandwidthWords(job.BwLimit))
	}
	if job.Error != "" {
		if job.State == jobs.Waiting { // nothing has failed
			var text strings.Builder
			writeWrapped(&text, strings.Repeat(" ", 13), oneLine(job.Error))
			line("why", "%s", strings.TrimSpace(text.String()))
		} else {
			line("error", "%s", oneLine(job.Error))
		}
	}
	writeStorage(w, job)
}

func writeGroups(w io.Writer, title string, groups []*group) {
	if len(groups) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, g := range groups {
		fmt.Fprintf(w, "  %s, %s", count(g.files, "file"), size(g.bytes))
		if g.code != "" {
			fmt.Fprintf(w, " (%s)", g.code)
		}
		fmt.Fprintln(w)
		for _, path := range g.examples {
			fmt.Fprintf(w, "    %s\n", printable(path))
		}
		if more := g.files - int64(len(g.examples)); more > 0 {
			fmt.Fprintf(w, "    and %d more\n", more)
		}
		switch {
		case g.mixed:
			fmt.Fprintf(w, "    why, for the first: %s\n", oneLine(g.reason))
		case g.reason != "":
			fmt.Fprintf(w, "    why: %s\n", oneLine(g.reason))
		}
	}
}

// quotaLine is the allowance of an account in one line.
func quotaLine(st quota.Status) string {
	if st.Why != "" {
		return fmt.Sprintf("Quota: account %s is closed; the %s that it used stay counted until %s", st.Account, size(st.Used), dayIn(st.Period.End, st.TimeZone))
	}
	plan := planName(st)
	if plan != ownLimit {
		plan = "plan " + plan
	}
	if st.Limit < 0 {
		return fmt.Sprintf("Quota: account %s, %s: %s moved this month, no limit", st.Account, plan, size(st.Used))
	}
	line := fmt.Sprintf("Quota: account %s, %s: %s of %s used, %s left until %s",
		st.Account, plan, size(st.Used), size(st.Limit), size(st.Available), dayIn(st.Period.End, st.TimeZone))
	if st.Reserved > 0 {
		line += fmt.Sprintf(" (%s set aside for files in progress)", size(st.Reserved))
	}
	return line
}

// ownLimit stands in the place of the plan where an account has a limit of its own.
const ownLimit = "own limit"

// planName is what an account's limit comes from.
func planName(st quota.Status) string {
	if st.OwnLimit {
		return ownLimit
	}
	return st.Plan
}

// goesOn says who goes on with a waiting job once it may.
func (a *app) goesOn(ctx context.Context, p *parts) string {
	if n, err := p.jobs.WorkersRunning(ctx); err == nil && n > 0 {
		return "the job goes on by itself then"
	}
	return startWorker(p.cfg) + " goes on with the job then, or the same command again"
}

// quotaStep is what helps a job that waits for quota. goesOn says who goes on with it then.
func quotaStep(job jobs.Job, f *quota.Forecast, goesOn string) string {
	switch {
	case f != nil && f.Closed != "":
		return fmt.Sprintf("`%s` opens the account again; %s", raiseCommand(job.Account), goesOn)
	case f != nil && f.Bytes == 0 && f.TooLarge > 0: // no reset helps
		return fmt.Sprintf("`%s` gives more room; %s", raiseCommand(f.TooLargeSubject), goesOn)
	case f != nil && f.WaitUntil == nil && job.Until != nil: // no limit of ours is in the way: the remote's own one is
		return fmt.Sprintf("wait, until %s at the latest; %s", moment(*job.Until), goesOn)
	case f != nil:
		return fmt.Sprintf("`%s` gives more room, and so does the reset; %s", raiseCommand(f.Subject), goesOn)
	}
	return fmt.Sprintf("`%s` gives more room, and so does the reset; %s", raiseCommand(job.Account), goesOn)
}

// nextStep is the command that goes on from here, "" where all is done.
func nextStep(job jobs.Job, t *tally, forecast *quota.Forecast, goesOn string) string {
	switch {
	case job.State == jobs.Waiting && job.Reason == jobs.ReasonQuota:
		return quotaStep(job, forecast, goesOn)
	case job.SignInRemote() != "":
		return fmt.Sprintf("`offload remotes reconnect %s` signs in again; the job goes on then, or with the same command again", job.SignInRemote())
	case job.State == jobs.Waiting && job.Reason == jobs.ReasonSpace:
		return fmt.Sprintf("make room at %s, then run the same command again", printable(job.Dest))
	case job.State == jobs.Waiting && job.Reason == jobs.ReasonHold:
		return fmt.Sprintf("`offload jobs hold keep %s` calls the deletions off, `offload jobs hold release %s` doesn't wait for the time; %s", job.ID, job.ID, goesOn)
	case job.State == jobs.Waiting:
		return "mend what it waits for, then run the same command again"
	case job.State == jobs.Paused:
		return "`offload jobs resume " + job.ID + "`, or the same command again"
	case job.Scrub != nil && len(t.failed) > 0:
		return scrubStep(job)
	case len(t.failed) > 0:
		return "`offload jobs retry " + job.ID + "` does the failed files again; `offload jobs files " + job.ID + " --outcome failed` lists them"
	case len(t.trashed) > 0:
		return "`offload jobs retry " + job.ID + "` purges them again, or empty the source's trash by hand"
	case len(t.aside) > 0:
		return "`offload jobs files " + job.ID + " --outcome set_aside` lists what was set aside"
	}
	return ""
}

// stateWords says a job's state in words, with the reason and the time where it waits.
func stateWords(job jobs.Job) string {
	words := strings.ReplaceAll(string(job.State), "_", " ")
	if job.State != jobs.Waiting {
		return words
	}
	reasons := map[jobs.Reason]string{
		jobs.ReasonQuota:  "waiting for quota",
		jobs.ReasonWindow: "waiting for its time of day",
		jobs.ReasonSignIn: "waiting for a sign-in",
		jobs.ReasonSpace:  "waiting for space at the destination",
		jobs.ReasonHold:   "holding before the deletion",
	}
	words = orDefault(reasons[job.Reason], words)
	switch {
	case job.Until == nil:
	case job.Reason == jobs.ReasonSignIn, job.Reason == jobs.ReasonSpace: // no deadline: what it waits for may come sooner or later
		words += fmt.Sprintf("; looks again at %s (%s)", moment(*job.Until), fromNow(*job.Until))
	default:
		words += fmt.Sprintf(" until %s (%s)", moment(*job.Until), fromNow(*job.Until))
	}
	return words
}

// troubleWords says which remotes don't answer and whether files are tried again, one sentence each.
func troubleWords(job jobs.Job) []string {
	var all []string
	for _, o := range job.Outages {
		all = append(all, fmt.Sprintf("%s hasn't answered since %s (%s); trying again", printable(o.Remote), moment(o.Since), printable(o.Why)))
	}
	if r := job.Retrying; r != nil {
		all = append(all, human.TriedAgain(r.Files, r.Path, r.Attempt, r.Of, r.Why))
	}
	return all
}

func fromNow(t time.Time) string {
	if d := time.Until(t); d > 0 {
		return "in " + span(d)
	}
	return "any moment"
}

// noStore answers for a store that was never made.
func noStore(id string) error {
	return fmt.Errorf("job %s: %w", id, jobs.ErrNotFound)
}
