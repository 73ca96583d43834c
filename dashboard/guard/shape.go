package guard

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// visit is what the guard finds out of a request.
type visit struct {
	client    netip.Addr // who asks, behind the proxies that are believed
	secure    bool       // the person's browser speaks TLS
	forwarded bool       // some proxy passed it on
	person    Person
	route     string      // the pattern of the mux, where it is known
	told      atomic.Bool // what was done is in the record
}

// arrive reads what the proxies in front say, where they are believed, and returns the request as its sender meant it.
func (g *Guard) arrive(r *http.Request) (*http.Request, *visit) {
	v := &visit{secure: r.TLS != nil, client: address(r.RemoteAddr)}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
		v.forwarded = v.forwarded || r.Header.Get(name) != ""
	}
	if !g.believed(v.client) {
		return r, v
	}
	out := new(http.Request)
	*out = *r
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- { // the last that no proxy of ours has written
		from := address(strings.TrimSpace(hops[i]))
		if !from.IsValid() {
			break
		}
		if v.client = from; !g.believed(from) {
			break
		}
	}
	if proto := last(r.Header.Values("X-Forwarded-Proto")); proto != "" {
		v.secure = strings.EqualFold(proto, "https")
	}
	if host := last(r.Header.Values("X-Forwarded-Host")); host != "" {
		out.Host = host
	}
	return out, v
}

// last returns the last part of a list in headers: that of the nearest proxy.
func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	v := values[len(values)-1]
	return strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:])
}

// address reads an address with or without a port; the zero one where it is none.
func address(text string) netip.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}

func (g *Guard) believed(ip netip.Addr) bool {
	for _, p := range g.o.Proxies {
		if ip.IsValid() && p.Contains(ip) {
			return true
		}
	}
	return false
}

// bareHost is a host without port, brackets and capitals.
func bareHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// known tells whether the dashboard goes by the name in the Host header. A page of another site whose name was made to
// lead here has a name of its own there.
func (g *Guard) known(r *http.Request, v *visit) bool {
	host := bareHost(r.Host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || host != "" && g.hosts[host] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip.Unmap().IsLoopback() {
		return true
	}
	// The address that the request came to. Names that lead here are not addresses.
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && address(local.String()) == ip.Unmap()
}

// foreign tells whether a browser made the request for a page of another site, except for following a link from there.
func (g *Guard) foreign(r *http.Request) bool {
	if g.origins.Check(r) != nil {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		dest := r.Header.Get("Sec-Fetch-Dest")
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || dest != "" && dest != "document"
	case "":
		origin := r.Header.Get("Origin")
		if origin == "" {
			return false
		}
		u, err := url.Parse(origin)
		return err != nil || !strings.EqualFold(u.Host, r.Host)
	}
	return false
}

// oddPath tells whether a path is written in a way that a page, a link or a program of ours never writes: what reads it in
// another way than the one who checked it is a hole.
func oddPath(u *url.URL) bool {
	p := u.Path
	if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") && !isAPI(p) || !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) {
		return true
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	escaped := strings.ToLower(u.EscapedPath())
	return strings.Contains(escaped, "//") || strings.Contains(escaped, "%2f") && !isAPI(escaped)
}

// public tells whether anybody may look at what the request asks for: what the page for signing in is made of, and whether
// the process lives.
func public(r *http.Request) bool {
	p := r.URL.EscapedPath()
	return safe(r.Method) && (p == "/healthz" || p == "/readyz" || strings.HasPrefix(p, "/static/"))
}

func isAPI(path string) bool { return path == "/api" || strings.HasPrefix(path, "/api/") }

// forPrograms tells whether the request is one of those that tokens are for.
func forPrograms(r *http.Request) bool { return isAPI(r.URL.Path) || r.URL.Path == "/metrics" }

// wantsData tells whether the one who asks can't do anything with a page.
func wantsData(r *http.Request) bool {
	return forPrograms(r) || r.URL.Path == "/readyz" || strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream")
}

// nextQuery is the query that leads back to where somebody wanted to go.
func nextQuery(u *url.URL) string {
	if next := u.RequestURI(); next != "/" && ownPath(next) {
		return "?" + url.Values{"next": {next}}.Encode()
	}
	return ""
}

// maxNext bounds the path to return to after signing in.
const maxNext = 1024

// ownPath tells whether a text is a path of this dashboard that one can be sent to after signing in. Browsers read a
// backslash as a slash, and pass over tabs and line ends.
func ownPath(next string) bool {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsFunc(next, func(r rune) bool {
		return r == '\\' || unicode.IsControl(r) || r == utf8.RuneError
	}) {
		return false
	}
	u, err := url.ParseRequestURI(next)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && !oddPath(u) && u.Path != loginPath && u.Path != logoutPath
}
