package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// What these tests promise is worth something only if the browser's complaints are heard.
func TestHarnessHearsComplaints(t *testing.T) {
	mux := http.NewServeMux()
	page := func(path, body string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'")
			fmt.Fprint(w, `<!doctype html><html lang="en"><title>t</title><link rel="icon" href="data:,"><main><h1>A page</h1>`+body+`</main></html>`)
		})
	}
	script := func(path, text string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, text)
		})
	}
	page("/inline", `<script>document.title = "got in"</script>`)
	page("/style", `<p style="color: red">red</p>`)
	page("/elsewhere", `<img alt="" src="http://127.0.0.1:1/x.png">`)
	page("/error", `<script src="/error.js"></script>`)
	page("/throws", `<script src="/throws.js"></script>`)
	page("/gone", `<img alt="" src="/gone.png">`)
	page("/asks", `<script src="/asks.js"></script>`)
	script("/error.js", `console.error("it hurts")`)
	script("/throws.js", `throw new Error("it burst")`)
	script("/asks.js", `setTimeout(() => alert("hello"), 0)`)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	for _, tt := range []struct{ path, want string }{
		{"/inline", "script-src"},
		{"/style", "style-src"},
		{"/elsewhere", "img-src"},
		{"/error", "it hurts"},
		{"/throws", "it burst"},
		{"/gone", "404"},
		{"/asks", "dialog"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			tb := openTab(t, server.URL, "")
			tb.open(tt.path, http.StatusOK)
			var heard []string
			eventually(t, patience, func() string { return fmt.Sprintf("a complaint with %q; heard %q", tt.want, heard) }, func() bool {
				heard = append(heard, tb.heard()...)
				return slices.ContainsFunc(heard, func(c string) bool { return strings.Contains(c, tt.want) })
			})
			tb.forgive(".") // what was heard on purpose doesn't fail the test
		})
	}
}

func TestHarnessFindsWhatIsHardToUse(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>t</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,"><style>.wide { width: 900px; color: #bbb }</style>
<main><h1>A page</h1><form><input name="nameless"><p class="wide">very long and pale</p><label>Your name <input id="n" name="n"></label>
<label for="b">Agree</label><input type="checkbox" id="b"><button>Send it</button></form></main></html>`)
	}))
	t.Cleanup(server.Close)
	tb := openTab(t, server.URL, "")
	tb.forgive("^issue: ") // the field without a label
	tb.open("/", http.StatusOK)
	var rules []string
	for _, f := range tb.axe() {
		rules = append(rules, f.ID)
	}
	for _, want := range []string{"label", "color-contrast"} {
		if !slices.Contains(rules, want) {
			t.Errorf("axe finds %q, and not %q", rules, want)
		}
	}
	if w := tb.width(); w != "" {
		t.Errorf("the page is too wide at 1280: %s", w)
	}
	tb.size(390, 800)
	if w := tb.width(); !strings.Contains(w, "very long") {
		t.Errorf("at 390 px the wide line is told as %q", w)
	}
	tb.size(1280, 900)
	tb.fill("your name", "Anna Ångström")
	tb.tick("agree")
	if v, _ := ask[string](tb, `document.querySelector("#n").value + document.querySelector("#b").checked`); v != "Anna Ångströmtrue" {
		t.Errorf("the form holds %q", v)
	}
	tb.click("send it")
	tb.until("the form to be sent", `location.search.includes("nameless=&n=Anna")`)
}

// A page that no test looks at is found by its template; the layout and the parts are no pages.
func TestHarnessMissesPages(t *testing.T) {
	page := &fstest.MapFile{Data: []byte(`{{define "title"}}A{{end}}{{define "main"}}a page{{end}}`)}
	folder := fstest.MapFS{"home.html": page, "new.html": page, "part_job.html": {Data: []byte(`{{define "state"}}{{end}}`)}, "layout.html": {Data: []byte(`{{template "main" .}}`)}}
	left, err := unseen(folder, map[string]bool{"home": true, "": true})
	if err != nil || !slices.Equal(left, []string{"new.html"}) {
		t.Errorf("%q, %v are missed, want new.html", left, err)
	}
}
