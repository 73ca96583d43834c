package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// step is a command and the reply that both kinds of store give.
type step struct {
	args []any
	want string
}

func do(want string, args ...any) step { return step{args, want} }

// shown writes a reply down: errors by their code, the members of sets in order.
func shown(args []any, v any, err error) string {
	if errors.Is(err, redis.Nil) {
		return "nil"
	}
	if err != nil {
		code, _, _ := strings.Cut(err.Error(), " ")
		return "-" + code
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	var out []string
	for _, e := range list {
		if e == nil {
			out = append(out, "nil")
			continue
		}
		out = append(out, fmt.Sprint(e))
	}
	switch args[0] {
	case "SMEMBERS", "HKEYS", "HVALS", "KEYS", "SUNION", "SINTER", "SDIFF":
		slices.Sort(out)
	}
	return "[" + strings.Join(out, " ") + "]"
}

func TestContract(t *testing.T) {
	bin := "\x00\x01\xff\xfe\r\n$5\r\nhello\r\n"
	cases := map[string][]step{
		"strings": {
			do("OK", "SET", "k", "v"), do("v", "GET", "k"), do("nil", "GET", "none"), do("nil", "SET", "k", "w", "NX"),
			do("OK", "SET", "k", "w", "XX"), do("w", "GETSET", "k", "x"), do("2", "APPEND", "k", "y"), do("xy", "GET", "k"),
			do("y", "GETRANGE", "k", 1, 1), do("xy", "GETRANGE", "k", 0, -1), do("2", "STRLEN", "k"), do("1", "INCR", "n"),
			do("6", "INCRBY", "n", 5), do("5", "DECR", "n"), do("-ERR", "INCR", "k"), do("1", "DEL", "k", "none"),
			do("1", "UNLINK", "n"), do("1", "SETNX", "k", 1), do("0", "SETNX", "k", 2), do("OK", "MSET", "a", 1, "b", 2),
			do("[1 nil 2]", "MGET", "a", "none", "b"), do("2", "EXISTS", "a", "b", "c"), do("1", "GETDEL", "a"),
			do("nil", "GETDEL", "a"), do("string", "TYPE", "b"), do("none", "TYPE", "a"),
		},
		"binary": {
			do("OK", "SET", bin, bin), do(bin, "GET", bin), do("1", "HSET", "h", bin, bin), do(bin, "HGET", "h", bin),
			do("1", "SADD", "s", bin), do("1", "SISMEMBER", "s", bin), do("1", "ZADD", "z", 1, bin),
			do("["+bin+"]", "ZRANGE", "z", 0, -1), do("\xff\xfe", "GETRANGE", bin, 2, 3),
			do(bin, "EVAL", "return redis.call('HGET', KEYS[1], ARGV[1])", 1, "h", bin),
			do("1", "EVAL", "redis.call('SET', KEYS[1], ARGV[1] .. '\\0') return 1", 1, "t", bin), do(bin+"\x00", "GET", "t"),
		},
		"hashes": {
			do("2", "HSET", "h", "a", 1, "b", 2), do("0", "HSET", "h", "a", 3), do("3", "HGET", "h", "a"),
			do("map[a:3 b:2]", "HGETALL", "h"), do("7", "HINCRBY", "h", "b", 5), do("[3 nil 7]", "HMGET", "h", "a", "x", "b"),
			do("2", "HLEN", "h"), do("[a b]", "HKEYS", "h"), do("[3 7]", "HVALS", "h"), do("0", "HSETNX", "h", "a", 9),
			do("1", "HSETNX", "h", "c", 9), do("1", "HEXISTS", "h", "c"), do("2", "HDEL", "h", "a", "c", "x"),
			do("-WRONGTYPE", "GET", "h"), do("-ERR", "HINCRBY", "h", "b", "x"), do("1", "HDEL", "h", "b"), do("0", "EXISTS", "h"),
			do("0.5", "HINCRBYFLOAT", "h", "f", "0.5"), do("OK", "HMSET", "h", "q", 1), do("1", "HSTRLEN", "h", "q"),
		},
		"sets": {
			do("3", "SADD", "s", "a", "b", "c"), do("0", "SADD", "s", "a"), do("3", "SCARD", "s"), do("[a b c]", "SMEMBERS", "s"),
			do("1", "SREM", "s", "b", "x"), do("0", "SISMEMBER", "s", "b"), do("1", "SADD", "r", "a"), do("[a c]", "SUNION", "s", "r"),
			do("[a]", "SINTER", "s", "r"), do("[c]", "SDIFF", "s", "r"), do("2", "SUNIONSTORE", "u", "s", "r"), do("2", "SCARD", "u"),
			do("1", "SMOVE", "s", "u", "c"), do("0", "SMOVE", "s", "u", "x"),
		},
		"sorted sets": {
			do("3", "ZADD", "z", 1, "a", 2, "b", 3, "c"), do("0", "ZADD", "z", 1.5, "a"), do("1.5", "ZSCORE", "z", "a"),
			do("nil", "ZSCORE", "z", "x"), do("[a b c]", "ZRANGE", "z", 0, -1), do("[b c]", "ZRANGE", "z", 2, 3, "BYSCORE"),
			do("[b]", "ZRANGE", "z", "(1.5", "+inf", "BYSCORE", "LIMIT", 0, 1), do("[c b]", "ZREVRANGE", "z", 0, 1),
			do("[a b]", "ZRANGEBYSCORE", "z", "-inf", 2), do("[a]", "ZRANGEBYSCORE", "z", "-inf", 2, "LIMIT", 0, 1),
			do("2", "ZCOUNT", "z", 2, "+inf"), do("1", "ZRANK", "z", "b"), do("3", "ZCARD", "z"), do("4.5", "ZINCRBY", "z", 3, "a"),
			do("0", "ZADD", "z", "XX", 9, "x"), do("0", "ZADD", "z", "GT", 1, "a"), do("4.5", "ZSCORE", "z", "a"),
			do("1", "ZREM", "z", "b", "x"), do("1", "ZREMRANGEBYSCORE", "z", "-inf", 3), do("[a 4.5]", "ZPOPMIN", "z"),
			do("[]", "ZPOPMIN", "z"), do("0", "EXISTS", "z"), do("2", "ZADD", "z", 0, "a", 0, "b"), do("[b]", "ZRANGEBYLEX", "z", "(a", "+"),
			do("1", "ZREMRANGEBYRANK", "z", 0, 0), do("[b]", "ZRANGE", "z", 0, -1),
		},
		"lists": {
			do("2", "RPUSH", "l", "a", "b"), do("3", "LPUSH", "l", "z"), do("[z a b]", "LRANGE", "l", 0, -1), do("b", "RPOPLPUSH", "l", "m"),
			do("nil", "RPOPLPUSH", "none", "m"), do("1", "LREM", "l", 1, "a"), do("1", "LLEN", "l"), do("z", "LPOP", "l"),
			do("nil", "LPOP", "l"), do("b", "RPOP", "m"), do("0", "EXISTS", "l", "m"), do("3", "RPUSH", "l", 1, 2, 3),
			do("OK", "LTRIM", "l", 1, -1), do("2", "LINDEX", "l", 0), do("OK", "LSET", "l", 0, "x"), do("x", "LMOVE", "l", "m", "LEFT", "RIGHT"),
			do("0", "LPUSHX", "none", 1),
		},
		"expiry": {
			do("OK", "SET", "k", "v", "EX", 100), do("100", "TTL", "k"), do("1", "PERSIST", "k"), do("-1", "TTL", "k"),
			do("1", "PEXPIRE", "k", 100000), do("100", "TTL", "k"), do("0", "EXPIRE", "k", 50, "NX"), do("0", "EXPIRE", "k", 50, "GT"),
			do("1", "EXPIRE", "k", 50, "LT"), do("50", "TTL", "k"), do("OK", "SET", "k", "v"), do("-1", "TTL", "k"), do("-2", "TTL", "none"),
			do("OK", "SETEX", "k", 100, "v"), do("OK", "RENAME", "k", "m"), do("100", "TTL", "m"), do("1", "COPY", "m", "c"), do("100", "TTL", "c"),
			do("0", "EXPIRE", "none", 1), do("1", "EXPIRE", "c", -1), do("0", "EXISTS", "c"), do("OK", "SET", "m", 1, "KEEPTTL"), do("100", "TTL", "m"),
			do("1", "DEL", "m"), do("1", "SADD", "m", 1), do("-1", "TTL", "m"),
		},
		"scripts": {
			do("[1 2 a nil OK]", "EVAL", "return {1, 2.9, 'a', false, redis.status_reply('OK')}", 0),
			do("nil", "EVAL", "return nil", 0), do("1", "EVAL", "return true", 0), do("nil", "EVAL", "return false", 0),
			do("[k a]", "EVAL", "return {KEYS[1], ARGV[1]}", 1, "k", "a"), do("-QUOTA", "EVAL", "return redis.error_reply('QUOTA is full')", 0),
			do("-ERR", "EVAL", "return redis.error_reply('plain')", 0), do("-ERR", "EVAL", "error('no')", 0), do("-ERR", "EVAL", "x = 1", 0),
			do("-ERR", "EVAL", "return nothing", 0), do("-ERR", "EVAL", "syntax error here", 0),
			do("OK", "EVAL", "return redis.call('SET', KEYS[1], 12)", 1, "n"), do("13", "EVAL", "return redis.call('INCRBY', KEYS[1], 1)", 1, "n"),
			do("-WRONGTYPE", "EVAL", "return redis.call('HGET', KEYS[1], 'x')", 1, "n"),
			do("WRONG", "EVAL", "local r = redis.pcall('HGET', KEYS[1], 'x') return string.sub(r.err, 1, 5)", 1, "n"),
			do("nope", "EVAL", "if redis.call('GET', 'none') == false then return 'nope' end", 0),
			do("-ERR", "EVAL", "redis.call('SET', KEYS[1], 'kept') error('x')", 1, "kept"), do("kept", "GET", "kept"),
			do("-NOSCRIPT", "EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", 0),
			do("e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "SCRIPT", "LOAD", "return 1"),
			do("1", "EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0), do("[1 0]", "SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "aa"),
			do(`{"a":[1,2]}`, "EVAL", "return cjson.encode(cjson.decode(ARGV[1]))", 0, `{"a":[1,2]}`),
			do("[3 2 1]", "EVAL", "local t = {1,2,3} table.sort(t, function(a, b) return a > b end) return t", 0),
			do("[0 b 1 a]", "EVAL", "redis.call('ZADD', KEYS[1], 1, 'a', 0, 'b') local r = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') return {r[2], r[1], r[4], r[3]}", 1, "zz"),
			do("-ERR", "EVAL_RO", "return redis.call('SET', KEYS[1], 1)", 1, "n"), do("13", "EVAL_RO", "return redis.call('GET', KEYS[1])", 1, "n"),
			do("3", "EVAL", "return #redis.call('MGET', 'n', 'none', 'none')", 0), do("-ERR", "EVAL", "return 1", 2, "onlyone"),
		},
		"scans": {
			do("OK", "MSET", "a1", 1, "a2", 2, "b1", 3), do("[a1 a2]", "KEYS", "a*"), do("3", "DBSIZE"), do("[0 [b1]]", "SCAN", 0, "MATCH", "b*", "COUNT", 100),
			do("1", "HSET", "h", "f", "v"), do("[0 [f v]]", "HSCAN", "h", 0), do("OK", "FLUSHDB"), do("0", "DBSIZE"),
		},
		"settings": {
			do("map[maxmemory-policy:noeviction]", "CONFIG", "GET", "maxmemory-policy"), do("PONG", "PING"), do("x", "ECHO", "x"), do("OK", "SELECT", 0),
			do("-ERR", "NOSUCHCOMMAND"), do("-ERR", "GET"), do("-ERR", "SET", "k"),
		},
	}
	backends(t, func(t *testing.T, s *Store) {
		for name, steps := range cases {
			t.Run(name, func(t *testing.T) {
				if err := s.Client().FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				for i, st := range steps {
					v, err := s.Client().Do(t.Context(), st.args...).Result()
					if got := shown(st.args, v, err); got != st.want {
						t.Errorf("step %d: %q\n got %q (%v)\nwant %q", i, st.args, got, err, st.want)
					}
				}
			})
		}
	})
}

func TestClock(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		before := time.Now().Add(-time.Second)
		outside, err := s.Client().Time(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		inside, err := s.Client().Eval(t.Context(), "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)", nil).Int64()
		if err != nil {
			t.Fatal(err)
		}
		after := time.Now().Add(time.Second)
		for what, at := range map[string]time.Time{"TIME": outside, "TIME in a script": time.UnixMilli(inside)} {
			if at.Before(before) || at.After(after) {
				t.Errorf("%s says %v, between %v and %v", what, at, before, after)
			}
		}
	})
}

func TestKeysExpireByTheClock(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		c := s.Client()
		const life = 300 * time.Millisecond
		begun := time.Now()
		p := c.Pipeline() // one right after the other: the answer to the first may wait for the disk for longer than the key lives
		p.Set(t.Context(), "lease", "mine", life)
		taken := p.SetNX(t.Context(), "lease", "yours", time.Hour)
		if _, err := p.Exec(t.Context()); err != nil || taken.Val() {
			t.Fatalf("SETNX beside a key that lives: %v, %v", taken.Val(), err)
		}
		eventually(t, "the key has expired", func() bool { return c.Exists(t.Context(), "lease").Val() == 0 })
		if d := time.Since(begun); d < life {
			t.Errorf("expired after %v already", d)
		}
		if ok, err := c.SetNX(t.Context(), "lease", "yours", time.Hour).Result(); err != nil || !ok {
			t.Errorf("SETNX after the expiry: %v, %v", ok, err)
		}
	})
}

