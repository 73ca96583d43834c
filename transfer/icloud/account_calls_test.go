package icloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"

	"offload/transfer"
)

const (
	listPath  = "/retrieveItemDetailsInFolders"
	trashPath = "/moveItemsToTrash"
	byID      = "/ws/com.apple.CloudDocs/download/by_id"
)

// script answers call n (from 1) to a path.
func (p *apple) script(path string, f func(n int, body []byte) *http.Response) {
	var n atomic.Int64
	p.on[path] = func(_ *http.Request, body []byte) *http.Response { return f(int(n.Add(1)), body) }
}

func TestCallsThatAreSafeAreRepeated(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first func() *http.Response
		fails int
		ok    bool
	}{
		{"400 twice", func() *http.Response { return reply(400, "") }, 2, true},
		{"400 for good", func() *http.Response { return reply(400, "") }, 3, false},
		{"409", func() *http.Response { return reply(409, `{"errorCode":"ZONE_BUSY"}`) }, 5, true},
		{"429", func() *http.Response { return reply(429, "") }, 5, true},
		{"500", func() *http.Response { return reply(500, "") }, 5, true},
		{"503", func() *http.Response { return reply(503, "") }, 5, true},
		{"503 for good", func() *http.Response { return reply(503, "") }, 6, false},
		{"empty list", func() *http.Response { return reply(200, "[]") }, 5, true},
		{"empty object", func() *http.Response { return reply(200, "{}") }, 5, true},
		{"no JSON", func() *http.Response { return reply(200, "<html>") }, 5, true},
		{"null", func() *http.Response { return reply(200, "null") }, 5, true},
		{"cut connection", func() *http.Response { return nil }, 5, true},
		{"403", func() *http.Response { return reply(403, "") }, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newApple(t)
			a := p.account(Options{})
			p.script(listPath, func(n int, body []byte) *http.Response {
				if n <= tt.fails {
					return tt.first()
				}
				return reply(200, folders(body))
			})
			l := a.List(t.Context(), []string{rootID})[0]
			if (l.Err == nil) != tt.ok {
				t.Errorf("error is %v", l.Err)
			}
			want := tt.fails
			if tt.ok {
				want++
			}
			if n := p.count(listPath); n != want {
				t.Errorf("%d calls, want %d", n, want)
			}
		})
	}
}

func TestThrottlingIsTold(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.script(listPath, func(int, []byte) *http.Response { return reply(503, "") })
	err := a.List(t.Context(), []string{rootID})[0].Err
	if !errors.Is(err, transfer.ErrThrottled) || !strings.Contains(err.Error(), "503 Service Unavailable") {
		t.Errorf("error is %v", err)
	}
}

func TestRetryAfterIsSharedAndWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newApple(t)
		f := &transfer.LocalFleet{}
		one, two := p.account(Options{Fleet: f}), p.account(Options{Fleet: f})
		one.sleep, two.sleep = transfer.Sleep, transfer.Sleep
		p.script(listPath, func(n int, body []byte) *http.Response {
			if n > 1 {
				return reply(200, folders(body))
			}
			r := reply(429, "")
			r.Header.Set("Retry-After", "20")
			return r
		})
		start := time.Now()
		wantNone(t, listN(t.Context(), one, 1))
		if d := time.Since(start); d < 20*time.Second || d > 22*time.Second {
			t.Errorf("waited %v, want 20 s", d)
		}
		if err := f.Rest(t.Context(), "icloud:icloud", time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		wantNone(t, listN(t.Context(), two, 1))
		if d := time.Since(start); d != time.Minute {
			t.Errorf("waited %v for another worker's rest", d)
		}
		_ = f.Rest(t.Context(), "icloud:icloud", time.Now().Add(time.Hour))
		err := listN(t.Context(), two, 1)[0]
		if !errors.Is(err, transfer.ErrThrottled) || fserrors.RetryAfterErrorTime(err).IsZero() {
			t.Errorf("a rest of an hour answers %v", err)
		}
	})
}

