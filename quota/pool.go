package quota

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// cleanupTimeout bounds the calls that still work when their context is done.
const cleanupTimeout = 10 * time.Second

// Pool is the reservation of one unit of work, such as a batch. It is safe for concurrent use. Bytes that it holds serve
// all its files, so that most files need no call to Redis. Its owner renews it while it works and closes it at the end;
// a pool that is neither is closed by others when its lease ends.
type Pool struct {
	ledger  *Ledger
	account string
	invalid error // what is wrong with the account's name
	id      string

	lock     chan struct{} // a mutex that gives up with its caller's context; also held during a call to Redis
	quantum  int64
	claimant string // "" for none
	begun    bool   // Redis was asked to reserve, so that there may be a record
	closed   bool
	lost     bool
	renewed  time.Time // when the last call began that renewed the lease, by this process' clock
	alive    bool      // when the loss was told, the lease couldn't have ended
	have     totals    // the record, as this process knows it
	ahead    int64     // of the bytes charged: those that no grant has taken yet
	promised int64     // of the bytes held and ahead: those that grants may still take
	prefer   int64     // of the bytes hinted at: those that weren't reserved yet
	read     int64     // of the bytes charged: those that grants have taken and that may have been read
	told     int64     // read, when Redis was last told of traffic
	wasted   int64
	day      string // of the last charge
	before   string // the day of charges before that
}

// Pool returns a pool of the subject for one unit of work. It holds nothing yet, and Redis isn't asked. The id names the
// work in Redis, for people; a random part is added, so that two attempts at the same work never share a record. A bad
// name is the *InputError of each Reserve.
func (l *Ledger) Pool(account, id string) *Pool {
	return &Pool{ledger: l, account: account, invalid: checkSubject(account), id: id + ":" + rand.Text(),
		lock: make(chan struct{}, 1), quantum: l.quantum(account)}
}

// Prefer tells how many bytes all files together will probably need: the next Reserve that asks Redis sets them aside
// in the same call where they fit, and else what it needs itself.
func (p *Pool) Prefer(n int64) {
	p.lock <- struct{}{}
	defer p.unlock()
	p.prefer = min(max(n, 0), maxBytes)
}

// Reserve sets size bytes aside before a file starts. It returns a *NoQuotaError (ErrNoQuota) where they don't fit, and
// has reserved nothing then; ErrLost where the pool was lost. Size 0 needs no quota and always works.
func (p *Pool) Reserve(ctx context.Context, size int64) (*Grant, error) {
	if p.invalid != nil {
		return nil, p.invalid
	}
	if err := checkBytes("size", size); err != nil {
		return nil, err
	}
	if err := p.acquire(ctx); err != nil {
		return nil, err
	}
	defer p.unlock()
	if p.closed {
		return nil, p.wrap(errClosed)
	}
	if err := p.secure(ctx, size); err != nil {
		return nil, err
	}
	p.promised += size
	p.prefer = max(0, p.prefer-size)
	return &Grant{pool: p, size: size}, nil
}

// Renew keeps the pool for another lease. Its owner calls it several times a lease (every 10 to 15 s), with ErrLost it
// stops the work at once. After any other error it tries again soon: Redis may be back before the lease ends.
func (p *Pool) Renew(ctx context.Context) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.unlock()
	if p.closed {
		return p.wrap(errClosed)
	}
	if p.have.granted == 0 {
		return nil // nothing to keep
	}
	return p.touch(ctx)
}

// Close ends the pool: what it holds is free again, and what was charged ahead and not read is no longer used. What
// unsettled grants charged counts as read. It works though ctx is done, and may be called again, also after an error; a
// pool whose Close failed ends with its lease.
func (p *Pool) Close(ctx context.Context) error {
	p.lock <- struct{}{}
	defer p.unlock()
	p.closed = true
	if !p.begun {
		return nil
	}
	return p.end(ctx)
}

// end ends the record in Redis. The lock is held. What Redis has forgotten of this pool's charges, since it was restarted
// with an older append-only file, is booked again.
func (p *Pool) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	alive := p.alive || !p.lost && p.leased()
	e := ending{read: p.read, wasted: p.wasted, day: p.day, before: p.before, alive: alive}
	if err := p.ledger.end(ctx, p.account, p.id, e); err != nil {
		return err
	}
	p.begun = false
	return nil
}

// leased tells whether the lease surely hasn't ended, unless Redis' clock has jumped. Both clocks of this process must
// say so: the monotonic one may stand still while the machine sleeps, and the other one may be put back.
func (p *Pool) leased() bool {
	now, lease := time.Now(), p.ledger.cfg.Lease
	return now.Sub(p.renewed) < lease && now.Round(0).Sub(p.renewed.Round(0)) < lease
}

