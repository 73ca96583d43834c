package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"slices"
	"strings"

	"offload/dashboard/guard"
	"offload/jobs"
	"offload/quota"
)

//go:embed templates
var templateFiles embed.FS

// frame is what a template is given: the page's own data and what the layout shows around it.
type frame struct {
	Page     string       // name of the template, for the tests of the pages
	Nav      string       // the entry of the navigation that the page belongs to: "home", "jobs", ...
	Person   guard.Person // who looks
	Operator bool         // may change things: without it forms and buttons are left out
	Live     string       // address of the stream that keeps the page up to date; "" for none
	TitleAt  string       // address of the title alone, for a tab that nobody looks at; "" for none
	Refresh  int          // seconds after which a browser without script loads the page again; 0 for never
	Bare     bool         // without navigation, for who isn't signed in
	Notice   string       // what has just been done, one sentence
	Away     bool         // the store doesn't answer: what is shown is of the last time
	Path     string       // of the page, with its query
	Version  string
	Data     any // the page's own
}

// framer is a page's data that sets something of the frame itself.
type framer interface{ frame(f *frame) }

// views are the templates by page: each is the layout with the blocks of one file.
type views map[string]*template.Template

// newViews parses the templates. They are part of the program, so a mistake in one is a mistake in the program.
func newViews(funcs template.FuncMap) views {
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err)
	}
	// Files whose name begins with "part_" hold blocks for all pages.
	shared := []string{"templates/layout.html"}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "part_") {
			shared = append(shared, "templates/"+e.Name())
		}
	}
	all := views{}
	for _, e := range entries {
		file := "templates/" + e.Name()
		if slices.Contains(shared, file) {
			continue
		}
		t := template.New("layout.html").Funcs(funcs)
		all[strings.TrimSuffix(e.Name(), path.Ext(e.Name()))] = template.Must(t.ParseFS(templateFiles, append(slices.Clone(shared), file)...))
	}
	return all
}

// render answers with a page: the template of that name, whose blocks "title" and "main" get a frame with the data.
// Nothing is sent before all of it could be made.
func (p *Pages) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	who := guard.Who(r.Context())
	f := &frame{Page: name, Nav: name, Person: who, Operator: who.Role >= guard.Operator, Path: r.URL.RequestURI(), Version: p.cfg.Version,
		Notice: notice(r), Data: data}
	if d, ok := data.(framer); ok {
		d.frame(f)
	}
	var page bytes.Buffer
	t := p.views[name]
	if t == nil {
		p.cfg.Log.Error("page has no template", "page", name)
		http.Error(w, "this page is missing", http.StatusInternalServerError)
		return
	}
	if err := t.ExecuteTemplate(&page, "layout.html", f); err != nil {
		p.cfg.Log.Error("make page", "page", name, "error", err)
		http.Error(w, "this page couldn't be made; the log of the dashboard says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = page.WriteTo(w) // whoever went away needs no page
	}
}

// failure is the data of the error page.
type failure struct {
	Status int
	Title  string
	Hint   string
	Back   string // where to go on
	Words  string // what is there
}

func (failure) frame(f *frame) { f.Nav = "" }

// fail answers with the error page: what is wrong in a few words, and what to do.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, status int, title, hint string) {
	p.render(w, r, status, "error", failure{Status: status, Title: title, Hint: hint, Back: "/", Words: "Go to Home"})
}

// Error is fail for others: the guard answers with it what it refuses.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, status int, title, hint string) {
	p.fail(w, r, status, title, hint)
}

// refuse answers for an error of the services: with what was wrong and what to do, and the status that fits.
func (p *Pages) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var order *jobs.OrderError
	var input *quota.InputError
	var mine *inputError
	switch {
	case r.Context().Err() != nil: // nobody waits for the answer
	case errors.Is(err, jobs.ErrNotFound):
		p.fail(w, r, http.StatusNotFound, "There is no such job", "It may have been removed. The list of jobs shows those that there are.")
	case errors.Is(err, jobs.ErrState):
		p.fail(w, r, http.StatusConflict, "The job's state doesn't allow that now", upper(err.Error())+".")
	case errors.As(err, &order):
		p.fail(w, r, http.StatusBadRequest, fmt.Sprintf("%s can't be used as %s", quoted(order.Value), order.Field), order.Hint)
	case errors.As(err, &input):
		p.fail(w, r, http.StatusBadRequest, fmt.Sprintf("%s can't be used as %s", quoted(input.Value), input.Field), input.Hint)
	case errors.As(err, &mine):
		p.fail(w, r, http.StatusBadRequest, mine.what, mine.hint)
	default:
		p.cfg.Log.Error("answer a page", "path", r.URL.Path, "error", err)
		if r.Method == http.MethodGet {
			w.Header().Set("Refresh", "5") // it comes back by itself
		}
		p.fail(w, r, http.StatusServiceUnavailable, "The store doesn't answer",
			"Transfers go on as far as they can without it. Load this page again in a moment; the log of the dashboard says more.")
	}
}

// refuseList is refuse for a list that is read page by page: an address that names no place in it leads to its beginning.
func (p *Pages) refuseList(w http.ResponseWriter, r *http.Request, err error, begin string) {
	var order *jobs.OrderError
	if !errors.Is(err, errNoPlace) && !(errors.As(err, &order) && order.Field == "cursor") {
		p.refuse(w, r, err)
		return
	}
	p.render(w, r, http.StatusBadRequest, "error", failure{Status: http.StatusBadRequest, Title: errNoPlace.what, Hint: errNoPlace.hint, Back: begin, Words: "Go to its beginning"})
}

// errNoPlace refuses an address that names no place in a list: it was cut, mistyped, or is of another version.
var errNoPlace = &inputError{"This address of the list can't be read", "Go to the beginning of the list, and on from there."}

// done answers a POST that worked: it sends the browser to a page of ours, which says what was done.
func (p *Pages) done(w http.ResponseWriter, r *http.Request, to, note string) {
	http.Redirect(w, r, withNote(to, note), http.StatusSeeOther)
}
