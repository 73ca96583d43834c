package room

import (
	"context"
	"fmt"
	"time"

	"offload/jobs"
	"offload/transfer"
)

// Plan is what is to be offloaded for a goal, as things are now.
type Plan struct {
	Goal    Goal             `json:"goal"`
	Storage transfer.Storage `json:"storage"` // as it was measured
	Need    int64            `json:"need"`    // bytes that are to be free
	Free    int64            `json:"free"`    // bytes that are free now
	Missing int64            `json:"missing"` // bytes until the goal is reached; 0 where nothing is to be done
	Chosen  jobs.PlanCount   `json:"chosen"`
	Enough  bool             `json:"enough"` // what is chosen comes to what is missing
	// Last is the last file above the line that was drawn, Next the first below it; the files are in the order of the rule.
	Last *File `json:"last,omitempty"`
	Next *File `json:"next,omitempty"`
	// Passed are files that were left out since they couldn't be deleted by proof, by code.
	Passed map[string]jobs.PlanCount `json:"passed_over,omitempty"`
	// Trash is what lies in the source's trash, whoever put it there; nil where nobody can tell.
	Trash *jobs.PlanCount `json:"trash,omitempty"`
	// InTrash is what earlier jobs for room there have deleted that is in the trash still, and counts: nothing is chosen in its
	// place. It is 0 where the goal says that the trash is purged.
	InTrash jobs.PlanCount `json:"in_trash"`
	Job     *jobs.Plan     `json:"job,omitempty"` // what the job would do; nil where nothing is to be done

	order jobs.Order
}

// File is a file of a plan.
type File struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime,omitzero"`
}

// Order is the order of the job that does the plan, to be given to the service as it is. Where nothing is missing, or no file
// can be chosen, there is nothing to order, and ok is false.
// Nor is there where all that may be chosen isn't enough: see AsFarAsPossible.
func (p Plan) Order() (_ jobs.Order, ok bool) { return p.order, p.order.Planned != nil && p.Enough }

// AsFarAsPossible is Order that is content with less than enough: for a person who has said so, since it may take everything.
func (p Plan) AsFarAsPossible() (_ jobs.Order, ok bool) { return p.order, p.order.Planned != nil }

// NoStorageError says that the storage of a remote can't be measured: without that there is no way to know when there is room.
type NoStorageError struct{ Remote string }

func (e *NoStorageError) Error() string {
	return e.Remote + " doesn't tell how much room there is"
}

// Choose measures the storage of the goal's remote and chooses what to offload until the goal is reached. base holds the
// options of the job (account, min-grade, bwlimit...); its source and destination are the goal's, and it deletes what is
// proved. A mistake in the goal or in base is a *jobs.OrderError; a remote that can't be measured a *NoStorageError.
func Choose(ctx context.Context, svc *jobs.Service, g Goal, base jobs.Order) (Plan, error) {
	return chooseBut(ctx, svc, g, base, nil, nil)
}

// chooseBut is Choose that passes over the files that were tried; progress is told how many files were found so far.
func chooseBut(ctx context.Context, svc *jobs.Service, g Goal, base jobs.Order, tried map[string]bool, progress func(files int64)) (Plan, error) {
	g, o, err := orderOf(g, base)
	if err != nil {
		return Plan{}, err
	}
	d, err := svc.Draft(ctx, o)
	if err != nil {
		return Plan{}, err
	}
	defer d.Close(context.WithoutCancel(ctx))
	p := Plan{Goal: g}
	if p.Storage, err = space(ctx, d.Pair, g.Remote); err != nil {
		return Plan{}, err
	}
	p.Need, p.Free, p.Missing = Need(g, p.Storage), Free(p.Storage), Missing(g, p.Storage)
	if files, bytes, ok, err := d.Pair.InTrash(ctx); ok && err == nil { // to know of it helps; not to know is no reason to stop
		p.Trash = &jobs.PlanCount{Files: files, Bytes: bytes}
	}
	if p.Missing == 0 {
		return p, nil
	}
	if p.Need > p.Storage.Total {
		return Plan{}, &jobs.OrderError{Field: "target", Hint: "ask for less than the whole", Err: fmt.Errorf("%d bytes are to be free, and %s has %d in all", p.Need, g.Remote, p.Storage.Total)}
	}
	if p.InTrash, err = earlier(ctx, svc, g, p.Trash); err != nil {
		return Plan{}, err
	}
	if p.InTrash.Bytes >= p.Missing {
		return p, nil // to offload more would be in vain
	}
	all, res, err := list(ctx, d, tried, progress)
	if err != nil {
		return Plan{}, fmt.Errorf("scan %s: %w", g.Remote, err)
	}
	p.Passed = all.passed
	return p.draw(ctx, d, choose(all.files, g.Order, p.Missing-p.InTrash.Bytes), res)
}

