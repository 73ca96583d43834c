package acceptance

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// large is the size of a file that takes a while, in bytes.
const large = 200 << 20

// newLarge is a world with one large file in the account, and a moderate line to it.
func newLarge(t *testing.T, size int, bandwidth int64) (c *clouds, s *stock, appended func(n int) <-chan struct{}) {
	t.Helper()
	c = newClouds(t, cloudtest.Options{Bandwidth: bandwidth})
	s = newStock(c)
	s.put("Documents/film.mov", size)
	var mu sync.Mutex
	calls, waiting := 0, map[int]chan struct{}{}
	c.play.Fault(cloudtest.Fault{Endpoint: "dropbox:append_v2", Kind: cloudtest.Do, Hook: func(r *http.Request) {
		if r.ContentLength == 0 {
			return // it only asks
		}
		mu.Lock()
		defer mu.Unlock()
		calls++
		if ch := waiting[calls]; ch != nil {
			go func() {
				<-r.Context().Done() // the call has been answered
				close(ch)
			}()
		}
	}})
	return c, s, func(n int) <-chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		ch := make(chan struct{})
		waiting[calls+n] = ch
		return ch
	}
}

// served is how many bytes iCloud has handed out.
func (c *clouds) served() int64 { return c.play.Served("icloud:content") }

// atWork waits until so many more pieces of the file have arrived and the next one is being read.
func (c *clouds) atWork(t *testing.T, piece <-chan struct{}) {
	t.Helper()
	eventually(t, time.Minute, "a piece of the file to arrive", func() bool {
		select {
		case <-piece:
			return true
		default:
			return false
		}
	})
	at := c.served()
	eventually(t, time.Minute, "the next piece to be read", func() bool { return c.served() > at+4<<20 })
}

// whole demands that the large file arrived once, proved, and is gone at its source.
func (c *clouds) whole(t *testing.T, s *stock, size int64) {
	t.Helper()
	s.moved(t)
	j := c.only()
	records := decode[[]fileRecord](t, c.run(0, "jobs", "files", j.ID, "--json"))
	if j.State != "completed" || j.Files.Deleted != 1 || j.Bytes.Copied != size || len(records) != 1 || records[0].Grade != "A" {
		t.Errorf("the job is %+v, its files are %+v", j, records)
	}
	if n := c.dropbox.SessionsStarted(); n > 3 { // one is of the probe that tells whether both remotes are one place, one of the manifest
		t.Errorf("%d uploads were begun", n)
	}
}

