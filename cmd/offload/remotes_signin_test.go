package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// played is a home whose rclone meets the played clouds.
type played struct {
	*home
	world *cloudtest.World
	acc   *cloudtest.Account
	said  *heard // everything that was printed
}

// heard gathers what is printed from any goroutine.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

// String is everything so far.
func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func newPlayed(t *testing.T) *played {
	t.Helper()
	w, err := cloudtest.Start(cloudtest.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	restore := w.UseByRclone()
	t.Cleanup(func() {
		restore()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &played{home: newHome(t), world: w, acc: w.ICloud.Default(), said: &heard{}}
	p.env["RCLONE_HTTP_PROXY"], p.env["RCLONE_CA_CERT"] = w.ProxyURL(), w.CAFile()
	p.env["OFFLOAD_LOG_LEVEL"] = "debug" // the log must hold no secret either
	return p
}

// run runs a command line without a terminal.
func (p *played) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	got := p.offload(t, stdin, args...)
	io.WriteString(p.said, got.out+got.err)
	return got
}

// expect is run with an exit status.
func (p *played) expect(t *testing.T, code int, stdin string, args ...string) result {
	t.Helper()
	got := p.run(t, stdin, args...)
	if got.code != code {
		t.Fatalf("offload %v: exit status %d, want %d\n%s%s", args, got.code, code, got.out, lastLines(got.err))
	}
	return got
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], "\n")
}

// typist is a person on a terminal: each answer is made when it is read, and so may depend on what was sent by then.
type typist struct {
	mu      sync.Mutex
	answers []func() string
	left    []byte
}

func (y *typist) Read(p []byte) (int, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.left) == 0 {
		if len(y.answers) == 0 {
			return 0, io.EOF
		}
		y.left = []byte(y.answers[0]() + "\n")
		y.answers = y.answers[1:]
	}
	n := copy(p, y.left)
	y.left = y.left[n:]
	return n, nil
}

func text(s string) func() string { return func() string { return s } }

// converse runs a command line on a terminal with a person.
func (p *played) converse(t *testing.T, answers []func() string, args ...string) result {
	t.Helper()
	var out, errOut late
	a := &app{in: &typist{answers: answers}, out: &out, err: &errOut, signals: make(chan os.Signal), terminal: true}
	a.lookup = func(name string) (string, bool) {
		if name == "SSH_CONNECTION" {
			return "yes", true // no browser is opened
		}
		v, ok := p.env[name]
		return v, ok
	}
	code := a.run(context.Background(), args)
	io.WriteString(p.said, out.String()+errOut.String())
	return result{code, out.String(), errOut.String()}
}

// checkNoSecrets looks for secrets in all that was printed and in all files of the home, the store's among them.
func (p *played) checkNoSecrets(t *testing.T, secrets ...string) {
	t.Helper()
	secrets = append(secrets, p.acc.Secrets()...)
	if len(secrets) < 3 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	files := 0
	look := func(where, content string) {
		for _, s := range secrets {
			if len(s) >= 6 && strings.Contains(content, s) {
				t.Errorf("%s holds a secret in clear", where)
			}
		}
	}
	look("the output", p.said.String())
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "rclone.conf") {
			return err
		}
		raw, err := os.ReadFile(path)
		files++
		look(path, string(raw))
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("looked at %d files, %v", files, err)
	}
}

func wrongCodeFor(right string) string {
	if right == "000000" {
		return "111111"
	}
	return "000000"
}

func TestSignInWithoutATerminal(t *testing.T) {
	p := newPlayed(t)
	add := []string{"remotes", "add", "icloud", "--apple-id", p.acc.AppleID(), "--password-stdin"}
	got := p.expect(t, exitUsage, "planted-wrong\n", add...)
	if !strings.Contains(got.err, "Apple refuses this Apple ID and password") {
		t.Errorf("a wrong password is answered %q", lastLines(got.err))
	}
	got = p.expect(t, exitWaiting, p.acc.Password()+"\n", add...)
	if !strings.Contains(got.err, "offload remotes add icloud --code CODE") {
		t.Errorf("it doesn't say how to go on: %q", lastLines(got.err))
	}
	signIns := p.acc.SignIns()
	if got := p.expect(t, exitDone, "", "remotes", "list", "--json"); strings.Contains(got.out, "icloud") {
		t.Errorf("a half-way sign-in is listed: %s", got.out)
	}
	p.expect(t, exitWaiting, "", "remotes", "add", "icloud") // asked again: Apple isn't
	got = p.expect(t, exitUsage, "", "remotes", "add", "icloud", "--code", wrongCodeFor(p.acc.Code()))
	if !strings.Contains(got.err, "isn't the code") {
		t.Errorf("a wrong code is answered %q", lastLines(got.err))
	}
	got = p.expect(t, exitDone, "", "remotes", "add", "icloud", "--code", p.acc.Code(), "--json")
	var said struct {
		Where string `json:"where"`
		Days  int    `json:"trust_days_left"`
	}
	if err := json.Unmarshal([]byte(got.out), &said); err != nil || said.Where != "store" || said.Days != 30 {
		t.Errorf("got %s, %v", got.out, err)
	}
	if p.acc.SignIns() != signIns {
		t.Errorf("%d sign-ins after the first; want none", p.acc.SignIns()-signIns)
	}
	p.expect(t, exitUsage, "", "remotes", "add", "icloud", "--code", p.acc.Code())
	got = p.expect(t, exitDone, "", "remotes", "list")
	if !strings.Contains(got.out, "signed in for 30 more days") {
		t.Errorf("the list says %s", got.out)
	}
	p.acc.Put("Documents/one.txt", []byte("one"), p.acc.Put("two.txt", []byte("two"), testTime()).ModTime)
	if got := p.expect(t, exitDone, "", "remotes", "check", "icloud"); !strings.Contains(got.out, "answers: 2 entries") {
		t.Errorf("the check says %s", got.out)
	}
	p.checkNoSecrets(t, p.acc.Password(), "planted-wrong")
}

