package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"offload/internal/human"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/transfer"
)

// signInCause is a reason for which Apple refuses a sign-in, as the engine words it, and what a person does about it.
type signInCause struct {
	id    string
	words string // of the error
	what  string
	steps []string
	only  bool // a new sign-in from here wouldn't help by itself
}

func signInCauses() []signInCause {
	return []signInCause{
		{"terms", "new terms may wait", "Apple gives no access to iCloud Drive", []string{
			"Sign in at icloud.com in a browser: where new terms wait, accept them.",
			"On the phone: Settings > your name > iCloud > Access iCloud Data on the Web must be on."}, true},
		{"adp", "trusted device must allow", "Advanced Data Protection is on, and access from here isn't allowed", []string{
			"Sign in at icloud.com in a browser and allow the access on a device when it asks; then try again from here.",
			"Access iCloud Data on the Web must be on: Settings > your name > iCloud."}, true},
		{"account", "the password is wrong", "Apple refuses the Apple ID or its password", []string{
			"Try both at account.apple.com. A locked account is opened at iforgot.apple.com.",
			"App-specific passwords aren't taken here."}, false},
	}
}

// checkSignIn tells whether the account answers, and how long its sign-in lasts.
func (e *examined) checkSignIn(ctx context.Context) result {
	const id = "sign_in"
	reconnect := "offload remotes reconnect " + orderform.ShellQuote(nameOf(e.Name))
	if e.ended() {
		return one(Finding{ID: id, Level: Problem, What: "the sign-in of " + e.Name + " has ended: Apple trusts one for 30 days", Command: reconnect,
			Why: "offload can't see or move anything until then; the phone backs up by its own sign-in"})
	}
	_, err := e.looked(ctx)
	switch {
	case err == nil:
		r := one(Finding{ID: id, Level: OK, What: e.Name + " answers, and the sign-in is good"})
		if e.TrustDays != nil {
			r.findings = append(r.findings, e.trustFinding(reconnect))
		}
		return r
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return one(e.silent())
	case transfer.SignInRefused(ctx, err) == "" && transfer.NotFound(err):
		return one(Finding{ID: id, Level: Warning, What: "there is no such folder: " + human.Printable(e.Name), Why: "the account answers",
			Command: "offload doctor " + orderform.ShellQuote(nameOf(e.Name)+":")})
	case transfer.SignInRefused(ctx, err) == "":
		return one(Finding{ID: id, Level: Warning, What: e.Name + " can't be looked at", Why: human.Printable(firstLine(err.Error())),
			Command: "offload remotes check " + orderform.ShellQuote(e.Name)})
	}
	for _, c := range signInCauses() {
		if e.Kind == kindICloud && strings.Contains(err.Error(), c.words) {
			f := Finding{ID: c.id, Level: Problem, What: c.what, Why: "offload can't see or move anything until then; the phone backs up by its own sign-in", Steps: c.steps}
			if !c.only {
				f.Command = reconnect
			}
			return one(f)
		}
	}
	f := Finding{ID: id, Level: Problem, What: "the sign-in of " + e.Name + " is refused", Command: reconnect,
		Why: "offload can't see or move anything until then; the phone backs up by its own sign-in"}
	if why := refusal(err); e.Kind == kindICloud && why != "" {
		f.What += ": " + why
		f.Steps = []string{"Where that is refused, too: try Apple ID and password at account.apple.com. A locked account is opened at iforgot.apple.com."}
	}
	return one(f)
}

// refusal is why the engine was refused, in its own words, which hold nothing of Apple's answer.
func refusal(err error) string {
	_, why, found := strings.Cut(firstLine(err.Error()), transfer.ErrSignIn.Error()+": ")
	why, _, _ = strings.Cut(why, "; run:")
	if !found {
		return ""
	}
	return human.Printable(why)
}

