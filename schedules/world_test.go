package schedules

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"offload/internal/jobstest"
	"offload/internal/leaktest"
	"offload/internal/redistest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	_ "offload/transfer/xtest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// world is a store with schedules on it.
type world struct {
	t      *testing.T
	store  *store.Store
	client redis.UniversalClient
	jobs   *jobs.Service
	ledger *quota.Ledger
	book   *Book
	src    string
	dst    string
	clock  *miniredis.Miniredis // of a store whose clock can be moved; else nil
}

// eachStore runs a test on both kinds of store.
func eachStore(t *testing.T, test func(t *testing.T, w *world)) {
	for name, url := range map[string]func() string{"embedded": func() string { return "" }, "redis": func() string { return redistest.URL(t) }} {
		t.Run(name, func(t *testing.T) { test(t, newWorld(t, store.Options{URL: url()})) })
	}
}

func newWorld(t *testing.T, at store.Options) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("OFFLOAD_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w := &world{t: t, src: t.TempDir(), dst: filepath.Join(t.TempDir(), "dst")}
	at.Log = log
	st, ledger, service := jobstest.Open(t, at, quota.Config{}, jobs.Config{Log: log})
	w.store, w.client, w.ledger, w.jobs = st, st.Client(), ledger, service
	w.book = New(Config{Client: w.client, Jobs: service, Log: log})
	return w
}

// moved is a world whose clock says what the test says.
func moved(t *testing.T, now string) *world {
	t.Helper()
	m := miniredis.RunT(t)
	w := newWorld(t, store.Options{URL: "redis://" + m.Addr()})
	w.clock = m
	w.at(now)
	return w
}

// at moves the clock.
func (w *world) at(now string) {
	w.t.Helper()
	w.clock.SetTime(w.moment(now))
}

func (w *world) moment(text string) time.Time {
	w.t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// schedule is one that copies a local folder.
func (w *world) schedule(name string, when When) Schedule {
	return Schedule{Name: name, When: when, Order: jobs.Order{Source: w.src, Dest: filepath.Join(w.dst, name), MaxDelete: -1}.WithDefaults()}
}

func (w *world) add(s Schedule) View {
	w.t.Helper()
	v, err := w.book.Add(w.t.Context(), s, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) get(name string) View {
	w.t.Helper()
	v, err := w.book.Get(w.t.Context(), "", name)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) runs(name string) []Run {
	w.t.Helper()
	all, err := w.book.Runs(w.t.Context(), "", name, runsKept)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// results are what became of a schedule's runs, the oldest first.
func (w *world) results(name string) (all []Result) {
	for _, r := range slices.Backward(w.runs(name)) {
		all = append(all, r.Result)
	}
	return all
}

// made are all jobs there are.
func (w *world) made() []jobs.Job {
	w.t.Helper()
	all, _, err := w.jobs.List(w.t.Context(), jobs.ListOptions{Limit: 5000})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// end ends all jobs, as workers would.
func (w *world) end() {
	w.t.Helper()
	for _, j := range w.made() {
		if !j.State.Terminal() {
			if _, err := w.jobs.Cancel(w.t.Context(), j.ID); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// look lets a runner look once, and waits until what it began has ended.
func (w *world) look(r *Runner) {
	w.t.Helper()
	if _, err := r.look(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	r.work.Wait()
}

// overdue makes a schedule due since a while ago, on a store whose clock can't be moved.
func (w *world) overdue(name string, since time.Duration) time.Time {
	w.t.Helper()
	due := time.Now().Add(-since).Truncate(time.Second).UTC()
	id := idOf("", name)
	p := w.client.Pipeline()
	p.HSet(w.t.Context(), keyOf(id), "next", millis(due))
	p.ZAdd(w.t.Context(), keyDue, redis.Z{Score: float64(due.UnixMilli()), Member: id})
	if _, err := p.Exec(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return due
}

// runner runs a runner until the test ends or stop is called.
func (w *world) runner() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.book.NewRunner().Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(stop)
	return stop
}

func newWorldOnEmbedded(t *testing.T) *world { return newWorld(t, store.Options{}) }

func zAt(at time.Time, id string) redis.Z { return redis.Z{Score: float64(at.UnixMilli()), Member: id} }

// mortal lets a number of calls through and none after them, as a process that dies.
type mortal struct {
	left  atomic.Int64
	short atomic.Bool // it came to that
}

var errDead = errors.New("the process is dead")

// DialHook implements redis.Hook.
func (m *mortal) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *mortal) dies() bool {
	if m.left.Add(-1) >= 0 {
		return false
	}
	m.short.Store(true)
	return true
}

// ProcessHook implements redis.Hook.
func (m *mortal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if m.dies() {
			cmd.SetErr(errDead)
			return errDead
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (m *mortal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if m.dies() {
			for _, cmd := range cmds {
				cmd.SetErr(errDead)
			}
			return errDead
		}
		return next(ctx, cmds)
	}
}

// mortalStore gives all of a process the same mortal connection.
type mortalStore struct {
	*store.Store
	shared redis.UniversalClient
	m      *mortal
}

// Client implements jobs.Store.
func (s *mortalStore) Client() redis.UniversalClient { return s.shared }

// MakeRedisClient implements jobs.Store.
func (s *mortalStore) MakeRedisClient() any { return s.fresh() }

func (s *mortalStore) fresh() redis.UniversalClient {
	c := s.Store.MakeRedisClient().(redis.UniversalClient)
	c.AddHook(s.m)
	return c
}

// dieAfter lets another process look, which dies after so many calls to the store, and tells whether it did.
func (w *world) dieAfter(calls int) bool {
	w.t.Helper()
	ms := &mortalStore{Store: w.store, m: &mortal{}}
	ms.m.left.Store(1 << 40)
	ms.shared = ms.fresh()
	ledger, err := quota.New(ms.shared, quota.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	service, err := jobs.New(jobs.Config{Store: ms, Ledger: ledger})
	if err != nil {
		w.t.Fatal(err)
	}
	ms.m.left.Store(int64(calls))
	ctx, cancel := context.WithCancel(w.t.Context())
	r := New(Config{Client: ms.shared, Jobs: service}).NewRunner()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.look(ctx) // it dies
		r.work.Wait()
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-time.After(10 * time.Millisecond):
			over = ms.m.short.Load()
		}
	}
	cancel()
	<-done
	if err := errors.Join(service.Close(), ms.shared.Close()); err != nil {
		w.t.Log(err)
	}
	return ms.m.short.Load()
}