func TestSignInOnATerminal(t *testing.T) {
	p := newPlayed(t)
	wrong := func() string { return wrongCodeFor(p.acc.Code()) }
	got := p.converse(t, []func() string{text(p.acc.AppleID()), text("planted-wrong"), text(p.acc.Password()), wrong, wrong, p.acc.Code},
		"remotes", "add", "icloud")
	if got.code != exitDone || !strings.Contains(got.out, "icloud: added, trusted for 30 days") {
		t.Fatalf("exit status %d: %s%s", got.code, got.out, lastLines(got.err))
	}
	for _, want := range []string{"Apple refuses this password", "isn't the code that was sent", "4 more tries", "3 more tries"} {
		if !strings.Contains(got.err, want) {
			t.Errorf("it doesn't say %q", want)
		}
	}
	if p.acc.SignIns() != 2 {
		t.Errorf("%d sign-ins; want the refused one and another", p.acc.SignIns())
	}
	p.checkNoSecrets(t, p.acc.Password(), "planted-wrong")
}

func TestAFifthWrongCodeEndsIt(t *testing.T) {
	p := newPlayed(t)
	wrong := func() string { return wrongCodeFor(p.acc.Code()) }
	got := p.converse(t, []func() string{text(p.acc.AppleID()), text(p.acc.Password()), wrong, wrong, wrong, wrong, wrong, p.acc.Code},
		"remotes", "add", "icloud")
	if got.code != exitUsage {
		t.Errorf("exit status %d: %s", got.code, lastLines(got.err))
	}
	if got := p.expect(t, exitDone, "", "remotes", "list", "--json"); strings.Contains(got.out, "icloud") {
		t.Errorf("the list says %s", got.out)
	}
}

func TestSignInBySMS(t *testing.T) {
	p := newPlayed(t)
	p.acc.SetPhones(cloudtest.Phone{ID: 3, Number: "+49 ••• ••12"}, cloudtest.Phone{ID: 5, Number: "+49 ••• ••34"})
	p.expect(t, exitWaiting, p.acc.Password()+"\n", "remotes", "add", "icloud", "--apple-id", p.acc.AppleID(), "--password-stdin")
	got := p.expect(t, exitWaiting, "", "remotes", "add", "icloud", "--code", "sms")
	if !strings.Contains(got.err, "2: +49 ••• ••34") || !strings.Contains(got.err, "--phone N") {
		t.Errorf("the phones are told as %q", lastLines(got.err))
	}
	p.expect(t, exitUsage, "", "remotes", "add", "icloud", "--phone", "3")
	p.expect(t, exitWaiting, "", "remotes", "add", "icloud", "--phone", "2")
	if got := p.expect(t, exitUsage, "", "remotes", "add", "icloud", "--code", "sms"); !strings.Contains(got.err, "was sent already") {
		t.Errorf("a second text message is answered with %q", lastLines(got.err))
	}
	p.expect(t, exitUsage, "", "remotes", "add", "icloud", "--code", wrongCodeFor(p.acc.SMSCode(5)))
	p.expect(t, exitDone, "", "remotes", "add", "icloud", "--code", p.acc.SMSCode(5))
	if p.acc.SignIns() != 1 {
		t.Errorf("%d sign-ins; want 1", p.acc.SignIns())
	}
	p.checkNoSecrets(t, p.acc.Password())
}

