package dropbox

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	paceStart = 8
	paceMax   = 48
	lowPace   = 4 // up to here one call more or less counts
	// paceMemory is for how long a number of calls at once that was refused isn't tried again.
	paceMemory = 10 * time.Minute
)

// pace limits the calls to one account that are under way at once. It rises while all goes well: by half in each round
// until the service first refused, by one from then on. A refusal halves it, and keeps it below the number that was
// refused for paceMemory.
type pace struct {
	now func() time.Time

	mu      sync.Mutex
	limit   int
	busy    int
	wins    int  // calls that went well since the limit was last changed
	full    bool // the limit was reached since then
	round   int  // grows with each refusal that counts: calls that began before are part of it
	refused bool // the service has refused at least once
	good    int  // calls at once that went well for a round, the last such number
	ceiling int
	until   time.Time // of the ceiling
	waiting []chan struct{}
}

func newPace() *pace { return &pace{now: time.Now, limit: paceStart, ceiling: paceMax} }

// acquire waits for a place. The number it returns is for release.
func (p *pace) acquire(ctx context.Context) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	p.mu.Lock()
	if p.busy < p.limit && len(p.waiting) == 0 {
		defer p.mu.Unlock()
		p.busy++
		return p.round, nil
	}
	p.full = true
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := slices.Index(p.waiting, turn); i >= 0 {
			p.waiting = slices.Delete(p.waiting, i, i+1)
		} else {
			p.busy-- // the place was given in the same moment: pass it on
			p.wake()
		}
		return 0, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.round, nil
}

// How a call ended, as far as the pace is concerned.
type ending int

const (
	endedWell ending = iota
	endedRefused
	endedElse // it says nothing about the pace
)

// release gives the place back.
func (p *pace) release(round int, how ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case how == endedRefused && round == p.round:
		if below := p.busy - 1; below > lowPace {
			p.lower(below - 1) // a commit, which has no place here, may have been under way as well
		} else {
			p.lower(below)
		}
	case how == endedWell:
		p.wins++
		p.rise()
	}
	p.busy--
	p.wake()
}

// slow is told of a refusal of a call that has no place here (a commit), which these calls are too many beside.
func (p *pace) slow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lower(p.busy - 1)
}

// lower halves the limit after a refusal, and keeps it at below or less; the caller holds mu.
func (p *pace) lower(below int) {
	p.round++
	p.refused = true
	if p.good > 0 && p.busy-p.good > 1 { // the service's limit lies between what went well and this: the first guess is in the middle
		below = min(below, (p.good+p.busy)/2-1)
	}
	p.ceiling, p.until = max(1, below, p.limit/2), p.now().Add(paceMemory)
	p.limit = max(1, min(p.limit/2, p.ceiling))
	p.wins, p.full = 0, false
}

// rise raises the limit after a round that went well and used it whole; the caller holds mu.
func (p *pace) rise() {
	if p.wins < p.limit {
		return
	}
	if p.full {
		step := 1
		if !p.refused {
			step = max(1, p.limit/2)
		}
		most := paceMax
		if p.now().Before(p.until) {
			most = min(most, p.ceiling)
		}
		p.good = p.limit
		p.limit = max(p.limit, min(p.limit+step, most))
	}
	p.wins, p.full = 0, false
}

// wake gives free places to those who wait, first come first served; the caller holds mu.
func (p *pace) wake() {
	for p.busy < p.limit && len(p.waiting) > 0 {
		p.busy++
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.full = p.full || len(p.waiting) > 0
	}
}
