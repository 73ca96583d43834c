package pages

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"offload/jobs"
)

// Bounds of the list of jobs.
const (
	jobsShown   = 50
	searchMost  = 200 // bytes of a search
	cursorMost  = 512
	accountsMax = 200 // accounts that are offered
)

// pageSizes are the lengths of a page that are offered.
func pageSizes() []int { return []int{25, 50, 100} }

// jobsFilter is what a person chose to see.
type jobsFilter struct {
	States  []string
	Account string
	Remote  string
	Search  string
	Limit   int
	Cursor  string
}

// choice is an entry of a list to choose from.
type choice struct {
	Value, Words string
	Chosen       bool
}

// jobsView is the data of the list of jobs.
type jobsView struct {
	Filter   jobsFilter
	Jobs     []jobView
	States   []choice
	Sizes    []choice
	Accounts []string
	Next     string // address of the next page, "" for none
	First    string // address of the first page where this is another
	Back     string // address of this page
	Total    int64  // of all jobs; -1 where it isn't known
	Away     bool
}

func (v jobsView) frame(f *frame) { f.Nav, f.Live, f.Away = "jobs", "/events?page=jobs", v.Away }

// Filtered tells whether some jobs are left out.
func (v jobsView) Filtered() bool {
	f := v.Filter
	return len(f.States) > 0 || f.Account != "" || f.Remote != "" || f.Search != ""
}

// Verbs are what can be done to several jobs at once.
func (v jobsView) Verbs() []jobs.Verb { return jobs.Verbs() }

// stateGroups are names for several states.
func stateGroups() map[string][]jobs.State {
	return map[string][]jobs.State{
		"unfinished": {jobs.Queued, jobs.Scanning, jobs.Transferring, jobs.Finishing, jobs.Waiting, jobs.Paused},
		"running":    {jobs.Scanning, jobs.Transferring, jobs.Finishing},
		"ended":      {jobs.Completed, jobs.CompletedW, jobs.FailedState, jobs.Canceled},
	}
}

// stateChoices are the states to choose from.
func stateChoices(chosen []string) []choice {
	all := []choice{{Value: "", Words: "All states"}, {Value: "unfinished", Words: "Not ended"}, {Value: "running", Words: "Running"}, {Value: "ended", Words: "Ended"}}
	for _, s := range everyState() {
		all = append(all, choice{Value: string(s), Words: stateWord(jobs.Job{State: s})})
	}
	for i := range all {
		all[i].Chosen = slices.Contains(chosen, all[i].Value) || all[i].Value == "" && len(chosen) == 0
	}
	if len(chosen) > 1 {
		all[0].Words, all[0].Chosen = "Several states", false
	}
	return all
}

func everyState() []jobs.State {
	return []jobs.State{jobs.Queued, jobs.Scanning, jobs.Transferring, jobs.Finishing, jobs.Paused, jobs.Waiting,
		jobs.Completed, jobs.CompletedW, jobs.FailedState, jobs.Canceled}
}

// inputError is a mistake in a request: what is wrong, and what to do.
type inputError struct{ what, hint string }

func (e *inputError) Error() string { return e.what }

// readJobsFilter reads what a request asks for.
func readJobsFilter(q url.Values) (f jobsFilter, o jobs.ListOptions, err error) {
	f = jobsFilter{Account: q.Get("account"), Remote: q.Get("remote"), Search: q.Get("q"), Cursor: q.Get("cursor"), Limit: jobsShown}
	for _, s := range q["state"] {
		if s == "" {
			continue
		}
		group := stateGroups()[s]
		if group == nil && slices.Contains(everyState(), jobs.State(s)) {
			group = []jobs.State{jobs.State(s)}
		}
		if group == nil {
			return f, o, &inputError{"There is no state " + quoted(s), "Choose one of the list."}
		}
		f.States = append(f.States, s)
		o.States = append(o.States, group...)
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			return f, o, &inputError{quoted(text) + " is no number of jobs for a page", "Choose 1 to 100."}
		}
		f.Limit = n
	}
	for _, one := range []struct{ name, text string }{{"search", f.Search}, {"account", f.Account}, {"remote", f.Remote}} {
		if len(one.text) > searchMost || !utf8.ValidString(one.text) {
			return f, o, &inputError{"The " + one.name + " is too long, or no text", fmt.Sprintf("Use at most %d letters.", searchMost)}
		}
	}
	if len(f.Cursor) > cursorMost {
		return f, o, errNoPlace
	}
	o.Account, o.Remote, o.Search, o.Cursor, o.Limit = f.Account, remoteName(f.Remote), f.Search, f.Cursor, f.Limit
	return f, o, nil
}

// remoteName is the name of a remote as people write it, with or without its colon.
func remoteName(s string) string {
	for s != "" && s[len(s)-1] == ':' {
		s = s[:len(s)-1]
	}
	return s
}

// query writes the filter as an address, from a place in the list.
func (f jobsFilter) address(cursor string) string {
	q := url.Values{}
	for _, s := range f.States {
		q.Add("state", s)
	}
	for _, one := range []struct{ name, text string }{{"account", f.Account}, {"remote", f.Remote}, {"q", f.Search}, {"cursor", cursor}} {
		if one.text != "" {
			q.Set(one.name, one.text)
		}
	}
	if f.Limit != jobsShown {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if len(q) == 0 {
		return "/jobs"
	}
	return "/jobs?" + q.Encode()
}

func (p *Pages) routesJobs(mux *http.ServeMux) {
	mux.HandleFunc("GET /jobs", p.getJobs)
	mux.HandleFunc("POST /jobs/bulk", p.postBulk)
	mux.HandleFunc("GET /jobs/bulk", p.getBulk)
}

func (p *Pages) getJobs(w http.ResponseWriter, r *http.Request) {
	f, o, err := readJobsFilter(r.URL.Query())
	var list []jobs.Job
	var next string
	if err == nil {
		list, next, err = p.cfg.Jobs.List(r.Context(), o)
	}
	if err != nil {
		p.refuseList(w, r, err, f.address(""))
		return
	}
	v := jobsView{Filter: f, States: stateChoices(f.States), Back: f.address(f.Cursor), Total: -1, Accounts: p.accounts(r.Context())}
	for _, n := range pageSizes() {
		v.Sizes = append(v.Sizes, choice{strconv.Itoa(n), strconv.Itoa(n), n == f.Limit})
	}
	running := map[string]jobs.Progress{}
	if s := p.cfg.Hub.Now(r.Context()); s != nil {
		for _, one := range s.Live {
			running[one.Job.ID] = one
		}
		v.Away, v.Total = s.Err != nil, total(s)
	}
	for _, j := range list {
		one, ok := running[j.ID]
		if !ok || one.Job.State != j.State {
			one = jobs.Progress{Job: j}
		}
		v.Jobs = append(v.Jobs, jobView{Progress: one, Now: time.Now()})
	}
	if next != "" {
		v.Next = f.address(next)
	}
	if f.Cursor != "" {
		v.First = f.address("")
	}
	p.render(w, r, http.StatusOK, "jobs", v)
}

// accounts are those that a filter offers; none where they can't be had.
func (p *Pages) accounts(ctx context.Context) []string {
	if p.cfg.Ledger == nil {
		return nil
	}
	all, err := p.accountNames.get(ctx, "", p.cfg.Ledger.Accounts)
	if err != nil {
		p.cfg.Log.Debug("list the accounts", "error", err)
	}
	return all[:min(len(all), accountsMax)]
}
