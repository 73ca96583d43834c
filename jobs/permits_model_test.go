package jobs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fleetModel is several processes that move files under limits, and what they do together.
type fleetModel struct {
	t       *testing.T
	w       *world
	mu      sync.Mutex
	all     []*modelProcess
	sets    map[string][]string  // subjects by set
	limits  map[string]int       // as set now
	former  map[string]int       // as set before, and perhaps still known to somebody
	changed map[string]time.Time // when it was set
	begun   int
}

// settle is how long after a change of a limit the one before may still be known: to a process that froze right after it
// asked, until it stops by itself.
const settle = time.Second

func (m *fleetModel) limit(subject string, n int) {
	m.mu.Lock()
	m.former[subject] = m.limits[subject]
	m.mu.Unlock()
	m.w.limitFiles(subject, n)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits[subject], m.changed[subject] = n, time.Now()
}

// begin counts a file of a process. Files of one whose leases have run out don't count: it stops them as soon as it is given
// a processor.
func (m *fleetModel) begin(pr *modelProcess, set string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun++
	pr.inside[set]++
	inside := map[string]int{}
	for _, pr := range m.all {
		for set, n := range pr.inside {
			for _, s := range m.sets[set] {
				if n > 0 && pr.fresh(set) {
					inside[s] += n
				}
			}
		}
	}
	for _, s := range m.sets[set] {
		allowed := m.limits[s]
		if time.Since(m.changed[s]) < settle && (m.former[s] == 0 || m.former[s] > allowed) {
			allowed = m.former[s]
		}
		if allowed > 0 && inside[s] > allowed {
			m.t.Errorf("%d files of %s at once, %d allowed since %v", inside[s], s, allowed, time.Since(m.changed[s]))
		}
	}
}

// end takes a file off the count.
func (m *fleetModel) end(pr *modelProcess, set string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pr.inside[set]--
}

// modelProcess is one process of the model.
type modelProcess struct {
	p      *permits
	store  *mortal
	begun  map[string]*atomic.Int64 // files by set
	inside map[string]int           // files under way by set; the model's lock is for it
	kill   context.CancelFunc
	all    sync.WaitGroup
}

// start runs a process that moves files of these sets as fast as it may.
func (m *fleetModel) start(name string) *modelProcess {
	pr := &modelProcess{store: newMortal(m.w.store, 1<<40), begun: map[string]*atomic.Int64{}, inside: map[string]int{}}
	p := m.w.svc.newPermits(name)
	p.client, p.lease, p.margin, p.beat, p.again, p.rotate = pr.store.Client(), 1200*time.Millisecond, 500*time.Millisecond,
		100*time.Millisecond, 20*time.Millisecond, 200*time.Millisecond
	pr.p = p
	ctx, kill := context.WithCancel(m.t.Context())
	pr.kill = kill
	pr.all.Go(func() { p.run(ctx) })
	for set := range m.sets {
		pr.begun[set] = &atomic.Int64{}
	}
	m.mu.Lock()
	m.all = append(m.all, pr)
	m.mu.Unlock()
	for set := range m.sets {
		n := pr.begun[set]
		for range 4 {
			pr.all.Go(func() {
				for ctx.Err() == nil {
					free, err := p.take(ctx, set)
					if err != nil {
						return
					}
					m.begin(pr, set)
					n.Add(1)
					pr.file(ctx, set, time.Duration(1+rand.IntN(20))*time.Millisecond)
					m.end(pr, set)
					free()
				}
			})
		}
	}
	return pr
}

// file is under way for a while, and no longer than the process lives and its leases last: a unit stops then, too.
func (pr *modelProcess) file(ctx context.Context, set string, took time.Duration) {
	end := time.NewTimer(took)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-tick.C:
			if !pr.fresh(set) {
				return
			}
		}
	}
}

// fresh tells whether the process may believe that it holds a lease.
func (pr *modelProcess) fresh(set string) bool {
	pr.p.mu.Lock()
	defer pr.p.mu.Unlock()
	s := pr.p.sets[set]
	return s != nil && s.fresh(time.Now())
}

func (pr *modelProcess) stop() {
	pr.kill()
	pr.all.Wait()
}

// crash kills the process: nothing it does reaches the store any more.
func (pr *modelProcess) crash() {
	pr.store.left.Store(0)
	pr.stop()
}

// freeze cuts the process off for longer than its leases last.
func (pr *modelProcess) freeze(t *testing.T) {
	pr.store.left.Store(0)
	pass(t, 1400*time.Millisecond)
	pr.store.left.Store(1 << 40)
}

// Many processes come, go, crash and freeze while the limits change: never more files are under way than the limits allow,
// what the dead held is free again, and everybody gets on.
func TestLimitsOfFilesHoldWhateverHappens(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	eachStore(t, func(t *testing.T, w *world) {
		m := &fleetModel{t: t, w: w, limits: map[string]int{}, former: map[string]int{},
			changed: map[string]time.Time{}, sets: map[string][]string{"account/a,remote/x": {"account/a", "remote/x"},
				"account/b,remote/x,remote/y": {"account/b", "remote/x", "remote/y"}}}
		m.limit("remote/x", 5)
		var live []*modelProcess
		number := 0
		add := func() {
			number++
			live = append(live, m.start(fmt.Sprintf("p%d", number)))
		}
		for range 4 {
			add()
		}
		var frozen sync.WaitGroup
		for round, limits := range []map[string]int{{"remote/x": 5}, {"account/a": 1}, {"remote/x": 2}, {"remote/x": 9, "remote/y": 3}, {"remote/x": 1, "account/a": 0}} {
			for subject, n := range limits {
				m.limit(subject, n)
			}
			i := rand.IntN(len(live))
			live[i].crash()
			live = slices.Delete(live, i, i+1)
			frozen.Go(func() { live[0].freeze(t) })
			pass(t, 1500*time.Millisecond) // until what it held is free
			frozen.Wait()
			add()
			before := map[*modelProcess]map[string]int64{}
			for _, pr := range live {
				before[pr] = map[string]int64{}
				for set := range m.sets {
					before[pr][set] = pr.begun[set].Load()
				}
			}
			until(t, fmt.Sprintf("each gets on in round %d", round), func() bool {
				for _, pr := range live {
					for set := range m.sets {
						if pr.begun[set].Load() == before[pr][set] {
							return false
						}
					}
				}
				return true
			})
		}
		for _, pr := range live {
			pr.stop()
		}
		t.Logf("%d files", m.begun)
		limits, err := w.svc.FileLimits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		until(t, "all is given back", func() bool {
			limits, err = w.svc.FileLimits(t.Context())
			return err == nil && !slices.ContainsFunc(limits, func(l FileLimit) bool { return l.Held != 0 })
		})
	})
}
