package jobs

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/quota"
	"offload/transfer"
)

// forecastWorld is a service on a store with a movable clock, and an account "anna" with a limit of its own. The clock goes on by
// itself: maintenance looks at jobs by it.
func forecastWorld(t *testing.T, limit int64, cfg quota.Config) *quotaWorld {
	t.Helper()
	w := newQuotaWorld(t, cfg, miniClock)
	w.setLimit("anna", limit)
	return w
}

func (w *world) setLimit(account string, limit int64) {
	w.t.Helper()
	if _, err := w.ledger.Set(w.t.Context(), account, quota.Change{Limit: &limit}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) forecast(id string) quota.Forecast {
	w.t.Helper()
	j, err := w.svc.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := w.svc.Forecast(w.t.Context(), j)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// forAnna is an order that anna pays.
func (w *world) forAnna(prefix string, n, size int) Order {
	w.t.Helper()
	for i := range n {
		w.put(fmt.Sprintf("%s/file %02d.bin", prefix, i), size)
	}
	o := w.order(transfer.DeleteNever)
	o.Account, o.Source, o.Dest = "anna", filepath.Join(w.src, prefix), filepath.Join(w.dst, prefix)
	return o
}

// What a job is told of its periods is what the ledger then does with it: seven files of which two fit a month.
func TestForecastIsWhatComes(t *testing.T) {
	w := forecastWorld(t, 10_000, quota.Config{})
	w.worker(w.svc, WorkerOptions{})
	j := w.enqueue(w.forAnna("a", 7, 4000))
	w.reach(j.ID, Waiting, Completed, CompletedW, FailedState)
	first := w.forecast(j.ID)
	if first.Periods != 4 || first.Bytes != 20_000 || first.Available != 2000 || first.Fits || first.BoundBy != quota.BoundByQuota ||
		first.Ends == nil || first.Ends.Format(time.DateOnly) != "2027-04-01" {
		t.Fatalf("%+v: %s", first, first.Sentence())
	}
	resets := int64(0)
	for copied := int64(2); ; copied += 2 {
		f := w.forecast(j.ID)
		if f.Periods != first.Periods-resets {
			t.Fatalf("after %d resets %d periods more: %s", resets, f.Periods, f.Sentence())
		}
		if resets++; resets == first.Periods {
			t.Fatal("it takes longer than forecast")
		}
		w.goTo(f.WaitUntil.Add(time.Minute))
		if err := w.svc.QuotaChanged(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		var now Job
		until(t, "the job goes on after a reset", func() bool {
			var err error
			if now, err = w.svc.Get(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			return now.State.Terminal() || now.State == Waiting && now.Files.Copied > copied
		})
		if now.State.Terminal() {
			if now.State != Completed || resets != first.Periods-1 {
				t.Fatalf("%s after %d resets, forecast %d periods", now.State, resets, first.Periods)
			}
			break
		}
	}
	if f := w.forecast(j.ID); f.Sentence() != "Nothing is left to be moved." {
		t.Error(f.Sentence())
	}
}

func TestForecastOfAnAccount(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.setLimit("anna", 10_000)
		w.worker(w.svc, WorkerOptions{})
		a, b := w.enqueue(w.forAnna("a", 5, 4000)), w.enqueue(w.forAnna("b", 5, 4000))
		other := w.order(transfer.DeleteNever)
		other.Source, other.Dest = filepath.Join(w.src, "a"), filepath.Join(w.dst, "other") // of another account
		w.reach(w.enqueue(other).ID, Completed)
		w.reach(a.ID, Waiting)
		w.reach(b.ID, Waiting)
		all, err := w.svc.AccountForecast(t.Context(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		if len(all.Jobs) != 2 || all.Jobs[0].ID != a.ID || all.More || all.Status.Used != 8000 {
			t.Fatalf("%+v", all)
		}
		if all.All.Bytes != 32_000 || all.All.Periods != 5 || !strings.HasPrefix(all.All.Sentence(), "31 KiB don't fit the 2.0 KiB that account anna has left until ") {
			t.Fatalf("all: %+v: %s", all.All, all.All.Sentence())
		}
		left := all.Jobs[0].Forecast.Bytes + all.Jobs[1].Forecast.Bytes
		for i, j := range all.Jobs {
			f, theirs := j.Forecast, all.Jobs[1-i].Forecast
			if f.Others == nil || f.Others.Jobs != 1 || f.Others.Bytes != min(f.Bytes, theirs.Bytes) || f.Others.Ends == nil || f.Others.Ends.Before(*f.Ends) {
				t.Errorf("job %d: %+v", i, f)
			}
		}
		if left != 32_000 {
			t.Errorf("%d bytes left in all jobs", left)
		}
		if _, err := w.svc.Pause(t.Context(), b.ID); err != nil {
			t.Fatal(err)
		}
		if f := w.forecast(a.ID); f.Others != nil || f.Periods != 1+(f.Bytes/4000+1)/2 {
			t.Errorf("beside a paused job: %+v", f)
		}
		w.jobsOfARemovedAccount(a.ID)
	})
}

// jobsOfARemovedAccount checks that such a job isn't told an end.
func (w *world) jobsOfARemovedAccount(id string) {
	w.t.Helper()
	if err := w.ledger.Remove(w.t.Context(), "anna"); err != nil {
		w.t.Fatal(err)
	}
	f := w.forecast(id)
	if f.Periods != 0 || f.Ends != nil || !strings.Contains(f.Sentence(), "account anna was removed: `offload quota set --account anna --plan PLAN` opens it again") {
		w.t.Errorf("removed: %s", f.Sentence())
	}
}

// A job of which nothing is known yet says so; one that may read only so much in all ends earlier.
func TestForecastOfAJobThatHasntBegun(t *testing.T) {
	w := newWorld(t, "")
	w.setLimit("anna", 10_000)
	o := w.forAnna("a", 7, 4000)
	j := w.enqueue(o)
	if f := w.forecast(j.ID); !f.AtLeast || f.Fits || f.Ends != nil || f.End() != "not known yet" || f.Sentence() != "Nothing is to be moved as far as is known yet." {
		t.Errorf("%+v: %s", f, f.Sentence())
	}
	o.MaxTransfer, o.Dest = 9000, filepath.Join(w.dst, "short")
	p, err := w.svc.Plan(t.Context(), o, nil)
	if err != nil || p.Quota.Periods != 1 || !p.Quota.Fits || p.Quota.Forecast.Bytes != 9000 || p.Traffic != 9000 {
		t.Errorf("%+v, %v", p, err)
	}
}

// Where too many batches are open to read them all, the counters and the needs of the parked ones tell what is left.
func TestForecastFromCounters(t *testing.T) {
	j := Job{Files: Files{Found: 1000, Copied: 400, Skipped: 100, Excluded: 100}, Bytes: Bytes{Found: 900 << 20, Copied: 300 << 20}}
	o := openWork{parked: []int64{100 << 20, 17 << 20, 1000, -1}, excluded: 100 << 20}
	w := o.roughly(j)
	if w.Files != 400 || w.Bytes != 400<<20 {
		t.Errorf("%d files, %d bytes", w.Files, w.Bytes)
	}
	w = openWork{parked: []int64{500 << 20}}.roughly(Job{Files: Files{Found: 1}, Bytes: Bytes{Found: 500 << 20}})
	if w.Files != 1 || w.Bytes != 500<<20 {
		t.Errorf("one large: %d files, %d bytes", w.Files, w.Bytes)
	}
	if w := (openWork{}).roughly(Job{}); w.Bytes != 0 || w.Files != 0 {
		t.Errorf("nothing found: %+v", w)
	}
}

func TestLaneAndShare(t *testing.T) {
	for window, want := range map[string]float64{"": 1, "22:00-06:00": 1.0 / 3, "06:00-18:00": 0.5} {
		if got := (Order{Window: window}).share(); got != want {
			t.Errorf("%q: %v of the day", window, got)
		}
	}
	if h, n, l := (Order{Priority: High}).lane(), (Order{}).lane(), (Order{Priority: Low}).lane(); h <= n || n <= l {
		t.Errorf("lanes %d, %d, %d", h, n, l)
	}
}

// A remote that a job reads from and writes to counts each byte twice, and each call once.
func TestForecastNeeds(t *testing.T) {
	w := forecastWorld(t, 10_000, quota.Config{Remotes: map[string]quota.RemoteLimits{"gdrive": {PerDay: 9000, Calls: 50}}})
	j := Job{Source: "gdrive:a", Dest: "gdrive:b", Account: "anna", State: Transferring}
	var work quota.Work
	work.Add(4000)
	work.Add(4000)
	needs, err := w.svc.needs(t.Context(), j, work)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range needs {
		got = append(got, n.Subject)
		if n.Work.Bytes != 8000 || !n.Held {
			t.Errorf("%+v", n)
		}
	}
	if want := "anna remote/gdrive/day remote/gdrive/day remote/gdrive/calls"; strings.Join(got, " ") != want {
		t.Errorf("needs of %v, want %s", got, want)
	}
	f, err := w.ledger.Forecaster().Forecast(t.Context(), needs...)
	if err != nil || f.Subject != "remote/gdrive/day" || f.Periods != 2 || f.Bytes != 8000 {
		t.Errorf("%+v, %v", f, err)
	}
}

// A forecast goes no faster than the bandwidth of the job and that of all jobs let it; several jobs together no faster than
// theirs together, if each has one.
func TestForecastKeepsToTheBandwidth(t *testing.T) {
	w := forecastWorld(t, 10_000, quota.Config{})
	if err := w.svc.SetBandwidth(t.Context(), "1M"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limits []string
		want   int64
	}{{nil, 1 << 20}, {[]string{"20k"}, 20 << 10}, {[]string{"20k", "30k"}, 50 << 10}, {[]string{"20k", "off"}, 1 << 20},
		{[]string{"700k", "700k"}, 1 << 20}} {
		p := w.svc.newProphet()
		var all []Job
		for i, limit := range c.limits {
			all = append(all, Job{ID: fmt.Sprint("none", i), Account: "anna", State: Transferring, BwLimit: limitText(limit)})
			p.works[all[i].ID] = quota.Work{}
		}
		needs, _, err := p.sum(t.Context(), "anna", all)
		if err != nil || needs[0].Most != c.want {
			t.Errorf("%v: at most %d a second, %v; want %d", c.limits, needs[0].Most, err, c.want)
		}
	}
	if most, err := w.svc.newProphet().rate(t.Context(), "2M"); err != nil || most != 1<<20 {
		t.Errorf("at most %d a second, %v", most, err)
	}
}

// BenchmarkAccountForecast is the dearest question: as many jobs as are looked at, with as many files as are read, of
// sizes that hardly fit together.
func BenchmarkAccountForecast(b *testing.B) {
	w := newWorld(b, "")
	w.setLimit("anna", 5<<30)
	all := make([]Job, forecastJobs)
	works := map[string]quota.Work{}
	for i := range all {
		all[i] = Job{ID: fmt.Sprintf("%026d", i), State: Waiting, Account: "anna"}
		var work quota.Work
		for f := range 330 {
			work.Add(int64(1<<30 + f<<20))
		}
		works[all[i].ID] = work
	}
	for b.Loop() {
		p := w.svc.newProphet()
		p.works = works
		for _, j := range all {
			if _, err := p.one(b.Context(), j, all); err != nil {
				b.Fatal(err)
			}
		}
	}
}
