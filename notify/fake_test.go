package notify

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"offload/jobs"
)

// memory is a Store in memory, by the clock of the test. Its rules are those that the tests of jobs hold the real one to.
type memory struct {
	mu      sync.Mutex
	leader  string
	until   time.Time
	log     []jobs.News
	noted   map[int64]time.Time
	targets map[string]*place
	gone    map[string]bool // jobs that don't wait any more
	away    bool            // every call fails
	deaf    bool            // settling fails
	closed  bool            // subscribing fails
}

type place struct {
	at                  int64
	sent, failing, till time.Time
	mark                string
}

var errAway = errors.New("the store is away")

func newMemory() *memory {
	return &memory{noted: map[int64]time.Time{}, targets: map[string]*place{}, gone: map[string]bool{}}
}

func (m *memory) add(n jobs.News) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n.Seq = int64(len(m.log) + 1)
	if n.At.IsZero() {
		n.At = time.Now()
	}
	m.log = append(m.log, n)
	m.noted[n.Seq] = time.Now()
}

func (m *memory) Subscribe(_ context.Context, names []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away || m.closed {
		return errAway
	}
	for _, n := range names {
		if m.targets[n] == nil {
			m.targets[n] = &place{at: int64(len(m.log))}
		}
	}
	return nil
}

func (m *memory) LeadNews(_ context.Context, name string, lease time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return false, errAway
	}
	if m.leader == "" || m.leader == name || time.Now().After(m.until) {
		m.leader, m.until = name, time.Now().Add(lease)
	}
	return m.leader == name, nil
}

func (m *memory) YieldNews(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader == name {
		m.leader = ""
	}
	return nil
}

func (m *memory) ClaimNews(_ context.Context, t jobs.NewsTake) (jobs.NewsClaim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.targets[t.Target]
	if m.away {
		return jobs.NewsClaim{}, errAway
	}
	if p == nil || p.at >= int64(len(m.log)) {
		return jobs.NewsClaim{}, nil
	}
	news := m.log[p.at:]
	wait := max(time.Until(m.noted[news[0].Seq].Add(t.Gather)), 0)
	urgent := slices.ContainsFunc(news, func(n jobs.News) bool { return n.Urgent })
	if !p.sent.IsZero() && !urgent {
		wait = max(wait, time.Until(p.sent.Add(t.Every)))
	}
	if p.mark != "" && p.mark != t.Mark {
		wait = max(wait, time.Until(p.till))
	}
	if wait > 0 {
		return jobs.NewsClaim{Wait: wait}, nil
	}
	p.mark, p.till = t.Mark, time.Now().Add(t.Hold)
	c := jobs.NewsClaim{News: news, Last: news[len(news)-1].Seq}
	if !p.failing.IsZero() {
		c.Failing = time.Since(p.failing)
	}
	return c, nil
}

func (m *memory) SettleNews(_ context.Context, t jobs.NewsTake, o jobs.NewsOutcome, last int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.targets[t.Target]
	if m.away || m.deaf {
		return false, errAway
	}
	if p.mark != t.Mark {
		return false, nil
	}
	p.mark = ""
	if o == jobs.NewsKept {
		if p.failing.IsZero() {
			p.failing = time.Now()
		}
		return true, nil
	}
	p.at = last
	if o == jobs.NewsSent {
		p.sent, p.failing = time.Now(), time.Time{}
	}
	return true, nil
}

func (m *memory) StillWaits(_ context.Context, n jobs.News) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.gone[n.Job.ID], nil
}

// post is a service in memory.
type post struct {
	mu    sync.Mutex
	down  map[string]bool
	hangs map[string]bool
	mails []letter
}

type letter struct {
	at                   time.Time
	address, title, text string
}

func (p *post) deliver(ctx context.Context, address, title, text string) error {
	p.mu.Lock()
	hangs, down := p.hangs[address], p.down[address]
	p.mu.Unlock()
	if hangs {
		ctx, cancel := context.WithTimeout(ctx, sendTime)
		defer cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errors.New("503 Service Unavailable")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mails = append(p.mails, letter{time.Now(), address, title, text})
	return nil
}

func (p *post) set(down, hangs map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.hangs = down, hangs
}

// taken returns what was delivered since the last time.
func (p *post) taken() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.mails
	p.mails = nil
	return got
}
