package remotes

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"
)

// compose returns the remotes of an rclone.conf with that text, and those of a store that has some.
func compose(t *testing.T, text string, sealed ...string) (*Composed, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rclone.conf")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := config.GetConfigPath()
	if err := config.SetConfigPath(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = config.SetConfigPath(before) })
	c := Compose(&configfile.Storage{})
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	s := open(t, startRedis(t), "pass")
	for _, name := range sealed {
		if err := s.Add(t.Context(), name, map[string]string{"type": "memory", "from": "store"}); err != nil {
			t.Fatal(err)
		}
	}
	c.Attach(s)
	return c, path
}

func TestSealedRemotesWin(t *testing.T) {
	c, _ := compose(t, "[both]\ntype = dropbox\n\n[plain]\ntype = webdav\n", "both", "only")
	if got := c.GetSectionList(); !slices.Equal(got, []string{"both", "only", "plain"}) {
		t.Errorf("the remotes are %v", got)
	}
	for name, want := range map[string]string{"both": WhereStore, "only": WhereStore, "plain": WhereFile, "none": ""} {
		if got := c.Where(name); got != want {
			t.Errorf("%s is in %q; want %q", name, got, want)
		}
	}
	if v, _ := c.GetValue("both", "type"); v != "memory" {
		t.Errorf("both is a %s", v)
	}
	if got := c.Hidden(); !slices.Equal(got, []string{"both"}) {
		t.Errorf("hidden are %v", got)
	}
	c.Attach(nil)
	if v, _ := c.GetValue("both", "type"); v != "dropbox" || c.HasSection("only") {
		t.Error("the store is still seen")
	}
}

func TestChangesGoWhereTheRemoteIs(t *testing.T) {
	c, path := compose(t, "[plain]\ntype = dropbox\ntoken = old\n", "only")
	c.SetValue("plain", "token", "new-in-file")
	c.SetValue("only", "token", "new-in-store")
	c.SetValue(":dropbox", "token", "of nobody")
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "new-in-file") || strings.Contains(string(text), "new-in-store") || strings.Contains(string(text), "nobody") {
		t.Errorf("rclone.conf holds %q, %v", text, err)
	}
	if v, _ := c.Sealed().GetValue("only", "token"); v != "new-in-store" {
		t.Errorf("the store holds %q", v)
	}
	if err := c.Merge(t.Context(), "plain", map[string]string{"token": "", "x": "y"}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); strings.Contains(string(text), "token") || !strings.Contains(string(text), "x = y") {
		t.Errorf("rclone.conf holds %q", text)
	}
	if err := c.Merge(t.Context(), "none", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v; want ErrNotFound", err)
	}
	if err := c.Add(t.Context(), "plain", map[string]string{"type": "memory"}); !errors.Is(err, ErrExists) {
		t.Errorf("adding what rclone.conf has: %v; want ErrExists", err)
	}
}

// TestNoFileIsMade: whoever has no rclone.conf gets none.
func TestNoFileIsMade(t *testing.T) {
	c, path := compose(t, "", "only")
	c.SetValue("only", "token", "x")
	c.SetValue("new", "type", "memory")
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an rclone.conf was made: %v", err)
	}
	if c.Where("new") != WhereStore {
		t.Error("a new remote isn't in the store")
	}
}

func TestReadConf(t *testing.T) {
	k, err := keyOf("conf-pass")
	if err != nil {
		t.Fatal(err)
	}
	plain := "# mine\n[icloud]\ntype = iclouddrive\ncookies = a=\"b;c\"; d=e\n\n[half]\nurl = x\n\n[dropbox]\ntype = dropbox\ntoken = {\"access_token\":\"x=y\"}\n"
	sealed, err := k.seal([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "rclone.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range map[string]string{"plain": plain, "encrypted": sealed} {
		all, err := ReadConf(file(text), "conf-pass")
		if err != nil || len(all) != 2 || all["icloud"]["cookies"] != `a="b;c"; d=e` || all["dropbox"]["token"] != `{"access_token":"x=y"}` {
			t.Errorf("%s: %v, %v", name, all, err)
		}
		if names, err := Choose(all, nil); err != nil || !slices.Equal(names, []string{"dropbox", "icloud"}) {
			t.Errorf("all are %v, %v", names, err)
		}
		if _, err := Choose(all, []string{"none"}); err == nil {
			t.Error("a name that isn't there is chosen")
		}
	}
	for name, tt := range map[string]struct {
		path, password string
		is             error
	}{
		"missing":        {filepath.Join(t.TempDir(), "x"), "", os.ErrNotExist},
		"folder":         {t.TempDir(), "", nil},
		"empty":          {file(""), "", nil},
		"no password":    {file(sealed), "", ErrSealedFile},
		"wrong password": {file(sealed), "other", ErrSealedFile},
		"binary":         {file("\x00\x01planted\xff"), "", nil},
		"a letter":       {file("Dear planted,\n"), "", nil},
	} {
		if _, err := ReadConf(tt.path, tt.password); err == nil || tt.is != nil && !errors.Is(err, tt.is) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
