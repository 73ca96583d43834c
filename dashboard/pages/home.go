package pages

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"offload/dashboard/live"
	"offload/internal/human"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// Bounds of what Home shows.
const (
	homeCards  = 8
	homeQuotas = 6
	homeRecent = 5
	mendMost   = 100 // jobs that ended badly which are looked at
	laterMost  = 200 // and completed ones that may have done their work
)

// homeView is the data of Home.
type homeView struct {
	Headline  headline
	Attention []attention
	Quotas    []quotaView
	More      int // quotas that are left out
	Storages  []storageView
	Cards     []jobView
	Others    int64 // unfinished jobs without a card
	Recent    []jobView
	Empty     bool // nothing was ever ordered
	Away      bool
	Remotes   bool // there are remotes, as far as is known
}

func (v homeView) frame(f *frame) { f.Live, f.Away = "/events?page=home", v.Away }

// headline is the first line: how things are, and what comes next.
type headline struct {
	Kind string // as stateKind
	Text string
	Next string
}

// quotaView is an account's allowance.
type quotaView struct {
	quota.Status
	Outlook string
}

// Low tells whether little is left.
func (v quotaView) Low() bool { return v.Limit > 0 && float64(v.Available) < .2*float64(v.Limit) }

// PlanWords names what the limit comes from.
func (v quotaView) PlanWords() string {
	if v.OwnLimit || v.Plan == "" {
		return "own limit"
	}
	return "plan " + v.Plan
}

// Resets says when the next period begins, with the zone in words.
func (v quotaView) Resets() string {
	loc, err := time.LoadLocation(v.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	zone := v.TimeZone
	if zone == "" || zone == "UTC" {
		zone = "UTC"
	}
	return v.Period.End.In(loc).Format("2 January 2006, 15:04") + " in the time zone " + zone
}

// UsedWidth and ReservedWidth are the lengths of the gauge's parts in percent.
func (v quotaView) UsedWidth() float64     { return share(v.Used, v.Limit) }
func (v quotaView) ReservedWidth() float64 { return min(share(v.Reserved, v.Limit), 100-v.UsedWidth()) }

func share(part, whole int64) float64 {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return min(100, float64(int(float64(part)/float64(whole)*1000))/10)
}

func (p *Pages) routesHome(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if s := p.cfg.Hub.Now(r.Context()); s != nil { // else the browser has gone
			p.HomeOf(w, r, s)
		}
	})
}

// HomeOf answers with Home as s has it.
func (p *Pages) HomeOf(w http.ResponseWriter, r *http.Request, s *live.Snapshot) {
	status := http.StatusOK
	if s.Err != nil {
		status = http.StatusServiceUnavailable
	}
	p.render(w, r, status, "home", p.home(r.Context(), s))
}

// home makes the data of Home of a snapshot. What the snapshot doesn't tell is asked for now and then, and is left out where
// it can't be had.
func (p *Pages) home(ctx context.Context, s *live.Snapshot) homeView {
	v := homeView{Away: s.Err != nil, Empty: total(s) == 0 && s.Err == nil}
	brief, cancel := context.WithTimeout(ctx, forecastWaits)
	defer cancel()
	if v.Away {
		ctx = brief // the store's client would try for minutes, and the page is to say now that the store is away
	}
	var stuck []jobView
	for _, one := range s.Live {
		waits := one.Job.State == jobs.Waiting && one.Job.Reason == jobs.ReasonQuota
		if len(v.Cards) == homeCards && !waits {
			continue
		}
		view := p.view(brief, one, s)
		if len(v.Cards) < homeCards {
			v.Cards = append(v.Cards, view)
		}
		if view.Stuck() {
			stuck = append(stuck, view)
		}
	}
	v.Others = int64(len(s.Live)-len(v.Cards)) + s.More
	var asked []string
	for _, st := range s.Quotas {
		if st.Removed {
			continue
		}
		if len(v.Quotas) == homeQuotas {
			v.More++
			continue
		}
		view := quotaView{Status: st}
		if p.cfg.Jobs != nil && s.Err == nil {
			view.Outlook = p.forecasts.of(brief, st.Account).text
			asked = append(asked, st.Account)
		}
		v.Quotas = append(v.Quotas, view)
	}
	if s.More > 0 {
		stuck = append(stuck, p.stuckBeyond(brief, s, asked)...)
	}
	past := p.past(ctx, s)
	for _, j := range past.recent {
		v.Recent = append(v.Recent, jobView{Progress: jobs.Progress{Job: j}, Now: time.Now()})
	}
	v.Storages = p.storages(ctx, past)
	v.Attention = p.attention(ctx, s, past, stuck)
	v.Headline = head(s, past, v.Attention, int64(len(stuck)))
	return v
}

