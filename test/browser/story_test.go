package browser

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"

	"offload/internal/cloudtest"
)

// storyFiles is how many small files the story moves, and storyFilms how many films of 1 MiB.
const storyFiles, storyFilms = 30, 10

// A person who never saw a terminal: signs in with a wrong and then the right code, orders a move that deletes, watches it,
// pauses it, goes on, runs out of quota, takes a larger plan, and is done. On both stores.
func TestStory(t *testing.T) {
	for _, store := range []string{"embedded", "redis"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, cloudtest.Options{})
			h.withoutICloud()
			for i := range storyFiles {
				h.put(fmt.Sprintf("Documents/Folder %02d/File %03d.pdf", i%3, i), int64(20_000+i*977))
			}
			for i := range storyFilms {
				h.put(fmt.Sprintf("Documents/Films/Day %02d.mov", i), 1<<20)
			}
			h.put("Private/diary.txt", 1000)
			if store == "redis" {
				h.onRedis()
			}
			h.say(0, "", "quota", "set", "--limit", "7MiB")
			var url string
			if store == "redis" {
				h.start("worker")
				url = h.serve("dashboard")
			} else {
				url = h.serve("up")
			}
			tb := openTab(t, url, "")
			tb.open("/", http.StatusOK)
			h.signIn(tb)
			id := h.order(tb)
			h.watch(tb, id)
		})
	}
}

// signIn adds iCloud in the browser, with a wrong code first.
func (h *house) signIn(tb *tab) {
	h.t.Helper()
	tb.click("Remotes")
	tb.see("dropbox")
	tb.click("Add a remote")
	tb.click("Add iCloud Drive")
	tb.fill("Name", "icloud")
	tb.fill("Apple ID", h.account.AppleID())
	tb.fill("Password", h.account.Password())
	tb.click("Sign in")
	tb.see("Send the code")
	right := h.account.Code()
	if right == "" {
		h.t.Fatal("Apple sent no code")
	}
	wrong := "123456"
	if right == wrong {
		wrong = "654321"
	}
	tb.forgive(`status of 4\d\d`) // what is wrong in a form is answered so
	tb.answer(wrong)
	tb.see("isn't the code")
	tb.answer(right)
	tb.see("icloud is signed in, trusted for 30 days")
	if n := h.account.SignIns(); n != 1 {
		h.t.Errorf("Apple saw %d sign-ins, want one", n)
	}
	if n := tb.count(`[value*="password"], [value="` + h.account.Password() + `"]`); n != 0 {
		h.t.Error("the password came back to the page")
	}
}

// answer sends a code in the field that waits for it.
func (tb *tab) answer(code string) {
	tb.t.Helper()
	tb.until("the field of the code", `document.querySelector("#answer:not([disabled])")`)
	if _, ok := ask[bool](tb, `document.querySelector("#answer").focus(), true`); !ok {
		tb.t.Fatal("the page went away")
	}
	tb.press(code)
	tb.click("Send the code")
}

// order orders a move of a folder that is browsed to, and returns the job's ID.
func (h *house) order(tb *tab) string {
	h.t.Helper()
	tb.click("New transfer")
	tb.click("Browse folders of the source")
	tb.click("icloud:")
	tb.see("Documents", "Private")
	tb.click("Documents")
	tb.see("Films", "Folder 00")
	tb.click("Choose icloud:Documents")
	tb.until("the source to be filled in", `document.querySelector("[name=source]").value === "icloud:Documents"`)
	tb.fill("Destination", "dropbox:Backup")
	tb.tick("Delete each file as soon as it is proved")
	tb.click("How it runs")
	tb.fill("Bandwidth", "512K")
	tb.click("Preview")
	n := storyFiles + storyFilms
	tb.see("nothing is begun yet", fmt.Sprintf("Will delete about %d files", n))
	tb.shot("story preview")
	tb.fill("To confirm", "a wrong word")
	tb.click("Begin")
	tb.see("Nothing was begun")
	tb.fill("To confirm", fmt.Sprint(n))
	tb.click("Begin")
	tb.until("the job's page", `/^\/jobs\/[0-9A-Z]{26}/.test(location.pathname)`)
	path, _ := ask[string](tb, "location.pathname")
	return regexp.MustCompile(`[0-9A-Z]{26}`).FindString(path)
}

// watch looks at the job's page until the job is done, and loads it only where a person has to.
func (h *house) watch(tb *tab, id string) {
	h.t.Helper()
	if _, ok := ask[bool](tb, "window.sameOne = true"); !ok {
		h.t.Fatal("the page went away")
	}
	bar := `document.querySelector("main progress[aria-label=Copied]")`
	value := `(e => e ? e.value : 0)(` + bar + `)`
	tb.until("the bar to have moved by itself", value+` > 0`)
	tb.shot("story job")
	first, _ := ask[float64](tb, value)
	ended := `document.querySelector("#jobhead").innerText.includes("quota")` // on a busy machine it is there already
	tb.until("the bar to move on by itself", fmt.Sprintf("(%s > %v || %s) && window.sameOne", value, first, ended))

	tb.click("Pause job")
	h.await(id, "the job to be paused", func(j job) bool { return j.State == "paused" })
	tb.click("Resume job")
	h.await(id, "the job to go on", func(j job) bool { return j.State != "paused" })

	h.await(id, "the job to wait for quota", func(j job) bool { return j.State == "waiting" && j.Reason == "quota" })
	tb.see("Waiting", "quota")
	tb.click("Home")
	tb.see("quota")
	tb.shot("story home")
	tb.size(390, 844)
	tb.scheme("dark")
	tb.picture("story phone", false)
	tb.size(1280, 900)
	tb.scheme("light")
	tb.click("Quota")
	tb.fill("Or a limit of its own", "1GiB")
	tb.click("Set quota")
	tb.see("The quota is set", "1.0 GiB")
	tb.open("/jobs/"+id, http.StatusOK)
	h.await(id, "the job to be done", func(j job) bool { return j.State == "completed" })
	tb.see("Completed", fmt.Sprint(storyFiles+storyFilms))
	if n := h.account.Files(); n != 1 {
		h.t.Errorf("%d files are left at iCloud, want the one that wasn't to be moved", n)
	}
	if n := h.dropbox.Len(); n != storyFiles+storyFilms+1 { // the manifest is one
		h.t.Errorf("%d files are at Dropbox, want %d", n, storyFiles+storyFilms+1)
	}
}
