package jobs

import (
	"context"
	"fmt"

	"offload/quota"
	"offload/transfer"
)

// planExamples bounds the lists of files in a plan.
const planExamples = 100

// Plan tells what the order would do; nothing is changed anywhere. progress is called now and then, nil is allowed.
func (s *Service) Plan(ctx context.Context, o Order, progress func(Plan)) (Plan, error) {
	return s.PlanInto(ctx, o, nil, progress)
}

// PlanInto is Plan that adds the files to a list, in the order of finding, where that isn't nil.
func (s *Service) PlanInto(ctx context.Context, o Order, into *Planned, progress func(Plan)) (Plan, error) {
	d, err := s.Draft(ctx, o)
	if err != nil {
		return Plan{}, err
	}
	defer d.Close(context.WithoutCancel(ctx))
	res, err := d.Pair.Scan(ctx, transfer.ScanOptions{}, func(c transfer.Chunk) error {
		for i, e := range c.Entries {
			if err := d.Add(PlannedFile{e, c.Seen[i]}, into); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(d.plan)
		}
		return nil
	})
	if err != nil {
		return Plan{}, fmt.Errorf("scan %s: %w", d.Order.Source, err)
	}
	return d.End(ctx, res)
}

// Draft is a plan in the making. Whoever made it closes it.
type Draft struct {
	Order Order          // completed and checked
	Pair  *transfer.Pair // the opened remotes, which have answered

	plan   Plan
	budget *budget
}

// Draft begins a plan of an order: it checks the order as Check does, but leaves the account alone. A mistake is an
// *OrderError.
func (s *Service) Draft(ctx context.Context, o Order) (*Draft, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	pair, err := s.cfg.Open(ctx, o.Source, o.Dest, o.Options)
	if err != nil {
		return nil, orderError(o, err)
	}
	d := &Draft{Order: o, Pair: pair, plan: Plan{Source: o.Source, Dest: o.Dest, Examples: []FileRecord{}, TooLarge: []FileRecord{}, Warnings: []string{}}}
	if err = pair.Check(ctx); err != nil {
		err = orderError(o, err)
	} else {
		d.budget, err = s.newBudget(ctx, o)
	}
	if err != nil {
		d.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return d, nil
}

// Close closes the remotes.
func (d *Draft) Close(ctx context.Context) { d.Pair.Close(ctx) }

// Add counts a file, and adds it to a list where that isn't nil.
func (d *Draft) Add(f PlannedFile, into *Planned) error {
	before := d.plan.Traffic
	d.plan.add(f.Entry, f.Seen, d.Order)
	d.budget.add(&d.plan, f.Entry, d.plan.Traffic-before)
	if into == nil {
		return nil
	}
	return into.Add(f)
}

// End compares what was added with the quota. res is what the scan said that the files are from.
func (d *Draft) End(ctx context.Context, res transfer.ScanResult) (Plan, error) {
	p, o := &d.plan, d.Order
	p.Excluded = PlanCount{res.Excluded, res.ExcludedBytes}
	p.Complete = res.Complete
	for _, e := range res.Errors {
		p.Warnings = append(p.Warnings, transfer.WithoutQueries(e.Error()))
	}
	if !p.Complete && o.DeleteSource == transfer.DeleteComplete {
		p.Delete = PlanCount{}
		p.Warnings = append(p.Warnings, "nothing would be deleted as things stand: not every folder could be read; the job looks again")
	}
	if free, ok := d.Pair.Room(ctx); ok && p.Copy.Bytes > free {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s has %s left, and %s are to be copied: the job would wait for space",
			o.Dest, size(free), size(p.Copy.Bytes)))
	}
	return *p, d.budget.compare(ctx, p)
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
}

func (c *PlanCount) add(bytes int64) {
	c.Files++
	c.Bytes += bytes
}

// budget compares a plan with the limits that it would come under.
type budget struct {
	s       *Service
	order   Order
	work    quota.Work
	carries int64  // the largest file that all limits allow; negative is any
	narrow  string // the limit that allows no more
}

func (s *Service) newBudget(ctx context.Context, o Order) (*budget, error) {
	b := &budget{s: s, order: o}
	needs, err := b.needs(ctx)
	if err != nil {
		return nil, err
	}
	subjects := make([]string, len(needs))
	for i, n := range needs {
		subjects[i] = n.Subject
	}
	b.carries, b.narrow, err = s.cfg.Ledger.Forecaster().Carries(ctx, subjects...)
	return b, err
}

func (b *budget) needs(ctx context.Context) ([]quota.Need, error) {
	w := b.work
	if b.order.MaxTransfer > 0 {
		w = w.AtMost(b.order.MaxTransfer)
	}
	return b.s.needs(ctx, Job{Source: b.order.Source, Dest: b.order.Dest, Account: b.order.Account, Order: b.order}, w)
}

// add counts the traffic of one entry, and names it in the plan where no period would carry it.
func (b *budget) add(p *Plan, e transfer.Entry, traffic int64) {
	if e.Verdict != transfer.Pending {
		return
	}
	b.work.Add(traffic)
	if b.carries < 0 || traffic <= b.carries || len(p.TooLarge) == planExamples {
		return
	}
	p.TooLarge = append(p.TooLarge, FileRecord{Path: e.Path, Size: e.Size, Code: codeTooLarge, Reason: b.remedy(traffic)})
}

// codeTooLarge marks a file that is larger than a whole period's allowance.
const codeTooLarge = "too_large"

// remedy says what would carry a file that is too large.
func (b *budget) remedy(bytes int64) string {
	if remote, _, ok := quota.ParseSubject(b.narrow); ok {
		return fmt.Sprintf("only a higher limit of remote %s would carry it", remote)
	}
	t, ok := b.s.cfg.Ledger.TierFor(bytes)
	switch {
	case !ok:
		return "no plan would carry it"
	case t.Limit < 0:
		return fmt.Sprintf("plan %s (no limit) would carry it", t.Name)
	}
	return fmt.Sprintf("plan %s (%s a month) would carry it", t.Name, size(t.Limit))
}

// compare tells how the plan fits what is left now, and when it would end.
func (b *budget) compare(ctx context.Context, p *Plan) error {
	needs, err := b.needs(ctx)
	if err != nil {
		return err
	}
	if needs[0].Most, err = b.s.newProphet().rate(ctx, b.order.BwLimit); err != nil {
		return err
	}
	caster := b.s.cfg.Ledger.Forecaster()
	f, err := caster.Forecast(ctx, needs...)
	if err != nil {
		return fmt.Errorf("compare the plan with the quota: %w", err)
	}
	st, err := caster.Status(ctx, b.order.Account)
	if err != nil {
		return fmt.Errorf("compare the plan with the quota: %w", err)
	}
	f.AtLeast = !p.Complete
	if b.order.MaxTransfer > 0 {
		p.Traffic = min(p.Traffic, b.order.MaxTransfer)
	}
	p.Quota = PlanQuota{Account: b.order.Account, Plan: st.Plan, Limit: st.Limit, Available: st.Available,
		Resets: st.Period.End, Fits: f.Fits, Periods: f.Periods, Forecast: f}
	return nil
}