func TestUnknownFolder(t *testing.T) {
	for _, body := range []string{
		`[{"drivewsid":"FOLDER::z::gone","status":"ITEM_NOT_FOUND"}]`, `[{"status":"ID_INVALID"}]`,
	} {
		p := newApple(t)
		a := p.account(Options{})
		p.script(listPath, func(int, []byte) *http.Response { return reply(200, body) })
		if err := a.List(t.Context(), []string{"FOLDER::z::gone"})[0].Err; !errors.Is(err, fs.ErrorDirNotFound) {
			t.Errorf("%s: %v", body, err)
		}
	}
	p := newApple(t)
	p.script(listPath, func(int, []byte) *http.Response { return reply(404, "") })
	if err := p.account(Options{}).List(t.Context(), []string{"x"})[0].Err; !errors.Is(err, fs.ErrorDirNotFound) {
		t.Errorf("404: %v", err)
	}
}

func TestLenientListing(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.script(listPath, func(int, []byte) *http.Response {
		return reply(200, `[{"drivewsid":"`+rootID+`","type":"FOLDER","shareCount":3,"numberOfItems":"6","items":[
		{"drivewsid":"FILE::z::1","name":"a","extension":"txt","type":"FILE","size":7,"etag":"e1","dateModified":"2026-01-02T03:04:05Z","parentId":"p"},
		{"drivewsid":"FILE::z::2","name":"b","type":"FILE","dateModified":"yesterday","size":null},
		{"drivewsid":"FILE::z::3","name":17,"type":"FILE","shareID":{"zoneID":"x"}},
		{"drivewsid":"FOLDER::SHARED::4","name":"d","type":"FOLDER"},
		{"drivewsid":"FILE::z::5","name":"z","type":"FILE","size":"9","shareCount":1,"shareID":null},
		{"drivewsid":"FOLDER::z::6","name":"x／y","type":"FOLDER","shareCount":1,"directChildrenCount":9}]}]`)
	})
	l := a.List(t.Context(), []string{rootID})[0]
	if l.Err != nil {
		t.Fatal(l.Err)
	}
	if l.Folder.Shared {
		t.Error("the root counts as shared for what lies in it")
	}
	var got []string
	for _, it := range l.Items {
		got = append(got, fmt.Sprintf("%s %d %v", it.Name, it.Size, it.Shared))
	}
	want := []string{"a.txt 7 false", "b -1 false", " -1 true", "d -1 true", "z 9 true", "x／y -1 false"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if it := l.Items[0]; it.ETag != "e1" || it.ParentID != "p" || it.ModTime.Unix() != 1767323045 || !l.Items[1].ModTime.IsZero() {
		t.Errorf("item is %+v", it)
	}
}

// ids are folders to list.
func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("FOLDER::com.apple.CloudDocs::d%d", i)
	}
	return out
}

func wantWhole(t *testing.T, ask []string, got []Listing) {
	t.Helper()
	for i, l := range got {
		if l.Err != nil || l.Folder.ID != ask[i] || len(l.Items) != 1 || !strings.Contains(l.Items[0].ID, key(ask[i])+"-1") {
			t.Fatalf("%s: %+v", ask[i], l)
		}
	}
}

func TestWaitingFoldersGoTogether(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	var largest atomic.Int64
	p.script(listPath, func(_ int, body []byte) *http.Response {
		var q []question
		_ = json.Unmarshal(body, &q)
		for m := largest.Load(); int64(len(q)) > m && !largest.CompareAndSwap(m, int64(len(q))); m = largest.Load() {
		}
		slices.Reverse(q) // the order of answers means nothing
		body, _ = json.Marshal(q)
		return reply(200, folders(body))
	})
	ask := ids(1000)
	wantWhole(t, ask, a.List(t.Context(), ask))
	if n := p.count(listPath); n > 100 {
		t.Errorf("%d calls for 1000 folders", n)
	}
	if m := largest.Load(); m > groupMax || m < 2 {
		t.Errorf("largest group is %d", m)
	}
	if m := p.most.Load(); m > apiMax {
		t.Errorf("%d calls in flight", m)
	}
}

func TestFewFoldersGoAlone(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	ask := ids(apiStart)
	wantWhole(t, ask, a.List(t.Context(), ask))
	if n := p.count(listPath); n != apiStart {
		t.Errorf("%d calls for %d folders with as many places free", n, apiStart)
	}
}

