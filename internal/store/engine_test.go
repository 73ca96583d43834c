package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// testEngine is an engine with a client and without a socket.
type testEngine struct {
	*engine
	c *redis.Client
}

func startEngine(t testing.TB, dir string, create filesystem, tune tuning) *testEngine {
	t.Helper()
	e, err := openEngine(dir, false, quiet(), create, tune)
	if err != nil {
		t.Fatal(err)
	}
	te := &testEngine{engine: e}
	te.c = redis.NewClient(&redis.Options{DisableIdentity: true, MaxRetries: -1, MaintNotificationsConfig: noMaintenance(),
		ReadTimeout: localTimeout, WriteTimeout: localTimeout, // as in the program: a busy disk holds commands up for seconds
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			e.serve(there)
			return here, nil
		}})
	return te
}

func (e *testEngine) gen() uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.j.io.Lock()
	defer e.j.io.Unlock()
	return e.j.gen
}

func (e *testEngine) end(t testing.TB) {
	t.Helper()
	if err := errors.Join(e.c.Close(), e.close()); err != nil {
		t.Error(err)
	}
}

// digest is a sum over every key, value and expiry time.
func (e *testEngine) digest(t testing.TB) string {
	t.Helper()
	eventually(t, "nothing is about to expire", func() bool {
		if err := e.c.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, at := range e.ks.deadlines {
			if at < time.Now().Add(20*time.Second).UnixNano() {
				return false
			}
		}
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	h := sha256.New()
	for _, key := range e.ks.db.Keys() {
		fmt.Fprintf(h, "%q %s %d\n", key, e.ks.db.Type(key), e.ks.deadlines[key])
		switch e.ks.db.Type(key) {
		case "string":
			v, _ := e.ks.db.Get(key)
			fmt.Fprintf(h, "%q\n", v)
		case "hash":
			fields, _ := e.ks.db.HKeys(key)
			for _, f := range fields {
				fmt.Fprintf(h, "%q %q\n", f, e.ks.db.HGet(key, f))
			}
		case "list":
			v, _ := e.ks.db.List(key)
			fmt.Fprintf(h, "%q\n", v)
		case "set":
			v, _ := e.ks.db.Members(key)
			slices.Sort(v)
			fmt.Fprintf(h, "%q\n", v)
		case "zset":
			v, _ := e.ks.db.SortedSet(key)
			fmt.Fprintf(h, "%v\n", v)
		default:
			t.Errorf("unknown type of %q", key)
		}
	}
	return fmt.Sprintf("%d keys, %x", len(e.ks.db.Keys()), h.Sum(nil)[:8])
}

// fill writes keys of every type, and changes and expires some.
func (e *testEngine) fill(t testing.TB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		p := e.c.Pipeline()
		k := fmt.Sprint(i % 50)
		p.Set(t.Context(), "str"+k, fmt.Sprintf("\x00\xff%d", i), 0)
		p.HSet(t.Context(), "hash"+k, fmt.Sprint("f", i), fmt.Sprintf("%0300d", i))
		p.HIncrBy(t.Context(), "count", k, int64(i))
		p.RPush(t.Context(), "list"+k, i)
		p.LPop(t.Context(), "list"+fmt.Sprint((i+1)%50))
		p.SAdd(t.Context(), "set"+k, i)
		p.ZAdd(t.Context(), "zset"+k, redis.Z{Score: float64(i) / 3, Member: i})
		p.ZRemRangeByRank(t.Context(), "zset"+k, 0, -20)
		p.Expire(t.Context(), "str"+k, time.Duration(i+1)*time.Hour)
		p.Set(t.Context(), "short"+k, i, time.Duration(1+i%7)*time.Millisecond)
		p.SetNX(t.Context(), "short"+k, "again", time.Hour) // so that a slow test is over before
		if i%17 == 0 {
			p.Del(t.Context(), "hash"+k)
			p.Rename(t.Context(), "set"+k, "renamed"+k)
		}
		if i%40 == 0 {
			p.Eval(t.Context(), "for i = 1, 9 do redis.call('HSET', KEYS[1], math.random(), i) end return redis.call('DEL', KEYS[2])",
				[]string{"random", "list" + k})
		}
		if _, err := p.Exec(t.Context()); err != nil && !errors.Is(err, redis.Nil) && !strings.Contains(err.Error(), "no such key") {
			t.Fatal(err)
		}
	}
}

func smallTuning() tuning {
	tune := defaultTuning()
	tune.compactMin, tune.slice, tune.syncEvery = 1<<40, time.Microsecond, 10*time.Millisecond
	return tune
}

func TestReopenHoldsTheSame(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		e := startEngine(t, dir, createFile, smallTuning())
		e.fill(t, round*100, round*100+100)
		want := e.digest(t)
		e.end(t)
		again := startEngine(t, dir, createFile, smallTuning())
		if got := again.digest(t); got != want {
			t.Errorf("round %d: %s, want %s", round, got, want)
		}
		if round == 1 {
			if err := again.compact(); err != nil {
				t.Fatal(err)
			}
		}
		again.end(t)
	}
}

