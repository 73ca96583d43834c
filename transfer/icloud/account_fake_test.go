package icloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/obscure"

	"offload/transfer"
)

// The hosts of the apple that tests play.
const (
	driveHost   = "https://p1-drivews.icloud.com"
	docsHost    = "https://p1-docws.icloud.com"
	accountHost = "https://p1-setup.icloud.com"
)

// conf is a remote's section that many may use at once.
type conf struct {
	mu sync.Mutex
	m  map[string]string
}

func (c *conf) Get(key string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[key]
	return v, ok
}

func (c *conf) Set(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m[key] = value
}

// apple plays the services below the HTTP client. A session is a token in a cookie.
type apple struct {
	t        testing.TB
	mu       sync.Mutex
	sessions map[string]bool
	asked    map[string]int // calls by path
	next     atomic.Int64
	signIns  atomic.Int64
	signIn   func() (*api.Session, error) // nil gives a session
	on       map[string]func(r *http.Request, body []byte) *http.Response
	rotate   bool // every answer sets a cookie
	inFlight atomic.Int64
	most     atomic.Int64
	limit    int64         // refuses above it with 503, 0 for never
	gate     chan struct{} // calls wait here if set
	conf     *conf
}

func newApple(t testing.TB) *apple {
	return &apple{t: t, sessions: map[string]bool{"s0": true}, asked: map[string]int{},
		on: map[string]func(*http.Request, []byte) *http.Response{}, conf: &conf{m: map[string]string{
			keyAppleID: "anna@example.com", keyPassword: obscure.MustObscure("secret"), keyTrust: "trust",
			keyCookies: "X-APPLE-WEBAUTH-USER=v=1:s=1:d=42; X-APPLE-WEBAUTH-TOKEN=s0"}}}
}

func (p *apple) hosts() string {
	return `{"drivews":{"url":"` + driveHost + `"},"docws":{"url":"` + docsHost + `"},"account":{"url":"` + accountHost + `"}}`
}

func (p *apple) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// expire makes all sessions stale.
func (p *apple) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.sessions)
}

func (p *apple) allow(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[token] = true
}

func (p *apple) valid(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[token]
}

// sign plays rclone's sign-in.
func (p *apple) sign(_ context.Context, _ string, _ credentials, password string, with *api.Session) (*api.Session, error) {
	if len(with.Cookies) > 0 { // the key to protected data
		with.Cookies = append(with.Cookies, &http.Cookie{Name: pcsCookie, Value: "key"})
		p.signIns.Add(1)
		return with, nil
	}
	n := p.signIns.Add(1)
	if password != "secret" {
		return nil, errors.New("sign in failed: incorrect username or password")
	}
	if p.signIn != nil {
		return p.signIn()
	}
	token := fmt.Sprintf("new%d", n)
	p.allow(token)
	s := &api.Session{Cookies: []*http.Cookie{{Name: userCookie, Value: "v=1:s=1:d=42"}, {Name: "X-APPLE-WEBAUTH-TOKEN", Value: token}}}
	return s, p.into(s)
}

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// RoundTrip implements http.RoundTripper.
func (p *apple) RoundTrip(r *http.Request) (*http.Response, error) {
	n := p.inFlight.Add(1)
	defer p.inFlight.Add(-1)
	for m := p.most.Load(); n > m && !p.most.CompareAndSwap(m, n); m = p.most.Load() {
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	p.mu.Lock()
	p.asked[r.URL.Path]++
	gate := p.gate
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if p.limit > 0 && n > p.limit {
		return p.finish(r, reply(503, "busy")), nil
	}
	if r.Header.Get("Origin") != "https://www.icloud.com" {
		p.t.Errorf("%s without an origin", r.URL.Path)
	}
	token := ""
	for _, c := range r.Cookies() {
		if c.Name == "X-APPLE-WEBAUTH-TOKEN" {
			token = c.Value
		}
	}
	f := p.on[r.URL.Path]
	if !strings.HasPrefix(r.URL.Host, "content") && !p.valid(token) {
		return p.finish(r, reply(421, "")), nil
	}
	var resp *http.Response
	switch {
	case f != nil:
		resp = f(r, body)
	case strings.HasSuffix(r.URL.Path, "/validate"):
		resp = reply(200, `{"dsInfo":{"hsaVersion":2,"dsid":42},"webservices":`+p.hosts()+`}`)
	case r.URL.Path == "/retrieveItemDetailsInFolders":
		resp = reply(200, folders(body))
	default:
		resp = reply(404, "")
	}
	if resp == nil {
		return nil, errors.New("connection reset by peer")
	}
	return p.finish(r, resp), nil
}

func (p *apple) finish(r *http.Request, resp *http.Response) *http.Response {
	resp.Request = r
	if p.rotate {
		resp.Header.Add("Set-Cookie", fmt.Sprintf("C%d=%d; Path=/", p.next.Add(1)%5, p.next.Load()))
	}
	return resp
}

// folders answers a listing: each folder holds one file named after it.
func folders(body []byte) string {
	var ask []question
	if json.Unmarshal(body, &ask) != nil {
		return "null"
	}
	var b bytes.Buffer
	for i, q := range ask {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(folderJSON(q.ID))
	}
	return "[" + b.String() + "]"
}

func folderJSON(id string) string {
	return fmt.Sprintf(`{"drivewsid":%q,"type":"FOLDER","name":"f","etag":"e","numberOfItems":1,"items":[`+
		`{"drivewsid":"FILE::com.apple.CloudDocs::%s-1","name":"a","extension":"txt","type":"FILE","size":3,"etag":"x"}]}`, id, key(id))
}

// account signs in to the played apple without a call.
func (p *apple) account(o Options) *Account {
	p.t.Helper()
	a := p.cold(o)
	a.writeCache(p.services())
	if err := a.start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *apple) services() services {
	var s services
	if err := json.Unmarshal([]byte(p.hosts()), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// cold makes an account that hasn't started. Its waits take no time unless o has a clock.
func (p *apple) cold(o Options) *Account {
	p.t.Helper()
	config.SetCacheDir(filepath.Join(p.t.TempDir()))
	o.Log = slog.New(slog.DiscardHandler)
	c := New(o)
	a, err := makeAccount("icloud", p.conf, c.opt, "")
	if err != nil {
		p.t.Fatal(err)
	}
	a.http.Transport, a.signer = p, p.sign
	a.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return a
}

// until waits for a condition, as long as the test lasts.
func until(t *testing.T, ok func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return
		}
	}
}

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// into gives a session the services.
func (p *apple) into(s *api.Session) error {
	return json.Unmarshal([]byte(p.hosts()), &s.AccountInfo.Webservices)
}

// fleet counts the turns that are taken.
type fleet struct {
	transfer.LocalFleet
	turns atomic.Int64
}

func (f *fleet) Turn(ctx context.Context, lane string) (context.Context, func(), error) {
	f.turns.Add(1)
	return f.LocalFleet.Turn(ctx, lane)
}
