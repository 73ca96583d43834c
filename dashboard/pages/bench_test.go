package pages

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"testing"

	"offload/dashboard/guard"
	"offload/internal/jobstest"
	"offload/internal/redistest"
	"offload/internal/store"
	"offload/jobs"
)

// BenchmarkPages tells how long pages take, at the 99th of 100, one after the other and four at once, with many jobs and with a
// job of very many files, on both kinds of store, and what stays in memory of it; of the exports it is the first 64 KiB.
// Searches of offloaded files are in jobs' BenchmarkWhere.
//
//	OFFLOAD_BENCH_JOBS=100000 OFFLOAD_BENCH_FILES=1000000 go test ./dashboard/pages -run '^$' -bench Pages -benchtime 100x -timeout 30m
func BenchmarkPages(b *testing.B) {
	for _, name := range []string{"embedded", "redis"} {
		b.Run(name, func(b *testing.B) {
			at := store.Options{}
			if name == "redis" {
				at.URL = "unix://" + redistest.Start(b)
			}
			w := newWorldAt(b, at)
			big, last := w.plant(b)
			list, cursor, err := w.svc.List(b.Context(), jobs.ListOptions{Limit: 1000})
			if err != nil || len(list) == 0 {
				b.Fatal(err)
			}
			before := heapMiB()
			for _, c := range []struct{ name, path string }{
				{"home", "/"}, {"jobs", "/jobs"}, {"jobs-later", "/jobs?limit=100&cursor=" + cursor}, {"jobs-state", "/jobs?state=canceled"},
				{"jobs-account", "/jobs?account=account7&state=unfinished"}, {"jobs-search", "/jobs?q=album+17"},
				{"jobs-search-none", "/jobs?q=nothing+like+it"}, {"jobs-remote-none", "/jobs?remote=nobody"},
				{"job", "/jobs/" + last}, {"job-title", "/jobs/" + last + "/title"}, {"new", "/new"},
				{"quota", "/quota"}, {"quota-account", "/quota?account=account7"}, {"workers", "/workers"}, {"queue", "/queue"},
				{"remotes", "/remotes"}, {"schedules", "/schedules"}, {"record", "/record"},
				{"big-job", "/jobs/" + big}, {"files", "/jobs/" + big + "/files"}, {"files-failed", "/jobs/" + big + "/files?outcome=failed"},
				{"files-search", "/jobs/" + big + "/files?q=b.txt"}, {"files-search-none", "/jobs/" + big + "/files?q=nothing+like+it"},
				{"csv", "/jobs/" + big + "/files.csv"}, {"json", "/jobs/" + big + "/files.json"},
			} {
				b.Run(c.name, func(b *testing.B) { w.benchPage(b, c.path, 1) })
				b.Run(c.name+"-4-at-once", func(b *testing.B) { w.benchPage(b, c.path, 4) })
			}
			b.Run("memory", func(b *testing.B) { // no time: what all of that left behind
				for b.Loop() {
				}
				b.ReportMetric(float64(before), "MiB-before")
				b.ReportMetric(float64(heapMiB()), "MiB-after")
			})
		})
	}
}

// plant makes one job of very many files and many jobs, of which it returns the newest, besides schedules and deeds.
func (w *world) plant(b *testing.B) (big, last string) {
	b.Helper()
	for i := range 31 {
		w.put(10, fmt.Sprintf("Photos/%d/b.txt", i))
	}
	w.put(10, "a.txt")
	stop := w.worker()
	j := w.order(func(o *jobs.Order) { o.Label, o.Priority = "the big one", jobs.High })
	w.reach(j.ID, jobs.Completed, jobs.CompletedW)
	stop()
	jobstest.PlantFiles(b, w.store, j.ID, jobstest.Wanted(b, "OFFLOAD_BENCH_FILES", 3200))
	w.put(10, "a.txt")
	first := w.order(func(o *jobs.Order) { o.Label, o.Account = "Album 0", "account0" })
	last = jobstest.PlantJobs(b, w.store, first, jobstest.Wanted(b, "OFFLOAD_BENCH_JOBS", 2000))
	for i := range 100 {
		form := url.Values{"name": {fmt.Sprintf("nightly-%d", i)}, "every": {"day"}, "zone": {"UTC"}, "source": {w.src}, "destination": {w.dst}, "delete-source": {"verified"}}
		if code, _ := w.post("/schedules/add", form); code != http.StatusSeeOther {
			b.Fatalf("a schedule: %d", code)
		}
	}
	for i := range 1000 {
		if err := w.svc.Audit(b.Context(), jobs.Deed{Who: "anna", Action: "job paused", Subject: last, Detail: fmt.Sprint("album ", i)}); err != nil {
			b.Fatal(err)
		}
	}
	return j.ID, last
}

// errGone ends an answer of which enough was read.
var errGone = errors.New("the browser has gone")

// leaver is a browser that goes after the first 64 KiB of a file; pages it reads to their end.
type leaver struct{ *httptest.ResponseRecorder }

func (l leaver) Write(p []byte) (int, error) {
	if l.Header().Get("Content-Disposition") != "" && l.Body.Len() > 64<<10 {
		return 0, errGone
	}
	return l.ResponseRecorder.Write(p)
}

func (w *world) benchPage(b *testing.B, path string, atOnce int) {
	jobstest.P99(b, atOnce, func() (err error) {
		r := httptest.NewRequest("GET", path, nil)
		a := leaver{httptest.NewRecorder()}
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { // which a file is cut off by
				panic(p)
			}
		}()
		w.pages.ServeHTTP(a, r.WithContext(guard.As(r.Context(), w.who)))
		if a.Code != 200 {
			return fmt.Errorf("%s: %d\n%s", path, a.Code, w.said)
		}
		return nil
	})
}

// heapMiB is what is in use after a collection.
func heapMiB() uint64 {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return mem.HeapAlloc >> 20
}
