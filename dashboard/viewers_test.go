package dashboard

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"offload/internal/jobstest"
	"offload/jobs"
)

// crowd are viewers of a site, who share one sign-in.
type crowd struct {
	t      *testing.T
	url    string
	cookie string
	ctx    context.Context
	all    sync.WaitGroup
	events atomic.Int64
}

// follow opens a stream and returns when the first event has come.
func (c *crowd) follow(path string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.ctx, "GET", c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Cookie", c.cookie)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if a.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s", path, a.Status)
	}
	first := make(chan struct{})
	c.all.Go(func() {
		defer a.Body.Close()
		tell := sync.OnceFunc(func() { close(first) })
		defer tell()
		lines := bufio.NewScanner(a.Body)
		lines.Buffer(nil, 1<<22)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "event: full") {
				c.t.Errorf("%s is refused", path)
			}
			if strings.HasPrefix(lines.Text(), "data: ") {
				c.events.Add(1)
				tell()
			}
		}
	})
	<-first
}

// However many look, the store is asked as for one who does: by the overview, and by all that the pages ask beyond it.
func TestViewersCostTheStoreNoMoreThanOne(t *testing.T) {
	s := newSite(t, nil)
	trips := jobstest.CountTrips(s.store)
	paths := []string{"/events?page=home", "/events?page=jobs", "/api/v1/events"}
	src := t.TempDir()
	for i := range 3 {
		j, err := s.jobs.Enqueue(t.Context(), jobs.Order{Source: src, Dest: fmt.Sprintf("%s/%d", t.TempDir(), i), MaxDelete: -1})
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, "/events?page=job&id="+j.ID, "/api/v1/jobs/"+j.ID+"/events")
	}
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	c := &crowd{t: t, url: srv.URL, cookie: s.signIn(t, "anna"), ctx: ctx}
	defer c.all.Wait()
	defer cancel()
	rounds := func() int64 {
		last := s.hub.After(ctx, 0)
		before := trips.Number()
		for range 5 {
			last = s.hub.After(ctx, last.Seq)
		}
		return trips.Number() - before
	}
	for _, path := range paths {
		c.follow(path)
	}
	few := rounds()
	for i := len(paths); i < 200; i++ {
		c.follow(paths[i%len(paths)])
	}
	many := rounds()
	t.Logf("5 rounds for %d viewers: %d round trips; for 200: %d; %d events came", len(paths), few, many, c.events.Load())
	// Some is asked for now and then only (sign-ins that ended, forecasts, what has ended): it may fall into any rounds.
	if many > 2*few {
		t.Errorf("5 rounds for 200 viewers took %d round trips to the store, for one of each page %d", many, few)
	}
}

// BenchmarkStream tells what a page that is followed costs the dashboard's memory.
func BenchmarkStream(b *testing.B) {
	s := newSite(b, func(cfg *Config) { cfg.Guard.Users, cfg.Guard.Tokens = nil, nil })
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	inUse := func() int64 {
		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		return int64(mem.HeapInuse + mem.StackInuse)
	}
	const streams = 240
	for b.Loop() {
		before := inUse()
		var all []net.Conn
		for range streams {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, conn)
			if _, err := io.WriteString(conn, "GET /events?page=home HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				b.Fatal(err)
			}
			lines := bufio.NewReader(conn)
			for line := ""; !strings.HasPrefix(line, "data: {"); {
				if line, err = lines.ReadString('\n'); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(inUse()-before)/streams/1024, "KiB/stream")
		for _, conn := range all {
			_ = conn.Close() // the next round begins anew
		}
	}
}
