package dashboard

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// route is one thing that can be asked of the dashboard.
type route struct{ method, path string }

// open are the routes that nobody has to sign in for; every other one is tested to be shut.
var open = []route{{"GET", "/healthz"}, {"GET", "/readyz"}, {"GET", "/login"}, {"POST", "/login"}}

// routes finds every route of the dashboard: those that its code hands to a mux, and those that the API tells of itself. A new
// one is found by itself, and tested like the others.
func routes(t *testing.T, s *site) []route {
	t.Helper()
	all := []route{{"GET", "/login"}, {"POST", "/login"}, {"POST", "/logout"}, {"GET", "/"}, {"POST", "/"}, {"GET", "/metrics"}, {"GET", "/static/x"},
		{"GET", "/api/v1/no-such-thing"}, {"POST", "/api/v1/no-such-thing"}}
	for _, p := range patterns(t) {
		method, path, found := strings.Cut(p, " ")
		if !found {
			method, path = "", p
		}
		path = filled(strings.TrimSuffix(path, "{$}"))
		if strings.HasSuffix(path, "/") && path != "/" {
			path += "x"
		}
		for _, m := range []string{"GET", "POST"} {
			if method == "" || method == m {
				all = append(all, route{m, path})
			}
		}
		if method != "" && method != "GET" && method != "POST" {
			all = append(all, route{method, path})
		}
	}
	all = append(all, apiRoutes(t, s)...)
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, r := range []route{{"GET", "/where"}, {"GET", "/record"}, {"GET", "/schedules"}, {"POST", "/schedules/add"}, {"POST", "/schedules/of/" + id + "/" + id + "/" + id},
		{"POST", "/jobs/" + id + "/scrub"}, {"POST", "/jobs/" + id + "/hold/" + id}, {"GET", "/api/v1/where"}, {"GET", "/api/v1/deeds"}, {"POST", "/api/v1/schedules"},
		{"DELETE", "/api/v1/schedules/" + id}, {"POST", "/api/v1/schedules/" + id + "/run"}, {"GET", "/api/v1/jobs/" + id + "/manifest"}, {"POST", "/api/v1/jobs/" + id + "/restore"},
		{"POST", "/api/v1/jobs/" + id + "/scrub"}, {"POST", "/api/v1/jobs/" + id + "/hold/keep"}} {
		if !slices.Contains(all, r) {
			t.Errorf("%s %s isn't found", r.method, r.path)
		}
	}
	return all
}

// filled puts something into the variables of a pattern.
func filled(path string) string {
	return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
}

// patterns are the texts that the code of this tree hands to a mux.
func patterns(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Handle" && sel.Sel.Name != "HandleFunc" {
				return true
			}
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: a route whose pattern isn't written out, so that this test can't find it", name)
				return true
			}
			p, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Error(err)
			}
			all = append(all, p)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/metrics", "GET /healthz"} {
		if !slices.Contains(all, want) {
			t.Fatalf("%s isn't found among the routes %q", want, all)
		}
	}
	return all
}

// apiRoutes are the operations of the API's own description.
func apiRoutes(t *testing.T, s *site) (all []route) {
	t.Helper()
	a := s.ask(t, "GET", "/api/v1/openapi.json", "", "Authorization", "Bearer "+operatorToken)
	if a.status == 404 {
		return nil
	}
	var doc struct {
		Servers []struct{ URL string }
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || len(doc.Paths) == 0 {
		t.Fatalf("the API's description: %d, %v, %d paths", a.status, err, len(doc.Paths))
	}
	for path, operations := range doc.Paths {
		if !strings.HasPrefix(path, "/api/v1") {
			path = "/api/v1" + path
		}
		for method := range operations {
			if m := strings.ToUpper(method); slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, m) {
				all = append(all, route{m, filled(path)})
			}
		}
	}
	return append(all, route{"GET", "/api/v1/openapi.json"})
}

