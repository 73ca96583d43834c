package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"offload/internal/store"
	"offload/remotes"
)

// tokenSecrets are the parts of a token that must stay secret.
func tokenSecrets(t *testing.T, token string) []string {
	t.Helper()
	var parts struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(token), &parts); err != nil || parts.Access == "" {
		t.Fatalf("the played token: %v", err)
	}
	return []string{parts.Access, parts.Refresh}
}

// kept reads a value of the embedded store's remotes, while nobody else uses the store.
func (h *home) kept(t *testing.T, name, key string) string {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(h.dir, "data", "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sealed, err := remotes.Open(t.Context(), remotes.Options{Client: s.Client(), KeyFile: filepath.Join(h.dir, "data", "remotes.key")})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := sealed.GetValue(name, key)
	return v
}

// TestDropboxByToken: a pasted token is tried out before it is kept, and what is refreshed is kept, too.
func TestDropboxByToken(t *testing.T) {
	p := newPlayed(t)
	p.world.Dropbox.Put("/one.txt", []byte("one"))
	token := p.world.Dropbox.TokenJSON()
	secrets := tokenSecrets(t, token)

	got := p.expect(t, exitUsage, "sl.planted-dead-token\n", "remotes", "add", "dropbox", "--token-stdin")
	if !strings.Contains(got.err, "nothing was kept") {
		t.Errorf("a dead token is answered %q", lastLines(got.err))
	}
	p.expect(t, exitDone, "Paste this --->\n"+token+"\n<---End paste\n", "remotes", "add", "dropbox", "--token-stdin")
	if got := p.expect(t, exitDone, "", "remotes", "check", "dropbox"); !strings.Contains(got.out, "answers: 1 entry") {
		t.Errorf("the check says %s", got.out)
	}

	p.world.Dropbox.ExpireTokens()
	expired := p.world.Dropbox.ExpiredTokenJSON()
	p.expect(t, exitDone, expired, "remotes", "reconnect", "dropbox", "--token-stdin")
	p.expect(t, exitDone, "", "remotes", "check", "dropbox")
	if p.world.Dropbox.Refreshed() == 0 {
		t.Error("the token was never refreshed")
	}
	now := p.kept(t, "dropbox", "token")
	if now == "" || now == expired || strings.Contains(now, tokenSecrets(t, expired)[0]) {
		t.Error("the refreshed token wasn't kept")
	}
	p.checkNoSecrets(t, append(append(secrets, tokenSecrets(t, expired)...), tokenSecrets(t, now)[0], "planted-dead-token")...)
}
