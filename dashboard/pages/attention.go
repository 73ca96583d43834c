package pages

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"offload/dashboard/live"
	"offload/internal/human"
	"offload/jobs"
)

// attention is something that a person should look at, with the one thing to do about it.
type attention struct {
	Kind   string // "bad" or "warn"
	Text   string
	Action string // what the link says; "" for none
	Link   string
	Seen   string // the job whose end an operator may call seen, "" for none
	End    int64  // when that job ended, in ms: another end isn't meant
}

// ofEnd is the same of how a job ended, which a person may call seen.
func (a attention) ofEnd(j jobs.Job) attention {
	if j.Finished != nil {
		a.Seen, a.End = j.ID, j.Finished.UnixMilli()
	}
	return a
}

// Bounds of what wants attention.
const (
	attentionMost = 12
	silentFor     = time.Minute // an outage that lasts no longer may pass by itself
	fullFrom      = .95         // part of the storage that is used
	lowFrom       = 80          // percent of the quota
)

// attention gathers what wants a look, the most urgent first. It is empty when all is well.
func (p *Pages) attention(ctx context.Context, s *live.Snapshot, old past, stuck []jobView) []attention {
	if s.Err != nil {
		return nil
	}
	var all []attention
	all = append(all, scrubAlarms(old)...)
	all = append(all, signIns(s)...)
	all = append(all, noSpace(s)...)
	for _, v := range stuck {
		all = append(all, attention{Kind: "bad", Text: fmt.Sprintf("The job %s doesn't go on by itself. %s", jobName(v.Job), human.Printable(v.Forecast.Sentence())), Action: "Change the plan", Link: "/quota"})
	}
	all = append(all, outages(s)...)
	known := p.RemoteStates(ctx)
	all = append(all, trustEnds(known, all)...)
	all = append(all, quotaLow(s)...)
	all = append(all, storageLow(known)...)
	all = append(all, failures(old)...)
	all = append(all, silentWorkers(s)...)
	if more := len(all) - attentionMost; more > 0 {
		all = append(all[:attentionMost], attention{Kind: "warn", Text: fmt.Sprintf("And %d more.", more), Action: "See all jobs", Link: "/jobs"})
	}
	return all
}

// jobName names a job in a sentence.
func jobName(j jobs.Job) string {
	if j.Label != "" {
		return `"` + human.Printable(j.Label) + `"`
	}
	return human.Printable(j.Title())
}

func jobLink(j jobs.Job) string { return "/jobs/" + url.PathEscape(j.ID) }

// remoteLink is the page on which a person signs in to a remote.
func remoteLink(name string) string { return "/remotes/" + url.PathEscape(name) + "/sign-in" }

// waiting are the jobs that wait for a reason that takes a person, those of the live view first.
func waiting(s *live.Snapshot, reason jobs.Reason) []jobs.Job {
	var all []jobs.Job
	for _, one := range s.Live {
		if j := one.Job; j.State == jobs.Waiting && j.Reason == reason {
			all = append(all, j)
		}
	}
	for _, j := range s.Stalled {
		if j.Reason == reason {
			all = append(all, j)
		}
	}
	return all
}

// tally counts jobs by a name, and keeps the names in the order in which they came up.
type tally struct {
	order []string
	n     map[string]int64
}

func (t *tally) add(name string) {
	if t.n == nil {
		t.n = map[string]int64{}
	}
	if t.n[name] == 0 {
		t.order = append(t.order, name)
	}
	t.n[name]++
}

// signIns are the remotes that jobs wait for to be signed in to.
func signIns(s *live.Snapshot) []attention {
	var names tally
	var all []attention
	for _, j := range waiting(s, jobs.ReasonSignIn) {
		name := j.SignInRemote()
		if name == "" {
			all = append(all, attention{Kind: "bad", Text: "The job " + jobName(j) + " waits for a sign-in.", Action: "See the job", Link: jobLink(j)})
			continue
		}
		names.add(name)
	}
	for _, name := range names.order {
		n := names.n[name]
		if len(names.order) == 1 && len(all) == 0 {
			n = max(n, s.Waiting[jobs.ReasonSignIn]) // of very many not all were read
		}
		all = append(all, attention{Kind: "bad", Text: fmt.Sprintf("%s: asks for a new sign-in. %s%s for it.", human.Printable(name), human.Count(n, "job"), pick(n, " waits", " wait")),
			Action: "Sign in to " + human.Printable(name), Link: remoteLink(name)})
	}
	return all
}

// noSpace are the remotes that are full, by the jobs that wait for room there.
func noSpace(s *live.Snapshot) []attention {
	var full tally
	newest := map[string]jobs.Job{}
	for _, j := range waiting(s, jobs.ReasonSpace) {
		where := j.Dest
		if remote, _, ok := strings.Cut(j.Dest, ":"); ok {
			where = remote + ":"
		}
		full.add(where)
		if full.n[where] == 1 {
			newest[where] = j
		}
	}
	var all []attention
	for _, where := range full.order {
		j := newest[where]
		a := attention{Kind: "bad", Text: fmt.Sprintf("There is no room at %s. The job goes on when there is.", human.Printable(j.Dest)), Action: "See the job", Link: jobLink(j)}
		if n := full.n[where]; n > 1 {
			a.Text = fmt.Sprintf("There is no room at %s. %s go on when there is.", human.Printable(where), human.Count(n, "job"))
			a.Action = "See the newest"
		}
		all = append(all, a)
	}
	return all
}

