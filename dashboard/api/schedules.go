package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/schedules"
	"offload/schedules/scheduleform"
)

// ScheduleName names a schedule of an account.
type ScheduleName struct {
	Name    string `path:"name" maxLength:"64" doc:"the schedule's name"`
	Account string `query:"account" maxLength:"64" doc:"whose schedule it is; \"default\" where none is named"`
}

// NewSchedule is the body of a request for a schedule.
type NewSchedule struct {
	Name    string              `json:"name" minLength:"1" maxLength:"64" doc:"unique for its account: a-z, 0-9, dot, dash and underscore" example:"nightly"`
	When    NewWhen             `json:"when"`
	Options map[string][]string `json:"options" doc:"what it does, by the names of the command line: source, destination and the options of a job; or free, to, and target, until or for-backup; or scrub" example:"{\"source\":[\"icloud:\"],\"destination\":[\"dropbox:Backup\"],\"delete-source\":[\"verified\"]}"`
	Replace bool                `json:"replace,omitempty" doc:"give the schedule of that name another definition; its runs stay"`
}

// NewWhen says when a schedule runs.
type NewWhen struct {
	Cron  *string `json:"cron,omitempty" doc:"minute, hour, day of month, month, day of week; in place of every, at and on" example:"0 3 * * *"`
	Every *string `json:"every,omitempty" enum:"day,week,month"`
	At    *string `json:"at,omitempty" doc:"time of the day; 03:00 where it isn't given" example:"03:00"`
	On    *string `json:"on,omitempty" doc:"days of the week, or a day of the month or last" example:"mon,thu"`
	Zone  *string `json:"zone,omitempty" doc:"time zone; that of the account's quota where it isn't given" example:"Europe/Berlin"`
}

// ScheduleList are schedules.
type ScheduleList struct {
	Schedules []scheduleform.Document `json:"schedules" nullable:"false"`
}

type scheduleOut struct{ Body scheduleform.Document }

func (s *server) routesSchedules(a huma.API) {
	if s.Schedules == nil {
		return
	}
	huma.Register(a, op("schedules", "listSchedules", http.MethodGet, "/schedules", "List the schedules"), s.schedules)
	add := op("schedules", "addSchedule", http.MethodPost, "/schedules", "Make a schedule; the same again changes nothing", http.StatusConflict)
	huma.Register(a, add, s.addSchedule)
	huma.Register(a, op("schedules", "getSchedule", http.MethodGet, "/schedules/{name}", "A schedule, its next five times and its last runs", http.StatusNotFound), s.schedule)
	remove := op("schedules", "removeSchedule", http.MethodDelete, "/schedules/{name}", "Forget a schedule; its jobs stay", http.StatusNotFound)
	huma.Register(a, remove, s.removeSchedule)
	for _, v := range []struct {
		verb, done, text string
		do               func(context.Context, string, string) (schedules.View, error)
	}{
		{"pause", "paused", "Let a schedule rest", s.Schedules.Pause},
		{"resume", "resumed", "Let a paused schedule go on; what it missed isn't made up for", s.Schedules.Resume},
		{"run", "run", "Run a schedule now, once: a worker does it", func(ctx context.Context, account, name string) (schedules.View, error) {
			return s.Schedules.Ask(ctx, account, name, guard.Who(ctx).Name)
		}},
	} {
		o := op("schedules", v.verb+"Schedule", http.MethodPost, "/schedules/{name}/"+v.verb, v.text, http.StatusNotFound, http.StatusConflict)
		huma.Register(a, o, func(ctx context.Context, in *ScheduleName) (*scheduleOut, error) {
			view, err := v.do(ctx, s.accountOf(in.Account), in.Name)
			if err != nil {
				return nil, s.problem(err)
			}
			deeds.ToSchedule(ctx, v.done, view)
			return &scheduleOut{scheduleform.Of(view, nil)}, nil
		})
	}
}

