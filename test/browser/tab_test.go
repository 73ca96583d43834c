package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// patience is how long a tab waits for what must come: the machine may be slow, and busy with other tests.
const patience = 90 * time.Second

// tab is one window of the browser with cookies of its own. What the browser complains of fails the test at its end.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string // the dashboard's address

	later      sync.WaitGroup
	mu         sync.Mutex
	complaints []string
	forgiven   []*regexp.Regexp
	loading    bool // it is on its way to another page
	ways       int  // how often it went on its way
}

// openTab opens a window on a dashboard. proxy is the way to other hosts, "" for none.
func openTab(t testing.TB, base, proxy string) *tab {
	t.Helper()
	parent := run.window(t)
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext(func(p *target.CreateBrowserContextParams) {
		p.ProxyServer = proxy
	}))
	tb := &tab{t: t, ctx: ctx, base: base}
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		t.Fatalf("open a window: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			tb.tell()
		}
		cancel()
		tb.later.Wait()
		tb.verdict()
	})
	if err := chromedp.Listen(ctx, tb.hear); err != nil {
		t.Fatalf("listen to the window: %v", err)
	}
	do(tb, audits.Enable, cdp.Empty{})
	do(tb, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}) // whichever window was opened last
	tb.size(1280, 900)
	tb.scheme("light")
	return tb
}

// do carries out a command of the browser's protocol.
func do[P, R any](tb *tab, cmd cdp.Command[P, R], params P) R {
	tb.t.Helper()
	res, err := chromedp.Call(tb.ctx, cmd, params)
	if err != nil {
		tb.t.Fatalf("%s: %v", cmd.Method, err)
	}
	return res
}

// hear notes what the browser complains of.
func (tb *tab) hear(ev any) {
	switch e := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			args := make([]string, 0, len(e.Args))
			for _, a := range e.Args {
				args = append(args, a.Description+string(a.Value))
			}
			tb.complain("console: %s: %s", e.Type, strings.Join(args, " "))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		tb.complain("exception: %s (%s:%d)", text, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			tb.complain("log: %s: %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *audits.EventIssueAdded:
		details, _ := json.Marshal(e.Issue.Details)
		tb.complain("issue: %s: %s", e.Issue.Code, details)
	case *network.EventLoadingFailed:
		if !e.Canceled {
			tb.complain("request: %s: %s %s", e.Type, e.ErrorText, e.BlockedReason)
		}
	case *page.EventFrameRequestedNavigation, *page.EventFrameStartedLoading:
		tb.leads(true)
	case *page.EventFrameStoppedLoading:
		tb.leads(false)
	case *page.EventJavascriptDialogOpening:
		tb.complain("dialog: %s: %s", e.Type, e.Message)
		tb.later.Go(func() { // it holds up everything else; the window may be closed by now
			_, _ = chromedp.Call(tb.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		})
	}
}

func (tb *tab) leads(elsewhere bool) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if tb.loading = elsewhere; elsewhere {
		tb.ways++
	}
}

// left is how often the window went on its way to another page so far.
func (tb *tab) left() int {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.ways
}

// rests tells whether the window isn't on its way to another page. Between the click on a button and the page it leads to, what the
// old page shows proves nothing, and what is clicked on there is lost.
func (tb *tab) rests() bool {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return !tb.loading
}

func (tb *tab) complain(format string, args ...any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.complaints = append(tb.complaints, fmt.Sprintf(format, args...))
}

// forgive lets complaints pass that match: a page that is refused on purpose is one.
func (tb *tab) forgive(pattern string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.forgiven = append(tb.forgiven, regexp.MustCompile(pattern))
}

// heard returns the complaints so far that aren't forgiven, and forgets them.
func (tb *tab) heard() []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	list := slices.DeleteFunc(tb.complaints, func(c string) bool {
		return slices.ContainsFunc(tb.forgiven, func(re *regexp.Regexp) bool { return re.MatchString(c) })
	})
	tb.complaints = nil
	return list
}

// verdict fails the test with what was heard.
func (tb *tab) verdict() {
	for _, c := range tb.heard() {
		tb.t.Errorf("the browser complains: %s", c)
	}
}

// tell logs where the window is and what it shows, for a test that failed.
func (tb *tab) tell() {
	ctx, cancel := context.WithTimeout(tb.ctx, 5*time.Second)
	defer cancel()
	where, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err == nil {
		tb.t.Logf("the window shows %.3000s", where)
	}
	tb.shot("failed " + strings.ReplaceAll(tb.t.Name(), "/", " "))
}