// outages are the remotes that haven't answered for a while.
func outages(s *live.Snapshot) []attention {
	var all []attention
	var seen []string
	for _, one := range s.Live {
		for _, o := range one.Job.Outages {
			if time.Since(o.Since) < silentFor || slices.Contains(seen, o.Remote) {
				continue
			}
			seen = append(seen, o.Remote)
			all = append(all, attention{Kind: "warn", Text: fmt.Sprintf("%s hasn't answered for %s (%s). It is asked again until it does.",
				human.Printable(o.Remote), duration(o.Since), human.Printable(o.Why)), Action: "See the job", Link: jobLink(one.Job)})
		}
	}
	return all
}

// trustEnds are the remotes whose sign-in ends soon; those that jobs wait for already are left out.
func trustEnds(known []RemoteState, told []attention) []attention {
	var all []attention
	for _, r := range known {
		if !r.DaysTold || !r.Soon || slices.ContainsFunc(told, func(a attention) bool { return a.Link == remoteLink(r.Name) }) {
			continue
		}
		a := attention{Kind: "warn", Text: fmt.Sprintf("The sign-in to %s: ends in %s. Signing in again now spares a wait later.", human.Printable(r.Name), human.Count(int64(r.Days), "day")),
			Action: "Sign in again", Link: remoteLink(r.Name)}
		if r.Days == 0 {
			a.Kind, a.Text = "bad", fmt.Sprintf("The sign-in to %s: has ended. Jobs that use it will wait.", human.Printable(r.Name))
		}
		all = append(all, a)
	}
	return all
}

// quotaLow are the accounts with little left.
func quotaLow(s *live.Snapshot) []attention {
	var all []attention
	for _, st := range s.Quotas {
		v := quotaView{Status: st}
		switch {
		case st.Removed || st.Limit <= 0:
		case st.Available == 0:
			all = append(all, attention{Kind: "warn", Text: fmt.Sprintf("The quota of account %s is used up. It resets on %s.", human.Printable(st.Account), v.Resets()), Action: "See the quota", Link: "/quota"})
		case v.Low():
			all = append(all, attention{Kind: "warn", Text: fmt.Sprintf("%s of %s are left in the quota of account %s until %s.",
				human.Size(st.Available), human.Size(st.Limit), human.Printable(st.Account), v.Resets()), Action: "See the quota", Link: "/quota"})
		}
	}
	return all
}

// storageLow are the clouds that are nearly full.
func storageLow(known []RemoteState) []attention {
	var all []attention
	for _, r := range known {
		if st := r.Storage; st != nil && st.Total > 0 && float64(st.Used) >= fullFrom*float64(st.Total) {
			all = append(all, attention{Kind: "warn", Text: fmt.Sprintf("%s: is nearly full: %s of %s are used.", human.Printable(r.Name), human.Size(st.Used), human.Size(st.Total)),
				Action: "Offload files", Link: "/new?source=" + url.QueryEscape(r.Name+":")})
		}
	}
	return all
}

// scrubAlarms are the scrubs that found offloaded files missing or different, the newest of each job.
func scrubAlarms(old past) []attention {
	var all []attention
	told := map[string]bool{}
	for _, j := range old.scrubs {
		if told[j.Of] {
			continue
		}
		told[j.Of] = true
		if r := j.Scrub; r != nil && r.Alarming() && !j.Seen && len(all) < 4 {
			all = append(all, attention{Kind: "bad", Text: fmt.Sprintf("%s of %s that were offloaded to %s %s missing there or different from what was proved. Bring them back with \"offload restore %s\" while they are in the source's trash; else look in the version history and among the deleted files there.",
				human.Count(r.Missing+r.Different, "file"), human.Count(j.Files.Found, "file"), human.Printable(j.Source), pick(r.Missing+r.Different, "is", "are"), j.Of), Action: "See which", Link: jobLink(j) + "#trouble"}.ofEnd(j))
		}
	}
	return all
}

// failures are jobs that ended with failed files.
func failures(old past) []attention {
	var all []attention
	for _, j := range old.failed[:min(len(old.failed), 4)] {
		text := fmt.Sprintf("%s of %s failed and %s still at the source.", human.Count(j.Files.Failed, "file"), jobName(j), pick(j.Files.Failed, "is", "are"))
		if j.Files.Failed == 0 {
			text = fmt.Sprintf("The job %s failed: %s", jobName(j), sentenceOf(j.Error))
			text = strings.TrimSuffix(text, ": ")
		}
		all = append(all, attention{Kind: "warn", Text: text, Action: "See what failed", Link: jobLink(j) + "#trouble"}.ofEnd(j))
	}
	if more := len(old.failed) - 4; more > 0 {
		all = append(all, attention{Kind: "warn", Text: fmt.Sprintf("%d more jobs ended with failed files.", more), Action: "See them", Link: "/jobs?state=failed&state=completed_with_warnings"})
	}
	return all
}

// silentWorkers are workers that weren't heard of for a while.
func silentWorkers(s *live.Snapshot) []attention {
	n := int64(0)
	for _, w := range s.Workers {
		if w.State == jobs.WorkerSilent {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return []attention{{Kind: "warn", Text: human.Count(n, "worker") + pick(n, " hasn't", " haven't") + " been heard of lately. What it had in hand goes to others.", Action: "See the workers", Link: "/workers"}}
}
