package room

import (
	"context"
	"errors"
	"fmt"
	"time"

	"offload/jobs"
	"offload/transfer"
)

// maxRounds bounds how often files are chosen anew for one goal.
const maxRounds = 5

// The reasons why a goal isn't reached.
const (
	WhyNothing     = "nothing_left" // there is nothing more that may be chosen
	WhyTrash       = "trash"        // what was deleted lies in the trash, which counts until it is emptied
	WhyNoGain      = "no_gain"      // a round freed nothing that could be measured
	WhyJob         = "job"          // the job of the last round failed or was canceled
	WhyWaits       = "waits"        // the job waits; it goes on by itself or when the command is run again
	WhyInterrupted = "interrupted"
	WhyRounds      = "rounds" // there were as many rounds as there may be
)

// Patience is how long is waited for a measurement to show what was deleted: services take their time to count. Between two
// measurements lies Every, which doubles up to a sixth of All.
type Patience struct{ All, Every time.Duration }

// DefaultPatience suits iCloud.
func DefaultPatience() Patience { return Patience{All: 90 * time.Second, Every: time.Second} }

// Round is one job for a goal, and what came of it.
type Round struct {
	Job     jobs.Job         `json:"job"`
	Before  transfer.Storage `json:"before"`
	After   transfer.Storage `json:"after"`
	Gained  int64            `json:"gained"`   // bytes, by the measurements; below 0 where less is free than before
	InTrash jobs.PlanCount   `json:"in_trash"` // what the job deleted that is only in the trash
	// Grew are bytes that something else has taken meanwhile: what the job gave back less what was gained.
	Grew int64 `json:"grew,omitempty"`
}

// Result is how far a goal was reached.
type Result struct {
	Goal    Goal             `json:"goal"`
	Before  transfer.Storage `json:"before"`
	After   transfer.Storage `json:"after"`
	Need    int64            `json:"need"`
	Missing int64            `json:"missing"` // bytes that are still missing by the last measurement
	Reached bool             `json:"reached"`
	Why     string           `json:"why,omitempty"` // one of the reasons; "" where it is reached
	Rounds  []Round          `json:"rounds"`
	// InTrash is what these jobs deleted that is only in the trash.
	InTrash jobs.PlanCount `json:"in_trash"`
	// Grew is how much each kind of the storage grew meanwhile, for the kinds that did.
	Grew map[string]int64 `json:"grew,omitempty"`
}

// Runner brings a job to its end, or to where it waits or was interrupted.
type Runner interface {
	// Run orders the job and works on it. interrupted says that a person stopped it.
	Run(ctx context.Context, o jobs.Order) (j jobs.Job, interrupted bool, err error)
	// GoOn works on a job that was ordered before.
	GoOn(ctx context.Context, j jobs.Job) (_ jobs.Job, interrupted bool, err error)
	// Tell is told what is going on, for people.
	Tell(what string)
}

// Rounds is the way to a goal: a job, a measurement, and again with what is left, until the room is there or there is no way
// on.
type Rounds struct {
	Service  *jobs.Service
	Goal     Goal
	Base     jobs.Order // options of the jobs
	Runner   Runner
	Patience Patience // Defaults to DefaultPatience.
	// Partial goes as far as possible where all that may be chosen isn't enough. Else nothing is done then.
	Partial bool

	tried map[string]bool // files that a round took on and that are at the source still
	res   Result
}

// Order is the order of the jobs for the goal, without their files. A mistake is a *jobs.OrderError.
func (r *Rounds) Order() (jobs.Order, error) {
	_, o, err := orderOf(r.Goal, r.Base)
	return o, err
}

// Plan chooses the files of the next round. progress is told how many files were found so far; nil is allowed.
func (r *Rounds) Plan(ctx context.Context, progress func(files int64)) (Plan, error) {
	return chooseBut(ctx, r.Service, r.Goal, r.Base, r.tried, progress)
}

func (r *Rounds) order(p Plan) (jobs.Order, bool) {
	if r.Partial {
		return p.AsFarAsPossible()
	}
	return p.Order()
}

