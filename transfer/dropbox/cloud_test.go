package dropbox

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/backend/dropbox/dbhash"
	"github.com/rclone/rclone/fs/config"
)

// cloud is as much of Dropbox as uploads touch, and as strict as it: behind a proxy that ends TLS.
type cloud struct {
	t     testing.TB
	tls   *httptest.Server
	proxy *httptest.Server
	ca    string

	mu         sync.Mutex
	token      string // the access token that is taken
	tokens     int
	deaf       bool // a content that comes with the start of a session is passed over
	dead       bool // refresh tokens aren't taken either
	account    bool // whether it tells whose account it is
	sessions   map[string]*session
	files      map[string]*stored // by path in lower case
	faults     []*fault
	calls      map[string]int
	committing int
	overlaps   int
	batches    []int // files in each commit
	limit      int   // calls at once, 0 for any number
	busy, most int
	refused    int
	latency    time.Duration
	serial     int
}

type session struct {
	data   []byte
	closed bool
	used   bool
}

type stored struct {
	path, id, rev, modified string
	data                    []byte
}

// fault is something that goes wrong at an endpoint; hits tells how often it did.
type fault struct {
	endpoint    string
	after, once int // pass so many, then strike so often (0 = always)
	status      int
	header      http.Header
	body        string
	lost        bool // carried out, then the connection is cut
	cut         bool // half of the body is read, then the connection is cut
	entry       string
	do          func()
	hits        int
}

func newCloud(t testing.TB) *cloud {
	c := &cloud{t: t, token: "token-0", account: true, sessions: map[string]*session{}, files: map[string]*stored{}, calls: map[string]int{}}
	cert, pemBytes := certificate(t)
	c.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(c.ca, pemBytes, 0o600); err != nil {
		t.Fatal(err)
	}
	c.tls = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.tls.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	c.tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.tls.StartTLS()
	c.proxy = httptest.NewServer(http.HandlerFunc(c.connect))
	t.Cleanup(func() {
		c.tls.CloseClientConnections()
		c.proxy.CloseClientConnections()
		c.tls.Close()
		c.proxy.Close()
	})
	return c
}

// connect passes a tunnel on to the TLS server, whatever host was asked for.
func (c *cloud) connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || !strings.HasSuffix(r.Host, ".dropboxapi.com:443") {
		http.Error(w, "no such host: "+r.Host, http.StatusBadGateway)
		return
	}
	up, err := net.Dial("tcp", c.tls.Listener.Addr().String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	down, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
	var wg sync.WaitGroup
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
		_ = from.Close()
	}
	wg.Go(func() { pipe(up, down) })
	wg.Go(func() { pipe(down, up) })
	wg.Wait()
}

func certificate(t testing.TB) (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		DNSNames: []string{"api.dropboxapi.com", "content.dropboxapi.com"}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// remote configures a remote of this cloud and returns its name.
func (c *cloud) remote(more ...string) string {
	name := "db" + hex.EncodeToString(random(6))
	token := fmt.Sprintf(`{"access_token":%q,"token_type":"bearer","refresh_token":"refresh","expiry":%q}`, c.token,
		time.Now().Add(4*time.Hour).Format(time.RFC3339))
	set := append([]string{"type", "dropbox", "token", token, "client_id", "app", "client_secret", "secret",
		"override.http_proxy", c.proxy.URL, "override.ca_cert", c.ca, "pacer_min_sleep", "1ms"}, more...)
	for i := 0; i < len(set); i += 2 {
		config.LoadedData().SetValue(name, set[i], set[i+1])
	}
	return name
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func (c *cloud) fault(f fault) *fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &f)
	return &f
}

func (c *cloud) hits(f *fault) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.hits
}

func (c *cloud) count(endpoint string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[endpoint]
}

func (c *cloud) get(path string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[strings.ToLower(path)]
	if f == nil {
		return nil, false
	}
	return f.data, true
}

func (c *cloud) put(path string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store(path, data, "2020-01-01T00:00:00Z")
}

func (c *cloud) store(path string, data []byte, modified string) *stored {
	c.serial++
	f := &stored{path: path, id: fmt.Sprintf("id:%d", c.serial), rev: fmt.Sprintf("%09x", c.serial), modified: modified, data: data}
	c.files[strings.ToLower(path)] = f
	return f
}

// expire ends the access tokens that are in use, before their time.
func (c *cloud) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens++
	c.token = fmt.Sprintf("token-%d", c.tokens)
}

