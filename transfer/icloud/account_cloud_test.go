package icloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"

	"offload/internal/cloudtest"
	"offload/transfer"
)

// played starts the played clouds and the section of a remote that is signed in to iCloud there.
func played(t *testing.T, o cloudtest.Options) (*cloudtest.World, *conf) {
	t.Helper()
	w, err := cloudtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	restore := w.UseByRclone()
	config.SetCacheDir(t.TempDir())
	t.Cleanup(func() {
		restore()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &conf{m: map[string]string{}}
	for line := range strings.SplitSeq(w.ICloud.Default().Conf(), "\n") {
		if k, v, ok := strings.Cut(line, "="); ok {
			c.m[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return w, c
}

func open(t *testing.T, c *conf, o Options) *Account {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	a, err := newAccount(t.Context(), "icloud", c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.http.CloseIdleConnections)
	return a
}

// tree puts files into folders and returns the folders' IDs.
func tree(t *testing.T, w *cloudtest.World, a *Account, folders, files int) []string {
	t.Helper()
	acc := w.ICloud.Default()
	for d := range folders {
		for f := range files {
			acc.Put(path.Join(fmt.Sprintf("Dir %d", d), fmt.Sprintf("Übung %d.txt", f)), []byte(fmt.Sprintf("%d/%d", d, f)), time.Unix(1.7e9, 0))
		}
	}
	var out []string
	l := a.List(t.Context(), []string{rootID})[0]
	if l.Err != nil {
		t.Fatal(l.Err)
	}
	for _, it := range l.Items {
		out = append(out, it.ID)
	}
	return out
}

func TestCloudListsAndDownloadsInParallel(t *testing.T) {
	w, c := played(t, cloudtest.Options{})
	w.ICloud.SetRedirect(3)
	a := open(t, c, Options{})
	dirs := tree(t, w, a, 40, 5)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, l := range a.List(t.Context(), dirs) {
				if l.Err != nil || l.Folder.ID != dirs[i] || len(l.Items) != 5 {
					t.Errorf("%s: %d items, %v", dirs[i], len(l.Items), l.Err)
				}
			}
		})
	}
	wg.Wait()
	for _, it := range a.List(t.Context(), dirs[:1])[0].Items {
		wg.Go(func() {
			tok, err := a.Token(t.Context(), it.ID)
			if err != nil {
				t.Error(err)
				return
			}
			r, err := a.Download(t.Context(), tok.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			if data, err := io.ReadAll(r); err != nil || int64(len(data)) != it.Size {
				t.Errorf("%d bytes of %d, %v", len(data), it.Size, err)
			}
		})
	}
	wg.Wait()
	if n := w.ICloud.Default().SignIns(); n != 0 {
		t.Errorf("%d sign-ins", n)
	}
	if n := w.MaxInFlight("icloud:retrieveItemDetailsInFolders"); n > apiMax {
		t.Errorf("%d listings in flight", n)
	}
}

func TestCloudExpiryIsOneSilentSignIn(t *testing.T) {
	w, c := played(t, cloudtest.Options{Latency: cloudtest.Latency{List: 20 * time.Millisecond}})
	a := open(t, c, Options{})
	dirs := tree(t, w, a, 20, 1)
	before, _ := c.Get(keyCookies)
	h := w.Fault(cloudtest.Fault{Endpoint: "icloud:retrieveItemDetailsInFolders", After: 5, Times: 1, Kind: cloudtest.Do,
		Hook: func(*http.Request) { w.ICloud.Default().ExpireSessions() }})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, l := range a.List(t.Context(), dirs) {
				if l.Err != nil {
					t.Error(l.Err)
				}
			}
		})
	}
	wg.Wait()
	if h.Count() != 1 {
		t.Fatalf("the sessions expired %d times", h.Count())
	}
	if n := w.ICloud.Default().SignIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
	after, _ := c.Get(keyCookies)
	if after == before {
		t.Error("the new cookies aren't kept")
	}
	open(t, c, Options{}) // another process starts with them
	if n := w.ICloud.Default().SignIns(); n != 1 {
		t.Errorf("%d sign-ins after another start", n)
	}
}

