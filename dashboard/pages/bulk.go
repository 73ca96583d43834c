package pages

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"offload/dashboard/guard"
	"offload/jobs"
)

// bulkMost is how many jobs one request may name: a page of the list.
const bulkMost = 200

// verbWords are how a verb is said.
type verbWords struct {
	Verb   jobs.Verb
	Button string // "Pause job"
	Many   string // "Pause"
	Ask    string // what a person should know before; "" where it is done at once
	Icon   string
	Danger bool
}

func wordsOf(v jobs.Verb) (verbWords, bool) {
	all := []verbWords{
		{jobs.VerbPause, "Pause job", "Pause", "", "pause", false},
		{jobs.VerbResume, "Resume job", "Resume", "", "play", false},
		{jobs.VerbCancel, "Cancel job", "Cancel",
			"A canceled job doesn't go on: what was copied stays at the destination, what was deleted stays deleted, and everything else stays at the source. Pausing can be undone, canceling can't.", "stop", true},
		{jobs.VerbRetry, "Retry job", "Retry", "", "retry", false},
		{jobs.VerbRemove, "Remove job (keeps files)", "Remove from the list",
			"Removing a job touches no file, neither at the source nor at the destination. Its manifest, the record of what was copied, proved and deleted, is kept.", "trash", true},
	}
	i := slices.IndexFunc(all, func(w verbWords) bool { return w.Verb == v })
	if i < 0 {
		return verbWords{}, false
	}
	return all[i], true
}

// bulkView is the data of the page that asks before several jobs are canceled or removed.
type bulkView struct {
	Words verbWords
	Jobs  []jobView
	Back  string
	Typed string // what has to be typed; "" for nothing
	Wrong bool   // it was typed otherwise
}

func (bulkView) frame(f *frame) { f.Nav = "jobs" }

// localPath is a path of our own to go back to: anything else is the list of jobs.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || u.Path != "/jobs" || strings.HasPrefix(s, "//") || strings.Contains(s, "\\") {
		return "/jobs"
	}
	q := u.Query()
	q.Del("note")
	u.RawQuery, u.Fragment = q.Encode(), ""
	return u.String()
}

// readBulk reads which jobs are chosen, and what is to be done to them.
func readBulk(q url.Values) (verbWords, []string, error) {
	words, ok := wordsOf(jobs.Verb(q.Get("action")))
	if !ok {
		return words, nil, &inputError{quoted(q.Get("action")) + " is nothing that can be done to jobs", "Use the buttons of the list."}
	}
	var ids []string
	for _, id := range q["id"] {
		if !wholeID(id) {
			return words, nil, &inputError{quoted(id) + " is no job ID", "Choose jobs in the list."}
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) > bulkMost {
		return words, nil, &inputError{fmt.Sprintf("%d jobs are too many at once", len(ids)), fmt.Sprintf("Choose at most %d.", bulkMost)}
	}
	return words, ids, nil
}

// wholeID tells whether a text can be the whole ID of a job.
func wholeID(s string) bool {
	return len(s) == 26 && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(idDigits, r) })
}

// idDigits are the digits of the IDs, which are ULIDs.
const idDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// postBulk does something to the chosen jobs; what can't be undone is asked for first.
func (p *Pages) postBulk(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refuse(w, r, &inputError{"The form can't be read", "Load the page again."})
		return
	}
	words, ids, err := readBulk(r.PostForm)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	back := localPath(r.PostForm.Get("back"))
	if len(ids) == 0 {
		guard.Nothing(r.Context())
		p.done(w, r, back, "none")
		return
	}
	if words.Ask != "" && (r.PostForm.Get("sure") != "yes" || words.Verb == jobs.VerbRemove && !typedRight(r.PostForm.Get("typed"))) {
		q := url.Values{"action": {string(words.Verb)}, "id": ids, "back": {back}}
		if r.PostForm.Get("sure") == "yes" {
			q.Set("wrong", "1")
		}
		guard.Nothing(r.Context())
		http.Redirect(w, r, "/jobs/bulk?"+q.Encode(), http.StatusSeeOther)
		return
	}
	n := 0
	for _, id := range ids {
		_, err := p.do(r.Context(), words.Verb, id)
		switch {
		case err == nil:
			n++
		case errors.Is(err, jobs.ErrState), errors.Is(err, jobs.ErrNotFound): // it has gone on meanwhile
		default:
			p.refuse(w, r, err)
			return
		}
	}
	if n == 0 {
		guard.Nothing(r.Context())
		p.done(w, r, back, "nothing")
		return
	}
	p.done(w, r, back, fmt.Sprintf("%s-n:%d", words.Verb.Done(), n))
}

// typedWord is what a person types to have the record of a job removed.
const typedWord = "remove"

func typedRight(s string) bool { return strings.EqualFold(strings.TrimSpace(s), typedWord) }

// getBulk asks before something that can't be undone.
func (p *Pages) getBulk(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	words, ids, err := readBulk(q)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	v := bulkView{Words: words, Back: localPath(q.Get("back")), Wrong: q.Get("wrong") != ""}
	if words.Verb == jobs.VerbRemove {
		v.Typed = typedWord
	}
	for _, id := range ids {
		j, err := p.cfg.Jobs.Get(r.Context(), id)
		if errors.Is(err, jobs.ErrNotFound) || err == nil && !words.Verb.Allows(j.State) {
			continue // nothing is to be done to it any more
		}
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		v.Jobs = append(v.Jobs, jobView{Progress: jobs.Progress{Job: j}})
	}
	if len(v.Jobs) == 0 {
		p.done(w, r, v.Back, "nothing")
		return
	}
	p.render(w, r, http.StatusOK, "bulk", v)
}