// earlier is what earlier jobs for the goal's remote have left in the trash, as far as the trash still holds as much.
func earlier(ctx context.Context, svc *jobs.Service, g Goal, trash *jobs.PlanCount) (n jobs.PlanCount, err error) {
	if g.Purge || trash == nil {
		return n, nil
	}
	all, err := svc.UnpurgedFor(ctx, g.Remote)
	if err != nil {
		return n, fmt.Errorf("look for earlier jobs: %w", err)
	}
	for _, j := range all {
		n.Files += j.Unpurged().Files
		n.Bytes += j.Unpurged().Bytes
	}
	return jobs.PlanCount{Files: min(n.Files, trash.Files), Bytes: min(n.Bytes, trash.Bytes)}, nil
}

// list lists the source against the destination and keeps what may be chosen.
func list(ctx context.Context, d *jobs.Draft, tried map[string]bool, progress func(int64)) (candidates, transfer.ScanResult, error) {
	var all candidates
	found := int64(0)
	res, err := d.Pair.Scan(ctx, transfer.ScanOptions{}, func(c transfer.Chunk) error {
		for i, e := range c.Entries {
			all.take(jobs.PlannedFile{Entry: e, Seen: c.Seen[i]}, d.Order.Options, tried)
		}
		if found += int64(len(c.Entries)); progress != nil {
			progress(found)
		}
		return nil
	})
	return all, res, err
}

// draw draws the line below what was chosen and makes the order of it.
func (p Plan) draw(ctx context.Context, d *jobs.Draft, c choice, res transfer.ScanResult) (Plan, error) {
	p.Chosen, p.Enough = jobs.PlanCount{Files: int64(len(c.files)), Bytes: c.bytes}, c.bytes+p.InTrash.Bytes >= p.Missing
	if c.next != nil {
		p.Next = file(*c.next)
	}
	planned, err := jobs.NewPlanned()
	if err != nil {
		return Plan{}, err
	}
	for _, f := range c.files {
		if err := d.Add(f, planned); err != nil {
			return Plan{}, err
		}
		p.Last = file(f)
	}
	job, err := d.End(ctx, res)
	if err != nil {
		return Plan{}, err
	}
	p.Job = &job
	if len(c.files) > 0 {
		p.order = d.Order.WithPlan(planned)
	}
	return p, nil
}

func file(f jobs.PlannedFile) *File { return &File{f.Path, f.Size, f.ModTime} }

// space measures the room of the account behind the source.
func space(ctx context.Context, pair *transfer.Pair, remote string) (transfer.Storage, error) {
	s, ok, err := pair.Space(ctx)
	switch {
	case err != nil:
		return s, fmt.Errorf("measure the storage of %s: %w", remote, err)
	case !ok || s.Total <= 0:
		return s, &NoStorageError{remote}
	}
	return s, nil
}

// Measure measures the storage of the goal's remote.
func Measure(ctx context.Context, svc *jobs.Service, g Goal, base jobs.Order) (transfer.Storage, error) {
	g, o, err := orderOf(g, base)
	if err != nil {
		return transfer.Storage{}, err
	}
	d, err := svc.Draft(ctx, o)
	if err != nil {
		return transfer.Storage{}, err
	}
	defer d.Close(context.WithoutCancel(ctx))
	return space(ctx, d.Pair, g.Remote)
}