func TestCloudRefusals(t *testing.T) {
	for name, spoil := range map[string]func(a *cloudtest.Account){
		"trust expired":  func(a *cloudtest.Account) { a.ExpireTrust() },
		"wrong password": func(a *cloudtest.Account) { a.SetPassword("another") },
		"wrong password, 403": func(a *cloudtest.Account) {
			a.SetPassword("another")
			a.SetWrongPasswordStatus(http.StatusForbidden)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := played(t, cloudtest.Options{})
			acc := w.ICloud.Default()
			a := open(t, c, Options{})
			spoil(acc)
			acc.ExpireSessions()
			for range 3 {
				for _, err := range listN(t.Context(), a, 10) {
					if !errors.Is(err, transfer.ErrSignIn) {
						t.Fatalf("error is %v", err)
					}
					for _, s := range acc.Secrets() {
						if strings.Contains(err.Error(), s) {
							t.Fatalf("error tells a secret: %v", err)
						}
					}
				}
			}
			if n := w.Calls("icloud:signin_complete"); n != 1 {
				t.Errorf("%d sign-ins tried, want 1", n)
			}
		})
	}
}

func TestCloudTwoWorkersSignInOnce(t *testing.T) {
	w, c := played(t, cloudtest.Options{})
	f := &transfer.LocalFleet{}
	one, two := open(t, c, Options{Fleet: f}), open(t, c, Options{Fleet: f})
	wantNone(t, append(listN(t.Context(), one, 2), listN(t.Context(), two, 2)...))
	w.ICloud.Default().ExpireSessions()
	var wg sync.WaitGroup
	for _, a := range []*Account{one, two} {
		wg.Go(func() {
			for _, err := range listN(t.Context(), a, 10) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := w.ICloud.Default().SignIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

func TestCloudUnlocksProtectedData(t *testing.T) {
	w, c := played(t, cloudtest.Options{})
	a := open(t, c, Options{})
	wantNone(t, listN(t.Context(), a, 2))
	w.ICloud.Default().RequirePCS(true, 0)
	wantNone(t, listN(t.Context(), a, 10))
	if n := w.Calls("icloud:requestPCS"); n != 1 {
		t.Errorf("asked for the key %d times", n)
	}
}

func TestCloudTrashPurgePutBack(t *testing.T) {
	w, c := played(t, cloudtest.Options{})
	a := open(t, c, Options{})
	acc := w.ICloud.Default()
	dirs := tree(t, w, a, 1, 4)
	items := a.List(t.Context(), dirs)[0].Items
	used := storageOf(t, a).Used
	acc.Change("Dir 0/Übung 1.txt", []byte("newer"))
	ask := make([]Ref, len(items))
	changed := 0
	for i, it := range items {
		ask[i] = Ref{it.ID, it.ETag}
		if strings.Contains(it.Name, "1.txt") {
			changed = i
		}
	}
	busy := w.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Times: 2, Kind: cloudtest.Status, Status: http.StatusConflict})
	for i, err := range a.Trash(t.Context(), ask) {
		if i == changed && !errors.Is(err, transfer.ErrChanged) || i != changed && err != nil {
			t.Errorf("%s: %v", items[i].Name, err)
		}
	}
	if busy.Count() != 2 {
		t.Errorf("busy %d times", busy.Count())
	}
	trash, err := a.ListTrash(t.Context())
	if err != nil || len(trash) != 3 {
		t.Fatalf("%d in the trash, %v", len(trash), err)
	}
	if s := storageOf(t, a); s.Used < used {
		t.Errorf("the trash freed %d bytes", used-s.Used)
	}
	if errs := a.PutBack(t.Context(), []Ref{{trash[0].ID, trash[0].ETag}}); errs[0] != nil {
		t.Error(errs[0])
	}
	if errs := a.Purge(t.Context(), []Ref{{trash[1].ID, trash[1].ETag}, {trash[0].ID, trash[0].ETag}}); errs[0] != nil || !errors.Is(errs[1], transfer.ErrChanged) {
		t.Errorf("purge: %v", errs)
	}
	if errs := a.Trash(t.Context(), []Ref{{trash[1].ID, trash[1].ETag}}); !errors.Is(errs[0], fs.ErrorObjectNotFound) {
		t.Errorf("trash what is purged: %v", errs)
	}
	_, errs := a.Details(t.Context(), []string{trash[0].ID, trash[1].ID})
	if errs[0] != nil || !errors.Is(errs[1], fs.ErrorObjectNotFound) {
		t.Errorf("details: %v", errs)
	}
	lost := w.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Times: 1, Kind: cloudtest.Lost})
	if errs := a.Trash(t.Context(), ask[changed:changed+1]); !errors.Is(errs[0], errUnsure) || lost.Count() != 1 {
		t.Errorf("lost answer: %v", errs)
	}
}

