package icloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
)

const (
	// maxHops is how many redirects of Apple's own kind, 330, are followed.
	maxHops = 10
	// defaultZone is the zone of items whose ID names none.
	defaultZone = "com.apple.CloudDocs"
	// statusApple330 is how a content host sends on to another.
	statusApple330 = 330
	// statusApple450 is Apple's other word for a session that has ended.
	statusApple450 = 450
)

// Token implements service.
func (a *Account) Token(ctx context.Context, id string) (Token, error) {
	_, zone, doc := api.DeconstructDriveID(id)
	if zone == "" {
		zone = defaultZone
	}
	var tok Token
	err := a.do(ctx, &call{what: "ask for a download", method: "GET", service: api.WsDocs,
		path: "/ws/" + url.PathEscape(zone) + "/download/by_id", params: url.Values{"document_id": {doc}},
		decode: func(b []byte) (err error) {
			tok, err = readToken(b)
			return err
		}})
	var se *statusError
	if errors.As(err, &se) && se.status == http.StatusNotFound {
		return Token{}, fs.ErrorObjectNotFound
	}
	return tok, err
}

func readToken(body []byte) (Token, error) {
	type part struct {
		URL       text `json:"url"`
		Signature text `json:"signature"`
	}
	var ans struct {
		Data    *part `json:"data_token"`
		Package *part `json:"package_token"`
	}
	if err := unmarshal(body, &ans); err != nil {
		return Token{}, err
	}
	switch {
	case ans.Data != nil && ans.Data.URL != "":
		return Token{URL: string(ans.Data.URL), Signature: string(ans.Data.Signature)}, nil
	case ans.Package != nil && ans.Package.URL != "":
		return Token{URL: string(ans.Package.URL), Package: true, Signature: string(ans.Package.Signature)}, nil
	}
	return Token{}, fmt.Errorf("%w: no download offered", errShort)
}

// Download implements service. The place in the limiter is held until the body has been read or is closed.
func (a *Account) Download(ctx context.Context, address string, options ...fs.OpenOption) (io.ReadCloser, error) {
	const what = "download file"
	t := tally{c: &call{what: what, steady: true}}
	for {
		if err := a.ready(ctx); err != nil {
			return nil, err
		}
		tk, err := a.enterContent(ctx, what)
		if err != nil {
			return nil, err
		}
		resp, err := a.open(ctx, what, address, options)
		if err == nil {
			a.notePace(ctx, tk, resp.StatusCode, retryAt(resp.Header, a.opt.Now()))
			if resp.StatusCode/100 == 2 {
				return a.body(resp, tk)
			}
			_ = resp.Body.Close()
		}
		tk.release()
		var ans *answer
		if err == nil {
			ans = &answer{status: resp.StatusCode, retry: retryAt(resp.Header, a.opt.Now())}
		}
		again, wait, err := t.judge(ans, err)
		var se *statusError
		if errors.As(err, &se) {
			se.host = "content"
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if again == giveUp {
			return nil, err
		}
		if err := a.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// enterContent waits until another download may begin, and takes its places.
func (a *Account) enterContent(ctx context.Context, what string) (*ticket, error) {
	share, err := a.content.acquire(ctx)
	if err != nil {
		return nil, err
	}
	tk, err := a.enter(ctx, a.api, what)
	if err != nil {
		share.release()
		return nil, err
	}
	tk.share = share
	return tk, nil
}

// open sends one request for content, and follows it to other hosts.
func (a *Account) open(ctx context.Context, what, address string, options []fs.OpenOption) (*http.Response, error) {
	for range maxHops {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, &beforeError{scrub(what, err)}
		}
		if r.URL.Host == "" {
			return nil, &beforeError{fmt.Errorf("%s: %w", what, errNoService)}
		}
		var jar cookies
		if apples(r.URL) {
			jar = a.snapshot().jar
		}
		setHeaders(r, jar)
		headers := map[string]string{}
		fs.OpenOptionAddHeaders(options, headers)
		for k, v := range headers {
			if k = strings.TrimPrefix(k, "*"); k != "" && v != "" {
				r.Header.Set(k, v)
			}
		}
		resp, err := a.http.Do(r)
		if err != nil {
			return nil, scrub(what, err)
		}
		if resp.StatusCode != statusApple330 {
			return resp, nil
		}
		_ = resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			return nil, scrub(what, err)
		}
		if r.URL.Scheme == "https" && to.Scheme != "https" {
			return nil, fmt.Errorf("%s: refusing to leave https", what)
		}
		address = to.String()
	}
	return nil, fmt.Errorf("%s: too many redirects", what)
}

// apples tells whether a host is Apple's: the session's cookies go to no other.
func apples(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if u.Scheme != "https" {
		return false
	}
	for _, d := range []string{"icloud.com", "icloud-content.com", "apple.com", "icloud.com.cn", "icloud-content.com.cn", "apple.com.cn"} {
		if host == d || strings.HasSuffix(host, "."+d) {
			return true
		}
	}
	return false
}

// body is the content of an answer. One that isn't the range asked for is no content.
func (a *Account) body(resp *http.Response, t *ticket) (io.ReadCloser, error) {
	if !inRange(resp) {
		_ = resp.Body.Close()
		t.release()
		return nil, errNoRange
	}
	return &content{ReadCloser: resp.Body, t: t}, nil
}

// inRange tells whether an answer begins where the range that was asked for begins. Where it ends shows when it is read.
func inRange(resp *http.Response) bool {
	want := resp.Request.Header.Get("Range")
	if want == "" || want == "bytes=0-" && resp.StatusCode == http.StatusOK {
		return true
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(want, "bytes="), "-")
	from, _, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "-")
	return resp.StatusCode == http.StatusPartialContent && ok && (first == "" || from == first)
}

// content is the body of a download, which holds its place in the limiter until its end or until it is closed.
type content struct {
	io.ReadCloser
	t    *ticket
	once sync.Once
	err  error
}

// Read implements io.Reader. At the end the place goes to the next: what is read may stay open until it is uploaded.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil {
		c.t.release()
	}
	return n, err
}

// Close ends the download and gives its place to the next.
func (c *content) Close() error {
	c.once.Do(func() {
		defer c.t.release()
		c.err = c.ReadCloser.Close()
	})
	return c.err
}
