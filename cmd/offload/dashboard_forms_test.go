package main

import (
	"context"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/configs"
	"offload/dashboard"
	"offload/internal/cloudtest"
	"offload/jobs"
)

// formSite is a dashboard on the played clouds, as the command wires it, and a browser without JavaScript.
type formSite struct {
	*played
	t      *testing.T
	parts  *parts
	srv    *httptest.Server
	client *http.Client
}

func newFormSite(t *testing.T) *formSite {
	t.Helper()
	p := newPlayed(t)
	return p.site(t)
}

func (p *played) site(t *testing.T) *formSite {
	t.Helper()
	s := &formSite{played: p, t: t, client: &http.Client{Transport: &http.Transport{}}}
	log := slog.New(slog.NewTextHandler(p.said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, signals: make(chan os.Signal)}
	a.lookup = func(name string) (string, bool) { v, ok := p.env[name]; return v, ok }
	cfg := configs.Config{Data: filepath.Join(p.dir, "data"), RcloneConfig: p.env["RCLONE_CONFIG"]}.WithDefaults(p.dir)
	_, parts, err := a.openRemotes(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	s.parts = parts
	d, err := dashboard.New(dashboard.Config{Jobs: parts.jobs, Ledger: parts.ledger, Browse: parts.browse, Remotes: parts.remotes, Check: parts.check, Log: log, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.srv = httptest.NewServer(d.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.srv.Close()
		cancel()
		running.Wait()
		if err := parts.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// page is what the browser shows.
type page struct {
	code       int
	path, text string
}

func (s *formSite) read(resp *http.Response, err error) page {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.said.Write(raw)
	return page{resp.StatusCode, resp.Request.URL.RequestURI(), string(raw)}
}

func (s *formSite) get(path string) page {
	s.t.Helper()
	return s.read(s.client.Get(s.srv.URL + path))
}

// post sends a form as key, value, key, value..., and follows where it leads.
func (s *formSite) post(path string, pairs ...string) page {
	s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	got := s.read(s.client.PostForm(s.srv.URL+path, form))
	if strings.Contains(got.text, serviceAsked) { // where the machine is busy the service takes longer than the page waits
		return s.load(got.path, func(p page) bool { return !strings.Contains(p.text, serviceAsked) }, "how the sign-in stands")
	}
	return got
}

// serviceAsked is what the page of a sign-in says while the service is being talked to.
const serviceAsked = "The service is being asked.</strong>"

// until loads a page again until it holds a text, as its Refresh says.
func (s *formSite) until(path, want string) page {
	s.t.Helper()
	return s.load(path, func(p page) bool { return strings.Contains(p.text, want) }, want)
}

// load loads a page again until it is as it should be.
func (s *formSite) load(path string, ok func(page) bool, want string) page {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(3 * time.Minute)
	for {
		got := s.get(path)
		if ok(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("%s never says %q:\n%s", path, want, bodyText(got.text))
		}
	}
}

var tags = regexp.MustCompile(`(?s)<header.*</header>|<[^>]*>`)

// bodyText is the text of a page without its markup.
func bodyText(text string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(text, " "))), " ")
}

// holds fails where a page doesn't hold texts, or came with another status.
func (s *formSite) holds(p page, code int, wants ...string) {
	s.t.Helper()
	if p.code != code {
		s.t.Fatalf("%s: status %d, want %d\n%s", p.path, p.code, code, bodyText(p.text))
	}
	text := bodyText(p.text)
	for _, want := range wants {
		if !strings.Contains(p.text, want) && !strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
			s.t.Errorf("%s doesn't say %q:\n%s", p.path, want, text)
		}
	}
}

// addICloud signs in to the played account.
func (s *formSite) addICloud() {
	s.t.Helper()
	s.holds(s.post("/remotes/add", "kind", "iclouddrive", "name", "icloud", "apple_id", s.acc.AppleID(), "password", s.acc.Password()), 200, "Apple has sent a code")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", s.acc.Code()), 200, "is signed in", "trusted for 30 days")
}

// addDropbox adds the played Dropbox by a token.
func (s *formSite) addDropbox() {
	s.t.Helper()
	s.holds(s.post("/remotes/add", "kind", "dropbox", "name", "dropbox", "how", "token", "token", s.world.Dropbox.TokenJSON()), 200, "is signed in")
}

func TestPagesSignInToICloud(t *testing.T) {
	s := newFormSite(t)
	s.holds(s.get("/remotes/add"), 200, "Add iCloud Drive", "Add Dropbox", "webdav")
	s.holds(s.get("/remotes/add?kind=iclouddrive"), 200, "Apple ID", `value="icloud"`)
	got := s.post("/remotes/add", "kind", "iclouddrive", "name", "icloud", "apple_id", s.acc.AppleID(), "password", "planted-wrong")
	s.holds(got, 200, "Apple refuses this Apple ID and password", "Begin anew")
	got = s.post("/remotes/add", "kind", "iclouddrive", "name", "icloud", "apple_id", s.acc.AppleID(), "password", s.acc.Password())
	s.holds(got, 200, "Apple has sent a code", "Get a text message instead")
	signIns := s.acc.SignIns()
	for _, bad := range []string{"", "abc", "12", "123456789012345", "１２３４５６"} {
		s.holds(s.post("/remotes/icloud/sign-in", "answer", bad), 422, "Send the code")
	}
	s.holds(s.post("/remotes/icloud/sign-in", "answer", wrongCodeFor(s.acc.Code())), 200, "the code that was sent", "4 more tries")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", s.acc.Code()), 200, "is signed in", "trusted for 30 days", "No job waited")
	if s.acc.SignIns() != signIns {
		t.Errorf("%d sign-ins after the first; want none", s.acc.SignIns()-signIns)
	}
	s.acc.Put("Documents/one.txt", []byte("one"), testTime())
	s.until("/remotes", "Free") // only iCloud tells of its room here
	s.holds(s.get("/remotes"), 200, "iCloud Drive", "kept in the store, sealed", "trusted for 30 more days", "Free")
	// The same name again is refused, and nothing is begun.
	s.holds(s.post("/remotes/add", "kind", "dropbox", "name", "icloud", "how", "token", "token", s.world.Dropbox.TokenJSON()), 422, "there is a remote called icloud already")
	s.checkNoSecrets(t, s.acc.Password(), "planted-wrong")
}

func TestPagesSignInBySMS(t *testing.T) {
	s := newFormSite(t)
	s.acc.SetPhones(cloudtest.Phone{ID: 3, Number: "+49 ••• ••12"}, cloudtest.Phone{ID: 5, Number: "+49 ••• ••34"})
	s.post("/remotes/add", "kind", "iclouddrive", "name", "icloud", "apple_id", s.acc.AppleID(), "password", s.acc.Password())
	got := s.post("/remotes/icloud/sign-in", "sms", "1")
	s.holds(got, 200, "Which phone is to get the text message?", "+49 ••• ••34")
	value := regexp.MustCompile(`value="([^"]*)"[^>]*><span>[^<]*34`).FindStringSubmatch(got.text)
	if value == nil {
		t.Fatal(got.text)
	}
	s.holds(s.post("/remotes/icloud/sign-in", "answer", "no phone"), 422, "choose one")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", value[1]), 200, "Code")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", "sms"), 422, "was sent already")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", wrongCodeFor(s.acc.SMSCode(5))), 200, "the code that was sent")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", s.acc.SMSCode(5)), 200, "is signed in")
	if s.acc.SignIns() != 1 {
		t.Errorf("%d sign-ins; want 1", s.acc.SignIns())
	}
	s.checkNoSecrets(t, s.acc.Password())
}

