// Package guard decides who may do what at the dashboard: sign-in, roles, and what a request must look like to be answered
// at all. Every request passes, in this order: the address's form, the name that the dashboard is called by, the site that
// the request comes from, the sign-in, the role.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Role is what a person may do. The zero value may do nothing.
type Role int

// The roles, each of which may do what the one before may.
const (
	Nobody   Role = iota
	Viewer        // looks at everything but secrets
	Operator      // changes things
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Operator:
		return "operator"
	}
	return "nobody"
}

// ParseRole returns the role of that name.
func ParseRole(name string) (Role, error) {
	for _, r := range []Role{Viewer, Operator} {
		if r.String() == name {
			return r, nil
		}
	}
	return Nobody, fmt.Errorf("%q is no role", name)
}

// Person is who makes a request.
type Person struct {
	Name string // as configured; "" on loopback without users
	Role Role
}

// whoKey finds the person in a request's context.
type whoKey struct{}

// Who tells who makes the request that ctx is of.
func Who(ctx context.Context) Person {
	p, _ := ctx.Value(whoKey{}).(Person)
	return p
}

// As returns a context of a request by p.
func As(ctx context.Context, p Person) context.Context { return context.WithValue(ctx, whoKey{}, p) }

// didKey finds in a request's context the function that Did calls.
type didKey struct{}

// Did records in words what a person has done by a request, in place of its method and route: at once, however the answer ends,
// and also when it was given long ago.
func Did(ctx context.Context, action, subject, detail string) {
	if record, ok := ctx.Value(didKey{}).(func(Deed)); ok {
		record(Deed{Action: action, Subject: subject, Detail: detail})
	}
}

// Nothing says that a request has changed nothing, or nothing that is to be recorded, though its method may do so.
func Nothing(ctx context.Context) { Did(ctx, "", "", "") }

// User is a person who signs in with a password.
type User struct {
	Name string
	Role Role
	Hash string // bcrypt's
}

// Token is a secret that a program shows, and that a person can sign in with.
type Token struct {
	Name string
	Role Role
	Sum  [32]byte // SHA-256 of the token
}

// Deed is something that a person did.
type Deed struct {
	Who     string // "" where nobody has to sign in
	Action  string // "signed in", "signed out", what the handler says (Did), or method and route: "POST /jobs/{id}/pause"
	Subject string // the path, where the handler says nothing
	Detail  string // where it came from, where the handler says nothing
}

// LoginPage is what the page for signing in shows.
type LoginPage struct {
	Next   string // a path of the dashboard, to go to afterwards
	User   string // what was typed before
	Error  string // a sentence; "" for none
	Status int
}

// Options of a Guard. The zero value lets everyone on this machine do everything.
type Options struct {
	Users  []User
	Tokens []Token
	// Listen is the host that is listened on, "" for every address; it may stand in the Host header.
	Listen string
	// Hosts are more names that may.
	Hosts []string
	// Proxies are believed what they say of the request that they pass on.
	Proxies []netip.Prefix
	// Lifetime of a sign-in. Defaults to seven days.
	Lifetime time.Duration
	// Sessions outlive the process there. Defaults to this process's memory.
	Sessions Sessions
	// Audit records deeds, if set.
	Audit func(context.Context, Deed)
	// Context adds what the dashboard's parts want to know of the person, if set.
	Context func(context.Context, Person) context.Context
	// Login writes the page for signing in. Defaults to a plain one.
	Login func(http.ResponseWriter, *http.Request, LoginPage)
	// Fail writes the page that says why a request isn't answered. Defaults to a plain one.
	Fail func(w http.ResponseWriter, r *http.Request, status int, title, hint string)
	// Log takes requests and sign-ins. Defaults to nothing.
	Log *slog.Logger
}

// Open tells whether nobody has to sign in: the dashboard is this machine's alone then.
func (o Options) Open() bool { return len(o.Users)+len(o.Tokens) == 0 }

// Guard decides who may do what.
type Guard struct {
	o        Options
	hosts    map[string]bool
	people   *people
	sessions *sessions
	origins  *http.CrossOriginProtection
	byPlace  *tries // failed sign-ins by address
	byName   *tries // and by user
}

// New returns a guard.
func New(o Options) (*Guard, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Lifetime == 0 {
		o.Lifetime = 7 * 24 * time.Hour
	}
	if o.Lifetime < 0 {
		return nil, errors.New("a sign-in must last some time")
	}
	if o.Sessions == nil {
		o.Sessions = NewMemory()
	}
	p, err := newPeople(o.Users, o.Tokens)
	if err != nil {
		return nil, err
	}
	g := &Guard{o: o, hosts: map[string]bool{}, people: p, sessions: newSessions(o.Sessions, o.Log), origins: http.NewCrossOriginProtection(),
		byPlace: newTries(5, 30*time.Second, 4096), byName: newTries(20, 10*time.Second, 4096)}
	for _, h := range append([]string{o.Listen}, o.Hosts...) {
		if h = bareHost(h); h != "" {
			g.hosts[h] = true
		}
	}
	return g, nil
}

// maxBody bounds what a request may bring, in bytes: a list of files is the largest of it.
const (
	maxBody      = 8 << 20
	maxLoginBody = 16 << 10
)

