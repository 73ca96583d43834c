package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"offload/dashboard/live"
	"offload/internal/redistest"
	"offload/jobs"
)

// unknownJob is an ID that no job has.
const unknownJob = "01KB3Q7W5T0000000000000000"

// bad is a request that must be refused. ID stands for a job that there is.
type bad struct {
	op         string
	path, body string
	status     int
	want       string // part of the answer
}

// badRequests holds wrong input for every operation.
func badRequests() []bad {
	all := []bad{
		{"listJobs", "?limit=0", "", 422, "query.limit"},
		{"listJobs", "?limit=-1", "", 422, "query.limit"},
		{"listJobs", "?limit=501", "", 422, "query.limit"},
		{"listJobs", "?limit=99999999999999999999", "", 422, "query.limit"},
		{"listJobs", "?limit=ten", "", 422, "query.limit"},
		{"listJobs", "?limit=", "", 422, "is empty"},
		{"listJobs", "?limit=5&limit=6", "", 422, "more than once"},
		{"listJobs", "?state=lost", "", 422, "query.state"},
		{"listJobs", "?state=queued&state=", "", 422, "is empty"},
		{"listJobs", "?account=Anna", "", 422, "query.account"},
		{"listJobs", "?account=..%2Fx", "", 422, "query.account"},
		{"listJobs", "?colour=red", "", 422, "query.colour"},
		{"listJobs", "?search=" + strings.Repeat("x", 300), "", 422, "query.search"},
		{"restoreJob", "", ``, 400, "body"},
		{"restoreJob", "", `{}`, 422, "nothing to bring back"},
		{"restoreJob", "", `{"since":"yesterday"}`, 422, "body.since"},
		{"restoreJob", "", `{"include":"x"}`, 422, "body.include"},
		{"restoreJob", "", `{"conflict":"overwrite"}`, 422, "unexpected property"},
		{"restoreJob", "id=0000000000", `{}`, 404, "no such job"},
		{"createJob", "", ``, 400, "body"},
		{"createJob", "", `{`, 400, ""},
		{"createJob", "", `null`, 422, "body"},
		{"createJob", "", `[]`, 422, "body"},
		{"createJob", "", `{}`, 422, "source"},
		{"createJob", "", `{"source":"SRC"}`, 422, "destination"},
		{"createJob", "", `{"source":"","destination":"DST"}`, 422, "body.source"},
		{"createJob", "", `{"source":["SRC"],"destination":"DST"}`, 422, "body.source"},
		{"createJob", "", `{"source":"SRC","destination":"SRC"}`, 422, "body.destination"},
		{"createJob", "", `{"source":"../x","destination":"DST"}`, 422, "body.source"},
		{"createJob", "", `{"source":"nocloud:x","destination":"DST"}`, 422, "body.source"},
		{"createJob", "", `{"source":"SRC","destination":"DST","delete-source":"verified"}`, 422, "unexpected property"},
		{"createJob", "", `{"source":"SRC","destination":"DST","delete_source":"always"}`, 422, "body.delete_source"},
		{"createJob", "", `{"source":"SRC","destination":"DST","hold":"7"}`, 422, "body.hold"},
		{"createJob", "", `{"source":"SRC","destination":"DST","hold":"7d"}`, 422, "delete_source verified"},
		{"createJob", "", `{"source":"SRC","destination":"DST","hold":7}`, 422, "body.hold"},
		{"createJob", "", `{"source":"SRC","destination":"DST","max_size":"5GB"}`, 422, "body.max_size"},
		{"createJob", "", `{"source":"SRC","destination":"DST","max_size":"-1"}`, 422, "body.max_size"},
		{"createJob", "", `{"source":"SRC","destination":"DST","max_size":""}`, 422, "body.max_size"},
		{"createJob", "", `{"source":"SRC","destination":"DST","max_size":"٥GiB"}`, 422, "body.max_size"},
		{"createJob", "", `{"source":"SRC","destination":"DST","max_delete":-1}`, 422, "body.max_delete"},
		{"createJob", "", `{"source":"SRC","destination":"DST","max_delete":1.5}`, 422, "body.max_delete"},
		{"createJob", "", `{"source":"SRC","destination":"DST","transfers":257}`, 422, "body.transfers"},
		{"createJob", "", `{"source":"SRC","destination":"DST","files_from":[]}`, 422, "body.files_from"},
		{"createJob", "", `{"source":"SRC","destination":"DST","files_from":["../x"]}`, 422, "body.files_from"},
		{"createJob", "", `{"source":"SRC","destination":"DST","include":[""]}`, 422, "body.include"},
		{"createJob", "", `{"source":"SRC","destination":"DST","include":[1]}`, 422, "body.include"},
		{"createJob", "", `{"source":"SRC","destination":"DST","account":"An na"}`, 422, "body.account"},
		{"createJob", "", `{"source":"SRC","destination":"DST","window":"25:00-26:00"}`, 422, "body.window"},
		{"createJob", "", `{"source":"SRC","destination":"DST","label":"a\u0000b"}`, 422, "body.label"},
		{"createJob", "", `{"source":"SRC/none","destination":"DST"}`, 422, "body.source"},
		{"createJob", "?x=1", `{"source":"SRC","destination":"DST"}`, 422, "query.x"},
		{"makePlan", "", `{"source":"SRC","destination":"DST","hold":"x","max_size":"y"}`, 422, "body.hold"},
		{"makePlan", "", `{"source":"SRC/none","destination":"DST"}`, 422, "body.source"},
		{"listFiles", "?outcome=lost", "", 422, "query.outcome"},
		{"listFiles", "?source=gone", "", 422, "query.source"},
		{"listFiles", "?limit=1001", "", 422, "query.limit"},
		{"exportFiles", "?format=xml", "", 422, "query.format"},
		{"exportFiles", "?cursor=1", "", 422, "query.cursor"},
		{"findOffloaded", "", "", 422, "query.name"},
		{"findOffloaded", "?name=", "", 422, "is empty"},
		{"findOffloaded", "?name=*", "", 422, "every file"},
		{"findOffloaded", "?name=%20%09", "", 422, "is empty"},
		{"findOffloaded", "?name=" + strings.Repeat("x", 1001), "", 422, "query.name"},
		{"findOffloaded", "?name=a&limit=0", "", 422, "query.limit"},
		{"findOffloaded", "?name=a&limit=1001", "", 422, "query.limit"},
		{"changeJob", "", `{}`, 422, "bwlimit"},
		{"changeJob", "", `{"bwlimit":""}`, 422, "bwlimit"},
		{"changeJob", "", `{"bwlimit":"0"}`, 422, "would stop everything"},
		{"changeJob", "", `{"bwlimit":"fast"}`, 422, "body.bwlimit"},
		{"changeJob", "", `{"state":"completed"}`, 422, "unexpected property"},
		{"actOnJobs", "", `{"action":"pause"}`, 422, "either ids or select"},
		{"actOnJobs", "", `{"action":"pause","ids":[]}`, 422, "body.ids"},
		{"actOnJobs", "", `{"action":"explode","ids":["ID"]}`, 422, "body.action"},
		{"actOnJobs", "", `{"action":"pause","ids":["ID"],"select":{}}`, 422, "either ids or select"},
		{"actOnJobs", "", `{"action":"pause","ids":["..","ID"]}`, 404, "no such job"},
		{"actOnJobs", "", `{"action":"retry","select":{"states":["queued"]}}`, 422, "can't have retry done"},
		{"actOnJobs", "", `{"action":"pause","select":{"state":["queued"]}}`, 422, "unexpected property"},
		{"actOnJobs", "", `{"action":"pause","select":{"account":"Å"}}`, 422, "account"},
		{"actOnJobs", "", `{"action":"pause","ids":["ID"],"cursor":"x"}`, 422, "selection"},
		{"getAccount", "/../anna", "", 404, ""},
		{"changeAccount", "", `{}`, 422, "nothing to set"},
		{"changeAccount", "", `{"plan":"gold"}`, 422, "body.plan"},
		{"changeAccount", "", `{"limit":"5GB"}`, 422, "body.limit"},
		{"changeAccount", "", `{"limit":5}`, 422, "body.limit"},
		{"changeAccount", "", `{"anchor_day":32}`, 422, "body.anchor_day"},
		{"changeAccount", "", `{"time_zone":"Mars/Olympus"}`, 422, "body.time_zone"},
		{"changeAccount", "", `{"reset":true,"plan":"free"}`, 422, "nothing else"},
		{"getAccountHistory", "?days=401", "", 422, "query.days"},
		{"changeRemoteLimits", "", `{}`, 422, "nothing to set"},
		{"changeRemoteLimits", "", `{"per_day":"much"}`, 422, "body.per_day"},
		{"changeRemoteLimits", "", `{"calls_per_month":"-5"}`, 422, "body.calls_per_month"},
		{"setBandwidth", "", `{"bwlimit":"0"}`, 422, "would stop everything"},
		{"setBandwidth", "", `{"bwlimit":"x:y"}`, 422, "body.bwlimit"},
		{"limitFiles", "", `{"transfers":"8"}`, 422, "either remote or account"},
		{"limitFiles", "", `{"transfers":"0","account":"anna"}`, 422, "body.transfers"},
		{"limitFiles", "", `{"transfers":"8","remote":"a/b"}`, 422, "body.remote"},
		{"limitFiles", "", `{"transfers":8,"account":"anna"}`, 422, "body.transfers"},
		{"getRemoteLimits", "?x=1", "", 422, "query.x"},
		{"getQuota", "?x=1", "", 422, "query.x"},
		{"getAccountForecast", "?x=1", "", 422, "query.x"},
		{"getBandwidth", "?x=1", "", 422, "query.x"},
		{"listWorkers", "?x=1", "", 422, "query.x"},
		{"listRemotes", "?x=1", "", 422, "query.x"},
		{"listDeeds", "?limit=0", "", 422, "query.limit"},
		{"listDeeds", "?limit=1001", "", 422, "query.limit"},
		{"listDeeds", "?x=1", "", 422, "query.x"},
		{"getOverview", "?x=1", "", 422, "query.x"},
		{"getVersion", "?x=1", "", 422, "query.x"},
		{"watchAll", "?x=1", "", 422, "query.x"},
		{"drainWorker", "", "", 404, "no such worker"},
		{"resumeWorker", "", "", 404, "no such worker"},
	}
	// Every operation on one job refuses what is no ID, and knows no other's.
	for _, op := range []string{"getJob", "getProgress", "getHistory", "getForecast", "listFiles", "exportFiles", "getManifest", "listTroubles", "pauseJob",
		"resumeJob", "cancelJob", "retryJob", "removeJob", "watchJob", "keepHold", "releaseHold", "scrubJob", "seeJob"} {
		all = append(all, bad{op, "id=" + unknownJob, "", 404, "no such job"}, bad{op, "id=" + unknownJob[:7], "", 404, "no such job"},
			bad{op, "id=short", "", 422, "path.id"}, bad{op, "id=" + strings.Repeat("0", 27), "", 422, "path.id"}, bad{op, "id=%2e%2e%2f%2e%2e%2f", "", 422, "path.id"},
			bad{op, "id=01KB3Q7W5T%27%3B--", "", 422, "path.id"}, bad{op, "id=Ünïcödé", "", 422, "path.id"}, bad{op, "?x=1", "", 422, "query.x"})
	}
	return all
}

