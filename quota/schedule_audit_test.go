package quota

import (
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
)

// auditSource reads all subjects at one instant. KEYS are the first four keys of each; the result has auditFields for each:
// start end used reserved limit plan removed held pools leases booked.
const auditSource = `
local out = {}
for i = 1, #KEYS, 4 do
  local v = redis.call('HMGET', KEYS[i], 'start', 'end', 'used', 'reserved', 'limit', 'plan', 'removed')
  for j = 1, 7 do out[#out + 1] = v[j] or '' end
  local held, pools = 0, 0
  local recs = redis.call('HVALS', KEYS[i + 1])
  for _, rec in ipairs(recs) do
    local granted, charged = string.match(rec, '^(%d+) (%d+)')
    held = held + granted - charged
  end
  out[#out + 1] = string.format('%.0f', held)
  out[#out + 1] = tostring(#recs)
  out[#out + 1] = tostring(redis.call('ZCARD', KEYS[i + 2]))
  local booked, days = 0, redis.call('HGETALL', KEYS[i + 3])
  for j = 1, #days, 2 do
    if string.find(days[j], ' used$') then booked = booked + days[j + 1] end
  end
  out[#out + 1] = string.format('%.0f', booked)
end
return out`

const auditFields = 11

// subject is what the auditor knows of a subject of the ledger.
type subject struct {
	name    string
	initial int64 // the limit that it begins with

	handed atomic.Int64 // what the source gave out, the truth
	in     map[int64]int64

	// What the auditor saw last. They are Redis'.
	start, end, used, reserved, limit, booked int64
	periods                                   int             // number of periods that it has seen
	high                                      int64           // in free schedules: the highest limit since the agitator's last change
	most                                      map[int64]int64 // by period: the highest limit in force in it, or what was still reserved under one before

	// Only where an older copy of Redis' file was restored: bytes that were handed out since the copy.
	slack     int64 // by processes that are gone, so that nobody can tell
	markSlack int64 // slack when the copy was made
	excess    int64 // by anybody: they may be granted once more before their owners tell
	older     bool
	fresh     bool // restored since the last look
}

// view is one subject as Redis has it.
type view struct{ start, end, used, reserved, limit, held, pools, leases, booked int64 }

// look audits all subjects at one instant. In schedules of coroutines it is called after each single call to Redis; a is
// then the one that made it, and learns in which period the bytes were booked.
func (w *world) look(a *actor) {
	w.auditing.Lock()
	defer w.auditing.Unlock()
	handed := make([]int64, len(w.subjects)) // read before Redis, which may only be ahead of it
	for i, s := range w.subjects {
		handed[i] = s.handed.Load()
	}
	views, err := w.views()
	if err != nil {
		w.fail(fmt.Errorf("audit: %w", err))
		return
	}
	for i, s := range w.subjects {
		if err := w.check(s, views[i], handed[i]); err != nil {
			w.fail(fmt.Errorf("%w: %s: %w", errAudit, s.name, err))
		}
		if a != nil {
			a.starts[s.name] = s.start
		}
	}
	w.looks++
}

func (w *world) views() ([]view, error) {
	w.stage.gate.RLock()
	defer w.stage.gate.RUnlock()
	reply, err := w.stage.audit.Run(w.ctx, w.stage.eye, w.auditKeys).StringSlice()
	if err != nil {
		return nil, err
	}
	if len(reply) != auditFields*len(w.subjects) {
		return nil, fmt.Errorf("%d fields", len(reply))
	}
	views := make([]view, len(w.subjects))
	for i, s := range w.subjects {
		f := reply[i*auditFields:]
		number := func(n int) int64 { v, _ := strconv.ParseInt(f[n], 10, 64); return v }
		v := view{start: number(0), end: number(1), used: number(2), reserved: number(3), limit: number(4), held: number(7),
			pools: number(8), leases: number(9), booked: number(10)}
		if f[4] == "" {
			v.limit = s.initial
			if t, ok := w.cfg.tier(f[5]); ok && f[5] != "" {
				v.limit = t.Limit
			}
		}
		switch {
		case f[6] != "":
			v.limit = 0
		case v.limit == Unlimited:
			v.limit = math.MaxInt64
		}
		views[i] = v
	}
	return views, nil
}