func TestPipelineLargerThanAnyBuffer(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		const n = 3000
		value := strings.Repeat("x", 2000)
		p := s.Client().Pipeline()
		for i := range n { // a client that sends it all before it reads the first reply
			p.Set(t.Context(), fmt.Sprint("k", i), value, 0)
			p.Get(t.Context(), fmt.Sprint("k", i))
		}
		cmds, err := p.Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(cmds); i += 2 {
			if cmds[i].(*redis.StringCmd).Val() != value {
				t.Fatalf("reply %d is not its command's", i)
			}
		}
	})
}

func TestPubSub(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		c := s.Client()
		sub := c.Subscribe(t.Context(), "a", "b")
		defer sub.Close()
		pat := c.PSubscribe(t.Context(), "*/x[12]")
		defer pat.Close()
		for _, p := range []*redis.PubSub{sub, sub, pat} {
			if _, err := p.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.Publish(t.Context(), "a", "one").Val(); n != 1 {
			t.Errorf("PUBLISH reached %d", n)
		}
		if n, err := c.Eval(t.Context(), "return redis.call('PUBLISH', 'q/x1', ARGV[1])", nil, "\x00two").Int(); err != nil || n != 1 {
			t.Errorf("PUBLISH in a script reached %d, %v", n, err)
		}
		for _, w := range []struct {
			p              *redis.PubSub
			channel, value string
		}{{sub, "a", "one"}, {pat, "q/x1", "\x00two"}} {
			m, err := w.p.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.Channel != w.channel || m.Payload != w.value {
				t.Errorf("got %v", m)
			}
		}
		if err := sub.Unsubscribe(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := c.Publish(t.Context(), "a", "none").Val(); n != 0 {
			t.Errorf("PUBLISH after UNSUBSCRIBE reached %d", n)
		}
	})
}

