package schedules

import (
	"context"

	"offload/jobs"
)

// scrubs are the orders of scrubs of one job, or of all that have offloaded something, with what the schedule says of its jobs.
func (b *Book) scrubs(ctx context.Context, base jobs.Order) ([]jobs.Order, error) {
	all, err := b.cfg.Scrubs(ctx, base.Of, base.Read)
	for i := range all {
		o := &all[i]
		o.Account, o.Priority, o.BwLimit, o.Window, o.Transfers, o.Label = base.Account, base.Priority, base.BwLimit, base.Window, base.Transfers, base.Label
	}
	return all, err
}