// check compares what Redis has of a subject with what it had and with the truth. The auditor's lock is held.
func (w *world) check(s *subject, v view, handed int64) error {
	limit, sum, before := v.limit, v.used+v.reserved, s.used+s.reserved
	if w.free {
		limit = max(limit, s.high)
	}
	// Bytes that a restored file had forgotten and that their owners book anew aren't granted: only reservations are.
	recount := s.older && v.reserved <= s.reserved
	switch {
	case v.used < 0 || v.reserved < 0 || v.booked < 0:
		return fmt.Errorf("%d used, %d reserved, %d booked", v.used, v.reserved, v.booked)
	case v.held != v.reserved:
		return fmt.Errorf("%d reserved, but pools hold %d", v.reserved, v.held)
	case v.pools != v.leases:
		return fmt.Errorf("%d pools, but %d leases", v.pools, v.leases)
	case sum > limit && sum > before && !recount && !s.fresh:
		return fmt.Errorf("used %d + reserved %d > limit %d, after %d + %d", v.used, v.reserved, limit, s.used, s.reserved)
	case v.start < s.start && s.start != 0 && !s.older:
		return fmt.Errorf("the period goes back")
	case v.booked+s.slack+w.unheard(s) < handed:
		return fmt.Errorf("%d bytes were handed out, but only %d are booked", handed, v.booked)
	case !w.free && !s.older && v.used < s.in[v.start]:
		return fmt.Errorf("%d bytes of this period were handed out, but only %d are used", s.in[v.start], v.used)
	}
	if v.start != s.start {
		s.periods++
		w.hit(func(h *hits) { h.periods++ })
	}
	s.fresh = false
	s.start, s.end, s.used, s.reserved, s.limit, s.booked = v.start, v.end, v.used, v.reserved, v.limit, v.booked
	s.most[v.start] = max(s.most[v.start], limit, sum)
	if n := s.in[v.start]; n > s.most[v.start] && n-s.most[v.start] > s.excess {
		return fmt.Errorf("%d bytes were handed out in a period whose limit was %d", n, s.most[v.start])
	}
	return nil
}

// ref is a pool as its process and the auditor know it.
type ref struct {
	s       *subject
	p       *Pool
	handed  int64 // bytes that the source gave out for it
	mark    int64 // of those: before the last copy of Redis' file
	unheard int64 // handed out after the copy that was restored, and Redis wasn't asked since
	stale   bool  // Redis wasn't asked since an older copy was restored
	gone    bool

	booked         int64 // start of the period in which its bytes ahead were booked; 0 where it can't be told
	old, oldBooked int64 // of the last charge: bytes that were ahead before it, and what booked was
}

// unheard is what living processes will tell of a subject at their next call.
func (w *world) unheard(s *subject) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var n int64
	for _, r := range w.refs {
		if r.s == s {
			n += r.unheard
		}
	}
	return n
}

// marked notes that Redis' file was copied.
func (w *world) marked() {
	w.auditing.Lock()
	defer w.auditing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.subjects {
		s.markSlack = s.slack
	}
	for _, r := range w.refs {
		r.mark = r.handed - r.unheard
	}
}

// restored notes that Redis has forgotten everything since the copy.
func (w *world) restored() {
	w.auditing.Lock()
	defer w.auditing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.subjects {
		s.older, s.fresh, s.slack = true, true, s.markSlack
	}
	for _, r := range w.refs {
		lost := r.handed - r.mark
		r.s.excess += lost
		if r.gone {
			r.s.slack += lost
			continue
		}
		r.unheard, r.stale = lost, true
		if lost > 0 {
			w.hits.forgotten++
		}
	}
}

// heard notes that the owner of a pool was answered: from now on Redis knows what it knows.
func (w *world) heard(r *ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.unheard, r.stale = 0, false
}

// ended notes that the owner of a pool does nothing with it any more.
func (w *world) ended(r *ref) {
	w.auditing.Lock()
	defer w.auditing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.gone = true
	r.s.slack += r.unheard
	r.unheard = 0
}
