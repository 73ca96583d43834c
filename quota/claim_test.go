package quota

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// october is a moment of the period before the tests' first one.
var october = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

// takes tells whether a new pool of the claimant is granted so many bytes, which it keeps.
func (r *rig) takes(claimant string, n int64) bool {
	r.t.Helper()
	p := r.Pool("anna", claimant)
	p.Claimant(claimant)
	_, err := p.Reserve(r.t.Context(), n)
	if err != nil && !errors.Is(err, ErrNoQuota) {
		r.t.Fatal(err)
	}
	return err == nil
}

// carries compares what is available to a claimant, by status and by refusal.
func (r *rig) carries(claimant string, want int64) {
	r.t.Helper()
	st, err := r.StatusFor(r.t.Context(), "anna", claimant)
	must(r.t, err)
	p := r.Pool("anna", claimant)
	p.Claimant(claimant)
	_, err = p.Reserve(r.t.Context(), want+1)
	var full *NoQuotaError
	if !errors.As(err, &full) || full.Available != want || st.Available != want {
		r.t.Errorf("%q: %d available by status, and %+v when refused; want %d", claimant, st.Available, err, want)
	}
}

func TestClaims(t *testing.T) {
	claim := func(id string, need int64, since time.Time) func(*rig) {
		return func(r *rig) { must(r.t, r.Claim(r.t.Context(), "anna", Claim{id, need, since})) }
	}
	tests := []struct {
		name   string
		given  []func(*rig)
		free   map[string]int64 // by claimant
		status int64            // available without claims
	}{
		{"a young claim keeps nothing back", []func(*rig){claim("a", 600, start)}, map[string]int64{"": 900, "a": 900}, 900},
		{"an aged one does", []func(*rig){claim("a", 600, october)}, map[string]int64{"": 300, "a": 900, "b": 300}, 900},
		{"one that can't fit doesn't", []func(*rig){claim("a", 901, october)}, map[string]int64{"": 900, "a": 900}, 900},
		{"the oldest first", []func(*rig){claim("b", 600, october), claim("c", 600, october.AddDate(0, -1, 0))},
			map[string]int64{"": 300, "b": 300, "c": 900}, 900},
		{"of one age by name", []func(*rig){claim("b", 400, october), claim("a", 400, october)},
			map[string]int64{"": 100, "b": 500, "a": 900}, 900},
		{"a smaller one beside a larger one that doesn't fit", []func(*rig){claim("a", 500, october), claim("b", 500, october), claim("c", 400, october)},
			map[string]int64{"": 0, "a": 900, "b": 400, "c": 400}, 900},
		{"renewed", []func(*rig){claim("a", 600, october), func(r *rig) { r.advance(59 * time.Second) }, claim("a", 500, october),
			func(r *rig) { r.advance(59 * time.Second) }}, map[string]int64{"": 400}, 900},
		{"not renewed", []func(*rig){claim("a", 600, october), func(r *rig) { r.advance(60 * time.Second) }}, map[string]int64{"": 900}, 900},
		{"a clock put back", []func(*rig){claim("a", 600, october), func(r *rig) { r.advance(-time.Hour) }}, map[string]int64{"": 900}, 900},
		{"dropped", []func(*rig){claim("a", 600, october), func(r *rig) { must(r.t, r.Unclaim(r.t.Context(), "anna", "a")) }},
			map[string]int64{"": 900}, 900},
		{"it ages when a new period begins", []func(*rig){claim("a", 600, start), func(r *rig) { r.setClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) },
			claim("a", 600, start)}, map[string]int64{"": 400, "a": 1000}, 1000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
				must(t, r.use("anna", 100))
				for _, step := range tt.given {
					step(r)
				}
				for claimant, free := range tt.free {
					r.carries(claimant, free)
				}
				if st := r.status("anna"); st.Available != tt.status {
					t.Errorf("status tells %d available, want %d", st.Available, tt.status)
				}
			})
		})
	}
}

