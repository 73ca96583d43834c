package store

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// All dashboards of a store have one key, and know who signed out anywhere; also in a later process.
func TestSessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url := startRedis(t)
	for name, open := range map[string]func() *Store{
		"embedded": func() *Store { return openDir(t, dir) },
		"redis":    func() *Store { return openAt(t, url) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open().Sessions(), open().Sessions()
			key, err := a.Key(t.Context())
			if err != nil || len(key) < 32 {
				t.Fatalf("key of %d bytes, %v", len(key), err)
			}
			if again, err := b.Key(t.Context()); err != nil || string(again) != string(key) {
				t.Errorf("another dashboard has another key: %v", err)
			}
			now := time.Now()
			for id, until := range map[string]time.Time{"ONE": now.Add(time.Hour), "OVER": now.Add(-time.Hour)} {
				if err := a.End(t.Context(), id, until); err != nil {
					t.Fatal(err)
				}
			}
			if ids, err := b.Ended(t.Context()); err != nil || fmt.Sprint(ids) != "[ONE]" {
				t.Errorf("ended: %v, %v", ids, err)
			}
			if err := b.End(t.Context(), "TWO", now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if n, err := a.client.ZCard(t.Context(), keyEnded).Result(); err != nil || n != 2 {
				t.Errorf("%d ended sessions are kept, %v: those that are over are to be forgotten", n, err)
			}
		})
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	s := openDir(t, t.TempDir())
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ping(ctx); err == nil {
		t.Error("a ping that was called off had an answer")
	}
}
