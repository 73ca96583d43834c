package quota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const modelQuantum = 500

// modelSubjects are two accounts, and a remote whose limit begins anew each day.
var modelSubjects = []string{"anna", "bert", RemoteSubject("gdrive", PerDay)}

func modelConfig() Config {
	cfg := limited(10_000, modelQuantum)
	cfg.Remotes = map[string]RemoteLimits{"gdrive": {PerDay: 10_000}}
	return cfg
}

// model plays random schedules of several processes against a plain picture of what must hold.
type model struct {
	*rig
	rnd      *rand.Rand
	workers  []*Ledger
	faults   *faults
	accounts map[string]*modelAccount
	log      []string
	granted  int
	refused  int
}

type modelAccount struct {
	name    string
	limit   int64
	sum     int64 // used + reserved after the last step
	lowered bool  // the limit was set since then
	start   int64 // of the period, in milliseconds
	used    map[int64]int64
	moved   int64 // bytes that were read, after they were charged
	pools   []*modelPool
}

type modelPool struct {
	p       *Pool
	dead    bool // the process forgot it, or learned that it was lost
	grants  []*Grant
	charged int64 // as last seen in Redis
	period  int64
	back    int64 // given back by Close
}

func TestModel(t *testing.T) {
	schedules := 1200
	if testing.Short() {
		schedules = 200
	}
	runModel(t, newReal(t, modelConfig()), schedules)
}

func TestModelOnMiniredis(t *testing.T) {
	runModel(t, newMini(t, modelConfig()), 40)
}

func runModel(t *testing.T, r *rig, schedules int) {
	f := &faults{}
	r.client.AddHook(f)
	var granted, refused int
	for seed := range schedules {
		f.arm(0, false)
		must(t, r.client.FlushDB(t.Context()).Err())
		m := &model{rig: r, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), faults: f, accounts: map[string]*modelAccount{}}
		r.setClock(start.Add(time.Duration(m.rnd.IntN(365*24)) * time.Hour))
		for range 2 {
			l := newLedger(t, r.client, modelConfig())
			l.scripts = r.scripts
			m.workers = append(m.workers, l)
		}
		for _, name := range modelSubjects {
			m.accounts[name] = &modelAccount{name: name, limit: 10_000, used: map[int64]int64{}}
		}
		if err := m.run(80); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(m.log, "\n"))
		}
		granted, refused = granted+m.granted, refused+m.refused
	}
	if granted < 5*schedules || refused < schedules {
		t.Errorf("only %d reservations were granted and %d refused in %d schedules", granted, refused, schedules)
	}
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%2d %s ", len(m.log), m.now.Format(time.DateTime))+fmt.Sprintf(format, args...))
}

