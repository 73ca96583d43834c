package jobs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"offload/quota"
	"offload/transfer"
)

// quotaWorld is a world with remotes "src" and "dst" (local folders) and a ledger of its own configuration, on a store
// whose clock the test may move.
type quotaWorld struct {
	*world
	goTo func(time.Time) // sets the store's clock, which goes on from there
}

// onClocks runs a test on a miniredis and on a real redis-server, whose clocks the test moves.
func onClocks(t *testing.T, cfg quota.Config, test func(*testing.T, *quotaWorld)) {
	t.Run("miniredis", func(t *testing.T) { test(t, newQuotaWorld(t, cfg, miniClock)) })
	t.Run("redis", func(t *testing.T) { test(t, newQuotaWorld(t, cfg, realClock)) })
}

// clockStart is when the stores' clocks begin: at noon in the middle of a month.
func clockStart() time.Time { return time.Date(2027, 1, 14, 12, 0, 0, 0, time.UTC) }

// miniClock starts a miniredis whose clock is the test's.
func miniClock(t *testing.T) (string, func(*quotaWorld) func(time.Time)) {
	m := miniredis.RunT(t)
	return "redis://" + m.Addr(), func(*quotaWorld) func(time.Time) { return m.SetTime }
}

// realClock starts a redis-server. Its scripts read a clock that is kept in a key: libfaketime doesn't work with the
// allocator that redis-server uses.
func realClock(t *testing.T) (string, func(*quotaWorld) func(time.Time)) {
	return startRedis(t), func(w *quotaWorld) func(time.Time) {
		w.store.Client().AddHook(&clockHook{known: map[string]string{}})
		return func(now time.Time) {
			if err := w.store.Client().HSet(context.Background(), "clock", "s", now.Unix(), "us", now.Nanosecond()/1000).Err(); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// clockHook makes scripts read the clock of the test.
type clockHook struct {
	mu    sync.Mutex
	known map[string]string // hash of a script -> hash of the one that is sent in its place
}

func (h *clockHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *clockHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.change(cmd)
		return next(ctx, cmd)
	}
}

func (h *clockHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			h.change(cmd)
		}
		return next(ctx, cmds)
	}
}

func (h *clockHook) change(cmd redis.Cmder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	args := cmd.Args()
	switch cmd.Name() {
	case "eval":
		old, _ := args[1].(string)
		script := strings.ReplaceAll(old, "redis.call('TIME')", "redis.call('HMGET', 'clock', 's', 'us')")
		h.known[redis.NewScript(old).Hash()] = redis.NewScript(script).Hash()
		args[1] = script
	case "evalsha":
		old, _ := args[1].(string)
		if sent, ok := h.known[old]; ok {
			args[1] = sent
		}
	}
}

// run lets the store's clock go on, and returns the function that sets it.
func (w *quotaWorld) run(set func(time.Time)) (goTo func(time.Time)) {
	from, began, moved := clockStart(), time.Now(), make(chan time.Time)
	set(from)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case from = <-moved:
				began = time.Now()
			case <-tick.C:
			}
			set(from.Add(time.Since(began)))
		}
	}()
	w.t.Cleanup(func() { close(done); <-ended })
	return func(to time.Time) {
		moved <- to
		moved <- to // taken when the first is set
		// Maintenance needn't be waited for until its time comes by the clock of this process.
		due, err := w.store.Client().ZRange(context.Background(), keyDue, 0, -1).Result()
		if err != nil {
			w.t.Error(err)
		}
		for _, id := range due {
			w.svc.look(context.Background(), id, 0)
		}
	}
}

func newQuotaWorld(t *testing.T, cfg quota.Config, clock func(*testing.T) (string, func(*quotaWorld) func(time.Time))) *quotaWorld {
	t.Helper()
	url, set := clock(t)
	w := &quotaWorld{world: newWorld(t, url)}
	w.goTo = w.run(set(w))
	w.limit(cfg)
	if st := w.status("clock"); !st.Period.Start.Equal(clockStart().Truncate(24*time.Hour).AddDate(0, 0, -13)) {
		t.Fatalf("the store's clock isn't the test's: %+v", st.Period)
	}
	return w
}

// onStores runs a test that needs no moving clock on both stores.
func onStores(t *testing.T, cfg quota.Config, test func(*testing.T, *quotaWorld)) {
	eachStore(t, func(t *testing.T, w *world) {
		q := &quotaWorld{world: w}
		q.limit(cfg)
		test(t, q)
	})
}

// limit gives the world a ledger of this configuration, and names its folders as remotes.
func (w *quotaWorld) limit(cfg quota.Config) {
	w.t.Helper()
	t := w.t.(*testing.T)
	t.Setenv("RCLONE_CONFIG_SRC_TYPE", "local")
	t.Setenv("RCLONE_CONFIG_DST_TYPE", "local")
	if cfg.DefaultTier == "" {
		cfg.DefaultTier = "unlimited"
	}
	cfg.Log = w.log
	var err error
	if w.ledger, err = quota.New(w.store.Client(), cfg); err != nil {
		t.Fatal(err)
	}
	w.svc = w.service(nil)
}

func (w *quotaWorld) order(account string) Order {
	o := w.world.order(transfer.DeleteNever)
	o.Source, o.Dest, o.Account = "src:"+w.src, "dst:"+w.dst, account
	return o
}

// set gives an account or a remote's limit a limit of its own, and tells the jobs.
func (w *quotaWorld) set(subject string, limit int64) {
	w.t.Helper()
	w.setLimit(subject, limit)
	if err := w.svc.QuotaChanged(w.t.Context(), subject); err != nil {
		w.t.Fatal(err)
	}
}

func (w *quotaWorld) status(subject string) quota.Status {
	w.t.Helper()
	st, err := w.ledger.Status(w.t.Context(), subject)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// used waits until nothing is reserved any more of a subject, and compares what is used.
func (w *quotaWorld) used(subject string, want int64) {
	w.t.Helper()
	until(w.t, "nothing of "+subject+" is reserved", func() bool { return w.status(subject).Reserved == 0 })
	if st := w.status(subject); st.Used != want {
		w.t.Errorf("%s used %d, want %d", subject, st.Used, want)
	}
}

// waits waits until the job waits for quota with so many files copied.
func (w *quotaWorld) waits(id string, copied int64) Job {
	w.t.Helper()
	var j Job
	until(w.t, fmt.Sprintf("the job waits for quota with %d files", copied), func() bool {
		var err error
		if j, err = w.svc.Get(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
		if j.State.Terminal() {
			w.t.Fatalf("the job is %s (%s), %+v", j.State, j.Error, j.Files)
		}
		return j.State == Waiting && j.Files.Copied >= copied
	})
	if j.Reason != ReasonQuota || j.Files.Copied != copied || j.Files.Failed != 0 {
		w.t.Fatalf("%s %s with %d files copied and %d failed, want %d: %s", j.State, j.Reason, j.Files.Copied, j.Files.Failed, copied, j.Error)
	}
	return j
}

func (w *quotaWorld) completed(id string, copied int64) {
	w.t.Helper()
	j := w.reach(id, Completed, CompletedW, FailedState)
	if j.State != Completed || j.Files.Copied != copied || j.Error != "" {
		w.t.Errorf("%s (%s), %+v, want %d copied", j.State, j.Error, j.Files, copied)
	}
}
