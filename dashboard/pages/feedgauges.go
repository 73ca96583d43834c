package pages

import (
	"context"
	"time"
)

// queuesTime is how long the store may take to tell of its queues, before the page says that it is away.
const queuesTime = 2 * time.Second

// feedWorkers follows the workers. It asks the store for nothing that the overview doesn't tell.
func (p *Pages) feedWorkers(ctx context.Context, _ topic, publish func([]fragment)) error {
	for seq := uint64(0); ; {
		s := p.cfg.Hub.After(ctx, seq)
		if s == nil {
			return nil
		}
		seq = s.Seq
		page := p.workersOf(s.Workers)
		page.Away = s.Err != nil
		publish([]fragment{{ID: "away", Block: "away", Data: page}, {ID: "now", Block: "now", Data: page}})
	}
}

// feedQueue follows the queue, for all who look at once. It asks the store when there is a new overview, so no more often.
func (p *Pages) feedQueue(ctx context.Context, _ topic, publish func([]fragment)) error {
	var last queuePage
	for seq := uint64(0); ; {
		s := p.cfg.Hub.After(ctx, seq)
		if s == nil {
			return nil
		}
		seq = s.Seq
		if last.Away = s.Err != nil; !last.Away {
			in, cancel := context.WithTimeout(ctx, queuesTime)
			f, err := p.cfg.Jobs.Queues(in)
			cancel()
			if last.Away = err != nil; err == nil {
				last.QueueFacts, last.Faults = f, queueFaults(f)
			}
		}
		all := []fragment{{ID: "away", Block: "away", Data: last}}
		if len(last.Queues) > 0 {
			all = append(all, fragment{ID: "state", Block: "state", Data: last}, fragment{ID: "lanes-now", Block: "lanes-now", Data: last},
				fragment{ID: "rings-now", Block: "rings-now", Data: last})
		}
		publish(all)
	}
}
