package store

import (
	"bufio"
	"bytes"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/tidwall/btree"
)

// rankedFrom is how many members a sorted set has that is kept in order: a smaller one is sorted in no time.
const rankedFrom = 64

// ranked is a member of a sorted set.
type ranked struct {
	score  float64
	member string
}

// before is the order of Redis: by score, then by the bytes of the member.
func (a ranked) before(b ranked) bool {
	if a.score != b.score {
		return a.score < b.score
	}
	return a.member < b.member
}

// rankings keeps the large sorted sets in order. miniredis has them as maps, and sorts the whole of one for each question
// by range or rank. So a set is put in order when the first such question about it comes, and from then on each command that
// changes it tells of the members that it is about. What miniredis holds is what counts: whatever isn't understood here is
// left to it, and a set that more than its members happens to is put in order anew when it is next asked for.
// It is not safe for concurrent use.
type rankings struct {
	ks    *keyspace
	least int // members of a set that is kept in order
	sets  map[string]*btree.BTreeG[ranked]
	peer  *server.Peer // for questions of its own
	out   *bytes.Buffer
}

func newRankings(k *keyspace) *rankings {
	r := &rankings{ks: k, least: rankedFrom, sets: map[string]*btree.BTreeG[ranked]{}, out: &bytes.Buffer{}}
	r.peer = server.NewPeer(bufio.NewWriterSize(r.out, 256))
	return r
}

// ask returns the reply to a command that changes nothing; it is good until the next call.
func (r *rankings) ask(args ...string) []byte {
	r.out.Reset()
	r.ks.srv.Dispatch(r.peer, args)
	r.peer.Flush()
	return r.out.Bytes()
}

// of returns the members of a set in order, nil for a small one and for what is no sorted set.
func (r *rankings) of(key string) *btree.BTreeG[ranked] {
	n, err := strconv.Atoi(strings.Trim(string(r.ask("ZCARD", key)), ":\r\n"))
	t := r.sets[key]
	if t != nil && t.Len() == n {
		return t
	}
	delete(r.sets, key)
	if err != nil || n < r.least {
		return nil
	}
	scores, err := r.ks.db.SortedSet(key)
	if err != nil {
		return nil
	}
	all := make([]ranked, 0, len(scores))
	for member, score := range scores {
		if math.IsNaN(score) { // Redis has none; there is no order with it
			return nil
		}
		all = append(all, ranked{score, member})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].before(all[j]) })
	t = btree.NewBTreeGOptions(ranked.before, btree.Options{NoLocks: true})
	for _, m := range all {
		t.Load(m)
	}
	r.sets[key] = t
	return t
}

// score returns the score of a member, false where there is no such member.
func (r *rankings) score(key, member string) (float64, bool) {
	score, err := r.ks.db.ZScore(key, member)
	if err != nil {
		return 0, false
	}
	return score, score != 0 || !bytes.HasPrefix(r.ask("ZSCORE", key, member), []byte("$-1"))
}

// write carries out a command that may change keys.
func (r *rankings) write(p *server.Peer, s *spec, args, keys []string) {
	if r.remove(p, args) {
		return
	}
	if s.all {
		clear(r.sets)
	}
	var members []string
	var t *btree.BTreeG[ranked]
	for _, key := range keys {
		if t = r.sets[key]; t == nil {
			continue
		}
		if members = membersIn(args); members == nil {
			delete(r.sets, key)
		}
	}
	if members == nil {
		r.ks.srv.Dispatch(p, args)
		return
	}
	key := keys[0] // the only one of these commands
	had := make([]float64, len(members))
	for i, m := range members {
		had[i], _ = r.ks.db.ZScore(key, m) // 0 where it wasn't there: then there is nothing to delete
	}
	r.ks.srv.Dispatch(p, args)
	for i, m := range members {
		score, there := r.score(key, m)
		if there && math.Float64bits(score) == math.Float64bits(had[i]) && score != 0 {
			continue
		}
		t.Delete(ranked{had[i], m})
		if math.IsNaN(score) {
			delete(r.sets, key)
			return
		}
		if there {
			t.Set(ranked{score, m})
		}
	}
	if t.Len() == 0 {
		delete(r.sets, key)
	}
}

// membersIn returns the members that a command is about, at least those; nil for a command that isn't known here.
func membersIn(args []string) []string {
	switch args[0] {
	case "ZREM":
		return args[min(2, len(args)):]
	case "ZINCRBY":
		return args[min(3, len(args)):]
	case "ZADD":
		rest := args[min(2, len(args)):]
		for len(rest) > 0 && slices.Contains([]string{"NX", "XX", "GT", "LT", "CH", "INCR"}, strings.ToUpper(rest[0])) {
			rest = rest[1:]
		}
		members := []string{}
		for i := 1; i < len(rest); i += 2 {
			members = append(members, rest[i])
		}
		return members
	}
	return nil
}
