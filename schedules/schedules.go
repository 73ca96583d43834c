// Package schedules makes jobs by the clock: each run of a schedule once, by one process of the fleet, also when that dies.
//
// # Guarantees
//
// A run is noted in the store before anything is made for it, under the time that it was due, together with the time that the
// schedule is due next. Its job's ID is made of the schedule and that time, so that whoever does the run, and however often it
// is begun anew, makes the same job. A schedule has one run at a time, and none while the jobs of its last one haven't ended:
// such a run is noted as skipped.
//
// # Who does it
//
// Every worker runs a Runner. One of them leads, by a lease of leadTime in the store that it renews with each look; when it
// dies another one leads after that time at most. What is due goes by the store's clock. A run has a lease of its own: when
// the process that does it dies, whoever leads takes it over.
//
// # What was missed
//
// Where nothing ran for a while, the last time that was missed is made up for, once, if it isn't older than catchUp; what was
// missed while a schedule was paused isn't. A clock that was put back lets nothing run twice.
package schedules

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"offload/jobs"
)

// Errors that a caller branches on.
var (
	ErrNotFound = errors.New("no such schedule")
	ErrExists   = errors.New("there is a schedule of that name already")
	ErrBusy     = errors.New("its last run hasn't ended")
)

// Kind is what a schedule does.
type Kind string

// The kinds.
const (
	Move  Kind = "move"  // makes a job of its order
	Free  Kind = "free"  // makes room where too little is free
	Scrub Kind = "scrub" // looks whether what was offloaded is still at the destination
)

// Schedule is a definition that makes jobs by the clock.
type Schedule struct {
	Name string `json:"name"` // unique for its account
	When When   `json:"when"`
	// Order is what its jobs are made of. One with a Goal makes room, and its source and destination are the goal's; one of
	// the kind scrub looks after the job that it names, or after all.
	Order   jobs.Order `json:"order"`
	Created time.Time  `json:"created"`
	By      string     `json:"by,omitempty"` // who made it
}

// Account is whose schedule it is.
func (s Schedule) Account() string { return orDefault(s.Order.Account, jobs.DefaultAccount) }

// ID names the schedule among those of all accounts.
func (s Schedule) ID() string { return idOf(s.Account(), s.Name) }

// idOf puts account and name together; neither holds a slash.
func idOf(account, name string) string { return orDefault(account, jobs.DefaultAccount) + "/" + name }

// Kind is what it does.
func (s Schedule) Kind() Kind {
	switch {
	case s.Order.Goal != nil:
		return Free
	case s.Order.Kind == jobs.KindScrub:
		return Scrub
	}
	return Move
}

// Trigger is why a run began.
type Trigger string

// The triggers.
const (
	ByClock Trigger = "clock"
	CatchUp Trigger = "catch_up" // it was missed and is made up for
	ByHand  Trigger = "hand"
)

// Result is what became of a run.
type Result string

// The results.
const (
	Made    Result = "made"    // its jobs were made; what became of them they tell
	Nothing Result = "nothing" // there was nothing to do
	Skipped Result = "skipped" // the run before hadn't ended
	Failed  Result = "failed"  // no job could be made
	Missed  Result = "missed"  // nothing ran at that time, and it was too long ago to be made up for
)

// Run is one time that a schedule was due.
type Run struct {
	Due     time.Time  `json:"due"`
	Began   time.Time  `json:"began"`
	Ended   *time.Time `json:"ended,omitempty"` // nil while it is under way
	Trigger Trigger    `json:"trigger"`
	Missed  int        `json:"missed,omitempty"` // runs before it that nobody did; 1,000 are as many or more
	Result  Result     `json:"result,omitempty"`
	Reason  string     `json:"reason,omitempty"` // why it made no job
	Jobs    []string   `json:"jobs,omitempty"`   // IDs
	By      string     `json:"by,omitempty"`     // who asked for it, by hand

	// Key is what the IDs of its jobs are made of.
	Key string `json:"key,omitempty"`
}

// View is a schedule and how it stands.
type View struct {
	Schedule
	Words   string     `json:"words"` // "every day at 03:00 (Europe/Berlin)"
	Does    string     `json:"does"`  // "moves icloud: to dropbox:Backup"
	Kind    Kind       `json:"kind"`
	Paused  bool       `json:"paused"`
	Next    *time.Time `json:"next"`    // when it is due, in its zone; null for never and while it is paused
	Running *Run       `json:"running"` // the run that is under way
	Last    *Run       `json:"last"`    // the one that ended last
	// LastJob is the state of the last job that it made; "" where there is none any more.
	LastJob jobs.State `json:"last_job,omitempty"`

	rev string
	ran time.Time // the due time of the last run by the clock
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// CheckName refuses a name that no schedule can have.
func CheckName(name string) error {
	if validName.MatchString(name) {
		return nil
	}
	return &jobs.OrderError{Field: "name", Value: name, Err: errors.New("isn't a valid name"), Hint: "use 1 to 64 of a-z, 0-9, dot, dash and underscore"}
}

// Validate looks at the definition alone. A mistake is a *jobs.OrderError.
func (s Schedule) Validate() error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if err := s.When.Validate(); err != nil {
		return err
	}
	if len(s.Order.FilesFrom) > maxListed {
		return &jobs.OrderError{Field: "files-from", Err: fmt.Errorf("names %d files, more than %d", len(s.Order.FilesFrom), maxListed), Hint: "use patterns: a list doesn't follow what changes"}
	}
	if s.Kind() == Move {
		return s.Order.Validate()
	}
	return nil
}

// maxListed bounds the list of files of a schedule.
const maxListed = 10_000

// Does says what it does: "moves icloud: to dropbox:Backup".
func (s Schedule) Does() string {
	o := s.Order
	switch s.Kind() {
	case Free:
		return goalWords(*o.Goal)
	case Scrub:
		if o.Of == "" {
			return "looks whether what was offloaded is still at the destination"
		}
		return "looks whether what job " + o.Of + " offloaded is still at the destination"
	}
	verb := "copies "
	if o.Deletes() {
		verb = "moves "
	}
	return verb + o.Source + " to " + o.Dest
}
