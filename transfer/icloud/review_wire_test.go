package icloud

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"
)

// A server that knows the trash by its bare name only may say so in several ways.
func TestTrashByItsBareName(t *testing.T) {
	for name, unknown := range map[string]func() *http.Response{
		"400":       func() *http.Response { return reply(400, "") },
		"404":       func() *http.Response { return reply(404, "") },
		"a status":  func() *http.Response { return reply(200, `[{"drivewsid":"`+trashID+`","status":"ID_INVALID"}]`) },
		"no answer": func() *http.Response { return reply(200, `[]`) },
	} {
		p := newApple(t)
		a := p.account(Options{})
		p.script(listPath, func(_ int, body []byte) *http.Response {
			if strings.Contains(string(body), trashID) {
				return unknown()
			}
			return reply(200, `[{"drivewsid":"TRASH_ROOT","numberOfItems":1,"items":[{"drivewsid":"FILE::z::1","etag":"t","parentId":"TRASH_ROOT"}]}]`)
		})
		if got, err := a.ListTrash(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// Calls may be sent on to another of Apple's hosts, as downloads are.
func TestCallsFollowApplesRedirects(t *testing.T) {
	to := func(where string) *http.Response {
		resp := reply(330, "")
		resp.Header.Set("Location", where)
		return resp
	}
	p := newApple(t)
	a := p.account(Options{})
	p.on[byID] = func(r *http.Request, _ []byte) *http.Response {
		if r.URL.Host != "p2-docws.icloud.com" {
			return to("https://p2-docws.icloud.com" + r.URL.RequestURI())
		}
		return reply(200, `{"data_token":{"url":"https://c/x"}}`)
	}
	if tok, err := a.Token(t.Context(), "FILE::com.apple.CloudDocs::1"); err != nil || tok.URL != "https://c/x" {
		t.Errorf("%+v, %v", tok, err)
	}
	p.on[byID] = func(r *http.Request, _ []byte) *http.Response {
		if r.URL.Host == "elsewhere.example" {
			t.Error("the session went to a stranger")
		}
		return to("https://elsewhere.example/x")
	}
	if _, err := a.Token(t.Context(), "FILE::com.apple.CloudDocs::1"); err == nil {
		t.Error("a stranger was asked")
	}
	p.on[byID] = func(*http.Request, []byte) *http.Response { return to("https://p2-docws.icloud.com" + byID) }
	if _, err := a.Token(t.Context(), "FILE::com.apple.CloudDocs::1"); err == nil {
		t.Error("went round in circles")
	}
}

// A server may refuse to tell of several items because of one of them: the others are asked for alone.
func TestDetailsOfAGroupThatIsRefused(t *testing.T) {
	for _, status := range []int{400, 404} {
		p := newApple(t)
		a := p.account(Options{})
		p.script("/retrieveItemDetails", func(_ int, body []byte) *http.Response {
			if strings.Contains(string(body), "FILE::z::2") {
				return reply(status, "")
			}
			return reply(200, `[{"items":[{"drivewsid":"FILE::z::1","name":"a","etag":"e","type":"FILE"}]}]`)
		})
		items, errs := a.Details(t.Context(), []string{"FILE::z::1", "FILE::z::2"})
		if errs[0] != nil || items[0].ETag != "e" || errs[1] == nil || status == 404 && !errors.Is(errs[1], fs.ErrorObjectNotFound) {
			t.Errorf("%d: %+v, %v", status, items, errs)
		}
	}
}

// Whatever a server answers in JSON, calls end with an error or an item, and nothing panics.
func TestOddAnswers(t *testing.T) {
	odd := []string{``, `null`, `[]`, `{}`, `[null]`, `[[]]`, `0`, `"x"`, `true`, `[{"items":null}]`, `[{"items":{}}]`, `{"items":null}`, `{"items":0}`,
		`{"items":[null,0,"x",[],{}]}`, `[{"drivewsid":1,"items":[{"drivewsid":null}]}]`, `[{"drivewsid":"FILE::z::1","size":"12","numberOfItems":"3","items":[]}]`,
		`[{"drivewsid":"FILE::z::1","status":7,"size":1e400,"dateModified":5,"items":[1]}]`, `{"items":[{"status":"OK"},{"status":"OK"}]}`,
		`{"data_token":"x"}`, `{"data_token":{"url":1}}`, `{"storageUsageInfo":[],"storageUsageByMedia":{}}`, `[` + strings.Repeat(`{"items":[`, 100),
		strings.Repeat(`{"items":[`, 100) + strings.Repeat(`]}`, 100)}
	p := newApple(t)
	a := p.account(Options{})
	for _, body := range odd {
		for _, path := range []string{listPath, "/retrieveItemDetails", trashPath, "/deleteItems", "/putBackItemsFromTrash", byID,
			"/setup/ws/1/storageUsageInfo"} {
			p.on[path] = func(*http.Request, []byte) *http.Response { return reply(200, body) }
		}
		for _, l := range a.List(t.Context(), []string{"FOLDER::z::1", "FOLDER::z::2"}) {
			if l.Err == nil {
				t.Errorf("%.60s: a listing", body)
			}
		}
		if _, errs := a.Details(t.Context(), []string{"FILE::z::8"}); errs[0] == nil {
			t.Errorf("%.60s: details", body)
		}
		if _, err := a.ListTrash(t.Context()); err == nil {
			t.Errorf("%.60s: the trash", body)
		}
		for _, change := range []func() []error{
			func() []error { return a.Trash(t.Context(), []Ref{{"FILE::z::8", "e"}}) },
			func() []error { return a.Purge(t.Context(), []Ref{{"FILE::z::8", "e"}}) },
			func() []error { return a.PutBack(t.Context(), []Ref{{"FILE::z::8", "e"}}) },
		} {
			if errs := change(); !errors.Is(errs[0], errUnsure) {
				t.Errorf("%.60s: %v", body, errs[0])
			}
		}
		if _, err := a.Token(t.Context(), "FILE::com.apple.CloudDocs::1"); err == nil {
			t.Errorf("%.60s: a token", body)
		}
		if _, err := a.Storage(t.Context()); err == nil {
			t.Errorf("%.60s: storage", body)
		}
	}
}