// A grant of its need ends a claim, and no smaller one.
func TestClaimEndsWithItsGrant(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		must(t, r.Claim(ctx, "anna", Claim{"a", 600, october}))
		if !r.takes("a", 100) || !r.takes("b", 300) || r.takes("b", 1) {
			t.Error("only 300 were to be had beside the claim")
		}
		if r.takes("a", 601) {
			t.Error("601 of 600 were granted")
		}
		if !r.takes("a", 600) {
			t.Error("the claim wasn't granted")
		}
		r.carries("b", 0)
		must(t, r.Claim(ctx, "anna", Claim{"a", 600, october})) // by somebody who hasn't heard of the grant
		_, err := r.Set(ctx, "anna", Change{Limit: ptr(int64(1200))})
		must(t, err)
		r.carries("b", 200)
		// One that a pool has bytes for already ends too.
		must(t, r.Claim(ctx, "bert", Claim{"a", 600, october}))
		p := r.Pool("bert", "a")
		p.Claimant("a")
		p.Prefer(700)
		_, err = p.Reserve(ctx, 10)
		must(t, err)
		st, err := r.StatusFor(ctx, "bert", "b")
		must(t, err)
		if st.Available != 300 {
			t.Errorf("%d are available beside 700 that are reserved, and no claim any more; want 300", st.Available)
		}
	})
}

// What a pool would like beyond its need is never taken from the claims of others, not even from younger ones.
func TestPreferLeavesClaimsAlone(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		must(t, r.Claim(ctx, "anna", Claim{"a", 300, october}))
		must(t, r.Claim(ctx, "anna", Claim{"b", 600, october}))
		p := r.Pool("anna", "a")
		p.Claimant("a")
		p.Prefer(900)
		_, err := p.Reserve(ctx, 300)
		must(t, err)
		r.wantCounts("anna", 0, 300, 0)
		r.carries("b", 700)
	})
}

// Small files keep coming beside a large one: it is served in the period after the one that refused it.
func TestClaimEndsStarvation(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		refused, months := time.Time{}, 0
		for ; months < 4; months++ {
			small := func() bool { return r.use("anna", 50) == nil }
			small() // someone is always faster
			if !refused.IsZero() {
				must(t, r.Claim(ctx, "anna", Claim{"large", 900, refused}))
			}
			for small() {
			}
			if r.takes("large", 900) {
				break
			}
			if refused.IsZero() {
				refused = r.status("anna").Period.Start
			}
			r.setClock(r.status("anna").Period.End)
		}
		if months != 1 {
			t.Errorf("the large file was granted in month %d, want 1", months)
		}
	})
}

// Of too many claims the oldest are kept, and those that nobody renews are forgotten.
func TestManyClaims(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx, key := t.Context(), keys("anna")[4]
		for i := range 80 {
			must(t, r.Claim(ctx, "anna", Claim{fmt.Sprintf("c%02d", i), 10, october.AddDate(0, 0, i%20)}))
		}
		if n := r.client.HLen(ctx, key).Val(); n != 64 {
			t.Errorf("%d claims are kept, want 64", n)
		}
		if !r.client.HExists(ctx, key, "c60").Val() || r.client.HExists(ctx, key, "c79").Val() {
			t.Error("the oldest claims weren't kept")
		}
		r.advance(time.Minute)
		_, err := r.Sweep(ctx)
		must(t, err)
		if n := r.client.HLen(ctx, key).Val(); n != 0 {
			t.Errorf("%d claims are left", n)
		}
	})
}

func TestClaimRefusesBadInput(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	var input *InputError
	for _, do := range []func(context.Context) error{
		func(ctx context.Context) error { return r.Claim(ctx, "{", Claim{"a", 1, start}) },
		func(ctx context.Context) error { return r.Claim(ctx, "anna", Claim{"", 1, start}) },
		func(ctx context.Context) error { return r.Claim(ctx, "anna", Claim{"a", -1, start}) },
		func(ctx context.Context) error { return r.Unclaim(ctx, "{", "a") },
	} {
		if err := do(t.Context()); !errors.As(err, &input) {
			t.Errorf("got %v, want an InputError", err)
		}
	}
	must(t, r.Claim(t.Context(), "anna", Claim{"a", 1, time.Time{}}))
	if st, err := r.StatusFor(t.Context(), "anna", ""); err != nil || st.Available != 999 {
		t.Errorf("got %+v, %v", st, err)
	}
}