func TestLargeFileGoesOnAfterKills(t *testing.T) {
	t.Parallel()
	c, s, appended := newLarge(t, large, 30<<20) // a kill that comes late is still amid the file
	order := []string{"run", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified"}
	for _, pieces := range []int{3, 3, 3} {
		piece := appended(pieces)
		p := start(t, "offload to be killed", c.command(order...))
		c.atWork(t, piece)
		p.kill()
		s.nothingLost(t)
		if n := len(s.atDropbox()); n != 0 {
			t.Fatalf("%d files at Dropbox in the middle of the upload", n)
		}
	}
	c.run(0, order...)
	c.whole(t, s, large)
	got := c.served()
	t.Logf("iCloud has handed out %d bytes for a file of %d, %.2f times its size", got, int64(large), float64(got)/large)
	// Each kill costs a piece of 16 MiB at most, and what the sockets held. Begun anew each time, it would be 1.8 times.
	if float64(got) > 1.4*large {
		t.Errorf("iCloud has handed out %d bytes for a file of %d", got, int64(large))
	}
	if used := c.quota().Used; used < got {
		t.Errorf("%d bytes are counted, iCloud has handed out %d", used, got)
	}
}

func TestLargeFileIsHandedOverAtAStop(t *testing.T) {
	t.Parallel()
	c, s, appended := newLarge(t, large/2, 10<<20)
	c.onRedis()
	id := strings.TrimSpace(c.run(0, "enqueue", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified"))
	piece := appended(2)
	first := start(t, "first worker", c.command("worker"))
	c.atWork(t, piece)
	begun := time.Now()
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := first.status(t, time.Minute); got != 0 {
		t.Errorf("the first worker ended with %d", got)
	}
	t.Logf("the first worker ended after %v", time.Since(begun))
	s.nothingLost(t)
	before := c.served()
	start(t, "second worker", c.command("worker"))
	c.await(id, "the job to end", limit(), job.ended)
	c.whole(t, s, large/2)
	if got := c.served(); float64(got) > 1.4*large/2 {
		t.Errorf("iCloud has handed out %d bytes for a file of %d, %d of them to the first worker", got, int64(large/2), before)
	}
}

// Downloads that break in the middle, with the program and the services on the wire: what is read is the file, whatever
// the service makes of ranges.
func TestBrokenDownloadsOfICloud(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	cut := func(times int) cloudtest.Fault {
		return cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Cut, CutAt: 0.1, Times: times}
	}
	again := func(do func(r *http.Request)) cloudtest.Fault { // what befalls the first going-on
		return cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Do, Hook: do, Times: 1,
			Match: func(r *http.Request) bool { return r.Header.Get("Range") != "" }}
	}
	for name, c := range map[string]struct {
		faults  []cloudtest.Fault
		changes bool    // the file, while the going-on is asked for
		most    float64 // of its size may be handed out
	}{
		"cut fifteen times":    {faults: []cloudtest.Fault{cut(15)}, most: 1.05},
		"the range is ignored": {faults: []cloudtest.Fault{cut(1), again(func(r *http.Request) { r.Header.Del("Range") })}, most: 1.6},
		"the range is one off": {faults: []cloudtest.Fault{cut(1), again(shifted)}, most: 1.6},
		"the file changes":     {faults: []cloudtest.Fault{cut(1)}, changes: true, most: 2.2},
		"a going-on is reset":  {faults: []cloudtest.Fault{cut(1), {Endpoint: "icloud:content", Times: 1, Kind: cloudtest.Cut, CutAt: 0.5, Reset: true}}, most: 1.8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newClouds(t, cloudtest.Options{})
			s := newStock(w)
			s.put("Documents/film.mov", size)
			var hits []*cloudtest.Hits
			for _, f := range c.faults {
				hits = append(hits, w.play.Fault(f))
			}
			if c.changes {
				hits = append(hits, w.play.Fault(again(func(*http.Request) { s.change("Documents/film.mov") })))
			}
			w.run(0, "run", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified")
			s.moved(t)
			for i, h := range hits {
				if h.Count() == 0 {
					t.Errorf("fault %d didn't strike", i)
				}
			}
			got := w.served()
			t.Logf("%.2f times the file was handed out, %.2f times is counted", float64(got)/size, float64(w.quota().Used)/size)
			if float64(got) > c.most*size || w.quota().Used < got {
				t.Errorf("iCloud has handed out %d bytes of a file of %d, %d are counted", got, int64(size), w.quota().Used)
			}
		})
	}
}

// shifted asks for a range that begins one byte later.
func shifted(r *http.Request) {
	var from, to int64
	if n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 && err == nil {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from+1, to))
	}
}

// Dropbox has forgotten the upload when somebody goes on with it: the file is sent from its beginning, and proved.
func TestLargeFileBeginsAnewWhereDropboxForgot(t *testing.T) {
	t.Parallel()
	const size = 80 << 20
	c, s, appended := newLarge(t, size, 60<<20)
	order := []string{"run", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified"}
	piece := appended(2)
	p := start(t, "offload to be killed", c.command(order...))
	c.atWork(t, piece)
	p.kill()
	c.dropbox.ExpireSessions()
	c.run(0, order...)
	s.moved(t)
	if j := c.only(); j.State != "completed" || j.Bytes.Copied != size || j.Bytes.Wasted == 0 {
		t.Errorf("the job is %+v", j)
	}
	if n := c.dropbox.SessionsStarted(); n < 3 { // one is of the manifest
		t.Errorf("%d uploads were begun", n)
	}
	if used, got := c.quota().Used, c.served(); used < got {
		t.Errorf("%d bytes are counted, iCloud has handed out %d", used, got)
	}
}
