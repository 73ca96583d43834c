package browser

import (
	"fmt"
	"net/http"
	"testing"

	"offload/internal/cloudtest"
)

// Two people with passwords: anna may do everything, ben looks.
const (
	annasPassword = "anna's long password"
	bensPassword  = "ben's long password"
)

// guarded is a house whose dashboard wants a sign-in.
func guarded(t testing.TB) *house {
	t.Helper()
	h := newHouse(t, cloudtest.Options{})
	settings := fmt.Sprintf("dashboard:\n  users:\n    - {name: anna, role: operator, password_hash: %q}\n    - {name: ben, role: viewer, password_hash: %q}\n",
		h.say(0, annasPassword+"\n", "dashboard", "hash"), h.say(0, bensPassword+"\n", "dashboard", "hash"))
	h.settings(settings)
	return h
}

// enter signs a person in.
func (tb *tab) enter(name, password string) {
	tb.t.Helper()
	tb.fill("name", name)
	tb.fill("password", password)
	tb.click("Sign in")
}

func TestRoles(t *testing.T) {
	t.Parallel()
	h := guarded(t)
	h.put("Films/Summer.mov", 32<<20)
	url := h.serve("up")
	id := h.say(0, "", "enqueue", "icloud:Films", "dropbox:Backup/Films", "--bwlimit", "64KiB", "--label", "Films")
	page := "/jobs/" + id
	tb := openTab(t, url, "")
	tb.forgive(`status of 40[13]`)
	tb.open(page, http.StatusOK) // the answer is that of the page it leads to
	tb.until("the sign-in", `location.pathname === "/login"`)
	tb.enter("ben", annasPassword)
	tb.see("password")
	tb.lacks("Films")
	tb.look("login wrong")
	tb.enter("ben", bensPassword)
	tb.until("the page that was asked for", fmt.Sprintf("location.pathname === %q", page))
	tb.see("Films", "ben")
	for _, words := range []string{"Pause", "Cancel", "New transfer", "Remove"} {
		if tb.has("button", words) {
			t.Errorf("a viewer is offered %q", words)
		}
	}
	for _, path := range []string{"/", "/jobs", "/quota", "/workers", "/queue", "/remotes"} {
		tb.open(path, http.StatusOK)
	}
	tb.open("/new", http.StatusForbidden)
	tb.look("forbidden")
	for _, path := range []string{page + "/pause", "/jobs", "/remotes", "/quota", "/new"} {
		post := fmt.Sprintf(`fetch(%q, {method: "POST", body: new URLSearchParams({})}).then(r => { window.answered = r.status })`, path)
		ask[any](tb, "window.answered = 0, "+post+", 0")
		tb.until("an answer to the viewer's POST to "+path, "window.answered")
		if status, _ := ask[int](tb, "window.answered"); status != http.StatusForbidden {
			t.Errorf("a viewer's POST to %s is answered with %d, want 403", path, status)
		}
	}
	if j := h.job(id); j.State == "paused" {
		t.Error("a viewer paused a job")
	}

	tb.click("Sign out")
	tb.until("the person to be signed out", `location.pathname === "/login"`)
	tb.open("/jobs", http.StatusOK)
	tb.until("the sign-in", `location.pathname === "/login"`)
	tb.enter("anna", annasPassword)
	tb.until("the page that was asked for", `location.pathname === "/jobs"`)
	tb.click("Films")
	tb.click("Pause")
	h.await(id, "the job to be paused", func(j job) bool { return j.State == "paused" })
	tb.see("Paused")
}

func TestSignInPage(t *testing.T) {
	t.Parallel()
	inspect(t, guarded(t).serve("up"), []sight{{"login", "/login", http.StatusOK, []string{"Sign in"}}})
}
