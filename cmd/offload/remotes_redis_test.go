package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"offload/internal/redistest"
)

// startRedis starts a redis-server on a socket and returns its address and a way to ask it.
func startRedis(t *testing.T) (url string, cli func(args ...string) string) {
	t.Helper()
	socket := redistest.Start(t, "--appendonly", "yes")
	return "unix://" + socket, func(args ...string) string {
		out, _ := exec.Command("redis-cli", append([]string{"-s", socket}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
}

// TestRemotesOnRedis: no password, no remote; with one, nothing lies there in clear, and a worker of another machine, with
// another data folder, uses the remote.
func TestRemotesOnRedis(t *testing.T) {
	url, cli := startRedis(t)
	p := newPlayed(t)
	p.env["OFFLOAD_REDIS"] = url
	add := []string{"remotes", "add", "icloud", "--apple-id", p.acc.AppleID(), "--password-stdin"}
	got := p.expect(t, exitUsage, p.acc.Password()+"\n", add...)
	if !strings.Contains(got.err, "no password is set") || !strings.Contains(got.err, "OFFLOAD_CONFIG_PASS") {
		t.Errorf("without a password it says %q", lastLines(got.err))
	}
	if p.acc.SignIns() != 0 || cli("keys", "*remotes*") != "" {
		t.Errorf("something was done before the refusal: %d sign-ins, keys %q", p.acc.SignIns(), cli("keys", "*remotes*"))
	}
	p.env["OFFLOAD_CONFIG_PASS"] = "planted-passphrase"
	p.expect(t, exitWaiting, p.acc.Password()+"\n", add...)
	p.env["OFFLOAD_DATA"] = filepath.Join(p.dir, "elsewhere")
	p.expect(t, exitDone, "", "remotes", "add", "icloud", "--code", p.acc.Code())
	p.env["OFFLOAD_DATA"] = filepath.Join(p.dir, "third")
	p.expect(t, exitDone, "", "remotes", "check", "icloud")
	p.env["OFFLOAD_CONFIG_PASS"] = "another"
	p.expect(t, exitUsage, "", "remotes", "check", "icloud")
	p.env["OFFLOAD_CONFIG_PASS"] = "planted-passphrase"
	all := cli("hgetall", "offload:{remotes}") + cli("hgetall", "offload:{remotes}:pending") + cli("get", "offload:{remotes}:check")
	if !strings.Contains(all, "RCLONE_ENCRYPT_V0") {
		t.Fatalf("the store holds %q", all)
	}
	keys := strings.Fields(cli("keys", "*"))
	for _, k := range keys {
		if !strings.Contains(k, "{remotes}") && !strings.Contains(k, "quota") {
			t.Errorf("a key %s beside those of the remotes", k)
		}
	}
	aof, _ := filepath.Glob(filepath.Join(strings.TrimSuffix(strings.TrimPrefix(url, "unix://"), "/s"), "appendonlydir", "*"))
	if len(aof) == 0 {
		t.Error("there is no append-only file to look at")
	}
	for _, file := range aof {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all += string(raw)
	}
	for _, secret := range append(p.acc.Secrets(), p.acc.Password(), "planted-passphrase") {
		if len(secret) >= 6 && strings.Contains(all, secret) {
			t.Error("Redis holds a secret in clear")
		}
	}
	p.checkNoSecrets(t, p.acc.Password(), "planted-passphrase")
}
