package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// inbox is a webhook that is played.
type inbox struct {
	*httptest.Server
	mu    sync.Mutex
	got   []string
	refus bool
}

func newInbox(t *testing.T) *inbox {
	b := &inbox{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.refus {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		b.got = append(b.got, string(body))
	}))
	t.Cleanup(func() {
		b.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return b
}

func (b *inbox) address() string {
	return "generic://" + strings.TrimPrefix(b.URL, "http://") + "/hook/hunter2token?disabletls=yes"
}

// refuse tells whether what comes is to be refused from now on.
func (b *inbox) refuse(all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refus = all
}

func (b *inbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.got...)
}

// TestRunTellsItsEnd: a job in the foreground is told of before the command ends, once, and one before it isn't.
func TestRunTellsItsEnd(t *testing.T) {
	h, b := newHome(t), newInbox(t)
	if err := os.WriteFile(filepath.Join(h.dir, "a", "letter.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(to string) {
		t.Helper()
		if r := h.offload(t, "", "run", filepath.Join(h.dir, "a"), filepath.Join(h.dir, to), "--label", to); r.code != 0 {
			t.Fatalf("status %d: %s", r.code, r.err)
		} else if strings.Contains(r.out+r.err, "hunter2") {
			t.Errorf("the address is printed: %s%s", r.out, r.err)
		}
	}
	run("before")
	h.env["OFFLOAD_MESSAGES_URL"] = b.address()
	run("first")
	run("second")
	got := b.all()
	if len(got) != 2 || !strings.HasPrefix(got[0], "first (a local folder -> a local folder): done.\n1 file copied (5 B), 1 proved.") ||
		!strings.HasPrefix(got[1], "second (") {
		t.Errorf("told %q", got)
	}
}

// TestRunWithoutItsService: a service that is down changes nothing about the job, and the next run brings the message.
func TestRunWithoutItsService(t *testing.T) {
	h, b := newHome(t), newInbox(t)
	h.env["OFFLOAD_MESSAGES_URL"] = b.address()
	b.refuse(true)
	run := func(to string, refused bool) {
		t.Helper()
		r := h.offload(t, "", "run", filepath.Join(h.dir, "a"), filepath.Join(h.dir, to), "--label", to)
		if r.code != 0 || strings.Contains(r.out+r.err, "hunter2") {
			t.Fatalf("status %d: %s", r.code, r.err)
		}
		if refused && !strings.Contains(r.err, "403") {
			t.Errorf("nothing is said of the failure: %s", r.err)
		}
	}
	run("first", true)
	b.refuse(false)
	run("second", false)
	if got := strings.Join(b.all(), "\n"); strings.Count(got, "first (") != 1 || strings.Count(got, "second (") != 1 {
		t.Errorf("told %q", got)
	}
}

// TestNotifyCommands: test and list, as text and as JSON, with targets that work and that don't.
func TestNotifyCommands(t *testing.T) {
	h, b := newHome(t), newInbox(t)
	file := filepath.Join(h.dir, "url")
	if err := os.WriteFile(file, []byte(b.address()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(h.dir, "offload.yaml")
	text := "messages:\n  link: https://o.example\n  targets:\n    - name: phone\n      url_file: " + file +
		"\n      events: [failed, waits]\n      accounts: [anna]\n    - name: mail\n      url: smtp://anna:hunter2pass@127.0.0.1:1/?from=a@example.org&to=b@example.org\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.env["OFFLOAD_CONFIG"] = conf
	tests := []struct {
		args      []string
		code      int
		out, errs string
	}{
		{[]string{"notify", "list"}, 0, "failed, waits of anna", ""},
		{[]string{"notify", "test", "phone"}, 0, "sent", ""},
		{[]string{"notify", "test"}, 1, "connection refused", ""},
		{[]string{"notify", "test", "nobody"}, 2, "", `no target "nobody"`},
		{[]string{"notify", "test", ""}, 2, "", "is empty"},
		{[]string{"notify", "test", "phone", "mail"}, 2, "", `doesn't take "mail"`},
		{[]string{"notify", "list", "phone"}, 2, "", `doesn't take "phone"`},
		{[]string{"config", "show"}, 0, "smtp://***", ""},
		{[]string{"config", "show", "--json"}, 0, "smtp://***", ""},
	}
	for _, tt := range tests {
		r := h.offload(t, "", tt.args...)
		if r.code != tt.code || !strings.Contains(r.out, tt.out) || !strings.Contains(r.err, tt.errs) {
			t.Errorf("%v: status %d\n%s%s", tt.args, r.code, r.out, r.err)
		}
		if strings.Contains(r.out+r.err, "hunter2") {
			t.Errorf("%v prints a secret: %s%s", tt.args, r.out, r.err)
		}
	}
	if got := b.all(); len(got) != 2 || !strings.Contains(got[0], "a test message") || !strings.Contains(got[0], "https://o.example/") {
		t.Errorf("arrived %q", got)
	}
	r := h.offload(t, "", "notify", "test", "--json")
	var reports []struct {
		Name, Service, Error string
		Sent                 bool
	}
	if err := json.Unmarshal([]byte(r.out), &reports); err != nil || r.code != 1 || len(reports) != 2 || !reports[0].Sent || reports[1].Sent || reports[1].Error == "" {
		t.Errorf("status %d, %v: %s", r.code, err, r.out)
	}
	if r := h.offload(t, "", "notify", "list", "--json"); r.code != 0 || !strings.Contains(r.out, `{"name":"mail","service":"smtp","events":[],"accounts":[]}`) {
		t.Errorf("status %d: %s", r.code, r.out)
	}
}

// TestNoTargets says what to do.
func TestNoTargets(t *testing.T) {
	h := newHome(t)
	if r := h.offload(t, "", "notify", "test"); r.code != 2 || !strings.Contains(r.err, "no targets are configured") {
		t.Errorf("status %d: %s", r.code, r.err)
	}
	if r := h.offload(t, "", "notify", "list"); r.code != 0 || r.out != "" || !strings.Contains(r.err, "no targets") {
		t.Errorf("status %d: %s%s", r.code, r.out, r.err)
	}
	if r := h.offload(t, "", "notify", "list", "--json"); r.code != 0 || r.out != "[]\n" {
		t.Errorf("status %d: %s", r.code, r.out)
	}
}

// TestBadMessageSettings: each is one line that names the setting and holds no secret, and no command starts with it.
func TestBadMessageSettings(t *testing.T) {
	h := newHome(t)
	bad := map[string]string{
		"not whole":      "slack://hunter2",
		"no service":     "nosuch://hunter2",
		"no address":     "hunter2",
		"no scheme":      "://hunter2",
		"control":        "ntfy://hunter2\x01",
		"logger":         "logger://hunter2",
		"unknown option": "ntfy://host/topic?hunter2=1",
	}
	for name, address := range bad {
		t.Run(name, func(t *testing.T) {
			h.env["OFFLOAD_MESSAGES_URL"] = address
			for _, args := range [][]string{{"notify", "test"}, {"run", filepath.Join(h.dir, "a"), filepath.Join(h.dir, "b")}} {
				r := h.offload(t, "", args...)
				if r.code != 2 || strings.Count(strings.TrimSpace(r.err), "\n") != 1 || strings.Contains(r.err, "hunter2") {
					t.Errorf("%v: status %d: %s", args, r.code, r.err)
				}
			}
		})
	}
	delete(h.env, "OFFLOAD_MESSAGES_URL")
	if r := h.offload(t, "", "jobs", "list", "--json"); r.code != 0 || strings.TrimSpace(r.out) != "[]" && !strings.Contains(r.out, `"jobs":[]`) {
		t.Errorf("something was accepted: %s%s", r.out, r.err)
	}
}
