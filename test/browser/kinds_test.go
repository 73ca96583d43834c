package browser

import (
	"net/http"
	"sync"
	"testing"

	"offload/internal/cloudtest"
	"offload/internal/redistest"
)

// A remote of another kind is added by rclone's own questions, one begun is stopped, and a service that takes its time is
// waited for.
func TestKindsOfRemotes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.withoutICloud()
	url := h.serve("up")
	tb := openTab(t, url, "")
	tb.forgive(`status of 4\d\d`) // what is wrong in a form is answered so
	tb.open("/remotes/add", http.StatusOK)
	tb.choose("Kind", "memory")
	tb.click("Go on")
	tb.see("Add a remote: memory", "asked step by step")
	tb.look("remote other")
	tb.fill("Name", "scratch")
	tb.click("Go on")
	tb.questions()
	tb.see("scratch is signed in")
	tb.click("Go to the remotes")
	tb.see("scratch:")

	tb.open("/remotes/add?kind=webdav", http.StatusOK)
	tb.fill("Name", "papers")
	tb.click("Go on")
	tb.see("URL of http host")
	tb.look("sign-in words")
	tb.fill("answer", "https://papers.example/dav") // no host of this world
	tb.questions()
	tb.see("nothing was kept", "Begin anew")
	tb.look("sign-in refused")

	tb.open("/remotes/add?kind=s3", http.StatusOK)
	tb.fill("Name", "bucket")
	tb.click("Go on")
	tb.see("Stop this sign-in", "AWS")
	tb.look("sign-in choices")
	tb.click("Stop this sign-in")
	tb.until("the list of remotes", `location.pathname === "/remotes"`)
	tb.lacks("bucket:")

	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	slow := h.play.Fault(cloudtest.Fault{Endpoint: "icloud:signin_init", Times: 1, Kind: cloudtest.Do, Hook: func(*http.Request) { <-goOn }})
	defer slow.Remove()
	tb.open("/remotes/add?kind=iclouddrive", http.StatusOK)
	tb.fill("Apple ID", h.account.AppleID())
	tb.fill("Password", h.account.Password())
	tb.click("Sign in")
	tb.see("The service is being asked")
	tb.look("sign-in busy")
	release()
	tb.see("Send the code")
	tb.answer(h.account.Code())
	tb.see("icloud is signed in")
}

// questions answers a service's questions with what rclone proposes, from the one that is shown to the last.
func (tb *tab) questions() {
	tb.t.Helper()
	const asks = `document.querySelector("form[action=sign-in]")`
	for {
		tb.until("a question or the end", `document.readyState === "complete" && !window.answered && (`+asks+
			` || /is signed in|nothing was kept/.test(document.body.innerText))`)
		if there, ok := ask[bool](tb, `!!`+asks+` && (window.answered = true)`); ok && !there {
			return
		}
		tb.click("Go on")
	}
}

// While the store is away, what isn't known already is answered with a page that says so.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	server := redistest.StartServer(t)
	h.redis = server.URL()
	h.env = append(h.env, "OFFLOAD_CONFIG_PASS=planted passphrase of the store")
	url := h.serve("dashboard")
	tb := openTab(t, url, "")
	tb.forgive(`status of 5\d\d`)
	tb.open("/jobs", http.StatusOK)
	server.Kill()
	tb.open("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", http.StatusServiceUnavailable)
	tb.see("The store doesn't answer")
	tb.look("store away")
}
