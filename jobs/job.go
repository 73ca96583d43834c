package jobs

import (
	"time"

	"offload/quota"
	"offload/transfer"
)

// State of a job. docs/state-machine.md draws the graph; transitions in state.go is the same graph in Go.
type State string

// The states.
const (
	Queued       State = "queued"
	Scanning     State = "scanning"
	Transferring State = "transferring"
	Finishing    State = "finishing"
	Paused       State = "paused"
	Waiting      State = "waiting"
	Completed    State = "completed"
	CompletedW   State = "completed_with_warnings"
	FailedState  State = "failed"
	Canceled     State = "canceled"
)

// Reason says what a waiting job waits for.
type Reason string

// The reasons.
const (
	ReasonQuota  Reason = "quota"
	ReasonWindow Reason = "window"
	ReasonSignIn Reason = "sign_in"
	ReasonSpace  Reason = "space"
	ReasonHold   Reason = "hold"
)

// Priority is the lane of a job.
type Priority string

// The priorities.
const (
	High   Priority = "high"
	Normal Priority = "normal"
	Low    Priority = "low"
)

// Order is what someone asks for: everything that makes a job but its ID and its fate.
type Order struct {
	Source  string `json:"source"`      // remote and path, as rclone writes it
	Dest    string `json:"destination"` // the same
	Account string `json:"account"`     // who pays the traffic. Defaults to "default".
	transfer.Options
	Priority    Priority  `json:"priority,omitempty"`     // Defaults to normal.
	MaxTransfer int64     `json:"max_transfer,omitempty"` // Bytes this job may read in all. 0 is no limit.
	MaxDelete   int64     `json:"max_delete,omitempty"`   // Files this job may delete; -1 is no limit and the default.
	BwLimit     string    `json:"bwlimit,omitempty"`      // rclone's syntax, bytes a second; "" is no limit.
	Window      string    `json:"window,omitempty"`       // "22:00-06:00" local time of the worker; "" is always.
	Transfers   int       `json:"transfers,omitempty"`    // Files at once in one worker; 0 adapts.
	Label       string    `json:"label,omitempty"`        // free text
	Kind        Kind      `json:"kind,omitempty"`         // Defaults to a move of files.
	Of          string    `json:"of,omitempty"`           // the job that a restore or a scrub is about
	Below       string    `json:"below,omitempty"`        // of a restore: only what was at this path below the source, or below it
	Since       time.Time `json:"since,omitzero"`         // of a restore: only what was deleted at the source then or later
	Newer       []string  `json:"newer,omitempty"`        // of a restore: jobs whose files win over those of the same place
	Read        bool      `json:"read,omitempty"`         // a scrub reads every file, whatever hash the destination tells
	Goal        *Goal     `json:"goal,omitempty"`         // the room that it is to make
	// Plan is the digest of the files that the job may touch, each only as the plan saw it: see Planned. "" is no plan.
	Plan string `json:"plan,omitempty"`
	// Planned are these files, for whoever enqueues; they are stored beside the job and not read with it.
	Planned *Planned `json:"-"`
}

// Files counts entries by what became of them.
type Files struct {
	Found    int64 `json:"found"`
	Copied   int64 `json:"copied"`
	Skipped  int64 `json:"skipped"`
	SetAside int64 `json:"set_aside"`
	Excluded int64 `json:"excluded"`
	Failed   int64 `json:"failed"`
	Deleted  int64 `json:"deleted"` // at the source, the purged ones included
	Purged   int64 `json:"purged"`  // removed from the source's trash, too
}

// Bytes counts bytes by what became of them.
type Bytes struct {
	Found   int64 `json:"found"`
	Copied  int64 `json:"copied"`
	Wasted  int64 `json:"wasted"`
	Deleted int64 `json:"deleted"`
	Purged  int64 `json:"purged"`
}

// Grades counts entries by the strength of their proof.
type Grades struct {
	A int64 `json:"A"`
	B int64 `json:"B"`
	C int64 `json:"C"`
	D int64 `json:"D"`
}