// operations are the document's, by ID: method and path.
func operations(t testing.TB) map[string][2]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(document(t), &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string][2]string{}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			all[o.OperationID] = [2]string{strings.ToUpper(method), path}
		}
	}
	return all
}

func TestBadInputIsRefused(t *testing.T) {
	w := newWorld(t)
	w.put("a", 1)
	j := w.make("")
	if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	ops, tried := operations(t), map[string]bool{}
	for _, b := range badRequests() {
		o, ok := ops[b.op]
		if !ok {
			t.Fatalf("there is no operation %s", b.op)
		}
		tried[b.op] = true
		id, rest := j.ID, b.path
		if after, found := strings.CutPrefix(b.path, "id="); found {
			id, rest = after, ""
		}
		if strings.HasPrefix(o[1], "/api/v1/workers/{id}") {
			id = "nobody"
		}
		path := strings.NewReplacer("{id}", id, "{account}", "anna", "{remote}", "gdrive").Replace(o[1]) + rest
		body := strings.NewReplacer("SRC", w.src, "DST", w.dst, `"ID"`, `"`+j.ID+`"`).Replace(b.body)
		a := w.ask(o[0], path, body)
		name := fmt.Sprintf("%s %s %s", b.op, b.path, b.body)
		if a.status != b.status || !strings.Contains(a.body, b.want) {
			t.Errorf("%s: status %d, want %d with %q: %s", name, a.status, b.status, b.want, a.body)
			continue
		}
		var p huma.ErrorModel
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Status != b.status || p.Detail == "" || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: no problem details: %v %s", name, a.header, a.body)
		}
	}
	for op := range ops {
		if !tried[op] {
			t.Errorf("no bad input is tried on %s", op)
		}
	}
	list, _, err := w.svc.List(t.Context(), jobs.ListOptions{})
	if err != nil || len(list) != 1 || list[0].State != jobs.Paused || list[0].BwLimit != "" {
		t.Errorf("a request that was refused changed something: %+v %v", list, err)
	}
	if st, err := w.ledger.Status(t.Context(), "anna"); err != nil || st.OwnLimit || st.AnchorDay != 1 {
		t.Errorf("a request that was refused changed the quota: %+v %v", st, err)
	}
}

