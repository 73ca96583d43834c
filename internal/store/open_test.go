package store

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestLongPath(t *testing.T) {
	dir := t.TempDir()
	for len(dir) < 230 {
		dir = filepath.Join(dir, strings.Repeat("long-", 8))
	}
	owner, guest := openDir(t, dir), openDir(t, dir)
	if err := owner.Client().Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := guest.Client().Get(t.Context(), "k").Result(); err != nil || v != "v" {
		t.Errorf("%q, %v", v, err)
	}
	if guest.node.own != nil {
		t.Error("two owners")
	}
}

func TestOnlyThisUserCanReadTheFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := openDir(t, dir)
	if !s.Embedded() {
		t.Error("not embedded")
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFoldersThatCantBeUsed(t *testing.T) {
	base := t.TempDir()
	plain := filepath.Join(base, "file")
	put(t, plain, nil)
	open := filepath.Join(base, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "no folder is named"},
		{Options{Dir: filepath.Join(plain, "x")}, "choose another folder"},
		{Options{Dir: "/proc/offload"}, "choose another folder"},
		{Options{Dir: "/proc/1/net"}, "/proc/1/net"},
		{Options{Dir: open}, "chmod 700"},
		{Options{Dir: base, Fsync: "sometimes"}, "everysec or always"},
	} {
		c.o.Log = quiet()
		s, err := Open(t.Context(), c.o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.o.Dir) {
			t.Errorf("%+v: got %v, want %q", c.o, err, c.want)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://h:1/2", "rediss://u:secret@h", "unix:///s?db=1", "redis-sentinel://:secret@a:1,b/3?master=m",
		"redis-sentinel://[::1]:1,b?master=m&sentinel_password=secret", "redis-cluster://a,b:7", "rediss-cluster://u:s%2Fecret@a"} {
		target, err := parseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if strings.Contains(target.name, "secret") || !strings.HasPrefix(target.name, url[:5]) {
			t.Errorf("%s is named %q", url, target.name)
		}
		if err := target.open(maxRetries).Close(); err != nil {
			t.Error(err)
		}
	}
	for url, want := range map[string]string{
		"localhost:6379":                                "no scheme",
		"http://h":                                      "unknown",
		"redis://u:secret@h:notaport":                   "redis",
		"redis://u:secret@h:1/notadb":                   "redis",
		"redis://u:sec%ret@h":                           "redis",
		"redis://:secret@h/0?nosuch=1":                  "nosuch",
		"redis-sentinel://:secret@a,b/0":                "master",
		"redis-sentinel://:secret@a,,b/0?master=m":      "host",
		"redis-sentinel://:secret@a/x?master=m":         "number",
		"redis-sentinel://:secret@a/0?master=m&x=1":     `"x"`,
		"redis-cluster://:secret@a/1":                   "database 0",
		"redis-cluster://:secret@a?read_only=1":         "read_only",
		"redis-cluster://u%zz:secret@a":                 "%XX",
		"redis-cluster://:secret@/0":                    "host",
		"redis://:secret@127.0.0.1:1":                   "127.0.0.1:1",
		"unix://:secret@/no/such/redis.sock":            "/no/such/redis.sock",
		"redis-cluster://:secret@127.0.0.1:1":           "127.0.0.1:1",
		"redis-sentinel://:secret@127.0.0.1:1?master=m": "127.0.0.1:1",
	} {
		_, err := Open(t.Context(), Options{URL: url, Log: quiet()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", url, err, want)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec%ret") {
			t.Errorf("%s: the error tells the password: %v", url, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name     string
		args     []string
		err      string
		warnings []string
	}{
		{"as it should be", []string{"--appendonly", "yes"}, "", nil},
		{"not persisted", nil, "", []string{"append-only"}},
		{"evicting", []string{"--maxmemory-policy", "allkeys-lru"}, "noeviction", nil},
		{"silent", []string{"--appendonly", "yes", "--rename-command", "CONFIG", ""}, "", nil}, // INFO tells as well
		{"mute", []string{"--rename-command", "CONFIG", "", "--rename-command", "INFO", ""}, "",
			[]string{"maxmemory-policy", "append-only"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), Options{URL: startRedis(t, c.args...), Log: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			warnings, err := s.Check(t.Context())
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if len(warnings) != len(c.warnings) {
				t.Fatalf("warnings %q, want %q", warnings, c.warnings)
			}
			for i, w := range c.warnings {
				if !strings.Contains(warnings[i], w) {
					t.Errorf("warning %q, want %q", warnings[i], w)
				}
			}
		})
	}
	t.Run("embedded", func(t *testing.T) {
		s := openDir(t, t.TempDir())
		if w, err := s.Check(t.Context()); err != nil || len(w) > 0 {
			t.Errorf("%q, %v", w, err)
		}
		if w, err := checkMaster(t.Context(), s.Client(), "embedded"); err != nil || len(w) > 0 {
			t.Errorf("asked like a real one: %q, %v", w, err)
		}
	})
}

// TestOwnerThatDoesntAnswer: a folder whose owner holds the lock and doesn't listen, as one that is stopped while it loads.
func TestOwnerThatDoesntAnswer(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	removeQuietly(filepath.Join(dir, socketName))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, Options{Dir: dir, Log: quiet()})
	if err == nil || !strings.Contains(err.Error(), "doesn't answer") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if c, ok := s.MakeRedisClient().(redis.UniversalClient); !ok {
		t.Error("not a client")
	} else {
		c.Close()
	}
}

// Without it, a command of the process that takes over waits half a minute.
func TestAClientThatGreetsIsAnsweredThoughTheOwnerEnds(t *testing.T) {
	dir := t.TempDir()
	n, err := openNode(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialSocket(t.Context(), filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e := n.own.e
	e.tune.greet = time.Minute // a busy machine needs longer than the half second of the program
	ended := make(chan error, 1)
	go func() { ended <- n.close() }()
	<-e.stop // every connection has been told
	if _, err := io.WriteString(c, "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*1\r\n$4\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(all), "%") || strings.Contains(string(all), "PONG") {
		t.Errorf("got %q, %v: want the answer to HELLO, and then the end", all, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