// Job is one accepted order and what has become of it. Its JSON form is the contract of `jobs show ID --json`.
type Job struct {
	ID           string                `json:"id"`
	State        State                 `json:"state"`
	Reason       Reason                `json:"reason,omitempty"`
	Until        *time.Time            `json:"until,omitempty"`
	Source       string                `json:"source"`
	Dest         string                `json:"destination"`
	Account      string                `json:"account"`
	Label        string                `json:"label,omitempty"`
	Kind         Kind                  `json:"kind,omitempty"` // "" moves files
	Of           string                `json:"of,omitempty"`   // the job that a restore or a scrub is about
	DeleteSource transfer.DeletePolicy `json:"delete_source"`
	Files        Files                 `json:"files"`
	Bytes        Bytes                 `json:"bytes"`
	Grades       Grades                `json:"grades"`
	ScanComplete bool                  `json:"scan_complete"`
	Storage      *JobStorage           `json:"storage,omitempty"` // of the source's account, where that tells and the job deletes
	Trash        bool                  `json:"trash,omitempty"`   // the source keeps what is deleted in a trash
	BwLimit      string                `json:"bwlimit,omitempty"` // the bandwidth that holds now, "" for no limit
	Scrub        *ScrubResult          `json:"scrub,omitempty"`   // what a scrub has found so far
	// HoldUntil and Held are there while the job is on hold: until when, and what is deleted at the source then, each file
	// proved again before. HoldCalledOff says that nothing is deleted, since the deletions were called off.
	HoldUntil     *time.Time `json:"hold_until,omitempty"`
	Held          *PlanCount `json:"held,omitempty"`
	HoldCalledOff bool       `json:"hold_called_off,omitempty"`
	Goal          *Goal      `json:"goal,omitempty"` // the room that it is to make
	Plan          string     `json:"plan,omitempty"` // the digest of the plan that it does, and nothing else

	// Seen says that a person has seen how the job ended, with warnings or failed.
	Seen bool `json:"seen,omitempty"`

	Outages  []Outage   `json:"outages,omitempty"`  // remotes that don't answer now; only in its Progress
	Retrying *Retrying  `json:"retrying,omitempty"` // files that have failed and are tried again now; only in its Progress
	Error    string     `json:"error"`
	Created  time.Time  `json:"created"`
	Started  *time.Time `json:"started"`
	Finished *time.Time `json:"finished"`
	Order    Order      `json:"-"`

	version  int    // that a worker needs
	claim    claim  // the unit that has waited longest for quota
	manifest string // manifestStamp of when its manifest was written
}

// Terminal tells whether nothing will become of the job any more unless it is retried.
func (s State) Terminal() bool {
	switch s {
	case Completed, CompletedW, FailedState, Canceled:
		return true
	}
	return false
}

// FileRecord is one line of `jobs files ID`.
type FileRecord struct {
	Path    string               `json:"path"`
	Dest    string               `json:"destination,omitempty"` // where it isn't the same path
	Size    int64                `json:"size"`
	ModTime *time.Time           `json:"mtime,omitempty"`
	Result  transfer.Result      `json:"outcome"` // "" while nothing has become of it
	Source  transfer.SourceState `json:"source,omitempty"`
	Grade   transfer.Grade       `json:"grade,omitempty"`
	Hash    string               `json:"hash,omitempty"`
	// Package says that it was a package and arrived as a zip.
	Package bool `json:"package,omitempty"`
	// Evidence is what the source's own checksum says of the bytes: "match", "differs", "" for unknown.
	Evidence string     `json:"evidence,omitempty"`
	Code     string     `json:"code,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	At       *time.Time `json:"at,omitempty"`
}

// Progress is the live view of a job, for bars and pages.
type Progress struct {
	Job     Job
	Rate    float64  // bytes a second over the last twenty seconds or so, all workers
	Pace    float64  // the same over a longer time, by which Left tells what is to come; 0 while too little is known
	Limit   int64    // bytes a second that the bandwidth of the job and of all jobs allow now; 0 is no limit
	Held    bool     // files wait for that bandwidth
	Current []string // files being copied now, with the worker's name where there are several
	Moving  int64    // bytes read of files that have begun but not ended
	Scanned int64    // files that a running scan has found so far
	Workers int      // workers that reported in the last seconds

	Quiet time.Duration // since a byte was read
}

// Plan is what a job would do.
type Plan struct {
	Source   string       `json:"source"`
	Dest     string       `json:"destination"`
	Files    PlanCount    `json:"files"`     // found, but for the excluded
	Copy     PlanCount    `json:"copy"`      // not yet at the destination
	Check    PlanCount    `json:"check"`     // at the destination under the same name: compared before anything else
	SetAside PlanCount    `json:"set_aside"` // never copied, never deleted
	Excluded PlanCount    `json:"excluded"`
	Delete   PlanCount    `json:"delete"`  // would be deleted at the source, if proved
	Traffic  int64        `json:"traffic"` // bytes that would count against the quota, at most
	Quota    PlanQuota    `json:"quota"`
	Examples []FileRecord `json:"set_aside_files"` // the first hundred set aside, with reasons
	TooLarge []FileRecord `json:"too_large"`       // files larger than a whole period's allowance
	Complete bool         `json:"complete"`        // false where a folder couldn't be listed
	Warnings []string     `json:"warnings"`
}

// PlanCount is a number of files and their bytes.
type PlanCount struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// PlanQuota compares a plan with the account's allowance.
type PlanQuota struct {
	Account   string    `json:"account"`
	Plan      string    `json:"plan"`
	Limit     int64     `json:"limit"`     // bytes a period; -1 is unlimited
	Available int64     `json:"available"` // bytes left now; -1 is unlimited
	Resets    time.Time `json:"resets"`
	Fits      bool      `json:"fits"`    // all of it, in what is left now of this and of the remotes' limits
	Periods   int64     `json:"periods"` // periods that it takes, the current one counted; 0 where none ever would
	// Forecast says when it would end; the files that are too large are left out of it.
	Forecast quota.Forecast `json:"forecast"`
}
