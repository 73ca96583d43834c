package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/store"
	"offload/remotes"
)

// awaitPort waits until rclone's port for consents can be had, and keeps it for the test. Any connection on this machine may have been
// given it as its own end, and it stays so for a minute after that has ended.
func awaitPort(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	late := time.After(3 * time.Minute)
	for {
		free, err := takePort(53682)
		if err == nil {
			t.Cleanup(free)
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(err)
		}
	}
}

// consent plays the pages of a service: a person who allows everything, and the exchange of the code for a token.
func consent(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		back, err := url.Parse(q.Get("redirect_uri"))
		if err != nil || q.Get("client_id") != "own-app" || q.Get("token_access_type") != "offline" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		back.RawQuery = url.Values{"code": {"planted-code"}, "state": {q.Get("state")}}.Encode()
		http.Redirect(w, r, back.String(), http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.FormValue("code") != "planted-code" || id+r.FormValue("client_id") != "own-app" || secret+r.FormValue("client_secret") != "planted-secret" {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"planted-access","refresh_token":"planted-refresh","token_type":"bearer","expires_in":14400}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// browser follows the link that is printed, as a person does.
type browser struct {
	mu   sync.Mutex
	seen strings.Builder
	once sync.Once
	done chan struct{}
}

func (b *browser) Write(p []byte) (int, error) {
	b.mu.Lock()
	b.seen.Write(p)
	all := b.seen.String()
	b.mu.Unlock()
	if _, rest, found := strings.Cut(all, "go to http://"); found && strings.Contains(rest, " ") {
		link, _, _ := strings.Cut(rest, " ")
		b.once.Do(func() {
			go func() {
				defer close(b.done)
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
				resp, err := client.Get("http://" + link)
				if err == nil { // rclone may close its server before the last page is out; what counts is what it got
					resp.Body.Close()
				}
			}()
		})
	}
	return len(p), nil
}

// TestSignInInABrowser goes through rclone's own sign-in with an app of one's own. It runs in a process of its own: rclone's
// web server ends a moment after its answer, and reads rclone's global settings then, which the next test sets.
func TestSignInInABrowser(t *testing.T) {
	if os.Getenv("OFFLOAD_TEST_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSignInInABrowser$", "-test.timeout=8m")
		cmd.Env = append(os.Environ(), "OFFLOAD_TEST_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	awaitPort(t)
	server := consent(t)
	h := newHome(t)
	secret := filepath.Join(h.dir, "app-secret")
	if err := os.WriteFile(secret, []byte("planted-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, seen := &strings.Builder{}, &browser{done: make(chan struct{})}
	a := &app{in: &typist{answers: []func() string{text("y")}}, out: out, err: seen, signals: make(chan os.Signal), terminal: true}
	a.lookup = func(name string) (string, bool) {
		if name == "SSH_CONNECTION" {
			return "yes", true // no browser is opened
		}
		v, ok := h.env[name]
		return v, ok
	}
	code := a.run(t.Context(), []string{"remotes", "add", "dropbox", "auth_url=" + server.URL + "/authorize", "token_url=" + server.URL + "/token",
		"--client-id", "own-app", "client_secret=@" + secret, "--no-check"})
	select {
	case <-seen.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("no link was printed: %s", lastLines(seen.seen.String()))
	}
	if code != exitDone || !strings.Contains(out.String(), "dropbox: added") {
		t.Fatalf("exit status %d: %s%s", code, out, lastLines(seen.seen.String()))
	}
	for _, planted := range []string{"planted-access", "planted-refresh", "planted-secret", "planted-code"} {
		if strings.Contains(out.String()+seen.seen.String(), planted) {
			t.Errorf("%s was printed", planted)
		}
	}
	kept, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(h.dir, "data", "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	sealed, err := remotes.Open(t.Context(), remotes.Options{Client: kept.Client(), KeyFile: filepath.Join(h.dir, "data", "remotes.key")})
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{"type": "dropbox", "client_id": "own-app", "client_secret": "planted-secret", "token": "planted-refresh"} {
		if got, _ := sealed.GetValue("dropbox", k); !strings.Contains(got, want) {
			t.Errorf("%s is %q; want %s", k, got, want)
		}
	}
}

// TestPagesSignInInABrowser allows the access at a service that is played, in a browser on the same machine, with an app of
// one's own. It runs in a process of its own for the same reason.
func TestPagesSignInInABrowser(t *testing.T) {
	if os.Getenv("OFFLOAD_TEST_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPagesSignInInABrowser$", "-test.timeout=8m")
		cmd.Env = append(os.Environ(), "OFFLOAD_TEST_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	awaitPort(t)
	s := newFormSite(t)
	begin := []string{"kind", "dropbox", "name", "dropbox", "how", "browser"}
	got := s.post("/remotes/add", begin...)
	s.holds(got, 200, "Allow the access in your browser", "http://127.0.0.1:53682/auth?state=")
	s.holds(s.post("/remotes/dropbox/sign-in", "answer", "x"), 422, "is being asked already")
	// Another one would be shown this one's address, and link the wrong account.
	s.holds(s.post("/remotes/add", "kind", "dropbox", "name", "bobs", "how", "browser"), 422, "nother sign-in waits for a browser")
	s.holds(s.get("/remotes/bobs/sign-in"), 404)
	s.holds(s.post("/remotes/dropbox/stop"), 200, "Remotes") // and the port is free again
	s.holds(s.get("/remotes/dropbox/sign-in"), 404)
	got = s.post("/remotes/add", begin...)
	link := regexp.MustCompile(`http://127\.0\.0\.1:53682/auth\?state=[\w-]+`).FindString(got.text)
	if link == "" {
		t.Fatalf("no link:\n%s", bodyText(got.text))
	}
	away := s.world.Transport()
	away.DisableKeepAlives = true
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if name := r.URL.Hostname(); name == "127.0.0.1" || name == "localhost" {
			return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		}
		return away.RoundTrip(r)
	})}
	if resp, err := client.Get(link); err == nil { // rclone may close its server before the last page is out
		resp.Body.Close()
	}
	s.until("/remotes/dropbox/sign-in", "is signed in")
	s.until("/remotes", "Answers")
	s.checkNoSecrets(t, tokenSecrets(t, s.parts.remotes.Values("dropbox")["token"])...)
}

// roundTripper is an http.RoundTripper of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