// A sign-in that was begun by the pages can be ended on the command line, and the other way round; five wrong codes end it.
func TestPagesShareSignIns(t *testing.T) {
	s := newFormSite(t)
	s.post("/remotes/add", "kind", "iclouddrive", "name", "icloud", "apple_id", s.acc.AppleID(), "password", s.acc.Password())
	other := s.played.site(t) // another dashboard on the same store
	other.holds(other.get("/remotes/icloud/sign-in"), 200, "Apple has sent a code")
	for range 4 {
		other.post("/remotes/icloud/sign-in", "answer", wrongCodeFor(s.acc.Code()))
	}
	other.holds(other.post("/remotes/icloud/sign-in", "answer", wrongCodeFor(s.acc.Code())), 200, "was wrong 5 times")
	other.holds(other.post("/remotes/icloud/sign-in", "answer", s.acc.Code()), 422, "waits for an answer")
	s.holds(s.post("/remotes/icloud/stop"), 200, "Remotes")
	s.holds(s.get("/remotes/icloud/sign-in"), 404, "no such remote")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", "123456"), 404, "no such remote")
}

func TestPagesSignInToDropboxByToken(t *testing.T) {
	s := newFormSite(t)
	token := s.world.Dropbox.TokenJSON()
	s.holds(s.post("/remotes/add", "kind", "dropbox", "name", "dropbox", "how", "token", "token", ""), 422, "the token is empty")
	s.holds(s.post("/remotes/add", "kind", "dropbox", "name", "dropbox", "how", "token", "token", "two words"), 422, "the token isn")
	s.holds(s.post("/remotes/add", "kind", "dropbox", "name", "dropbox", "how", "token", "token", "sl.planted-dead-token"), 200, "answer as it should", "nothing was kept")
	s.holds(s.get("/remotes"), 200)
	if s.parts.remotes.Where("dropbox") != "" {
		t.Error("a dead token was kept")
	}
	s.holds(s.post("/remotes/add", "kind", "dropbox", "name", "dropbox", "how", "token", "token", "Paste --->\r\n"+token+"\r\n<---End paste\r\n"), 200, "is signed in")
	s.world.Dropbox.ExpireTokens()
	s.holds(s.get("/remotes/dropbox/sign-in"), 200, "Sign in again", "rclone authorize dropbox")
	s.holds(s.post("/remotes/dropbox/begin", "how", "token", "token", s.world.Dropbox.ExpiredTokenJSON()), 200, "is signed in")
	s.checkNoSecrets(t, append(tokenSecrets(t, token), "planted-dead-token")...)
}