// silent is the finding of a remote that gives no answer in time. Nothing is known of it then: that is no reason to be
// content.
func (e *examined) silent() Finding {
	f := Finding{ID: "sign_in", Level: Warning, What: e.Name + " gives no answer in time", Command: "offload remotes check " + orderform.ShellQuote(e.Name),
		Why: "whether the sign-in is good couldn't be seen"}
	if e.Kind == kindICloud {
		f.Steps = []string{"With Advanced Data Protection, Apple may be waiting for somebody to allow the access on a device: look at the phone."}
	}
	return f
}

func (e *examined) trustFinding(reconnect string) Finding {
	f := Finding{ID: "trust", Level: OK, What: fmt.Sprintf("Apple trusts this sign-in for %s more", human.Count(int64(*e.TrustDays), "day"))}
	if e.TrustEnds {
		f.Level, f.Command = Warning, reconnect
		f.Why = "jobs and schedules wait for a person when it has ended"
	}
	return f
}

// checkJobs tells of jobs that wait for a person, and whether somebody works.
func (p Patient) checkJobs(ctx context.Context) result {
	const id = "jobs"
	o, err := p.Store.Overview(ctx)
	if err != nil {
		return unseen(id, "how the jobs stand couldn't be read", "the store gives no answer")
	}
	var r result
	add := func(f Finding) { r.findings = append(r.findings, f) }
	if n := o.Waiting[jobs.ReasonSignIn]; n > 0 {
		add(Finding{ID: "jobs_sign_in", Level: Warning, What: human.Count(n, "job") + waits(n) + "for somebody to sign in", Command: "offload jobs list --state waiting"})
	}
	if n := o.Waiting[jobs.ReasonSpace]; n > 0 {
		add(Finding{ID: "jobs_space", Level: Warning, What: human.Count(n, "job") + waits(n) + "for room at the destination", Command: "offload jobs list --state waiting"})
	}
	if n := o.Counts[jobs.Paused]; n > 0 {
		add(Finding{ID: "jobs_paused", Level: Note, What: human.Count(n, "job") + " paused", Command: "offload jobs list --state paused"})
	}
	due := o.Counts[jobs.Queued] + o.Counts[jobs.Scanning] + o.Counts[jobs.Transferring] + o.Counts[jobs.Finishing]
	alive := 0
	for _, w := range o.Workers {
		if w.State != jobs.WorkerSilent {
			alive++
		}
	}
	switch {
	case due > 0 && alive == 0:
		add(Finding{ID: "workers", Level: Warning, What: human.Count(due, "job") + waits(due) + "for a worker, and none runs", Command: "offload up"})
	case alive > 0:
		add(Finding{ID: "workers", Level: OK, What: human.Count(int64(alive), "worker") + " at work"})
	}
	if len(r.findings) == 0 {
		add(Finding{ID: id, Level: OK, What: "no job waits for anybody"})
	}
	return r
}

func waits(n int64) string {
	if n == 1 {
		return " waits "
	}
	return " wait "
}

// checkQuota tells whether a move would be possible now.
func (p Patient) checkQuota(ctx context.Context) result {
	const id = "quota"
	a, err := p.Allowance(ctx)
	if err != nil {
		return unseen(id, "what the quota still allows couldn't be read", "the store gives no answer")
	}
	f := Finding{ID: id, Level: OK}
	switch {
	case a.Available < 0:
		f.What = "account " + a.Account + " may move without limit"
	case a.Available == 0:
		f.Level, f.Command = Warning, "offload quota show"
		f.What = fmt.Sprintf("the allowance of account %s is used up: jobs wait until %s", a.Account, a.Renewed.UTC().Format("2006-01-02 15:04 MST"))
	case p.Backup > a.Available:
		f.Level, f.Command = Note, "offload quota show"
		f.What = fmt.Sprintf("account %s may move %s until %s: less than a backup of %s needs, if all of it must be moved", a.Account,
			human.Size(a.Available), a.Renewed.UTC().Format("2006-01-02"), human.Size(p.Backup))
	default:
		f.What = fmt.Sprintf("account %s may still move %s in this period", a.Account, human.Size(a.Available))
	}
	return one(f)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
