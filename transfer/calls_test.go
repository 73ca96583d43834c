package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/rclone/rclone/backend/alias"
	_ "github.com/rclone/rclone/backend/http"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"

	"offload/transfer"
)

// plainServer serves one file, "f", from another host than it is asked for at, and counts its requests. No request may
// have the mark.
func plainServer(t *testing.T) (remote string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	seen := func(r *http.Request) {
		requests.Add(1)
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Offload") {
				t.Errorf("%s %s came with the header %s", r.Method, r.URL, name)
			}
		}
	}
	far := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen(r)
		_, _ = io.WriteString(rw, "content")
	}))
	near := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch seen(r); {
		case r.URL.Path == "/f" && r.Method == http.MethodGet:
			http.Redirect(rw, r, far.URL+"/far", http.StatusFound)
		case r.URL.Path == "/f":
			rw.Header().Set("Content-Length", "7")
		}
	}))
	t.Cleanup(near.Close)
	t.Cleanup(far.Close)
	remote = fmt.Sprintf("plain%d", rand.Uint64())
	config.LoadedData().SetValue(remote, "type", "http")
	config.LoadedData().SetValue(remote, "url", near.URL+"/")
	return remote, requests
}

func readFile(t *testing.T, f fs.Fs) (string, error) {
	t.Helper()
	o, err := f.NewObject(t.Context(), "f")
	if err != nil {
		return "", err
	}
	in, err := o.Open(t.Context())
	if err != nil {
		return "", err
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	return string(b), err
}

// openCounted opens a remote past a gate.
func openCounted(t *testing.T, op transfer.Opener, remote string) fs.Fs {
	t.Helper()
	f, err := op.Remote(t.Context(), remote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { op.Calls.Remove() })
	return f
}

// A redirect is a call as well, also one to another host, where rclone doesn't send the headers of a remote.
func TestRedirectsAreCountedWithoutTheMark(t *testing.T) {
	remote, requests := plainServer(t)
	g := &countingGate{}
	f := openCounted(t, transfer.Opener{Calls: transfer.InstallCallGate(g)}, remote+":")
	for range 2 {
		if got, err := readFile(t, f); err != nil || got != "content" {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	if got, want := int64(g.of(remote)), requests.Load(); got != want || want < 6 {
		t.Errorf("the gate counted %d calls, the servers %d", got, want)
	}
	g.limit(remote, 2) // the look and the first request for the content; not the second
	before := requests.Load()
	if _, err := readFile(t, f); !errors.Is(err, transfer.ErrNoQuota) || !transfer.CallRefused(err) {
		t.Errorf("without calls left: %v", err)
	}
	if n := requests.Load() - before; n != 2 {
		t.Errorf("%d requests were made with 2 left", n)
	}
}

// A gate that is taken away leaves remotes open: they go on uncounted, and their marks still don't get out.
func TestRemovedGateCountsNothing(t *testing.T) {
	remote, requests := plainServer(t)
	g := &countingGate{}
	hook := transfer.InstallCallGate(g)
	f := openCounted(t, transfer.Opener{Calls: hook}, remote+":")
	hook.Remove()
	counted, before := g.of(remote), requests.Load()
	if _, err := readFile(t, f); err != nil || g.of(remote) != counted || requests.Load() == before {
		t.Errorf("error %v, %d calls counted, %d made", err, g.of(remote)-counted, requests.Load()-before)
	}
	// One that is opened without a gate isn't marked at all.
	other := &countingGate{}
	transfer.InstallCallGate(other)
	if _, err := readFile(t, openCounted(t, transfer.Opener{}, remote+":")); err != nil || other.of(remote) != 0 {
		t.Errorf("error %v, %d calls counted", err, other.of(remote))
	}
}

// A limit on a remote holds as well where another one wraps it.
func TestCallsOfWrappedRemotes(t *testing.T) {
	remote, requests := plainServer(t)
	g := &countingGate{}
	hook := transfer.InstallCallGate(g)
	outer := remote + "outer"
	config.LoadedData().SetValue(outer, "type", "alias")
	config.LoadedData().SetValue(outer, "remote", remote+":")
	f := openCounted(t, transfer.Opener{Calls: hook}, outer+":")
	if _, err := readFile(t, f); err != nil {
		t.Fatal(err)
	}
	if n := int(requests.Load()); n == 0 || g.of(remote) != n || g.of(outer) != n {
		t.Errorf("%d requests, counted %d for the remote and %d for the one around it", n, g.of(remote), g.of(outer))
	}
}

func TestSectionsOf(t *testing.T) {
	for name, section := range map[string]map[string]string{
		"so-drive": {"type": "drive"}, "so-box": {"type": "dropbox"},
		"so-secret": {"type": "crypt", "remote": "so-drive:secret"},
		"so-both":   {"type": "union", "upstreams": "so-secret:a so-box:b:ro"},
		"so-parts":  {"type": "combine", "upstreams": "one=so-drive: two=so-box:x"},
		"so-loop":   {"type": "alias", "remote": "so-loop:"},
	} {
		for k, v := range section {
			config.LoadedData().SetValue(name, k, v)
		}
	}
	for remote, want := range map[string][]string{
		"so-drive:": {"so-drive"}, "so-drive,shared_with_me:a/b": {"so-drive"}, "/some/folder": nil, ":memory:x": nil, "": nil,
		"so-secret:x": {"so-secret", "so-drive"},
		"so-both:":    {"so-both", "so-secret", "so-drive", "so-box"}, "so-parts:": {"so-parts", "so-drive", "so-box"},
		"so-loop:": {"so-loop"}, "unknown:": {"unknown"}, `so-secret,remote="so-box:x":y`: {"so-secret", "so-box"},
	} {
		if got := transfer.SectionsOf(remote); !slices.Equal(got, want) {
			t.Errorf("SectionsOf(%q) = %v, want %v", remote, got, want)
		}
	}
}

// Dropbox's limit is about uploads alone; that of any other remote about everything.
func TestWhichCallsCount(t *testing.T) {
	for url, want := range map[string]bool{
		"https://content.dropboxapi.com/2/files/upload":                         true,
		"https://content.dropboxapi.com/2/files/upload_session/start":           true,
		"https://content.dropboxapi.com/2/files/upload_session/append_v2":       true,
		"https://api.dropboxapi.com/2/files/upload_session/finish_batch_v2":     true,
		"https://api.dropboxapi.com/2/files/save_url":                           true,
		"https://api.dropboxapi.com/2/files/copy_reference/save":                true,
		"https://api.dropboxapi.com/2/files/save_url/check_job_status":          false,
		"https://api.dropboxapi.com/2/files/list_folder":                        false,
		"https://content.dropboxapi.com/2/files/download":                       false,
		"https://api.dropboxapi.com/oauth2/token":                               false,
		"https://www.googleapis.com/drive/v3/files":                             true,
		"https://dropboxapi.com.example.org/2/files/list_folder":                true,
		"https://p12-drivews.icloud.com/retrieveItemDetailsInFolders?dropbox=1": true,
	} {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := transfer.CountsCall(r); got != want {
			t.Errorf("%s counts: %v", url, got)
		}
	}
}

// Without a gate a request costs nothing more.
func BenchmarkCallHook(b *testing.B) {
	for name, mark := range map[string]string{"unmarked": "", "marked": "gdrive\n"} {
		b.Run(name, func(b *testing.B) {
			ask := transfer.HookFor(&countingGate{})
			for b.Loop() {
				r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://www.googleapis.com/drive/v3/files", nil)
				if mark != "" {
					r.Header.Set("X-Offload-Remote", mark)
				}
				if _, err := ask(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
