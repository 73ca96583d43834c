package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/internal/human"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/transfer"
)

func (p *Pages) routesNew(mux *http.ServeMux) {
	mux.HandleFunc("GET /new", p.operators(p.newForm))
	mux.HandleFunc("POST /new", p.operators(quietly(p.newBrowse)))
	mux.HandleFunc("POST /new/preview", p.operators(quietly(p.newPreview)))
	mux.HandleFunc("GET /new/preview/{id}", p.operators(p.newShow))
	mux.HandleFunc("POST /new/preview/{id}", p.operators(quietly(p.newConfirm)))
	mux.HandleFunc("POST /new/preview/{id}/drop", p.operators(quietly(p.newDrop)))
}

// acceptTime bounds how long an order's remotes are asked when its job is made.
const acceptTime = 2 * time.Minute

// maxForm bounds a form, in bytes: a long list of files may be part of it.
const maxForm = 8 << 20

// quietly leaves a form out of the record of what people did but for what its handler, or what becomes of it later, records in words.
func quietly(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		guard.Nothing(r.Context())
		h(w, r)
	}
}

// operators lets only those through who may change things; others are told so. Forms are read, and bounded.
func (p *Pages) operators(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if guard.Who(r.Context()).Role < guard.Operator {
			p.fail(w, r, http.StatusForbidden, "This page is for operators", "You may look at everything, but not change it. Sign in as an operator.")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		var tooLarge *http.MaxBytesError
		if err := r.ParseForm(); errors.As(err, &tooLarge) {
			p.fail(w, r, http.StatusRequestEntityTooLarge, "That is too much for a form", "Use the command line for very long lists: offload enqueue --files-from FILE.")
			return
		} else if err != nil {
			p.fail(w, r, http.StatusBadRequest, "The form can't be read", "Go back and send it again.")
			return
		}
		h(w, r)
	}
}

// transferForm is the data of the page New transfer.
type transferForm struct {
	values   map[string][]string
	wrong    []*jobs.OrderError
	Remotes  []remoteView
	Accounts []string
	Picker   *folderPicker
	Making   []preview // the person's own, where the one that was asked for was refused
}

func (*transferForm) frame(f *frame) { f.Nav = "new" }

// Value is what a field holds.
func (f *transferForm) Value(name string) string { return strings.Join(f.values[name], "\n") }

// Is tells whether a field holds a value.
func (f *transferForm) Is(name, value string) bool { return f.Value(name) == value }

// Error is what is wrong with a field; nil for nothing.
func (f *transferForm) Error(name string) *formError {
	for _, e := range f.wrong {
		if e.Field == name {
			return &formError{e.Err.Error(), e.Hint}
		}
	}
	return nil
}

// formError is a mistake in the words of a form: fields are called as they are there.
type formError struct{ what, hint string }

// What says what is wrong, without what to do: the hint says that.
func (e *formError) What() string {
	what, _, _ := strings.Cut(e.what, "; write ")
	return plainOptions(what)
}

// Hint says what to do.
func (e *formError) Hint() string { return plainOptions(e.hint) }

// plainOptions takes the dashes from options in a text.
func plainOptions(s string) string { return strings.ReplaceAll(s, "--", "") }

// Others are mistakes that belong to no field of the form.
func (f *transferForm) Others() []*formError {
	var all []*formError
	for _, e := range f.wrong {
		if !slices.Contains(shownFields(), e.Field) {
			all = append(all, &formError{e.Field + ": " + e.Err.Error(), e.Hint})
		}
	}
	return all
}

// Wrong is how many mistakes there are.
func (f *transferForm) Wrong() int { return len(f.wrong) }

// shownFields are the fields of the form.
func shownFields() []string {
	return append(orderform.OptionNames(), orderform.Source, orderform.Dest)
}

// Open tells whether a folded group of fields has something to show: a value or a mistake.
func (f *transferForm) Open(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return f.Value(name) != "" || f.Error(name) != nil })
}