func (m *model) run(steps int) error {
	ctx := m.t.Context()
	for range steps {
		a := m.accounts[modelSubjects[m.rnd.IntN(len(modelSubjects))]]
		m.faults.arm(0, false)
		if m.rnd.IntN(12) == 0 {
			m.faults.arm(1+m.rnd.Int64N(3), m.rnd.IntN(2) == 0)
			m.note("call %d fails, answer lost: %t", m.faults.at.Load(), m.faults.answer.Load())
		}
		if err := m.step(ctx, a); err != nil {
			return err
		}
		m.faults.arm(0, false)
		for _, a := range m.accounts {
			if err := m.check(a); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	return m.finish(ctx)
}

// step does one random thing. It returns an error only for a broken promise.
func (m *model) step(ctx context.Context, a *modelAccount) error {
	switch n := m.rnd.IntN(100); {
	case n < 12:
		l := m.workers[m.rnd.IntN(len(m.workers))]
		mp := &modelPool{p: l.Pool(a.name, strconv.Itoa(len(a.pools)))}
		prefer := m.rnd.Int64N(6000) * m.rnd.Int64N(2)
		mp.p.Prefer(prefer)
		a.pools = append(a.pools, mp)
		m.note("%s: open pool %s, prefers %d", a.name, mp.p.id, prefer)
	case n < 35:
		return m.reserve(ctx, a)
	case n < 60:
		m.charge(ctx, a)
	case n < 72:
		m.settle(ctx, a)
	case n < 78:
		m.renew(ctx, a)
	case n < 83:
		return m.closePool(ctx, a)
	case n < 85:
		m.claim(ctx, a)
	case n < 87:
		if mp := m.pick(a); mp != nil {
			m.note("%s: pool %s crashes", a.name, mp.p.id)
			mp.dead = true
		}
	case n < 89:
		_, err := m.workers[0].Sweep(ctx)
		m.note("sweep: %v", err)
	case n < 93:
		m.set(ctx, a)
	default:
		m.clock()
	}
	return nil
}

// pick returns a pool that its process still works with, or nil.
func (m *model) pick(a *modelAccount) *modelPool {
	var live []*modelPool
	for _, mp := range a.pools {
		if !mp.dead {
			live = append(live, mp)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return live[m.rnd.IntN(len(live))]
}

// heard takes note that a pool's owner has learned of its loss.
func (mp *modelPool) heard(err error) {
	if errors.Is(err, ErrLost) {
		mp.dead = true
	}
}

func (m *model) reserve(ctx context.Context, a *modelAccount) error {
	mp := m.pick(a)
	if mp == nil {
		return nil
	}
	size := m.rnd.Int64N(4000)
	if m.rnd.IntN(10) == 0 {
		size = 9000 + m.rnd.Int64N(3000)
	}
	g, err := mp.p.Reserve(ctx, size)
	m.note("%s: pool %s reserves %d: %v", a.name, mp.p.id, size, err)
	mp.heard(err)
	var full *NoQuotaError
	switch {
	case err == nil:
		m.granted++
		mp.grants = append(mp.grants, g)
	case errors.As(err, &full):
		m.refused++
		return m.checkRefusal(ctx, a, mp, size, full)
	}
	return nil
}

// checkRefusal tells whether a reservation was refused rightly, and with the right numbers.
func (m *model) checkRefusal(ctx context.Context, a *modelAccount, mp *modelPool, size int64, full *NoQuotaError) error {
	s := m.dump(a.name)
	if removed := s["account/removed"] != ""; removed != (full.Why != "") {
		return fmt.Errorf("removed: %t, refused with %+v", removed, full)
	} else if removed {
		return nil
	}
	left := m.available(a, s, mp.p)
	if fits := left + max(0, mp.p.free()); size <= fits || full.Available != fits {
		return fmt.Errorf("reserving %d of %d was refused: %+v", size, fits, full)
	}
	if s.expired(mp.p.id, m.now) {
		return nil // its own bytes are free to all others, but not to itself
	}
	if st, err := m.StatusFor(ctx, a.name, mp.p.claimant); err == nil && st.Available != left {
		return fmt.Errorf("status tells pool %s of %d available, and %d are", mp.p.id, st.Available, left)
	}
	return nil
}

// available computes from the raw state what a pool may reserve.
func (m *model) available(a *modelAccount, s raw, p *Pool) int64 {
	id := p.id
	left, room := a.limit-s.number("account/reserved"), a.limit
	period := s.number("account/start")
	if m.now.UnixMilli() < s.number("account/end") {
		left -= s.number("account/used")
		room -= s.number("account/used")
	} else {
		period = m.now.UnixMilli() // the next one; all claims are of periods before
	}
	left -= s.claimed(p.claimant, period, room, m.now)
	for name, rec := range s {
		other, isPool := strings.CutPrefix(name, "pools/")
		if isPool && other != id && s.expired(other, m.now) {
			granted, charged, _ := record(rec)
			left += granted - charged
		}
	}
	return max(0, left)
}

func (m *model) charge(ctx context.Context, a *modelAccount) {
	mp := m.pick(a)
	if mp == nil || len(mp.grants) == 0 {
		return
	}
	g := mp.grants[m.rnd.IntN(len(mp.grants))]
	n := min(m.rnd.Int64N(1500), g.size-g.charged)
	if m.rnd.IntN(8) == 0 {
		n = m.rnd.Int64N(2000) // beyond what was reserved, as retries do
	}
	err := g.Charge(ctx, n)
	m.note("%s: pool %s charges %d: %v", a.name, mp.p.id, n, err)
	mp.heard(err)
	if err == nil {
		a.moved += n
	}
}

func (m *model) settle(ctx context.Context, a *modelAccount) {
	mp := m.pick(a)
	if mp == nil || len(mp.grants) == 0 {
		return
	}
	i := m.rnd.IntN(len(mp.grants))
	g := mp.grants[i]
	used := g.charged - min(g.charged, m.rnd.Int64N(300)*m.rnd.Int64N(2))
	wasted := m.rnd.Int64N(used+1) * m.rnd.Int64N(2)
	err := g.Settle(ctx, used, wasted)
	m.note("%s: pool %s settles %d of %d, %d wasted: %v", a.name, mp.p.id, used, g.charged, wasted, err)
	if err != nil {
		m.t.Error(err)
	}
	a.moved -= g.charged - used
	mp.grants = append(mp.grants[:i], mp.grants[i+1:]...)
}

func (m *model) renew(ctx context.Context, a *modelAccount) {
	if mp := m.pick(a); mp != nil {
		err := mp.p.Renew(ctx)
		m.note("%s: pool %s renews: %v", a.name, mp.p.id, err)
		mp.heard(err)
	}
}

func (m *model) closePool(ctx context.Context, a *modelAccount) error {
	mp := m.pick(a)
	if mp == nil {
		return nil
	}
	_, had := m.dump(a.name)["pools/"+mp.p.id]
	err := mp.p.Close(ctx)
	m.note("%s: pool %s closes: %v", a.name, mp.p.id, err)
	s := m.dump(a.name)
	_, has := s["pools/"+mp.p.id]
	if err == nil {
		mp.dead = true
		if has {
			return errors.New("a closed pool is still there")
		}
	}
	if had && !has && mp.period == s.number("account/start") {
		mp.back = mp.charged - mp.p.read
	}
	return nil
}

func (m *model) set(ctx context.Context, a *modelAccount) {
	var c Change
	l := m.workers[m.rnd.IntN(len(m.workers))]
	var err error
	switch m.rnd.IntN(6) {
	case 0:
		c.Limit = ptr(m.rnd.Int64N(20_000))
	case 1:
		c.AnchorDay = ptr(1 + m.rnd.IntN(31))
	case 2:
		c.TimeZone = ptr(testZones[m.rnd.IntN(len(testZones))])
	case 3:
		c.Reset = true
	case 4:
		c.Plan = ptr("small")
	case 5:
		err = l.Remove(ctx, a.name)
	}
	if c != (Change{}) {
		_, err = l.Set(ctx, a.name, c)
	}
	limit, s := int64(10_000), m.dump(a.name)
	switch own, ok := s["account/limit"]; {
	case s["account/removed"] != "":
		limit = 0
	case ok && own != "":
		limit = s.number("account/limit")
	}
	a.lowered = a.lowered || limit < a.limit
	a.limit = limit
	m.note("%s: set limit %d, anchor %v, zone %v, reset %t: %v", a.name, a.limit, c.AnchorDay != nil, c.TimeZone != nil, c.Reset, err)
}

// claim lets a pool claim bytes that it may have been refused in an earlier period.
func (m *model) claim(ctx context.Context, a *modelAccount) {
	mp := m.pick(a)
	if mp == nil {
		return
	}
	id := strconv.Itoa(m.rnd.IntN(4))
	mp.p.Claimant(id)
	c := Claim{ID: id, Need: m.rnd.Int64N(8000), Since: time.UnixMilli(m.dump(a.name).number("account/start"))}
	c.Since = c.Since.AddDate(0, -m.rnd.IntN(3), 0)
	if m.rnd.IntN(4) == 0 {
		err := m.Unclaim(ctx, a.name, id)
		m.note("%s: drops claim %s: %v", a.name, id, err)
		return
	}
	err := m.Claim(ctx, a.name, c)
	m.note("%s: pool %s claims %+v: %v", a.name, mp.p.id, c, err)
}

func (m *model) clock() {
	by := time.Duration(m.rnd.Int64N(int64(70 * time.Second)))
	switch m.rnd.IntN(5) {
	case 0:
		by = time.Duration(m.rnd.Int64N(int64(40 * 24 * time.Hour)))
	case 1:
		by = -time.Duration(m.rnd.Int64N(int64(40 * 24 * time.Hour)))
	}
	m.faults.arm(0, false)
	m.advance(by)
	m.note("clock moves by %s", by)
}

// check compares an account's raw state with the model.
func (m *model) check(a *modelAccount) error {
	s := m.dump(a.name)
	used, reserved, wasted := s.number("account/used"), s.number("account/reserved"), s.number("account/wasted")
	if used < 0 || reserved < 0 || wasted < 0 || wasted > used {
		return fmt.Errorf("used %d, reserved %d, wasted %d", used, reserved, wasted)
	}
	if sum := used + reserved; sum > a.limit && sum > a.sum {
		return fmt.Errorf("used %d + reserved %d > limit %d, before %d", used, reserved, a.limit, a.sum)
	} else if sum > a.limit && a.sum <= a.limit && !a.lowered {
		return fmt.Errorf("used %d + reserved %d > limit %d", used, reserved, a.limit)
	}
	a.sum, a.lowered = used+reserved, used+reserved > a.limit
	if start := s.number("account/start"); start != a.start {
		shortest := 27 * 24 * time.Hour
		if _, _, remote := ParseSubject(a.name); remote {
			shortest = 20 * time.Hour
		}
		if a.start != 0 && start-a.start < shortest.Milliseconds() {
			return fmt.Errorf("period %s began %s after the last", s["account/period"], time.Duration(start-a.start)*time.Millisecond)
		}
		a.start = start
	}
	a.used[a.start] = used
	return m.checkPools(a, s, reserved)
}

func (m *model) checkPools(a *modelAccount, s raw, reserved int64) error {
	var held, charged, read int64
	for _, mp := range a.pools {
		if rec, ok := s["pools/"+mp.p.id]; ok {
			var granted int64
			granted, mp.charged, mp.period = record(rec)
			held += granted - mp.charged
			if _, ok := s["leases/"+mp.p.id]; !ok {
				return fmt.Errorf("pool %s has no lease", mp.p.id)
			}
		}
		if !mp.dead && (mp.p.promised < 0 || mp.p.ahead < 0 || mp.p.free() < 0) {
			return fmt.Errorf("pool %s: %d held, %d ahead, %d promised", mp.p.id, mp.p.held(), mp.p.ahead, mp.p.promised)
		}
		charged += mp.charged - mp.back
		read += mp.p.read
	}
	var used, days, daysWasted int64
	for _, n := range a.used {
		used += n
	}
	for name := range s {
		if strings.HasSuffix(name, " used") {
			days += s.number(name)
		}
		if strings.HasSuffix(name, " wasted") {
			daysWasted += s.number(name)
		}
	}
	switch {
	case held != reserved:
		return fmt.Errorf("%d reserved, but pools hold %d", reserved, held)
	case read != a.moved:
		return fmt.Errorf("%d bytes were moved, but pools know of %d", a.moved, read)
	case used < a.moved:
		return fmt.Errorf("%d bytes were moved, but only %d are used", a.moved, used)
	case used != charged:
		return fmt.Errorf("%d used, but %d charged and not given back", used, charged)
	case days != used:
		return fmt.Errorf("%d used, but the days add up to %d", used, days)
	case daysWasted > days:
		return fmt.Errorf("%d used in all days, but %d wasted", days, daysWasted)
	}
	return nil
}

// finish lets every lease end and looks whether everything is free again.
func (m *model) finish(ctx context.Context) error {
	for range 2 { // once more where leases lay ahead of a clock that was put back
		if _, err := m.workers[0].Sweep(ctx); err != nil {
			return err
		}
		m.advance(2 * time.Minute)
	}
	if _, err := m.workers[1].Sweep(ctx); err != nil {
		return err
	}
	for _, a := range m.accounts {
		if err := m.check(a); err != nil {
			return err
		}
		s := m.dump(a.name)
		for name := range s {
			if strings.HasPrefix(name, "pools/") || strings.HasPrefix(name, "leases/") {
				return fmt.Errorf("%s: %s is still there", a.name, name)
			}
		}
		if n := s.number("account/reserved"); n != 0 {
			return fmt.Errorf("%s: %d still reserved", a.name, n)
		}
	}
	return nil
}

// claimed is what claims keep back from a claimant: in the order of their age those that fit beside the older ones.
func (s raw) claimed(claimant string, period, room int64, now time.Time) (kept int64) {
	type claim struct {
		since, need int64
		id          string
	}
	var claims []claim
	for name, rec := range s {
		id, ok := strings.CutPrefix(name, "claims/")
		c := claim{id: id}
		var renewed int64
		_, _ = fmt.Sscan(rec, &c.need, &c.since, &renewed)
		if ok && c.need > 0 && c.since < period && now.Sub(time.UnixMilli(renewed)).Abs() < time.Minute {
			claims = append(claims, c)
		}
	}
	slices.SortFunc(claims, func(x, y claim) int {
		return cmp.Or(cmp.Compare(x.since, y.since), strings.Compare(x.id, y.id))
	})
	for _, c := range claims {
		if c.id == claimant {
			break
		}
		if c.need <= room {
			room -= c.need
			kept += c.need
		}
	}
	return kept
}

// expired tells whether a pool's lease has ended.
func (s raw) expired(pool string, now time.Time) bool {
	_, ok := s["leases/"+pool]
	return ok && !start.Add(s.duration("leases/"+pool)).After(now)
}

func (s raw) number(name string) int64 {
	n, _ := strconv.ParseInt(s[name], 10, 64)
	return n
}

func (s raw) duration(name string) time.Duration {
	d, _ := time.ParseDuration(s[name])
	return d
}

// record reads a pool's record.
func record(rec string) (granted, charged, period int64) {
	var wasted int64
	_, _ = fmt.Sscan(rec, &granted, &charged, &wasted, &period)
	return granted, charged, period
}
