package pages

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"offload/dashboard/guard"
	"offload/internal/human"
	"offload/jobs"
	"offload/remotes"
)

func (p *Pages) routesRemotes(mux *http.ServeMux) {
	mux.HandleFunc("GET /remotes", p.remotesList)
	mux.HandleFunc("GET /remotes/add", p.operators(p.remotesAdd))
	mux.HandleFunc("POST /remotes/add", p.operators(p.remotesAdding))
	mux.HandleFunc("GET /remotes/{name}/sign-in", p.operators(p.signInShow))
	mux.HandleFunc("POST /remotes/{name}/sign-in", p.operators(quietly(p.signInAnswer)))
	mux.HandleFunc("POST /remotes/{name}/begin", p.operators(p.signInBegin))
	mux.HandleFunc("POST /remotes/{name}/stop", p.operators(p.signInStop))
	mux.HandleFunc("POST /remotes/{name}/check", p.operators(quietly(p.remotesCheck)))
	mux.HandleFunc("GET /remotes/{name}/remove", p.operators(p.remotesRemove))
	mux.HandleFunc("POST /remotes/{name}/remove", p.operators(p.remotesRemoving))
}

// work is what the pages New transfer and Remotes keep between requests.
type work struct {
	background
	guide    *remotes.Guide // nil without remotes
	book     *remoteBook
	previews *previews
}

func newWork(p *Pages) *work {
	w := &work{}
	w.book, w.previews = newRemoteBook(p.cfg, &w.background), newPreviews(p.cfg, &w.background)
	if p.cfg.Remotes != nil {
		w.guide = remotes.NewGuide(p.cfg.Remotes, p.cfg.Log, p.signedIn)
	}
	return w
}

// Close ends what runs in the background: previews, looks at remotes, sign-ins. What is kept of those in the store stays.
func (p *Pages) Close() {
	if p.work.guide != nil {
		p.work.guide.Close()
	}
	p.work.close()
}

// signedIn wakes the jobs that waited for a sign-in.
func (p *Pages) signedIn(ctx context.Context, name string) (int, error) {
	p.work.book.forget(name)
	p.work.book.look(ctx, name)
	guard.Did(ctx, "remote signed in", name, "")
	return p.cfg.Jobs.SignedIn(ctx, name)
}

// remotesPage is the data of the page Remotes.
type remotesPage struct {
	All     []remoteView
	Looking bool
	Hidden  []string // remotes of rclone.conf that the store's hide
	More    bool     // there are more jobs than were counted
}

func (*remotesPage) frame(f *frame) { f.Nav = "remotes" }

func (p *Pages) remotesList(w http.ResponseWriter, r *http.Request) {
	p.work.book.refresh(r.Context())
	page := &remotesPage{All: p.work.book.list()}
	if p.cfg.Remotes != nil {
		page.Hidden = p.cfg.Remotes.Hidden()
	}
	page.More = p.countJobs(r.Context(), page.All)
	for _, v := range page.All {
		page.Looking = page.Looking || v.Looking
	}
	if page.Looking {
		w.Header().Set("Refresh", "5")
	}
	p.render(w, r, http.StatusOK, "remotes", page)
}

// hubTime is how long the page Remotes waits for the overview of jobs, which is only an addition there.
const hubTime = 2 * time.Second

// countJobs counts the jobs that use each remote, as the overview tells; true says that there are more.
func (p *Pages) countJobs(ctx context.Context, all []remoteView) (more bool) {
	if p.cfg.Hub == nil || len(all) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, hubTime)
	defer cancel()
	s := p.cfg.Hub.Now(ctx)
	if s == nil {
		return false
	}
	for _, job := range s.Live {
		source, dest, waits := remotes.NameOf(job.Job.Source), remotes.NameOf(job.Job.Dest), job.Job.SignInRemote()
		for i := range all {
			if all[i].Name == source || all[i].Name == dest {
				all[i].Jobs++
			}
			if all[i].Name == waits {
				all[i].Waits++
			}
		}
	}
	return s.More > 0
}

func (p *Pages) remotesCheck(w http.ResponseWriter, r *http.Request) {
	if v := p.known(w, r); v != nil {
		p.work.book.look(r.Context(), v.Name)
		p.done(w, r, "/remotes", "")
	}
}