// TestReconnect: until the new sign-in is complete the old one stays; Apple ID and password are those that are kept.
func TestReconnect(t *testing.T) {
	for _, where := range []string{"store", "rclone.conf"} {
		t.Run(where, func(t *testing.T) {
			p := newPlayed(t)
			conf := p.env["RCLONE_CONFIG"]
			if err := p.world.WriteRcloneConf(conf); err != nil {
				t.Fatal(err)
			}
			if where == "store" {
				p.expect(t, exitDone, "", "remotes", "import", conf, "icloud")
			}
			before, err := os.ReadFile(conf)
			if err != nil {
				t.Fatal(err)
			}
			p.acc.ExpireTrust()
			p.acc.ExpireSessions()
			p.expect(t, exitWaiting, "", "remotes", "reconnect", "icloud")
			if after, _ := os.ReadFile(conf); !bytes.Equal(before, after) {
				t.Error("rclone.conf was changed before the sign-in was complete")
			}
			got := p.expect(t, exitDone, "", "remotes", "reconnect", "icloud:", "--code", p.acc.Code())
			if !strings.Contains(got.out, "signed in again, trusted for 30 days") {
				t.Errorf("it says %s", got.out)
			}
			got = p.expect(t, exitDone, "", "remotes", "list", "--json")
			if !strings.Contains(got.out, `"name":"icloud","type":"iclouddrive","where":"`+where+`","trust_days_left":30`) {
				t.Errorf("the list says %s", got.out)
			}
			p.expect(t, exitDone, "", "remotes", "check", "icloud")
			if where == "store" {
				p.checkNoSecrets(t, p.acc.Password())
			}
		})
	}
}

// TestSignInIsSpokenOfPlainly: what the services do is told in one line, without what they answered.
func TestSignInIsSpokenOfPlainly(t *testing.T) {
	p := newPlayed(t)
	for _, tt := range []struct {
		fault cloudtest.Fault
		want  string
	}{
		{cloudtest.Fault{Endpoint: "icloud:*", Kind: cloudtest.Status, Status: 503, Body: "planted-body"}, "asks to be left alone"},
		{cloudtest.Fault{Endpoint: "icloud:*", Kind: cloudtest.Drop}, "sign in to icloud"},
		{cloudtest.Fault{Endpoint: "icloud:*", Kind: cloudtest.Empty}, "sign in to icloud"},
	} {
		hits := p.world.Fault(tt.fault)
		got := p.expect(t, exitFailed, p.acc.Password()+"\n", "remotes", "add", "icloud", "--apple-id", p.acc.AppleID(), "--password-stdin", "--log-level", "error")
		if hits.Count() == 0 {
			t.Error("the fault was never hit")
		}
		hits.Remove()
		message, hint, _ := strings.Cut(strings.TrimSuffix(got.err, "\n"), "\n")
		if !strings.Contains(message, tt.want) || !strings.HasPrefix(hint, "hint: ") || strings.Contains(hint, "\n") || strings.Contains(got.err, "planted") {
			t.Errorf("stderr is %q; want one line with %q and a hint", got.err, tt.want)
		}
	}
	p.checkNoSecrets(t, p.acc.Password(), "planted-body")
}

func testTime() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// TestReconnectWakes: a job that waits for the sign-in goes on by itself.
func TestReconnectWakes(t *testing.T) {
	url, cli := startRedis(t)
	p := newPlayed(t)
	p.env["OFFLOAD_REDIS"], p.env["OFFLOAD_CONFIG_PASS"] = url, "planted-passphrase"
	p.expect(t, exitWaiting, p.acc.Password()+"\n", "remotes", "add", "icloud", "--apple-id", p.acc.AppleID(), "--password-stdin")
	p.expect(t, exitDone, "", "remotes", "add", "icloud", "--code", p.acc.Code())
	id := strings.TrimSpace(p.expect(t, exitDone, "", "enqueue", "icloud:", filepath.Join(p.dir, "b")).out)
	if got := p.expect(t, exitUsage, "", "remotes", "remove", "icloud", "--yes"); !strings.Contains(got.err, "used by 1 job") {
		t.Errorf("removing it is answered %q", lastLines(got.err))
	}
	// As a worker leaves it whose sign-in was refused.
	cli("hset", "offload:{"+id+"}:job", "state", "waiting", "reason", "sign_in")
	p.expect(t, exitWaiting, "", "remotes", "reconnect", "icloud")
	if got := p.expect(t, exitDone, "", "jobs", "show", id, "--json"); !strings.Contains(got.out, `"reason":"sign_in"`) {
		t.Errorf("it was woken before the sign-in was complete: %s", got.out)
	}
	got := p.expect(t, exitDone, "", "remotes", "reconnect", "icloud", "--code", p.acc.Code())
	if !strings.Contains(got.out, "; 1 job woken") {
		t.Errorf("it says %s", got.out)
	}
	if got := p.expect(t, exitDone, "", "jobs", "show", id, "--json"); !strings.Contains(got.out, `"state":"queued"`) {
		t.Errorf("the job is %s", got.out)
	}
	p.expect(t, exitDone, "", "remotes", "remove", "icloud", "--yes", "--force")
}
