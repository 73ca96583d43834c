package api

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"offload/quota"
)

// What is answered keeps to the document: its types, the words that it names, and what it says is always there.
func TestAnswersKeepToTheDocument(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b/c", "empty"} {
		w.put(name, len(name)-1)
	}
	w.worker()
	done, open := w.make(`,"delete_source":"verified"`), w.make(`,"window":"00:00-00:01","label":"<script>"`)
	w.reach(done.ID, "completed", "completed_with_warnings")
	limit := int64(100 << 30)
	if _, err := w.ledger.Set(t.Context(), quota.RemoteSubject("gdrive", quota.PerDay), quota.Change{Limit: &limit}); err != nil {
		t.Fatal(err)
	}
	check := parsed(t)
	try := func(method, path, body string) {
		req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if ok, errs := check.ValidateHttpResponse(req, res); !ok {
			text, err := io.ReadAll(res.Body)
			for _, e := range errs {
				t.Errorf("%s %s: %v %+v (%s, %v)", method, path, e, e.SchemaValidationErrors, text, err)
			}
		}
	}
	defer http.DefaultClient.CloseIdleConnections()
	queries := map[string]string{"findOffloaded": "?name=a"}
	for id, o := range operations(t) {
		if o[0] != "GET" || id == "watchAll" || id == "watchJob" || id == "exportFiles" || id == "getManifest" {
			continue
		}
		for _, job := range []string{done.ID, open.ID, unknownJob} {
			try("GET", strings.NewReplacer("{id}", job, "{account}", "default", "{remote}", "gdrive").Replace(o[1])+queries[id], "")
		}
	}
	try("POST", "/api/v1/plans", w.order(""))
	try("POST", "/api/v1/jobs", w.order(`,"hold":"x"`))
	try("POST", "/api/v1/jobs", w.order(""))
	try("POST", "/api/v1/jobs/actions", `{"action":"cancel","select":{}}`)
}
