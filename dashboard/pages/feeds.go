package pages

import (
	"context"
	"errors"
	"strings"
	"sync"

	"offload/dashboard/live"
	"offload/jobs"
)

// feeds are what keeps the live pages up to date, by the page's name.
func (p *Pages) feeds() map[string]feed {
	return map[string]feed{"home": p.feedHome, "jobs": p.feedJobs, "job": p.feedJob, "workers": p.feedWorkers, "queue": p.feedQueue}
}

// feedHome follows Home.
func (p *Pages) feedHome(ctx context.Context, _ topic, publish func([]fragment)) error {
	for seq := uint64(0); ; {
		s := p.cfg.Hub.After(ctx, seq)
		if s == nil {
			return nil
		}
		if seq = s.Seq; p.lately("") && s.Err == nil {
			continue
		}
		publish(homeFragments(p.home(ctx, s)))
	}
}

func homeFragments(v homeView) []fragment {
	var ids []string
	all := []fragment{{ID: "away", Block: "away", Data: v}, {ID: "headline", Block: "headline", Data: v},
		{ID: "attention", Block: "attention", Data: v}, {ID: "quotas", Block: "quotas", Data: v}, {ID: "storages", Block: "storages", Data: v},
		{ID: "recent", Block: "recent", Data: v}, {ID: "others", Block: "others", Data: v}}
	for _, c := range v.Cards {
		ids = append(ids, c.Job.ID)
		all = append(all, fragment{ID: "card-" + c.Job.ID, Block: "jobcard", Data: c})
	}
	return append(all, fragment{ID: "running", Block: "running", Data: v, Key: strings.Join(ids, " ") + " "})
}

// feedJobs follows the unfinished jobs, for the rows of lists. Which rows a list shows is known to the browser alone; it
// passes over the others.
func (p *Pages) feedJobs(ctx context.Context, _ topic, publish func([]fragment)) error {
	var before map[string]bool
	var ended []jobView // the last ones, so that rows of jobs that end while they are looked at show it
	for seq := uint64(0); ; {
		s := p.cfg.Hub.After(ctx, seq)
		if s == nil {
			return nil
		}
		if seq = s.Seq; p.lately("") && s.Err == nil {
			continue
		}
		now := map[string]bool{}
		all := []fragment{{ID: "away", Block: "away", Data: jobsView{Away: s.Err != nil}}}
		row := func(v jobView) {
			all = append(all, fragment{ID: "state-" + v.Job.ID, Block: "rowstate", Data: v}, fragment{ID: "done-" + v.Job.ID, Block: "rowdone", Data: v})
		}
		for _, one := range s.Live {
			now[one.Job.ID] = true
			row(p.view(ctx, one, s))
		}
		for id := range before {
			if now[id] || s.Err != nil {
				continue
			}
			if j, err := p.cfg.Jobs.Get(ctx, id); err == nil && j.State.Terminal() {
				ended = append(ended[max(0, len(ended)-19):], jobView{Progress: jobs.Progress{Job: j}})
			}
		}
		for _, v := range ended {
			if !now[v.Job.ID] { // else it was retried
				row(v)
			}
		}
		if s.Err == nil {
			before = now
		}
		publish(all)
	}
}

// feedJob follows one job.
func (p *Pages) feedJob(ctx context.Context, t topic, publish func([]fragment)) error {
	w := p.cfg.Hub.Watch(t.id)
	leave := sync.OnceFunc(w.Close)
	defer leave()
	fresh := true
	for seq := uint64(0); ; {
		one := w.After(ctx, seq)
		if one == nil {
			return nil
		}
		seq = one.Seq
		if fresh || p.lately(t.id) { // the hub's view may be of before a change that the page shows already
			fresh = false
			if now, err := p.cfg.Jobs.Progress(ctx, t.id); err == nil {
				one = &live.JobView{Progress: now, Seq: one.Seq}
			}
		}
		if errors.Is(one.Err, jobs.ErrNotFound) {
			publish([]fragment{{ID: "away", Block: "removed", Data: jobPage{}}})
			leave()      // nobody asks for what is gone
			<-ctx.Done() // a stream that ended would be asked for again and again
			return nil
		}
		if one.Job.ID == "" { // the store hasn't answered yet
			continue
		}
		v, err := p.job(ctx, one.Progress)
		if err != nil {
			p.cfg.Log.Debug("read a job for its page", "job", t.id, "error", err)
			one.Err = err
		}
		v.Away = one.Err != nil
		if one.Err != nil && len(v.History) == 0 { // nothing of what comes from the store would be right
			publish([]fragment{{ID: "away", Block: "away", Data: v}})
			continue
		}
		publish(jobFragments(v))
	}
}
