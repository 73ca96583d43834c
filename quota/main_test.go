package quota

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"offload/internal/leaktest"
	"offload/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// start is where the movable clocks of the tests begin.
var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// rig is a ledger on a Redis whose clock the test moves.
type rig struct {
	*Ledger
	t      testing.TB
	client redis.UniversalClient
	now    time.Time
	move   func(time.Time)
}

func (r *rig) setClock(now time.Time) {
	r.now = now
	r.move(now)
}

func (r *rig) advance(d time.Duration) { r.setClock(r.now.Add(d)) }

// newMini returns a rig on miniredis.
func newMini(t testing.TB, cfg Config) *rig {
	t.Helper()
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	r := &rig{Ledger: newLedger(t, client, cfg), t: t, client: client, move: m.SetTime}
	r.setClock(start)
	return r
}

// newReal returns a rig on a redis-server whose scripts read a clock of the test's.
func newReal(t testing.TB, cfg Config) *rig {
	t.Helper()
	client := startRedis(t)
	r := &rig{Ledger: newLedger(t, client, cfg), t: t, client: client}
	r.scripts = movableScripts(t)
	r.move = func(now time.Time) {
		err := client.HSet(t.Context(), "clock", "s", now.Unix(), "us", now.Nanosecond()/1000).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	r.setClock(start)
	return r
}

// movableScripts returns the scripts with Redis' clock replaced by a key.
func movableScripts(t testing.TB) scripts {
	const clock = "redis.call('TIME')"
	if strings.Count(commonSource, clock) != 1 {
		t.Fatal("common.lua no longer reads the clock in one place")
	}
	return newScripts(strings.Replace(commonSource, clock, "redis.call('HMGET', 'clock', 's', 'us')", 1))
}

// onBoth runs a test on miniredis and on a real redis-server.
func onBoth(t *testing.T, cfg Config, test func(*testing.T, *rig)) {
	t.Run("miniredis", func(t *testing.T) { test(t, newMini(t, cfg)) })
	t.Run("redis", func(t *testing.T) { test(t, newReal(t, cfg)) })
}

func newLedger(t testing.TB, client redis.UniversalClient, cfg Config) *Ledger {
	t.Helper()
	l, err := New(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// startRedis starts a redis-server and returns a client of it.
func startRedis(t testing.TB, args ...string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: redistest.Start(t, args...), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func ptr[T any](v T) *T { return &v }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// status reads an account, failing the test where it can't.
func (r *rig) status(account string) Status {
	r.t.Helper()
	st, err := r.Status(context.Background(), account)
	must(r.t, err)
	return st
}

// wantCounts compares an account with what it should have.
func (r *rig) wantCounts(account string, used, reserved, wasted int64) {
	r.t.Helper()
	st := r.status(account)
	if st.Used != used || st.Reserved != reserved || st.Wasted != wasted {
		r.t.Errorf("%s: used %d, reserved %d, wasted %d; want %d, %d, %d", account, st.Used, st.Reserved, st.Wasted,
			used, reserved, wasted)
	}
}

// limited is a configuration with one tier.
func limited(limit, quantum int64) Config {
	return Config{Tiers: []Tier{{"small", limit}, {"large", 100 * limit}, {"all", Unlimited}}, Quantum: quantum}
}