// showForm answers with the form.
func (p *Pages) showForm(w http.ResponseWriter, r *http.Request, status int, f *transferForm) {
	f.Remotes = p.work.book.list()
	if p.cfg.Ledger != nil {
		accounts, err := p.cfg.Ledger.Accounts(r.Context())
		if err != nil {
			p.cfg.Log.Warn("list the accounts", "error", err)
		}
		f.Accounts = accounts
	}
	p.render(w, r, status, "new", f)
}

// newForm shows the form: empty, with what the address says (?source=icloud:), as a job was ordered (?from=ID), or as a
// preview was (?preview=ID), with what was wrong with it.
func (p *Pages) newForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := &transferForm{values: orderform.Given(q)}
	if id := q.Get("from"); id != "" {
		job, err := p.cfg.Jobs.Get(r.Context(), id)
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		if job.Plan != "" { // the same order without the plan would move everything
			p.fail(w, r, http.StatusConflict, "That job did a plan", "A form can't hold the files of a plan. The job's page shows the command that orders it again.")
			return
		}
		f.values = orderform.Values(job.Order)
	}
	if v, ok := p.work.previews.get(q.Get("preview"), guard.Who(r.Context()).Name); ok {
		f.values = orderform.Values(v.Order)
		if v.Done && v.Err != nil {
			f.wrong = append(f.wrong, explainPreview(r.Context(), v.Err))
		}
	}
	p.showForm(w, r, http.StatusOK, f)
}

// newPreview begins to make a preview of what the form says.
func (p *Pages) newPreview(w http.ResponseWriter, r *http.Request) {
	f := &transferForm{values: orderform.Given(r.PostForm)}
	order, wrong := orderform.Parse(f.values)
	if len(wrong) == 0 && !p.cfg.LocalPaths {
		wrong = orderform.RefuseLocal(order)
	}
	if len(wrong) > 0 {
		f.wrong = wrong
		p.showForm(w, r, http.StatusUnprocessableEntity, f)
		return
	}
	who := guard.Who(r.Context()).Name
	p.work.previews.drop(r.PostForm.Get("stop"), who) // of those that the form offered to stop
	id, err := p.work.previews.start(r.Context(), who, order)
	if err != nil {
		hint := "Wait a moment and send the form again."
		if f.Making = p.work.previews.of(who); len(f.Making) > 0 {
			hint = "Stop one of yours, or wait a moment and send the form again."
		}
		f.wrong = []*jobs.OrderError{{Field: "preview", Hint: hint, Err: err}}
		p.showForm(w, r, http.StatusServiceUnavailable, f)
		return
	}
	http.Redirect(w, r, "/new/preview/"+id, http.StatusSeeOther)
}

// previewPage is the data of a preview's page.
type previewPage struct {
	preview
	Error   *jobs.OrderError // why there is none
	Command string
	Wrong   string // what is wrong with the confirmation
	Typed   string
}

func (*previewPage) frame(f *frame) { f.Nav = "new" }

// Deletes tells whether the order deletes at the source.
func (v *previewPage) Deletes() bool { return v.Order.Deletes() }

// Unknown tells whether it isn't known how many files the job will delete.
func (v *previewPage) Unknown() bool { return v.Deletes() && !v.Plan.Complete }

// Sentence says how the plan fits the allowance.
func (v *previewPage) Sentence() string { return v.Plan.Quota.Forecast.Sentence() }

// Hold is how long the job waits between proof and deletion, "" for not at all.
func (v *previewPage) Hold() string {
	if v.Order.Hold == 0 {
		return ""
	}
	return human.Span(v.Order.Hold, "\u00a0")
}

// When says in the words of a form when a file is deleted.
func (v *previewPage) When() string {
	if v.Order.DeleteSource == transfer.DeleteComplete {
		return "once every file of the job is proved to have arrived"
	}
	return "each as soon as it is proved to have arrived"
}

