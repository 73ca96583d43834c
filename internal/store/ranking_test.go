package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/internal/redistest"
)

// rankTester sends the same commands to the embedded store, to one that leaves all to miniredis, and to a Redis.
type rankTester struct {
	t        *testing.T
	rnd      *rand.Rand
	embedded *testEngine
	plain    *testEngine
	real     *redis.Client
	log      []string
}

// startRanked starts an engine that keeps sets of so many members in order.
func startRanked(t testing.TB, dir string, least int) *testEngine {
	t.Helper()
	e := startEngine(t, dir, createFile, defaultTuning())
	e.mu.Lock()
	e.ks.ranks.least = least
	e.mu.Unlock()
	return e
}

// kept counts the sets that are kept in order.
func (e *testEngine) kept() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.ks.ranks.sets)
}

func newRankTester(t *testing.T, seed uint64) *rankTester {
	t.Helper()
	r := &rankTester{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), embedded: startRanked(t, t.TempDir(), 4),
		plain: startRanked(t, t.TempDir(), math.MaxInt)}
	opts, err := redis.ParseURL(redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	opts.ReadTimeout, opts.MaxRetries = localTimeout, -1 // no command is sent twice to one of them alone
	r.real = redis.NewClient(opts)
	if err := r.real.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.embedded.end(t)
		r.plain.end(t)
		r.real.Close()
	})
	return r
}

// same sends a command to all three, as it is or by a script, and compares the replies.
func (r *rankTester) same(args ...any) {
	r.t.Helper()
	r.compare(true, args...)
}

// compare leaves Redis out of it where its errors are others than miniredis'.
func (r *rankTester) compare(alsoRedis bool, args ...any) {
	r.t.Helper()
	for i, a := range args {
		args[i] = fmt.Sprint(a)
	}
	r.log = append(r.log, fmt.Sprintf("%q", args))
	script := r.rnd.IntN(3) == 0
	ask := func(c *redis.Client) string {
		var v any
		var err error
		if script {
			v, err = c.Eval(context.WithoutCancel(r.t.Context()), "return redis.call(unpack(ARGV))", nil, args...).Result()
		} else {
			v, err = c.Do(r.t.Context(), args...).Result()
		}
		return flat(args, v, err)
	}
	got, plain := ask(r.embedded.c), ask(r.plain.c)
	real := got
	if alsoRedis {
		real = ask(r.real)
	}
	if got != plain || got != real {
		r.t.Fatalf("%q (in a script: %v)\n     got %s\n miniredis %s\n   Redis %s\nafter\n%s", args, script, got, plain, real,
			strings.Join(r.log[max(0, len(r.log)-60):], "\n"))
	}
}

// flat writes a reply down; Redis pairs members and scores in RESP3, miniredis doesn't.
func flat(args []any, v any, err error) string {
	var out []any
	var unfold func(any)
	unfold = func(v any) {
		if list, ok := v.([]any); ok {
			for _, e := range list {
				unfold(e)
			}
			return
		}
		if f, ok := v.(float64); ok {
			v = strconv.FormatFloat(f, 'g', 17, 64)
		} else if f, err := strconv.ParseFloat(fmt.Sprint(v), 64); err == nil {
			v = strconv.FormatFloat(f, 'g', 17, 64)
		}
		out = append(out, v)
	}
	if err == nil {
		unfold(v)
		return fmt.Sprintf("[%q]", out)
	}
	return shown(args, v, err)
}

func (r *rankTester) pick(from ...string) string { return from[r.rnd.IntN(len(from))] }

// member is one of few, so that commands meet the same ones again; some are binary, one is empty.
func (r *rankTester) member() string {
	n := r.rnd.IntN(40)
	switch n {
	case 0:
		return ""
	case 1:
		return "\x00\xff\r\n"
	case 2:
		return "é😀"
	}
	return fmt.Sprint("m", n)
}

func (r *rankTester) score() string {
	return r.pick("0", "1", "1", "2", "2.5", "-3", "1e10", "9007199254740992", "0.1", "+inf", "-inf", "1e-7", fmt.Sprint(r.rnd.IntN(100)))
}

func (r *rankTester) bound() string {
	s := r.score()
	if strings.HasSuffix(s, "inf") { // miniredis takes "(+inf" for "+inf"
		return s
	}
	return r.pick("", "", "(") + s
}

func (r *rankTester) lexBound() string {
	return r.pick("-", "+", "[", "(", "["+r.member(), "("+r.member(), "["+r.member())
}

func (r *rankTester) index() int { return r.rnd.IntN(60) - 30 }

func (r *rankTester) limit(args []any) []any {
	if r.rnd.IntN(3) == 0 {
		args = append(args, "LIMIT", r.rnd.IntN(9)-1, r.rnd.IntN(9)-1)
	}
	return args
}