func TestWhatNoOperationDoes(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/api/v1/nothing", 404}, {"GET", "/api/v2/jobs", 404}, {"GET", "/api/", 404}, {"PUT", "/api/v1/jobs", 405}, {"TRACE", "/api/v1/jobs", 405},
	} {
		a := w.ask(tt.method, tt.path, "")
		if a.status != tt.status || a.header.Get("Content-Type") != "application/problem+json" || tt.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: %d %v %s", tt.method, tt.path, a.status, a.header, a.body)
		}
	}
	if a := w.ask("POST", "/api/v1/jobs", w.order(""), "Content-Type", "text/plain"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("text as an order: %d %s", a.status, a.body)
	}
}

// While the store is away the answer says so, and events go on with what was known last.
func TestStoreAway(t *testing.T) {
	socket := redistest.Start(t)
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cut := between(t, in, socket)
	w := newWorldAt(t, "redis://"+in.Addr().String())
	w.put("a", 1)
	j := w.make("")
	w.ask("GET", "/api/v1/overview", "").want(t, http.StatusOK, nil)
	cut()
	var all sync.WaitGroup
	for _, path := range []string{"/jobs", "/jobs/" + j.ID, "/jobs/" + j.ID + "/files", "/workers", "/quota", "/bandwidth"} {
		all.Go(func() {
			begun := time.Now()
			a := w.ask("GET", "/api/v1"+path, "")
			if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			if took := time.Since(begun); took > 2*askTime {
				t.Errorf("%s took %v", path, took)
			}
		})
	}
	all.Wait()
	var o live.Overview
	for !o.Away {
		w.ask("GET", "/api/v1/overview", "").want(t, http.StatusOK, &o)
	}
	if len(o.Live) != 1 {
		t.Errorf("%+v", o)
	}
}

