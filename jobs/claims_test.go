package jobs

import (
	"fmt"
	"testing"

	"offload/quota"
)

// claimsOf tells which claims the ledger keeps of a subject.
func (w *quotaWorld) claimsOf(subject string) []string {
	w.t.Helper()
	ids, err := w.store.Client().HKeys(w.t.Context(), "offload:{q:"+subject+"}:claims").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// Two large files, each refused first by another limit: in all limits the same one goes first, or both would wait for ever.
func TestClaimsOfTwoLimitsHaveOneOrder(t *testing.T) {
	cfg := quota.Config{Remotes: map[string]quota.RemoteLimits{"dst": {PerMonth: 1000}}}
	onStores(t, cfg, func(t *testing.T, w *quotaWorld) {
		ctx := t.Context()
		w.set("anna", 1000)
		limits := []limit{{"anna", 1}, {dstMonth, 1}}
		older, younger := month(-3).UnixMilli(), month(-2).UnixMilli()
		claims := map[string]claim{
			"X": {Unit: batchUnit(1), Need: 600, Since: map[string]int64{"anna": older, dstMonth: younger}},
			"Y": {Unit: batchUnit(1), Need: 600, Since: map[string]int64{"anna": younger, dstMonth: older}},
		}
		for id, c := range claims {
			bytes, err := w.svc.standings(ctx, limits, c.id(id))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.svc.renewClaim(ctx, id, c, bytes); err != nil {
				t.Fatal(err)
			}
		}
		granted := 0
		for id, c := range claims {
			bytes, err := w.svc.standings(ctx, limits, c.id(id))
			if err != nil {
				t.Fatal(err)
			}
			if allFit(bytes, c.Need) {
				granted++
			}
		}
		if granted != 1 {
			t.Errorf("%d of the two files may go, want 1", granted)
		}
	})
}

// A claim keeps nothing back while the job can't move anyway, since there are no API calls left.
func TestNoClaimWithoutCalls(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		ctx := t.Context()
		w.set("anna", 1000)
		lim := limits{bytes: []limit{{"anna", 1}}}
		a := audited{state: Waiting, unit: batchUnit(1), need: 600,
			claim: claim{Unit: batchUnit(1), Need: 600, Since: map[string]int64{"anna": month(-2).UnixMilli()}}}
		for _, left := range []int64{0, 100} {
			bytes, err := w.svc.standings(ctx, lim.bytes, "X:1")
			if err != nil {
				t.Fatal(err)
			}
			calls := []standing{{limit{"remote/dst/calls", 1}, quota.Status{Limit: 100, Available: left}}}
			if fits, err := w.svc.mindClaim(ctx, "X", a, lim, bytes, calls); err != nil || fits != (left > 0) {
				t.Errorf("with %d calls: %t, %v", left, fits, err)
			}
			if got, want := fmt.Sprint(w.claimsOf("anna")), map[int64]string{0: "[]", 100: "[X:1]"}[left]; got != want {
				t.Errorf("with %d calls the claims are %s, want %s", left, got, want)
			}
		}
	})
}

// A limit that is made smaller than what is used is exhausted, too: whoever watches is told, once.
func TestALoweredLimitIsToldAsExhausted(t *testing.T) {
	onStores(t, quota.Config{}, func(t *testing.T, w *quotaWorld) {
		ctx := t.Context()
		w.set("anna", 1000)
		p := w.ledger.Pool("anna", "test")
		g, err := p.Reserve(ctx, 500)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Charge(ctx, 500); err != nil {
			t.Fatal(err)
		}
		w.set("anna", 400)
		for range 2 {
			bytes, err := w.svc.standings(ctx, []limit{{"anna", 1}}, "")
			if err != nil {
				t.Fatal(err)
			}
			w.svc.exhausted(ctx, bytes, 10)
		}
		events, err := w.ledger.Events(ctx, "anna")
		if err != nil || len(events) != 1 || events[0].Percent != 100 || events[0].Limit != 400 {
			t.Errorf("events %+v, %v", events, err)
		}
	})
}
