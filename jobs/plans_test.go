package jobs

import "testing"

// The plans say what each would mean: one that is large enough ends the jobs in this month, one as small as today's limit
// as late as today.
func TestPlansForecast(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.setLimit("anna", 10_000)
		w.worker(w.svc, WorkerOptions{})
		j := w.enqueue(w.forAnna("a", 5, 4000))
		w.reach(j.ID, Waiting)
		f, err := w.svc.PlansForecast(t.Context(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		if f.Jobs != 1 || f.Status.Used != 8000 || f.All.Periods < 2 || len(f.Plans) != len(w.ledger.Tiers()) {
			t.Fatalf("%+v", f)
		}
		for _, p := range f.Plans {
			if p.Current {
				t.Errorf("plan %s is said to hold, but anna has a limit of her own", p.Plan)
			}
			if !p.Forecast.Fits || p.Forecast.Periods != 1 || p.Forecast.Plan != p.Plan || p.Forecast.Limit != p.Limit {
				t.Errorf("plan %s: %+v", p.Plan, p.Forecast)
			}
		}
		// By the index of the accounts it is the same, and nobody else's jobs count.
		if err := w.store.Client().Set(t.Context(), keyIndexed, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		for account, jobs := range map[string]int{"anna": 1, "berta": 0} {
			if g, err := w.svc.PlansForecast(t.Context(), account); err != nil || g.Jobs != jobs || g.More || account == "anna" && g.All.Bytes != f.All.Bytes {
				t.Errorf("%s: %+v, %v", account, g, err)
			}
		}
		if st, err := w.ledger.Status(t.Context(), "anna"); err != nil || st.Limit != 10_000 {
			t.Errorf("asking has changed something: %+v, %v", st, err)
		}
	})
}