// TestEveryRouteIsGuarded asks for every route in every way that nobody may.
func TestEveryRouteIsGuarded(t *testing.T) {
	s := newSite(t, nil)
	all := routes(t, s)
	anna, ben := s.signIn(t, "anna"), s.signIn(t, "ben")
	forged := anna[:len(anna)-2] + "AA"
	s.ask(t, "POST", "/logout", "", "Cookie", anna) // what was ended and what is over look the same to the guard's own tests
	ended := anna
	anna = s.signIn(t, "anna")
	for _, r := range all {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			free, data := slices.Contains(open, r) || r.method == "GET" && strings.HasPrefix(r.path, "/static/"), strings.HasPrefix(r.path, "/api/") || r.path == "/metrics"
			headers := [][]string{nil, {"Cookie", forged}, {"Cookie", ended}, {"Cookie", "offload=x"}, {"Authorization", "Bearer wrong-token-0123456789"},
				{"Authorization", "Basic YW5uYTpjb3JyZWN0IGhvcnNl"}, {"Cookie", "__Host-" + anna}}
			for _, h := range headers {
				a := s.ask(t, r.method, r.path, "", h...)
				checkHeaders(t, a)
				switch {
				case r.path == "/logout", free:
				case data && (a.status != 401 || a.header.Get("Content-Type") != "application/problem+json"):
					t.Errorf("with %.30q: %d %s", h, a.status, a.body)
				case !data && r.method == "GET" && (a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/login")):
					t.Errorf("with %.30q: %d to %q", h, a.status, a.header.Get("Location"))
				case !data && r.method != "GET" && a.status != 401:
					t.Errorf("with %.30q: %d %s", h, a.status, a.body)
				}
			}
			for _, who := range [][]string{nil, {"Cookie", anna}, {"Authorization", "Bearer " + operatorToken}} {
				for _, foreign := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, {"Sec-Fetch-Site", "same-site"}} {
					if a := s.ask(t, r.method, r.path, "", slices.Concat(who, foreign)...); a.status != 403 {
						t.Errorf("from another site, %q: %d", foreign, a.status)
					}
				}
				for _, host := range []string{"evil.example", "evil.example:7317", "localhost.evil.example"} {
					if a := s.ask(t, r.method, r.path, "", slices.Concat(who, []string{"Host", host})...); a.status != 421 || strings.Contains(a.body, "evil") {
						t.Errorf("as %s: %d %s", host, a.status, a.body)
					}
				}
				for _, trick := range []string{"/static/.." + r.path, "/static/%2e%2e" + r.path, "//evil.example" + r.path, "/login/.." + r.path, "/healthz/%2e%2e" + r.path, "/static%2f..%2f" + r.path} {
					if a := s.ask(t, r.method, trick, "", who...); a.status != 400 {
						t.Errorf("as %s: %d", trick, a.status)
					}
				}
			}
			if r.method == "GET" || r.path == "/login" || r.path == "/logout" {
				return
			}
			for _, who := range [][]string{{"Cookie", ben}, {"Authorization", "Bearer " + viewerToken}} {
				if who[0] == "Authorization" && !data {
					continue // tokens are for programs
				}
				if a := s.ask(t, r.method, r.path, "", who...); a.status != 403 {
					t.Errorf("a viewer, by %s: %d %s", who[0], a.status, a.body)
				}
			}
		})
	}
	t.Logf("%d routes", len(all))
}

// Viewers may look at everything.
func TestViewersMayLook(t *testing.T) {
	s := newSite(t, nil)
	ben := s.signIn(t, "ben")
	for _, r := range routes(t, s) {
		if r.method != "GET" || r.path == "/login" || r.path == "/logout" {
			continue
		}
		if a := s.ask(t, "GET", r.path, "", "Cookie", ben); a.status == 401 || a.status >= 500 || strings.HasPrefix(a.header.Get("Location"), "/login") {
			t.Errorf("%s: %d %.200s", r.path, a.status, a.body)
		}
	}
}

func checkHeaders(t *testing.T, a answer) {
	t.Helper()
	for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY"} {
		if !strings.Contains(a.header.Get(name), want) {
			t.Errorf("%s is %q", name, a.header.Get(name))
		}
	}
	if strings.Contains(a.header.Get("Content-Security-Policy"), "unsafe") {
		t.Error("the policy allows what is unsafe")
	}
}

// What a request says doesn't come back as markup, whoever asks.
func TestScriptInRequests(t *testing.T) {
	s := newSite(t, nil)
	anna := s.signIn(t, "anna")
	const script = `<script>alert(1)</script>`
	const encoded = `%3Cscript%3Ealert(1)%3C%2Fscript%3E`
	for _, r := range append(routes(t, s), route{"GET", "/%3Cscript%3Ealert(1)%3C"}, route{"GET", "/jobs/%22%3E%3Cscript%3E"}) {
		query := fmt.Sprintf("?q=%[1]s&search=%[1]s&next=/%[1]s&note=%[1]s&state=%[1]s&account=%[1]s&remote=%[1]s&cursor=%[1]s&id=%[1]s", encoded)
		for _, who := range [][]string{nil, {"Cookie", anna}} {
			form := strings.TrimPrefix(query, "?") + "&user=" + encoded + "&password=" + encoded
			if r.method == "GET" {
				form = ""
			}
			a := s.ask(t, r.method, r.path+query, form, append([]string{"User-Agent", script, "Referer", "http://localhost:7317/" + encoded, "X-Forwarded-For", script}, who...)...)
			if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && strings.Contains(strings.ToLower(a.body), "<script>") {
				t.Errorf("%s %s shows it as markup:\n%s", r.method, r.path, a.body)
			}
		}
	}
}
