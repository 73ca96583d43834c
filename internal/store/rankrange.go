package store

import (
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/tidwall/btree"
)

// span is the part of a set that a command asks for: from one place up to another, counted in ascending order.
type span struct{ from, to int }

// rangeQuery is a question by range as it was asked.
type rangeQuery struct {
	by            byte // 'r' rank, 's' score, 'l' member
	low, high     string
	reverse       bool
	scores        bool
	offset, count int // count < 0 is all
}

// answer answers a question by range or rank, and returns false where it leaves that to miniredis: small sets, and what is
// unusual or wrong in any way.
func (r *rankings) answer(p *server.Peer, args []string) bool {
	if len(args) < 3 || len(args[0]) < 5 || args[0][0] != 'Z' {
		return false
	}
	switch args[0] {
	case "ZCOUNT", "ZLEXCOUNT":
		q := rangeQuery{by: 's', count: -1}
		if args[0] == "ZLEXCOUNT" {
			q.by = 'l'
		}
		if len(args) != 4 {
			return false
		}
		q.low, q.high = args[2], args[3]
		t := r.of(args[1])
		at, ok := q.find(t)
		if ok {
			p.WriteInt(at.to - at.from)
		}
		return ok
	case "ZRANK", "ZREVRANK":
		return len(args) == 3 && r.rank(p, args[1], args[2], args[0] == "ZREVRANK")
	}
	q, ok := rangeOf(args)
	if !ok {
		return false
	}
	t := r.of(args[1])
	at, ok := q.find(t)
	if ok {
		q.write(p, t, at)
	}
	return ok
}

// rank answers ZRANK and ZREVRANK.
func (r *rankings) rank(p *server.Peer, key, member string, reverse bool) bool {
	t := r.of(key)
	if t == nil {
		return false
	}
	score, there := r.score(key, member)
	if !there {
		p.WriteNull()
		return true
	}
	at := firstAt(t, func(m ranked) bool { return !m.before(ranked{score, member}) })
	if reverse {
		at = t.Len() - 1 - at
	}
	p.WriteInt(at)
	return true
}

// rangeOf reads a command that asks for a range, false for any other and one that is malformed.
func rangeOf(args []string) (rangeQuery, bool) {
	q := rangeQuery{count: -1}
	switch args[0] {
	case "ZRANGE", "ZREVRANGE":
		q.by = 'r'
	case "ZRANGEBYSCORE", "ZREVRANGEBYSCORE":
		q.by = 's'
	case "ZRANGEBYLEX", "ZREVRANGEBYLEX":
		q.by = 'l'
	default:
		return q, false
	}
	if len(args) < 4 {
		return q, false
	}
	q.reverse = strings.HasPrefix(args[0], "ZREV")
	q.low, q.high = args[2], args[3]
	limit := false
	for i := 4; i < len(args); i++ {
		switch opt := strings.ToUpper(args[i]); {
		case opt == "WITHSCORES" && q.by != 'l':
			q.scores = true
		case opt == "LIMIT" && i+2 < len(args):
			var err1, err2 error
			q.offset, err1 = strconv.Atoi(args[i+1])
			q.count, err2 = strconv.Atoi(args[i+2])
			if err1 != nil || err2 != nil || q.offset < 0 {
				return q, false
			}
			limit, i = true, i+2
		case opt == "REV" && args[0] == "ZRANGE":
			q.reverse = true
		case opt == "BYSCORE" && args[0] == "ZRANGE" && q.by == 'r':
			q.by = 's'
		case opt == "BYLEX" && args[0] == "ZRANGE" && q.by == 'r' && !q.scores:
			q.by = 'l'
		default:
			return q, false
		}
	}
	if q.reverse && q.by != 'r' {
		q.low, q.high = q.high, q.low
	}
	return q, q.by != 'r' || !limit
}

// find returns where in the set the range is.
func (q rangeQuery) find(t *btree.BTreeG[ranked]) (span, bool) {
	if t == nil {
		return span{}, false
	}
	var at span
	var ok bool
	switch q.by {
	case 'r':
		at, ok = byRank(t.Len(), q.low, q.high, q.reverse)
	case 's':
		at, ok = byScore(t, q.low, q.high)
	case 'l':
		at, ok = byMember(t, q.low, q.high)
	}
	at.to = max(at.from, at.to)
	return at, ok
}

// firstAt returns the place of the first member for which f holds, as it does for all after it.
func firstAt(t *btree.BTreeG[ranked], f func(ranked) bool) int {
	return sort.Search(t.Len(), func(i int) bool {
		m, _ := t.GetAt(i)
		return f(m)
	})
}

func byRank(n int, low, high string, reverse bool) (span, bool) {
	from, err1 := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil || from < math.MinInt32 || from > math.MaxInt32 || to < math.MinInt32 || to > math.MaxInt32 {
		return span{}, false
	}
	if from < 0 {
		from = max(0, n+from)
	}
	if to < 0 {
		to += n
	}
	at := span{min(from, n), min(to+1, n)}
	if at.to <= at.from {
		return span{}, true
	}
	if reverse {
		at = span{n - at.to, n - at.from}
	}
	return at, true
}

