package cloudtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/backend/dropbox"
	"github.com/rclone/rclone/backend/dropbox/dbhash"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/object"
)

// box opens a path of the played Dropbox by rclone's own backend, with options as in a connection string.
func box(t *testing.T, options, root string) fs.Fs {
	t.Helper()
	f, err := fs.NewFs(t.Context(), "dropbox,pacer_min_sleep=1ms,batch_size=1"+options+":"+root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Features().Shutdown(context.Background()) })
	return f
}

// put uploads as rclone does.
func put(t *testing.T, f fs.Fs, remote string, content []byte) (fs.Object, error) {
	t.Helper()
	when := time.Date(2024, 5, 6, 7, 8, 9, 987654321, time.UTC)
	return f.Put(t.Context(), bytes.NewReader(content), object.NewStaticObjectInfo(remote, when, int64(len(content)), true, nil, nil))
}

// rightHash is rclone's own hash of content.
func rightHash(content []byte) string {
	h := dbhash.New()
	_, _ = h.Write(content)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// some is content of a size.
func some(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>9)
	}
	return b
}

func TestDropboxUploads(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	f := box(t, ",chunk_size=3Mi", "")
	for _, size := range []int{0, 5, 4 << 20, 10<<20 + 3} {
		content := some(size)
		o, err := put(t, f, fmt.Sprintf("Ünder/%d.bin", size), content)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := o.Hash(t.Context(), dropbox.DbHashType)
		if got, _ := w.Dropbox.Get(o.Remote()); err != nil || hash != rightHash(content) || !bytes.Equal(got, content) || w.Dropbox.Hash(o.Remote()) != hash {
			t.Errorf("%d bytes: hash %s, %v; %d bytes stored", size, hash, err, len(got))
		}
		if !o.ModTime(t.Context()).Equal(time.Date(2024, 5, 6, 7, 8, 10, 0, time.UTC)) {
			t.Errorf("time %v", o.ModTime(t.Context()))
		}
		part, err := o.Open(t.Context(), &fs.RangeOption{Start: 2, End: 3})
		if size < 5 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, content[2:4]) {
			t.Errorf("range: %v, %v", got, err)
		}
		_ = part.Close()
	}
	if c := w.Dropbox.Commits(); c != 4 || w.Dropbox.SessionsStarted() != 4 || w.Dropbox.SessionsFinished() != 4 || w.Dropbox.Len() != 4 {
		t.Errorf("%d commits, %d sessions", c, w.Dropbox.SessionsStarted())
	}
	before, _ := w.Dropbox.Stat("Ünder/5.bin")
	if _, err := put(t, f, "ünder/5.BIN", []byte("other")); err != nil {
		t.Fatal(err)
	}
	if after, _ := w.Dropbox.Stat("Ünder/5.bin"); after.ID != before.ID || after.Rev == before.Rev || after.Path != "/Ünder/5.bin" {
		t.Errorf("overwritten in another case: %+v, was %+v", after, before)
	}
}

func TestDropboxListsInPages(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	w.Dropbox.SetPageSize(7)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprintf("d/Datei %02d", i))
		w.Dropbox.Put(want[i], some(i))
	}
	w.Dropbox.Mkdir("d/z")
	f := box(t, "", "")
	entries, err := f.List(t.Context(), "D")
	var got []string
	for _, e := range entries {
		got = append(got, strings.Replace(e.Remote(), "D/", "d/", 1))
	}
	slices.Sort(got)
	if err != nil || !slices.Equal(got, append(want, "d/z")) || w.Calls("dropbox:list_folder_continue") != 7 {
		t.Errorf("%v, %d pages more: %v", err, w.Calls("dropbox:list_folder_continue"), got)
	}
	if o, err := f.NewObject(t.Context(), "D/dATEI 07"); err != nil || o.Size() != 7 {
		t.Errorf("another case: %v", err)
	}
	if _, err := f.NewObject(t.Context(), "d/nothing"); err != fs.ErrorObjectNotFound {
		t.Errorf("missing: %v", err)
	}
	if err := f.Rmdir(t.Context(), "d"); err == nil || w.Dropbox.Len() != 50 {
		t.Error("a full folder was removed")
	}
	hit := w.Fault(Fault{Endpoint: "dropbox:list_folder", Kind: Short})
	if entries, _ := f.List(t.Context(), "d"); len(entries) >= 51 || hit.Count() != 1 {
		t.Errorf("%d entries of a short listing, %d hits", len(entries), hit.Count())
	}
}

