package store

import (
	"bytes"
	"strconv"
	"strings"
)

// kind says how the engine treats a command.
type kind int

const (
	read    kind = iota + 1 // changes nothing
	write                   // changes keys: journaled
	control                 // handled by the engine itself
)

// spec describes a command that the embedded store knows. Whatever is in no table is refused: a write that this file
// doesn't know would go past the journal.
type spec struct {
	kind kind
	keys func(args []string) []string // of a write: the keys that it may change; args begin with the command's name
	all  bool                         // changes every key
	ttl  bool                         // reads or sets expiry times
	noop func(reply []byte) bool      // of a write: whether the reply says that nothing was changed
}

// untold is for commands whose reply doesn't tell whether anything was changed.
func untold([]byte) bool { return false }

func zero(reply []byte) bool { return bytes.Equal(reply, []byte(":0\r\n")) }

func null(reply []byte) bool {
	return bytes.HasPrefix(reply, []byte("$-1\r\n")) || bytes.HasPrefix(reply, []byte("_\r\n")) ||
		bytes.HasPrefix(reply, []byte("*-1\r\n"))
}

func empty(reply []byte) bool { return null(reply) || bytes.Equal(reply, []byte("*0\r\n")) }

func first(args []string) []string { return args[1:min(2, len(args))] }

func both(args []string) []string { return args[1:min(3, len(args))] }

func second(args []string) []string { return args[min(2, len(args)):min(3, len(args))] }

func every(args []string) []string { return args[1:] }

func none([]string) []string { return nil }

// pairs returns the keys of MSET.
func pairs(args []string) []string {
	var keys []string
	for i := 1; i < len(args); i += 2 {
		keys = append(keys, args[i])
	}
	return keys
}

// numbered returns the keys of LMPOP and ZMPOP, which follow their number.
func numbered(args []string) []string {
	if len(args) < 2 {
		return nil
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 0 {
		return nil
	}
	return args[2:min(2+n, len(args))]
}

// commandTable returns every command that the store carries out.
func commandTable() map[string]*spec {
	t := map[string]*spec{}
	add := func(names string, s spec) {
		for _, n := range strings.Fields(names) {
			t[n] = &s
		}
	}
	add(`BITCOUNT BITPOS DBSIZE EXISTS GET GETBIT GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN
		HSTRLEN HVALS KEYS LINDEX LLEN LPOS LRANGE MGET RANDOMKEY SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER
		SMEMBERS SMISMEMBER SRANDMEMBER SSCAN STRLEN SUNION TOUCH TYPE ZCARD ZCOUNT ZINTER ZLEXCOUNT ZMSCORE
		ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN
		ZSCORE ZUNION MEMORY TIME ECHO PING`, spec{kind: read})
	add("EXPIRETIME PEXPIRETIME PTTL TTL", spec{kind: read, ttl: true, keys: first})

	add(`APPEND DECR DECRBY GETSET HINCRBY HINCRBYFLOAT HMSET HSET INCR INCRBY INCRBYFLOAT LSET LTRIM
		RPUSH LPUSH SETBIT SETRANGE ZADD ZINCRBY SDIFFSTORE SINTERSTORE SUNIONSTORE ZINTERSTORE ZUNIONSTORE`,
		spec{kind: write, keys: first, noop: untold})
	add(`HDEL HSETNX LINSERT LPUSHX LREM RPUSHX SADD SETNX SREM ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE`,
		spec{kind: write, keys: first, noop: zero})
	add("LPOP RPOP ZPOPMAX ZPOPMIN GETDEL", spec{kind: write, keys: first, noop: empty})
	add("EXPIRE EXPIREAT PEXPIRE PEXPIREAT PERSIST", spec{kind: write, keys: first, ttl: true, noop: zero})
	add("SET SETEX PSETEX", spec{kind: write, keys: first, ttl: true, noop: untold})
	add("GETEX", spec{kind: write, keys: first, ttl: true, noop: null})
	add("COPY RENAMENX", spec{kind: write, keys: both, ttl: true, noop: zero})
	add("RENAME", spec{kind: write, keys: both, ttl: true, noop: untold})
	add("RPOPLPUSH LMOVE", spec{kind: write, keys: both, noop: null})
	add("SMOVE", spec{kind: write, keys: both, noop: zero})
	add("DEL UNLINK", spec{kind: write, keys: every, noop: zero})
	add("MSET", spec{kind: write, keys: pairs, noop: untold})
	add("MSETNX", spec{kind: write, keys: pairs, noop: zero})
	add("LMPOP ZMPOP", spec{kind: write, keys: numbered, noop: null})
	add("BITOP", spec{kind: write, keys: second, noop: untold})
	add("FLUSHALL FLUSHDB", spec{kind: write, keys: none, all: true, noop: untold})

	add(`AUTH CLIENT COMMAND CONFIG EVAL EVALSHA EVALSHA_RO EVAL_RO HELLO INFO PSUBSCRIBE PUBLISH PUBSUB PUNSUBSCRIBE
		QUIT SCRIPT SELECT SUBSCRIBE UNSUBSCRIBE`, spec{kind: control})
	return t
}

// refusal returns the error for a command that isn't carried out, "" for one that is.
func refusal(t map[string]*spec, cmd string, args []string) string {
	switch cmd {
	case "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH":
		return "ERR the embedded store has no transactions: use a script"
	case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "XREAD", "XREADGROUP", "WAIT":
		return "ERR the embedded store has no commands that wait: " + cmd
	}
	if _, ok := t[cmd]; !ok {
		return "ERR the embedded store doesn't know the command '" + clip(cmd) + "'"
	}
	if cmd == "COPY" {
		for _, a := range args[min(3, len(args)):] {
			if strings.EqualFold(a, "DB") {
				return "ERR the embedded store has database 0 only"
			}
		}
	}
	return ""
}

// clip keeps a foreign text short and on one line enough to stand in a message.
func clip(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
