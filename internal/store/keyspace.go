package store

import (
	"bufio"
	"bytes"
	"container/heap"
	"fmt"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// cmdDeadline is a command of the snapshot alone: key and the time it expires at, UTC in nanoseconds since 1970.
const cmdDeadline = "!DEADLINE"

// keyspace is the data: miniredis, and the expiry times, which miniredis doesn't advance by itself. A key that has
// expired is deleted by a DEL that is journaled like any other, so that a replay never depends on a clock.
// It is not safe for concurrent use.
type keyspace struct {
	table     map[string]*spec
	m         *miniredis.Miniredis
	srv       *server.Server
	db        *miniredis.RedisDB
	now       int64            // the time of the command under way, UTC, nanoseconds since 1970
	deadlines map[string]int64 // key -> when it expires
	queue     deadlineQueue    // the same in order, with stale items among them
	writes    int64            // commands that changed something since the keyspace was made
	ranks     *rankings
	before    func(keys []string, all bool)
	discard   *server.Peer // for replays
	sink      *bytes.Buffer
}

func newKeyspace(table map[string]*spec) (*keyspace, error) {
	k := &keyspace{table: table, m: miniredis.NewMiniRedis(), deadlines: map[string]int64{}, sink: &bytes.Buffer{}}
	c, err := k.m.Dial() // the only way to start one that listens nowhere
	if err != nil {
		return nil, fmt.Errorf("start miniredis: %w", err)
	}
	c.Close()
	k.srv, k.db = k.m.Server(), k.m.DB(0)
	k.ranks = newRankings(k)
	k.discard = server.NewPeer(bufio.NewWriterSize(k.sink, 256))
	k.setNow(time.Now().UnixNano())
	return k, nil
}

func (k *keyspace) close() { k.m.Close() }

// setNow freezes the clock for the next command. TIME tells it too, in scripts as outside of them.
func (k *keyspace) setNow(now int64) {
	k.now = now
	k.m.SetTime(time.Unix(0, now).UTC())
}

// run carries out a read or a write and has the reply written to p.
func (k *keyspace) run(p *server.Peer, s *spec, args []string) {
	var keys []string
	if s.keys != nil {
		keys = s.keys(args)
	}
	if s.kind == write && k.before != nil {
		k.before(keys, s.all)
	}
	if s.ttl {
		var round time.Duration
		if args[0] == "TTL" || args[0] == "EXPIRETIME" {
			round = time.Second / 2 // Redis rounds, miniredis cuts off
		}
		k.refresh(keys, round)
	}
	if s.kind != write {
		if !k.ranks.answer(p, args) {
			k.srv.Dispatch(p, args)
		}
		return
	}
	k.ranks.write(p, s, args, keys)
	k.writes++
	if s.all {
		clear(k.deadlines)
		k.queue = nil
		return
	}
	k.settle(keys, s.ttl)
}

// refresh gives miniredis the time that the keys have left, and a little more where asked to.
func (k *keyspace) refresh(keys []string, add time.Duration) {
	for _, key := range keys {
		if d, ok := k.deadlines[key]; ok {
			k.db.SetTTL(key, max(time.Duration(d-k.now)+add, 1))
		}
	}
}

// settle takes over what a command did to the expiry times of its keys. A command that doesn't deal with them can only
// have removed a key, and with it its time; what miniredis holds for other keys is out of date.
func (k *keyspace) settle(keys []string, ttl bool) {
	for _, key := range keys {
		old, had := k.deadlines[key]
		if !had && !ttl {
			continue
		}
		left := k.db.TTL(key)
		switch {
		case left == 0:
			delete(k.deadlines, key)
		case ttl && (!had || old != k.now+int64(left)):
			k.expireAt(key, k.now+int64(left))
		}
	}
}

func (k *keyspace) expireAt(key string, at int64) {
	k.deadlines[key] = at
	if len(k.queue) > 2*len(k.deadlines)+64 { // mostly stale: keys whose time is pushed on again and again
		k.queue = k.queue[:0]
		for key, at := range k.deadlines {
			k.queue = append(k.queue, deadline{at, key})
		}
		heap.Init(&k.queue)
		return
	}
	heap.Push(&k.queue, deadline{at, key})
}

// expired returns a key whose time is over.
func (k *keyspace) expired() (string, bool) {
	for len(k.queue) > 0 && k.queue[0].at <= k.now {
		d := heap.Pop(&k.queue).(deadline)
		if at, ok := k.deadlines[d.key]; ok && at == d.at {
			return d.key, true
		}
	}
	return "", false
}

// replay carries out a record of the journal.
func (k *keyspace) replay(r record) error {
	k.setNow(r.now)
	for _, args := range r.cmds {
		if args[0] == cmdDeadline {
			if len(args) != 3 {
				return errDecode
			}
			at, err := strconv.ParseInt(args[2], 10, 64)
			if err != nil {
				return errDecode
			}
			k.db.SetTTL(args[1], max(time.Duration(at-k.now), 1))
			k.expireAt(args[1], at)
			continue
		}
		s, ok := k.table[args[0]]
		if !ok || s.kind != write {
			return fmt.Errorf("%w: command %q is unknown to this version", errDecode, clip(args[0]))
		}
		k.run(k.discard, s, args)
		k.discard.Flush()
		k.sink.Reset()
	}
	return nil
}

// dump appends the commands that make the key anew.
func (k *keyspace) dump(b []byte, key string) ([]byte, error) {
	var cmds [][]string
	switch typ := k.db.Type(key); typ {
	case "":
		return b, nil
	case "string":
		v, err := k.db.Get(key)
		if err != nil {
			return b, err
		}
		cmds = append(cmds, []string{"SET", key, v})
	case "hash":
		fields, err := k.db.HKeys(key)
		if err != nil {
			return b, err
		}
		values := make([]string, 0, 2*len(fields))
		for _, f := range fields {
			values = append(values, f, k.db.HGet(key, f))
		}
		cmds = chunks("HSET", key, values)
	case "list":
		values, err := k.db.List(key)
		if err != nil {
			return b, err
		}
		cmds = chunks("RPUSH", key, values)
	case "set":
		values, err := k.db.Members(key)
		if err != nil {
			return b, err
		}
		cmds = chunks("SADD", key, values)
	case "zset":
		scores, err := k.db.SortedSet(key)
		if err != nil {
			return b, err
		}
		values := make([]string, 0, 2*len(scores))
		for member, score := range scores {
			values = append(values, strconv.FormatFloat(score, 'g', -1, 64), member)
		}
		cmds = chunks("ZADD", key, values)
	default:
		return b, fmt.Errorf("key %q is of type %s, which can't be written down", clip(key), typ)
	}
	if at, ok := k.deadlines[key]; ok {
		cmds = append(cmds, []string{cmdDeadline, key, strconv.FormatInt(at, 10)})
	}
	return appendFrame(b, record{now: k.now, cmds: cmds}), nil
}

// chunks splits values over commands of an even number of them.
func chunks(cmd, key string, values []string) [][]string {
	const most = 512
	var out [][]string
	for len(values) > 0 {
		n := min(most, len(values))
		out = append(out, append([]string{cmd, key}, values[:n]...))
		values = values[n:]
	}
	return out
}

type deadline struct {
	at  int64
	key string
}

// deadlineQueue is a heap of deadlines, the earliest first.
type deadlineQueue []deadline

func (q deadlineQueue) Len() int           { return len(q) }
func (q deadlineQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q deadlineQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *deadlineQueue) Push(x any)        { *q = append(*q, x.(deadline)) }
func (q *deadlineQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = deadline{}
	*q = old[:len(old)-1]
	return last
}