// Wrap lets only those requests through to h that may be made, each with its person in the context. Requests that change
// something (all but GET and HEAD) need an operator.
func (g *Guard) Wrap(h http.Handler) http.Handler {
	return g.observe(func(w http.ResponseWriter, r *http.Request, v *visit) {
		if no := g.checkShape(r, v); no != nil {
			g.refuse(w, r, *no)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		switch r.URL.Path {
		case loginPath:
			g.login(w, r, v)
			return
		case logoutPath:
			g.logout(w, r, v)
			return
		}
		p, no := g.identify(r, v)
		if no != nil {
			g.turnAway(w, r, *no)
			return
		}
		v.person = p
		if !public(r) && !safe(r.Method) && p.Role < Operator {
			g.refuse(w, r, refusal{http.StatusForbidden, "You may look, but not change anything", "That takes an operator."})
			return
		}
		ctx := context.WithValue(As(r.Context(), p), seatKey{}, seat(r, p, v.client, v.secure))
		ctx = context.WithValue(ctx, didKey{}, func(d Deed) {
			v.told.Store(true)
			if d.Action != "" {
				d.Who = p.Name
				g.record(r, d)
			}
		})
		if g.o.Context != nil {
			ctx = g.o.Context(ctx, p)
		}
		r = r.WithContext(ctx)
		h.ServeHTTP(w, r)
		v.route = r.Pattern
	})
}

// Closed answers for a dashboard that isn't there yet: it says why, to everybody, and that the process lives. static has what
// the page is made of.
func (g *Guard) Closed(static http.Handler, title, hint string) http.Handler {
	return g.observe(func(w http.ResponseWriter, r *http.Request, v *visit) {
		no := g.checkShape(r, v)
		switch {
		case no != nil:
		case r.URL.Path == "/healthz" && safe(r.Method):
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte("alive\n")) // an answer that can't be written has nobody to tell
			return
		case public(r) && strings.HasPrefix(r.URL.Path, "/static/"):
			static.ServeHTTP(w, r)
			return
		default:
			no = &refusal{http.StatusServiceUnavailable, title, hint}
		}
		g.refuse(w, r, *no)
	})
}

// checkShape looks at everything but who makes the request.
func (g *Guard) checkShape(r *http.Request, v *visit) *refusal {
	if !g.known(r, v) {
		return &refusal{http.StatusMisdirectedRequest, "The dashboard doesn't go by this name", "If it should, add the name to dashboard.hosts in its settings."}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return &refusal{http.StatusMethodNotAllowed, "The dashboard doesn't answer requests of this kind", "Pages are asked for with GET."}
	}
	if oddPath(r.URL) {
		return &refusal{http.StatusBadRequest, "This is no address of the dashboard", "Go on from the first page."}
	}
	if g.o.Open() && v.forwarded {
		return &refusal{http.StatusForbidden, "The request came through a proxy, and the dashboard has no users", "Add dashboard.users or dashboard.tokens to its settings."}
	}
	if g.foreign(r) {
		return &refusal{http.StatusForbidden, "The request comes from another site", "Open the dashboard itself and do it there."}
	}
	return nil
}

// identify finds out who makes the request; a refusal where that must be known and isn't.
func (g *Guard) identify(r *http.Request, v *visit) (Person, *refusal) {
	if g.o.Open() {
		return Person{Role: Operator}, nil
	}
	if public(r) {
		return Person{}, nil
	}
	if kind, secret, has := strings.Cut(r.Header.Get("Authorization"), " "); r.Header.Get("Authorization") != "" && forPrograms(r) {
		if p, ok := g.people.bearer(secret); has && ok && strings.EqualFold(kind, "Bearer") {
			return p, nil
		}
		return Person{}, &refusal{http.StatusUnauthorized, "The token isn't one of this dashboard's", "The settings name the tokens: dashboard.tokens."}
	}
	s, ok := readCookie(r, v.secure)
	if !ok {
		return Person{}, &refusal{http.StatusUnauthorized, "Sign in first", "Programs send a token: Authorization: Bearer TOKEN."}
	}
	p, ok, err := g.session(r.Context(), s)
	if err != nil {
		g.o.Log.Warn("look up a session", "error", err)
		return Person{}, &refusal{http.StatusServiceUnavailable, "The store can't be reached", storeAway}
	}
	if !ok {
		return Person{}, &refusal{http.StatusUnauthorized, "You were signed out", "Sign in again."}
	}
	return p, nil
}

// session returns the person of a session that is signed, not over and not ended.
func (g *Guard) session(ctx context.Context, s session) (Person, bool, error) {
	who, mark, known := g.people.named(s.name)
	if !known || !time.Now().Before(s.until) {
		return Person{}, false, nil
	}
	ok, err := g.sessions.valid(ctx, s, mark)
	return who, ok, err
}

// turnAway is refuse for whoever isn't signed in: a person who only looks is sent to the page for that.
func (g *Guard) turnAway(w http.ResponseWriter, r *http.Request, no refusal) {
	if no.status != http.StatusUnauthorized || wantsData(r) {
		g.refuse(w, r, no)
		return
	}
	if safe(r.Method) {
		http.Redirect(w, r, loginPath+nextQuery(r.URL), http.StatusSeeOther)
		return
	}
	dropBody(w, r)
	g.showLogin(w, r, LoginPage{Next: "/", Error: no.title + ".", Status: http.StatusUnauthorized})
}

// storeAway is what people are told when the store doesn't answer.
const storeAway = "Nobody can be let in without it. Workers go on with what they have begun; try again in a moment."

// safe tells whether a request of this method changes nothing.
func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }
