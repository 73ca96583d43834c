package remotes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs/config"
	"github.com/redis/go-redis/v9"
)

func values() map[string]string {
	return map[string]string{"type": "iclouddrive", "apple_id": "anna@example.com", "password": "obscured-hunter2",
		"trust_token": "planted-trust", "cookies": `X-APPLE="planted cookie, with \"quotes\""; `}
}

func TestAddedRemotesAreReadBack(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		s := open(t, client, "long and secret")
		if err := s.Add(t.Context(), "icloud", values()); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(t.Context(), "icloud", values()); !errors.Is(err, ErrExists) {
			t.Errorf("a second one of the name: %v; want ErrExists", err)
		}
		other := open(t, client, "long and secret")
		got := map[string]string{}
		for _, k := range other.GetKeyList("icloud") {
			got[k], _ = other.GetValue("icloud", k)
		}
		if !maps.Equal(got, values()) {
			t.Errorf("got %v; want %v", got, values())
		}
		if err := other.Remove(t.Context(), "icloud"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first to see the removal", func() bool { return !s.HasSection("icloud") })
		if err := s.Remove(t.Context(), "icloud"); !errors.Is(err, ErrNotFound) {
			t.Errorf("removing it twice: %v; want ErrNotFound", err)
		}
	})
}

// TestConcurrentRefreshesLoseNoKey has two workers write different keys of one remote, and of two, at the same time.
func TestConcurrentRefreshesLoseNoKey(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		first := open(t, client, "pass")
		if err := first.Add(t.Context(), "dropbox", map[string]string{"type": "dropbox"}); err != nil {
			t.Fatal(err)
		}
		second := open(t, client, "pass")
		const n = 40
		var all sync.WaitGroup
		for i, s := range []*Storage{first, second} {
			for w := range 4 {
				all.Go(func() {
					for j := range n / 4 {
						k := fmt.Sprintf("key_%d_%d_%d", i, w, j)
						s.SetValue("dropbox", k, "v"+k)
						if v, ok := s.GetValue("dropbox", k); !ok || v != "v"+k {
							t.Errorf("%s isn't read back by its writer", k)
						}
					}
				})
			}
		}
		all.Wait()
		third := open(t, client, "pass")
		if got := len(third.GetKeyList("dropbox")); got != 2*n+1 {
			t.Errorf("%d keys are left of %d", got, 2*n+1)
		}
	})
}

func TestAnotherWorkerSeesARefreshedToken(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		a := open(t, client, "pass")
		if err := a.Add(t.Context(), "dropbox", map[string]string{"type": "dropbox", "token": "old"}); err != nil {
			t.Fatal(err)
		}
		b := open(t, client, "pass")
		a.SetValue("dropbox", "token", "new")
		eventually(t, "the other worker to see the token", func() bool {
			v, _ := b.GetValue("dropbox", "token")
			return v == "new"
		})
	})
}

// TestReadingAsksTheStoreSeldom: a value is read many times a second.
func TestReadingAsksTheStoreSeldom(t *testing.T) {
	client := startRedis(t)
	s := open(t, client, "pass")
	if err := s.Add(t.Context(), "m", map[string]string{"type": "memory"}); err != nil {
		t.Fatal(err)
	}
	before, began := commands(t, client), time.Now()
	for range 2000 {
		s.GetValue("m", "type")
	}
	allowed := int(time.Since(began)/freshFor)*2 + 10
	if got := commands(t, client) - before; got > allowed {
		t.Errorf("2000 readings made %d calls; want at most %d", got, allowed)
	}
}

func commands(t *testing.T, client redis.UniversalClient) int {
	t.Helper()
	info := client.Info(t.Context(), "stats").Val()
	_, rest, _ := strings.Cut(info, "total_commands_processed:")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNothingIsStoredInClear(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		s := open(t, client, "pass-that-seals")
		if err := s.Add(t.Context(), "icloud", values()); err != nil {
			t.Fatal(err)
		}
		s.SetValue("icloud", "cookies", "planted-second-cookie")
		d, err := NewDraft("icloud2", "iclouddrive", map[string]string{"apple_id": "anna@example.com", "password": "hunter2"})
		if err != nil {
			t.Fatal(err)
		}
		d.Values["_auth_session"] = "planted-session"
		if err := s.SaveDraft(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		all := dump(t, client)
		for _, secret := range []string{"hunter2", "planted", "anna@", "iclouddrive", "pass-that-seals", d.Values["password"]} {
			if strings.Contains(all, secret) {
				t.Errorf("the store holds %q in clear", secret)
			}
		}
		if text, err := s.Serialize(); err != nil || strings.Contains(text, "planted") {
			t.Errorf("Serialize gives %q, %v", text, err)
		}
	})
}

