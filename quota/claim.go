package quota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Claim is a large file's (a unit's) place in the queue for bytes that didn't fit.
type Claim struct {
	ID    string // "JOB:batch", as Pool's Claimant names it
	Need  int64
	Since time.Time // start of the period in which it was first refused
}

// claimLife is how long a claim outlives its last renewal, as common.lua has it.
const claimLife = time.Minute

// Claim keeps or renews a claim; it is forgotten a minute after its last renewal. From the period after Since on, the
// claim goes before all reservations of others: they are granted only what is left beside it, unless the claim can't
// fit this period (Need > limit - used, less the older claims). So small files go first at first, and no large one
// starves. Of more than 64 claims the oldest are kept. One that was granted is not taken up again for a minute, unless Since
// is later: whoever renews it hasn't heard of the grant yet.
func (l *Ledger) Claim(ctx context.Context, subject string, c Claim) error {
	if err := errors.Join(checkSubject(subject), checkBytes("need", c.Need)); err != nil {
		return err
	}
	if c.ID == "" {
		return inputError("claim", "", "name the job and its batch", "needs a name")
	}
	if err := l.register(ctx, subject); err != nil {
		return err
	}
	err := l.scripts.claim.Run(ctx, l.client, keys(subject), c.ID, c.Need, max(0, millis(c.Since))).Err()
	if err != nil {
		return fmt.Errorf("claim quota of %s: %w", title(subject), err)
	}
	return nil
}

// Unclaim drops a claim, for a minute at least; granting its need to a pool of its Claimant does so too.
func (l *Ledger) Unclaim(ctx context.Context, subject, id string) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	if err := l.scripts.unclaim.Run(ctx, l.client, keys(subject), id).Err(); err != nil {
		return fmt.Errorf("drop a claim to quota of %s: %w", title(subject), err)
	}
	return nil
}

// Claimant names the claim that the pool's reservations may use. It is called before the first Reserve.
func (p *Pool) Claimant(id string) {
	p.lock <- struct{}{}
	defer p.unlock()
	p.claimant = id
}

// storedClaim is a claim that counts now.
type storedClaim struct {
	id          string
	need, since int64
}

// parseClaims returns the claims that count in the period that began at start, in their order; see kept in common.lua.
func parseClaims(rows []string, now, start time.Time) ([]storedClaim, error) {
	var list []storedClaim
	for row := range slices.Chunk(rows, 2) {
		if len(row) != 2 {
			return nil, fmt.Errorf("claim %s has no record", row[0])
		}
		c := storedClaim{id: row[0]}
		var renewed int64
		if _, err := fmt.Sscan(row[1], &c.need, &c.since, &renewed); err != nil {
			return nil, fmt.Errorf("claim %s is %q: %w", c.id, row[1], err)
		}
		if age := now.Sub(time.UnixMilli(renewed)).Abs(); c.need > 0 && age < claimLife && c.since < millis(start) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(x, y storedClaim) int {
		return cmp.Or(cmp.Compare(x.since, y.since), cmp.Compare(x.id, y.id))
	})
	return list, nil
}

// kept is what the claims that go before a claimant's own keep back from it, as reserve.lua counts it.
func kept(claims []storedClaim, st Status, claimant string) (before int64) {
	for _, c := range claims {
		if c.id == claimant {
			break
		}
		if before+c.need <= st.Limit-st.Used {
			before += c.need
		}
	}
	return before
}