func TestRefusedCommands(t *testing.T) {
	s := openDir(t, t.TempDir())
	for _, cmd := range []string{"MULTI", "EXEC", "WATCH k", "BLPOP k 1", "BRPOPLPUSH a b 1", "BZPOPMIN k 1", "XREAD STREAMS s 0",
		"XADD s * a b", "SPOP s", "SELECT 1", "MOVE k 1", "SWAPDB 0 1", "COPY a b DB 1", "GEOADD g 1 1 x", "PFADD p x",
		"HEXPIRE h 1 FIELDS 1 f", "SHUTDOWN", "DEBUG SLEEP 1", "RESTORE k 0 x", "AUTH x", "CONFIG SET appendonly no", "SORT l"} {
		var args []any
		for _, f := range strings.Fields(cmd) {
			args = append(args, f)
		}
		if err := s.Client().Do(t.Context(), args...).Err(); err == nil || !strings.HasPrefix(err.Error(), "ERR ") {
			t.Errorf("%s: got %v", cmd, err)
		}
		script := "return redis.call(unpack(ARGV))"
		if err := s.Client().Eval(t.Context(), script, nil, args...).Err(); err == nil {
			t.Errorf("%s in a script is not refused", cmd)
		}
	}
	if n := s.Client().DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys were made", n)
	}
}
