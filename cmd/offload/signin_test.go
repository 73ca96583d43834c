package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/webdav"
)

// A destination that refuses the sign-in in the middle of a job makes it wait with exit status 4 and the command that
// helps; once somebody has signed in, the same command finishes the job.
func TestRunWaitsForSignIn(t *testing.T) {
	h := newHome(t)
	dav := &webdav.Handler{FileSystem: webdav.NewMemFS(), LockSystem: webdav.NewMemLS()}
	var puts, refused atomic.Int64
	var open atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && puts.Add(1) == 5 {
			open.Store(false)
		}
		if !open.Load() {
			refused.Add(1)
			http.Error(w, "sign in", http.StatusUnauthorized)
			return
		}
		dav.ServeHTTP(w, r)
	}))
	defer srv.Close()
	open.Store(true)
	conf := fmt.Sprintf("[cloud]\ntype = webdav\nurl = %s/\nvendor = other\n", srv.URL)
	if err := os.WriteFile(h.env["RCLONE_CONFIG"], []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(h.dir, "a")
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(src, fmt.Sprintf("f%02d", i)), []byte(fmt.Sprintf("content %d", i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := h.offload(t, "", "run", src, "cloud:backup")
	if got.code != exitWaiting || refused.Load() == 0 {
		t.Fatalf("exit status %d after %d refusals\n%s%s", got.code, refused.Load(), got.out, got.err)
	}
	for _, want := range []string{"waiting for a sign-in", "offload remotes reconnect cloud"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%q isn't in\n%s", want, got.out)
		}
	}
	list := h.offload(t, "", "jobs", "list")
	id, _, _ := strings.Cut(strings.SplitN(list.out, "\n", 3)[1], " ")
	if show := h.offload(t, "", "jobs", "show", id); show.code != exitDone || !strings.Contains(show.out, "offload remotes reconnect cloud") {
		t.Errorf("jobs show: exit status %d\n%s%s", show.code, show.out, show.err)
	}
	if list := h.offload(t, "", "remotes", "list"); !strings.Contains(list.out, "refused, 1 job waiting") {
		t.Errorf("remotes list says %s", list.out)
	}
	other := h.offload(t, "", "run", src, "cloud:backup", "--max-size", "1B")
	if !strings.Contains(other.err, "job "+id+" of the same paths hasn't ended") {
		t.Errorf("a run with other options says %q", other.err)
	}
	open.Store(true)
	puts.Store(1000)
	got = h.offload(t, "", "run", src, "cloud:backup")
	if got.code != exitDone || !strings.Contains(got.err, "going on with job") {
		t.Fatalf("exit status %d\n%s%s", got.code, got.out, got.err)
	}
	show := h.offload(t, "", "jobs", "show", id, "--json")
	for _, want := range []string{`"state":"completed"`, `"found":40`, `"failed":0`, id} {
		if !strings.Contains(strings.ReplaceAll(show.out, `": `, `":`), want) {
			t.Errorf("%s isn't in %s: not the same job went on", want, show.out)
		}
	}
}