// Begin is what Do says where nothing is to be done, or nothing can be.
func (r *Rounds) Begin(p Plan) Result {
	r.res = Result{Goal: p.Goal, Before: p.Storage, After: p.Storage, Need: p.Need, Missing: p.Missing, Reached: p.Missing == 0, Rounds: []Round{}}
	if _, ok := r.order(p); !ok && p.Missing > 0 {
		r.res.Why = WhyNothing
		if p.InTrash.Bytes >= p.Missing {
			r.res.Why, r.res.InTrash = WhyTrash, p.InTrash
		}
	}
	return r.res
}

// Do does a plan and whatever else it takes to reach the goal.
func (r *Rounds) Do(ctx context.Context, p Plan) (Result, error) {
	r.Begin(p)
	for {
		order, ok := r.order(p)
		if !ok {
			return r.end(p)
		}
		j, interrupted, err := r.Runner.Run(ctx, order)
		if err != nil {
			return r.res, err
		}
		if over, err := r.after(ctx, p.Storage, j, interrupted); over || err != nil {
			return r.res, err
		}
		r.Runner.Tell("choosing what else may go")
		if p, err = r.Plan(ctx, nil); err != nil {
			return r.res, err
		}
	}
}

// GoOn goes on with a job that an earlier run for the same goal was interrupted in, and then as Do.
func (r *Rounds) GoOn(ctx context.Context, j jobs.Job) (Result, error) {
	now, err := Measure(ctx, r.Service, r.Goal, r.Base)
	if err != nil {
		return Result{}, err
	}
	if j.Storage != nil && j.Storage.Before != nil {
		now = *j.Storage.Before
	}
	r.Begin(Plan{Goal: r.Goal, Storage: now, Need: Need(r.Goal, now), Missing: Missing(r.Goal, now)})
	r.res.Why = ""
	j, interrupted, err := r.Runner.GoOn(ctx, j)
	if err != nil {
		return r.res, err
	}
	if over, err := r.after(ctx, now, j, interrupted); over || err != nil {
		return r.res, err
	}
	p, err := r.Plan(ctx, nil)
	if err != nil {
		return r.res, err
	}
	so := r.res
	res, err := r.Do(ctx, p)
	res.Before, res.Rounds = so.Before, append(so.Rounds, res.Rounds...)
	res.InTrash = jobs.PlanCount{Files: so.InTrash.Files + res.InTrash.Files, Bytes: so.InTrash.Bytes + res.InTrash.Bytes}
	return res, err
}

// PurgeEarlier has ended jobs remove for good what they put into the trash, and waits for that to be measured. It returns the
// jobs as they are then.
func (r *Rounds) PurgeEarlier(ctx context.Context, earlier []jobs.Job) (after []jobs.Job, interrupted bool, err error) {
	before, err := Measure(ctx, r.Service, r.Goal, r.Base)
	if err != nil {
		return nil, false, err
	}
	purged := int64(0)
	for _, j := range earlier {
		was := j.Bytes.Purged
		if j, err = r.Service.PurgeTrash(ctx, j.ID); err != nil {
			return after, false, err
		}
		j, interrupted, err = r.Runner.GoOn(ctx, j)
		if after = append(after, j); err != nil || interrupted || !j.State.Terminal() {
			return after, interrupted, err
		}
		purged += j.Bytes.Purged - was
	}
	_, err = r.measure(ctx, before, purged, jobs.PlanCount{})
	return after, false, err
}

// end is the end where nothing more can be chosen.
func (r *Rounds) end(p Plan) (Result, error) {
	r.res.After, r.res.Missing, r.res.Reached = p.Storage, p.Missing, p.Missing == 0
	if r.res.Why = ""; !r.res.Reached {
		r.res.Why = WhyNothing
	}
	return r.res, nil
}