// known returns the remote that the address names, and answers for one that isn't there.
func (p *Pages) known(w http.ResponseWriter, r *http.Request) *remoteView {
	for _, v := range p.work.book.list() {
		if v.Name == r.PathValue("name") {
			return &v
		}
	}
	p.fail(w, r, http.StatusNotFound, "There is no such remote", "The page Remotes lists those that there are.")
	return nil
}

// addPage is the data of the page that adds a remote.
type addPage struct {
	Kinds  []remotes.Kind
	Chosen string // rclone's type; "" to choose one
	Name   string
	User   string // Apple ID
	Client string
	How    string // browser or token
	Local  bool
	Err    *remotes.SignInError
}

func (*addPage) frame(f *frame) { f.Nav = "remotes" }

// KindWords is the kind as people call it.
func (a *addPage) KindWords() string { return kindWords(a.Chosen) }

// ICloud tells whether an Apple ID is asked for.
func (a *addPage) ICloud() bool { return a.Chosen == remotes.KindICloud }

// Consent tells whether a person allows the access in a browser.
func (a *addPage) Consent() bool { return a.Chosen == remotes.KindDropbox }

func (p *Pages) remotesAdd(w http.ResponseWriter, r *http.Request) {
	if p.work.guide == nil {
		p.noRemotes(w, r)
		return
	}
	a := &addPage{Kinds: remotes.GuideKinds(), Chosen: r.URL.Query().Get("kind"), Local: sameMachine(r)}
	for _, k := range a.Kinds {
		if k.Name == a.Chosen {
			a.Name = map[string]string{remotes.KindICloud: "icloud", remotes.KindDropbox: "dropbox"}[a.Chosen]
			p.render(w, r, http.StatusOK, "remote_add", a)
			return
		}
	}
	a.Chosen = ""
	p.render(w, r, http.StatusOK, "remote_add", a)
}

func (p *Pages) noRemotes(w http.ResponseWriter, r *http.Request) {
	p.fail(w, r, http.StatusNotFound, "Remotes aren't kept here", "Use the command line: offload remotes add.")
}