// A remote of another kind goes by rclone's own questions; what a question calls a secret never comes back.
func TestPagesAddOtherKinds(t *testing.T) {
	s := newFormSite(t)
	got := s.post("/remotes/add", "kind", "webdav", "name", "nas")
	s.holds(got, 200, "URL of http host")
	s.holds(s.post("/remotes/nas/sign-in", "answer", ""), 422, "an answer is needed")
	got = s.post("/remotes/nas/sign-in", "answer", "http://127.0.0.1:1/")
	for i := 0; i < 8 && !strings.Contains(got.text, `type="password"`); i++ {
		got = s.post("/remotes/nas/sign-in", "answer", "other")
	}
	s.holds(got, 200, `type="password"`)
	got = s.post("/remotes/nas/sign-in", "answer", "planted-hidden")
	for i := 0; i < 4 && strings.Contains(got.text, `name="answer"`); i++ {
		got = s.post("/remotes/nas/sign-in", "answer", "")
	}
	s.holds(got, 200, "answer as it should", "nothing was kept")
	for _, bad := range []struct{ kind, name, want string }{
		{"webdav", "", "no name for a remote"}, {"webdav", "../x", "no name for a remote"}, {"webdav", strings.Repeat("x", 100), "at most 64"},
		{"nocloud", "x", "no such kind"}, {"", "x", "no such kind"}, {"local", "x", "no such kind"}, {"webdav", "first", "already"},
		{"webdav", "<script>alert(1)</script>", "no name for a remote"},
	} {
		s.holds(s.post("/remotes/add", "kind", bad.kind, "name", bad.name), 422, bad.want)
	}
	if strings.Contains(s.said.String(), "planted-hidden") || strings.Contains(s.said.String(), "<script>alert") {
		t.Error("a secret or a script came back")
	}
}

