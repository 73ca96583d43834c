// Package live keeps one view of what is going on for all who watch: however many they are, the store is asked once a second.
// While nobody watches it isn't asked at all.
package live

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"offload/jobs"
	"offload/quota"
)

// How often the store is asked, how long one round may take, and for how long it is asked on after somebody looked.
const (
	every    = time.Second
	lookTime = 5 * time.Second
	viewTime = 2 * time.Second // of that, what is going on
	keptOn   = 3 * time.Second
)

// How long a page waits for a snapshot before the store is asked whether it is there, and how long that may take.
const (
	nowTime  = 600 * time.Millisecond
	pingTime = 700 * time.Millisecond
)

// quotasMost bounds the accounts and limits of a snapshot.
const quotasMost = 100

// Snapshot is the view at one moment. Nobody changes it.
type Snapshot struct {
	jobs.Overview
	Quotas []quota.Status // of the accounts, at most 100
	Limits []quota.Status // of the remotes that have limits, at most 100
	Err    error          // why the store couldn't be asked; the rest is of the last time
	Seq    uint64         // grows with each
}

// Source is what is asked: a *jobs.Service.
type Source interface {
	Overview(ctx context.Context) (jobs.Overview, error)
	Progress(ctx context.Context, id string) (jobs.Progress, error)
}

// Hub keeps the view.
type Hub struct {
	jobs   Source
	ledger *quota.Ledger
	log    *slog.Logger
	turn   chan struct{} // holds one token: whoever has it may ask the store

	mu       sync.Mutex
	last     *Snapshot
	changed  chan struct{} // closed when there is a newer view of anything
	wake     chan struct{} // takes Run out of its sleep
	running  bool
	watchers int                  // who wait for the overview now
	asked    time.Time            // when somebody last looked at it
	looked   time.Time            // when the store was last asked
	made     time.Time            // when last was
	each     map[string]*jobWatch // single jobs that are watched
	seq      uint64
	down     bool // the store doesn't answer, and that was said
}

// New returns a hub. It starts nothing. The ledger may be nil: then there are no quotas.
func New(s *jobs.Service, l *quota.Ledger, log *slog.Logger) *Hub { return newHub(s, l, log) }

func newHub(s Source, l *quota.Ledger, log *slog.Logger) *Hub {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{jobs: s, ledger: l, log: log, changed: make(chan struct{}), wake: make(chan struct{}, 1),
		each: map[string]*jobWatch{}, turn: make(chan struct{}, 1)}
	h.turn <- struct{}{}
	return h
}

// Run asks the store once a second while somebody watches, until ctx is done. Without it a view is made whenever one is
// asked for, at most once a second.
func (h *Hub) Run(ctx context.Context) {
	h.mu.Lock()
	h.running = true
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.running = false
		h.announce() // whoever waits looks itself from now on
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if !h.wanted() {
			select {
			case <-ctx.Done():
				return
			case <-h.wake:
			}
		}
		h.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// wanted tells whether anybody looks, or did so a moment ago.
func (h *Hub) wanted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.overviewWanted() || len(h.each) > 0
}

// overviewWanted tells whether the overview is looked at. The caller holds mu.
func (h *Hub) overviewWanted() bool {
	return h.watchers > 0 || time.Since(h.asked) < keptOn
}

// announce tells all who wait that there is something new. The caller holds mu.
func (h *Hub) announce() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// stir wakes Run. The caller holds mu.
func (h *Hub) stir() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// look asks the store for what is looked at, unless that was done less than a second ago.
func (h *Hub) look(ctx context.Context) {
	select {
	case <-h.turn:
		defer func() { h.turn <- struct{}{} }()
	case <-ctx.Done():
		return
	}
	h.mu.Lock()
	overview, ids, now := h.overviewWanted(), h.watched(), time.Now()
	idle := !overview && len(ids) == 0 || now.Sub(h.looked) < every*9/10
	if !idle {
		h.looked = now
	}
	h.mu.Unlock()
	if idle {
		return
	}
	in, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var fresh *Snapshot
	if overview || len(ids) > apart {
		fresh = h.ask(in)
	}
	views := h.askEach(in, ids, fresh)
	if ctx.Err() == nil { // else whoever asked has gone, and that says nothing of the store
		h.publish(fresh, views)
	}
}

// ask makes a snapshot. Where the store doesn't answer it holds the error alone.
func (h *Hub) ask(ctx context.Context) *Snapshot {
	in, cancel := context.WithTimeout(ctx, viewTime)
	defer cancel()
	o, err := h.jobs.Overview(in)
	s := &Snapshot{Overview: o}
	if err == nil {
		s.Quotas, s.Limits, err = h.quotas(ctx)
	}
	if err != nil {
		return &Snapshot{Err: err}
	}
	return s
}

