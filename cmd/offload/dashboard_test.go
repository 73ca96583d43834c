package main

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// Wrong settings and command lines of the dashboard end like all others: see TestBadInput.
func TestDashboardRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const hash = "$2a$12$/Gic6qOr3h/dsxqtoprB..Qu928jxWGsbCRQcnzkiZ.9un1oRZ3Tu"
	config := func(name, dashboard, want string) badLine {
		return badLine{name: name, args: "dashboard --config {dir}/x.yaml", file: "dashboard:\n" + dashboard, want: want}
	}
	token := func(name, file, want string) badLine {
		return config(name, "  tokens: [{name: a, role: viewer, file: "+file+"}]\n", want)
	}
	lines := []badLine{
		{name: "port in use", args: "dashboard --listen " + taken.Addr().String(), want: "in use"},
		{name: "port in use by up", args: "up --listen " + taken.Addr().String(), want: "in use"},
		{name: "beyond this machine", args: "dashboard --listen :7317", want: "can be reached from other machines"},
		{name: "up beyond this machine", args: "up --listen 0.0.0.0:7317", want: "can be reached from other machines"},
		{name: "beyond by environment", args: "dashboard", env: "OFFLOAD_DASHBOARD_LISTEN=[::]:7317", want: "can be reached from other machines"},
		{name: "beyond for any command", args: "jobs list", env: "OFFLOAD_DASHBOARD_LISTEN=192.168.1.2:7317", want: "can be reached from other machines"},
		{name: "no port", args: "dashboard --listen 127.0.0.1", want: "is no address with a port"},
		{name: "port in words", args: "dashboard --listen 127.0.0.1:http", want: "has no port"},
		{name: "huge port", args: "dashboard --listen 127.0.0.1:65536", want: "has no port"},
		{name: "negative port", args: "dashboard --listen 127.0.0.1:-1", want: "has no port"},
		{name: "a name to listen on", args: "dashboard --listen example.org:7317", want: "names no IP address"},
		{name: "empty address", args: `dashboard --listen \e`, want: "is empty"},
		{name: "off", args: "dashboard --listen off", want: "turn the dashboard off"},
		{name: "JSON of the dashboard", args: "dashboard --json", want: "no JSON form"},
		{name: "JSON of up", args: "up --json", want: "no JSON form"},
		{name: "unknown verb", args: "dashboard hsah", want: `unknown command "hsah"`},
		{name: "argument", args: "dashboard -- x", want: `doesn't take "x"`},
		{name: "short password", args: "dashboard hash", stdin: "short\n", want: "less than 8"},
		{name: "long password", args: "dashboard hash", stdin: strings.Repeat("x", 73) + "\n", want: "more than 72"},
		{name: "password that is no text", args: "dashboard hash", stdin: "\xff\xfe\xfd\xff\xfe\xfd\xff\xfe\n", want: "no valid text"},
		{name: "no password", args: "dashboard hash", want: "the input has ended"},
		{name: "listen without dashboard", args: "health --listen 127.0.0.1:1", want: "--dashboard is missing"},

		config("unknown setting", "  lissten: x\n", `unknown setting "lissten"`),
		config("plain password", "  users: [{name: a, role: viewer, password_hash: hunter2}]\n", "dashboard.users[0].password_hash"),
		config("setting for a plain password", "  users: [{name: a, role: viewer, password: hunter2}]\n", `unknown setting "password"`),
		config("no password in the settings", "  users: [{name: a, role: viewer}]\n", "is missing"),
		config("weak hash", "  users: [{name: a, role: viewer, password_hash: '"+strings.Replace(hash, "$12$", "$04$", 1)+"'}]\n", "cost 4"),
		config("endless hash", "  users: [{name: a, role: viewer, password_hash: '"+strings.Replace(hash, "$12$", "$31$", 1)+"'}]\n", "cost 31"),
		config("role", "  users: [{name: a, role: admin, password_hash: '"+hash+"'}]\n", `"admin"`),
		config("name", "  users: [{name: \"a\\nb\", role: viewer, password_hash: '"+hash+"'}]\n", "is no name"),
		config("no name", "  users: [{role: viewer, password_hash: '"+hash+"'}]\n", "is no name"),
		config("name twice", "  users: [{name: a, role: viewer, password_hash: '"+hash+"'}]\n  tokens: [{name: a, role: viewer, sha256: '"+strings.Repeat("ab", 32)+"'}]\n", "is there twice"),
		config("token itself", "  tokens: [{name: a, role: viewer, sha256: hunter2}]\n", "is no SHA-256 sum"),
		config("neither file nor sum", "  tokens: [{name: a, role: viewer}]\n", "either file or sha256"),
		config("same token twice", "  tokens: [{name: a, role: viewer, sha256: '"+strings.Repeat("ab", 32)+"'}, {name: b, role: viewer, sha256: '"+strings.Repeat("AB", 32)+"'}]\n", "the same token"),
		config("certificate without key", "  tls_cert: /x\n", "belong together"),
		config("certificate missing", "  tls_cert: /nowhere/cert.pem\n  tls_key: /nowhere/key.pem\n", "certificate can't be used"),
		config("certificate that is none", "  tls_cert: /etc/passwd\n  tls_key: /etc/passwd\n", "certificate can't be used"),
		config("host with scheme", "  hosts: ['https://x']\n", "dashboard.hosts[0]"),
		config("hosts without users", "  hosts: [offload.example.org]\n", "no users and no tokens"),
		config("proxies without users", "  trusted_proxies: [10.0.0.1]\n", "no users and no tokens"),
		config("proxy by name", "  trusted_proxies: [proxy]\n", "dashboard.trusted_proxies[0]"),
		config("session of no time", "  session: 0\n", "no span of time"),
		config("short session", "  session: 1s\n", "dashboard.session"),
		config("endless session", "  session: 100w\n", "dashboard.session"),
		config("negative session", "  session: -1h\n", "is not a duration"),
		token("token file missing", "/nowhere/token", "no such file"),
		token("token is a folder", "{x: y}", ""),
		token("token too short", "/dev/null", "is no file"),
	}
	if runtime.GOOS != "windows" {
		lines = append(lines, token("token that all can read", "/etc/passwd", "every user of this machine"))
	}
	for _, l := range lines {
		t.Run(l.name, func(t *testing.T) { l.check(t) })
	}
}

