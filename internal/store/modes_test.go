package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"offload/internal/redistest"
)

func openAt(t *testing.T, url string) *Store {
	t.Helper()
	return openWith(t, Options{URL: url})
}

// What a replica has confirmed outlives the master; where no replica answers, that is told within a second, and at once
// the next time.
func TestReplicated(t *testing.T) {
	t.Parallel()
	redis := redistest.StartSentinel(t)
	s := openAt(t, redis.URL())
	old := redis.Master()
	if err := s.Client().Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica has it", func() bool { // which may take it more than its second where the machine is busy
		err := s.Replicated(t.Context())
		if err != nil && !errors.Is(err, ErrUnreplicated) {
			t.Fatal(err)
		}
		return err == nil
	})
	old.Kill()
	redis.Await(old)
	if v, err := s.Client().Get(t.Context(), "k").Result(); err != nil || v != "v" {
		t.Errorf("after the failover: %q, %v", v, err)
	}
	for i, atMost := range []time.Duration{30 * time.Second, 500 * time.Millisecond} { // the first one may meet the failover
		begun := time.Now()
		if err := s.Replicated(t.Context()); !errors.Is(err, ErrUnreplicated) {
			t.Errorf("without a replica: %v", err)
		}
		if took := time.Since(begun); took > atMost {
			t.Errorf("question %d took %s", i, took)
		}
	}
}

// A master that hung and goes on when another one has its place isn't used any more, not even by those who were just
// connecting to it: what they wrote would be thrown away.
func TestAFormerMasterIsNotUsed(t *testing.T) {
	t.Parallel()
	redis := redistest.StartSentinel(t)
	old := redis.Master()
	s := openAt(t, redis.URL())
	old.Freeze()
	ended := make(chan error, 8)
	for i := range cap(ended) {
		go func() { ended <- s.Client().Set(t.Context(), fmt.Sprint("k", i), "v", 0).Err() }()
	}
	redis.Await(old)
	old.Thaw()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if n, err := openAt(t, redis.Master().URL()).Client().DBSize(t.Context()).Result(); err != nil || n != int64(cap(ended)) {
		t.Errorf("the new master has %d keys, %v; want %d", n, err, cap(ended))
	}
}

// A single server has no replica to wait for.
func TestNothingToReplicate(t *testing.T) {
	t.Parallel()
	for _, s := range []*Store{openDir(t, t.TempDir()), openAt(t, startRedis(t))} {
		if err := s.Replicated(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Every master of a cluster is checked, and behind Sentinels the master.
func TestCheckOfManyServers(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]func() (string, *redistest.Server){
		"cluster":  func() (string, *redistest.Server) { c := redistest.StartCluster(t); return c.URL(), c.Masters[2] },
		"sentinel": func() (string, *redistest.Server) { s := redistest.StartSentinel(t); return s.URL(), s.Master() },
	} {
		url, one := mode()
		s := openAt(t, url)
		if w, err := s.Check(t.Context()); err != nil || len(w) != 0 {
			t.Errorf("%s: %q, %v", name, w, err)
		}
		c := openAt(t, one.URL())
		for _, setting := range [][2]string{{"appendonly", "no"}, {"maxmemory-policy", "allkeys-lru"}} {
			if err := c.Client().ConfigSet(t.Context(), setting[0], setting[1]).Err(); err != nil {
				t.Fatal(err)
			}
			w, err := s.Check(t.Context())
			switch {
			case setting[0] == "appendonly" && (err != nil || len(w) != 1 || !strings.Contains(w[0], "append-only")):
				t.Errorf("%s without an append-only file: %q, %v", name, w, err)
			case setting[0] != "appendonly" && (err == nil || !strings.Contains(err.Error(), "noeviction")):
				t.Errorf("%s with eviction: %v", name, err)
			}
		}
	}
}

// Sentinels and servers with passwords of their own.
func TestSentinelPasswords(t *testing.T) {
	t.Parallel()
	redis := redistest.StartSentinel(t)
	url := redis.Protect("secret of data", "secret of sentinels")
	openAt(t, url)
	for _, wrong := range []string{"secret%20of%20data", "secret%20of%20sentinels"} {
		_, err := Open(t.Context(), Options{URL: strings.Replace(url, wrong, "wrong", 1), Log: quiet()})
		if err == nil {
			t.Fatalf("opened with a wrong password instead of %s", wrong)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// A call that waits for a server which doesn't answer ends when the store is abandoned, and so does every later one.
func TestAbandon(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func() (string, *redistest.Server){
		"single":   func() (string, *redistest.Server) { s := redistest.StartServer(t); return s.URL(), s },
		"sentinel": func() (string, *redistest.Server) { s := redistest.StartSentinel(t); return s.URL(), s.Master() },
		"cluster":  func() (string, *redistest.Server) { c := redistest.StartCluster(t); return c.URL(), c.Masters[0] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, server := begin()
			s := openAt(t, url)
			key := "{06S}k" // of the first master of a cluster
			if err := s.Client().Set(t.Context(), key, 1, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if name == "cluster" {
				if n := openAt(t, server.URL()).Client().DBSize(t.Context()).Val(); n != 1 {
					t.Fatal("the key isn't the first master's")
				}
			}
			server.Freeze()
			ended := make(chan error, 2)
			for _, ctx := range []context.Context{context.Background(), t.Context()} {
				go func() { ended <- s.Client().Get(ctx, key).Err() }()
			}
			select {
			case err := <-ended:
				t.Fatalf("the server answered: %v", err)
			case <-time.After(200 * time.Millisecond):
			}
			begun := time.Now()
			s.Abandon()
			for range 2 {
				if err := <-ended; err == nil {
					t.Error("the call succeeded")
				}
			}
			if took := time.Since(begun); took > 10*time.Second { // a reply is waited for 3 s at most
				t.Errorf("the calls ended after %s", took)
			}
			if err := s.Client().Get(t.Context(), key).Err(); err == nil {
				t.Error("a later call succeeded")
			}
		})
	}
}
