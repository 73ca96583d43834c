package metrics

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"offload/dashboard/live"
	"offload/internal/jobstest"
	"offload/internal/leaktest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
	_ "offload/transfer/xtest" // the local backend
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, leaktest.Rclone()...))
}

// world is a dashboard's metrics on an embedded store.
type world struct {
	t       testing.TB
	store   *store.Store
	ledger  *quota.Ledger
	jobs    *jobs.Service
	metrics *Metrics
}

func newWorld(t testing.TB, remotes ...RemoteState) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, ledger, s := jobstest.Open(t, store.Options{Log: log},
		quota.Config{DefaultTier: "unlimited", Remotes: map[string]quota.RemoteLimits{"box": {PerDay: 1 << 30, Calls: 500}}},
		jobs.Config{Log: log, Version: "1.2.3"})
	hub := live.New(s, ledger, log)
	return &world{t: t, store: st, ledger: ledger, jobs: s, metrics: New(Config{Jobs: s, Hub: hub, Log: log, Version: "1.2.3",
		RemoteStates: func(context.Context) []RemoteState { return remotes }})}
}

// get is a scrape, by name of the metric with its labels.
func (w *world) get() map[string]float64 {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.metrics.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != http.StatusOK {
		w.t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	return parse(w.t, rec.Body)
}

// parse reads the text format as Prometheus does.
func parse(t testing.TB, r io.Reader) map[string]float64 {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	found, err := p.TextToMetricFamilies(r)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for name, f := range found {
		for _, m := range f.GetMetric() {
			labels := []string{}
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[name+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// A job that a worker did is found in the metrics, and what it did stays counted when the job is removed.
func TestScrape(t *testing.T) {
	days := 12
	w := newWorld(t, RemoteState{Name: "icloud", TrustDays: &days, Storage: &transfer.Storage{Total: 100, Used: 70, ByKind: map[string]int64{"photos": 60, "docs": 10}}})
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "dst")
	for i := range 3 {
		write(t, filepath.Join(src, fmt.Sprintf("f%d", i)), 100)
	}
	j, err := w.jobs.Enqueue(t.Context(), jobs.Order{Source: src, Dest: dst, MaxDelete: -1})
	if err != nil {
		t.Fatal(err)
	}
	got := w.get()
	for name, want := range map[string]float64{
		"offload_store_up{}": 1, "offload_jobs{state=queued}": 1, "offload_jobs{state=failed}": 0, "offload_jobs_waiting{reason=quota}": 0,
		"offload_queue_tickets{queue=normal,state=waiting}": 1, "offload_files_total{grade=A,outcome=copied}": 0,
		"offload_remote_trust_seconds{remote=icloud}": 12 * 86400, "offload_remote_storage_bytes{kind=photos,remote=icloud}": 60,
		"offload_remote_storage_limit_bytes{remote=icloud}": 100, "offload_quota_limit_bytes{account=default}": math.Inf(1),
		"offload_remote_limit_bytes{period=day,remote=box}": 1 << 30, "offload_remote_limit_calls{remote=box}": 500,
		"offload_store_persistent{node=store}": 1, "offload_build_info{version=1.2.3}": 1, "offload_worker_units{kind=capacity}": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	if got["go_goroutines{}"] == 0 || got["offload_oldest_queued_job_seconds{}"] < 0 {
		t.Errorf("%v", got)
	}
	if err := w.jobs.RunWorker(untilEnded(t, w.jobs, j.ID), t.Context(), jobs.WorkerOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.jobs.Remove(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	jobstest.Until(t, "the job is counted and gone", func() bool {
		got = w.get()
		return got["offload_jobs{state=completed}"] == 0 && got["offload_jobs{state=queued}"] == 0
	})
	copied := 0.0
	for name, v := range got {
		if strings.HasPrefix(name, "offload_files_total{") && strings.Contains(name, "outcome=copied") {
			copied += v
		}
	}
	if copied != 3 || got["offload_last_outcome_timestamp_seconds{}"] == 0 {
		t.Errorf("%v files were copied, want 3: %v", copied, got)
	}
}

// Where the store is away the scrape is answered all the same, and tells nothing that may be old.
func TestScrapeWithoutStore(t *testing.T) {
	w := newWorld(t)
	if got := w.get(); got["offload_store_up{}"] != 1 {
		t.Fatalf("%v", got)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	jobstest.Until(t, "the store is missed", func() bool { return w.get()["offload_store_up{}"] == 0 })
	for name := range w.get() {
		if strings.HasPrefix(name, "offload_jobs") || strings.HasPrefix(name, "offload_quota") {
			t.Errorf("%s is told though the store is away", name)
		}
	}
	if _, ok := w.get()["go_goroutines{}"]; !ok {
		t.Error("the dashboard's own metrics are missing")
	}
}

// everything is a scrape that holds each metric.
func everything() *scrape {
	s, now, days := newScrape(), time.Now(), 3
	s.add("offload_store_up", 1)
	s.jobs(&live.Snapshot{Overview: jobs.Overview{Counts: map[jobs.State]int64{jobs.Queued: 2}}})
	s.workers([]jobs.WorkerInfo{{State: jobs.WorkerIdle, Version: "1"}, {State: jobs.WorkerSilent, Files: 9, Batches: 9}})
	s.quotas([]quota.Status{{Account: "anna", Limit: 10}, {Account: "gone", Removed: true}}, []quota.Status{
		{Subject: quota.RemoteSubject("box", quota.PerDay), Limit: 5}, {Subject: quota.RemoteSubject("box", quota.Calls), Limit: 5}})
	s.totals(jobs.Totals{Last: &now})
	s.queues(jobs.QueueFacts{At: now, OldestQueued: &now, Queues: []jobs.QueueInfo{{Name: "high", Lane: jobs.High, Version: 1}, {Name: "run-1"}, {Name: "run-2"}}})
	s.store([]jobs.StoreNode{{AppendOnly: "no", MemoryMax: 0, Replicas: 1, Lag: 2}})
	s.remotes([]RemoteState{{Name: "icloud", TrustDays: &days, Storage: &transfer.Storage{ByKind: map[string]int64{"photos": 1}}}})
	return s
}

// Names, units and helps are those that Prometheus wants, and no metric of the table is forgotten.
func TestFamilies(t *testing.T) {
	s := everything()
	for _, f := range families() {
		if len(s.vals[f.name]) == 0 {
			t.Errorf("%s is never told", f.name)
		}
		for _, v := range s.vals[f.name] {
			if len(v.labels) != len(f.labels) {
				t.Errorf("%s has labels %v, want %v", f.name, v.labels, f.labels)
			}
		}
	}
	for name := range s.vals {
		if s.of[name].name == "" {
			t.Errorf("%s isn't in the table", name)
		}
	}
	if _, ok := s.vals["offload_quota_limit_bytes"]["gone"]; ok {
		t.Error("an account that was removed is told")
	}
	if v := s.vals["offload_worker_units"]["capacity"]; v.value != 0 {
		t.Errorf("a silent worker counts for %v", v.value)
	}
	m := New(Config{})
	fleet := prometheus.NewRegistry()
	fleet.MustRegister(s)
	problems, err := testutil.GatherAndLint(prometheus.Gatherers{m.own, fleet})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// However many accounts, remotes and versions people make up, a metric has a bounded number of series, and none is lost of
// what they add up to.
func TestLabelsAreBounded(t *testing.T) {
	s := newScrape()
	var accounts, limits []quota.Status
	var workers []jobs.WorkerInfo
	var remotes []RemoteState
	for i := range 300 {
		name := fmt.Sprintf("%03d", i)
		accounts = append(accounts, quota.Status{Account: name, Used: 1, Limit: 2})
		limits = append(limits, quota.Status{Subject: quota.RemoteSubject(name, quota.PerDay), Used: 1, Limit: 2})
		workers = append(workers, jobs.WorkerInfo{Version: name, State: jobs.WorkerIdle})
		remotes = append(remotes, RemoteState{Name: name, Storage: &transfer.Storage{Used: 1}})
	}
	s.quotas(append(accounts, quota.Status{Account: other, Used: 1, Limit: 2}), limits)
	s.workers(workers)
	s.remotes(remotes)
	for name, most := range map[string]int{"offload_quota_used_bytes": namesMost + 1, "offload_remote_used_bytes": namesMost + 1,
		"offload_workers": 5 * (versionsMost + 1), "offload_remote_storage_used_bytes": namesMost} {
		if n := len(s.vals[name]); n > most || n < versionsMost {
			t.Errorf("%s has %d series, at most %d are wanted", name, n, most)
		}
	}
	sum := 0.0
	for _, v := range s.vals["offload_quota_used_bytes"] {
		sum += v.value
	}
	if sum != 301 {
		t.Errorf("the accounts used %v, want 301", sum)
	}
}

// Whatever a name holds, the answer can be read, and says it.
func TestNamesThatBreakLines(t *testing.T) {
	s := newScrape()
	bad := "a\"b\\c\nd\xff{}"
	s.quotas([]quota.Status{{Account: bad, Used: 7}}, nil)
	fleet := prometheus.NewRegistry()
	fleet.MustRegister(s)
	var text strings.Builder
	found, err := fleet.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	if got := parse(t, strings.NewReader(text.String())); got["offload_quota_used_bytes{account=a\"b\\c\nd\uFFFD{}}"] != 7 {
		t.Errorf("%v", slices.Collect(maps.Keys(got)))
	}
}

// A scrape with a hundred accounts, as a Prometheus makes every 15 seconds.
func BenchmarkScrape(b *testing.B) {
	w := newWorld(b)
	ledger := w.ledger
	for i := range 100 {
		free := "free"
		if _, err := ledger.Set(b.Context(), fmt.Sprintf("account%03d", i), quota.Change{Plan: &free}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		w.get()
	}
}
