package metrics

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// Bounds of labels, so that names that people make up never come to more series than Prometheus likes. What is beyond is
// added up under the name "other".
const (
	namesMost    = 50
	versionsMost = 10
	other        = "other"
)

// scrape is what one scrape found. It implements prometheus.Collector.
type scrape struct {
	of   map[string]family
	vals map[string]map[string]*sample // by family and labels
}

type sample struct {
	labels []string
	value  float64
}

func newScrape() *scrape {
	s := &scrape{of: map[string]family{}, vals: map[string]map[string]*sample{}}
	for _, f := range families() {
		s.of[f.name] = f
	}
	return s
}

// Describe implements prometheus.Collector: nothing is promised.
func (s *scrape) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *scrape) Collect(out chan<- prometheus.Metric) {
	for _, name := range slices.Sorted(maps.Keys(s.vals)) {
		f := s.of[name]
		desc := prometheus.NewDesc(f.name, f.help, f.labels, nil)
		for _, v := range s.vals[name] {
			m, err := prometheus.NewConstMetric(desc, f.kind, v.value, v.labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(desc, err)
			}
			out <- m
		}
	}
}

// add adds to the value of a metric with these labels.
func (s *scrape) add(name string, value float64, labels ...string) {
	if s.vals[name] == nil {
		s.vals[name] = map[string]*sample{}
	}
	for i, l := range labels {
		labels[i] = valid(l)
	}
	key := strings.Join(labels, "\x00")
	if v := s.vals[name][key]; v != nil {
		v.value += value
		return
	}
	s.vals[name][key] = &sample{labels, value}
}

// valid makes a name fit to be the value of a label.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// few returns how to name things in labels: the first of them by their names, the rest as "other".
func few(names []string, most int) func(string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	known := map[string]bool{}
	for _, n := range names[:min(len(names), most)] {
		known[n] = true
	}
	return func(n string) string {
		if known[n] {
			return n
		}
		return other
	}
}

// fill asks for all that the store knows.
func (s *scrape) fill(ctx context.Context, cfg Config) error {
	snap := cfg.Hub.Now(ctx)
	if snap == nil {
		return errors.New("it doesn't answer")
	}
	if snap.Err != nil {
		return snap.Err
	}
	facts, err := cfg.Jobs.Queues(ctx)
	if err != nil {
		return err
	}
	done, err := cfg.Jobs.Totals(ctx)
	if err != nil {
		return err
	}
	var remotes []RemoteState
	if cfg.RemoteStates != nil {
		remotes = cfg.RemoteStates(ctx)
	}
	s.jobs(snap)
	s.workers(snap.Workers)
	s.quotas(snap.Quotas, snap.Limits)
	s.totals(done)
	s.queues(facts)
	s.store(facts.Store)
	s.remotes(remotes)
	return nil
}

func (s *scrape) jobs(o *live.Snapshot) {
	for _, state := range []jobs.State{jobs.Queued, jobs.Scanning, jobs.Transferring, jobs.Finishing, jobs.Paused, jobs.Waiting, jobs.Completed,
		jobs.CompletedW, jobs.FailedState, jobs.Canceled} {
		s.add("offload_jobs", float64(o.Counts[state]), string(state))
	}
	for _, reason := range []jobs.Reason{jobs.ReasonQuota, jobs.ReasonWindow, jobs.ReasonSignIn, jobs.ReasonSpace, jobs.ReasonHold} {
		s.add("offload_jobs_waiting", float64(o.Waiting[reason]), string(reason))
	}
	rate := 0.0
	for _, p := range o.Live {
		rate += p.Rate
	}
	s.add("offload_transfer_rate_bytes", rate)
}

func (s *scrape) workers(all []jobs.WorkerInfo) {
	versions := make([]string, len(all))
	for i, w := range all {
		versions[i] = w.Version
	}
	name := few(versions, versionsMost)
	s.add("offload_worker_files", 0)
	s.add("offload_worker_units", 0, "busy")
	s.add("offload_worker_units", 0, "capacity")
	for _, state := range []jobs.WorkerState{jobs.WorkerWorking, jobs.WorkerIdle, jobs.WorkerDraining, jobs.WorkerDrained, jobs.WorkerSilent} {
		for _, v := range versions {
			s.add("offload_workers", 0, string(state), name(v))
		}
	}
	for _, w := range all {
		s.add("offload_workers", 1, string(w.State), name(w.Version))
		if w.State == jobs.WorkerSilent {
			continue
		}
		s.add("offload_worker_files", float64(w.Files))
		s.add("offload_worker_units", float64(w.Busy), "busy")
		s.add("offload_worker_units", float64(w.Batches), "capacity")
	}
}

