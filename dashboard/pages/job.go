package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/internal/human"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/transfer"
)

// jobPage is the data of the page of one job.
type jobPage struct {
	jobView
	History   []eventView
	Troubles  []troubleView
	Options   []fact
	Command   string
	Storage   []string
	Deletion  []string
	Restored  []string    // where the files of a restore came from
	FromTrash int64       // how many of them came from the trash
	Doable    []verbWords // what can be done to it now, but for removing
	CanRetry  bool
	Gone      bool // it can be removed
	Away      bool
	Wrong     *badField // what was refused of the form for the bandwidth
}

func (v jobPage) frame(f *frame) {
	f.Nav, f.Live, f.Away = "jobs", "/events?page=job&id="+url.QueryEscape(v.Job.ID), v.Away
	f.TitleAt = jobLink(v.Job) + "/title"
}

// Summary is what the page says first of a job that has ended.
func (v jobPage) Summary() string {
	if !v.Job.State.Terminal() {
		return ""
	}
	return stateHelp(v.Job)
}

// fact is a name and what it is.
type fact struct{ Name, Text string }

// eventView is one change of the state.
type eventView struct {
	jobs.HistoryEvent
	Job jobs.Job // with the state and the reason, for the words
}

// Who says who changed the state: a person by name, a process by its machine, as "host:ID of the machine:process:number".
func (e eventView) Who() string {
	host, rest, process := strings.Cut(e.By, ":")
	if process && strings.Count(rest, ":") >= 2 {
		return "on " + host
	}
	if e.By == "" {
		return ""
	}
	return "by " + e.By
}

// troubleView is a group of files with the same outcome for the same cause.
type troubleView struct {
	jobs.Trouble
	Title  string
	Remedy string
	Link   string
	Failed bool
}

func (p *Pages) routesJob(mux *http.ServeMux) {
	mux.HandleFunc("GET /jobs/{id}", p.getJob)
	mux.HandleFunc("GET /jobs/{id}/title", p.getTitle)
	mux.HandleFunc("GET /jobs/{id}/files", p.getFiles)
	mux.HandleFunc("GET /jobs/{id}/files.csv", p.getCSV)
	mux.HandleFunc("GET /jobs/{id}/files.json", p.getJSON)
	mux.HandleFunc("GET /jobs/{id}/{verb}", p.getVerb)
	mux.HandleFunc("POST /jobs/{id}/{verb}", p.postVerb)
	mux.HandleFunc("POST /jobs/{id}/bandwidth", p.postBandwidth)
	mux.HandleFunc("POST /jobs/{id}/scrub", p.postScrub)
	mux.HandleFunc("POST /jobs/{id}/seen", p.postSeen)
	mux.HandleFunc("GET /jobs/{id}/restore", p.operators(p.getRestore))
	mux.HandleFunc("POST /jobs/{id}/restore", p.operators(quietly(p.postRestore)))
	mux.HandleFunc("GET /jobs/{id}/hold/{end}", p.getHold)
	mux.HandleFunc("POST /jobs/{id}/hold/{end}", p.postHold)
}

