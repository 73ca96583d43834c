package acceptance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// secrets is everything that may be found nowhere but sealed: what was planted, and what the clouds see arrive.
type secrets struct {
	mu   sync.Mutex
	all  map[string]string // to what it is
	argv map[string]bool   // what was seen of processes
}

// add notes a secret. What is too short to be told from chance isn't one.
func (s *secrets) add(what, secret string) {
	secret = strings.Trim(secret, `"`)
	if len(secret) < 12 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[secret] = what
}

func (s *secrets) list() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make(map[string]string, len(s.all))
	for k, v := range s.all {
		l[k] = v
	}
	return l
}

// of counts the secrets of a kind.
func (s *secrets) of(what string) (n int) {
	for _, w := range s.list() {
		if w == what {
			n++
		}
	}
	return n
}

// sniff notes all secrets that calls to the clouds carry from now on.
func sniff(c *clouds) *secrets {
	s := &secrets{all: map[string]string{}, argv: map[string]bool{}}
	s.add("password", c.account.Password())
	c.play.Fault(cloudtest.Fault{Endpoint: "*", Kind: cloudtest.Do, Hook: s.request})
	return s
}

// request notes the secrets of one call.
func (s *secrets) request(r *http.Request) {
	for _, cookie := range r.Cookies() {
		if cookie.Name != "X-APPLE-WEBAUTH-USER" { // the account's number
			s.add("cookie", cookie.Value)
		}
	}
	s.add("access token", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	for _, h := range []string{"X-Apple-Id-Session-Id", "X-Apple-Session-Token", "Scnt"} {
		s.add("session", r.Header.Get(h))
	}
	if strings.Contains(r.Host, "icloud-content.com") {
		s.add("signed address", r.URL.Query().Get("o"))
		return // its body may be an upload
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/accountLogin"), strings.Contains(r.URL.Path, "/signin/"):
		var body struct {
			Trust  string   `json:"trustToken"`
			Trusts []string `json:"trustTokens"`
			Login  string   `json:"dsWebAuthToken"`
		}
		raw, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(raw, &body) // what isn't understood holds none of these
		for _, t := range append(body.Trusts, body.Trust) {
			s.add("trust token", t)
		}
		s.add("session", body.Login)
	case strings.HasSuffix(r.URL.Path, "/oauth2/token"):
		raw, _ := io.ReadAll(r.Body)
		if form, err := url.ParseQuery(string(raw)); err == nil {
			s.add("refresh token", form.Get("refresh_token"))
		}
	}
}

// spellings are the forms in which a secret may hide: as it is, escaped for an address or for JSON, as base64 at any
// place of a longer text.
func spellings(secret, what string) []string {
	l := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(strconv.Quote(secret), `"`)}
	if quoted, err := json.Marshal(secret); err == nil {
		l = append(l, strings.Trim(string(quoted), `"`))
	}
	slices.Sort(l)
	l = slices.Compact(l)
	if what == "signed address" { // there are many, and nobody packs them
		return l
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			// The first and the last signs depend on what stands beside the secret.
			text := enc.EncodeToString(append(make([]byte, shift), secret...))
			from := []int{0, 2, 3}[shift]
			to := len(text)
			if (shift+len(secret))%3 != 0 {
				to--
			}
			l = append(l, text[from:to])
		}
	}
	return l
}

// leaks tells which kinds of secrets a text holds, each with the line of the first, the secret itself left out.
func (s *secrets) leaks(text []byte) map[string]string {
	found := map[string]string{}
	for secret, what := range s.list() {
		for _, form := range spellings(secret, what) {
			if i := bytes.Index(text, []byte(form)); i >= 0 {
				from := max(bytes.LastIndexByte(text[:i], '\n')+1, i-300)
				found[what] = string(text[from:i]) + "<here>"
				break
			}
		}
		if what == "password" && cloudtest.Obscured(text, secret) {
			found["obscured "+what] = "somewhere"
		}
	}
	return found
}

// none demands that a text holds no secret.
func (s *secrets) none(t testing.TB, where string, text []byte) {
	t.Helper()
	for kind, line := range s.leaks(text) {
		t.Errorf("%s: a secret (%s) in %q", where, kind, line)
	}
}

// noneInFiles demands that no file below a folder holds a secret, and returns how many bytes it looked at.
func (s *secrets) noneInFiles(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		n += len(raw)
		s.none(t, path, raw)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return n
}

// watch looks at a process until it ends.
func (s *secrets) watch(p *process) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for p.running() {
		s.look(p)
		select {
		case <-tick.C:
		case <-p.ended:
		}
	}
}

// look notes the command line and the environment of a process, and the command lines of all others.
func (s *secrets) look(p *process) {
	own := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, file := range append(files, filepath.Join(own, "environ")) {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		s.mu.Lock()
		s.argv[string(raw)] = true
		s.mu.Unlock()
	}
}

// seen is all that was seen of processes.
func (s *secrets) seen() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all bytes.Buffer
	for text := range s.argv {
		all.WriteString(text + "\n")
	}
	return all.Bytes()
}

// The test of the test: a secret is found in each of its forms.
func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	const secret = `planted/pass+word=&"%41 QZ`
	s := &secrets{all: map[string]string{}, argv: map[string]bool{}}
	s.add("password", secret)
	obscured := "VXCVscuvT_x-MkosoZ-mpW3oCTsEzOXtWw1nmCmMQ0ZjV18F6fIjlwne"
	for name, text := range map[string]string{
		"raw":        "x" + secret + "y",
		"query":      "https://example.com/?p=" + url.QueryEscape(secret),
		"path":       "https://example.com/" + url.PathEscape(secret) + "/x",
		"JSON":       string(asJSON(map[string]string{"p": secret})),
		"base64":     base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 1":   base64.StdEncoding.EncodeToString([]byte("a" + secret + "bc")),
		"base64 2":   base64.URLEncoding.EncodeToString([]byte("ab" + secret + "c")),
		"base64 3":   base64.StdEncoding.EncodeToString([]byte("user:abc" + secret)),
		"obscured":   "password = " + obscured + "\n",
		"obscured 2": `{"password":"` + obscured + `"}`,
	} {
		if len(s.leaks([]byte(text))) == 0 {
			t.Errorf("not found in %s: %s", name, text)
		}
	}
	if got := s.leaks([]byte("an ordinary line with path=Documents/file.txt and cGxhbnRlZC8 in it")); len(got) > 0 {
		t.Errorf("found where there is nothing: %v", got)
	}
}

func asJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
