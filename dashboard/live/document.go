package live

import (
	"time"

	"offload/jobs"
	"offload/quota"
)

// Overview is everything that is going on, as of one moment.
type Overview struct {
	At      time.Time             `json:"at"`
	Counts  map[jobs.State]int64  `json:"counts" doc:"of all jobs, by state"`
	Waiting map[jobs.Reason]int64 `json:"waiting" doc:"of those that wait, by what they wait for"`
	Live    []LiveJob             `json:"live" nullable:"false" doc:"unfinished jobs, those that run first, then the newest; at most 100"`
	More    int64                 `json:"more" doc:"unfinished jobs that live leaves out"`
	Workers []jobs.WorkerInfo     `json:"workers" nullable:"false"`
	Quotas  []quota.Status        `json:"quotas" nullable:"false" doc:"of the accounts"`
	Limits  []quota.Status        `json:"limits" nullable:"false" doc:"of the remotes that have limits"`
	Away    bool                  `json:"away,omitempty" doc:"the store doesn't answer now: the rest is of the last time"`
}

// Document is the view as JSON tells it, here and in the terminal.
func (s *Snapshot) Document() Overview {
	o := Overview{At: s.At.UTC(), Counts: s.Counts, Waiting: s.Waiting, Live: []LiveJob{}, More: s.More, Workers: s.Workers, Quotas: s.Quotas,
		Limits: s.Limits, Away: s.Err != nil}
	for _, p := range s.Live {
		o.Live = append(o.Live, NewLiveJob(p))
	}
	if o.Workers == nil {
		o.Workers = []jobs.WorkerInfo{}
	}
	if o.Quotas == nil {
		o.Quotas = []quota.Status{}
	}
	if o.Limits == nil {
		o.Limits = []quota.Status{}
	}
	return o
}

// LiveJob is a job with what it does at the moment.
type LiveJob struct {
	jobs.Job
	Rate    float64  `json:"rate" doc:"bytes a second over the last twenty seconds or so, all workers"`
	Current []string `json:"current" nullable:"false" doc:"files being copied now"`
	Moving  int64    `json:"moving" doc:"bytes read of files that have begun and not ended"`
	Scanned int64    `json:"scanned" doc:"files that a running scan has found so far"`
	Workers int      `json:"workers" doc:"workers that reported in the last seconds"`
}

// NewLiveJob makes the document of a job's progress.
func NewLiveJob(p jobs.Progress) LiveJob {
	j := LiveJob{p.Job, p.Rate, p.Current, p.Moving, p.Scanned, p.Workers}
	if j.Current == nil {
		j.Current = []string{}
	}
	return j
}