func (p *Pages) showPreview(w http.ResponseWriter, r *http.Request) (*previewPage, bool) {
	v, ok := p.work.previews.get(r.PathValue("id"), guard.Who(r.Context()).Name)
	if !ok {
		p.fail(w, r, http.StatusNotFound, "This preview isn't there any more", "Previews are kept for half an hour, by the process that made them, or until they are stopped. No job was made of it. Begin a new transfer, or repeat one from its job's page.")
		return nil, false
	}
	page := &previewPage{preview: v, Command: orderform.CommandLine(v.Order)}
	if v.Done && v.Err != nil {
		page.Error = explainPreview(r.Context(), v.Err)
	}
	return page, true
}

// newShow shows a preview: how far it is, or the plan with its confirmation.
func (p *Pages) newShow(w http.ResponseWriter, r *http.Request) {
	page, ok := p.showPreview(w, r)
	if !ok {
		return
	}
	if !page.Done {
		w.Header().Set("Refresh", "2") // as long as there is nothing to read or type
	}
	p.render(w, r, http.StatusOK, "preview", page)
}

// newConfirm makes the job of a preview, once however often it is asked for.
func (p *Pages) newConfirm(w http.ResponseWriter, r *http.Request) {
	page, ok := p.showPreview(w, r)
	if !ok {
		return
	}
	page.Typed = r.PostForm.Get("confirm")
	switch {
	case !page.Done || page.Err != nil:
		p.fail(w, r, http.StatusConflict, "There is nothing to confirm yet", "Wait until the preview is done.")
		return
	case page.Deletes() && !page.confirms():
		page.Wrong = "This isn't the number of files or the name of the source"
		if page.Unknown() {
			page.Wrong = "This isn't the name of the source"
		}
		p.render(w, r, http.StatusUnprocessableEntity, "preview", page)
		return
	}
	// Whoever clicks twice has both answered with the same job. A page that is closed meanwhile doesn't break it off.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), acceptTime)
	defer cancel()
	job, made, err := p.cfg.Jobs.EnqueueOnce(ctx, "preview-"+page.ID, page.Order)
	var wrong *jobs.OrderError
	if errors.As(err, &wrong) {
		page.Wrong = fmt.Sprintf("%s: %s. %s", wrong.Field, plainOptions(transfer.WithoutQueries(wrong.Err.Error())), plainOptions(wrong.Hint))
		p.render(w, r, http.StatusUnprocessableEntity, "preview", page)
		return
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	if made {
		deeds.ToJob(r.Context(), "created", job)
	}
	p.done(w, r, "/jobs/"+job.ID, "created")
}

// confirms tells whether what was typed confirms the deletion. A number of files that isn't the whole one confirms nothing.
func (v *previewPage) confirms() bool {
	files := v.Plan.Delete.Files
	if v.Unknown() {
		files = -1
	}
	return confirms(v.Typed, v.Order.Source, files)
}

// confirms tells whether what was typed confirms a deletion: the number of files where it isn't negative, or the source.
func confirms(typed, source string, files int64) bool {
	typed = strings.TrimSpace(typed)
	plain := strings.NewReplacer(",", "", ".", "", " ", "", "\u00a0", "", "\u202f", "").Replace(typed)
	if n, err := strconv.ParseInt(plain, 10, 64); err == nil && plain[0] != '+' && n >= 0 && n == files {
		return true
	}
	return typed != "" && typed == strings.TrimSpace(source)
}

// newDrop ends a preview that nobody wants any more, and goes back to the form.
func (p *Pages) newDrop(w http.ResponseWriter, r *http.Request) {
	who := guard.Who(r.Context()).Name
	v, ok := p.work.previews.get(r.PathValue("id"), who)
	if !ok {
		p.done(w, r, "/new", "")
		return
	}
	p.work.previews.drop(v.ID, who)
	p.showForm(w, r, http.StatusOK, &transferForm{values: orderform.Values(v.Order)})
}
