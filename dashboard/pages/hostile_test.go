package pages

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// nasty is a job of which everything that others may write is hostile.
func nasty(state jobs.State, reason jobs.Reason) jobs.Progress {
	at := time.Now().Add(-time.Hour)
	later := time.Now().Add(50 * time.Hour)
	room := &transfer.Storage{Total: 5 << 30, Used: 4 << 30, ByKind: map[string]int64{"photos": 1 << 30, "backup": 1 << 30, hostile: 5}}
	return jobs.Progress{
		Job: jobs.Job{ID: "01KB3Q7W5T0000000000000000", State: state, Reason: reason, Until: &later, Source: hostile + ":x", Dest: hostile,
			Account: hostile, Label: hostile, DeleteSource: transfer.DeleteVerified, BwLimit: hostile, Error: hostile, Trash: true,
			Files: jobs.Files{Found: 1000, Copied: 500, Skipped: 3, SetAside: 4, Excluded: 5, Failed: 6, Deleted: 400, Purged: 3},
			Bytes: jobs.Bytes{Found: 1 << 40, Copied: 1 << 39, Wasted: 5, Deleted: 1 << 38}, Grades: jobs.Grades{A: 1, B: 2, C: 3, D: 4},
			ScanComplete: true, Storage: &jobs.JobStorage{Before: room, AfterTrash: room, After: room}, Created: at, Started: &at, Finished: &at,
			Outages:  []jobs.Outage{{Remote: hostile, Since: at, Why: hostile}},
			Retrying: &jobs.Retrying{Files: 2, Path: hostile, Attempt: 3, Of: 8, Why: hostile},
			Order: jobs.Order{Source: hostile, Dest: hostile, Account: hostile, Label: hostile, BwLimit: hostile, Window: hostile, MaxDelete: 5,
				Options: transfer.Options{DeleteSource: transfer.DeleteVerified, Include: []string{hostile}, Exclude: []string{hostile}, FilesFrom: []string{hostile},
					Hold: time.Hour, PurgeTrash: true, DeletePackages: true, MinAge: time.Hour, MaxSize: 5, Order: transfer.OrderLargest}}},
		Rate: 1e6, Current: []string{hostile, hostile}, Moving: 5, Scanned: 7, Workers: 2}
}