// after measures what a round has brought, and tells whether it was the last one.
func (r *Rounds) after(ctx context.Context, before transfer.Storage, j jobs.Job, interrupted bool) (over bool, err error) {
	round := Round{Job: j, Before: before, After: before}
	round.InTrash = j.Unpurged()
	if !interrupted { // who has pressed Ctrl-C wants to go
		if round.After, err = r.measure(ctx, before, j.Bytes.Deleted, round.InTrash); err != nil {
			return true, err
		}
	}
	round.Gained = before.Used - round.After.Used
	given := j.Bytes.Deleted
	if trashCounts(round) {
		given -= round.InTrash.Bytes
	}
	round.Grew = max(0, given-round.Gained)
	r.res.Rounds = append(r.res.Rounds, round)
	r.res.InTrash.Files += round.InTrash.Files
	r.res.InTrash.Bytes += round.InTrash.Bytes
	r.res.After, r.res.Need, r.res.Missing = round.After, Need(r.Goal, round.After), Missing(r.Goal, round.After)
	r.res.Grew = grew(r.res.Before, round.After)
	r.res.Reached = r.res.Missing == 0 && !interrupted
	r.res.Why = r.why(round, j, interrupted)
	if r.res.Why == "" && !r.res.Reached {
		return false, r.remember(ctx, j.ID)
	}
	return true, nil
}

// why is why there is no further round, "" where the goal is reached or there is one.
func (r *Rounds) why(round Round, j jobs.Job, interrupted bool) string {
	switch {
	case interrupted:
		return WhyInterrupted
	case r.res.Reached:
		return ""
	case !j.State.Terminal():
		return WhyWaits
	case j.State == jobs.FailedState, j.State == jobs.Canceled:
		return WhyJob
	case trashCounts(round):
		return WhyTrash
	case round.Gained <= 0:
		return WhyNoGain
	case len(r.res.Rounds) >= maxRounds:
		return WhyRounds
	}
	return ""
}

// trashCounts tells whether what lies in the trash seems to be counted still: most of what the job deleted is there, and less
// than half of it was gained.
func trashCounts(r Round) bool {
	return r.InTrash.Bytes > 0 && r.Gained < r.Job.Bytes.Deleted-r.InTrash.Bytes/2
}

// measure measures until the goal is reached, all that the job deleted is seen to be free, or patience ends. Where it lies in
// the trash patience is short: most likely it counts until that is emptied.
func (r *Rounds) measure(ctx context.Context, before transfer.Storage, deleted int64, inTrash jobs.PlanCount) (transfer.Storage, error) {
	patience := r.Patience
	if patience == (Patience{}) {
		patience = DefaultPatience()
	}
	if inTrash.Bytes > deleted/2 {
		patience.All /= 4
	}
	deadline := time.Now().Add(patience.All)
	for wait, told := patience.Every, false; ; wait = min(2*wait, max(patience.Every, patience.All/6)) {
		s, err := Measure(ctx, r.Service, r.Goal, r.Base)
		if err != nil {
			return s, fmt.Errorf("measure what was freed: %w", err)
		}
		if Missing(r.Goal, s) == 0 || before.Used-s.Used >= deleted || time.Now().Add(wait).After(deadline) {
			return s, nil
		}
		if !told {
			r.Runner.Tell("measuring; the cloud may take its time to count what was deleted")
			told = true
		}
		if err := transfer.Sleep(ctx, wait); err != nil {
			return s, err
		}
	}
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// maxTried bounds how many files are remembered as tried.
const maxTried = 1 << 20

// remember notes the files of a round that are at the source still: to choose them again would bring the same.
func (r *Rounds) remember(ctx context.Context, id string) error {
	if r.tried == nil {
		r.tried = map[string]bool{}
	}
	err := r.Service.Files(ctx, id, jobs.FileFilter{}, func(f jobs.FileRecord) error {
		if !f.Source.Gone() {
			r.tried[f.Path] = true
		}
		if len(r.tried) >= maxTried {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// grew is by how much each kind grew, where it did.
func grew(before, after transfer.Storage) map[string]int64 {
	var more map[string]int64
	for kind, n := range after.ByKind {
		if d := n - before.ByKind[kind]; d > 0 {
			if more == nil {
				more = map[string]int64{}
			}
			more[kind] = d
		}
	}
	return more
}
