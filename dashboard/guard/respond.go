package guard

import (
	"encoding/json"
	"html/template"
	"net/http"
	"time"
)

// refusal is why a request isn't answered.
type refusal struct {
	status int
	title  string // what is wrong, in a few words for people, without anything of the request
	hint   string // what to do, as sentences
}

// readTime is how long a body may take that nobody let in yet, or that nobody reads.
const readTime = 10 * time.Second

// readSoon ends a connection that sends its body too slowly. A writer without deadlines is as good as it gets.
func readSoon(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTime))
}

// dropBody sees to it that a body that nobody reads isn't waited for.
func dropBody(w http.ResponseWriter, r *http.Request) {
	if !safe(r.Method) {
		w.Header().Set("Connection", "close")
		readSoon(w)
	}
}

// refuse answers with a document to programs and with a page to people. A body isn't waited for.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, no refusal) {
	if no.status == http.StatusUnauthorized && wantsData(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="offload"`)
	}
	if no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	dropBody(w, r)
	if wantsData(r) {
		Problem(w, no.status, no.title, no.hint)
		return
	}
	if g.o.Fail != nil {
		g.o.Fail(w, r, no.status, no.title, no.hint)
		return
	}
	g.plain(w, no.status, no.title, `<p>{{.}}</p><p><a href="/">Home</a></p>`, no.hint)
}

// Problem answers with an error as RFC 9457 has it.
func Problem(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// An answer that can't be written has nobody to tell.
	_ = json.NewEncoder(w).Encode(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{title, status, detail})
}

// showLogin writes the page for signing in.
func (g *Guard) showLogin(w http.ResponseWriter, r *http.Request, page LoginPage) {
	if g.o.Login != nil {
		g.o.Login(w, r, page)
		return
	}
	g.plain(w, page.Status, "Sign in", `{{with .Error}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="/login"><input type="hidden" name="next" value="{{.Next}}">
<p><label>Name <input name="user" autocomplete="username" required value="{{.User}}"></label></p>
<p><label>Password or token <input type="password" name="password" autocomplete="current-password" required></label></p>
<p><button>Sign in</button></p></form>`, page)
}

// plain writes a page without any design.
func (g *Guard) plain(w http.ResponseWriter, status int, title, body string, data any) {
	t, err := template.New("").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>` +
		template.HTMLEscapeString(title) + ` – offload</title><link rel="stylesheet" href="/static/style.css"></head><body><main><h1>` + template.HTMLEscapeString(title) + `</h1>` + body + `</main></body></html>`)
	if err != nil {
		g.o.Log.Error("write a page", "error", err)
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// An answer that can't be written has nobody to tell.
	_ = t.Execute(w, data)
}