func byScore(t *btree.BTreeG[ranked], low, high string) (span, bool) {
	from, above, ok1 := scoreBound(low)
	to, below, ok2 := scoreBound(high)
	if !ok1 || !ok2 {
		return span{}, false
	}
	return span{
		firstAt(t, func(m ranked) bool { return m.score > from || m.score == from && !above }),
		firstAt(t, func(m ranked) bool { return m.score > to || m.score == to && below }),
	}, true
}

// scoreBound reads an end of a range of scores, and tells whether the end itself is left out.
func scoreBound(text string) (v float64, open, ok bool) {
	text, open = strings.CutPrefix(text, "(")
	v, err := strconv.ParseFloat(text, 64)
	return v, open, err == nil && !math.IsNaN(v) && !(open && math.IsInf(v, 0))
}

// byMember is for sets whose scores are all the same: there is no such order in others.
func byMember(t *btree.BTreeG[ranked], low, high string) (span, bool) {
	first, _ := t.Min()
	last, _ := t.Max()
	from, ok1 := memberBound(t, low, 0)
	to, ok2 := memberBound(t, high, 1)
	return span{from, to}, ok1 && ok2 && first.score == last.score
}

// memberBound returns where an end of a range of members is. At the lower end (0) "[" begins with the member itself, at the
// upper one (1) it ends behind it.
func memberBound(t *btree.BTreeG[ranked], text string, end int) (int, bool) {
	switch {
	case text == "-":
		return 0, true
	case text == "+":
		return t.Len(), true
	case text == "" || text[0] != '[' && text[0] != '(':
		return 0, false
	}
	behind := (text[0] == '[') == (end == 1)
	return firstAt(t, func(m ranked) bool { return m.member > text[1:] || m.member == text[1:] && !behind }), true
}

// write writes the part of the set that the limit leaves.
func (q rangeQuery) write(p *server.Peer, t *btree.BTreeG[ranked], at span) {
	n := max(0, at.to-at.from-q.offset)
	if q.count >= 0 {
		n = min(n, q.count)
	}
	first := at.from + q.offset
	if q.reverse {
		first = at.to - 1 - q.offset
	}
	p.Block(func(w *server.Writer) {
		if q.scores {
			w.WriteLen(2 * n)
		} else {
			w.WriteLen(n)
		}
		walk(t, first, n, q.reverse, func(m ranked) {
			w.WriteBulk(m.member)
			if q.scores {
				w.WriteFloat(m.score)
			}
		})
	})
}

// walk calls f for n members from a place on, upwards or downwards.
func walk(t *btree.BTreeG[ranked], first, n int, down bool, f func(ranked)) {
	if n <= 0 {
		return
	}
	from, _ := t.GetAt(first)
	step := func(m ranked) bool {
		f(m)
		n--
		return n > 0
	}
	if down {
		t.Descend(from, step)
	} else {
		t.Ascend(from, step)
	}
}

// remove carries out a command that removes a range, or takes from an end, and returns false where it leaves that to
// miniredis, as answer does.
func (r *rankings) remove(p *server.Peer, args []string) bool {
	var q rangeQuery
	switch args[0] {
	case "ZPOPMIN", "ZPOPMAX":
		return len(args) <= 3 && r.pop(p, args)
	case "ZREMRANGEBYRANK":
		q.by = 'r'
	case "ZREMRANGEBYSCORE":
		q.by = 's'
	case "ZREMRANGEBYLEX":
		q.by = 'l'
	default:
		return false
	}
	if len(args) != 4 {
		return false
	}
	q.low, q.high = args[2], args[3]
	t := r.of(args[1])
	at, ok := q.find(t)
	if !ok {
		return false
	}
	p.WriteInt(len(r.take(args[1], t, at, false)))
	return true
}

// pop carries out ZPOPMIN and ZPOPMAX.
func (r *rankings) pop(p *server.Peer, args []string) bool {
	if len(args) < 2 {
		return false
	}
	n := 1
	if len(args) == 3 {
		var err error
		if n, err = strconv.Atoi(args[2]); err != nil || n < 0 {
			return false
		}
	}
	t := r.of(args[1])
	if t == nil {
		return false
	}
	at := span{0, min(n, t.Len())}
	if args[0] == "ZPOPMAX" {
		at = span{t.Len() - at.to, t.Len()}
	}
	gone := r.take(args[1], t, at, args[0] == "ZPOPMAX")
	p.Block(func(w *server.Writer) {
		w.WriteLen(2 * len(gone))
		for _, m := range gone {
			w.WriteBulk(m.member)
			w.WriteFloat(m.score)
		}
	})
	return true
}

// take removes a part of a set and returns it.
func (r *rankings) take(key string, t *btree.BTreeG[ranked], at span, down bool) []ranked {
	var gone []ranked
	first := at.from
	if down {
		first = at.to - 1
	}
	walk(t, first, at.to-at.from, down, func(m ranked) { gone = append(gone, m) })
	for _, m := range gone {
		t.Delete(m)
		// It is a sorted set and the member is in it, so this can't fail; where it did, the next look at the sizes tells.
		_, _ = r.ks.db.ZRem(key, m.member)
	}
	if t.Len() == 0 {
		delete(r.sets, key)
	}
	return gone
}