func TestShortGroupsAreAskedOneByOne(t *testing.T) {
	first := func(body []byte) string { // the first folder only
		var q []question
		_ = json.Unmarshal(body, &q)
		return "[" + folderJSON(q[0].ID) + "]"
	}
	for name, group := range map[string]func(body []byte, n int) *http.Response{
		"fewer elements": func(body []byte, _ int) *http.Response { return reply(200, first(body)) },
		"wrong IDs": func(_ []byte, n int) *http.Response {
			return reply(200, "["+strings.Repeat(`{"drivewsid":"FOLDER::z::other","items":[]},`, n-1)+`{"drivewsid":"FOLDER::z::other","items":[]}]`)
		},
		"400":   func([]byte, int) *http.Response { return reply(400, "") },
		"empty": func([]byte, int) *http.Response { return reply(200, "[]") },
		"fewer items": func(body []byte, _ int) *http.Response {
			return reply(200, strings.ReplaceAll(folders(body), `"numberOfItems":1`, `"directChildrenCount":2`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newApple(t)
			a := p.account(Options{})
			var groups atomic.Int64
			p.script(listPath, func(_ int, body []byte) *http.Response {
				var q []question
				_ = json.Unmarshal(body, &q)
				if len(q) > 1 {
					groups.Add(1)
					return group(body, len(q))
				}
				return reply(200, folders(body))
			})
			ask := ids(300)
			for range 3 {
				wantWhole(t, ask, a.List(t.Context(), ask))
			}
			if groups.Load() == 0 {
				t.Fatal("no group was sent")
			}
			before := groups.Load()
			wantWhole(t, ask, a.List(t.Context(), ask))
			if groups.Load() != before {
				t.Errorf("%d more groups sent to a server that can't do them", groups.Load()-before)
			}
		})
	}
}

// A folder that comes short alone is its own fault: the others go on in groups.
func TestFolderThatStaysShortIsAnError(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	bad := "FOLDER::com.apple.CloudDocs::d7"
	p.script(listPath, func(_ int, body []byte) *http.Response {
		var q []question
		_ = json.Unmarshal(body, &q)
		var out []string
		for _, one := range q {
			j := folderJSON(one.ID)
			if one.ID == bad {
				j = strings.Replace(j, `"numberOfItems":1`, `"numberOfItems":5`, 1)
			}
			out = append(out, j)
		}
		return reply(200, "["+strings.Join(out, ",")+"]")
	})
	ask := ids(300)
	for range 4 {
		for i, l := range a.List(t.Context(), ask) {
			if ask[i] != bad {
				wantWhole(t, ask[i:i+1], []Listing{l})
				continue
			}
			if !errors.Is(l.Err, errShort) || !strings.Contains(l.Err.Error(), "1 of 5") || l.Items != nil {
				t.Fatalf("the short folder answers %+v", l)
			}
		}
	}
	if a.lists.single {
		t.Error("one short folder ended the groups")
	}
}

func TestListEndsWithItsContext(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		until(t, func() bool { return p.inFlight.Load() > 0 })
		cancel()
	}()
	for _, l := range a.List(ctx, ids(100)) {
		if !errors.Is(l.Err, context.Canceled) {
			t.Fatalf("error is %v", l.Err)
		}
	}
}

func TestPaceSettlesBelowTheServersLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newApple(t)
		p.limit = 10
		a := p.account(Options{})
		a.sleep = transfer.Sleep
		var busy atomic.Int64
		p.on[byID] = func(*http.Request, []byte) *http.Response {
			_ = transfer.Sleep(t.Context(), 50*time.Millisecond)
			return reply(200, `{"data_token":{"url":"https://content.icloud-content.com/x"}}`)
		}
		work := func(n int) {
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					for range n {
						if _, err := a.Token(t.Context(), "FILE::com.apple.CloudDocs::1"); err != nil {
							busy.Add(1)
						}
					}
				})
			}
			wg.Wait()
		}
		work(20)
		if busy.Load() > 0 {
			t.Errorf("%d calls failed for good", busy.Load())
		}
		before := p.count(byID)
		work(20)
		if again := p.count(byID) - before - 800; again != 0 {
			t.Errorf("%d calls refused after it settled", again)
		}
		if l := a.api.level(); l < 7 || l > 10 {
			t.Errorf("settled at %d below 10", l)
		}
	})
}