func storageOf(t *testing.T, a *Account) transfer.Storage {
	t.Helper()
	s, err := a.Storage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCloudFaultsOnEveryRead(t *testing.T) {
	for _, kind := range []struct {
		name string
		f    cloudtest.Fault
	}{
		{"400", cloudtest.Fault{Kind: cloudtest.Status, Status: 400}}, {"429", cloudtest.Fault{Kind: cloudtest.Status, Status: 429}},
		{"500", cloudtest.Fault{Kind: cloudtest.Status, Status: 500}}, {"503", cloudtest.Fault{Kind: cloudtest.Status, Status: 503}},
		{"empty", cloudtest.Fault{Kind: cloudtest.Empty}}, {"lost", cloudtest.Fault{Kind: cloudtest.Lost}},
		{"drop", cloudtest.Fault{Kind: cloudtest.Drop}}, {"cut", cloudtest.Fault{Kind: cloudtest.Cut, CutAt: 0.5}},
		{"short", cloudtest.Fault{Kind: cloudtest.Short}},
	} {
		for _, ep := range []string{"retrieveItemDetailsInFolders", "retrieveItemDetails", "download_by_id", "storageUsageInfo"} {
			if kind.name == "short" && ep != "retrieveItemDetailsInFolders" {
				continue
			}
			t.Run(kind.name+" "+ep, func(t *testing.T) {
				w, c := played(t, cloudtest.Options{})
				a := open(t, c, Options{})
				dirs := tree(t, w, a, 2, 4)
				id := a.List(t.Context(), dirs)[0].Items[0].ID
				f := kind.f
				f.Endpoint, f.Times = "icloud:"+ep, 2
				hits := w.Fault(f)
				switch ep {
				case "retrieveItemDetailsInFolders":
					for _, l := range a.List(t.Context(), dirs) {
						if l.Err != nil || len(l.Items) != 4 {
							t.Errorf("%d items, %v", len(l.Items), l.Err)
						}
					}
				case "retrieveItemDetails":
					if _, errs := a.Details(t.Context(), []string{id}); errs[0] != nil {
						t.Error(errs[0])
					}
				case "download_by_id":
					if _, err := a.Token(t.Context(), id); err != nil {
						t.Error(err)
					}
				case "storageUsageInfo":
					storageOf(t, a)
				}
				if hits.Count() != 2 {
					t.Errorf("hit %d times", hits.Count())
				}
			})
		}
	}
}

func TestCloudPaceStaysBelowTheLimit(t *testing.T) {
	w, c := played(t, cloudtest.Options{Latency: cloudtest.Latency{Meta: 20 * time.Millisecond}})
	a := open(t, c, Options{})
	dirs := tree(t, w, a, 1, 1)
	id := a.List(t.Context(), dirs)[0].Items[0].ID
	w.ICloud.SetLimit(10)
	w.Fault(cloudtest.Fault{Endpoint: "icloud:download_by_id", Kind: cloudtest.Do, Hook: cloudtest.AllCome(func() int {
		a.api.mu.Lock()
		defer a.api.mu.Unlock()
		return a.api.inUse
	})})
	work := func() {
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				for range 8 {
					if _, err := a.Token(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	work()
	work()
	before := w.ICloud.Refused()
	if before == 0 {
		t.Error("the limit was never met")
	}
	work()
	t.Logf("settled at %d, %d calls refused before and %d after", a.api.level(), before, w.ICloud.Refused()-before)
	if n := w.ICloud.Refused() - before; n > 2 {
		t.Errorf("%d calls refused after it settled", n)
	}
}

func TestCloudRequestEndsWithItsContext(t *testing.T) {
	w, c := played(t, cloudtest.Options{})
	a := open(t, c, Options{})
	h := w.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Kind: cloudtest.Hang})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Trash(ctx, refs[:1])[0] }()
	within(t, "the call", func() bool { return h.Count() == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, errUnsure) || h.Count() != 1 {
		t.Errorf("error is %v after %d calls", err, h.Count())
	}
}
