package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// axeFile is where `make browser` puts axe-core.
const axeFile = "axe-core-4.14.1.js"

// axeSource returns axe-core as one script.
func axeSource(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", ".cache", axeFile))
	if errors.Is(err, os.ErrNotExist) {
		missing(t, axeFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// finding is one rule of axe that the page breaks, and where.
type finding struct {
	ID     string
	Impact string
	Help   string
	Nodes  []struct {
		HTML           string
		Target         []any
		FailureSummary string
	}
}

// looked is a page that axe has looked at, by the name of its template.
type looked struct {
	Page  string
	Found []finding
}

func (f finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s", f.ID, f.Impact, f.Help)
	for i, n := range f.Nodes {
		if i == 3 {
			fmt.Fprintf(&b, "\n  and %d more", len(f.Nodes)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %v: %.300s\n    %s", n.Target, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n    "))
	}
	return b.String()
}

// axe returns what axe-core finds on the page as it is now: rules of WCAG 2.0 to 2.2, levels A and AA, and good practice. It
// notes which page that was. A live page keeps still meanwhile, as one that is left: axe looks for a while, and would ask parts that
// were replaced what is around them.
func (tb *tab) axe() []finding {
	tb.t.Helper()
	// preload would fetch style sheets again, which the page's policy needn't allow.
	expr := axeSource(tb.t) + `; window.dispatchEvent(new PageTransitionEvent("pagehide"));
axe.run(document, {preload: false, resultTypes: ["violations"]}).then(r => ({
  Page: (document.querySelector("main") || document.body).dataset.page || "", Found: r.violations})).finally(() =>
  window.dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true})))`
	var err error
	for range 10 { // a page that loads itself again takes axe with it
		tb.whole() // of what isn't there yet axe would complain
		var seen looked
		ctx, cancel := context.WithTimeout(tb.ctx, patience)
		seen, err = chromedp.Run(ctx, chromedp.Evaluate[looked](expr, chromedp.EvalAwaitPromise))
		cancel()
		if err == nil {
			run.given(seen.Page)
			return seen.Found
		}
		var thrown *chromedp.ExceptionError
		if asException(err, &thrown) {
			break
		}
	}
	tb.t.Fatalf("run axe: %v", err)
	return nil
}

// width returns what is wider than its room, "" for nothing: neither a page nor its navigation may scroll sideways, and the words
// above a table have the table's width.
func (tb *tab) width() string {
	wide, _ := ask[string](tb, `(() => {
  if (!document.body) return "";
  const room = document.documentElement.clientWidth, nav = document.querySelector(".top nav");
  if (nav && nav.scrollWidth > nav.clientWidth) return "the navigation has " + nav.scrollWidth + " of " + nav.clientWidth + " px";
  const squeezed = [...document.querySelectorAll("caption:not(.unseen)")].find(c => c.offsetWidth && c.offsetWidth < c.parentElement.offsetWidth / 2);
  if (squeezed) return "a caption is squeezed: " + squeezed.innerText;
  if (document.documentElement.scrollWidth <= room) return "";
  const all = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > room + 1);
  const inner = all.filter(e => !all.some(o => o !== e && e.contains(o)));
  return document.documentElement.scrollWidth + " of " + room + " px: " + inner.slice(0, 3).map(e => e.outerHTML.slice(0, 160)).join(" | ");
})()`)
	return wide
}

// shot writes a picture of the whole page to the folder that OFFLOAD_SHOTS names, if it does.
func (tb *tab) shot(name string) { tb.picture(name, true) }

// picture writes a picture of the whole page, or of what the window shows of it.
func (tb *tab) picture(name string, whole bool) {
	dir := os.Getenv("OFFLOAD_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	res, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: &whole})
	if err == nil {
		err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), res.Data, 0o644))
	}
	if err != nil {
		tb.t.Logf("picture %s: %v", name, err)
	}
}

// asException tells whether an error is one that the page's script threw.
func asException(err error, thrown **chromedp.ExceptionError) bool { return errors.As(err, thrown) }
