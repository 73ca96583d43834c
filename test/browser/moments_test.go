package browser

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"offload/internal/cloudtest"
)

// What comes up between a form and its end: the preview, and what has to be confirmed.
func TestConfirmations(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.put("Documents/a letter.txt", 3000)
	h.put("Documents/empty.txt", 0)
	h.put("Later/old film.mov", 8<<20)
	url := h.serve("up")
	id := h.say(0, "", "enqueue", "icloud:Later", "dropbox:Backup/Later", "--label", "For later", "--bwlimit", "16KiB", "--delete-source", "verified")
	tb := openTab(t, url, "")
	tb.forgive(`status of 4\d\d`) // what is wrong in a form is answered so

	tb.open("/new", http.StatusOK)
	tb.fill("Source", "icloud:Documents")
	tb.fill("Destination", "dropbox:Backup")
	tb.tick("Delete each file as soon as it is proved")
	tb.click("Preview")
	tb.see("nothing is begun yet", "Will delete about")
	tb.look("preview")
	tb.fill("To confirm", "a wrong word")
	tb.click("Begin")
	tb.see("Nothing was begun")
	tb.look("preview wrong")

	tb.open("/jobs", http.StatusOK)
	tb.tick("Choose For later")
	tb.click("Cancel...")
	tb.see("For later", "Back, change nothing")
	tb.look("bulk cancel")
	tb.click("Back, change nothing")
	tb.open("/jobs/"+id+"/cancel", http.StatusOK)
	tb.see("Back, change nothing")
	tb.look("job cancel")
	if j := h.job(id); j.State == "canceled" {
		t.Error("looking at the question has canceled the job")
	}
	tb.open("/jobs/"+id, http.StatusOK)
	tb.click("Pause job")
	h.await(id, "the job to be paused", func(j job) bool { return j.State == "paused" })
	tb.open("/record", http.StatusOK)
	tb.see("Record", id)
	tb.look("record of deeds")
}

// A sign-in that has ended is renewed from Home, by a text message, and what waited for it goes on; a remote that isn't
// needed any more is removed by its name.
func TestSignInAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.withoutICloud()
	for _, name := range []string{"one", "two", "three"} {
		h.put("Documents/"+name+".txt", 3000)
	}
	url := h.serve("up")
	tb := openTab(t, url, "")
	tb.open("/", http.StatusOK)
	h.signIn(tb)
	ended := h.play.Fault(cloudtest.Fault{Endpoint: "icloud:download_by_id", Times: 1, Kind: cloudtest.Do, Hook: func(*http.Request) {
		h.account.ExpireTrust()
		h.account.ExpireSessions()
	}})
	defer ended.Remove()
	id := h.say(0, "", "enqueue", "icloud:Documents", "dropbox:Backup", "--label", "Letters")
	h.await(id, "the job to wait for a sign-in", func(j job) bool { return j.Reason == "sign_in" })
	tb.open("/", http.StatusOK)
	tb.see("Needs attention")
	tb.look("home sign-in")
	tb.click("Sign in")
	tb.until("the page of the sign-in", `location.pathname === "/remotes/icloud/sign-in"`)
	tb.look("sign-in again")
	tb.fill("Password", h.account.Password())
	tb.click("Sign in again")
	tb.see("Send the code")
	tb.look("sign-in code")
	tb.click("Get a text message instead")
	tb.see("Enter the verification code sent to") // not the button before it
	tb.look("sign-in message")
	code := h.account.SMSCode(1)
	if code == "" {
		t.Fatal("Apple sent no text message")
	}
	tb.answer(code)
	tb.see("icloud is signed in", "1 job that waited for it goes on")
	tb.look("sign-in done")
	h.await(id, "the job to be done", func(j job) bool { return strings.HasPrefix(j.State, "completed") })

	tb.open("/remotes/icloud/remove", http.StatusOK)
	tb.look("remote remove")
	tb.fill("To confirm", "dropbox")
	tb.click("Remove the remote")
	tb.see("Nothing was removed")
	tb.look("remote remove wrong")
	tb.fill("To confirm", "icloud")
	tb.click("Remove the remote")
	tb.until("the list of remotes", `location.pathname === "/remotes"`)
	if said := h.say(0, "", "remotes", "list"); strings.Contains(said, "icloud") {
		t.Errorf("the remote is still there: %s", said)
	}
}

