package schedules

import (
	"context"

	"offload/jobs"
)

// tell makes news of a run that made no job though it should have. One that was skipped isn't news: the job that is in the
// way tells of itself.
func (b *Book) tell(ctx context.Context, s Schedule, run Run) {
	if run.Result != Failed && run.Result != Missed {
		return
	}
	n := jobs.News{ID: "schedule/" + s.ID() + "/" + millis(run.Due), Kind: jobs.NewsSchedule, At: run.Began, Account: s.Account(), Schedule: s.Name, Text: run.Reason}
	if err := b.cfg.Jobs.AddNews(context.WithoutCancel(ctx), n); err != nil {
		b.log.Warn("tell of a run of a schedule", "schedule", s.ID(), "error", err)
	}
}
