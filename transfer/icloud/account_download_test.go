package icloud

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

const (
	contentURL = "https://content.icloud-content.com/one?sig=secretsig"
	otherURL   = "https://content2.icloud-content.com/two?sig=secretsig"
)

func readAll(t *testing.T, r io.ReadCloser, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDownloadFollowsApplesRedirects(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.on["/one"] = func(r *http.Request, _ []byte) *http.Response {
		resp := reply(330, "")
		resp.Header.Set("Location", otherURL)
		return resp
	}
	p.on["/two"] = func(r *http.Request, _ []byte) *http.Response {
		if r.Header.Get("Range") != "bytes=1-2" || !strings.Contains(r.Header.Get("Cookie"), "s0") {
			t.Errorf("headers are %v", r.Header)
		}
		resp := reply(206, "bc")
		resp.Header.Set("Content-Range", "bytes 1-2/3")
		return resp
	}
	r, err := a.Download(t.Context(), contentURL, &fs.RangeOption{Start: 1, End: 2})
	if got := readAll(t, r, err); got != "bc" {
		t.Errorf("got %q", got)
	}
	if a.content.inUse != 0 {
		t.Error("the place isn't given back")
	}
}

func TestDownloadHoldsItsPlaceUntilClosed(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.on["/one"] = func(*http.Request, []byte) *http.Response { return reply(200, "x") }
	r, err := a.Download(t.Context(), contentURL)
	if err != nil || a.content.inUse != 1 {
		t.Fatalf("%d places held (%v)", a.content.inUse, err)
	}
	_ = r.Close()
	_ = r.Close()
	if a.content.inUse != 0 {
		t.Errorf("%d places held after the end", a.content.inUse)
	}
}

func TestDownloadOfARangeTakesNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		is     string // Content-Range
	}{
		"the whole file":        {status: 200},
		"no word of what it is": {status: 206},
		"another range":         {status: 206, is: "bytes 0-1/3"},
		"one byte off":          {status: 206, is: "bytes 2-2/3"},
		"another unit":          {status: 206, is: "lines 1-2/3"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newApple(t)
			a := p.account(Options{})
			p.on["/one"] = func(*http.Request, []byte) *http.Response {
				resp := reply(c.status, "whole")
				if c.is != "" {
					resp.Header.Set("Content-Range", c.is)
				}
				return resp
			}
			_, err := a.Download(t.Context(), contentURL, &fs.RangeOption{Start: 1, End: 2})
			if !errors.Is(err, errNoRange) || !errors.Is(err, transfer.ErrNoParts) {
				t.Errorf("error is %v", err)
			}
			if a.content.inUse != 0 {
				t.Error("the place isn't given back")
			}
		})
	}
}

func TestCookiesGoToAppleOnly(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	hits := 0
	p.on["/else"] = func(r *http.Request, _ []byte) *http.Response {
		hits++
		if r.Header.Get("Cookie") != "" {
			t.Errorf("cookies go to %s", r.URL.Host)
		}
		return reply(200, "x")
	}
	p.on["/one"] = func(r *http.Request, _ []byte) *http.Response {
		resp := reply(330, "")
		resp.Header.Set("Location", "https://content.icloud-content.com.example.org/else")
		return resp
	}
	r, err := a.Download(t.Context(), contentURL)
	readAll(t, r, err)
	p.on["/one"] = func(r *http.Request, _ []byte) *http.Response {
		resp := reply(330, "")
		resp.Header.Set("Location", "http://content.icloud-content.com/else")
		return resp
	}
	if _, err := a.Download(t.Context(), contentURL); err == nil || hits != 1 {
		t.Errorf("left https (%v)", err)
	}
}

func TestDownloadErrors(t *testing.T) {
	for _, tt := range []struct {
		status, calls int
		throttled     bool
	}{{403, 1, false}, {401, 1, false}, {421, 1, false}, {410, 1, false}, {503, maxTries, true}, {429, maxTries, true}, {500, maxTries, false}} {
		p := newApple(t)
		a := p.account(Options{})
		p.on["/one"] = func(*http.Request, []byte) *http.Response { return reply(tt.status, "") }
		_, err := a.Download(t.Context(), contentURL)
		if err == nil || errors.Is(err, transfer.ErrThrottled) != tt.throttled || p.count("/one") != tt.calls {
			t.Errorf("%d: %v after %d calls", tt.status, err, p.count("/one"))
			continue
		}
		for _, bad := range []string{"secretsig", "Unauthorized", "Misdirected", "Forbidden"} {
			if strings.Contains(err.Error(), bad) {
				t.Errorf("%d: %v", tt.status, err)
			}
		}
		if n := p.signIns.Load(); n != 0 {
			t.Errorf("%d: the session was renewed for it", tt.status)
		}
		if a.content.inUse != 0 {
			t.Errorf("%d: the place isn't given back", tt.status)
		}
	}
	p := newApple(t)
	a := p.account(Options{})
	p.on["/one"] = func(*http.Request, []byte) *http.Response { return nil }
	if _, err := a.Download(t.Context(), contentURL); err == nil || strings.Contains(err.Error(), "secretsig") {
		t.Errorf("error is %v", err)
	}
	if _, err := a.Download(t.Context(), ""); err == nil {
		t.Error("no address is opened")
	}
}