// TestSealedAsRcloneSeals opens a sealed text with rclone's own code.
func TestSealedAsRcloneSeals(t *testing.T) {
	const password = "Grüße ﬁle"
	k, err := keyOf(password)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := k.seal([]byte("[a]\ntype = memory\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.SetConfigPassword(password); err != nil {
		t.Fatal(err)
	}
	defer config.ClearConfigPassword()
	r, err := config.Decrypt(strings.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "[a]\ntype = memory\n" {
		t.Errorf("rclone reads %q, %v", text, err)
	}
	var theirs bytes.Buffer
	if err := config.Encrypt(strings.NewReader("[b]\n"), &theirs); err != nil {
		t.Fatal(err)
	}
	if text, err := k.open(theirs.String()); err != nil || string(text) != "[b]\n" {
		t.Errorf("what rclone sealed is read as %q, %v", text, err)
	}
}

func TestAWrongPasswordChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		s := open(t, client, "right")
		if err := s.Add(t.Context(), "icloud", values()); err != nil {
			t.Fatal(err)
		}
		before := dump(t, client)
		if _, err := Open(t.Context(), Options{Client: client, Password: "wrong"}); !errors.Is(err, ErrPassword) {
			t.Errorf("a wrong password: %v; want ErrPassword", err)
		}
		if _, err := Open(t.Context(), Options{Client: client}); !errors.Is(err, ErrNoPassword) {
			t.Errorf("no password: %v; want ErrNoPassword", err)
		}
		if _, err := Open(t.Context(), Options{Client: client, KeyFile: filepath.Join(t.TempDir(), "k")}); !errors.Is(err, ErrKeyFile) {
			t.Errorf("a lost key file: %v; want ErrKeyFile", err)
		}
		if _, err := Open(t.Context(), Options{Client: client, Password: "\xff"}); !errors.Is(err, ErrPassword) {
			t.Errorf("a password that isn't UTF-8: %v; want ErrPassword", err)
		}
		if after := dump(t, client); len(after) != len(before) {
			t.Error("the store was changed")
		}
	})
}

// TestTwoFirstPasswords: of two workers that open an empty store with different passwords, only the first may seal.
func TestTwoFirstPasswords(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		a, b := open(t, client, "one"), open(t, client, "two")
		if err := a.Add(t.Context(), "a", map[string]string{"type": "memory"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Add(t.Context(), "b", map[string]string{"type": "memory"}); !errors.Is(err, ErrPassword) {
			t.Errorf("got %v; want ErrPassword", err)
		}
		if names := a.GetSectionList(); !slices.Equal(names, []string{"a"}) {
			t.Errorf("the store holds %v", names)
		}
	})
}

func TestWithoutPasswordNothingIsSealed(t *testing.T) {
	client := startRedis(t)
	s := open(t, client, "")
	if err := s.Add(t.Context(), "a", values()); !errors.Is(err, ErrNoPassword) {
		t.Errorf("got %v; want ErrNoPassword", err)
	}
	if all := dump(t, client); all != "" {
		t.Errorf("the store holds %q", all)
	}
}

func TestKeyFile(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		file := filepath.Join(t.TempDir(), "remotes.key")
		var all [8]*Storage
		for i := range all {
			var err error
			if all[i], err = Open(t.Context(), Options{Client: client, KeyFile: file}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Error("looking alone made the key")
		}
		var writers sync.WaitGroup
		for i, s := range all {
			writers.Go(func() {
				if err := s.Add(t.Context(), fmt.Sprint("r", i), map[string]string{"type": "memory"}); err != nil {
					t.Error(err)
				}
			})
		}
		writers.Wait()
		eventually(t, "the first to see all", func() bool { return len(all[0].GetSectionList()) == len(all) })
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key's mode is %v, %v; want 0600", info.Mode(), err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".key-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Options{Client: client, KeyFile: file}); !errors.Is(err, ErrKeyFile) {
			t.Errorf("a damaged key: %v; want ErrKeyFile", err)
		}
	})
}

// TestExchangedTextsAreNoticed: someone who can write to the store can't make one remote of another.
func TestExchangedTextsAreNoticed(t *testing.T) {
	client := startRedis(t)
	s := open(t, client, "pass")
	for _, name := range []string{"mine", "theirs"} {
		if err := s.Add(t.Context(), name, map[string]string{"type": "memory"}); err != nil {
			t.Fatal(err)
		}
	}
	text := client.HGet(t.Context(), keySections, "theirs").Val()
	client.HSet(t.Context(), keySections, "mine", text)
	if _, err := Open(t.Context(), Options{Client: client, Password: "pass"}); err == nil {
		t.Error("one remote's text is taken for another's")
	}
}

// TestAValueForARemovedRemoteIsDropped: a token that is refreshed after the removal must not bring the remote back.
func TestAValueForARemovedRemoteIsDropped(t *testing.T) {
	onBoth(t, func(t *testing.T, client redis.UniversalClient) {
		a, b := open(t, client, "pass"), open(t, client, "pass")
		if err := a.Add(t.Context(), "m", map[string]string{"type": "dropbox"}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other to see it", func() bool { return b.HasSection("m") })
		if err := a.Remove(t.Context(), "m"); err != nil {
			t.Fatal(err)
		}
		b.SetValue("m", "token", "late")
		if err := b.Save(); err != nil {
			t.Error(err)
		}
		if n := client.HLen(t.Context(), keySections).Val(); n != 0 {
			t.Error("the remote is back")
		}
	})
}

// TestSaveStoresWhatFailedBefore cuts the store off while a token is refreshed.
func TestSaveStoresWhatFailedBefore(t *testing.T) {
	client := startRedis(t)
	a := open(t, client, "pass")
	if err := a.Add(t.Context(), "m", map[string]string{"type": "dropbox", "token": "old"}); err != nil {
		t.Fatal(err)
	}
	cut := &cutClient{UniversalClient: client}
	b, err := Open(t.Context(), Options{Client: cut, Password: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	cut.off.Store(true)
	b.SetValue("m", "token", "new")
	if v, _ := b.GetValue("m", "token"); v != "new" {
		t.Errorf("the writer itself reads %q", v)
	}
	if b.Save() == nil {
		t.Error("Save says that all is stored")
	}
	cut.off.Store(false)
	if err := b.Save(); err != nil {
		t.Fatal(err)
	}
	if cut.refused.Load() == 0 {
		t.Error("the cut was never felt")
	}
	c := open(t, client, "pass")
	if v, _ := c.GetValue("m", "token"); v != "new" {
		t.Errorf("the store holds %q", v)
	}
}
