package pages

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/internal/jobstest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	_ "offload/transfer/xtest" // the local backend
)

// gaugesWorld are pages on an embedded store.
type gaugesWorld struct {
	t      testing.TB
	jobs   *jobs.Service
	ledger *quota.Ledger
	store  *store.Store
	pages  *Pages
}

func newGaugesWorld(t testing.TB) *gaugesWorld {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, ledger, s := jobstest.Open(t, store.Options{Log: log}, quota.Config{}, jobs.Config{Log: log, Version: "1.2.3"})
	return &gaugesWorld{t, s, ledger, st, New(Config{Jobs: s, Ledger: ledger, Hub: live.New(s, ledger, log), Log: log, Version: "1.2.3"})}
}

// ask answers a request of somebody; form nil is a GET.
func (w *gaugesWorld) ask(role guard.Role, path string, form url.Values) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if form != nil {
		r = httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	rec := httptest.NewRecorder()
	w.pages.ServeHTTP(rec, r.WithContext(guard.As(r.Context(), guard.Person{Name: "anna", Role: role})))
	if t, ok := w.t.(*testing.T); ok && strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") {
		safe(t, rec.Body.String())
	}
	return rec
}

// page is a page that must be there.
func (w *gaugesWorld) page(role guard.Role, path string, wants ...string) string {
	w.t.Helper()
	rec := w.ask(role, path, nil)
	body := rec.Body.String()
	if rec.Code != http.StatusOK {
		w.t.Fatalf("%s: status %d: %s", path, rec.Code, body)
	}
	for _, want := range wants {
		if !strings.Contains(body, want) {
			w.t.Errorf("%s doesn't say %q:\n%s", path, want, body)
		}
	}
	return body
}

