package jobs

import (
	"testing"
	"time"

	"offload/quota"
	"offload/transfer"
)

// A tree's plan by the account's allowance: files that don't divide take longer than their sum.
func TestPlanCountsWholeFiles(t *testing.T) {
	tests := []struct {
		name    string
		limit   int64
		files   int
		size    int
		fits    bool
		periods int64
	}{
		{"fits", 40_000, 13, 3000, true, 1},
		{"small beside the allowance", 5000, 740, 50, false, 8},
		{"one a month", 5000, 13, 3000, false, 13}, // by the bytes alone it would be 8
		{"unlimited", quota.Unlimited, 13, 3000, true, 1},
		{"nothing allowed", 0, 13, 3000, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.setLimit("default", tt.limit)
			w.tree(tt.files, tt.size)
			p, err := w.svc.Plan(t.Context(), w.order(transfer.DeleteNever), nil)
			if err != nil {
				t.Fatal(err)
			}
			q := p.Quota
			if q.Fits != tt.fits || q.Periods != tt.periods || q.Limit != tt.limit || !q.Resets.After(time.Now()) || q.Forecast.Bytes != int64(tt.files*tt.size) {
				t.Errorf("%+v", q)
			}
			if len(p.TooLarge) != 0 || p.Traffic != q.Forecast.Bytes {
				t.Errorf("traffic %d, too large %+v", p.Traffic, p.TooLarge)
			}
		})
	}
}

// Each file that no month carries is named with the plan that does.
func TestPlanNamesFilesThatAreTooLarge(t *testing.T) {
	w := newWorld(t, "")
	var err error
	w.ledger, err = quota.New(w.store.Client(), quota.Config{Tiers: []quota.Tier{{Name: "free", Limit: 5000}, {Name: "basic", Limit: 50_000}}})
	if err != nil {
		t.Fatal(err)
	}
	w.svc = w.service(nil)
	w.put("a.mov", 20_000)
	w.put("b.mov", 60_000)
	w.put("c.txt", 4000)
	p, err := w.svc.Plan(t.Context(), w.order(transfer.DeleteNever), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a.mov": "plan basic (49 KiB a month) would carry it", "b.mov": "no plan would carry it"}
	for _, r := range p.TooLarge {
		if want[r.Path] != r.Reason {
			t.Errorf("%s: %s", r.Path, r.Reason)
		}
		delete(want, r.Path)
	}
	q := p.Quota
	if len(want) > 0 || q.Fits || q.Periods != 1 || q.Forecast.TooLarge != 2 || q.Forecast.Largest != 60_000 || q.Forecast.Bytes != 4000 {
		t.Errorf("not named: %v; %+v", want, q)
	}
}
