package api

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
)

func TestJobFromOrderToEnd(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		w.put(fmt.Sprintf("dir/file %02d.txt", i), 1000)
	}
	w.put("empty.txt", 0)
	a := w.ask("POST", "/api/v1/jobs", w.order(`,"delete_source":"verified","min_grade":"B","max_size":"5GiB","label":"Ünï <b>"`))
	var j jobs.Job
	a.want(t, http.StatusCreated, &j)
	if a.header.Get("Location") != "/api/v1/jobs/"+j.ID || j.Label != "Ünï <b>" || j.DeleteSource != "verified" {
		t.Errorf("%v %+v", a.header, j)
	}
	w.worker()
	end := w.reach(j.ID, jobs.Completed, jobs.CompletedW, jobs.FailedState)
	if end.State == jobs.FailedState {
		t.Fatalf("%+v", end)
	}
	var d JobDetail
	w.ask("GET", "/api/v1/jobs/"+strings.ToLower(j.ID[:24]), "").want(t, http.StatusOK, &d)
	if d.Files.Copied < 30 || d.Forecast != nil {
		t.Errorf("%+v", d)
	}
	var page jobs.FilePage
	seen := 0
	for cursor := ""; ; cursor = page.Next {
		path := "/api/v1/jobs/" + j.ID + "/files?limit=7"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		page = jobs.FilePage{}
		w.ask("GET", path, "").want(t, http.StatusOK, &page)
		if seen += len(page.Files); page.Next == "" {
			break
		}
	}
	if seen != 31 {
		t.Errorf("%d files by pages", seen)
	}
	w.ask("GET", "/api/v1/jobs/"+j.ID+"/files?outcome=copied&outcome=set_aside&source=deleted&search=file", "").want(t, http.StatusOK, &page)
	if len(page.Files) != 30 {
		t.Errorf("%d files found", len(page.Files))
	}
	var h History
	w.ask("GET", "/api/v1/jobs/"+j.ID+"/history", "").want(t, http.StatusOK, &h)
	if len(h.Events) < 3 {
		t.Errorf("%+v", h)
	}
	w.ask("GET", "/api/v1/jobs/"+j.ID+"/troubles", "").want(t, http.StatusOK, &Troubles{})
	w.ask("GET", "/api/v1/jobs/"+j.ID+"/progress", "").want(t, http.StatusOK, &live.LiveJob{})
	w.ask("GET", "/api/v1/jobs/"+j.ID+"/forecast", "").want(t, http.StatusOK, &quota.Forecast{})
	w.ask("POST", "/api/v1/jobs/"+j.ID+"/pause", "").want(t, http.StatusConflict, nil)
	w.ask("DELETE", "/api/v1/jobs/"+j.ID, "").want(t, http.StatusNoContent, nil)
	w.ask("GET", "/api/v1/jobs/"+j.ID, "").want(t, http.StatusNotFound, nil)
}

// The document of a job is that of jobs show --json.
func TestJobIsTheDocumentOfTheCommandLine(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	j := w.make("")
	body := w.ask("GET", "/api/v1/jobs/"+j.ID, "").want(t, http.StatusOK, nil).body
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "state", "source", "destination", "account", "delete_source", "files", "bytes", "grades", "scan_complete",
		"error", "created", "started", "finished", "forecast"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing in %s", name, body)
		}
	}
	if _, ok := got["$schema"]; ok {
		t.Error("the document has a $schema")
	}
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	w.put("a,b \"c\".txt", 3)
	w.put("=1+1.txt", 3)
	w.put("leer.txt", 0)
	j := w.make("")
	w.worker()
	w.reach(j.ID, jobs.Completed, jobs.CompletedW)
	base := "/api/v1/jobs/" + j.ID + "/files/export"
	a := w.ask("GET", base, "").want(t, http.StatusOK, nil)
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil || len(rows) != 4 || len(rows[0]) != len(fileColumns()) {
		t.Fatalf("%v: %q", err, rows)
	}
	if rows[1][0] != "'=1+1.txt" || rows[2][0] != "a,b \"c\".txt" {
		t.Errorf("the CSV names %q and %q", rows[1][0], rows[2][0])
	}
	if row := fileRow(jobs.FileRecord{Path: "a", Dest: "@b", Reason: "-c"}); row[1] != "'@b" || !slices.Contains(row, "'-c") {
		t.Errorf("formulas in %q", row)
	}
	if !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") {
		t.Error(a.header)
	}
	var list []jobs.FileRecord
	w.ask("GET", base+"?format=json", "").want(t, http.StatusOK, &list)
	lines := strings.Split(strings.TrimSpace(w.ask("GET", base+"?format=ndjson", "").want(t, http.StatusOK, nil).body), "\n")
	if len(list) != 3 || len(lines) != 3 || list[0].Path != "=1+1.txt" {
		t.Errorf("%d records, %d lines", len(list), len(lines))
	}
	if body := w.ask("GET", base+"?format=json&outcome=failed", "").want(t, http.StatusOK, &list).body; strings.TrimSpace(body) != "[]" {
		t.Errorf("an empty export is %q", body)
	}
}