// accountOf is the account that is meant where none is named.
func (s *server) accountOf(name string) string {
	if name == "" {
		return s.Account
	}
	return name
}

func (s *server) schedules(ctx context.Context, in *struct {
	Account string `query:"account" maxLength:"64" doc:"only those of this account"`
}) (*struct{ Body ScheduleList }, error) {
	list, err := s.Schedules.List(ctx, in.Account)
	if err != nil {
		return nil, s.problem(err)
	}
	out := &struct{ Body ScheduleList }{ScheduleList{[]scheduleform.Document{}}}
	for _, v := range list {
		out.Body.Schedules = append(out.Body.Schedules, scheduleform.Of(v, nil))
	}
	return out, nil
}

func (s *server) schedule(ctx context.Context, in *ScheduleName) (*scheduleOut, error) {
	v, err := s.Schedules.Get(ctx, s.accountOf(in.Account), in.Name)
	if err != nil {
		return nil, s.problem(err)
	}
	runs, err := s.Schedules.Runs(ctx, v.Account(), v.Name, 100)
	if err != nil {
		return nil, s.problem(err)
	}
	return &scheduleOut{scheduleform.Of(v, runs)}, nil
}

func (s *server) removeSchedule(ctx context.Context, in *ScheduleName) (*struct{}, error) {
	account := s.accountOf(in.Account)
	v, err := s.Schedules.Get(ctx, account, in.Name)
	if err != nil { // one that can't be read can be removed all the same
		v.Name, v.Order.Account = in.Name, account
	}
	if err := s.Schedules.Remove(ctx, account, in.Name); err != nil {
		return nil, s.problem(err)
	}
	deeds.ToSchedule(ctx, "removed", v)
	return nil, nil
}

func (s *server) addSchedule(ctx context.Context, in *struct{ Body NewSchedule }) (*scheduleOut, error) {
	b := in.Body
	values := map[string][]string{}
	for name, v := range b.Options {
		values[name] = v
	}
	for name, v := range map[string]*string{scheduleform.Cron: b.When.Cron, scheduleform.Every: b.When.Every, scheduleform.At: b.When.At,
		scheduleform.On: b.When.On, scheduleform.Zone: b.When.Zone, scheduleform.Name: &b.Name} {
		if v != nil {
			values[name] = []string{*v}
		}
	}
	if values[orderform.Account] == nil && s.Account != "" {
		values[orderform.Account] = []string{s.Account}
	}
	schedule, wrong := scheduleform.Parse(values, s.zoneOf(ctx, values[orderform.Account]))
	if len(wrong) == 0 && !s.LocalPaths {
		wrong = scheduleform.RefuseLocal(schedule)
	}
	if len(wrong) > 0 {
		return nil, orderProblems(wrong)
	}
	schedule.By = guard.Who(ctx).Name
	v, err := s.Schedules.Add(ctx, schedule, b.Replace)
	if err != nil {
		return nil, s.problem(err)
	}
	deeds.ToSchedule(ctx, "added", v)
	return &scheduleOut{scheduleform.Of(v, nil)}, nil
}

// zoneOf is the time zone of an account's quota; what isn't known is UTC.
func (s *server) zoneOf(ctx context.Context, account []string) string {
	name := jobs.DefaultAccount
	if len(account) > 0 {
		name = account[0]
	}
	st, err := s.Ledger.Status(ctx, name)
	if err != nil || st.TimeZone == "" {
		return "UTC"
	}
	return st.TimeZone
}

// scheduleProblem answers for errors of schedules; nil for others.
func scheduleProblem(err error) error {
	switch {
	case errors.Is(err, schedules.ErrNotFound):
		return problemOf(http.StatusNotFound, plain(err.Error()))
	case errors.Is(err, schedules.ErrExists), errors.Is(err, schedules.ErrBusy):
		return problemOf(http.StatusConflict, plain(err.Error()))
	}
	return nil
}
