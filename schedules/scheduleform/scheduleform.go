// Package scheduleform reads what people write about schedules, on the command line, in forms and through the API, in one
// way, and writes it again.
package scheduleform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"offload/configs"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/schedules"
)

// The names of the fields, beside those of an order: source and destination, and its options.
const (
	Name  = "name"
	Cron  = "cron"
	Every = "every"
	At    = "at"
	On    = "on"
	Zone  = "zone"
	Free  = "free"  // the remote that is to have room
	To    = "to"    // where its files go
	Scrub = "scrub" // a job, or All
)

// All is the Scrub of all jobs.
const All = "all"

// WhenNames are the fields that say when it runs, WhatNames those that say what it does where that isn't a job of its own.
func WhenNames() []string { return []string{Cron, Every, At, On, Zone} }

// WhatNames are the fields that say what it does, where that isn't to move from a source to a destination.
func WhatNames() []string {
	return []string{Free, To, orderform.Target, orderform.Until, orderform.ForBackup, orderform.KeepRecent, orderform.Protect, Scrub}
}

// Names are all fields.
func Names() []string {
	return slices.Concat([]string{Name, orderform.Source, orderform.Dest}, WhenNames(), WhatNames(), orderform.OptionNames())
}

// Parse reads a schedule. A field that isn't there has its default; zone is that of the time zone. All mistakes that can be
// told without asking a remote or the store are returned, each with its field.
func Parse(values map[string][]string, zone string) (schedules.Schedule, []*jobs.OrderError) {
	r := &reader{orderform.Fields{Values: values}}
	for _, field := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(Names(), field) {
			r.Fail(field, "leave it out", errors.New("isn't a field of a schedule"))
		}
	}
	s := schedules.Schedule{Name: r.Text(Name)}
	r.add(schedules.CheckName(s.Name))
	s.When = schedules.When{Cron: r.Text(Cron), Every: r.Text(Every), At: r.Text(At), On: r.Text(On), Zone: zone}
	if r.Given(Zone) {
		s.When.Zone = r.Text(Zone)
	}
	if len(r.Wrong) == 0 {
		r.add(s.When.Validate())
	}
	s.When = s.When.WithDefaults()
	s.Order = r.order()
	return s, r.Wrong
}

// order reads what it does: exactly one of moving, making room and looking after what was offloaded.
func (r *reader) order() jobs.Order {
	moves := r.Given(orderform.Source) || r.Given(orderform.Dest)
	what := 0
	for _, is := range []bool{moves, r.Given(Free), r.Given(Scrub)} {
		if is {
			what++
		}
	}
	switch {
	case what == 0:
		r.Fail("what", "give a source and a destination, or --free, or --scrub", errors.New("nothing says what it does"))
		return jobs.Order{}
	case what > 1:
		r.Fail("what", "give a source and a destination, or --free, or --scrub; make a schedule for each", errors.New("it would do more than one thing"))
		return jobs.Order{}
	}
	options := map[string][]string{}
	for _, name := range orderform.OptionNames() {
		if v, ok := r.Values[name]; ok {
			options[name] = v
		}
	}
	if !r.Given(Free) {
		r.refuse(Free, To, orderform.Target, orderform.Until, orderform.ForBackup, orderform.KeepRecent, orderform.Protect)
	}
	switch {
	case r.Given(Free):
		return r.room(options)
	case r.Given(Scrub):
		return r.scrub(options)
	}
	for _, name := range []string{orderform.Source, orderform.Dest} {
		if v, ok := r.Values[name]; ok {
			options[name] = v
		}
	}
	o, wrong := orderform.Parse(options)
	r.Wrong = append(r.Wrong, wrong...)
	return o
}

// refuse refuses fields that mean nothing without another one.
func (r *reader) refuse(needs string, fields ...string) {
	for _, f := range fields {
		if r.Given(f) {
			r.Fail(f, "add --"+needs+", or leave it out", fmt.Errorf("means nothing without --%s", needs))
		}
	}
}

// scrub reads the order of a scrub. Of the options only those of every job mean something to it.
func (r *reader) scrub(options map[string][]string) jobs.Order {
	for name := range options {
		if !slices.Contains([]string{orderform.Account, orderform.Priority, orderform.BwLimit, orderform.Window, orderform.Label, orderform.Transfers}, name) {
			r.Fail(name, "leave it out", errors.New("means nothing to a look at the destination"))
		}
	}
	o, wrong := orderform.ParseOptions(options)
	r.Wrong = append(r.Wrong, wrong...)
	o.Kind = jobs.KindScrub
	if of := r.Text(Scrub); of != All {
		o.Of = strings.ToUpper(of)
		if strings.Trim(o.Of, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" || len(o.Of) < 6 || len(o.Of) > 26 {
			r.Fail(Scrub, "name a job, or all", fmt.Errorf("%s is no job ID", configs.Quote(of)))
		}
	}
	return o
}

// reader reads a schedule's fields.
type reader struct{ orderform.Fields }

func (r *reader) add(err error) {
	var wrong *jobs.OrderError
	if errors.As(err, &wrong) && !slices.ContainsFunc(r.Wrong, func(e *jobs.OrderError) bool { return e.Field == wrong.Field }) {
		r.Wrong = append(r.Wrong, wrong)
	}
}

// Values writes a schedule as Parse reads it.
func Values(s schedules.Schedule) map[string][]string {
	values := orderform.Values(s.Order)
	put := func(name, text string) {
		if text != "" {
			values[name] = []string{text}
		}
	}
	put(Name, s.Name)
	put(Cron, s.When.Cron)
	put(Every, s.When.Every)
	put(At, s.When.At)
	put(On, s.When.On)
	put(Zone, s.When.Zone)
	switch s.Kind() {
	case schedules.Free:
		putGoal(values, *s.Order.Goal)
	case schedules.Scrub:
		put(Scrub, s.Order.Of)
		if s.Order.Of == "" {
			put(Scrub, All)
		}
	}
	return values
}

// Given returns what a form's fields say: an empty field isn't given.
func Given(form map[string][]string) map[string][]string {
	given := orderform.Given(form)
	for _, name := range append(slices.Concat(WhenNames(), WhatNames()), Name) {
		for _, v := range form[name] {
			lines := []string{v}
			if name == orderform.Protect {
				lines = strings.Split(v, "\n")
			}
			for _, line := range lines {
				if line = strings.TrimSpace(line); line != "" {
					given[name] = append(given[name], line)
				}
			}
		}
	}
	return given
}

// RefuseLocal finds the local paths of a schedule: see orderform.RefuseLocal.
func RefuseLocal(s schedules.Schedule) []*jobs.OrderError {
	o := s.Order
	if o.Goal == nil {
		return orderform.RefuseLocal(o)
	}
	o.Source, o.Dest = o.Goal.Remote, o.Goal.To
	wrong := orderform.RefuseLocal(o)
	for _, e := range wrong {
		e.Field = map[string]string{orderform.Source: Free, orderform.Dest: To}[e.Field]
	}
	return wrong
}
