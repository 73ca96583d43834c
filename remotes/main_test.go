package remotes

import (
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	_ "github.com/rclone/rclone/backend/dropbox"
	_ "github.com/rclone/rclone/backend/iclouddrive"
	_ "github.com/rclone/rclone/backend/memory"
	_ "github.com/rclone/rclone/backend/webdav"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"offload/internal/leaktest"
	"offload/internal/redistest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, append(leaktest.Rclone(), goleak.IgnoreAnyFunction("github.com/rclone/rclone/fs/accounting.(*tokenBucket).startSignalHandler.func1"))...))
}

// onBoth runs a test on miniredis, which is the inside of the embedded store, and on a real Redis.
func onBoth(t *testing.T, test func(*testing.T, redis.UniversalClient)) {
	t.Run("miniredis", func(t *testing.T) {
		m := miniredis.RunT(t)
		client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		test(t, client)
	})
	t.Run("redis", func(t *testing.T) { test(t, startRedis(t)) })
}

// startRedis starts a redis-server and returns a client of it.
func startRedis(t testing.TB) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: redistest.Start(t), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// eventually polls until done.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// open opens the storage with a password.
func open(t testing.TB, client redis.UniversalClient, password string) *Storage {
	t.Helper()
	s, err := Open(t.Context(), Options{Client: client, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dump returns everything that a Redis holds, as one text.
func dump(t testing.TB, client redis.UniversalClient) string {
	t.Helper()
	ctx, all := t.Context(), ""
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		all += k + "\n"
		switch kind := client.Type(ctx, k).Val(); kind {
		case "string":
			all += client.Get(ctx, k).Val() + "\n"
		case "hash":
			for f, v := range client.HGetAll(ctx, k).Val() {
				all += f + "\n" + v + "\n"
			}
		default:
			t.Fatalf("a key of type %s", kind)
		}
	}
	return all
}