func (p *Pages) remotesAdding(w http.ResponseWriter, r *http.Request) {
	if p.work.guide == nil {
		p.noRemotes(w, r)
		return
	}
	f := r.PostForm
	a := &addPage{Kinds: remotes.GuideKinds(), Chosen: f.Get("kind"), Name: f.Get("name"), User: f.Get("apple_id"), Client: f.Get("client_id"), How: f.Get("how"), Local: sameMachine(r)}
	start, wrong := startOf(f, a.Chosen)
	start.Name, start.Kind = strings.TrimSpace(a.Name), a.Chosen
	var err error = wrong
	if wrong == nil {
		if a.Chosen == "" {
			start.Kind = "none" // "" would mean to sign in again
		}
		err = p.work.guide.Begin(r.Context(), start)
	}
	if errors.As(err, &a.Err) {
		if !slices.ContainsFunc(a.Kinds, func(k remotes.Kind) bool { return k.Name == a.Chosen }) {
			a.Chosen = ""
		}
		p.render(w, r, http.StatusUnprocessableEntity, "remote_add", a)
		return
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	name, _ := remotes.CheckName(start.Name)
	guard.Did(r.Context(), "sign-in begun", name, a.Chosen)
	p.done(w, r, signInPath(name), "")
}

// startOf reads what a form says for the beginning of a sign-in.
func startOf(f url.Values, kind string) (remotes.SignInStart, *remotes.SignInError) {
	s := remotes.SignInStart{Values: map[string]string{}}
	switch kind {
	case remotes.KindICloud:
		s.Values["apple_id"], s.Values["password"] = strings.TrimSpace(f.Get("apple_id")), f.Get("password")
		return s, nil
	case remotes.KindDropbox:
		s.Values["client_id"], s.Values["client_secret"] = strings.TrimSpace(f.Get("client_id")), strings.TrimSpace(f.Get("client_secret"))
	}
	switch f.Get("how") {
	case "browser":
		s.Browser = "true"
	case "token":
		s.Token = strings.TrimSpace(f.Get("token"))
		if s.Token == "" {
			return s, &remotes.SignInError{Mine: true, Err: errors.New("the token is empty"), Hint: "paste what `rclone authorize` prints between its arrows"}
		}
	}
	return s, nil
}

// sameMachine tells whether the browser seems to run on this machine, where rclone waits for a consent.
func sameMachine(r *http.Request) bool {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !loopback(from) {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return host == "localhost" || loopback(strings.Trim(host, "[]"))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func signInPath(name string) string { return "/remotes/" + url.PathEscape(name) + "/sign-in" }

// signInPage is the data of the page of a sign-in.
type signInPage struct {
	remotes.SignInState
	There  bool        // a sign-in is going on
	Remote *remoteView // nil for one that isn't a remote yet
	Local  bool
	Help   string // the question in words
	Prompt string // what the answer is called
	User   string
	Client string
	How    string
}

func (*signInPage) frame(f *frame) { f.Nav = "remotes" }

// ICloud tells whether it is Apple that is signed in to.
func (s *signInPage) ICloud() bool { return s.Kind == remotes.KindICloud }

// KindWords is the kind as people call it.
func (s *signInPage) KindWords() string { return kindWords(s.Kind) }

// Unseen tells whether the answer isn't to be seen while it is typed.
func (s *signInPage) Unseen() bool { return s.Question.Secret || s.Question.Hide }

// TriesLeft is how often a code may be typed yet.
func (s *signInPage) TriesLeft() int { return max(0, remotes.MaxCodes-s.Tries) }

// WokenWords says how many jobs go on.
func (s *signInPage) WokenWords() string { return human.Count(int64(s.Woken), "job") }

// doneShown is how long the page of a sign-in says that it is done.
const doneShown = time.Minute

// signInData is how the sign-in of the remote that the address names stands; nil where it was answered already.
func (p *Pages) signInData(w http.ResponseWriter, r *http.Request) *signInPage {
	if p.work.guide == nil {
		p.noRemotes(w, r)
		return nil
	}
	name := r.PathValue("name")
	state, there, err := p.work.guide.State(r.Context(), name)
	if there && state.Done && (time.Since(state.At) > doneShown || r.Method == http.MethodGet && p.waitedFor(r.Context(), name)) {
		state, there = remotes.SignInState{}, false // who comes back wants to sign in again
	}
	page := &signInPage{SignInState: state, There: there, Local: sameMachine(r)}
	if err != nil && !errors.As(err, &page.Err) {
		p.refuse(w, r, err)
		return nil
	}
	for _, v := range p.work.book.list() {
		if v.Name == name {
			page.Remote = &v
		}
	}
	if page.Remote != nil && !there {
		page.Name, page.Kind, page.Again = name, page.Remote.Kind, true
	}
	if page.Remote == nil && !there {
		p.fail(w, r, http.StatusNotFound, "There is no such remote", "The page Remotes lists those that there are, and adds others.")
		return nil
	}
	page.ask()
	return page
}

// waitedFor tells whether a job waits for somebody to sign in to a remote now, after the last sign-in has woken those that did.
func (p *Pages) waitedFor(ctx context.Context, name string) bool {
	s := p.cfg.Hub.Now(ctx)
	if s == nil || s.Err != nil {
		return false
	}
	for _, one := range s.Live {
		if one.Job.SignInRemote() != name {
			continue
		}
		// What the snapshot says may be of the moment before.
		if j, err := p.cfg.Jobs.Get(ctx, one.Job.ID); err == nil && j.SignInRemote() == name {
			return true
		}
	}
	return false
}

// ask puts the open question into words.
func (s *signInPage) ask() {
	q := s.Question
	if q == nil {
		return
	}
	s.Help, s.Prompt = q.Words()
	switch {
	case q.IsToken():
		// rclone's own words may hold the secret of an app.
		s.Help = fmt.Sprintf("Run `rclone authorize %s` on a machine with a browser, and paste what it prints between its arrows. With an app of your own its ID and its secret stand behind that", s.Kind)
		s.Prompt = "Token"
	case q.InBrowser():
		s.Help, s.Prompt = "The access is allowed in a browser. Does it run on the same machine as the dashboard?", "Browser"
	}
}

func (p *Pages) signInShow(w http.ResponseWriter, r *http.Request) {
	page := p.signInData(w, r)
	if page == nil {
		return
	}
	if page.Busy {
		w.Header().Set("Refresh", "3")
	}
	p.render(w, r, http.StatusOK, "sign_in", page)
}

// signInAnswer answers the open question.
func (p *Pages) signInAnswer(w http.ResponseWriter, r *http.Request) {
	if p.work.guide == nil {
		p.noRemotes(w, r)
		return
	}
	answer := r.PostForm.Get("answer")
	if r.PostForm.Has("sms") {
		answer = "sms"
	}
	p.signInAfter(w, r, p.work.guide.Answer(r.Context(), r.PathValue("name"), answer))
}

// signInAfter answers a step of a sign-in: by the page of how it stands now, with what is wrong.
func (p *Pages) signInAfter(w http.ResponseWriter, r *http.Request, err error) {
	var wrong *remotes.SignInError
	if err != nil && !errors.As(err, &wrong) {
		p.refuse(w, r, err)
		return
	}
	if wrong == nil {
		p.done(w, r, signInPath(r.PathValue("name")), "")
		return
	}
	if page := p.signInData(w, r); page != nil {
		page.Err, page.User, page.Client, page.How = wrong, r.PostForm.Get("apple_id"), r.PostForm.Get("client_id"), r.PostForm.Get("how")
		p.render(w, r, http.StatusUnprocessableEntity, "sign_in", page)
	}
}

// signInBegin begins to sign in again to a remote.
func (p *Pages) signInBegin(w http.ResponseWriter, r *http.Request) {
	if p.work.guide == nil {
		p.noRemotes(w, r)
		return
	}
	v := p.known(w, r)
	if v == nil {
		return
	}
	start, wrong := startOf(r.PostForm, v.Kind)
	if wrong != nil {
		p.signInAfter(w, r, wrong)
		return
	}
	start.Name = v.Name
	err := p.work.guide.Begin(r.Context(), start)
	if err == nil {
		guard.Did(r.Context(), "sign-in begun", v.Name, v.Kind)
	}
	p.signInAfter(w, r, err)
}

// signInStop ends a sign-in; the remote stays as it was.
func (p *Pages) signInStop(w http.ResponseWriter, r *http.Request) {
	if p.work.guide == nil {
		p.noRemotes(w, r)
		return
	}
	if err := p.work.guide.Drop(r.Context(), r.PathValue("name")); err != nil {
		p.refuse(w, r, err)
		return
	}
	guard.Did(r.Context(), "sign-in stopped", r.PathValue("name"), "")
	p.done(w, r, "/remotes", "")
}

// removePage is the data of the page that removes a remote.
type removePage struct {
	Remote *remoteView
	Jobs   []jobs.Job // unfinished ones that use it, the first few
	More   int
	Wrong  string
}

func (*removePage) frame(f *frame) { f.Nav = "remotes" }

// removeShown is how many of the jobs that use a remote are named.
const removeShown = 10

func (p *Pages) removeData(w http.ResponseWriter, r *http.Request) *removePage {
	v := p.known(w, r)
	if v == nil {
		return nil
	}
	using, err := p.cfg.Jobs.Unfinished(r.Context(), v.Name)
	if err != nil {
		p.refuse(w, r, err)
		return nil
	}
	page := &removePage{Remote: v, Jobs: using[:min(len(using), removeShown)]}
	page.More = len(using) - len(page.Jobs)
	return page
}

func (p *Pages) remotesRemove(w http.ResponseWriter, r *http.Request) {
	if page := p.removeData(w, r); page != nil {
		p.render(w, r, http.StatusOK, "remote_remove", page)
	}
}

func (p *Pages) remotesRemoving(w http.ResponseWriter, r *http.Request) {
	page := p.removeData(w, r)
	if page == nil {
		return
	}
	name := page.Remote.Name
	status := http.StatusUnprocessableEntity
	switch typed := strings.TrimSuffix(strings.TrimSpace(r.PostForm.Get("confirm")), ":"); {
	case len(page.Jobs) > 0:
		status, page.Wrong = http.StatusConflict, "Jobs that haven't ended use it"
	case typed != name:
		page.Wrong = "This isn't its name"
	default:
		if p.work.guide != nil {
			if err := p.work.guide.Drop(r.Context(), name); err != nil {
				p.refuse(w, r, err)
				return
			}
		}
		err := p.cfg.Remotes.Delete(r.Context(), name)
		if err == nil {
			guard.Did(r.Context(), "remote removed", name, page.Remote.Kind)
			p.work.book.forget(name)
			p.done(w, r, "/remotes", "remote-removed")
			return
		}
		if !errors.Is(err, remotes.ErrElsewhere) && !errors.Is(err, remotes.ErrNotFound) {
			p.refuse(w, r, err)
			return
		}
		status, page.Wrong = http.StatusConflict, human.Printable(err.Error())
	}
	p.render(w, r, status, "remote_remove", page)
}