func (r *rankTester) withScores(args []any) []any {
	if r.rnd.IntN(3) == 0 {
		args = append(args, r.pick("WITHSCORES", "withscores"))
	}
	return args
}

// read asks a question.
func (r *rankTester) read() {
	key := r.pick("z", "z", "y")
	switch r.rnd.IntN(13) {
	case 0:
		r.same(r.withScores([]any{r.pick("ZRANGE", "zrevrange"), key, r.index(), r.index()})...)
	case 1:
		r.same(r.withScores(r.limit([]any{r.pick("ZRANGEBYSCORE", "ZREVRANGEBYSCORE"), key, r.bound(), r.bound()}))...)
	case 2:
		r.same(r.limit([]any{r.pick("ZRANGEBYLEX", "ZREVRANGEBYLEX"), "same", r.lexBound(), r.lexBound()})...)
	case 3:
		r.same("ZCOUNT", key, r.bound(), r.bound())
	case 4:
		r.same("ZLEXCOUNT", "same", r.lexBound(), r.lexBound())
	case 5:
		r.same(r.pick("ZRANK", "ZREVRANK"), key, r.member())
	case 6:
		r.same(r.withScores(r.limit([]any{"ZRANGE", key, r.bound(), r.bound(), "BYSCORE"}))...)
	case 7:
		r.same(r.withScores(r.limit([]any{"ZRANGE", key, r.bound(), r.bound(), "rev", "byscore"}))...)
	case 8:
		r.same(r.limit([]any{"ZRANGE", "same", r.lexBound(), r.lexBound(), "BYLEX", "REV"})...)
	case 9:
		r.same("ZRANGE", key, r.index(), r.index(), "REV")
	case 10:
		r.same("ZCARD", key)
	case 11:
		r.same("ZSCORE", key, r.member())
	case 12: // nonsense, and what is no sorted set
		cmd := r.pick("ZRANGE", "ZRANGEBYSCORE", "ZCOUNT", "ZRANK", "ZREVRANGE")
		r.compare(false, cmd, r.pick("str", "none", key), r.pick("x", "[", "1"), r.pick("", "y", "(z", "nan"))
	}
}

// write changes something.
func (r *rankTester) write() {
	key := r.pick("z", "z", "y")
	switch r.rnd.IntN(20) {
	case 0, 1, 2, 3:
		args := []any{r.pick("ZADD", "zadd"), key}
		if o := r.pick("", "", "NX", "xx", "GT", "LT", "CH"); o != "" {
			args = append(args, o)
		}
		for range 1 + r.rnd.IntN(4) { // no member twice: miniredis counts them otherwise
			if m := r.member(); !slices.Contains(args, any(m)) {
				args = append(args, r.score(), m)
			}
		}
		r.same(args...)
	case 4, 5, 6:
		r.same("ZADD", "same", 0, r.member(), 0, fmt.Sprint("only", r.rnd.IntN(30)))
	case 7:
		r.same("ZINCRBY", key, r.rnd.IntN(7)-3, fmt.Sprint("i", r.rnd.IntN(5)))
	case 8:
		r.same("ZADD", key, "INCR", 2, fmt.Sprint("i", r.rnd.IntN(5)))
	case 9, 10:
		r.same("ZREM", r.pick(key, "same"), r.member(), r.member())
	case 11:
		r.same("ZREMRANGEBYRANK", key, r.index(), r.index())
	case 12:
		r.same("ZREMRANGEBYSCORE", key, "("+fmt.Sprint(r.rnd.IntN(9)), fmt.Sprint(r.rnd.IntN(20)))
	case 13:
		m := fmt.Sprint("m", r.rnd.IntN(4))
		r.same("ZREMRANGEBYLEX", "same", "["+m, "["+m+"5")
	case 14:
		r.same(r.pick("ZPOPMIN", "ZPOPMAX"), key, 1+r.rnd.IntN(4)) // by 0 miniredis understands all
	case 15:
		r.same(r.pick("ZPOPMIN", "ZPOPMAX"), key)
	case 16:
		r.rare(key)
	default:
		r.same("ZADD", key, r.score(), fmt.Sprint("n", r.rnd.IntN(200)))
	}
}

func (r *rankTester) there(key string) bool { return r.real.Exists(r.t.Context(), key).Val() == 1 }

// rare changes whole sets.
func (r *rankTester) rare(key string) {
	switch r.rnd.IntN(12) {
	case 0:
		r.same("DEL", key)
	case 1:
		if r.there("y") {
			r.same("RENAME", "y", "z")
		}
	case 2:
		if r.there("same") { // of nothing miniredis makes an empty set
			r.same("ZUNIONSTORE", "z", 2, "y", "same")
		}
	case 3:
		r.same("EXPIRE", key, -1)
	case 4:
		r.same("COPY", "y", "z", "REPLACE")
	case 5:
		r.same("SET", key, "x")
		r.read()
		r.same("DEL", key)
	case 6:
		r.same("EXPIRE", key, 1000)
		r.same("PERSIST", key)
	case 7:
		r.same("FLUSHALL")
		r.same("SET", "str", "x")
	case 8:
		r.same("ZMPOP", 2, "z", "y", "MIN", "COUNT", 2)
	case 9:
		if r.there("z") {
			r.same("ZUNIONSTORE", "y", 2, "y", "z", "AGGREGATE", "MAX")
		}
	case 10:
		r.same("ZADD", key, "1", "a", "x") // a wrong number of arguments
		r.same("ZADD", key, "no number", "a")
	}
}

