package api

import (
	"fmt"
	"net/http"
	"testing"

	"offload/internal/jobstest"
	"offload/internal/redistest"
	"offload/jobs"
)

// BenchmarkLists tells how long the API's lists take, at the 99th of 100, one after the other and four at once, with many jobs and
// with a job of very many files, on both kinds of store:
//
//	OFFLOAD_BENCH_JOBS=100000 OFFLOAD_BENCH_FILES=1000000 go test ./dashboard/api -run '^$' -bench Lists -benchtime 100x -timeout 30m
func BenchmarkLists(b *testing.B) {
	for _, name := range []string{"embedded", "redis"} {
		b.Run(name, func(b *testing.B) {
			url := ""
			if name == "redis" {
				url = "unix://" + redistest.Start(b)
			}
			w := newWorldAt(b, url)
			for i := range 32 {
				w.put(fmt.Sprintf("Photos/%d/b.txt", i), 10)
			}
			stop := w.worker()
			big := w.make("")
			w.reach(big.ID, jobs.Completed, jobs.CompletedW)
			stop()
			jobstest.PlantFiles(b, w.store, big.ID, jobstest.Wanted(b, "OFFLOAD_BENCH_FILES", 3200))
			jobstest.PlantJobs(b, w.store, w.make(`,"label":"Album 0","account":"account0"`), jobstest.Wanted(b, "OFFLOAD_BENCH_JOBS", 2000))
			for _, c := range []struct{ name, path string }{
				{"jobs", "/jobs"}, {"jobs-500", "/jobs?limit=500"}, {"jobs-search-none", "/jobs?search=nothing+like+it"},
				{"files", "/jobs/" + big.ID + "/files"}, {"files-search-none", "/jobs/" + big.ID + "/files?search=nothing+like+it"}, {"overview", "/overview"},
			} {
				for _, atOnce := range []int{1, 4} {
					b.Run(fmt.Sprintf("%s-%d-at-once", c.name, atOnce), func(b *testing.B) {
						jobstest.P99(b, atOnce, func() error {
							if a := w.ask("GET", root+c.path, ""); a.status != http.StatusOK {
								return fmt.Errorf("%s: %d %s", c.path, a.status, a.body)
							}
							return nil
						})
					})
				}
			}
		})
	}
}
