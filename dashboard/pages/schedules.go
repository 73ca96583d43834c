package pages

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/schedules"
	"offload/schedules/scheduleform"
)

func (p *Pages) routesSchedules(mux *http.ServeMux) {
	if p.cfg.Schedules == nil {
		return
	}
	mux.HandleFunc("GET /schedules", p.showSchedules)
	mux.HandleFunc("GET /schedules/add", p.operators(p.scheduleForm))
	mux.HandleFunc("POST /schedules/add", p.operators(p.addSchedule))
	mux.HandleFunc("GET /schedules/of/{account}/{name}", p.showSchedule)
	mux.HandleFunc("GET /schedules/of/{account}/{name}/remove", p.operators(p.showScheduleRemoval))
	mux.HandleFunc("POST /schedules/of/{account}/{name}/{verb}", p.operators(p.steerSchedule))
}

// schedulesPage is the data of the list.
type schedulesPage struct {
	Schedules []scheduleView
	Workers   int // that run: without one nothing is made
}

func (schedulesPage) frame(f *frame) { f.Nav, f.Refresh = "schedules", refreshEvery }

// scheduleView is a schedule as the pages show it.
type scheduleView struct {
	schedules.View
	Coming []time.Time
	Past   []schedules.Run
}

func (*scheduleView) frame(f *frame) { f.Nav = "schedules" }

// At is a time in the schedule's zone.
func (v scheduleView) At(t time.Time) string {
	if zone, err := time.LoadLocation(v.When.Zone); err == nil {
		t = t.In(zone)
	}
	return t.Format("Mon 2006-01-02 15:04 MST")
}

// Due is when it runs next, "" for never.
func (v scheduleView) Due() string {
	if v.Next == nil {
		return ""
	}
	return v.At(*v.Next)
}

// Path is the address of its page.
func (v scheduleView) Path() string {
	return "/schedules/of/" + url.PathEscape(v.Account()) + "/" + url.PathEscape(v.Name)
}

// Whose is its account where that isn't the usual one.
func (v scheduleView) Whose() string {
	if v.Account() == jobs.DefaultAccount {
		return ""
	}
	return v.Account()
}

// Outcome says how its last run went, in a few words, and Bad whether somebody should look at it.
func (v scheduleView) Outcome() string {
	if v.Last.Result == schedules.Made && v.LastJob != "" {
		return strings.ReplaceAll(string(v.LastJob), "_", " ")
	}
	return v.Last.Words()
}

// Bad tells whether the last run failed, or its job did.
func (v scheduleView) Bad() bool {
	return v.Last != nil && (v.Last.Result == schedules.Failed || v.Last.Result == schedules.Missed || v.LastJob == jobs.FailedState && v.Last.Result == schedules.Made)
}

func (p *Pages) showSchedules(w http.ResponseWriter, r *http.Request) {
	list, err := p.cfg.Schedules.List(r.Context(), "")
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	page := schedulesPage{}
	for _, v := range list {
		page.Schedules = append(page.Schedules, scheduleView{View: v})
	}
	if page.Workers, err = p.cfg.Jobs.WorkersRunning(r.Context()); err != nil {
		p.refuse(w, r, err)
		return
	}
	p.render(w, r, http.StatusOK, "schedules", page)
}

// scheduleOf is the schedule that the address names; it has answered where there is none.
func (p *Pages) scheduleOf(w http.ResponseWriter, r *http.Request) (*scheduleView, bool) {
	v, err := p.cfg.Schedules.Get(r.Context(), r.PathValue("account"), r.PathValue("name"))
	if err != nil {
		p.refuseSchedule(w, r, err)
		return nil, false
	}
	return &scheduleView{View: v, Coming: v.Upcoming(5)}, true
}

func (p *Pages) refuseSchedule(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, schedules.ErrNotFound):
		p.fail(w, r, http.StatusNotFound, "There is no such schedule", "It may have been removed. The page Schedules lists those that there are.")
	case errors.Is(err, schedules.ErrBusy):
		p.fail(w, r, http.StatusConflict, "It is being run already", "Its page shows how that goes.")
	default:
		p.refuse(w, r, err)
	}
}

func (p *Pages) showSchedule(w http.ResponseWriter, r *http.Request) {
	v, ok := p.scheduleOf(w, r)
	if !ok {
		return
	}
	var err error
	if v.Past, err = p.cfg.Schedules.Runs(r.Context(), v.Account(), v.Name, 20); err != nil {
		p.refuse(w, r, err)
		return
	}
	p.render(w, r, http.StatusOK, "schedule", v)
}

func (p *Pages) showScheduleRemoval(w http.ResponseWriter, r *http.Request) {
	if v, ok := p.scheduleOf(w, r); ok {
		p.render(w, r, http.StatusOK, "schedule_remove", v)
	}
}

