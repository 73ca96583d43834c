package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"offload/internal/cloudtest"
)

// focus is what has the keyboard's focus.
type focus struct {
	Words string
	Shown bool // it lies in the window and bears a mark that it has the focus
	HTML  string
}

// focused tells what has the focus.
func (tb *tab) focused() focus {
	f, _ := ask[focus](tb, `(() => {
  const e = document.activeElement;
  const l = e.labels && e.labels[0];
  const words = (e.getAttribute("aria-label") || (l && l.innerText) || e.innerText || e.value || "").replace(/\s+/g, " ").trim();
  const s = getComputedStyle(e), r = e.getBoundingClientRect();
  const marked = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none";
  return {Words: words, Shown: marked && r.width > 0 && r.bottom > 0 && r.top < innerHeight, HTML: e.outerHTML.slice(0, 200)};
})()`)
	return f
}

// tabTo goes with the tab key to what bears these words, and demands of all on the way that one can see where one is.
func (tb *tab) tabTo(words string) {
	tb.t.Helper()
	var way []string
	for range 120 {
		tb.press(kb.Tab)
		f := tb.focused()
		way = append(way, f.Words)
		if !f.Shown {
			tb.t.Errorf("on the way to %q, after %q, nothing shows that the focus is on %s", words, way, f.HTML)
		}
		if strings.HasPrefix(strings.ToLower(f.Words), strings.ToLower(words)) {
			return
		}
	}
	tb.t.Fatalf("the tab key doesn't lead to %q, but to %q", words, way)
}

// Everything can be done without a mouse.
func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cloudtest.Options{})
	h.put("Films/Summer.mov", 32<<20)
	url := h.serve("up")
	id := h.say(0, "", "enqueue", "icloud:Films", "dropbox:Backup/Films", "--bwlimit", "128KiB", "--label", "Films")
	tb := openTab(t, url, "")
	tb.open("/", http.StatusOK)
	tb.see("Films")
	tb.tabTo("Skip to the content")
	tb.press(kb.Enter)
	tb.until("the link to lead to the content", `document.activeElement.id === "main"`)
	tb.open("/", http.StatusOK)
	tb.tabTo("Jobs")
	tb.press(kb.Enter)
	tb.until("the list of jobs", `location.pathname === "/jobs"`)
	tb.see("Films")
	tb.tabTo("Films")
	tb.press(kb.Enter)
	tb.until("the job's page", fmt.Sprintf("location.pathname.includes(%q)", id))
	tb.tabTo("Pause")
	tb.press(kb.Enter)
	h.await(id, "the job to be paused", func(j job) bool { return j.State == "paused" })
	tb.see("Paused")
	tb.tabTo("Resume")
	tb.press(kb.Enter)
	h.await(id, "the job to go on", func(j job) bool { return j.State != "paused" })
}
