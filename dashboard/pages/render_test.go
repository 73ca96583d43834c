package pages

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"offload/dashboard/guard"
)

// hostile is what a cloud, a file name or a person may hold; none of it may reach a page as markup.
const hostile = `<script>alert(1)</script>"><img src=x onerror=alert(2)>'` + "\u202e\x00\x1b[31m{{.}}javascript:alert(3)"

// bare are pages without services, for what needs none.
func bare(t *testing.T) *Pages {
	t.Helper()
	return New(Config{Log: slog.New(slog.DiscardHandler), Version: "1.2.3"})
}

// shown is what a handler answers to a person.
func shown(t *testing.T, who guard.Person, h func(w http.ResponseWriter, r *http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/somewhere", nil)
	h(w, r.WithContext(guard.As(r.Context(), who)))
	safe(t, w.Body.String())
	return w
}

// safe fails where a page holds markup that somebody else wrote, or what the policy of the pages forbids.
func safe(t testing.TB, page string) {
	t.Helper()
	low := strings.ToLower(page)
	for _, bad := range []string{"<script>", "<img", " style=", "<style", " onclick", "javascript:alert", "\u202e", "\x1b", "zgotmplz", "<no value>"} {
		if i := strings.Index(low, bad); i >= 0 && !allowedText(low, bad) {
			t.Errorf("page holds %q: ...%s", bad, page[max(0, i-80):min(len(page), i+80)])
		}
	}
}

// allowedText tells whether what looks bad stands in a page as mere text: a script's address in words does no harm.
func allowedText(page, bad string) bool {
	if bad != "javascript:alert" {
		return false
	}
	return !strings.Contains(page, `href="javascript:`) && !strings.Contains(page, `action="javascript:`) && !strings.Contains(page, `src="javascript:`)
}

func TestErrorAndLogin(t *testing.T) {
	p := bare(t)
	operator := guard.Person{Name: hostile, Role: guard.Operator}
	w := shown(t, operator, func(w http.ResponseWriter, r *http.Request) { p.fail(w, r, 404, hostile, hostile) })
	if w.Code != 404 || !strings.Contains(w.Body.String(), "&lt;script&gt;") || !strings.Contains(w.Body.String(), "New transfer") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	w = shown(t, guard.Person{Role: guard.Viewer}, func(w http.ResponseWriter, r *http.Request) { p.fail(w, r, 403, "No", "") })
	if strings.Contains(w.Body.String(), "New transfer") || strings.Contains(w.Body.String(), "Sign out") {
		t.Errorf("a viewer without a name sees: %s", w.Body)
	}
	w = shown(t, guard.Person{}, func(w http.ResponseWriter, r *http.Request) {
		p.Login(w, r, 401, Login{User: hostile, Next: hostile, Error: hostile})
	})
	if w.Code != 401 || strings.Contains(w.Body.String(), "<nav") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}