func sumOf(b []byte) string {
	h := dbhash.New()
	_, _ = h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

func (f *stored) json() map[string]any {
	return map[string]any{".tag": "file", "name": filepath.Base(f.path), "id": f.id, "path_lower": strings.ToLower(f.path),
		"path_display": f.path, "client_modified": f.modified, "server_modified": f.modified, "rev": f.rev,
		"size": len(f.data), "is_downloadable": true, "content_hash": sumOf(f.data)}
}

// find returns the fault to be struck by this call, if any; the caller holds mu.
func (c *cloud) find(endpoint string) *fault {
	for _, f := range c.faults {
		if f.endpoint != endpoint || f.once > 0 && f.hits >= f.once {
			continue
		}
		if f.after > 0 {
			f.after--
			continue
		}
		f.hits++
		return f
	}
	return nil
}

func (c *cloud) serve(w http.ResponseWriter, r *http.Request) {
	endpoint := strings.TrimPrefix(r.URL.Path, "/2/")
	c.mu.Lock()
	c.calls[endpoint]++
	struck := c.find(endpoint)
	c.busy++
	c.most = max(c.most, c.busy)
	over := c.limit > 0 && c.busy > c.limit
	if over {
		c.refused++
	}
	latency := c.latency
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.busy--
		c.mu.Unlock()
	}()
	if struck != nil && struck.do != nil {
		struck.do()
	}
	if struck != nil && struck.cut {
		_, _ = io.CopyN(io.Discard, r.Body, 1<<16)
		panic(http.ErrAbortHandler)
	}
	c.mu.Lock()
	auth := r.Header.Get("Authorization") == "Bearer "+c.token || endpoint == "/oauth2/token"
	c.mu.Unlock()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-r.Context().Done():
		}
	}
	switch {
	case struck != nil && struck.status != 0:
		for k, v := range struck.header {
			w.Header()[k] = v
		}
		w.WriteHeader(struck.status)
		_, _ = io.WriteString(w, struck.body)
		return
	case over:
		reply(w, 429, map[string]any{"error_summary": "too_many_requests/..", "error": map[string]any{"reason": tag("too_many_requests"), "retry_after": 0}})
		return
	case !auth:
		reply(w, 401, map[string]any{"error_summary": "expired_access_token/..", "error": tag("expired_access_token")})
		return
	}
	status, answer := c.answer(endpoint, r, raw, struck)
	if struck != nil && struck.lost {
		panic(http.ErrAbortHandler)
	}
	reply(w, status, answer)
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func tag(name string) map[string]any { return map[string]any{".tag": name} }

func refusal(summary string, err map[string]any) (int, any) {
	return 409, map[string]any{"error_summary": summary + "/..", "error": err}
}

