package quota

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// use reads n bytes of an account's quota.
func (r *rig) use(account string, n int64) error {
	r.t.Helper()
	p := r.Pool(account, "use")
	g, err := p.Reserve(r.t.Context(), n)
	if err != nil {
		return err
	}
	must(r.t, g.Charge(r.t.Context(), n))
	must(r.t, g.Settle(r.t.Context(), n, 0))
	must(r.t, p.Close(r.t.Context()))
	return nil
}

func TestSet(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		must(t, r.use("anna", 900))
		st, err := r.Set(ctx, "anna", Change{Plan: ptr("large")})
		must(t, err)
		if st.Plan != "large" || st.Limit != 100_000 || st.Used != 900 || st.Available != 99_100 {
			t.Errorf("after a larger plan: %+v", st)
		}
		must(t, r.use("anna", 5000))
		st, err = r.Set(ctx, "anna", Change{Limit: ptr[int64](2000)})
		must(t, err)
		if st.Plan != "large" || st.Limit != 2000 || st.Available != 0 {
			t.Errorf("after a limit below what is used: %+v", st)
		}
		if err := r.use("anna", 1); !errors.Is(err, ErrNoQuota) {
			t.Errorf("got %v, want ErrNoQuota", err)
		}
		st, err = r.Set(ctx, "anna", Change{Plan: ptr("all")})
		must(t, err)
		if st.Limit != Unlimited || st.Available != Unlimited {
			t.Errorf("a plan takes the place of an own limit: %+v", st)
		}
		must(t, r.use("anna", 1_000_000))
		st, err = r.Set(ctx, "anna", Change{Plan: ptr("small"), Limit: ptr[int64](0)})
		must(t, err)
		if st.Limit != 0 || st.Available != 0 || st.Used != 1_005_900 {
			t.Errorf("after limit 0: %+v", st)
		}
		names, err := r.Accounts(ctx)
		if err != nil || !slices.Equal(names, []string{"anna"}) {
			t.Errorf("accounts %v, %v", names, err)
		}
	})
}

// A ledger that knows an account already learns at once what another process sets.
func TestSetByAnotherProcess(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	other := newLedger(t, r.client, limited(1000, 100))
	must(t, r.use("anna", 1000))
	_, err := other.Set(t.Context(), "anna", Change{Plan: ptr("large")})
	must(t, err)
	must(t, r.use("anna", 50_000))
	_, err = other.Set(t.Context(), "anna", Change{Plan: ptr("small")})
	must(t, err)
	if err := r.use("anna", 1); !errors.Is(err, ErrNoQuota) {
		t.Errorf("got %v, want ErrNoQuota", err)
	}
}

func TestSetRefusesBadInput(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	for _, tt := range []struct {
		account string
		c       Change
		field   string
	}{
		{"Anna", Change{}, "account"},
		{"anna", Change{Plan: ptr("gold")}, "plan"},
		{"anna", Change{Plan: ptr("")}, "plan"},
		{"anna", Change{Limit: ptr[int64](-2)}, "limit"},
		{"anna", Change{Limit: ptr[int64](maxBytes + 1)}, "limit"},
		{"anna", Change{AnchorDay: ptr(0)}, "anchor-day"},
		{"anna", Change{AnchorDay: ptr(32)}, "anchor-day"},
		{"anna", Change{TimeZone: ptr("")}, "time-zone"},
		{"anna", Change{TimeZone: ptr("CET-ish")}, "time-zone"},
	} {
		_, err := r.Set(t.Context(), tt.account, tt.c)
		var input *InputError
		if !errors.As(err, &input) || input.Field != tt.field || input.Hint == "" {
			t.Errorf("%s %+v: got %v, want an InputError of %s with a hint", tt.account, tt.c, err, tt.field)
		}
	}
	if keys, err := r.client.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("bad input left %v, %v", keys, err)
	}
}

// The end of the running period after changes of anchor and zone, from anchor 1 in UTC on 2026-11-22.
func TestSetAnchorExtendsThePeriod(t *testing.T) {
	tests := []struct {
		name    string
		changes []Change
		end     string
	}{
		{"tomorrow", []Change{{AnchorDay: ptr(23)}}, "2026-12-23T00:00:00Z"},
		{"today", []Change{{AnchorDay: ptr(22)}}, "2026-12-22T00:00:00Z"},
		{"the same", []Change{{AnchorDay: ptr(1)}}, "2026-12-01T00:00:00Z"},
		{"later", []Change{{AnchorDay: ptr(31)}}, "2026-12-31T00:00:00Z"},
		{"there and back", []Change{{AnchorDay: ptr(15)}, {AnchorDay: ptr(1)}}, "2026-12-01T00:00:00Z"},
		{"twice", []Change{{AnchorDay: ptr(15)}, {AnchorDay: ptr(5)}}, "2026-12-05T00:00:00Z"},
		{"zone to the east", []Change{{TimeZone: ptr("Europe/Berlin")}}, "2026-11-30T23:00:00Z"},
		{"zone to the west", []Change{{TimeZone: ptr("America/New_York")}}, "2026-12-01T05:00:00Z"},
		{"both", []Change{{TimeZone: ptr("Europe/Berlin"), AnchorDay: ptr(15)}}, "2026-12-14T23:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newMini(t, limited(1000, 100))
			must(t, r.use("anna", 800))
			var st Status
			var err error
			for _, c := range tt.changes {
				st, err = r.Set(t.Context(), "anna", c)
				must(t, err)
			}
			if got := st.Period.End.Format(time.RFC3339); got != tt.end || st.Used != 800 || st.Period.ID != "2026-11-01" {
				t.Errorf("period %s ends %s with %d used, want 2026-11-01, %s and 800", st.Period.ID, got, st.Used, tt.end)
			}
			// The first instant after it begins a full month.
			r.setClock(st.Period.End)
			must(t, r.use("anna", 1000))
			next := r.status("anna").Period
			if next.Start != st.Period.End || next.End.Sub(next.Start) < 28*24*time.Hour-time.Hour {
				t.Errorf("next period %v", next)
			}
		})
	}
}