// callAPI calls a route and returns status and body.
func callAPI(t *testing.T, w *World, host, route, arg, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/2/"+route, strings.NewReader(arg))
	if host == dropboxContent {
		r, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/2/"+route, strings.NewReader(body))
		r.Header.Set("Dropbox-API-Arg", arg)
		r.Header.Set("Content-Type", "application/octet-stream")
	} else if arg != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.Dropbox.auth.standing)
	return fetch(t, w, r)
}

func fetch(t *testing.T, w *World, r *http.Request) (int, string) {
	t.Helper()
	transport := w.Transport()
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b) + strings.Join(resp.Header["Location"], "")
}

// session uploads a closed session and returns its id.
func session(t *testing.T, w *World, content string) string {
	t.Helper()
	_, body := callAPI(t, w, dropboxContent, "files/upload_session/start", `{"close":true}`, content)
	_, id, _ := strings.Cut(body, `"session_id":"`)
	return strings.TrimSuffix(id, `"}`)
}

func entry(id string, offset int, path, more string) string {
	return fmt.Sprintf(`{"cursor":{"session_id":%q,"offset":%d},"commit":{"path":%q%s}}`, id, offset, path, more)
}

func TestDropboxWritesAsTold(t *testing.T) {
	w := start(t, Options{})
	d := w.Dropbox
	old := d.Put("a/there.txt", []byte("old"))
	d.Put("a/File", nil)
	overwrite, add := `,"mode":{".tag":"overwrite"}`, `,"mode":"add"`
	for _, tc := range []struct{ name, path, content, more, want string }{
		{"new", "/a/new", "new", add, `".tag":"success"`},
		{"same content", "/a/there.txt", "old", add, old.Rev},
		{"same content, strict", "/a/there.txt", "old", add + `,"strict_conflict":true`, `"conflict":{".tag":"file"}`},
		{"other content", "/A/There.TXT", "x", add, `"conflict":{".tag":"file"}`},
		{"autorename", "/a/there.txt", "x", add + `,"autorename":true`, `"name":"there (1).txt"`},
		{"stale rev", "/a/there.txt", "x", `,"mode":{".tag":"update","update":"0123456789"}`, `"conflict":{".tag":"file"}`},
		{"right rev", "/a/there.txt", "y", `,"mode":{".tag":"update","update":"` + old.Rev + `"}`, old.ID},
		{"folder in the way", "/a", "x", overwrite, `"conflict":{".tag":"folder"}`},
		{"file above", "/a/file/x", "x", overwrite, `"conflict":{".tag":"file_ancestor"}`},
		{"space at the end", "/a/x ", "x", overwrite, "malformed_path"},
		{"backslash", `/a/x\y`, "x", overwrite, "malformed_path"},
		{"empty name", "/a//y", "x", overwrite, "malformed_path"},
		{"too long", "/" + strings.Repeat("ü", 256), "x", overwrite, "malformed_path"},
		{"just not too long", "/" + strings.Repeat("ü", 255), "x", overwrite, `".tag":"success"`},
		{"refused name", "/a/.DS_Store", "x", overwrite, "disallowed_name"},
		{"dot at the end", "/a/x.", "x", overwrite, `".tag":"success"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := session(t, w, tc.content)
			status, body := callAPI(t, w, dropboxAPI, "files/upload_session/finish_batch_v2", `{"entries":[`+entry(id, len(tc.content), tc.path, tc.more)+`]}`, "")
			if status != 200 || !strings.Contains(body, tc.want) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

func TestDropboxSessionsAreStrict(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := start(t, Options{Now: func() time.Time { return now }})
	batch := func(e string) string {
		_, body := callAPI(t, w, dropboxAPI, "files/upload_session/finish_batch_v2", `{"entries":[`+e+`]}`, "")
		return body
	}
	expect := func(what, body, want string) {
		t.Helper()
		if !strings.Contains(body, want) {
			t.Errorf("%s: %s", what, body)
		}
	}
	id := session(t, w, "12345")
	_, body := callAPI(t, w, dropboxContent, "files/upload_session/append_v2", `{"cursor":{"session_id":"`+id+`","offset":3},"close":false}`, "x")
	expect("wrong offset", body, `"correct_offset":5`)
	_, body = callAPI(t, w, dropboxContent, "files/upload_session/append_v2", `{"cursor":{"session_id":"`+id+`","offset":5},"close":false}`, "x")
	expect("closed", body, `"error_summary":"closed/`)
	expect("finish at a wrong offset", batch(entry(id, 4, "/f", "")), `"incorrect_offset"`)
	expect("finish", batch(entry(id, 5, "/f", "")), `"success"`)
	expect("finish again", batch(entry(id, 5, "/f", "")), `"lookup_failed":{".tag":"not_found"}`)
	_, body = callAPI(t, w, dropboxContent, "files/upload_session/start", `{"close":false}`, "")
	open := strings.TrimSuffix(strings.TrimPrefix(body, `{"session_id":"`), `"}`)
	expect("not closed", batch(entry(open, 0, "/g", "")), `"not_closed"`)
	late := session(t, w, "z")
	now = now.Add(sessionLife + time.Second)
	expect("expired", batch(entry(late, 1, "/h", "")), `"not_found"`)
	many := strings.Repeat(entry("x", 0, "/f", "")+",", 1001)
	if status, _ := callAPI(t, w, dropboxAPI, "files/upload_session/finish_batch_v2", `{"entries":[`+strings.TrimSuffix(many, ",")+`]}`, ""); status != 400 {
		t.Errorf("1001 entries: %d", status)
	}
	if status, _ := callAPI(t, w, dropboxAPI, "files/get_metadata", `{"path":"/f","unheard":1}`, ""); status != 400 {
		t.Errorf("unknown field: %d", status)
	}
	if status, _ := callAPI(t, w, dropboxContent, "files/upload", `{"path":"/Übung"}`, "x"); status != 400 {
		t.Errorf("raw header: %d", status)
	}
}

func TestDropboxSpaceRunsOut(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	w.Dropbox.SetSpace(1000)
	f := box(t, "", "")
	if _, err := put(t, f, "a", some(600)); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, f, "b", some(600)); err == nil || !strings.Contains(err.Error(), "insufficient_space") {
		t.Error(err)
	}
	if _, err := put(t, f, "a", some(900)); err != nil {
		t.Errorf("replacing: %v", err)
	}
	use, err := f.Features().About(t.Context())
	if err != nil || *use.Total != 1000 || *use.Used != 900 || w.Dropbox.Used() != 900 {
		t.Errorf("%+v %v", use, err)
	}
	w.Dropbox.SetSpaceEarly(true)
	_, body := callAPI(t, w, dropboxContent, "files/upload_session/start", `{"close":false}`, "12345")
	id := strings.TrimSuffix(strings.TrimPrefix(body, `{"session_id":"`), `"}`)
	for range 2 { // the second time the offset is still right: nothing was kept
		status, body := callAPI(t, w, dropboxContent, "files/upload_session/append_v2", `{"cursor":{"session_id":"`+id+`","offset":5},"close":true}`, string(some(100)))
		if status != 409 || !strings.Contains(body, "insufficient_space") {
			t.Errorf("a piece too many: %d %s", status, body)
		}
	}
}

func TestDropboxFlipsAreToldAsAsked(t *testing.T) {
	for _, tc := range []struct {
		mode            HashMode
		atOnce, forEver bool // the answer to the commit, and later ones, tell the hash of what was sent
	}{{HashStored, false, false}, {HashSentAtCommit, true, false}, {HashSentAlways, true, true}} {
		w := start(t, Options{})
		forRclone(t, w)
		w.Dropbox.SetHash(tc.mode)
		f := box(t, "", "")
		content := some(5 << 20)
		hit := w.Fault(Fault{Endpoint: "dropbox:append_v2", Kind: Flip, Times: 1})
		o, err := put(t, f, "x", content)
		if err != nil || hit.Count() != 1 {
			t.Fatal(err, hit.Count())
		}
		stored, _ := w.Dropbox.Get("x")
		if bytes.Equal(stored, content) || w.Dropbox.Hash("x") != rightHash(stored) {
			t.Errorf("mode %d: no bit is flipped, or the hash isn't that of what is stored", tc.mode)
		}
		hash, _ := o.Hash(t.Context(), dropbox.DbHashType)
		later, err := f.NewObject(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		again, _ := later.Hash(t.Context(), dropbox.DbHashType)
		if (hash == rightHash(content)) != tc.atOnce || (again == rightHash(content)) != tc.forEver {
			t.Errorf("mode %d: told %s, then %s; sent %s", tc.mode, hash, again, rightHash(content))
		}
	}
}

func TestDropboxRefusesAboveItsLimit(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	w.Dropbox.SetLimit(2)
	w.Dropbox.SetRetryAfter(1)
	w.Dropbox.Put("x", []byte("y"))
	f := box(t, "", "")
	w.Fault(Fault{Endpoint: "dropbox:get_metadata", Kind: Do, Hook: func(*http.Request) { // the first refusal finds a call that rclone has let go already
		await(func() bool { return w.Dropbox.Refused() > 1 })
	}})
	var all sync.WaitGroup
	begin := time.Now()
	for range 4 {
		all.Go(func() {
			if _, err := f.NewObject(t.Context(), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if w.Dropbox.Refused() == 0 || w.MaxInFlight("dropbox:*") > 2 || time.Since(begin) < time.Second {
		t.Errorf("%d refused, %d in flight, %v", w.Dropbox.Refused(), w.MaxInFlight("dropbox:*"), time.Since(begin))
	}
}

func TestDropboxCommitsMustNotOverlap(t *testing.T) {
	for _, tc := range []struct {
		mode   Overlap
		status int
		want   string
	}{
		{OverlapEntries, 200, `{".tag":"failure","failure":{".tag":"too_many_write_operations"}}`},
		{OverlapCall, 429, `"reason":{".tag":"too_many_write_operations"}`},
		{OverlapWrites, 429, `"reason":{".tag":"too_many_write_operations"}`},
		{OverlapFree, 200, `"success"`},
	} {
		w := start(t, Options{Latency: Latency{Commit: 800 * time.Millisecond}})
		w.Dropbox.SetOverlap(tc.mode)
		first, second := session(t, w, "1"), session(t, w, "2")
		var all sync.WaitGroup
		all.Go(func() {
			if _, body := callAPI(t, w, dropboxAPI, "files/upload_session/finish_batch_v2", `{"entries":[`+entry(first, 1, "/1", "")+`]}`, ""); !strings.Contains(body, "success") {
				t.Error(body)
			}
		})
		eventually(t, "a commit in flight", func() bool { return w.Calls("dropbox:finish_batch_v2") == 1 && w.Dropbox.MaxOverlapCommits() == 1 })
		again := `{"entries":[` + entry(second, 1, "/2", "") + `]}`
		status, body := callAPI(t, w, dropboxAPI, "files/upload_session/finish_batch_v2", again, "")
		if status != tc.status || !strings.Contains(body, tc.want) || w.Dropbox.MaxOverlapCommits() != 2 {
			t.Errorf("mode %d: %d %s", tc.mode, status, body)
		}
		all.Wait()
		if tc.mode == OverlapFree {
			continue
		}
		if _, body := callAPI(t, w, dropboxAPI, "files/upload_session/finish_batch_v2", again, ""); !strings.Contains(body, "success") || w.Dropbox.Overlapped() != 1 || w.Dropbox.Commits() != 2 {
			t.Errorf("mode %d: the session was lost: %s", tc.mode, body)
		}
	}
}

func TestDropboxTokens(t *testing.T) {
	w := start(t, Options{})
	conf := forRclone(t, w)
	text, _ := os.ReadFile(conf)
	text = bytes.ReplaceAll(text, []byte(w.Dropbox.TokenJSON()), []byte(w.Dropbox.ExpiredTokenJSON()))
	if err := os.WriteFile(conf, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.Dropbox.Put("x", []byte("y"))
	f := box(t, "", "")
	if _, err := f.NewObject(t.Context(), "x"); err != nil || w.Dropbox.Refreshed() != 1 {
		t.Fatalf("%v, %d refreshed", err, w.Dropbox.Refreshed())
	}
	saved, _ := os.ReadFile(conf)
	if bytes.Equal(saved, text) || !bytes.Contains(saved, []byte("sl.u.")) {
		t.Error("the new token wasn't saved")
	}
	w.Dropbox.ExpireTokens()
	if status, body := callAPI(t, w, dropboxAPI, "users/get_space_usage", "", ""); status != 401 || !strings.Contains(body, "expired_access_token") {
		t.Errorf("%d %s", status, body)
	}
	w.Dropbox.RevokeTokens()
	if status, body := callAPI(t, w, dropboxAPI, "users/get_space_usage", "", ""); status != 401 || !strings.Contains(body, "invalid_access_token") {
		t.Errorf("%d %s", status, body)
	}
}

func TestDropboxSignsInByBrowser(t *testing.T) {
	w := start(t, Options{})
	verifier := "a-verifier-that-is-long-enough-for-the-standard-0123"
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {"app"}, "response_type": {"code"}, "redirect_uri": {"http://127.0.0.1:53682/"}, "state": {"s"}, "token_access_type": {"offline"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	visit := func() url.Values {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://www.dropbox.com/oauth2/authorize?"+q.Encode(), nil)
		_, to := fetch(t, w, r)
		back, err := url.Parse(to)
		if err != nil || back.Host != "127.0.0.1:53682" || back.Query().Get("state") != "s" {
			t.Fatal(to, err)
		}
		return back.Query()
	}
	ask := func(form url.Values) (int, string) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.dropboxapi.com/oauth2/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return fetch(t, w, r)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"app"}, "redirect_uri": q["redirect_uri"], "code": {visit().Get("code")}, "code_verifier": {"wrong"}}
	if status, _ := ask(form); status != 400 {
		t.Error("a wrong verifier was taken")
	}
	form.Set("code", visit().Get("code"))
	form.Set("code_verifier", verifier)
	if status, body := ask(form); status != 200 || !strings.Contains(body, `"refresh_token"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := ask(form); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("a code was taken twice: %d %s", status, body)
	}
	w.Dropbox.SetConsent(false)
	if got := visit().Get("error"); got != "access_denied" {
		t.Errorf("error %q", got)
	}
}

func TestDropboxForgetsContent(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	w.Dropbox.SetForget(true)
	content := some(9 << 20)
	if _, err := put(t, box(t, "", ""), "x", content); err != nil {
		t.Fatal(err)
	}
	if f, _ := w.Dropbox.Stat("x"); f.Hash != rightHash(content) || f.Size != 9<<20 {
		t.Errorf("%+v", f)
	}
	if _, ok := w.Dropbox.Get("x"); ok {
		t.Error("it was kept")
	}
}

func TestDropboxCutUploadsKeepNothing(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	hit := w.Fault(Fault{Endpoint: "dropbox:append_v2", Kind: Cut, CutAt: .5, Times: 1})
	content := some(3 << 20)
	if _, err := put(t, box(t, "", ""), "x", content); err != nil || hit.Count() != 1 {
		t.Fatal(err, hit.Count())
	}
	if got, _ := w.Dropbox.Get("x"); !bytes.Equal(got, content) {
		t.Error("something else was stored")
	}
	lost := w.Fault(Fault{Endpoint: "dropbox:append_v2", Kind: Lost, Times: 1})
	if _, err := put(t, box(t, "", ""), "y", content); err != nil || lost.Count() != 1 {
		t.Fatal(err, lost.Count())
	}
	if got, _ := w.Dropbox.Get("y"); !bytes.Equal(got, content) {
		t.Error("a lost answer doubled or lost bytes")
	}
}

func TestDropboxPollsForChanges(t *testing.T) {
	w := start(t, Options{})
	_, body := callAPI(t, w, dropboxAPI, "files/list_folder/get_latest_cursor", `{"path":"","recursive":true}`, "")
	cursor := strings.TrimSuffix(strings.TrimPrefix(body, `{"cursor":"`), `"}`)
	done := make(chan string, 1)
	go func() {
		_, body := callAPI(t, w, dropboxNotify, "files/list_folder/longpoll", `{"cursor":"`+cursor+`","timeout":30}`, "")
		done <- body
	}()
	eventually(t, "a poll", func() bool { return w.Calls("dropbox:list_folder_longpoll") == 1 })
	w.Dropbox.Put("d/x", []byte("1"))
	if body := <-done; !strings.Contains(body, `"changes":true`) {
		t.Error(body)
	}
	w.Dropbox.Put("gone", nil)
	w.Dropbox.Remove("gone")
	_, body = callAPI(t, w, dropboxAPI, "files/list_folder/continue", `{"cursor":"`+cursor+`"}`, "")
	for _, want := range []string{`"path_display":"/d"`, `"path_display":"/d/x"`, `".tag":"deleted"`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing: %s", want, body)
		}
	}
}