// between hands connections on to a socket until cut is called.
func between(t *testing.T, in net.Listener, socket string) (cut func()) {
	var mu sync.Mutex
	var open []net.Conn
	var over bool // it was cut: what was accepted a moment before is cut, too
	var all sync.WaitGroup
	all.Go(func() {
		for {
			from, err := in.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			open = append(open, from, to)
			if over {
				from.Close()
				to.Close()
			}
			mu.Unlock()
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				all.Go(func() {
					_, err := io.Copy(way[0], way[1])
					_ = err // it was cut
				})
			}
		}
	})
	cut = sync.OnceFunc(func() {
		in.Close()
		mu.Lock()
		over = true
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	t.Cleanup(cut)
	return cut
}

// Where people sign in, orders name remotes alone.
func TestLocalPathsAreForThisMachine(t *testing.T) {
	w := newWorld(t)
	closed := httptest.NewServer(New(Config{Jobs: w.svc, Ledger: w.ledger}))
	defer closed.Close()
	w.url = closed.URL
	for _, path := range []string{"/jobs", "/plans"} {
		if a := w.ask("POST", root+path, w.order("")); a.status != 422 || !strings.Contains(a.body, "offload enqueue") || !strings.Contains(a.body, "body.destination") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// A restore is an order, too: it would write into the folders that an earlier job was about.
func TestRestoresIntoLocalPathsAreForThisMachine(t *testing.T) {
	w := newWorld(t)
	w.worker()
	w.put("a", 10)
	j := w.reach(w.make(`,"delete_source":"verified"`).ID, jobs.Completed)
	closed := httptest.NewServer(New(Config{Jobs: w.svc, Ledger: w.ledger}))
	defer closed.Close()
	open := w.url
	w.url = closed.URL
	if a := w.ask("POST", root+"/jobs/"+j.ID+"/restore", `{}`); a.status != 403 || !strings.Contains(a.body, "offload restore") {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.url = open
	w.ask("POST", root+"/jobs/"+j.ID+"/restore", `{}`).want(t, 201, nil)
}
