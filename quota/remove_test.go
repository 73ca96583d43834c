package quota

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// A removed account grants nothing and its open pools are lost, until a person opens it again; what it used stays.
func TestRemove(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		open := func() (*Pool, *Grant) {
			p := r.Pool("anna", "1")
			g, err := p.Reserve(ctx, 300)
			must(t, err)
			must(t, g.Charge(ctx, 50))
			return p, g
		}
		_, charging := open()
		renewing, _ := open()
		closing, closed := open()
		r.wantCounts("anna", 300, 600, 0)
		must(t, r.Remove(ctx, "anna"))
		r.wantCounts("anna", 300, 0, 0)
		st := r.status("anna")
		if !st.Removed || st.Limit != 0 || st.Available != 0 || !strings.Contains(st.Why, "quota set --account anna --plan PLAN") {
			t.Errorf("got %+v", st)
		}
		if err := charging.Charge(ctx, 200); !errors.Is(err, ErrLost) {
			t.Errorf("charge: got %v, want ErrLost", err)
		}
		if err := renewing.Renew(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("renew: got %v, want ErrLost", err)
		}
		must(t, closed.Settle(ctx, 50, 0))
		must(t, closing.Close(ctx))
		fresh := r.Pool("anna", "2")
		_, err := fresh.Reserve(ctx, 1)
		var full *NoQuotaError
		if !errors.As(err, &full) || full.TooLarge() || !full.Resets.IsZero() || err.Error() != st.Why || full.Subject != "anna" {
			t.Errorf("reserve: got %+v", err)
		}
		r.wantCounts("anna", 300, 0, 0)
		if names, err := r.Accounts(ctx); err != nil || len(names) != 0 {
			t.Errorf("accounts %v, %v", names, err)
		}
		// Another anchor doesn't open it; a plan does, also for another process and for the pool that was refused.
		st, err = r.Set(ctx, "anna", Change{AnchorDay: ptr(5)})
		if err != nil || !st.Removed {
			t.Errorf("after another anchor: %+v, %v", st, err)
		}
		st, err = newLedgerLike(t, r).Set(ctx, "anna", Change{Plan: ptr("small")})
		if err != nil || st.Removed || st.Why != "" || st.Used != 300 || st.Available != 700 {
			t.Errorf("opened again: %+v, %v", st, err)
		}
		_, err = fresh.Reserve(ctx, 700)
		must(t, err)
		if _, err := fresh.Reserve(ctx, 1); !errors.Is(err, ErrNoQuota) {
			t.Errorf("an account gained bytes by being removed: %v", err)
		}
		if names, err := r.Accounts(ctx); err != nil || !slices.Equal(names, []string{"anna"}) {
			t.Errorf("accounts %v, %v", names, err)
		}
	})
}

// newLedgerLike returns the ledger of another process.
func newLedgerLike(t testing.TB, r *rig) *Ledger {
	l := newLedger(t, r.client, r.cfg)
	l.scripts = r.scripts
	return l
}

func TestRemoveOpensWithALimitOrAReset(t *testing.T) {
	cfg := limited(1000, 100)
	cfg.Accounts = map[string]AccountSettings{"anna": {Limit: 70}}
	r := newMini(t, cfg)
	for _, c := range []Change{{Limit: ptr[int64](70)}, {Reset: true}} {
		must(t, r.Remove(t.Context(), "anna"))
		must(t, r.Remove(t.Context(), "anna"))
		if names, err := r.Accounts(t.Context()); err != nil || len(names) != 0 {
			t.Errorf("accounts %v, %v", names, err)
		}
		st, err := r.Set(t.Context(), "anna", c)
		if err != nil || st.Removed || st.Limit != 70 {
			t.Errorf("%+v: got %+v, %v", c, st, err)
		}
	}
	b, err := json.Marshal(r.status("anna"))
	if err != nil || strings.Contains(string(b), "removed") {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestRemoveRefusesBadInput(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	for _, account := range []string{"", "../x", "Anna", RemoteSubject("g", PerDay)} {
		var input *InputError
		if err := r.Remove(t.Context(), account); !errors.As(err, &input) || input.Field != "account" || input.Hint == "" {
			t.Errorf("%q: got %v, want an InputError of account with a hint", account, err)
		}
	}
	if keys, err := r.client.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("bad input left %v, %v", keys, err)
	}
}

// A removed account is listed as long as something is reserved for it, and swept even when it isn't listed.
func TestRemovedAccountsAreSwept(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	r.load("anna", open(100, 200, 0).with(raw{"account/removed": "1", "pools/p": "200 0 0 0", "leases/p": "10s"}))
	must(t, r.register(t.Context(), "anna"))
	if names, err := r.Accounts(t.Context()); err != nil || !slices.Equal(names, []string{"anna"}) {
		t.Errorf("accounts %v, %v", names, err)
	}
	r.advance(r.cfg.Lease)
	if n, err := r.Sweep(t.Context()); err != nil || n != 1 {
		t.Errorf("swept %d, %v; want 1", n, err)
	}
	r.wantCounts("anna", 100, 0, 0)
}
