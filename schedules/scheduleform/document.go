package scheduleform

import (
	"time"

	"offload/jobs"
	"offload/schedules"
)

// upcoming is how many of the next runs are shown.
const upcoming = 5

// Document is a schedule as the command line and the API write it.
type Document struct {
	Name     string              `json:"name"`
	Account  string              `json:"account" doc:"who pays the traffic"`
	Kind     schedules.Kind      `json:"kind" enum:"move,free,scrub"`
	Does     string              `json:"does" doc:"what it does, in words"`
	Words    string              `json:"words" doc:"when it runs, in words"`
	When     schedules.When      `json:"when"`
	Options  map[string][]string `json:"options" doc:"its fields, as the command line calls them"`
	Paused   bool                `json:"paused"`
	Next     *time.Time          `json:"next" doc:"when it is due, in its zone; null while it is paused"`
	Upcoming []time.Time         `json:"upcoming" nullable:"false" doc:"the next five times"`
	Running  *schedules.Run      `json:"running,omitempty" doc:"the run that is under way"`
	Last     *schedules.Run      `json:"last,omitempty" doc:"the run that ended last"`
	LastJob  jobs.State          `json:"last_job,omitempty" doc:"the state of the last job that it made"`
	Runs     []schedules.Run     `json:"runs,omitempty" doc:"its last runs, newest first"`
	Created  time.Time           `json:"created"`
	By       string              `json:"by,omitempty" doc:"who made it"`
}

// Of is the document of a schedule.
func Of(v schedules.View, runs []schedules.Run) Document {
	d := Document{Name: v.Name, Account: v.Account(), Kind: v.Kind, Does: v.Does, Words: v.Words, When: v.When, Options: Values(v.Schedule), Paused: v.Paused,
		Next: v.Next, Upcoming: append([]time.Time{}, v.Upcoming(upcoming)...), Running: plain(v.Running), Last: plain(v.Last), LastJob: v.LastJob,
		Created: v.Created, By: v.By}
	for _, r := range runs {
		d.Runs = append(d.Runs, Plain(r))
	}
	for _, name := range append(WhenNames(), Name) { // they stand on their own
		delete(d.Options, name)
	}
	return d
}

// plain is Plain of a run that may be nil.
func plain(r *schedules.Run) *schedules.Run {
	if r == nil {
		return nil
	}
	c := Plain(*r)
	return &c
}

// Plain is a run without what only the store needs.
func Plain(r schedules.Run) schedules.Run {
	r.Key = ""
	return r
}
