package transfer_test

import (
	"context"
	"errors"
	"sync"

	"offload/transfer"
)

// memJournal keeps outcomes in memory.
type memJournal struct {
	mu      sync.Mutex
	done    []transfer.Outcome
	records []int // how often each entry was recorded
	// Fail is asked before each record is stored; an error is returned in its place. Nil lets all pass.
	Fail func(i int, o transfer.Outcome) error
}

// newJournal makes a journal for n entries.
func newJournal(n int) *memJournal {
	return &memJournal{done: make([]transfer.Outcome, n), records: make([]int, n)}
}

// Record implements transfer.Journal.
func (j *memJournal) Record(_ context.Context, i int, o transfer.Outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.Fail != nil {
		if err := j.Fail(i, o); err != nil {
			return err
		}
	}
	j.done[i] = o
	j.records[i]++
	return nil
}

// Done is a copy of what was recorded, as a batch wants it.
func (j *memJournal) Done() []transfer.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]transfer.Outcome(nil), j.done...)
}

// Records is how often entry i was recorded.
func (j *memJournal) Records(i int) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.records[i]
}

// errUsage says that the engine broke the contract of a port.
var errUsage = errors.New("port used against its contract")

// memMeter is an allowance in memory that checks how it is used: nothing is charged beyond what the limit allows, and each
// grant is settled once for no more than was charged.
type memMeter struct {
	mu       sync.Mutex
	Limit    int64 // bytes; 0 is no limit
	used     int64
	reserved int64
	wasted   int64
	open     int
	broken   []string
}

type memGrant struct {
	m       *memMeter
	left    int64 // reserved and not charged
	charged int64
	settled bool
}

// Used and Wasted are what was settled so far, in bytes; Wasted is part of Used.
func (m *memMeter) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Wasted is the part of Used that was read in vain.
func (m *memMeter) Wasted() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wasted
}

// Check returns errUsage where the contract was broken or a grant was never settled.
func (m *memMeter) Check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, b := range m.broken {
		errs = append(errs, errors.New(b))
	}
	if m.open != 0 || m.reserved != 0 {
		errs = append(errs, errors.New("a grant was not settled"))
	}
	if len(errs) > 0 {
		return errors.Join(append(errs, errUsage)...)
	}
	return nil
}

// Reserve implements transfer.Meter.
func (m *memMeter) Reserve(_ context.Context, size int64) (transfer.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if size < 0 {
		m.broken = append(m.broken, "negative reservation")
	}
	if m.Limit > 0 && m.used+m.reserved+size > m.Limit {
		return nil, transfer.ErrNoQuota
	}
	m.reserved += size
	m.open++
	return &memGrant{m: m, left: size}, nil
}

// Charge implements transfer.Grant.
func (g *memGrant) Charge(_ context.Context, n int64) error {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	if g.settled {
		g.m.broken = append(g.m.broken, "charged after the settlement")
	}
	if more := n - g.left; more > 0 {
		if g.m.Limit > 0 && g.m.used+g.m.reserved+more > g.m.Limit {
			return transfer.ErrNoQuota
		}
		g.m.reserved += more
		g.left += more
	}
	g.left -= n
	g.charged += n
	return nil
}

// Settle implements transfer.Grant.
func (g *memGrant) Settle(_ context.Context, used, wasted int64) error {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	if g.settled || used > g.charged || wasted > used || used < 0 || wasted < 0 {
		g.m.broken = append(g.m.broken, "bad settlement")
	}
	g.settled = true
	g.m.open--
	g.m.reserved -= g.left + g.charged
	g.m.used += used
	g.m.wasted += wasted
	return nil
}

// memSlots is a fixed number of slots.
type memSlots chan struct{}

// newSlots makes n slots.
func newSlots(n int) memSlots { return make(memSlots, n) }

// Acquire implements transfer.Slots.
func (s memSlots) Acquire(ctx context.Context) (func(throttled bool), error) {
	select {
	case s <- struct{}{}:
		return func(bool) { <-s }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