var refs = []Ref{{ID: "FILE::z::1", ETag: "a"}, {ID: "FILE::z::2", ETag: "b"}, {ID: "FILE::z::3", ETag: "c"}}

func TestChangesAreMatchedByID(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.script(trashPath, func(_ int, body []byte) *http.Response {
		var q struct{ Items []changeItem }
		_ = json.Unmarshal(body, &q)
		if len(q.Items) != 3 || q.Items[1] != (changeItem{"FILE::z::2", "b", "FILE::z::2"}) {
			t.Errorf("asked for %s", body)
		}
		return reply(200, `{"items":[{"drivewsid":"FILE::z::3","status":"ITEM_NOT_FOUND"},{"drivewsid":"FILE::z::1","status":"OK"},
			{"drivewsid":"FILE::z::2","status":"ETAG_CONFLICT","etag":"newer"}]}`)
	})
	errs := a.Trash(t.Context(), refs)
	if errs[0] != nil || !errors.Is(errs[1], transfer.ErrChanged) || !errors.Is(errs[2], fs.ErrorObjectNotFound) {
		t.Errorf("errors are %v", errs)
	}
	if n := p.count(trashPath); n != 1 {
		t.Errorf("%d calls: a conflict is never forced", n)
	}
}

func TestLostAnswersAreUnsureAndNeverRepeated(t *testing.T) {
	for name, r := range map[string]func() *http.Response{
		"cut":         func() *http.Response { return nil },
		"500":         func() *http.Response { return reply(500, "") },
		"503":         func() *http.Response { return reply(503, "") },
		"empty":       func() *http.Response { return reply(200, "") },
		"no items":    func() *http.Response { return reply(200, `{"items":[]}`) },
		"object":      func() *http.Response { return reply(200, "{}") },
		"no status":   func() *http.Response { return reply(200, `{"items":[{"drivewsid":"FILE::z::1"}]}`) },
		"no IDs, few": func() *http.Response { return reply(200, `{"items":[{"status":"OK"}]}`) },
		"others":      func() *http.Response { return reply(200, `{"items":[{"drivewsid":"FILE::z::8","status":"OK"},{},{}]}`) },
	} {
		p := newApple(t)
		a := p.account(Options{})
		p.script(trashPath, func(int, []byte) *http.Response { return r() })
		for _, err := range a.Trash(t.Context(), refs) {
			if !errors.Is(err, errUnsure) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := p.count(trashPath); n != 1 {
			t.Errorf("%s: %d calls", name, n)
		}
	}
}

func TestChangesThatWereNotCarriedOutAreRepeated(t *testing.T) {
	ok := `{"items":[{"drivewsid":"FILE::z::1","status":"OK"},{"drivewsid":"FILE::z::2","status":"OK"},{"drivewsid":"FILE::z::3","status":"OK"}]}`
	for name, tt := range map[string]struct {
		fails int
		first func() *http.Response
	}{
		"zone busy":  {maxBusy - 1, func() *http.Response { return reply(409, `{"errorCode":409,"serverErrorCode":"ZONE_BUSY"}`) }},
		"429":        {maxTries - 1, func() *http.Response { return reply(429, "") }},
		"421":        {1, func() *http.Response { return reply(421, "") }},
		"450":        {1, func() *http.Response { return reply(450, "") }},
		"busy items": {2, func() *http.Response { return reply(200, strings.ReplaceAll(ok, `"OK"`, `"ZONE_BUSY"`)) }},
	} {
		p := newApple(t)
		a := p.account(Options{})
		p.script(trashPath, func(n int, _ []byte) *http.Response {
			if n <= tt.fails {
				return tt.first()
			}
			return reply(200, ok)
		})
		for _, err := range a.Trash(t.Context(), refs) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := p.count(trashPath); n != tt.fails+1 {
			t.Errorf("%s: %d calls", name, n)
		}
	}
}

func TestChangeWithoutAnEtagIsNotSent(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	if err := a.Trash(t.Context(), []Ref{{ID: "FILE::z::1"}})[0]; err == nil || p.count(trashPath) != 0 {
		t.Errorf("sent without a condition (%v)", err)
	}
}

func TestToken(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   Token
		err    error
	}{
		{200, `{"data_token":{"url":"https://c/x","signature":"sig"}}`, Token{URL: "https://c/x", Signature: "sig"}, nil},
		{200, `{"package_token":{"url":"https://c/p"}}`, Token{URL: "https://c/p", Package: true}, nil},
		{200, `{"document_id":"1"}`, Token{}, errShort},
		{200, `{"data_token":null}`, Token{}, errShort},
		{404, ``, Token{}, fs.ErrorObjectNotFound},
	} {
		p := newApple(t)
		a := p.account(Options{})
		p.on["/ws/com.apple.Pages/download/by_id"] = func(r *http.Request, _ []byte) *http.Response {
			if id := r.URL.Query().Get("document_id"); id != "D-1" {
				t.Errorf("asked for %q", id)
			}
			return reply(tt.status, tt.body)
		}
		got, err := a.Token(t.Context(), "FILE::com.apple.Pages::D-1")
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v", tt.body, got, err)
		}
	}
}