// find returns the job that an address names. Where it names it by its beginning the browser is sent to the whole address,
// and false is returned, as after an error.
func (p *Pages) find(w http.ResponseWriter, r *http.Request, rest string) (jobs.Progress, bool) {
	id := r.PathValue("id")
	if len(id) < 6 || len(id) > 26 {
		p.refuse(w, r, jobs.ErrNotFound)
		return jobs.Progress{}, false
	}
	one, err := p.cfg.Jobs.Progress(r.Context(), id)
	if err != nil {
		p.refuse(w, r, err)
		return jobs.Progress{}, false
	}
	if one.Job.ID != id {
		to := url.URL{Path: "/jobs/" + one.Job.ID + rest, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
		return jobs.Progress{}, false
	}
	return one, true
}

func (p *Pages) getJob(w http.ResponseWriter, r *http.Request) {
	one, ok := p.find(w, r, "")
	if !ok {
		return
	}
	v, err := p.job(r.Context(), one)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.render(w, r, http.StatusOK, "job", v)
}

// getTitle answers with the title of a job's page, for the tab of a browser that isn't looked at.
func (p *Pages) getTitle(w http.ResponseWriter, r *http.Request) {
	one, ok := p.find(w, r, "/title")
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprint(w, jobTitle(jobView{Progress: one}))
}

// jobTitle is what a browser's tab says of a job.
func jobTitle(v jobView) string {
	name := human.Printable(v.Job.Title())
	if v.Job.State.Terminal() || v.Job.State == jobs.Queued || v.Job.State == jobs.Scanning {
		return stateWord(v.Job) + " - " + name + " - offload"
	}
	return fmt.Sprintf("%d %% - %s - offload", v.Percent(), name)
}

// TabTitle is the title of the page.
func (v jobPage) TabTitle() string { return jobTitle(v.jobView) }

// job makes the data of a job's page.
func (p *Pages) job(ctx context.Context, one jobs.Progress) (jobPage, error) {
	j := one.Job
	s := p.seen(ctx)
	brief, cancel := context.WithTimeout(ctx, forecastWaits)
	v := jobPage{jobView: p.view(brief, one, s)}
	cancel()
	history, err := p.history(ctx, j)
	if err != nil {
		return v, err
	}
	for _, e := range history {
		v.History = append(v.History, eventView{e, jobs.Job{State: e.To, Reason: e.Reason}})
	}
	found, err := p.troublesOf(ctx, j)
	if err != nil {
		return v, err
	}
	v.Restored, v.FromTrash, found = restoredFrom(j, found)
	for _, t := range found {
		v.Troubles = append(v.Troubles, troubleOf(j, t))
	}
	v.Options, v.Command = optionWords(j), orderform.CommandLine(j.Order)
	v.Storage, v.Deletion = storageWords(j), deletionWords(j)
	for _, verb := range jobs.Verbs() {
		words, ok := wordsOf(verb)
		switch {
		case !ok || !verb.Allows(j.State):
		case verb == jobs.VerbResume && j.State == jobs.Waiting && j.Reason == jobs.ReasonHold: // it would only wait again
		case verb == jobs.VerbRemove:
			v.Gone = true
		case verb == jobs.VerbRetry:
			v.CanRetry = true
			if j.Files.Failed > 0 {
				words.Button = "Retry " + human.Count(j.Files.Failed, "failed file")
			}
			v.Doable = append(v.Doable, words)
		default:
			v.Doable = append(v.Doable, words)
		}
	}
	v.Doable = slices.Concat(holdVerbs(j), v.Doable, scrubVerb(j), restoreVerb(j))
	return v, nil
}

// seen is the newest snapshot, nil where it can't be had at once: a job's page needn't wait for it.
func (p *Pages) seen(ctx context.Context) *live.Snapshot {
	ctx, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	return p.cfg.Hub.Now(ctx)
}

// seenWithin is how long a job's page waits for the snapshot, which tells it of the workers.
const seenWithin = 500 * time.Millisecond

// history is asked for again when the state is another.
func (p *Pages) history(ctx context.Context, j jobs.Job) ([]jobs.HistoryEvent, error) {
	key := fmt.Sprint(j.ID, j.State, j.Reason, j.Until, j.Finished)
	return p.histories.get(ctx, key, func(ctx context.Context) ([]jobs.HistoryEvent, error) { return p.cfg.Jobs.History(ctx, j.ID) })
}

// troublesOf is asked for again when the counts are others.
func (p *Pages) troublesOf(ctx context.Context, j jobs.Job) ([]jobs.Trouble, error) {
	f := j.Files
	if j.State.Terminal() || j.State == jobs.Paused { // how many were deleted changes while a job runs all the time
		f.Found = 0
	} else {
		f = jobs.Files{Failed: f.Failed, SetAside: f.SetAside}
	}
	return p.troubles.get(ctx, fmt.Sprint(j.ID, j.State, f), func(ctx context.Context) ([]jobs.Trouble, error) {
		return p.cfg.Jobs.Troubles(ctx, j.ID)
	})
}

func troubleOf(j jobs.Job, t jobs.Trouble) troubleView {
	q := url.Values{"outcome": {string(t.Result)}, "code": {t.Code}}
	v := troubleView{Trouble: t, Remedy: t.Remedy, Failed: t.Result == transfer.Failed, Link: jobLink(j) + "/files?" + q.Encode()}
	switch {
	case j.Kind == jobs.KindScrub && t.Code == transfer.CodeScrubMissing:
		v.Title = human.Count(t.Files, "file") + " missing at the destination"
	case j.Kind == jobs.KindScrub && t.Code == transfer.CodeScrubDiffers:
		v.Title = human.Count(t.Files, "file") + " different from what was proved"
	case j.Kind == jobs.KindScrub && t.Result == transfer.Failed:
		v.Title = human.Count(t.Files, "file") + " that couldn't be looked at"
	case j.Kind == jobs.KindRestore && t.Result == transfer.Failed:
		v.Title = human.Count(t.Files, "file") + " not brought back"
	case j.Kind == jobs.KindRestore && t.Code == transfer.CodeBeside:
		v.Title = human.Count(t.Files, "file") + " brought back beside another"
	case t.Code == transfer.CodeHoldCalledOff:
		v.Title = human.Count(t.Files, "file") + " kept at the source, as the deletion was called off"
	case t.Result == transfer.Failed:
		v.Title = human.Count(t.Files, "file") + " failed"
	case t.Result == transfer.SetAside:
		v.Title = human.Count(t.Files, "file") + " set aside"
	case t.Code == transfer.CodeNotPurged:
		v.Title = human.Count(t.Files, "file") + " left in the source's trash"
	case deletes(j) && (t.Result == transfer.Copied || t.Result == transfer.Skipped):
		v.Title = human.Count(t.Files, "file") + " kept at the source"
	default:
		v.Title = human.Count(t.Files, "file") + " left as they are"
	}
	return v
}

// jobFragments are the parts of a job's page that change.
func jobFragments(v jobPage) []fragment {
	all := []fragment{{ID: "title", Text: v.TabTitle()}}
	for _, id := range []string{"away", "jobhead", "jobstate", "actions", "deletion", "trouble", "timeline", "danger"} {
		all = append(all, fragment{ID: id, Block: id, Data: v})
	}
	return all
}

// verbView is the data of the page that asks before a job is canceled or removed.
type verbView struct {
	jobView
	Words verbWords
	Typed string
	Wrong bool
}

func (verbView) frame(f *frame) { f.Nav = "jobs" }

// getVerb asks before something that can't be undone.
func (p *Pages) getVerb(w http.ResponseWriter, r *http.Request) {
	words, ok := wordsOf(jobs.Verb(r.PathValue("verb")))
	if !ok || words.Ask == "" {
		p.fail(w, r, http.StatusNotFound, "There is no such page", "The page of the job has all that can be done to it.")
		return
	}
	one, ok := p.find(w, r, "/"+string(words.Verb))
	if !ok {
		return
	}
	if !words.Verb.Allows(one.Job.State) {
		http.Redirect(w, r, jobLink(one.Job), http.StatusSeeOther)
		return
	}
	v := verbView{jobView: jobView{Progress: one, Now: time.Now()}, Words: words, Wrong: r.URL.Query().Get("wrong") != ""}
	if words.Verb == jobs.VerbRemove {
		v.Typed = typedWord
	}
	p.render(w, r, http.StatusOK, "verb", v)
}

// postVerb does something to a job.
func (p *Pages) postVerb(w http.ResponseWriter, r *http.Request) {
	words, ok := wordsOf(jobs.Verb(r.PathValue("verb")))
	if !ok || !wholeID(r.PathValue("id")) {
		p.fail(w, r, http.StatusNotFound, "That can't be done", "The page of the job has all that can be done to it.")
		return
	}
	id := r.PathValue("id")
	ask := "/jobs/" + id + "/" + string(words.Verb)
	if words.Ask != "" && r.PostFormValue("sure") != "yes" {
		guard.Nothing(r.Context())
		http.Redirect(w, r, ask, http.StatusSeeOther)
		return
	}
	if words.Verb == jobs.VerbRemove && !typedRight(r.PostFormValue("typed")) {
		guard.Nothing(r.Context())
		http.Redirect(w, r, ask+"?wrong=1", http.StatusSeeOther)
		return
	}
	if _, err := p.do(r.Context(), words.Verb, id); err != nil {
		p.refuse(w, r, err)
		return
	}
	to := "/jobs/" + id
	if words.Verb == jobs.VerbRemove {
		to = "/jobs"
	}
	p.done(w, r, to, words.Verb.Done())
}

// do does something to a job in the name of who asks for it, and records that.
func (p *Pages) do(ctx context.Context, verb jobs.Verb, id string) (jobs.Job, error) {
	j, err := p.cfg.Jobs.Do(ctx, verb, id)
	if err != nil {
		return j, err
	}
	p.touch(j)
	deeds.ToJob(ctx, verb.Done(), j)
	return j, nil
}

// postBandwidth changes the bandwidth of a job.
func (p *Pages) postBandwidth(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !wholeID(id) {
		p.refuse(w, r, jobs.ErrNotFound)
		return
	}
	spec := r.PostFormValue("bwlimit")
	var err error
	if len(spec) > searchMost {
		err = &jobs.OrderError{Err: errors.New("is too long for a bandwidth"), Hint: "write 2M for 2 MiB a second, off for no limit, or nothing for what was ordered"}
	} else {
		_, err = p.cfg.Jobs.SetJobBandwidth(r.Context(), id, spec)
	}
	var mistake *jobs.OrderError
	if errors.As(err, &mistake) {
		text := inputText(fmt.Errorf("%s %w", quoted(spec), mistake.Err), mistake.Hint)
		p.showBandwidth(w, r, &badField{"bandwidth", "bwlimit", text, r.PostForm})
		return
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	deeds.JobBandwidth(r.Context(), id, spec)
	p.done(w, r, "/jobs/"+id, "bandwidth")
}

// showBandwidth answers with the job's page, on which the form for the bandwidth says what was refused of it.
func (p *Pages) showBandwidth(w http.ResponseWriter, r *http.Request, wrong *badField) {
	one, ok := p.find(w, r, "")
	if !ok {
		return
	}
	if one.Job.State.Terminal() { // its page has no such form any more
		p.refuse(w, r, fmt.Errorf("job %s is %s: %w", one.Job.ID, one.Job.State, jobs.ErrState))
		return
	}
	v, err := p.job(r.Context(), one)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	v.Wrong = wrong
	p.render(w, r, http.StatusBadRequest, "job", v)
}