// size sets the width and height that the page sees.
func (tb *tab) size(width, height int64) {
	tb.t.Helper()
	do(tb, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
}

// scheme sets what the person prefers: "light" or "dark". Things that move are told to keep still.
func (tb *tab) scheme(name string) {
	tb.t.Helper()
	do(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// withoutScripts turns the page's own scripts off, as some people do.
func (tb *tab) withoutScripts() {
	tb.t.Helper()
	do(tb, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// open goes to a page of the dashboard and demands the status of its answer.
func (tb *tab) open(path string, status int) {
	tb.t.Helper()
	if status >= 400 {
		tb.forgive(fmt.Sprintf(`^log: network: error: .*status of %d`, status))
	}
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	var res *network.Response
	for range 3 { // there is none, or it is broken off, where another page came at that moment, as after a form or a link
		var err error
		res, err = chromedp.Run(ctx, chromedp.NavigateResponse(tb.base+path))
		if err != nil && !strings.Contains(err.Error(), "net::ERR_ABORTED") {
			tb.t.Fatalf("open %s: %v", path, err)
		}
		if err == nil && res != nil {
			break
		}
		res = nil
	}
	if res == nil {
		tb.t.Fatalf("open %s: there is no answer", path)
	}
	if int(res.Status) != status {
		tb.t.Fatalf("%s answers %d, want %d; it says: %.500s", path, res.Status, status, tb.text())
	}
}

// ask evaluates an expression in the page. ok is false where the page was on its way to another one.
func ask[T any](tb *tab, expr string) (v T, ok bool) {
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr))
	if err != nil {
		var thrown *chromedp.ExceptionError
		if asException(err, &thrown) {
			tb.t.Fatalf("%s: %v", expr, err)
		}
		return v, false
	}
	return v, true
}

// text is what the page shows now, in one line.
func (tb *tab) text() string {
	s, _ := ask[string](tb, `(document.body ? document.body.innerText : "").replace(/\s+/g, " ")`)
	return s
}

// see waits until the page shows all of the texts.
func (tb *tab) see(texts ...string) {
	tb.t.Helper()
	var last string
	lacking := texts
	eventually(tb.t, patience, func() string { return fmt.Sprintf("the page to show %q; it shows: %.1500s", lacking, last) }, func() bool {
		last = tb.text()
		lacking = slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return strings.Contains(strings.ToLower(last), strings.ToLower(s)) })
		return len(lacking) == 0 && tb.rests()
	})
}

// lacks demands that the page doesn't show any of the texts.
func (tb *tab) lacks(texts ...string) {
	tb.t.Helper()
	eventually(tb.t, patience, func() string { return "the page to be there" }, tb.rests)
	shown := strings.ToLower(tb.text())
	for _, s := range texts {
		if strings.Contains(shown, strings.ToLower(s)) {
			tb.t.Errorf("the page shows %q", s)
		}
	}
}

// until waits until an expression in the page is true.
func (tb *tab) until(what, expr string) {
	tb.t.Helper()
	eventually(tb.t, patience, func() string { return what }, func() bool {
		is, ok := ask[bool](tb, "(() => { try { return Boolean("+expr+") } catch { return false } })()") // of a page that isn't whole yet
		return ok && is && tb.rests()
	})
}

// whole waits until the page is there with all that belongs to it: one that loads itself again is neither for a moment.
func (tb *tab) whole() {
	tb.t.Helper()
	tb.until("the page to be whole", `document.readyState === "complete"`)
}

// count is how many elements of the page a selector finds.
func (tb *tab) count(css string) int {
	n, _ := ask[int](tb, fmt.Sprintf("document.querySelectorAll(%q).length", css))
	return n
}

// finder defines functions in the page: what a person would look for, by the words on it.
const finder = `(() => {
  const words = e => (e.getAttribute("aria-label") || e.textContent || e.value || "").replace(/\s+/g, " ").trim().toLowerCase();
  const shown = e => e.checkVisibility({checkVisibilityCSS: true, checkOpacity: true}) && getComputedStyle(e).clipPath === "none" && e.getBoundingClientRect().width > 2; // the rest is for those who hear the page
  const best = (all, want, of) => {
    want = want.toLowerCase();
    return all.find(e => of(e) === want) || all.find(e => of(e).startsWith(want)) || all.find(e => of(e).includes(want));
  };
  const button = want => best([...document.querySelectorAll("button, a[href], summary, input[type=submit], [role=button], [role=tab]")].filter(shown), want, words);
  const field = want => {
    const labels = [...document.querySelectorAll("label, legend")].filter(l => l.control && (shown(l) || shown(l.control)));
    const l = best(labels, want, words);
    if (l) return l.control;
    return best([...document.querySelectorAll("input, select, textarea")].filter(shown), want, e => (e.getAttribute("aria-label") || e.name || "").toLowerCase());
  };
  const leads = e => { // whether a click on it leads to another page
    const a = e.closest("a[href]"), b = e.closest("button, input");
    if (a) return !a.target && !a.hasAttribute("download") && !a.getAttribute("href").startsWith("#");
    return !!b && !!b.form && b.type === "submit" && (b.formNoValidate || b.form.noValidate || b.form.checkValidity());
  };
  return {button, field, leads};
})()`

// place is where in the window something lies.
type place struct {
	X, Y    float64
	Covered string // what lies over it, "" for nothing
	Off     bool   // it is disabled
	Leads   bool   // a click on it leads to another page
}

// find waits for an element that the finder's function gives for the words, and returns its place, scrolled to.
func (tb *tab) find(kind, words string) place {
	tb.t.Helper()
	var p, last *place
	expr := fmt.Sprintf(`(() => {
  const finder = %s, e = finder.%s(%q);
  if (!e || document.readyState !== "complete") return null;
  e.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
  const r = e.getBoundingClientRect(), x = r.x + r.width/2, y = r.y + r.height/2;
  const top = document.elementFromPoint(x, y);
  const own = top && (e === top || e.contains(top) || top.contains(e) || (top.control === e) || (top.closest("label") && top.closest("label").control === e));
  return {X: x, Y: y, Covered: own ? "" : (top ? top.outerHTML.slice(0, 200) : "nothing: it lies outside of the window"), Off: !!e.disabled, Leads: finder.leads(e)};
})()`, finder, kind, words)
	eventually(tb.t, patience, func() string { return fmt.Sprintf("a %s %q to use (%+v)", kind, words, p) }, func() bool {
		got, ok := ask[*place](tb, expr)
		p, last = got, p
		return ok && p != nil && p.Covered == "" && !p.Off && last != nil && *last == *p && tb.rests() // it has come to rest
	})
	return *p
}

// has tells whether there is something visible of the kind with the words now.
func (tb *tab) has(kind, words string) bool {
	is, _ := ask[bool](tb, fmt.Sprintf("!!%s.%s(%q)", finder, kind, words))
	return is
}

// click clicks with the mouse on the button or link with these words. Where that leads elsewhere, the window is on its way then.
func (tb *tab) click(words string) {
	tb.t.Helper()
	p, before := tb.find("button", words), tb.left()
	tb.act(fmt.Sprintf("click %q", words), chromedp.MouseClickXY(p.X, p.Y))
	if p.Leads { // the browser may put it off until it has shown that the button was pressed
		eventually(tb.t, patience, func() string { return fmt.Sprintf("the click on %q to lead elsewhere", words) }, func() bool { return tb.left() > before })
	}
}

// tick clicks on the box or choice with these words.
func (tb *tab) tick(words string) {
	tb.t.Helper()
	p := tb.find("field", words)
	tb.act(fmt.Sprintf("tick %q", words), chromedp.MouseClickXY(p.X, p.Y))
}

// fill types a text into the field with these words, instead of what is in it.
func (tb *tab) fill(words, text string) {
	tb.t.Helper()
	tb.find("field", words)
	if _, ok := ask[bool](tb, fmt.Sprintf("(() => { const e = %s.field(%q); e.focus(); e.select && e.select(); return true })()", finder, words)); !ok {
		tb.t.Fatalf("fill %q: the page went away", words)
	}
	tb.act(fmt.Sprintf("fill %q", words), chromedp.KeyEvent(text))
}

// choose chooses of a list the entry that begins with a text. Its letters aren't typed: a busy machine would take them for the
// beginnings of several entries.
func (tb *tab) choose(words, entry string) {
	tb.t.Helper()
	tb.find("field", words)
	chosen, ok := ask[bool](tb, fmt.Sprintf(`(() => {
  const e = %s.field(%q), i = [...e.options].findIndex(o => o.text.startsWith(%q));
  if (i < 0) return false;
  e.focus();
  e.selectedIndex = i;
  e.dispatchEvent(new Event("input", {bubbles: true}));
  e.dispatchEvent(new Event("change", {bubbles: true}));
  return true;
})()`, finder, words, entry))
	if !ok || !chosen {
		tb.t.Fatalf("%q offers no %q", words, entry)
	}
}

// press sends keys to whatever has the focus.
func (tb *tab) press(keys string) {
	tb.t.Helper()
	tb.act("press keys", chromedp.KeyEvent(keys))
}

// act carries out steps.
func (tb *tab) act(what string, steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tb.t.Fatalf("%s: %v", what, err)
	}
	ask[int](tb, "0") // a form is sent by a task of its own; the answer to what is asked after it finds hear knowing of it
}
