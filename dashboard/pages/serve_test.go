package pages

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// TestServe keeps the pages up with made-up data at the address OFFLOAD_PAGES_SERVE, to look at them in a browser. It ends
// when /quit is asked for, or after an hour.
func TestServe(t *testing.T) {
	addr := os.Getenv("OFFLOAD_PAGES_SERVE")
	if addr == "" {
		t.Skip("OFFLOAD_PAGES_SERVE isn't set")
	}
	w := newWorld(t)
	w.play()
	quit := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/quit", func(http.ResponseWriter, *http.Request) { quit <- struct{}{} })
	mux.Handle("/", http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
		a.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		who := w.who
		if r.URL.Query().Has("viewer") {
			who = guard.Person{Name: "bert", Role: guard.Viewer}
		}
		w.pages.ServeHTTP(a, r.WithContext(guard.As(r.Context(), who)))
	}))
	srv := &http.Server{Addr: addr, Handler: mux}
	go func() { _ = srv.ListenAndServe() }()
	fmt.Println("serving at", addr)
	select {
	case <-quit:
	case <-time.After(time.Hour):
	}
	_ = srv.Close()
}

// play makes jobs in many states.
func (w *world) play() {
	w.t.Helper()
	limit := func(account string, n int64) {
		if _, err := w.ledger.Set(w.t.Context(), account, quota.Change{Limit: &n}); err != nil {
			w.t.Fatal(err)
		}
	}
	limit("anna", 1<<20)
	limit("default", 5<<30)
	folder := func(name string, n, size int) string {
		for i := range n {
			w.put(size, filepath.Join(name, fmt.Sprintf("%s %04d.jpg", "IMG", i)))
		}
		return filepath.Join(w.src, name)
	}
	order := func(src string, change func(o *jobs.Order)) jobs.Job {
		return w.order(func(o *jobs.Order) {
			o.Source, o.Dest = src, filepath.Join(w.dst, filepath.Base(src))
			if change != nil {
				change(o)
			}
		})
	}
	w.worker()
	done := order(folder("Scans", 40, 30000), func(o *jobs.Order) { o.Label = "Scans of 2019" })
	kept := folder("Letters", 12, 9000)
	if err := os.MkdirAll(filepath.Join(w.dst, "Letters"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	_ = os.WriteFile(filepath.Join(w.dst, "Letters", "IMG 0003.jpg"), []byte("other"), 0o600)
	_ = os.MkdirAll(filepath.Join(w.dst, "Letters", "IMG 0005.jpg", "x"), 0o755)
	warn := order(kept, func(o *jobs.Order) { o.Conflict = transfer.ConflictSkip; o.Label = "Letters" })
	w.reach(done.ID, jobs.Completed)
	w.reach(warn.ID, jobs.Completed, jobs.CompletedW, jobs.FailedState)
	order(folder("Music", 30, 100000), func(o *jobs.Order) { o.Account = "anna" })
	order(folder("Photos", 300, 400000), func(o *jobs.Order) { o.BwLimit = "300k"; o.Label = "Family photos" })
	order(folder("Films", 20, 4000000), func(o *jobs.Order) { o.BwLimit = "500k" })
	paused := order(folder("Old", 3, 1000), func(o *jobs.Order) { o.BwLimit = "1k"; o.Hold = 7 * 24 * time.Hour })
	if _, err := w.svc.Pause(jobs.By(w.t.Context(), "anna"), paused.ID); err != nil {
		w.t.Fatal(err)
	}
	order(folder("Papers", 5, 1000), func(o *jobs.Order) {
		o.Hold = 7 * 24 * time.Hour
		o.DeleteSource = transfer.DeleteComplete
		o.Label = "Papers, kept for a week before they are deleted"
	})
	w.pages.cfg.RemoteStates = func(ctx context.Context) []RemoteState {
		return []RemoteState{{Name: "icloud", Kind: "iclouddrive", Days: 5, DaysTold: true, Soon: true, Seen: time.Now().Add(-3 * time.Minute),
			Storage: &transfer.Storage{Total: 5 << 30, Used: 4987654321, ByKind: map[string]int64{"photos": 2 << 30, "backup": 3 << 29, "docs": 600 << 20, "mail": 90 << 20}}}}
	}
}