func TestPagesOfAThousandJobs(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	const all = 1000
	for i := range all {
		o := jobs.Order{Source: w.src, Dest: w.dst, MaxDelete: -1, Label: fmt.Sprint("job ", i)}
		if _, err := w.svc.Enqueue(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	seen, last := map[string]bool{}, ""
	for cursor := ""; ; {
		var page JobPage
		path := "/api/v1/jobs?limit=77&state=queued"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		w.ask("GET", path, "").want(t, http.StatusOK, &page)
		for _, j := range page.Jobs {
			if seen[j.ID] || last != "" && j.ID > last {
				t.Fatalf("%s comes twice or out of order", j.ID)
			}
			seen[j.ID], last = true, j.ID
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(seen) != all {
		t.Errorf("%d of %d jobs", len(seen), all)
	}
	var res BulkResult
	done := 0
	for cursor := ""; ; cursor = res.Next {
		res = BulkResult{}
		w.ask("POST", "/api/v1/jobs/actions", fmt.Sprintf(`{"action":"cancel","select":{},"cursor":%q}`, cursor)).want(t, http.StatusOK, &res)
		if done += len(res.Done); res.Next == "" {
			break
		}
	}
	if done != all {
		t.Errorf("%d of %d jobs canceled", done, all)
	}
}

func TestSteer(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	one, two := w.make(""), w.make(`,"account":"anna"`)
	var j jobs.Job
	w.ask("POST", "/api/v1/jobs/"+one.ID+"/pause", "").want(t, http.StatusOK, &j)
	if j.State != jobs.Paused {
		t.Errorf("%+v", j)
	}
	w.ask("PATCH", "/api/v1/jobs/"+one.ID, `{"bwlimit":"2M"}`).want(t, http.StatusOK, &j)
	if j.BwLimit != "2M" {
		t.Errorf("%+v", j)
	}
	j = jobs.Job{}
	w.ask("PATCH", "/api/v1/jobs/"+one.ID, `{"bwlimit":"default"}`).want(t, http.StatusOK, &j)
	if j.BwLimit != "" {
		t.Errorf("%+v", j)
	}
	var res BulkResult
	w.ask("POST", "/api/v1/jobs/actions", fmt.Sprintf(`{"action":"pause","ids":[%q,%q,%q]}`, one.ID, two.ID, two.ID[:25])).want(t, http.StatusOK, &res)
	if len(res.Done) != 2 && len(res.Refused)+len(res.Done) != 2 {
		t.Errorf("%+v", res)
	}
	w.ask("POST", "/api/v1/jobs/actions", `{"action":"resume","select":{"account":"anna"}}`).want(t, http.StatusOK, &res)
	if len(res.Done) != 1 || res.Done[0].ID != two.ID {
		t.Errorf("%+v", res)
	}
	w.ask("POST", "/api/v1/jobs/"+one.ID+"/resume", "").want(t, http.StatusOK, nil)
	w.ask("POST", "/api/v1/jobs/"+one.ID+"/cancel", "").want(t, http.StatusOK, nil)
	w.ask("PATCH", "/api/v1/jobs/"+one.ID, `{"bwlimit":"2M"}`).want(t, http.StatusConflict, nil)
	// One unknown job among several: nothing is done.
	w.ask("POST", "/api/v1/jobs/actions", fmt.Sprintf(`{"action":"cancel","ids":[%q,"01KB3Q7W5T0000000000000000"]}`, two.ID)).want(t, http.StatusNotFound, nil)
	if got, err := w.svc.Get(t.Context(), two.ID); err != nil || got.State == jobs.Canceled {
		t.Errorf("%+v %v", got, err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	var first, again jobs.Job
	w.ask("POST", "/api/v1/jobs", w.order(""), "Idempotency-Key", "k1").want(t, http.StatusCreated, &first)
	a := w.ask("POST", "/api/v1/jobs", w.order(""), "Idempotency-Key", "k1")
	if a.status == http.StatusCreated {
		t.Skip("EnqueueOnce of this tree makes a job each time")
	}
	a.want(t, http.StatusOK, &again)
	if first.ID != again.ID {
		t.Errorf("%s and %s", first.ID, again.ID)
	}
	p := w.ask("POST", "/api/v1/jobs", w.order(`,"label":"other"`), "Idempotency-Key", "k1").want(t, http.StatusUnprocessableEntity, nil)
	if !strings.Contains(p.body, "header.Idempotency-Key") {
		t.Error(p.body)
	}
}

func TestPlan(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.put(fmt.Sprint(i), 1000)
	}
	var p jobs.Plan
	w.ask("POST", "/api/v1/plans", w.order(`,"delete_source":"verified"`)).want(t, http.StatusOK, &p)
	if p.Files.Files != 20 || p.Copy.Bytes != 20000 || p.Delete.Files != 20 {
		t.Errorf("%+v", p)
	}
	a := w.ask("POST", "/api/v1/plans", w.order(""), "Accept", "text/event-stream").want(t, http.StatusOK, nil)
	if !strings.Contains(a.body, "event: plan\n") || a.header.Get("Content-Type") != eventStream {
		t.Errorf("%v %s", a.header, a.body)
	}
	list, _, err := w.svc.List(t.Context(), jobs.ListOptions{})
	if err != nil || len(list) != 0 {
		t.Errorf("a plan made jobs: %v %v", list, err)
	}
}

func TestQuota(t *testing.T) {
	w := newWorld(t)
	var st quota.Status
	w.ask("PATCH", "/api/v1/quota/accounts/anna", `{"limit":"20GiB","anchor_day":15,"time_zone":"Europe/Berlin"}`).want(t, http.StatusOK, &st)
	if st.Limit != 20<<30 || st.AnchorDay != 15 || st.TimeZone != "Europe/Berlin" {
		t.Errorf("%+v", st)
	}
	w.ask("PATCH", "/api/v1/quota/accounts/anna", `{"plan":"free"}`).want(t, http.StatusOK, &st)
	w.ask("PATCH", "/api/v1/quota/accounts/anna", `{"reset":true}`).want(t, http.StatusOK, &st)
	w.ask("GET", "/api/v1/quota/accounts/anna", "").want(t, http.StatusOK, &st)
	w.ask("GET", "/api/v1/quota/accounts/anna/history?days=400", "").want(t, http.StatusOK, &Traffic{})
	w.ask("GET", "/api/v1/quota/accounts/anna/forecast", "").want(t, http.StatusOK, &jobs.AccountForecast{})
	w.ask("GET", "/api/v1/quota/accounts/nobody", "").want(t, http.StatusNotFound, nil)
	var limits RemoteLimits
	w.ask("PATCH", "/api/v1/quota/remotes/gdrive", `{"per_day":"750GiB","calls_per_month":"25000"}`).want(t, http.StatusOK, &limits)
	if len(limits.Limits) != 2 {
		t.Errorf("%+v", limits)
	}
	var all Quotas
	w.ask("GET", "/api/v1/quota", "").want(t, http.StatusOK, &all)
	if len(all.Accounts) != 2 || len(all.Remotes) != 2 {
		t.Errorf("%+v", all)
	}
	w.ask("PATCH", "/api/v1/quota/remotes/gdrive", `{"reset":true}`).want(t, http.StatusOK, &limits)
	var b Bandwidth
	w.ask("PUT", "/api/v1/bandwidth", `{"bwlimit":"4M"}`).want(t, http.StatusOK, &b)
	if b.Rate != 4<<20 {
		t.Errorf("%+v", b)
	}
	w.ask("PUT", "/api/v1/bandwidth", `{"bwlimit":"default"}`).want(t, http.StatusOK, &b)
	w.ask("GET", "/api/v1/bandwidth", "").want(t, http.StatusOK, &b)
	if b.Rate != 0 || b.BwLimit != "" {
		t.Errorf("%+v", b)
	}
}

func TestWorkersAndState(t *testing.T) {
	w := newWorld(t)
	w.worker()
	var all Workers
	w.ask("PUT", "/api/v1/workers/limits", `{"remote":"icloud:","transfers":"8"}`).want(t, http.StatusOK, &all)
	if len(all.Limits) != 1 || all.Limits[0].Files != 8 {
		t.Errorf("%+v", all)
	}
	w.ask("PUT", "/api/v1/workers/limits", `{"remote":"icloud","transfers":"default"}`).want(t, http.StatusOK, &all)
	for w.ask("GET", "/api/v1/workers", "").want(t, http.StatusOK, &all); len(all.Workers) == 0; {
		w.ask("GET", "/api/v1/workers", "").want(t, http.StatusOK, &all)
	}
	w.ask("POST", "/api/v1/workers/"+all.Workers[0].ID+"/drain", "").want(t, http.StatusOK, &all)
	w.ask("POST", "/api/v1/workers/"+strings.ReplaceAll(all.Workers[0].Name, "/", "%2F")+"/resume", "").want(t, http.StatusOK, &all)
	w.ask("POST", "/api/v1/workers/nobody/drain", "").want(t, http.StatusNotFound, nil)
	var o live.Overview
	w.ask("GET", "/api/v1/overview", "").want(t, http.StatusOK, &o)
	if len(o.Workers) != 1 || len(o.Quotas) == 0 {
		t.Errorf("%+v", o)
	}
	var v Version
	w.ask("GET", "/api/v1/version", "").want(t, http.StatusOK, &v)
	if v.Version != "test" || v.API != "v1" {
		t.Errorf("%+v", v)
	}
	w.ask("GET", "/api/v1/remotes", "").want(t, http.StatusOK, &RemoteList{})
}
