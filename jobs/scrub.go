package jobs

import (
	"context"
	"fmt"

	"offload/manifest"
	"offload/transfer"
)

// A scrub is a job of its own: it looks at what an earlier job has offloaded, folder by folder, and changes nothing anywhere.
// Both its source and its destination are the place where the files lie now.

// scrubBatch is how many files of a scrub one worker looks at as one batch: a folder is listed once for all of them.
const scrubBatch = 1000

// ScrubResult counts the files of a scrub by what it found.
type ScrubResult struct {
	Intact    int64 `json:"intact"`
	Missing   int64 `json:"missing"`
	Different int64 `json:"different"`
	Unknown   int64 `json:"unknown"` // couldn't be looked at, or their record says too little
}

// Alarming tells whether something that was offloaded isn't there any more as it was.
func (r ScrubResult) Alarming() bool { return r.Missing+r.Different > 0 }

// scrubOf fills in what a scrub has found.
func scrubOf(j *Job, f map[string]string) {
	if j.Kind != KindScrub {
		return
	}
	j.Scrub = &ScrubResult{Intact: j.Files.Skipped}
	all, _ := tallies(f)
	for k, n := range all {
		if k.result != transfer.Failed {
			continue
		}
		switch k.code {
		case transfer.CodeScrubMissing:
			j.Scrub.Missing += n.files
		case transfer.CodeScrubDiffers:
			j.Scrub.Different += n.files
		default:
			j.Scrub.Unknown += n.files
		}
	}
}

// looksOnly tells whether a job reads no files, as far as it can be told before.
func (j Job) looksOnly() bool { return j.Kind == KindScrub && !j.Order.Read }

// ScrubOrders returns the orders that look at what a job has offloaded, or with no ID at what all have, removed ones too;
// none where nothing has been offloaded. With read every file is read, and counts against the quota.
func (s *Service) ScrubOrders(ctx context.Context, id string, read bool) ([]Order, error) {
	if id != "" {
		of, err := s.recorded(ctx, id)
		if err != nil {
			return nil, err
		}
		if of.Kind != KindMove {
			return nil, &OrderError{Field: "of", Value: of.ID, Hint: "name the job that offloaded the files",
				Err: fmt.Errorf("that job is a %s itself", of.Kind)}
		}
		return scrubOrder(nil, of, read), nil
	}
	var orders []Order
	err := s.each(ctx, ListOptions{}, func(of Job) error {
		orders = scrubOrder(orders, of, read)
		return nil
	})
	if err != nil {
		return nil, err
	}
	removed, err := s.Manifests(ctx)
	for _, m := range removed {
		if m.Kept {
			continue
		}
		if err := plainRecord(m); err != nil { // one that can't be looked at from here keeps nobody from the others
			s.log.Warn("a removed job's files aren't scrubbed", "job", m.Job, "error", err)
			continue
		}
		orders = scrubOrder(orders, jobOfManifest(m), read)
	}
	return orders, err
}

// Scrub accepts a job that looks at what a job has offloaded; ErrState (wrapped) where that is nothing.
func (s *Service) Scrub(ctx context.Context, id string, read bool) (Job, error) {
	orders, err := s.ScrubOrders(ctx, id, read)
	if err != nil {
		return Job{}, err
	}
	if len(orders) == 0 {
		return Job{}, fmt.Errorf("job %s has deleted nothing at its source, there is nothing to check: %w", id, ErrState)
	}
	return s.Enqueue(ctx, orders[0])
}

// scrubOrder adds the order that scrubs a job, where there is something to look at.
func scrubOrder(to []Order, of Job, read bool) []Order {
	if of.Kind != KindMove || of.Files.Deleted == 0 {
		return to
	}
	o := Order{Source: of.Dest, Dest: of.Dest, Account: of.Account, Kind: KindScrub, Of: of.ID, Read: read, MaxDelete: -1, Priority: Low}
	return append(to, o.WithDefaults())
}

// scrubEntry is a file of the record of an earlier job as its scrub looks for it: its source is where it lies now.
func scrubEntry(l manifest.Line) transfer.Entry {
	e := transfer.Entry{Path: l.Path, Size: l.Size, ModTime: l.ModTime, Hash: l.Hash, Package: l.Package}
	if l.Dest != l.Path {
		e.Source = l.Dest
	}
	return e
}