// stuckBeyond are the stuck jobs of some accounts that the snapshot leaves out, as the accounts' forecasts tell them.
func (p *Pages) stuckBeyond(ctx context.Context, s *live.Snapshot, accounts []string) []jobView {
	live := map[string]bool{}
	for _, one := range s.Live {
		live[one.Job.ID] = true
	}
	var all []jobView
	for _, account := range accounts {
		for _, v := range p.forecasts.of(ctx, account).stuck {
			if !live[v.Job.ID] {
				all = append(all, v)
			}
		}
	}
	return all
}

// view makes a job's view, with its forecast where it hasn't ended.
func (p *Pages) view(ctx context.Context, one jobs.Progress, s *live.Snapshot) jobView {
	v := jobView{Progress: one, Now: time.Now(), Unseen: s == nil || s.Err != nil}
	if s != nil {
		v.Idle = idle(s)
	}
	if j := one.Job; !j.State.Terminal() && p.cfg.Jobs != nil && (s == nil || s.Err == nil) {
		v.Forecast = p.forecasts.of(ctx, j.Account).jobs[j.ID]
	}
	return v
}

// idle tells whether no worker of the pool is at work.
func idle(s *live.Snapshot) bool {
	return s.Err == nil && !slices.ContainsFunc(s.Workers, func(w jobs.WorkerInfo) bool { return w.State != jobs.WorkerSilent })
}

