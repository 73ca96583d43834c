package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"offload/dashboard/guard"
	"offload/jobs"
)

// What people did is for operators alone; without a guard nobody is one.
func TestDeeds(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		if err := w.svc.Audit(t.Context(), jobs.Deed{Who: "anna", Action: "quota set", Subject: fmt.Sprint("account", i)}); err != nil {
			t.Fatal(err)
		}
	}
	w.ask("GET", "/api/v1/deeds", "").want(t, http.StatusForbidden, nil)
	h := New(Config{Jobs: w.svc, Ledger: w.ledger})
	as := func(role guard.Role, path string) answer {
		r, a := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
		h.ServeHTTP(a, r.WithContext(guard.As(r.Context(), guard.Person{Name: "ben", Role: role})))
		return answer{a.Code, a.Header(), a.Body.String()}
	}
	as(guard.Viewer, "/api/v1/deeds").want(t, http.StatusForbidden, nil)
	var page DeedPage
	as(guard.Operator, "/api/v1/deeds?limit=2").want(t, http.StatusOK, &page)
	if len(page.Deeds) != 2 || page.Deeds[0].Subject != "account2" || page.Deeds[0].Who != "anna" || page.Next != "2" {
		t.Errorf("the first page: %+v", page)
	}
	next := page.Next
	page = DeedPage{}
	as(guard.Operator, "/api/v1/deeds?cursor="+next).want(t, http.StatusOK, &page)
	if len(page.Deeds) != 1 || page.Deeds[0].Subject != "account0" || page.Next != "" {
		t.Errorf("the last page: %+v", page)
	}
	as(guard.Operator, "/api/v1/deeds?cursor=x").want(t, http.StatusUnprocessableEntity, nil)
}