func (s *scrape) quotas(accounts, limits []quota.Status) {
	accounts = slices.DeleteFunc(slices.Clone(accounts), func(a quota.Status) bool { return a.Removed })
	name := few(namesOf(accounts, quota.Status.Name), namesMost)
	for _, a := range accounts {
		n := name(a.Account)
		s.add("offload_quota_used_bytes", float64(a.Used), n)
		s.add("offload_quota_reserved_bytes", float64(a.Reserved), n)
		s.add("offload_quota_wasted_bytes", float64(a.Wasted), n)
		s.add("offload_quota_limit_bytes", endless(a.Limit, quota.Unlimited), n)
		if n != other { // a sum of dates says nothing
			s.add("offload_quota_reset_timestamp_seconds", seconds(a.Period.End), n)
		}
	}
	remoteOf := func(st quota.Status) string {
		remote, _, _ := quota.ParseSubject(st.Subject)
		return remote
	}
	name = few(namesOf(limits, remoteOf), namesMost)
	for _, l := range limits {
		remote, measure, ok := quota.ParseSubject(l.Subject)
		switch {
		case !ok:
		case measure == quota.Calls:
			s.add("offload_remote_used_calls", float64(l.Used), name(remote))
			s.add("offload_remote_limit_calls", endless(l.Limit, quota.Unlimited), name(remote))
		default:
			s.add("offload_remote_used_bytes", float64(l.Used), name(remote), string(measure))
			s.add("offload_remote_limit_bytes", endless(l.Limit, quota.Unlimited), name(remote), string(measure))
		}
	}
}

func namesOf[T any](all []T, name func(T) string) []string {
	names := make([]string, len(all))
	for i, x := range all {
		names[i] = name(x)
	}
	return names
}

// endless is a limit, +Inf for the value that says that there is none.
func endless(n, none int64) float64 {
	if n == none {
		return math.Inf(1)
	}
	return float64(n)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (s *scrape) totals(t jobs.Totals) {
	known := []transfer.Result{transfer.Copied, transfer.Skipped, transfer.SetAside, transfer.Failed}
	for _, r := range known {
		if r != transfer.Copied { // those have their grades
			s.add("offload_files_total", 0, string(r), "")
			s.add("offload_bytes_total", 0, string(r), "")
		}
	}
	for _, g := range []transfer.Grade{transfer.GradeA, transfer.GradeB, transfer.GradeC, transfer.GradeD} {
		s.add("offload_files_total", 0, string(transfer.Copied), string(g))
		s.add("offload_bytes_total", 0, string(transfer.Copied), string(g))
	}
	for _, o := range t.Outcomes {
		s.add("offload_files_total", float64(o.Files), string(o.Result), string(o.Grade))
		s.add("offload_bytes_total", float64(o.Bytes), string(o.Result), string(o.Grade))
	}
	for name, n := range map[string]int64{
		"offload_wasted_bytes_total": t.Wasted, "offload_deleted_files_total": t.Deleted, "offload_deleted_bytes_total": t.DeletedBytes,
		"offload_purged_files_total": t.Purged, "offload_purged_bytes_total": t.PurgedBytes,
		"offload_throttled_attempts_total": t.Throttled, "offload_retried_attempts_total": t.Retried,
		"offload_scrub_missing_files_total": t.ScrubMissing, "offload_scrub_different_files_total": t.ScrubDiffers,
	} {
		s.add(name, float64(n))
	}
	if t.Last != nil {
		s.add("offload_last_outcome_timestamp_seconds", seconds(*t.Last))
	}
}

func (s *scrape) queues(f jobs.QueueFacts) {
	for _, q := range f.Queues {
		name := q.Name
		if q.Lane == "" {
			name = "foreground" // each is of one process
		}
		for state, n := range map[string]int64{"waiting": q.Waiting, "active": q.Active, "retry": q.Retry, "archived": q.Archived, "owed": q.Owed} {
			s.add("offload_queue_tickets", float64(n), name, state)
		}
		if q.Lane != "" {
			s.add("offload_queue_latency_seconds", q.Latency, name)
		}
	}
	lag := 0.0
	if f.OldestQueued != nil {
		lag = max(0, f.At.Sub(*f.OldestQueued).Seconds())
	}
	s.add("offload_oldest_queued_job_seconds", lag)
}

func (s *scrape) store(nodes []jobs.StoreNode) {
	name := few(namesOf(nodes, func(n jobs.StoreNode) string { return n.Address }), namesMost)
	told := func(metric string, n int64, node string) {
		if n >= 0 {
			s.add(metric, float64(n), node)
		}
	}
	for _, n := range nodes {
		node := name(n.Address)
		if node == "" {
			node = "store"
		}
		told("offload_store_memory_bytes", n.Memory, node)
		if n.MemoryMax >= 0 {
			s.add("offload_store_memory_limit_bytes", endless(n.MemoryMax, 0), node)
		}
		told("offload_store_file_bytes", n.FileBytes, node)
		told("offload_store_replicas", n.Replicas, node)
		if n.Lag >= 0 {
			s.add("offload_store_replica_lag_seconds", n.Lag, node)
		}
		switch {
		case n.AppendOnly == "yes" && !n.WriteFailed:
			s.add("offload_store_persistent", 1, node)
		case n.AppendOnly != "":
			s.add("offload_store_persistent", 0, node)
		}
	}
}

func (s *scrape) remotes(all []RemoteState) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b RemoteState) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range all[:min(len(all), namesMost)] { // sums of trust and room of clouds say nothing
		if r.TrustDays != nil {
			s.add("offload_remote_trust_seconds", float64(*r.TrustDays)*86400, r.Name)
		}
		if r.Storage == nil {
			continue
		}
		s.add("offload_remote_storage_used_bytes", float64(r.Storage.Used), r.Name)
		s.add("offload_remote_storage_limit_bytes", float64(r.Storage.Total), r.Name)
		kinds := few(slices.Collect(maps.Keys(r.Storage.ByKind)), namesMost)
		for kind, n := range r.Storage.ByKind {
			s.add("offload_remote_storage_bytes", float64(n), r.Name, kinds(kind))
		}
	}
}