func TestPagesRemoveARemote(t *testing.T) {
	s := newFormSite(t)
	s.addDropbox()
	job, err := s.parts.jobs.Enqueue(t.Context(), jobs.Order{Source: filepath.Join(s.dir, "a"), Dest: "dropbox:x", MaxDelete: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.holds(s.get("/remotes/dropbox/remove"), 200, "Jobs that haven't ended use it")
	s.holds(s.post("/remotes/dropbox/remove", "confirm", "dropbox"), 409, "Jobs that haven't ended use it")
	if _, err := s.parts.jobs.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	s.holds(s.post("/remotes/dropbox/remove", "confirm", "Dropbox"), 422, "This isn't its name")
	s.holds(s.get("/remotes/first/remove"), 200, "rclone config delete first")
	s.holds(s.post("/remotes/first/remove", "confirm", "first"), 409, "rclone.conf")
	s.holds(s.get("/remotes/none/remove"), 404, "no such remote")
	s.holds(s.post("/remotes/dropbox/remove", "confirm", "dropbox:"), 200, "The remote is removed. No file was touched.")
	if s.parts.remotes.Where("dropbox") != "" {
		t.Error("it is still there")
	}
}

// TestPagesReconnectWakes: what waits for a sign-in goes on once somebody has signed in on the pages, who are told how much.
func TestPagesReconnectWakes(t *testing.T) {
	s := newFormSite(t)
	s.addICloud()
	job, err := s.parts.jobs.Enqueue(t.Context(), jobs.Order{Source: "icloud:", Dest: filepath.Join(s.dir, "b"), MaxDelete: -1})
	if err != nil {
		t.Fatal(err)
	}
	waitForSignIn(t, s.parts, job.ID)
	s.acc.ExpireTrust()
	s.acc.ExpireSessions()
	s.holds(s.get("/remotes"), 200, "Sign in again")
	s.holds(s.get("/remotes/icloud/sign-in"), 200, "the one that is kept")
	s.holds(s.post("/remotes/icloud/begin", "apple_id", "", "password", ""), 200, "Apple has sent a code")
	s.holds(s.post("/remotes/icloud/sign-in", "answer", s.acc.Code()), 200, "1 job that waited for it goes on")
	if job, err = s.parts.jobs.Get(t.Context(), job.ID); err != nil || job.State == jobs.Waiting {
		t.Errorf("the job is %s, %v", job.State, err)
	}
}

// waitForSignIn leaves a job as a worker does whose sign-in was refused.
func waitForSignIn(t *testing.T, p *parts, id string) {
	t.Helper()
	if err := p.store.Client().HSet(t.Context(), "offload:{"+id+"}:job", "state", "waiting", "reason", "sign_in").Err(); err != nil {
		t.Fatal(err)
	}
}

var previewID = regexp.MustCompile(`/new/preview/([A-Z2-7]+)`)

func TestPagesNewTransferWithDeletion(t *testing.T) {
	s := newFormSite(t)
	s.addICloud()
	s.addDropbox()
	s.acc.Put("Documents/one.txt", []byte("one"), testTime())
	s.acc.Put("Documents/<script>alert(1)</script>/two.txt", []byte("two two"), testTime())
	s.holds(s.get("/new"), 200, "New transfer", `value="icloud:"`, `value="dropbox:"`)
	// The picker keeps what was typed.
	got := s.post("/new", "browse", "source", "source", "icloud:Documents", "destination", "dropbox:Typed", "label", "my <label>", "delete-source", "verified")
	s.holds(got, 200, "Choose the source", "1 file, 3 B", `value="dropbox:Typed"`, `value="my &lt;label&gt;"`, "&lt;script&gt;")
	s.holds(s.post("/new", "side", "source", "at", "icloud:", "destination", "dropbox:Typed"), 200, "Documents")
	s.holds(s.post("/new", "side", "destination", "pick", "dropbox:Backup", "source", "icloud:Documents"), 200, `value="dropbox:Backup"`, `value="icloud:Documents"`)
	s.holds(s.post("/new", "side", "source", "at", "icloud:nowhere"), 200, "there")
	s.holds(s.post("/new", "side", "source", "at", ":sftp,ssh=id:"), 200, "only the command line takes")

	form := []string{"source", "icloud:Documents", "destination", "dropbox:Backup", "delete-source", "verified", "label", "spring"}
	got = s.post("/new/preview", form...)
	id := previewID.FindStringSubmatch(got.path)
	if id == nil {
		t.Fatalf("the form leads to %s:\n%s", got.path, bodyText(got.text))
	}
	at := "/new/preview/" + id[1]
	got = s.until(at, "What would happen")
	s.holds(got, 200, "Will delete about 2 files, 10 B, from", "offload enqueue icloud:Documents dropbox:Backup --delete-source verified --label spring")
	for _, wrong := range []string{"", "3", "icloud:", "documents", "-2", "2.5"} {
		s.holds(s.post(at, "confirm", wrong), 422, "This isn't the number of files")
	}
	// A double click makes one job.
	var both sync.WaitGroup
	paths := make([]string, 2)
	for i := range paths {
		both.Go(func() {
			resp, err := s.client.PostForm(s.srv.URL+at, url.Values{"confirm": {"2"}})
			if err == nil {
				paths[i] = resp.Request.URL.Path
				resp.Body.Close()
			}
		})
	}
	both.Wait()
	if paths[0] != paths[1] || !strings.HasPrefix(paths[0], "/jobs/") {
		t.Fatalf("two clicks lead to %v", paths)
	}
	all, _, err := s.parts.jobs.List(t.Context(), jobs.ListOptions{})
	if err != nil || len(all) != 1 || all[0].Label != "spring" || all[0].Source != "icloud:Documents" || string(all[0].DeleteSource) != "verified" {
		t.Fatalf("the jobs are %+v, %v", all, err)
	}
	s.holds(s.get("/new?from="+all[0].ID), 200, `value="icloud:Documents"`, `value="spring"`, `value="verified" checked`)
	s.holds(s.get("/new?from=01ARZ3NDEKTSV4RRFFQ69G5FAV"), 404)
	// Another preview of the same way says that there is a job.
	got = s.post("/new/preview", form...)
	s.holds(s.until(got.path, "What would happen"), 200, "A job goes the same way")
	s.holds(s.post(got.path+"/drop"), 200, `value="icloud:Documents"`)
	s.holds(s.get(got.path), 404, "any more")
	if strings.Contains(s.said.String(), "<script>alert") {
		t.Error("a file name reached a page as markup")
	}
}

func TestPagesRefuseWrongForms(t *testing.T) {
	s := newFormSite(t)
	tests := []struct{ field, value, want string }{
		{"source", "", "Is missing"},
		{"source", "nocloud:x", "is no remote"},
		{"source", ":sftp,ssh=id:x", "only the command line takes"},
		{"source", "first,pass=x:y", "which only the command line takes"},
		{"source", "relative/path", "from the root"},
		{"source", "first:../x", "leaves its remote"},
		{"destination", "first:x", "Is the source, too"},
		{"hold", "7", "is not a duration"},
		{"hold", "7d", "Nothing is deleted without delete-source"},
		{"max-size", "5GB", "GiB"},
		{"max-delete", "-1", "whole number"},
		{"transfers", "９", "whole number"},
		{"bwlimit", "fast", "bytes a second"},
		{"window", "25:00-26:00", "times of day"},
		{"label", strings.Repeat("ü", 201), "200"},
		{"account", "<script>alert(1)</script>", "valid name"},
		{"files-from", "../x", "is no path"},
		{"conflict", "<b>", "unknown value"},
	}
	for _, tt := range tests {
		form := map[string]string{"source": "first:x", "destination": "second:y"}
		form[tt.field] = tt.value
		var pairs []string
		for k, v := range form {
			pairs = append(pairs, k, v)
		}
		got := s.post("/new/preview", pairs...)
		s.holds(got, 422, "One thing is to be put right", `id="`+tt.field+`-error"`)
		s.holds(got, 422, tt.want)
	}
	if all, _, err := s.parts.jobs.List(t.Context(), jobs.ListOptions{}); err != nil || len(all) != 0 {
		t.Errorf("%d jobs, %v", len(all), err)
	}
	s.holds(s.post("/new/preview", "label", strings.Repeat("x", 9<<20)), 413, "too much for a form")
	got := s.post("/new/preview", "source", "first:x", "destination", "second:y")
	s.holds(s.until(got.path, "Change the order"), 200, "exist")
	s.holds(s.post(got.path, "confirm", "x"), 409, "nothing to confirm")
	s.holds(s.get(strings.Replace(got.path, "/new/preview/", "/new?preview=", 1)), 200, `id="source-error"`)
}