func TestHostileData(t *testing.T) {
	p := bare(t)
	p.cfg.RemoteStates = func(context.Context) []RemoteState {
		return []RemoteState{{Name: hostile, Kind: hostile, Days: 0, DaysTold: true, Soon: true, Seen: time.Now(),
			Storage: &transfer.Storage{Total: 100, Used: 99, ByKind: map[string]int64{"photos": 50, hostile: 3}}}}
	}
	states := []struct {
		state  jobs.State
		reason jobs.Reason
	}{{jobs.Queued, ""}, {jobs.Scanning, ""}, {jobs.Transferring, ""}, {jobs.Finishing, ""}, {jobs.Paused, ""}, {jobs.Waiting, jobs.ReasonQuota},
		{jobs.Waiting, jobs.ReasonWindow}, {jobs.Waiting, jobs.ReasonSignIn}, {jobs.Waiting, jobs.ReasonSpace}, {jobs.Waiting, jobs.ReasonHold}, {jobs.Waiting, hostile},
		{jobs.Completed, ""}, {jobs.CompletedW, ""}, {jobs.FailedState, ""}, {jobs.Canceled, ""}, {hostile, hostile}}
	s := &live.Snapshot{Overview: jobs.Overview{Counts: map[jobs.State]int64{jobs.Transferring: 3, jobs.Waiting: 4}, Waiting: map[jobs.Reason]int64{jobs.ReasonSignIn: 1},
		Workers: []jobs.WorkerInfo{{Name: hostile, State: jobs.WorkerSilent}}}, Quotas: []quota.Status{
		{Account: hostile, Plan: hostile, Limit: 100, Used: 95, Reserved: 4, Available: 1, TimeZone: hostile, Why: hostile},
		{Account: "b", Limit: -1, Available: -1, TimeZone: "UTC"}, {Account: "c", Limit: 100, Used: 100}}}
	var views []jobView
	for _, st := range states {
		one := nasty(st.state, st.reason)
		if !one.Job.State.Terminal() {
			s.Live = append(s.Live, one)
		}
		views = append(views, jobView{Progress: one, Now: time.Now(), Forecast: &quota.Forecast{Account: hostile, Plan: hostile, Bytes: 5, TimeZone: hostile, Closed: hostile}})
	}
	show := func(name string, data any) {
		t.Helper()
		for _, who := range []guard.Person{{Name: hostile, Role: guard.Operator}, {Role: guard.Viewer}} {
			w := shown(t, who, func(w http.ResponseWriter, r *http.Request) { p.render(w, r, 200, name, data) })
			if w.Code != 200 {
				t.Errorf("page %s: %d %s", name, w.Code, w.Body)
			}
		}
	}
	draw := func(page string, all []fragment) {
		t.Helper()
		for _, f := range all {
			html, err := p.draw(topic{page: page, operator: true}, f)
			if err != nil {
				t.Errorf("part %s of %s: %v", f.ID, page, err)
			}
			if f.ID != "title" {
				safe(t, html)
			}
		}
	}
	for _, away := range []error{nil, errors.New("away")} {
		s.Err = away
		home := p.home(t.Context(), s)
		home.Recent = views
		home.Storages = append(home.Storages, storageOf(hostile, *s.Live[0].Job.Storage.Before, time.Now()))
		home.Attention = append(home.Attention, failures(past{failed: []jobs.Job{views[0].Job, views[12].Job, views[13].Job, views[0].Job, views[0].Job}})...)
		show("home", home)
		draw("home", homeFragments(home))
	}
	show("jobs", jobsView{Jobs: views, Filter: jobsFilter{Search: hostile, Account: hostile, Remote: hostile, States: []string{hostile}}, States: stateChoices([]string{hostile}),
		Accounts: []string{hostile}, Next: "/jobs?q=" + hostile, First: "/jobs", Back: hostile})
	show("jobs", jobsView{})
	cancel, _ := wordsOf(jobs.VerbCancel)
	remove, _ := wordsOf(jobs.VerbRemove)
	show("bulk", bulkView{Words: remove, Jobs: views, Back: hostile, Typed: typedWord, Wrong: true})
	file := jobs.FileRecord{Path: hostile, Dest: hostile, Size: -1, Result: transfer.Failed, Source: hostile, Grade: hostile, Hash: hostile, Package: true, Code: hostile, Reason: hostile}
	for _, v := range views {
		page := jobPage{jobView: v, Options: optionWords(v.Job), Command: hostile, Storage: storageWords(v.Job), Deletion: deletionWords(v.Job), Doable: []verbWords{cancel}, Gone: true,
			History:  []eventView{{jobs.HistoryEvent{At: time.Now(), By: hostile, To: v.Job.State}, v.Job}},
			Troubles: []troubleView{troubleOf(v.Job, jobs.Trouble{Result: transfer.Failed, Code: hostile, Files: 5, Bytes: 6, Example: file}), troubleOf(v.Job, jobs.Trouble{Result: transfer.Copied, Code: hostile, Example: file})}}
		show("job", page)
		draw("job", jobFragments(page))
		show("verb", verbView{jobView: v, Words: cancel, Typed: hostile, Wrong: true})
		show("restore", restoreView{Job: v.Job, Once: hostile, Unknown: v.Job.Kind == "", Preview: jobs.RestorePreview{Warnings: []string{hostile}, Files: jobs.PlanCount{Files: 1}, Quota: jobs.PlanQuota{Account: hostile}}})
		show("files", filesView{jobView: v, Files: []fileView{{file}, {jobs.FileRecord{}}}, Query: filesQuery{hostile, hostile, hostile, hostile, hostile}, Next: hostile, First: hostile, CSV: hostile, JSON: hostile})
	}
}

// The store being away mustn't take the pages away.
func TestStoreAway(t *testing.T) {
	p := bare(t)
	s := &live.Snapshot{Err: errors.New("no answer")}
	home := p.home(t.Context(), s)
	w := shown(t, viewer, func(w http.ResponseWriter, r *http.Request) { p.render(w, r, 503, "home", home) })
	holds(t, w.Body.String(), "The store doesn&#39;t answer", "what you see here is of the last time")
	for page, f := range map[string]fragment{"home": homeFragments(home)[0], "jobs": {ID: "away", Block: "away", Data: jobsView{Away: true}}, "job": {ID: "away", Block: "away", Data: jobPage{Away: true}}} {
		if html, err := p.draw(topic{page: page}, f); f.ID != "away" || err != nil || !strings.Contains(html, "of the last time") {
			t.Errorf("the stream of %s tells that the store is away by %s %q, %v", page, f.ID, html, err)
		}
	}
	a, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/jobs", nil)
	p.refuse(a, r, errors.New("dial tcp 10.0.0.1:6379: secret"))
	if a.Code != 503 {
		t.Errorf("status %d", a.Code)
	}
	lacks(t, a.Body.String(), "secret", "6379")
}