func TestDetails(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.script("/retrieveItemDetails", func(_ int, body []byte) *http.Response {
		if strings.HasPrefix(string(body), "[") { // one of the two forms is refused
			return reply(400, "")
		}
		return reply(200, `{"items":[{"drivewsid":"FILE::z::2","status":"NOT_FOUND"},{"drivewsid":"FILE::z::1","name":"a","etag":"e","type":"FILE"}]}`)
	})
	items, errs := a.Details(t.Context(), []string{"FILE::z::1", "FILE::z::2", "FILE::z::3"})
	if errs[0] != nil || items[0].ETag != "e" || !errors.Is(errs[1], fs.ErrorObjectNotFound) || !errors.Is(errs[2], errShort) {
		t.Errorf("%+v, %v", items, errs)
	}
}

func TestListTrash(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.script(listPath, func(n int, body []byte) *http.Response {
		if n == 1 {
			return reply(200, `[{"drivewsid":"TRASH_ROOT","numberOfItems":2,"items":[{"drivewsid":"FILE::z::1"}]}]`) // short: not the trash
		}
		return reply(200, `[{"drivewsid":"TRASH_ROOT","numberOfItems":1,"items":[{"drivewsid":"FILE::z::1","etag":"t","parentId":"TRASH_ROOT",
			"restorePath":"Downloads/x.y","name":"x","extension":"y","size":5}]}]`)
	})
	got, err := a.ListTrash(t.Context())
	if err != nil || len(got) != 1 || got[0].RestorePath != "Downloads/x.y" || got[0].ETag != "t" || got[0].Size != 5 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestStorage(t *testing.T) {
	const ans = `{"storageUsageByMedia":[{"mediaKey":"backup","usageInBytes":7},{"mediaKey":"docs"},null],
		"storageUsageInfo":{"usedStorageInBytes":9,"totalStorageInBytes":50}}`
	check := func(name string, a *Account) {
		got, err := a.Storage(t.Context())
		if err != nil || got.Total != 50 || got.Used != 9 || got.ByKind["backup"] != 7 || len(got.ByKind) != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	p := newApple(t)
	p.on["/setup/ws/1/storageUsageInfo"] = func(r *http.Request, _ []byte) *http.Response {
		q := r.URL.Query()
		if r.Method != "POST" || r.URL.Host != "p1-setup.icloud.com" || q.Get("dsid") != "42" || q.Get("clientId") == "" || q.Get("clientBuildNumber") == "" {
			t.Errorf("asked %s %s", r.Method, r.URL.Host)
		}
		return reply(200, ans)
	}
	check("account host", p.account(Options{}))

	p = newApple(t)
	p.on["/setup/ws/1/storageUsageInfo"] = func(r *http.Request, _ []byte) *http.Response {
		if r.URL.Host != "setup.icloud.com" {
			return reply(421, "") // no word about the session
		}
		if r.Method != "GET" {
			return reply(405, "")
		}
		return reply(200, ans)
	}
	check("setup host", p.account(Options{}))
	if n := p.signIns.Load() + int64(p.count("/setup/ws/1/validate")); n != 0 {
		t.Errorf("a refused address cost %d calls about the session", n)
	}
	p.expire()
	check("expired session", p.account(Options{}))
}