// Whatever is asked of a sorted set, the order that is kept answers as miniredis and as Redis do.
func TestRankingsAnswerAsRedisDoes(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := newRankTester(t, seed)
			r.same("SET", "str", "x")
			kept := 0
			for range rounds {
				r.write()
				r.read()
				r.read()
				kept += r.embedded.kept()
			}
			if kept < rounds || r.plain.kept() != 0 {
				t.Errorf("%d sets were kept in order in %d rounds, %d in the plain one", kept, rounds, r.plain.kept())
			}
		})
	}
}

// What the journal holds comes to the same, with an order that is kept as without, and after the folder is opened again.
func TestRankingsComeBackWithTheFolder(t *testing.T) {
	r := newRankTester(t, 99)
	for range 800 {
		r.write()
		r.read()
	}
	want := r.plain.digest(t)
	if got := r.embedded.digest(t); got != want {
		t.Fatalf("with an order: %s; without: %s", got, want)
	}
	dir := r.embedded.dir
	r.embedded.end(t)
	r.embedded = startRanked(t, dir, 4)
	if got := r.embedded.digest(t); got != want {
		t.Fatalf("after opening again: %s; before: %s", got, want)
	}
	for range 300 {
		r.read()
		r.write()
	}
}

// A set that has become another than its order knows, in whatever way, is put in order anew instead of answered wrongly.
func TestARankingThatMissedSomethingIsDropped(t *testing.T) {
	e := startRanked(t, t.TempDir(), 4)
	t.Cleanup(func() { e.end(t) })
	for i := range 10 {
		if err := e.c.ZAdd(t.Context(), "z", redis.Z{Score: float64(i), Member: i}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.c.ZCount(t.Context(), "z", "3", "+inf").Val(); n != 7 {
		t.Fatalf("counted %d", n)
	}
	e.mu.Lock()
	if e.ks.ranks.sets["z"] == nil {
		t.Error("nothing is kept in order")
	}
	_, err := e.ks.db.ZRem("z", "5") // past everything
	e.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if n := e.c.ZCount(t.Context(), "z", "3", "+inf").Val(); n != 6 {
		t.Errorf("counted %d", n)
	}
	if err := e.c.ZAdd(t.Context(), "z", redis.Z{Score: math.NaN(), Member: "odd"}).Err(); err != nil {
		t.Fatal(err) // miniredis takes it, Redis doesn't
	}
	if n := e.c.ZCount(t.Context(), "z", "-inf", "+inf").Val(); n < 9 {
		t.Errorf("counted %d", n)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ks.ranks.sets["z"] != nil {
		t.Error("a set without an order is kept in order")
	}
}

// A set that is gone takes its order with it.
func TestNothingIsKeptOfSetsThatAreGone(t *testing.T) {
	e := startRanked(t, t.TempDir(), 4)
	t.Cleanup(func() { e.end(t) })
	gone := map[string]func(key string) error{
		"removed":  func(key string) error { return e.c.ZRem(t.Context(), key, 0, 1, 2, 3, 4, 5).Err() },
		"popped":   func(key string) error { return e.c.ZPopMin(t.Context(), key, 9).Err() },
		"ranged":   func(key string) error { return e.c.ZRemRangeByScore(t.Context(), key, "-inf", "+inf").Err() },
		"ranks":    func(key string) error { return e.c.ZRemRangeByRank(t.Context(), key, 0, -1).Err() },
		"lex":      func(key string) error { return e.c.ZRemRangeByLex(t.Context(), key, "-", "+").Err() },
		"deleted":  func(key string) error { return e.c.Del(t.Context(), key).Err() },
		"renamed":  func(key string) error { return e.c.Rename(t.Context(), key, "other").Err() },
		"replaced": func(key string) error { return e.c.Set(t.Context(), key, "x", 0).Err() },
		"expired":  func(key string) error { return e.c.PExpire(t.Context(), key, time.Millisecond).Err() },
	}
	for key, end := range gone {
		for i := range 6 {
			if err := e.c.ZAdd(t.Context(), key, redis.Z{Member: i}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if n := e.c.ZCount(t.Context(), key, "0", "0").Val(); n != 6 {
			t.Errorf("%s: counted %d", key, n)
		}
		if err := end(key); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "no order is left", func() bool {
		if err := e.c.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return e.kept() == 0
	})
}