// steerSchedule runs, pauses, resumes or removes a schedule.
func (p *Pages) steerSchedule(w http.ResponseWriter, r *http.Request) {
	v, ok := p.scheduleOf(w, r)
	if !ok {
		return
	}
	book, to, done := p.cfg.Schedules, v.Path(), ""
	var err error
	switch verb := r.PathValue("verb"); verb {
	case "run":
		_, err = book.Ask(r.Context(), v.Account(), v.Name, guard.Who(r.Context()).Name)
		done = "run"
	case "pause":
		_, err = book.Pause(r.Context(), v.Account(), v.Name)
		done = "paused"
	case "resume":
		_, err = book.Resume(r.Context(), v.Account(), v.Name)
		done = "resumed"
	case "remove":
		err = book.Remove(r.Context(), v.Account(), v.Name)
		to, done = "/schedules", "removed"
	default:
		p.fail(w, r, http.StatusNotFound, "There is no such page", "The address may be mistyped, or what it named was removed.")
		return
	}
	if err != nil {
		p.refuseSchedule(w, r, err)
		return
	}
	deeds.ToSchedule(r.Context(), done, v.View)
	p.done(w, r, to, "schedule-"+done)
}

// scheduleFormPage is the data of the form.
type scheduleFormPage struct {
	transferForm
	Zones []string
}

func (*scheduleFormPage) frame(f *frame) { f.Nav = "schedules" }

// Mistakes are all mistakes, each with the field that it is about.
func (f *scheduleFormPage) Mistakes() (all []*formError) {
	for _, e := range f.wrong {
		what := e.Err.Error()
		if e.Field != "what" && e.Field != "when" {
			what = e.Field + ": " + what
		}
		all = append(all, &formError{what, e.Hint})
	}
	return all
}

func (p *Pages) scheduleForm(w http.ResponseWriter, r *http.Request) {
	f := &scheduleFormPage{transferForm: transferForm{values: scheduleform.Given(r.URL.Query())}}
	p.showScheduleForm(w, r, http.StatusOK, f)
}

func (p *Pages) showScheduleForm(w http.ResponseWriter, r *http.Request, status int, f *scheduleFormPage) {
	f.Remotes, f.Zones = p.work.book.list(), schedules.Zones()
	if f.values[scheduleform.Zone] == nil {
		f.values[scheduleform.Zone] = []string{p.zoneOf(r.Context(), f.Value(orderform.Account))}
	}
	p.render(w, r, status, "schedule_add", f)
}

// zoneOf is the time zone of an account's quota.
func (p *Pages) zoneOf(ctx context.Context, account string) string {
	if account == "" {
		account = jobs.DefaultAccount
	}
	if p.cfg.Ledger != nil {
		if st, err := p.cfg.Ledger.Status(ctx, account); err == nil && st.TimeZone != "" {
			return st.TimeZone
		}
	}
	return "UTC"
}

// addSchedule makes a schedule of what the form says.
func (p *Pages) addSchedule(w http.ResponseWriter, r *http.Request) {
	f := &scheduleFormPage{transferForm: transferForm{values: scheduleform.Given(r.PostForm)}}
	values := scheduleform.Given(r.PostForm)
	if values[scheduleform.Cron] != nil { // the simple choice beside it has always a value
		delete(values, scheduleform.Every)
		delete(values, scheduleform.At)
		delete(values, scheduleform.On)
	}
	if values[scheduleform.Free] != nil || values[scheduleform.Scrub] != nil {
		delete(values, orderform.DeleteSource) // the same here
	}
	s, wrong := scheduleform.Parse(values, p.zoneOf(r.Context(), f.Value(orderform.Account)))
	if len(wrong) == 0 && !p.cfg.LocalPaths {
		wrong = scheduleform.RefuseLocal(s)
	}
	if len(wrong) == 0 {
		ctx, cancel := context.WithTimeout(r.Context(), acceptTime)
		defer cancel()
		s.By = guard.Who(ctx).Name
		v, err := p.cfg.Schedules.Add(ctx, s, false)
		var order *jobs.OrderError
		switch {
		case errors.As(err, &order):
			wrong = []*jobs.OrderError{order}
		case errors.Is(err, schedules.ErrExists):
			wrong = []*jobs.OrderError{{Field: scheduleform.Name, Err: errors.New("there is a schedule of that name already"), Hint: "choose another name, or remove that one first"}}
		case err != nil:
			p.refuse(w, r, err)
			return
		default:
			deeds.ToSchedule(ctx, "added", v)
			p.done(w, r, scheduleView{View: v}.Path(), "schedule-added")
			return
		}
	}
	f.wrong = wrong
	p.showScheduleForm(w, r, http.StatusUnprocessableEntity, f)
}