// quotas reads how the accounts and the limits of remotes stand.
func (h *Hub) quotas(ctx context.Context) (accounts, limits []quota.Status, err error) {
	if h.ledger == nil {
		return nil, nil, nil
	}
	names, err := h.ledger.Accounts(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		names = []string{jobs.DefaultAccount}
	}
	if accounts, err = h.statuses(ctx, names); err != nil {
		return nil, nil, err
	}
	subjects, err := h.ledger.RemoteSubjects(ctx)
	if err != nil {
		return nil, nil, err
	}
	limits, err = h.statuses(ctx, subjects)
	return accounts, limits, err
}

func (h *Hub) statuses(ctx context.Context, subjects []string) ([]quota.Status, error) {
	var all []quota.Status
	for _, name := range subjects[:min(len(subjects), quotasMost)] {
		st, err := h.ledger.Status(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

// publish makes a round's answers the newest view.
func (h *Hub) publish(fresh *Snapshot, views map[string]JobView) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if fresh != nil {
		err = fresh.Err
		if err != nil && h.last != nil {
			old := *h.last
			old.Err = err
			fresh = &old
		}
		h.seq++
		fresh.Seq = h.seq
		h.last, h.made = fresh, time.Now()
	}
	for id, v := range views {
		w := h.each[id]
		if w == nil {
			continue // its last watcher has gone meanwhile
		}
		if v.Err != nil {
			if !v.gone() {
				err = v.Err
			}
			if w.last != nil {
				v.Progress = w.last.Progress
			}
		}
		h.seq++
		v.Seq = h.seq
		w.last = &v
	}
	h.say(err)
	h.announce()
}

// say logs once that the store doesn't answer, and once that it does again. The caller holds mu.
func (h *Hub) say(err error) {
	switch {
	case err != nil && !h.down:
		h.log.Warn("the store can't be asked: what is shown is of the last time", "error", err)
	case err == nil && h.down:
		h.log.Info("the store answers again")
	}
	h.down = err != nil
}

// Now returns the newest snapshot, which is a second or two old at most; it waits for one where there is none, and returns
// nil when ctx ends before. Where the store is away that of before comes with its Err, within about a second.
func (h *Hub) Now(ctx context.Context) *Snapshot {
	for {
		in, cancel := context.WithTimeout(ctx, nowTime)
		s := h.After(in, 0)
		cancel()
		if s != nil || ctx.Err() != nil {
			return s
		}
		if err := h.Away(ctx); err != nil && ctx.Err() == nil {
			return h.Before(err)
		}
	}
}

// Before is the snapshot of the last time that the store answered, with the reason err why it doesn't now.
func (h *Hub) Before(err error) *Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Snapshot{}
	if h.last != nil {
		old := *h.last
		s = &old
	}
	s.Err = err
	return s
}

// Away tells why the store doesn't answer, after less than a second; nil where it does, or can't be asked.
func (h *Hub) Away(ctx context.Context) error {
	p, ok := h.jobs.(interface {
		Ping(ctx context.Context) error
	})
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	return p.Ping(ctx)
}

// After returns a snapshot newer than the one of the given Seq: it waits until there is one, and returns nil when ctx ends
// before. Whoever is slow passes over those in between.
func (h *Hub) After(ctx context.Context, seq uint64) *Snapshot {
	h.mu.Lock()
	h.watchers++
	h.stir()
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.watchers--
		h.asked = time.Now()
	}()
	var found *Snapshot
	h.wait(ctx, func() bool {
		if h.last != nil && h.last.Seq > seq && time.Since(h.made) < h.last.lasts() {
			found = h.last
		}
		return found != nil
	})
	return found
}

// lasts is for how long a snapshot counts as the newest: when nobody looked for a while, none was made.
func (s *Snapshot) lasts() time.Duration {
	if s.Err != nil {
		return lookTime + 2*every // the next one may take as long
	}
	return every * 3 / 2
}

// wait waits until done says so, which is asked under mu, or ctx ends. Where Run doesn't run it asks the store itself.
func (h *Hub) wait(ctx context.Context, done func() bool) {
	for {
		h.mu.Lock()
		ok, changed, running, rest := done(), h.changed, h.running, every-time.Since(h.looked)
		h.mu.Unlock()
		if ok {
			return
		}
		var turn <-chan time.Time
		if !running {
			turn = time.After(max(0, rest))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-turn:
			h.look(ctx)
		}
	}
}