func total(s *live.Snapshot) (n int64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// past is what has ended lately, and what of it wants a look.
type past struct {
	recent  []jobs.Job // of those that ended, newest order first
	failed  []jobs.Job // with failed files, but for those that a person has seen or a later job has redone
	scrubs  []jobs.Job // scrubs, newest first
	storage []jobs.Job // that measured the storage of their source
}

// past reads what has ended, now and then.
func (p *Pages) past(ctx context.Context, s *live.Snapshot) past {
	if p.cfg.Jobs == nil || s.Err != nil {
		return past{}
	}
	// As soon as a job has ended the numbers are others, and it is read again.
	key := fmt.Sprint(s.Counts[jobs.Completed], s.Counts[jobs.CompletedW], s.Counts[jobs.FailedState], s.Counts[jobs.Canceled])
	all, err := p.pasts.get(ctx, key, func(ctx context.Context) (past, error) {
		ended, _, err := p.cfg.Jobs.List(ctx, jobs.ListOptions{Limit: 20,
			States: []jobs.State{jobs.Completed, jobs.CompletedW, jobs.FailedState, jobs.Canceled}})
		if err != nil {
			return past{}, err
		}
		mend, _, err := p.cfg.Jobs.List(ctx, jobs.ListOptions{Limit: mendMost, States: []jobs.State{jobs.CompletedW, jobs.FailedState}})
		if err != nil {
			return past{}, err
		}
		all := past{recent: ended[:min(len(ended), homeRecent)]}
		for _, j := range mend {
			if alarm := j.Scrub != nil && j.Scrub.Alarming(); !alarm && !j.Seen && (j.State == jobs.FailedState || j.Files.Failed > 0) {
				all.failed = append(all.failed, j)
			}
		}
		if all.failed, err = p.notRedone(ctx, s.Counts[jobs.Completed], all.failed, ended); err != nil {
			return past{}, err
		}
		for _, j := range slices.Concat(ended, mend) {
			if j.Kind == jobs.KindScrub && j.State != jobs.Canceled {
				all.scrubs = append(all.scrubs, j)
			}
		}
		slices.SortStableFunc(all.scrubs, func(a, b jobs.Job) int { return strings.Compare(b.ID, a.ID) })
		for _, j := range ended {
			if j.Storage != nil {
				all.storage = append(all.storage, j)
			}
		}
		return all, nil
	})
	if err != nil {
		p.cfg.Log.Debug("list what has ended", "error", err)
	}
	return all
}

// notRedone leaves out the jobs whose work a later job has done. The lately ended ones are looked through first.
func (p *Pages) notRedone(ctx context.Context, completed int64, failed, ended []jobs.Job) ([]jobs.Job, error) {
	without := func(later []jobs.Job) {
		failed = slices.DeleteFunc(failed, func(j jobs.Job) bool {
			return slices.ContainsFunc(later, func(other jobs.Job) bool { return other.Redid(j) })
		})
	}
	without(ended)
	if len(failed) == 0 {
		return nil, nil
	}
	later, err := p.completed.get(ctx, fmt.Sprint(completed), func(ctx context.Context) ([]jobs.Job, error) {
		later, _, err := p.cfg.Jobs.List(ctx, jobs.ListOptions{Limit: laterMost, States: []jobs.State{jobs.Completed}})
		return later, err
	})
	without(later)
	return failed, err
}

// head says in one sentence how things are, and in another what comes next.
func head(s *live.Snapshot, old past, needs []attention, stuck int64) headline {
	c := s.Counts
	running := c[jobs.Scanning] + c[jobs.Transferring] + c[jobs.Finishing]
	persons := s.Waiting[jobs.ReasonSignIn] + s.Waiting[jobs.ReasonSpace] + stuck
	switch {
	case s.Err != nil && total(s) == 0:
		return headline{"bad", "The store doesn't answer.", "This page comes back by itself when it does. Is Redis running?"}
	case total(s) == 0:
		return headline{"still", "Nothing has been offloaded yet.", ""}
	case persons > 0:
		text := needYou(persons)
		if running > 0 {
			text += ", and " + human.Count(running, "job") + pick(running, " is", " are") + " running"
		}
		return headline{"person", text + ".", nextOf(s)}
	case running+c[jobs.Queued] > 0 && idle(s) && !worked(s):
		return headline{"bad", human.Count(running+c[jobs.Queued], "job") + " can't go on: no worker is running.", "Start one with `offload worker`, or `offload up`."}
	case running > 0:
		return headline{"run", runningWords(s, running), nextOf(s)}
	case c[jobs.Queued] > 0:
		return headline{"wait", human.Count(c[jobs.Queued], "job") + " will begin as soon as a worker has room.", nextOf(s)}
	case c[jobs.Waiting] > 0:
		return headline{"wait", waitingWords(s), nextOf(s)}
	case c[jobs.Paused] > 0:
		return headline{"still", human.Count(c[jobs.Paused], "job") + pick(c[jobs.Paused], " is", " are") + " paused; nothing else is to be done.", "They go on when somebody resumes them."}
	}
	h := headline{Kind: "good", Text: "Everything that was ordered is done."}
	if len(needs) > 0 {
		h = headline{Kind: "warn", Text: "Nothing is running, and something wants a look."}
	}
	if len(old.recent) > 0 && old.recent[0].Finished != nil {
		h.Next = "The last job ended " + ago(old.recent[0].Finished) + "."
	}
	return h
}

func needYou(n int64) string { return human.Count(n, "job") + pick(n, " needs you", " need you") }

func pick(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// worked tells whether somebody works on a job, be it a process that runs it in the foreground.
func worked(s *live.Snapshot) bool {
	return slices.ContainsFunc(s.Live, func(p jobs.Progress) bool { return p.Workers > 0 })
}

func runningWords(s *live.Snapshot, n int64) string {
	var rest, rate int64
	for _, p := range s.Live {
		if p.Job.State.Runs() {
			rest += max(0, p.ToMove()-p.Job.Bytes.Copied-p.Moving)
			rate += int64(p.Rate)
		}
	}
	text := human.Count(n, "job") + pick(n, " is", " are") + " running"
	if rest > 0 {
		text += ", with " + human.Size(rest) + " to go"
	}
	if rate > 0 {
		text += " at " + human.Size(rate) + "/s"
	}
	return text + "."
}

func waitingWords(s *live.Snapshot) string {
	n := s.Counts[jobs.Waiting]
	text := human.Count(n, "job") + pick(n, " waits", " wait")
	for _, r := range []struct {
		reason jobs.Reason
		words  string
	}{{jobs.ReasonQuota, " for quota"}, {jobs.ReasonWindow, " for the time of day to move files"}, {jobs.ReasonHold, " before deleting at the source"}} {
		if s.Waiting[r.reason] == n {
			return text + r.words + "; nothing is to be done."
		}
	}
	return text + " and will go on by themselves."
}

// nextOf says what happens next by itself.
func nextOf(s *live.Snapshot) string {
	var next *jobs.Job
	for i := range s.Live {
		j := &s.Live[i].Job
		if j.State == jobs.Waiting && j.Until != nil && (next == nil || j.Until.Before(*next.Until)) {
			next = j
		}
	}
	if next == nil {
		return ""
	}
	what := "goes on"
	switch next.Reason {
	case jobs.ReasonSignIn, jobs.ReasonSpace:
		what = "looks again"
	case jobs.ReasonHold:
		what = "deletes at the source"
	}
	return fmt.Sprintf("Next: on %s (%s) the job %s %s.", next.Until.Local().Format("2 January, 15:04 MST"), fromNow(next.Until), jobName(*next), what)
}

// deletes tells whether a job is to delete at its source.
func deletes(j jobs.Job) bool {
	return j.DeleteSource != "" && j.DeleteSource != transfer.DeleteNever
}