// spend books traffic of an account.
func (w *gaugesWorld) spend(subject string, used, wasted int64) {
	w.t.Helper()
	p := w.ledger.Pool(subject, "test")
	g, err := p.Reserve(w.t.Context(), used)
	if err == nil {
		err = g.Charge(w.t.Context(), used)
	}
	if err == nil {
		err = g.Settle(w.t.Context(), used, wasted)
	}
	if err == nil {
		err = p.Close(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestQuotaPage(t *testing.T) {
	w := newGaugesWorld(t)
	body := w.page(guard.Operator, "/quota", "Account <bdi>default</bdi>", "free: 5.0 GiB a month", "No unfinished job.", "Nothing was moved in the last 30 days",
		"No remote has a limit", "Nothing limits what all jobs", `action="/quota/account"`)
	if strings.Contains(body, "<caption>Accounts") {
		t.Error("one account alone has a list")
	}
	w.spend("default", 4<<30, 1<<30)
	w.page(guard.Operator, "/quota", "4.0 GiB used (80 %)", "80 % reached on", "1.0 GiB left", `<rect class="wasted"`, "4.0 GiB, 1.0 GiB of it wasted",
		"the whole month&#39;s allowance: 5.0 GiB", "(running)", "UTC, in")
	viewer := w.page(guard.Viewer, "/quota", "4.0 GiB used")
	if strings.Contains(viewer, `method="post" action="/quota`) {
		t.Error("a viewer sees forms")
	}
	csv := w.ask(guard.Viewer, "/quota/history.csv?account=default", nil)
	if csv.Code != 200 || !strings.HasPrefix(csv.Body.String(), "date,used,wasted,busy_seconds\r\n") || !strings.Contains(csv.Body.String(), ",4294967296,1073741824,") {
		t.Errorf("%d %q", csv.Code, csv.Body)
	}
}

// What a form sets holds; what it can't is refused beside the field and changes nothing.
func TestQuotaForms(t *testing.T) {
	w := newGaugesWorld(t)
	status := func(subject string) quota.Status {
		st, err := w.ledger.Status(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	set := w.ask(guard.Operator, "/quota/account", url.Values{"account": {"anna"}, "plan": {"plus"}, "anchor-day": {"15"}, "time-zone": {"Europe/Berlin"}})
	if st := status("anna"); set.Code != http.StatusSeeOther || st.Plan != "plus" || st.AnchorDay != 15 || st.TimeZone != "Europe/Berlin" {
		t.Fatalf("%d %+v", set.Code, st)
	}
	w.page(guard.Operator, set.Header().Get("Location"), "The quota is set.", "Account <bdi>anna</bdi>", "Europe/Berlin", "day 15 of each month", "1.0 TiB a month")
	w.ask(guard.Operator, "/quota/account", url.Values{"account": {"anna"}, "limit": {"20GiB"}})
	if st := status("anna"); !st.OwnLimit || st.Limit != 20<<30 {
		t.Errorf("%+v", st)
	}
	w.ask(guard.Operator, "/quota/account", url.Values{"account": {"anna"}, "reset": {"1"}})
	if st := status("anna"); st.OwnLimit || st.Plan != "free" || st.AnchorDay != 1 {
		t.Errorf("%+v", st)
	}
	for _, ok := range []struct{ measure, limit, subject string }{
		{"per-day", "750GiB", quota.RemoteSubject("gdrive", quota.PerDay)}, {"calls-per-month", "25000", quota.RemoteSubject("gdrive", quota.Calls)}} {
		if rec := w.ask(guard.Operator, "/quota/remote", url.Values{"remote": {"gdrive:"}, "measure": {ok.measure}, "limit": {ok.limit}}); rec.Code != http.StatusSeeOther {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
	w.page(guard.Operator, "/quota?remote=gdrive", "750 GiB a day", "25000 API calls a month", "of remote <bdi>gdrive</bdi>")
	w.ask(guard.Operator, "/quota/remote", url.Values{"remote": {"gdrive"}, "measure": {"per-day"}, "reset": {"1"}})
	if subjects, err := w.ledger.RemoteSubjects(t.Context()); err != nil || len(subjects) != 1 {
		t.Errorf("%v, %v", subjects, err)
	}
	if rec := w.ask(guard.Operator, "/quota/bandwidth", url.Values{"bwlimit": {"4M"}}); rec.Code != http.StatusSeeOther {
		t.Errorf("%d", rec.Code)
	}
	w.page(guard.Viewer, "/quota", "<code>4M</code>", "4.0 MiB/s now")
	before, limits := status("anna"), len(w.limits())
	for _, bad := range []struct {
		path string
		form url.Values
		says string
	}{
		{"/quota/account", url.Values{"account": {"anna"}}, "nothing to set"},
		{"/quota/account", url.Values{"account": {hostile}, "plan": {"plus"}}, "no account name"},
		{"/quota/account", url.Values{"account": {""}, "plan": {"plus"}}, "no account name"},
		{"/quota/account", url.Values{"account": {"../anna"}, "plan": {"plus"}}, "no account name"},
		{"/quota/account", url.Values{"account": {"anna"}, "plan": {hostile}}, "plan"},
		{"/quota/account", url.Values{"account": {"anna"}, "limit": {"-5"}}, "write a size like 20GiB"},
		{"/quota/account", url.Values{"account": {"anna"}, "limit": {strings.Repeat("9", 4000)}}, "write a size like 20GiB"},
		{"/quota/account", url.Values{"account": {"anna"}, "anchor-day": {"32"}}, "from 1 to 31"},
		{"/quota/account", url.Values{"account": {"anna"}, "time-zone": {"../../etc/passwd"}}, "no time zone"},
		{"/quota/account", url.Values{"account": {"anna"}, "time-zone": {hostile}}, "no time zone"},
		{"/quota/remote", url.Values{"remote": {"a/b"}, "measure": {"per-day"}, "limit": {"1G"}}, "no name of a remote"},
		{"/quota/remote", url.Values{"remote": {"box"}, "measure": {"per-year"}, "limit": {"1G"}}, "no such limit"},
		{"/quota/remote", url.Values{"remote": {"box"}, "measure": {"per-day"}, "limit": {"much"}}, "750GiB"},
		{"/quota/bandwidth", url.Values{"bwlimit": {"0"}}, "stop everything"},
		{"/quota/bandwidth", url.Values{"bwlimit": {""}}, "bandwidth"},
		{"/quota/bandwidth", url.Values{"bwlimit": {hostile}}, "write a rate like 4M"},
	} {
		rec := w.ask(guard.Operator, bad.path, bad.form)
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), bad.says) || !strings.Contains(rec.Body.String(), "Nothing was changed") {
			t.Errorf("%s %v: status %d, want 400 and %q: %s", bad.path, bad.form, rec.Code, bad.says, rec.Body)
		}
	}
	if after := status("anna"); fmt.Sprint(after) != fmt.Sprint(before) || len(w.limits()) != limits {
		t.Errorf("%+v became %+v", before, after)
	}
	for _, bad := range []string{"/quota?account=" + url.QueryEscape(hostile), "/quota?remote=a%2Fb", "/quota/history.csv?days=0", "/quota/history.csv?account=..%2Fx", "/quota/history.csv?days=401"} {
		if rec := w.ask(guard.Viewer, bad, nil); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, rec.Code)
		}
	}
}

func (w *gaugesWorld) limits() []string {
	all, err := w.ledger.RemoteSubjects(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestWorkersPage(t *testing.T) {
	w := newGaugesWorld(t)
	w.page(guard.Operator, "/workers", "No worker is running", "offload worker", "No remote and no account has a limit")
	soft, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.jobs.RunWorker(soft, t.Context(), jobs.WorkerOptions{Batches: 3}) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var id string
	jobstest.Until(t, "the worker is listed", func() bool {
		all, err := w.jobs.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 {
			id = all[0].ID
		}
		return id != ""
	})
	w.page(guard.Operator, "/workers", "1 worker", "Idle", "0 of 3", "1.2.3", "Drain")
	if body := w.page(guard.Viewer, "/workers", "Idle"); strings.Contains(body, `action="/workers`) {
		t.Error("a viewer sees forms")
	}
	if rec := w.ask(guard.Operator, "/workers/drain", url.Values{"worker": {id}}); rec.Code != http.StatusSeeOther {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	jobstest.Until(t, "it is drained", func() bool { return strings.Contains(w.page(guard.Operator, "/workers"), "Resume") })
	if rec := w.ask(guard.Operator, "/workers/resume", url.Values{"worker": {id}}); rec.Code != http.StatusSeeOther {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	jobstest.Until(t, "it is idle", func() bool { return strings.Contains(w.page(guard.Operator, "/workers"), `state good`) })
	for _, bad := range []string{"", "nobody", hostile} {
		if rec := w.ask(guard.Operator, "/workers/drain", url.Values{"worker": {bad}}); rec.Code != http.StatusNotFound {
			t.Errorf("%q: %d", bad, rec.Code)
		}
	}
	for of, name := range map[string]string{"remote": "icloud:", "account": "anna"} {
		if rec := w.ask(guard.Operator, "/workers/files", url.Values{"of": {of}, "name": {name}, "transfers": {"8"}}); rec.Code != http.StatusSeeOther {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
	w.page(guard.Operator, "/workers", "icloud:", "account anna", "a command")
	for _, bad := range []url.Values{{"of": {"remote"}, "name": {"icloud"}, "transfers": {"0"}}, {"of": {"remote"}, "name": {"a/b"}, "transfers": {"8"}},
		{"of": {"account"}, "name": {hostile}, "transfers": {"8"}}, {"of": {"remote"}, "name": {"icloud"}, "transfers": {"10001"}}, {}} {
		if rec := w.ask(guard.Operator, "/workers/files", bad); rec.Code != http.StatusBadRequest {
			t.Errorf("%v: %d", bad, rec.Code)
		}
	}
	w.ask(guard.Operator, "/workers/files", url.Values{"of": {"account"}, "name": {"anna"}, "reset": {"1"}})
	if all, err := w.jobs.FileLimits(t.Context()); err != nil || len(all) != 1 || all[0].Files != 8 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWorkerRows(t *testing.T) {
	now := time.Now()
	if word, kind, _ := workerWords(jobs.WorkerInfo{State: jobs.WorkerSilent, Heard: now.Add(-20 * time.Minute)}, now); word != "Silent for 20\u00a0m" || kind != "bad" {
		t.Errorf("%s, %s", word, kind)
	}
	p := bare(t)
	started := now.Add(-time.Hour)
	page := workersPage{Mine: "2", Versions: []string{"1", "2"}, Workers: []workerRow{{WorkerInfo: jobs.WorkerInfo{Name: hostile, ID: `"><b>:x:1:A`, Host: hostile, Version: hostile,
		Started: &started, State: jobs.WorkerWorking}, Twin: true, Word: "Working", Kind: "run", Held: []heldJob{{"01J", 2}}, More: 3, Older: true}}, More: 7,
		Limits: []jobs.FileLimit{{Remote: `"><script>`, Files: 3, Set: true}, {Account: hostile}}}
	rec := shown(t, guard.Person{Role: guard.Operator}, func(w http.ResponseWriter, r *http.Request) { p.render(w, r, 200, "workers", page) })
	for _, want := range []string{"different versions", `href="/jobs/01J"`, "and 3 more", "7 more that aren't shown", "no limit", "&lt;script&gt;"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%q is missing: %s", want, rec.Body)
		}
	}
}

func TestQueuePage(t *testing.T) {
	w := newGaugesWorld(t)
	w.page(guard.Viewer, "/queue", "high", "normal", "low", "none: every job has begun", "embedded, in this machine", "noeviction")
	if _, err := w.jobs.Enqueue(t.Context(), jobs.Order{Source: t.TempDir(), Dest: t.TempDir() + "/dst", MaxDelete: -1}); err != nil {
		t.Fatal(err)
	}
	w.page(guard.Viewer, "/queue", "no worker has begun with it yet", "Lane normal: 1 account")
	p, old := bare(t), time.Now().Add(-time.Hour)
	facts := jobs.QueueFacts{At: time.Now(), OldestQueued: &old, More: 3, Queues: []jobs.QueueInfo{
		{Name: "high", Lane: jobs.High, Version: 1, Archived: 2, Paused: true, Failed: 4, Oldest: &old, Accounts: 2, Ring: []jobs.RingSeat{{Account: hostile, Jobs: 3, Behind: 1 << 20}}},
		{Name: hostile}, {Name: "run-01J", Job: "01J"}},
		Store: []jobs.StoreNode{{Address: hostile, Version: "7.2", Memory: 95, MemoryMax: 100, Policy: "allkeys-lru", AppendOnly: "no", WriteFailed: true, Replicas: 2, Lag: 3, Clients: -1}}}
	rec := shown(t, guard.Person{}, func(w http.ResponseWriter, r *http.Request) {
		p.render(w, r, 200, "queue", queuePage{QueueFacts: facts, Faults: queueFaults(facts)})
	})
	for _, want := range []string{"has given them up", "paused by a tool", "allkeys-lru", "appendonly yes", "disk is full", "nine tenths", "3 s ago", `href="/jobs/01J"`, "3 more"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%q is missing: %s", want, rec.Body)
		}
	}
}

// While the store is away the pages say so, and no form does anything.
func TestGaugesWithoutStore(t *testing.T) {
	w := newGaugesWorld(t)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/quota", "/workers", "/queue", "/quota/history.csv"} {
		if rec := w.ask(guard.Operator, path, nil); rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "The store doesn&#39;t answer") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if rec := w.ask(guard.Operator, "/quota/account", url.Values{"account": {"anna"}, "plan": {"plus"}}); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", rec.Code)
	}
}

func TestChart(t *testing.T) {
	berlin := zone("Europe/Berlin")
	now := time.Date(2026, 4, 2, 0, 30, 0, 0, berlin) // a few days after clocks were put forward
	days := []quota.Day{{Date: "2026-03-03", Used: 1}, {Date: "2026-04-01", Used: 200, Wasted: 50}, {Date: "2026-04-02", Used: 100}, {Date: "2025-01-01", Used: 1 << 40}}
	c := chartOf(days, now, 30, 400, "the limit of a day")
	if len(c.Days) != 30 || c.Days[29].Date != "2026-04-02" || c.Days[0].Date != "2026-03-04" || c.Empty {
		t.Fatalf("%+v", c)
	}
	for i := range 29 {
		if c.Days[i].Date >= c.Days[i+1].Date {
			t.Errorf("%s before %s", c.Days[i].Date, c.Days[i+1].Date)
		}
	}
	// The line is the top; the bar of the 1st is half as high, a quarter of it wasted.
	if d := c.Days[28]; c.Line != 0 || d.WastedY != 50 || d.WH != 12.5 || d.Y != 62.5 || d.Height != 37.5 {
		t.Errorf("line %v, %+v", c.Line, d)
	}
	if far := chartOf(days, now, 30, 1<<40, "far"); far.Line >= 0 || far.LineText != "" {
		t.Errorf("a line far beyond all bars is drawn: %+v", far.Line)
	}
	if none := chartOf(nil, now, 30, 0, ""); !none.Empty || none.Days[3].Height != 0 {
		t.Errorf("%+v", none.Days[3])
	}
}

func TestPeriodSums(t *testing.T) {
	st := quota.Status{AnchorDay: 15, TimeZone: "Europe/Berlin", Period: quota.PeriodAt(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), 15, zone("Europe/Berlin"))}
	got := periodSums([]quota.Day{{Date: "2026-10-14", Used: 1}, {Date: "2026-10-15", Used: 2}, {Date: "2026-11-14", Used: 4, Wasted: 1}, {Date: "2026-11-15", Used: 8}, {Date: "odd"}}, st)
	if len(got) != 3 || got[0].Used != 8 || !got[0].Running || got[0].Start != "2026-11-15" || got[0].End != "2026-12-14" || got[1].Used != 6 || got[1].Wasted != 1 || got[2].Used != 1 {
		t.Errorf("%+v", got)
	}
}
