package guard

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Where one signs in and out.
const (
	loginPath  = "/login"
	logoutPath = "/logout"
)

// login shows the page for signing in, and signs in who fills it in.
func (g *Guard) login(w http.ResponseWriter, r *http.Request, v *visit) {
	if g.o.Open() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	page := LoginPage{Next: "/", Status: http.StatusOK}
	if safe(r.Method) {
		if next := r.URL.Query().Get("next"); ownPath(next) {
			page.Next = next
		}
		g.showLogin(w, r, page)
		return
	}
	if r.Method != http.MethodPost {
		g.refuse(w, r, refusal{http.StatusMethodNotAllowed, "This address takes no requests of this kind", "Use the form there."})
		return
	}
	readSoon(w)
	r.Body = http.MaxBytesReader(w, r.Body, maxLoginBody)
	if err := r.ParseForm(); err != nil {
		g.refuse(w, r, refusal{http.StatusBadRequest, "The form can't be read", "Fill it in again."})
		return
	}
	if next := r.PostForm.Get("next"); ownPath(next) {
		page.Next = next
	}
	page.User = r.PostForm.Get("user")
	ok := g.signIn(w, r, v, &page, r.PostForm.Get("password"))
	if !ok {
		g.showLogin(w, r, page)
		return
	}
	http.Redirect(w, r, page.Next, http.StatusSeeOther)
}

// signIn checks a name and a password and begins a session, or says on the page why not.
func (g *Guard) signIn(w http.ResponseWriter, r *http.Request, v *visit, page *LoginPage, secret string) bool {
	who, mark, known := g.people.named(page.User)
	// Names that nobody has share one count: memory stays bounded, and they can't be told from others by the limit alone.
	place, name := placeOf(v.client), "?"
	if known {
		name = "=" + page.User
	}
	now := time.Now()
	if wait := g.byPlace.take(place, now); wait > 0 {
		return g.tooMany(w, r, v, page, wait)
	}
	if wait := g.byName.take(name, now); wait > 0 {
		return g.tooMany(w, r, v, page, wait)
	}
	good, err := g.people.check(r.Context(), page.User, secret)
	if err == nil && !good {
		g.o.Log.Warn("sign-in refused", "user", short(page.User), "from", v.client.String())
		page.Status, page.Error = http.StatusUnauthorized, "The name and the password don't belong together."
		return false
	}
	var s session
	if err == nil {
		s, err = g.sessions.begin(r.Context(), page.User, mark, now.Add(g.o.Lifetime))
	}
	g.byPlace.giveBack(place)
	g.byName.giveBack(name)
	if err != nil {
		g.o.Log.Warn("sign in", "error", err)
		page.Status, page.Error = http.StatusServiceUnavailable, "The store can't be reached. "+storeAway
		return false
	}
	v.person = who
	setCookie(w, v.secure, s.cookie(), s.until)
	g.o.Log.Info("signed in", "user", who.Name, "role", who.Role.String(), "from", v.client.String())
	g.record(r, Deed{Who: who.Name, Action: "signed in", Subject: loginPath, Detail: "from " + v.client.String()})
	return true
}

// tooMany tells when to try again.
func (g *Guard) tooMany(w http.ResponseWriter, r *http.Request, v *visit, page *LoginPage, wait time.Duration) bool {
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	page.Status, page.Error = http.StatusTooManyRequests, fmt.Sprintf("There were too many tries. Try again in %d seconds.", seconds)
	if seconds == 1 {
		page.Error = "There were too many tries. Try again in a second."
	}
	g.o.Log.Warn("sign-in refused: too many tries", "user", short(page.User), "from", v.client.String(), "wait", wait.Round(time.Second))
	return false
}

// logout ends the session of whoever asks, here and at all dashboards of the store.
func (g *Guard) logout(w http.ResponseWriter, r *http.Request, v *visit) {
	if r.Method != http.MethodPost {
		g.refuse(w, r, refusal{http.StatusMethodNotAllowed, "Nobody is signed out by a link", "Use the button."})
		return
	}
	if g.o.Open() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if s, ok := readCookie(r, v.secure); ok {
		who, good, err := g.session(r.Context(), s)
		if good || err != nil {
			// A note that can't be written holds at this dashboard at least.
			if err := g.sessions.end(context.WithoutCancel(r.Context()), s); err != nil {
				g.o.Log.Warn("sign out", "user", short(s.name), "error", err)
			}
		}
		if good {
			v.person = who
			g.record(r, Deed{Who: who.Name, Action: "signed out", Subject: logoutPath, Detail: "from " + v.client.String()})
		}
	}
	setCookie(w, v.secure, "", time.Unix(1, 0))
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

// record hands a deed to whoever keeps them.
func (g *Guard) record(r *http.Request, d Deed) {
	if g.o.Audit != nil {
		g.o.Audit(context.WithoutCancel(r.Context()), d)
	}
}

// short is a name as a log may hold it: quoted by the log, and no longer than names are.
func short(name string) string {
	if r := []rune(name); len(r) > 64 {
		return string(r[:64])
	}
	return name
}