func (c *cloud) answer(endpoint string, r *http.Request, raw []byte, struck *fault) (int, any) {
	arg := raw
	if strings.HasPrefix(r.Host, "content.") {
		arg = []byte(r.Header.Get("Dropbox-API-Arg"))
	}
	switch endpoint {
	case "/oauth2/token":
		return c.refresh(raw)
	case "users/get_current_account":
		if !c.account {
			return 401, map[string]any{"error_summary": "missing_scope/..", "error": map[string]any{".tag": "missing_scope", "required_scope": "account_info.read"}}
		}
		return 200, map[string]any{"account_id": "dbid:one", "name": map[string]any{}, "email": "a@b", "account_type": tag("basic"),
			"root_info": map[string]any{".tag": "user", "root_namespace_id": "1", "home_namespace_id": "1"}}
	case "files/upload_session/finish_batch_v2":
		return c.finishBatch(arg, struck)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch endpoint {
	case "files/upload_session/start":
		c.serial++
		id := fmt.Sprintf("session-%d", c.serial)
		var a struct {
			Close bool
			Hash  string `json:"content_hash"`
		}
		_ = json.Unmarshal(arg, &a)
		if c.deaf {
			c.sessions[id] = &session{}
			return 200, map[string]any{"session_id": id}
		}
		if a.Hash != "" && a.Hash != sumOf(raw) {
			return refusal("content_hash_mismatch", tag("content_hash_mismatch"))
		}
		c.sessions[id] = &session{data: raw, closed: a.Close}
		return 200, map[string]any{"session_id": id}
	case "files/upload_session/append_v2":
		return c.appendTo(arg, raw)
	case "files/get_metadata", "files/delete_v2":
		var a struct{ Path string }
		_ = json.Unmarshal(arg, &a)
		f := c.files[strings.ToLower(a.Path)]
		if f == nil {
			name, kind := "path", "path"
			if endpoint == "files/delete_v2" {
				name, kind = "path_lookup", "path_lookup"
			}
			return refusal(name+"/not_found", map[string]any{".tag": kind, kind: tag("not_found")})
		}
		if endpoint == "files/delete_v2" {
			delete(c.files, strings.ToLower(a.Path))
			return 200, map[string]any{"metadata": f.json()}
		}
		return 200, f.json()
	case "files/list_folder":
		var entries []any
		for _, f := range c.files {
			entries = append(entries, f.json())
		}
		return 200, map[string]any{"entries": entries, "cursor": "c", "has_more": false}
	}
	return 400, "unknown endpoint " + endpoint
}

func (c *cloud) refresh(raw []byte) (int, any) {
	form, _ := url.ParseQuery(string(raw))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || form.Get("refresh_token") != "refresh" {
		return 400, map[string]any{"error": "invalid_grant", "error_description": "refresh token is revoked"}
	}
	return 200, map[string]any{"access_token": c.token, "token_type": "bearer", "expires_in": 14400}
}

type cursor struct {
	SessionID string `json:"session_id"`
	Offset    int
}

func (c *cloud) appendTo(arg, raw []byte) (int, any) {
	var a struct {
		Cursor cursor
		Close  bool
		Hash   string `json:"content_hash"`
	}
	_ = json.Unmarshal(arg, &a)
	s := c.sessions[a.Cursor.SessionID]
	switch {
	case s == nil:
		return refusal("not_found", tag("not_found"))
	case s.closed:
		return refusal("closed", tag("closed"))
	case a.Cursor.Offset != len(s.data):
		return refusal("incorrect_offset", map[string]any{".tag": "incorrect_offset", "correct_offset": len(s.data)})
	case a.Hash != "" && a.Hash != sumOf(raw):
		return refusal("content_hash_mismatch", tag("content_hash_mismatch"))
	}
	s.data = append(s.data, raw...)
	s.closed = a.Close
	return 200, nil
}

type finishEntry struct {
	Cursor cursor
	Commit struct {
		Path       string
		RawMode    json.RawMessage `json:"mode"`
		Autorename bool
		Modified   string `json:"client_modified"`
	}
}

func (c *cloud) finishBatch(arg []byte, struck *fault) (int, any) {
	var a struct{ Entries []finishEntry }
	if err := json.Unmarshal(arg, &a); err != nil {
		return 400, err.Error()
	}
	for _, e := range a.Entries {
		if strings.Contains(e.Commit.Path, "poison") {
			return 400, "Error in call to API function \"files/upload_session/finish_batch:2\": request body: entries: bad"
		}
	}
	c.mu.Lock()
	c.committing++
	if c.committing > 1 {
		c.overlaps++
	}
	c.batches = append(c.batches, len(a.Entries))
	latency := c.latency
	c.mu.Unlock()
	if latency > 0 {
		<-time.After(latency)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committing--
	answers := []any{}
	for _, e := range a.Entries {
		if struck != nil && struck.entry != "" {
			answers = append(answers, map[string]any{".tag": "failure", "failure": tag(struck.entry)})
			continue
		}
		answers = append(answers, c.finishOne(e))
	}
	return 200, map[string]any{"entries": answers}
}

func (c *cloud) finishOne(e finishEntry) any {
	lookup := func(why string) any {
		return map[string]any{".tag": "failure", "failure": map[string]any{".tag": "lookup_failed", "lookup_failed": tag(why)}}
	}
	write := func(why map[string]any) any {
		return map[string]any{".tag": "failure", "failure": map[string]any{".tag": "path", "path": why}}
	}
	s := c.sessions[e.Cursor.SessionID]
	switch {
	case s == nil || s.used:
		return lookup("not_found")
	case !s.closed:
		return lookup("not_closed")
	case e.Cursor.Offset != len(s.data):
		return lookup("incorrect_offset")
	case strings.Contains(e.Commit.Path, "full"):
		return write(tag("insufficient_space"))
	case strings.Contains(e.Commit.Path, "malformed"):
		return write(tag("malformed_path"))
	}
	was := c.files[strings.ToLower(e.Commit.Path)]
	if strings.Contains(string(e.Commit.RawMode), `"add"`) && was != nil && !bytes.Equal(was.data, s.data) {
		return write(map[string]any{".tag": "conflict", "conflict": tag("file")})
	}
	s.used = true
	answer := c.store(e.Commit.Path, s.data, e.Commit.Modified).json()
	answer[".tag"] = "success"
	return answer
}

// within ends a wait that must not take long.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // 40 MiB on a busy machine take long
	t.Cleanup(cancel)
	return ctx
}
