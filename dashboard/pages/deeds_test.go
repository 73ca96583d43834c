package pages

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"offload/dashboard/guard"
	"offload/jobs"
)

// The record of what people did is for operators, pages itself, and shows names as text.
func TestRecordPage(t *testing.T) {
	w := newWorld(t)
	ask := func(role guard.Role, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		a := httptest.NewRecorder()
		w.pages.ServeHTTP(a, r.WithContext(guard.As(r.Context(), guard.Person{Name: "ben", Role: role})))
		return a
	}
	if a := ask(guard.Operator, "/record"); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), "Nobody has done anything yet") {
		t.Errorf("without deeds: %d %s", a.Code, a.Body)
	}
	id := "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for i := range deedsShown + 5 {
		if err := w.svc.Audit(t.Context(), jobs.Deed{Who: hostile, Action: "job paused", Subject: id, Detail: fmt.Sprintf("deed %03d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	a := ask(guard.Operator, "/record")
	for _, want := range []string{"deed 104", "deed 005", `href="/jobs/` + id + `"`, `href="/record?cursor=6"`, `aria-current="page">What people did`} {
		if !strings.Contains(a.Body.String(), want) {
			t.Errorf("the first page lacks %q: %s", want, a.Body)
		}
	}
	for _, not := range []string{"deed 004", hostile} {
		if strings.Contains(a.Body.String(), not) {
			t.Errorf("the first page holds %q", not)
		}
	}
	if a := ask(guard.Operator, "/record?cursor=6"); !strings.Contains(a.Body.String(), "deed 004") || strings.Contains(a.Body.String(), `rel="next"`) {
		t.Errorf("the last page: %s", a.Body)
	}
	if a := ask(guard.Operator, "/record?cursor=-1"); a.Code != http.StatusBadRequest {
		t.Errorf("a cursor that no page gave: %d", a.Code)
	}
	if a := ask(guard.Viewer, "/record"); a.Code != http.StatusForbidden || strings.Contains(a.Body.String(), "deed") {
		t.Errorf("a viewer: %d %s", a.Code, a.Body)
	}
	if a := ask(guard.Viewer, "/"); strings.Contains(a.Body.String(), `href="/record"`) {
		t.Error("a viewer is offered the record")
	}
}