// lose takes note that the record is gone or is older than what is known here. The lock is held.
func (p *Pool) lose(ctx context.Context) error {
	p.lost, p.alive = true, p.leased()
	if err := p.end(ctx); err != nil { // Close tries it again
		p.ledger.cfg.Log.Debug("lost quota reservation closed later", "subject", p.account, "pool", p.id, "error", err)
	}
	return p.wrap(ErrLost)
}

// acquire takes the lock, or returns the context's error.
func (p *Pool) acquire(ctx context.Context) error {
	select {
	case p.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return p.wrap(context.Cause(ctx))
	}
}

func (p *Pool) unlock() { <-p.lock }

// wrap names the pool in an error.
func (p *Pool) wrap(err error) error {
	return fmt.Errorf("use quota reservation %s of %s: %w", p.id, title(p.account), err)
}

// held is the number of bytes that Redis keeps for this pool and that aren't charged.
func (p *Pool) held() int64 { return p.have.granted - p.have.charged }

// free is the number of bytes that may be promised without asking Redis.
func (p *Pool) free() int64 { return p.held() + p.ahead - p.promised }

// secure makes size bytes free to promise. The lock is held.
func (p *Pool) secure(ctx context.Context, size int64) error {
	for need := size - p.free(); need > 0; need = size - p.free() {
		if p.lost {
			return p.wrap(ErrLost)
		}
		if err := checkBytes("size", p.have.granted+need); err != nil {
			return err
		}
		want := min(need+max(0, p.prefer-size), maxBytes-p.have.granted)
		p.begun = true
		began := time.Now()
		now, err := p.ledger.reserve(ctx, p.account, p.id, p.have, order{need, want, size, p.claimant})
		if err = p.adopt(ctx, began, now, err); err != nil {
			var full *NoQuotaError
			if errors.As(err, &full) && full.Why == "" {
				full.Need, full.Available = size, full.Available+max(0, p.free())
			}
			return err
		}
	}
	return nil
}

// chargeAhead books bytes as used until n are there to be taken, in quanta as far as the pool holds them. The lock is
// held, and n bytes are promised.
func (p *Pool) chargeAhead(ctx context.Context, n int64) error {
	for p.ahead < n {
		if p.lost {
			return p.wrap(ErrLost)
		}
		bytes := min(p.held(), max(n-p.ahead, p.quantum))
		began := time.Now()
		now, day, err := p.ledger.charge(ctx, p.account, p.id, p.have, bytes)
		if day != "" && day != p.day {
			p.day, p.before = day, p.day
		}
		if err = p.adopt(ctx, began, now, err); err != nil {
			return err
		}
		p.told = p.read
	}
	return nil
}

// touch renews the lease, books waste, and gives back what the pool holds beyond a quantum more than it will need, such
// as the rest of a large file that failed. The lock is held.
func (p *Pool) touch(ctx context.Context) error {
	for {
		if p.lost {
			return p.wrap(ErrLost)
		}
		back := min(p.held(), p.free()-p.prefer)
		if back < p.quantum {
			back = 0
		}
		began := time.Now()
		now, err := p.ledger.touch(ctx, p.account, p.id, p.have, back, p.wasted, p.read > p.told)
		if err == nil {
			p.told = p.read
			return p.adopt(ctx, began, now, nil)
		}
		var differs *differsError
		if errors.As(err, &differs) {
			if err := p.adopt(ctx, began, now, err); err != nil {
				return err
			}
			continue
		}
		// The script may have run all the same: promise none of what it was to give back.
		p.have.granted -= back
		return p.adopt(ctx, began, now, err)
	}
}

// adopt takes over the totals that a script told, be it that it did its work or that an earlier one had done so though
// its answer was lost. What Redis has charged beyond what is known here was never read, and becomes charged ahead. A
// record that holds less than was promised, or charged less, is of an older Redis than the one that granted it: lost.
// began is when the script was sent.
func (p *Pool) adopt(ctx context.Context, began time.Time, now totals, err error) error {
	var differs *differsError
	switch {
	case errors.Is(err, ErrLost):
		return p.lose(ctx)
	case err != nil && !errors.As(err, &differs):
		return err
	}
	more := now.charged - p.have.charged
	if more < 0 || now.granted-now.charged+p.ahead+more < p.promised {
		return p.lose(ctx)
	}
	if err == nil {
		p.renewed = began
	}
	p.have = now
	p.ahead += more
	return nil
}