// TestCompactionBesideWrites compacts and renews without a pause while everything is being changed.
func TestCompactionBesideWrites(t *testing.T) {
	dir := t.TempDir()
	tune := smallTuning()
	tune.renewWrites = 2000
	e := startEngine(t, dir, createFile, tune)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var compactions atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := e.compact(); err != nil {
				t.Error(err)
				return
			}
			compactions.Add(1)
		}
	})
	for i := 0; i < 10 || compactions.Load() < 5; i++ {
		e.fill(t, i*60, i*60+60)
	}
	close(stop)
	wg.Wait()
	want := e.digest(t)
	e.end(t)
	again := startEngine(t, dir, createFile, smallTuning())
	defer again.end(t)
	if got := again.digest(t); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	files, _ := readFolder(dir)
	if len(files.journals) != 1 || len(files.snapshots) != 1 {
		t.Errorf("%v, %v are left", files.journals, files.snapshots)
	}
}

func TestCompactionComesByItself(t *testing.T) {
	tune := smallTuning()
	tune.compactMin = 100 << 10
	e := startEngine(t, t.TempDir(), createFile, tune)
	defer e.end(t)
	e.fill(t, 0, 300)
	for range 300 {
		if err := e.c.Set(t.Context(), "same", strings.Repeat("x", 4000), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the journal is small again", func() bool { return e.gen() > 1 && !e.compactionDue() })
}

// faults decides which calls to files fail.
type faults struct {
	writes, syncs atomic.Int64 // calls so far
	failWrite     func(n int64) bool
	failSync      func(n int64) bool
}

type faultyFile struct {
	file
	f *faults
}

func (f *faults) create(path string) (file, error) {
	inner, err := createFile(path)
	return &faultyFile{inner, f}, err
}

var errFull = errors.New("no space left on device")

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if f.f.failWrite != nil && f.f.failWrite(f.f.writes.Add(1)) {
		n, _ := f.file.WriteAt(b[:len(b)/2], off) // as a full disk does
		return n, errFull
	}
	return f.file.WriteAt(b, off)
}

func (f *faultyFile) Sync() error {
	if f.f.failSync != nil && f.f.failSync(f.f.syncs.Add(1)) {
		return errors.New("input/output error")
	}
	return f.file.Sync()
}

// TestDiskFull lets every write to the journal fail in turn, for a while. Whatever was acknowledged is there afterwards,
// what was refused counts at most once, and a refused store takes no writes but answers reads.
func TestDiskFull(t *testing.T) {
	for fail := int64(2); fail < 12; fail++ {
		dir := t.TempDir()
		var full atomic.Bool
		f := &faults{}
		f.failWrite = func(n int64) bool { return n >= fail && full.Load() }
		full.Store(true)
		e := startEngine(t, dir, f.create, smallTuning())
		var acked, unsure int64
		for i := range 20 {
			err := e.c.Eval(t.Context(), "redis.call('INCR', KEYS[1]) return redis.call('HINCRBY', KEYS[2], 'n', 1)", []string{"a", "b"}).Err()
			switch {
			case err == nil:
				acked++
			case strings.HasPrefix(err.Error(), "MISCONF"):
				unsure++
				if err := e.c.Get(t.Context(), "none").Err(); !errors.Is(err, redis.Nil) {
					t.Fatalf("a read beside a full disk: %v", err)
				}
				if !e.j.failed.Load() && full.Load() {
					t.Fatal("refused, but not marked as failed")
				}
			default:
				t.Fatal(err)
			}
			if i == 15 {
				full.Store(false)
			}
		}
		if acked == 0 || unsure == 0 {
			t.Fatalf("%d acknowledged, %d refused", acked, unsure)
		}
		want := e.digest(t)
		n, err := e.c.Get(t.Context(), "a").Int64()
		if err != nil || n < acked || n > acked+1 { // of the refused ones, only the first was begun
			t.Errorf("%d acknowledged, %d there, %v", acked, n, err)
		}
		e.end(t)
		again := startEngine(t, dir, createFile, smallTuning())
		if got := again.digest(t); got != want {
			t.Errorf("failing from write %d on: %s, want %s", fail, got, want)
		}
		again.end(t)
	}
}

// TestDiskFullThenKilled ends the process, as it were, while the disk is full: the folder is read as it is.
func TestDiskFullThenKilled(t *testing.T) {
	dir := t.TempDir()
	f := &faults{failWrite: func(n int64) bool { return n > 5 }}
	e := startEngine(t, dir, f.create, smallTuning())
	acked := int64(0)
	for range 10 {
		if e.c.Incr(t.Context(), "n").Err() == nil {
			acked++
		}
	}
	copied := copyDir(t, dir)
	_ = e.c.Close()
	if err := e.close(); !errors.Is(err, errFull) {
		t.Errorf("closing on a full disk: %v", err)
	}
	again := startEngine(t, copied, createFile, smallTuning())
	defer again.end(t)
	if n := again.c.Get(t.Context(), "n").Val(); n != fmt.Sprint(acked) {
		t.Errorf("%d acknowledged, %s there", acked, n)
	}
}

// TestSyncFailure: what the kernel failed to sync may be gone, so the store writes all data to new files before it goes on.
func TestSyncFailure(t *testing.T) {
	dir := t.TempDir()
	var bad atomic.Bool
	f := &faults{failSync: func(int64) bool { return bad.Load() }}
	e := startEngine(t, dir, f.create, smallTuning())
	e.fill(t, 0, 60)
	bad.Store(true)
	eventually(t, "writes are refused", func() bool {
		err := e.c.Incr(t.Context(), "n").Err()
		return err != nil && strings.HasPrefix(err.Error(), "MISCONF")
	})
	bad.Store(false)
	eventually(t, "writes are accepted again", func() bool { return e.c.Incr(t.Context(), "n").Err() == nil })
	if e.gen() < 2 {
		t.Error("the journal that can't be relied on is still in use")
	}
	e.fill(t, 60, 90)
	want := e.digest(t)
	e.end(t)
	again := startEngine(t, dir, createFile, smallTuning())
	defer again.end(t)
	if got := again.digest(t); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFailedCompactionHarmsNothing lets each file operation of a compaction fail.
func TestFailedCompactionHarmsNothing(t *testing.T) {
	for _, kind := range []string{"write", "sync"} {
		for at := int64(1); at <= 3; at++ {
			dir := t.TempDir()
			f := &faults{}
			var from atomic.Int64
			from.Store(1 << 60)
			count := &f.writes
			if kind == "sync" {
				count = &f.syncs
			}
			hit := func(n int64) bool { return n == from.Load() }
			if kind == "sync" {
				f.failSync = hit
			} else {
				f.failWrite = hit
			}
			tune := smallTuning()
			tune.syncEvery = time.Hour
			e := startEngine(t, dir, f.create, tune)
			e.fill(t, 0, 100)
			from.Store(count.Load() + at)
			if err := e.compact(); err == nil && at < 3 {
				t.Logf("%s %d: the compaction succeeded", kind, at)
			}
			for e.j.broken.Load() { // a failed sync asks for another one
				if err := e.compact(); err != nil {
					t.Fatal(err)
				}
			}
			from.Store(1 << 60)
			e.fill(t, 100, 130)
			want := e.digest(t)
			e.end(t)
			again := startEngine(t, dir, createFile, smallTuning())
			if got := again.digest(t); got != want {
				t.Errorf("%s %d: %s, want %s", kind, at, got, want)
			}
			again.end(t)
		}
	}
}

// TestPanicIsContained: a bug in miniredis costs the one command.
func TestPanicIsContained(t *testing.T) {
	e := startEngine(t, t.TempDir(), createFile, smallTuning())
	defer e.end(t)
	e.fill(t, 0, 30)
	for _, cmd := range []redis.Cmder{
		e.c.Set(t.Context(), "before", "1", 0),
		e.c.Do(t.Context(), "ECHO", "ok"),
	} {
		if cmd.Err() != nil {
			t.Fatal(cmd.Err())
		}
	}
	want := e.digest(t)
	bang := spec{kind: write, keys: func([]string) []string { panic("bang") }, noop: untold}
	e.mu.Lock()
	e.table["LSET"] = &bang
	e.mu.Unlock()
	if err := e.c.LSet(t.Context(), "before", 0, 1).Err(); err == nil || !strings.Contains(err.Error(), "failed in this command") {
		t.Errorf("got %v", err)
	}
	script := "redis.call('SET', 'half', 1) redis.pcall('LSET', 'before', 0, 1) return redis.call('SET', 'other', 1)"
	if err := e.c.Eval(t.Context(), script, nil).Err(); err == nil || !strings.Contains(err.Error(), "failed in this script") {
		t.Errorf("got %v", err)
	}
	if got := e.digest(t); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := e.c.Set(t.Context(), "after", 1, 0).Err(); err != nil {
		t.Error(err)
	}
}

func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, entry.Name()), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}
