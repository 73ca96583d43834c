package cloudtest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"
)

func trashBody(items ...Item) string { return itemsBody(items...) }

func itemsBody(items ...Item) string {
	var l []map[string]string
	for _, it := range items {
		l = append(l, map[string]string{"drivewsid": it.ID, "etag": it.ETag, "clientId": it.ID})
	}
	b, _ := json.Marshal(map[string]any{"items": l})
	return string(b)
}

// link asks for the signed URL of a file.
func (c *web) link(it Item) string {
	c.t.Helper()
	status, body := c.call("GET", docsURL+"/ws/"+it.Zone+"/download/by_id?document_id="+it.DocID, "")
	var doc map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 {
		c.t.Fatalf("by_id: %d %s", status, body)
	}
	var token struct{ URL string }
	for _, k := range []string{"data_token", "package_token"} {
		if doc[k] != nil {
			_ = json.Unmarshal(doc[k], &token)
		}
	}
	return token.URL
}

// statuses are what a call says of each item.
func statuses(t *testing.T, body string) (l []string) {
	t.Helper()
	var doc struct{ Items []struct{ Status string } }
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, it := range doc.Items {
		l = append(l, it.Status)
	}
	return l
}

func TestRefusals(t *testing.T) {
	w := start(t, Options{})
	a := w.ICloud.Default()
	empty := a.Put("empty.txt", nil, time.Now())
	shared := a.PutShared("Family/photos/x.jpg", []byte("x"), time.Now())
	c := newWeb(t, w)
	stale := newWeb(t, w)
	stale.cookies = "X-APPLE-WEBAUTH-TOKEN=v=2:t=old"
	bare := newWeb(t, w)
	bare.cookies = ""
	for _, tc := range []struct {
		name              string
		c                 *web
		method, url, body string
		want              int
	}{
		{"wrong method", c, "GET", driveURL + "/retrieveItemDetailsInFolders", "", 405},
		{"malformed", c, "POST", driveURL + "/retrieveItemDetailsInFolders", "{", 400},
		{"no cookies", bare, "POST", driveURL + "/retrieveItemDetailsInFolders", listRoot, 421},
		{"stale cookies", stale, "POST", driveURL + "/retrieveItemDetailsInFolders", listRoot, 421},
		{"stale validate", stale, "POST", "https://setup.icloud.com/setup/ws/1/validate", "", 421},
		{"no such path", c, "POST", driveURL + "/emptyTrash", "{}", 404},
		{"unknown document", c, "GET", docsURL + "/ws/com.apple.CloudDocs/download/by_id?document_id=X", "", 404},
		{"empty document", c, "GET", docsURL + "/ws/com.apple.CloudDocs/download/by_id?document_id=" + empty.DocID, "", 400},
		{"below a share", c, "POST", driveURL + "/retrieveItemDetailsInFolders", `[{"drivewsid":"` + shared.ParentID + `"}]`, 400},
		{"shared document", c, "GET", docsURL + "/ws/com.apple.CloudDocs/download/by_id?document_id=" + shared.DocID, "", 400},
		{"trash a shared item", c, "POST", driveURL + "/moveItemsToTrash", trashBody(shared), 400},
		{"unsigned content", c, "GET", "https://cvws.icloud-content.com/B/x/y?o=nope", "", 403},
		{"no items", c, "POST", driveURL + "/deleteItems", `{"items":[]}`, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if status, body := tc.c.call(tc.method, tc.url, tc.body); status != tc.want {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
	t.Run("wrong origin", func(t *testing.T) {
		req, _ := http.NewRequest("POST", driveURL+"/retrieveItemDetailsInFolders", strings.NewReader(listRoot))
		req.Header.Set("Cookie", c.cookies)
		resp, err := c.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 403 {
			t.Errorf("got %d", resp.StatusCode)
		}
	})
}

func TestTrashPurgeAndPutBack(t *testing.T) {
	w := start(t, Options{})
	a := w.ICloud.Default()
	a.SetStorage(1<<30, 1000, 2000, 30)
	one := a.Put("Docs/Übung.txt", make([]byte, 500), time.Now())
	two := a.Put("Docs/two.txt", make([]byte, 300), time.Now())
	c := newWeb(t, w)
	if a.Used() != 3830 {
		t.Fatalf("used %d", a.Used())
	}
	old := one
	one = a.Change("Docs/Übung.txt", make([]byte, 600))
	_, body := c.call("POST", driveURL+"/moveItemsToTrash", trashBody(old, two, Item{ID: "FILE::com.apple.CloudDocs::gone", ETag: "1::1"}))
	if got := statuses(t, body); !slices.Equal(got, []string{"ETAG_CONFLICT", "OK", "ID_INVALID"}) || !strings.Contains(body, one.ETag) {
		t.Fatalf("got %v: %s", got, body)
	}
	_, body = c.call("POST", driveURL+"/moveItemsToTrash", trashBody(one))
	if got := statuses(t, body); !slices.Equal(got, []string{"OK"}) {
		t.Fatal(body)
	}
	if a.Used() != 3930 {
		t.Errorf("the trash doesn't count: %d", a.Used())
	}
	trash := a.Trash()
	if len(trash) != 2 || trash[0].ETag == two.ETag || trash[1].ETag == one.ETag || trash[1].Restore != "Docs/Übung.txt" {
		t.Fatalf("trash: %+v", trash)
	}
	for _, id := range []string{"TRASH_ROOT", "FOLDER::com.apple.CloudDocs::TRASH_ROOT"} {
		_, body := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", `[{"drivewsid":"`+id+`"}]`)
		if !strings.Contains(body, `"restorePath":"`+norm.NFD.String("Docs/Übung.txt")+`"`) || !strings.Contains(body, `"drivewsid":"TRASH_ROOT"`) {
			t.Errorf("%s: %s", id, body)
		}
	}
	stale := trash[0]
	stale.ETag = two.ETag
	_, body = c.call("POST", driveURL+"/deleteItems", itemsBody(stale))
	if got := statuses(t, body); !slices.Equal(got, []string{"ETAG_CONFLICT"}) {
		t.Error("purged with the etag of before the trash:", body)
	}
	_, body = c.call("POST", driveURL+"/deleteItems", itemsBody(trash[0]))
	if got := statuses(t, body); !slices.Equal(got, []string{"OK"}) || !strings.Contains(body, `"isDeleted":true`) {
		t.Error(body)
	}
	if a.Used() != 3630 || !slices.Equal(a.Purged(), []string{two.ID}) || !slices.Equal(a.TrashedIDs(), []string{two.ID, one.ID}) {
		t.Errorf("used %d, purged %v, trashed %v", a.Used(), a.Purged(), a.TrashedIDs())
	}
	_, body = c.call("POST", driveURL+"/putBackItemsFromTrash", itemsBody(trash[1]))
	if back, ok := a.Lookup("Docs/Übung.txt"); !ok || back.ETag == trash[1].ETag || len(a.Trash()) != 0 {
		t.Error("not put back:", body)
	}
}

func TestSeveralFoldersAreListedInOneCall(t *testing.T) {
	w := start(t, Options{})
	a := w.ICloud.Default()
	one := a.Put("A/1.txt", []byte("1"), time.Now())
	two := a.Put("B/2.txt", []byte("22"), time.Now())
	shared := a.PutShared("Family/3.txt", []byte("333"), time.Now())
	dead, _ := a.Lookup("B")
	a.Discard("B")
	c := newWeb(t, w)
	_, body := c.call("POST", driveURL+"/retrieveItemDetailsInFolders",
		fmt.Sprintf(`[{"drivewsid":%q},{"drivewsid":%q},{"drivewsid":"FOLDER::com.apple.CloudDocs::X"},{"drivewsid":%q}]`, one.ParentID, dead.ID, shared.ParentID))
	var got []struct {
		DriveWSID, Status string
		Items             []struct {
			DriveWSID string
			ShareID   map[string]any
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got) != 4 {
		t.Fatalf("%v: %s", err, body)
	}
	if len(got[0].Items) != 1 || got[0].Items[0].DriveWSID != one.ID || got[0].Status != "OK" {
		t.Errorf("a folder: %+v", got[0])
	}
	if got[1].Status != "ID_INVALID" || got[2].Status != "ID_INVALID" || len(got[1].Items) != 0 {
		t.Errorf("folders that aren't alive: %+v", got[1:3])
	}
	if len(got[3].Items) != 1 || !strings.HasPrefix(got[3].Items[0].DriveWSID, "FILE_IN_SHARED_FOLDER::") || got[3].Items[0].ShareID == nil {
		t.Errorf("a share: %+v", got[3])
	}
	if _, alive := a.Lookup("B/2.txt"); alive || two.Size != 2 {
		t.Error("what is in a discarded folder is alive")
	}
}

func TestDeleteItemsTakesLiveItems(t *testing.T) {
	w := start(t, Options{})
	a := w.ICloud.Default()
	it := a.Put("live.txt", []byte("x"), time.Now())
	_, body := newWeb(t, w).call("POST", driveURL+"/deleteItems", itemsBody(it))
	if _, there := a.Lookup("live.txt"); there || len(a.Trash()) != 0 {
		t.Error("kinder than the real service:", body)
	}
}

func TestWritesOfAZoneAreSerial(t *testing.T) {
	w := start(t, Options{Latency: Latency{Delete: 300 * time.Millisecond}})
	w.Fault(Fault{Endpoint: "icloud:moveItemsToTrash", Kind: Do, Hook: Together(3)})
	a := w.ICloud.Default()
	a.AddAppLibrary("Pages", "com.apple.Pages")
	one, two := a.Put("1", []byte("1"), time.Now()), a.Put("2", []byte("2"), time.Now())
	other := a.Put("Pages/3", []byte("3"), time.Now())
	if other.Zone != "com.apple.Pages" {
		t.Fatalf("zone %s", other.Zone)
	}
	c := newWeb(t, w)
	type result struct {
		name, body string
		status     int
	}
	results := make(chan result, 3)
	for _, it := range []Item{one, two, other} {
		go func() {
			status, body, _ := c.do(context.Background(), "POST", driveURL+"/moveItemsToTrash", trashBody(it))
			results <- result{it.Name, body, status}
		}()
	}
	busy := 0
	for range 3 {
		r := <-results
		switch {
		case r.status == 409 && strings.Contains(r.body, "ZONE_BUSY") && r.name != "3":
			busy++
		case r.status != 200:
			t.Errorf("%+v", r)
		}
	}
	if busy != 1 || len(a.Trash()) != 2 {
		t.Errorf("%d refused as busy, %d in the trash", busy, len(a.Trash()))
	}
}

func TestAWriteIsCarriedOutThoughItsClientLeft(t *testing.T) {
	w := start(t, Options{Latency: Latency{Delete: 150 * time.Millisecond}})
	a := w.ICloud.Default()
	it := a.Put("1", []byte("1"), time.Now())
	c := newWeb(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Fault(Fault{Endpoint: "icloud:moveItemsToTrash", Kind: Do, Hook: func(*http.Request) { cancel() }}) // it leaves once it was heard
	if _, _, err := c.do(ctx, "POST", driveURL+"/moveItemsToTrash", trashBody(it)); err == nil {
		t.Fatal("answered in time")
	}
	eventually(t, "the item in the trash", func() bool { return len(a.Trash()) == 1 })
}

func TestContentHost(t *testing.T) {
	now := time.Now()
	clock := &now
	w := start(t, Options{Now: func() time.Time { return *clock }})
	a := w.ICloud.Default()
	it := a.PutGenerated("big.bin", 100_003, 42)
	c := newWeb(t, w)
	link := c.link(it)
	want, err := io.ReadAll(Generated(100_003, 42))
	if err != nil {
		t.Fatal(err)
	}
	if _, body := c.call("GET", link, ""); body != string(want) {
		t.Error("other bytes than generated")
	}
	req, _ := http.NewRequest("GET", link, nil)
	req.Header.Set("Range", "bytes=777-1999")
	resp, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	part, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 206 || !bytes.Equal(part, want[777:2000]) {
		t.Errorf("range: %d, %d bytes", resp.StatusCode, len(part))
	}
	w.ICloud.SetRedirect(1)
	if status, _ := c.call("GET", link, ""); status != 330 {
		t.Errorf("redirected with %d", status)
	}
	w.ICloud.SetRedirect(0)
	later := now.Add(16 * time.Minute)
	clock = &later
	if status, _ := c.call("GET", link, ""); status != 410 {
		t.Errorf("a URL that ran out answers %d", status)
	}
}

func TestPackagesAreMadeAnew(t *testing.T) {
	w := start(t, Options{})
	files := map[string][]byte{"Index.zip": []byte("index"), "Data/a.jpg": bytes.Repeat([]byte("x"), 3000)}
	it := w.ICloud.Default().PutPackage("Letter.pages", files)
	c := newWeb(t, w)
	link := c.link(it)
	_, first := c.call("GET", link, "")
	_, second := c.call("GET", link, "")
	if first == second || int64(len(first)) == it.Size {
		t.Error("the zip is the same each time, or as long as the listing says")
	}
	zr, err := zip.NewReader(strings.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range zr.File {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if err != nil || !bytes.Equal(got, files[strings.TrimPrefix(f.Name, "Letter.pages/")]) {
			t.Errorf("%s: %d bytes, %v", f.Name, len(got), err)
		}
	}
	if len(zr.File) != 2 {
		t.Errorf("%d files", len(zr.File))
	}
}

func TestStorageUsage(t *testing.T) {
	w := start(t, Options{})
	a := w.ICloud.Default()
	a.SetStorage(5<<30, 100, 200, 300)
	a.Put("x", make([]byte, 50), time.Now())
	c := newWeb(t, w)
	for _, call := range []struct{ method, url string }{
		{"GET", "https://setup.icloud.com/setup/ws/1/storageUsageInfo"},
		{"POST", "https://setup.icloud.com/setup/ws/1/storageUsageInfo"},
		{"POST", "https://" + ownSetup + ":443/setup/ws/1/storageUsageInfo?dsid=" + a.DSID()},
	} {
		status, body := c.call(call.method, call.url, "")
		var doc struct {
			StorageUsageByMedia []struct {
				MediaKey     string
				UsageInBytes int64
			}
			StorageUsageInfo struct{ UsedStorageInBytes, TotalStorageInBytes int64 }
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 {
			t.Fatalf("%d %v %s", status, err, body)
		}
		got := fmt.Sprint(doc)
		if want := "{[{photos 100} {backup 200} {docs 50} {mail 300}] {650 5368709120}}"; got != want {
			t.Errorf("%s %s: %s", call.method, call.url, got)
		}
	}
}