// While the dashboard is away the page says so by itself, and keeps what it knew.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.put("Later/old film.mov", 8<<20)
	url, up := h.serving("up")
	h.say(0, "", "enqueue", "icloud:Later", "dropbox:Backup/Later", "--label", "For later", "--bwlimit", "16KiB")
	tb := openTab(t, url, "")
	tb.forgive(`ERR_`)
	tb.open("/", http.StatusOK)
	tb.see("For later")
	up.end()
	tb.until("the word that the connection is lost", `!document.querySelector("#lost").hidden`)
	tb.see("Connection lost", "For later")
	tb.look("connection lost")
}

// Where more look than the dashboard has room for, the page says so; nothing is lost, and it doesn't say that.
func TestTooManyFollow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	url, _ := h.serving("up")
	crowded := false
	for range 300 { // more than one address has room for
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/events?page=home", nil)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		a, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		first := make([]byte, len("retry: 120000\nevent: full"))
		if _, err := io.ReadFull(a.Body, first); err != nil {
			t.Fatal(err)
		}
		if crowded = strings.HasSuffix(string(first), "event: full"); crowded {
			break
		}
	}
	if !crowded {
		t.Fatal("300 are let in")
	}
	tb := openTab(t, url, "")
	tb.open("/", http.StatusOK)
	tb.until("the word that too many follow", `!document.querySelector("#full").hidden`)
	tb.see("Too many pages follow this live")
	tb.until("no word that the connection is lost", `document.querySelector("#lost").hidden`)
	tb.look("too many follow")
}

// copying opens the page of a job that copies slowly.
func copying(t *testing.T) (h *house, tb *tab, id string) {
	t.Parallel()
	h = newHouse(t, cloudtest.Options{})
	h.put("Later/old film.mov", 8<<20)
	url := h.serve("up")
	id = h.say(0, "", "enqueue", "icloud:Later", "dropbox:Backup/Later", "--label", "For later", "--bwlimit", "16KiB")
	tb = openTab(t, url, "")
	h.await(id, "the job to run", func(j job) bool { return j.State == "transferring" })
	tb.open("/jobs/"+id, http.StatusOK)
	return h, tb, id
}

// A part in which text is marked stays as it is, and is brought up to date once nothing is marked any more.
func TestMarkedTextStays(t *testing.T) {
	h, tb, id := copying(t)
	const head = `document.querySelector("#jobhead").textContent`
	tb.until("the word that it runs", head+` === "Copying"`)
	tb.until("the word to be marked", `(getSelection().selectAllChildren(document.querySelector("#jobhead")), !getSelection().isCollapsed)`)
	h.say(0, "", "jobs", "pause", id)
	tb.until("the rest of the page to tell of the pause", `document.querySelector("#actions").textContent.includes("Resume")`)
	if is, _ := ask[string](tb, head); is != "Copying" {
		t.Errorf("what was marked became %q", is)
	}
	tb.until("nothing to be marked", `(getSelection().collapseToEnd(), getSelection().isCollapsed)`)
	tb.until("the word that it pauses", head+` === "Paused"`)
}

// A part in which a button is pressed stays as it is until the button is let go: the click would be lost.
func TestPressedButtonStays(t *testing.T) {
	h, tb, id := copying(t)
	const actions, head = `document.querySelector("#actions").textContent`, `document.querySelector("#jobhead").textContent`
	tb.until("the word that it runs", head+` === "Copying"`)
	p := tb.find("button", "Pause job")
	tb.act("press the button", chromedp.MouseEvent(chromedp.MousePressed, p.X, p.Y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	h.say(0, "", "jobs", "pause", id)
	tb.until("the rest of the page to tell of the pause", head+` === "Paused"`)
	if is, _ := ask[bool](tb, actions+`.includes("Pause job")`); !is {
		t.Error("the pressed button was taken away")
	}
	tb.act("let go beside it", chromedp.MouseEvent(chromedp.MouseReleased, 1, 1, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	tb.until("the buttons of a paused job", actions+`.includes("Resume job")`)
}