// However often the anchor is moved: an account that uses all it gets gets no more than one allowance a month.
func TestNoFreeMonth(t *testing.T) {
	r := newReal(t, limited(1000, 100))
	allowances := 0
	for day := range 365 {
		_, err := r.Set(t.Context(), "anna", Change{AnchorDay: ptr(r.now.AddDate(0, 0, day%3).Day())})
		must(t, err)
		if st := r.status("anna"); st.Available > 0 {
			must(t, r.use("anna", st.Available))
			allowances++
		}
		r.advance(24 * time.Hour)
	}
	if allowances < 2 || allowances > 13 {
		t.Errorf("%d allowances in a year", allowances)
	}
}

// The same for an ended period of which nobody has taken notice, and for a changed configuration.
func TestAnchorAfterAnIdlePeriodEnd(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	must(t, r.use("anna", 1000))
	must(t, r.use("bert", 1000))
	r.setClock(time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC))
	st, err := r.Set(t.Context(), "anna", Change{AnchorDay: ptr(15)})
	must(t, err)
	if st.Used != 0 || st.Period.ID != "2026-12-01" || st.Period.End.Format(time.DateOnly) != "2027-01-15" {
		t.Errorf("after Set: %+v", st)
	}
	cfg := limited(1000, 100)
	cfg.AnchorDay = 15
	other := rig{Ledger: newLedger(t, r.client, cfg), t: t}
	must(t, other.use("bert", 1000))
	if p := other.status("bert").Period; p.ID != "2026-12-01" || p.End.Format(time.DateOnly) != "2027-01-15" {
		t.Errorf("after a new configuration: %+v", p)
	}
}

func TestPlanNoLongerConfigured(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	ctx := t.Context()
	_, err := r.Set(ctx, "anna", Change{Plan: ptr("large")})
	must(t, err)
	p := r.Pool("anna", "1")
	g, err := p.Reserve(ctx, 500)
	must(t, err)
	other := newLedger(t, r.client, Config{Quantum: 100})
	second := other.Pool("anna", "2")
	_, err = second.Reserve(ctx, 1)
	var full *NoQuotaError
	if !errors.As(err, &full) || full.TooLarge() || !full.Resets.IsZero() || !strings.Contains(full.Why, "plan large, which isn't configured") {
		t.Errorf("reserve without a limit: got %+v", err)
	}
	st, err := other.Status(ctx, "anna")
	if err != nil || st.Limit != 0 || st.Available != 0 || st.Why != full.Why || st.Removed {
		t.Errorf("status without a limit: got %+v, %v", st, err)
	}
	must(t, g.Charge(ctx, 500))
	must(t, g.Settle(ctx, 500, 0))
	must(t, p.Close(ctx))
	if st, err = other.Set(ctx, "anna", Change{Plan: ptr("free")}); err != nil || st.Used != 500 {
		t.Errorf("got %+v, %v", st, err)
	}
	_, err = second.Reserve(ctx, 1)
	must(t, err)
}

func TestStatusJSON(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	b, err := json.Marshal(r.status("anna"))
	must(t, err)
	want := `{"account":"anna","plan":"small","limit":1000,"used":0,"reserved":0,"wasted":0,"available":1000,` +
		`"anchor_day":1,"time_zone":"UTC","period":{"id":"2026-11-01","start":"2026-11-01T00:00:00Z","end":"2026-12-01T00:00:00Z"}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	// Asking leaves nothing behind.
	if names, err := r.Accounts(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("accounts %v, %v", names, err)
	}
}

// Another configured time zone moves the next period by hours, and periods still don't overlap.
func TestConfiguredZoneChanges(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	must(t, r.use("anna", 1000))
	cfg := limited(1000, 100)
	cfg.TimeZone = "Europe/Berlin"
	other := rig{Ledger: newLedger(t, r.client, cfg), t: t}
	r.setClock(time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC)) // December in Berlin
	if err := other.use("anna", 1); !errors.Is(err, ErrNoQuota) {
		t.Fatalf("got %v, want ErrNoQuota", err)
	}
	r.setClock(time.Date(2026, 12, 1, 0, 30, 0, 0, time.UTC))
	must(t, other.use("anna", 1000))
	if p := other.status("anna").Period; p.ID != "2026-12-01" || !p.Start.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) ||
		!p.End.Equal(time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", p)
	}
}
