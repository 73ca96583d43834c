package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/quota"
)

// claim is a job's record of the unit that has waited longest for quota. It outlives the ledger's own, which ends a
// minute after its last renewal: so a job keeps its place in the queue though no worker runs for days.
type claim struct {
	Unit  string           `json:"unit"`
	Need  int64            `json:"need"`  // bytes
	Since map[string]int64 `json:"since"` // by subject: when the period began that refused it first, ms since 1970
}

// The fields of a job's hash that hold the claim: the whole, and the unit alone for the scripts.
const (
	fieldClaim     = "claim"
	fieldClaimUnit = "claim_unit"
)

// parseClaim reads a job's claim; "" is none.
func parseClaim(raw string) (claim, error) {
	var c claim
	if raw == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		return c, fmt.Errorf("read claim: %w", err)
	}
	return c, nil
}

// id names the claim in the ledger.
func (c claim) id(job string) string { return unitClaimant(job, c.Unit) }

// choose returns the largest parked unit of a job that the limits allow at all, to claim quota for it: what is smaller
// finds its way by itself.
func (s *Service) choose(ctx context.Context, id string, of []standing) (claim, error) {
	largest := int64(-1)
	for _, st := range of {
		if st.Limit >= 0 && (largest < 0 || st.Limit/st.times < largest) {
			largest = st.Limit / st.times
		}
	}
	if largest < 0 {
		return claim{}, nil
	}
	found, err := s.client.ZRevRangeByScoreWithScores(ctx, keysOf(id).parked(), &redis.ZRangeBy{
		Min: "1", Max: strconv.FormatInt(largest, 10), Count: 1}).Result()
	if err != nil || len(found) == 0 {
		return claim{}, err
	}
	unit, _ := found[0].Member.(string)
	return claim{Unit: unit, Need: int64(found[0].Score), Since: map[string]int64{}}, nil
}

// first is when the unit was first refused, by whichever limit. Its claims have this age in all limits: with an age for
// each limit, two units could go before each other in two limits that both need, and wait for ever.
func (c claim) first() time.Time {
	first := int64(math.MaxInt64)
	for _, since := range c.Since {
		first = min(first, since)
	}
	return time.UnixMilli(first).UTC()
}

// renewClaim keeps a claim in the ledger, and notes in the job which limits refuse it now. A limit is claimed only while
// the others could carry the unit this period: what can't move anyway would keep bytes from others in vain.
func (s *Service) renewClaim(ctx context.Context, id string, c claim, of []standing) error {
	if c.Since == nil {
		c.Since = map[string]int64{}
	}
	news := false
	for _, st := range of {
		if _, ok := c.Since[st.subject]; !ok && !st.fits(c.Need) {
			c.Since[st.subject] = st.Period.Start.UnixMilli()
			news = true
		}
	}
	if news {
		raw, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("note the claim of job %s: %w", id, err)
		}
		if n, _, err := s.scripts.verdict(ctx, "claim_unit", id, nil, c.Unit, raw); err != nil || n != 1 {
			return err // 0: the unit ended, or somebody paused the job
		}
	}
	for i, st := range of {
		if _, ok := c.Since[st.subject]; !ok || !othersCarry(of, i, c.Need) {
			continue
		}
		err := s.cfg.Ledger.Claim(ctx, st.subject, quota.Claim{ID: c.id(id), Need: c.Need * st.times, Since: c.first()})
		if err != nil {
			return err
		}
	}
	return nil
}

func othersCarry(of []standing, but int, need int64) bool {
	for i, st := range of {
		if i != but && !st.soon(need) {
			return false
		}
	}
	return true
}

// unclaim drops a job's claim in the ledger. A failure costs little: the claim ends by itself within a minute.
func (s *Service) unclaim(ctx context.Context, id string, c claim) {
	for subject := range c.Since {
		if err := s.cfg.Ledger.Unclaim(ctx, subject, c.id(id)); err != nil {
			s.log.Warn("drop a claim for quota", "job", id, "subject", subject, "error", err)
		}
	}
}
