package pages

import (
	"net/http"

	"offload/jobs"
)

func (p *Pages) routesQueues(mux *http.ServeMux) {
	mux.HandleFunc("GET /queue", func(w http.ResponseWriter, r *http.Request) {
		f, err := p.cfg.Jobs.Queues(r.Context())
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		p.render(w, r, http.StatusOK, "queue", queuePage{QueueFacts: f, Faults: queueFaults(f)})
	})
}

// queuePage is what the page of the queue's insides shows.
type queuePage struct {
	jobs.QueueFacts
	Faults []string
	Away   bool // the store doesn't answer: this is of the last time
}

func (q queuePage) frame(f *frame) {
	f.Nav, f.Refresh, f.Live, f.Away = "queue", refreshEvery, "/events?page=queue", q.Away
}

// Lanes are the queues of the pool.
func (q queuePage) Lanes() []jobs.QueueInfo { return q.choose(true) }

// Others are the queues of foreground processes, and what else is there.
func (q queuePage) Others() []jobs.QueueInfo { return q.choose(false) }

func (q queuePage) choose(lanes bool) []jobs.QueueInfo {
	var all []jobs.QueueInfo
	for _, i := range q.Queues {
		if (i.Lane != "") == lanes {
			all = append(all, i)
		}
	}
	return all
}

// queueFaults are what somebody should look at, in words.
func queueFaults(f jobs.QueueFacts) []string {
	var all []string
	for _, q := range f.Queues {
		if q.Archived > 0 {
			all = append(all, "Queue "+q.Name+" has archived tasks: the queue has given them up. The jobs are safe, for what is missing is sent again within a minute; "+
				"it is a bug all the same, so please report it with the worker's log.")
		}
		if q.Paused {
			all = append(all, "Queue "+q.Name+" was paused by a tool of asynq's: no worker takes anything of it. Unpause it with the same tool.")
		}
	}
	for _, n := range f.Store {
		name := "The store"
		if n.Address != "" {
			name = "The store's server " + n.Address
		}
		if n.Policy != "" && n.Policy != "noeviction" {
			all = append(all, name+" throws keys away when memory runs out (maxmemory-policy "+n.Policy+"), which loses jobs: run CONFIG SET maxmemory-policy noeviction.")
		}
		if n.AppendOnly == "no" {
			all = append(all, name+" keeps no append-only file: jobs are lost when it ends unexpectedly. Run CONFIG SET appendonly yes.")
		}
		if n.WriteFailed {
			all = append(all, name+" couldn't write its append-only file the last time: look whether its disk is full.")
		}
		if n.MemoryMax > 0 && n.Memory > n.MemoryMax/10*9 {
			all = append(all, name+" uses more than nine tenths of the memory that it may use: remove old jobs, or give it more.")
		}
	}
	return all
}
