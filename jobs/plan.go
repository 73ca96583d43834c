package jobs

import (
	"context"
	"fmt"

	"offload/transfer"
)

// planExamples bounds the lists of files in a plan.
const planExamples = 100

// Plan tells what the order would do; nothing is changed anywhere. progress is called now and then, nil is allowed.
func (s *Service) Plan(ctx context.Context, o Order, progress func(Plan)) (Plan, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return Plan{}, err
	}
	pair, err := s.cfg.Open(ctx, o.Source, o.Dest, o.Options)
	if err != nil {
		return Plan{}, orderError(o, err)
	}
	defer pair.Close(context.WithoutCancel(ctx))
	if err := pair.Check(ctx); err != nil {
		return Plan{}, orderError(o, err)
	}
	st, err := s.cfg.Ledger.Status(ctx, o.Account)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Source: o.Source, Dest: o.Dest, Quota: PlanQuota{Account: o.Account, Plan: st.Plan, Limit: st.Limit,
		Available: st.Available, Resets: st.Period.End}, Examples: []FileRecord{}, TooLarge: []FileRecord{}, Warnings: []string{}}
	res, err := pair.Scan(ctx, transfer.ScanOptions{}, func(c transfer.Chunk) error {
		for i, e := range c.Entries {
			p.add(e, c.Seen[i], o)
		}
		if progress != nil {
			progress(p)
		}
		return nil
	})
	if err != nil {
		return Plan{}, fmt.Errorf("scan %s: %w", o.Source, err)
	}
	p.Excluded = PlanCount{res.Excluded, res.ExcludedBytes}
	p.Complete = res.Complete
	for _, e := range res.Errors {
		p.Warnings = append(p.Warnings, transfer.WithoutQueries(e.Error()))
	}
	if !p.Complete && o.DeleteSource == transfer.DeleteComplete {
		p.Delete = PlanCount{}
		p.Warnings = append(p.Warnings, "nothing would be deleted: not every folder could be read")
	}
	if free, ok := pair.Room(ctx); ok && p.Copy.Bytes > free {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s has %s left, and %s are to be copied: the job would wait for space",
			o.Dest, size(free), size(p.Copy.Bytes)))
	}
	p.fit()
	return p, nil
}

// add counts one entry.
func (p *Plan) add(e transfer.Entry, seen transfer.Seen, o Order) {
	n := max(e.Size, 0)
	p.Files.add(n)
	if e.Verdict != transfer.Pending {
		p.SetAside.add(n)
		if len(p.Examples) < planExamples {
			p.Examples = append(p.Examples, FileRecord{Path: e.Path, Size: e.Size, Result: e.Verdict, Code: e.Code, Reason: e.Reason})
		}
		return
	}
	if seen.State == transfer.SeenNothing {
		p.Copy.add(n)
		p.Traffic += n
	} else {
		p.Check.add(n)
		// A file of another size is copied beside; with a deletion to come one of the same size is read to compare.
		if o.Deletes() || seen.Size != e.Size {
			p.Traffic += n
		}
	}
	if o.Deletes() {
		p.Delete.add(n)
	}
	if p.Quota.Limit >= 0 && n > p.Quota.Limit && len(p.TooLarge) < planExamples {
		p.TooLarge = append(p.TooLarge, FileRecord{Path: e.Path, Size: e.Size})
	}
}

func (c *PlanCount) add(bytes int64) {
	c.Files++
	c.Bytes += bytes
}

// fit compares the traffic with the allowance: how many periods it takes, the present one counted. Files that don't
// divide make it a little more than the bytes say.
func (p *Plan) fit() {
	q := &p.Quota
	switch {
	case q.Available < 0 || p.Traffic <= q.Available:
		q.Fits, q.Periods = true, 1
	case q.Limit > 0:
		q.Periods = 1 + (p.Traffic-q.Available+q.Limit-1)/q.Limit
	}
}
