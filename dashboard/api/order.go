package api

import (
	"context"
	"strconv"

	"offload/jobs"
	"offload/jobs/orderform"
)

// Order is the body of a request for a job or a plan: the options of the command line under the same names.
type Order struct {
	Source         string   `json:"source" minLength:"1" maxLength:"32768" doc:"remote and path to move from" example:"icloud:Documents"`
	Dest           string   `json:"destination" minLength:"1" maxLength:"32768" doc:"remote and path to move to" example:"dropbox:Backup"`
	Account        *string  `json:"account,omitempty" doc:"who pays the traffic; \"default\" where none is named" example:"anna"`
	DeleteSource   *string  `json:"delete_source,omitempty" enum:"never,verified,complete" doc:"when to delete at the source: never (default), verified (each file once proved), complete (only when all are proved)"`
	MinGrade       *string  `json:"min_grade,omitempty" enum:"A,B,C" doc:"weakest proof that allows a deletion: A (hash), B (hash or read back; default), C (size and time)"`
	Hold           *string  `json:"hold,omitempty" doc:"wait between proof and deletion" example:"7d"`
	PurgeTrash     *bool    `json:"purge_trash,omitempty" doc:"at the end, remove from the source's trash for good what this job put there, and nothing else"`
	DeletePackages *bool    `json:"delete_packages,omitempty" doc:"delete packages (Pages, Keynote...) at the source, too"`
	Conflict       *string  `json:"conflict,omitempty" enum:"rename,skip,overwrite" doc:"what to do where the destination holds other content under a name: rename (default: keep both), skip, overwrite"`
	Include        []string `json:"include,omitempty" minItems:"1" nullable:"false" doc:"only files that match one of these patterns, in rclone's syntax"`
	Exclude        []string `json:"exclude,omitempty" minItems:"1" nullable:"false" doc:"no files that match one of these patterns, in rclone's syntax"`
	Filter         []string `json:"filter,omitempty" minItems:"1" nullable:"false" doc:"rclone's filter rules in their order: + or -, a space and a pattern; the first that matches decides. Not together with include, exclude and preset"`
	ExcludeMarked  []string `json:"exclude_if_present,omitempty" minItems:"1" nullable:"false" doc:"no folders that hold a file of one of these names"`
	Preset         []string `json:"preset,omitempty" minItems:"1" nullable:"false" doc:"add the rules of photos, videos, documents or large-old; of several, a file needs to fit one"`
	MinAge         *string  `json:"min_age,omitempty" doc:"only files at least this old, or modified by a date" example:"30d"`
	MaxAge         *string  `json:"max_age,omitempty" doc:"only files at most this old, or modified since a date" example:"2024-01-31"`
	MinSize        *string  `json:"min_size,omitempty" doc:"only files of at least this size" example:"10MiB"`
	MaxSize        *string  `json:"max_size,omitempty" doc:"only files of at most this size" example:"5GiB"`
	FilesFrom      []string `json:"files_from,omitempty" minItems:"1" nullable:"false" doc:"only these paths below the source"`
	Order          *string  `json:"order,omitempty" enum:"largest,oldest,name" doc:"which files first; as they are found where it isn't given"`
	MaxTransfer    *string  `json:"max_transfer,omitempty" doc:"read at most so much in all" example:"20GiB"`
	MaxDelete      *int64   `json:"max_delete,omitempty" minimum:"0" doc:"delete at most so many files"`
	Priority       *string  `json:"priority,omitempty" enum:"high,normal,low" doc:"lane of the job; normal where it isn't given"`
	BwLimit        *string  `json:"bwlimit,omitempty" doc:"at most so many bytes a second over all workers of the job, in rclone's syntax: a rate or a timetable" example:"2M"`
	Window         *string  `json:"window,omitempty" doc:"work only in this part of the day, by the worker's clock" example:"22:00-06:00"`
	Transfers      *int64   `json:"transfers,omitempty" minimum:"0" doc:"files at once in one worker; 0 (default) adapts"`
	Label          *string  `json:"label,omitempty" doc:"free text to find the job by"`
}

// read makes an order of the request. All mistakes that can be told without asking a remote are answered at once.
func (s *server) read(o Order) (jobs.Order, error) {
	values := map[string][]string{orderform.Source: {o.Source}, orderform.Dest: {o.Dest}}
	texts := map[string]*string{
		orderform.Account: o.Account, orderform.DeleteSource: o.DeleteSource, orderform.MinGrade: o.MinGrade, orderform.Hold: o.Hold,
		orderform.Conflict: o.Conflict, orderform.MinAge: o.MinAge, orderform.MaxAge: o.MaxAge, orderform.MinSize: o.MinSize,
		orderform.MaxSize: o.MaxSize, orderform.Order: o.Order, orderform.MaxTransfer: o.MaxTransfer, orderform.Priority: o.Priority,
		orderform.BwLimit: o.BwLimit, orderform.Window: o.Window, orderform.Label: o.Label,
	}
	for name, v := range texts {
		if v != nil {
			values[name] = []string{*v}
		}
	}
	for name, v := range map[string]*bool{orderform.PurgeTrash: o.PurgeTrash, orderform.DeletePackages: o.DeletePackages} {
		if v != nil {
			values[name] = []string{strconv.FormatBool(*v)}
		}
	}
	for name, v := range map[string]*int64{orderform.MaxDelete: o.MaxDelete, orderform.Transfers: o.Transfers} {
		if v != nil {
			values[name] = []string{strconv.FormatInt(*v, 10)}
		}
	}
	for name, v := range map[string][]string{orderform.Include: o.Include, orderform.Exclude: o.Exclude, orderform.Filter: o.Filter,
		orderform.ExcludeMarked: o.ExcludeMarked, orderform.Preset: o.Preset, orderform.FilesFrom: o.FilesFrom} {
		if v != nil {
			values[name] = v
		}
	}
	if o.Account == nil && s.Account != "" {
		values[orderform.Account] = []string{s.Account}
	}
	order, wrong := orderform.Parse(values)
	if len(wrong) == 0 && !s.LocalPaths {
		wrong = orderform.RefuseLocal(order)
	}
	if len(wrong) > 0 {
		return order, orderProblems(wrong)
	}
	return order, nil
}

// maxOrder bounds the body of an order, in bytes: files_from may be long.
const maxOrder = 64 << 20

// existing completes the beginning of a job's ID and finds the job.
func (s *server) existing(ctx context.Context, id string) (jobs.Job, error) {
	j, err := s.Jobs.Get(ctx, id)
	if err != nil {
		return j, s.problem(err)
	}
	return j, nil
}