func TestTokenFiles(t *testing.T) {
	dir := t.TempDir()
	good := strings.Repeat("aB3+", 8)
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"good": {good + "\n", 0o600, ""}, "for a group": {good, 0o640, ""}, "DOS line end": {good + "\r\n", 0o400, ""},
		"for all": {good, 0o644, "every user"}, "short": {"hunter2", 0o600, "could be guessed"}, "empty": {"", 0o600, "has 0 characters"},
		"two lines": {good + "\n" + good, 0o600, "one line"}, "blank": {good + " x", 0o600, "one line"}, "Unicode": {good + "é", 0o600, "one line"},
		"long": {strings.Repeat("x", maxToken+1), 0o600, "more than"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := readTokenFile(file)
		switch {
		case c.want == "" && (err != nil || got != good):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestDashboardHash(t *testing.T) {
	got := newHome(t).offload(t, "correct horse\n", "dashboard", "hash")
	if got.code != exitDone || bcrypt.CompareHashAndPassword([]byte(strings.TrimSpace(got.out)), []byte("correct horse")) != nil || strings.Contains(got.err, "correct") {
		t.Errorf("%+v", got)
	}
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{":7317": "127.0.0.1:7317", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", "[::1]:1": "[::1]:1", "localhost:1": "localhost:1", "10.0.0.1:1": "10.0.0.1:1"} {
		if got := reachable(listen); got != want {
			t.Errorf("%s is reached at %s, want %s", listen, got, want)
		}
	}
}
