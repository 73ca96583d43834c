package pages

import "net/http"

// Login is what the sign-in page shows.
type Login struct {
	User  string // as it was typed
	Next  string // path of ours to go to afterwards
	Error string // why the last attempt was refused; "" for none
}

func (Login) frame(f *frame) { f.Nav, f.Bare = "", true }

// Login answers with the sign-in page, whose form is posted to /login as "user", "password" and "next".
func (p *Pages) Login(w http.ResponseWriter, r *http.Request, status int, l Login) {
	p.render(w, r, status, "login", l)
}
