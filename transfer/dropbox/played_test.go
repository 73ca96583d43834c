package dropbox

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"

	"offload/internal/cloudtest"
	"offload/transfer"
)

// played starts the played Dropbox and configures a remote for it.
func played(t *testing.T, opt cloudtest.Options) (*cloudtest.World, string) {
	t.Helper()
	w, err := cloudtest.Start(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, playedRemote(w)
}

func playedRemote(w *cloudtest.World) string {
	name := "played" + hex.EncodeToString(random(6))
	for k, v := range map[string]string{"type": "dropbox", "token": w.Dropbox.TokenJSON(), "chunk_size": "1Mi",
		"override.http_proxy": w.ProxyURL(), "override.ca_cert": w.CAFile(), "pacer_min_sleep": "1ms"} {
		config.LoadedData().SetValue(name, k, v)
	}
	return name
}

// putMany uploads files by 32 goroutines over the given remotes and returns how often it read more than their bytes.
func putMany(t *testing.T, n int, size func(i int) int, over ...fs.Fs) (readAgain int) {
	t.Helper()
	jobs := make(chan int)
	var again atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := range jobs {
				b := bytes.Repeat(fmt.Appendf(nil, "%d,", n), size(n))[:size(n)]
				s := newSource(b)
				if _, err := over[i%len(over)].Put(within(t), s, info(fmt.Sprintf("dir %d/f%d", n%7, n), b)); err != nil {
					t.Errorf("file %d: %v", n, err)
				}
				if s.read != len(b) {
					again.Add(1)
				}
			}
		})
	}
	for n := range n {
		jobs <- n
	}
	close(jobs)
	wg.Wait()
	return int(again.Load())
}

func smallSize(i int) int { return 100 + i }

func TestPlayedManyFiles(t *testing.T) {
	w, remote := played(t, cloudtest.Options{Latency: cloudtest.Latency{Upload: 5 * time.Millisecond, Commit: 20 * time.Millisecond}})
	fleet := &transfer.LocalFleet{}
	a := open(t, New(Options{Fleet: fleet}), remote+":")
	b := open(t, New(Options{Fleet: fleet}), playedRemote(w)+":")
	if again := putMany(t, 200, smallSize, a, b); again != 0 {
		t.Errorf("%d files were read again", again)
	}
	if w.Dropbox.Len() != 200 || w.Dropbox.MaxOverlapCommits() != 1 || w.Dropbox.Commits() > 60 {
		t.Errorf("%d files, %d commits, at most %d at a time", w.Dropbox.Len(), w.Dropbox.Commits(), w.Dropbox.MaxOverlapCommits())
	}
	t.Logf("%d commits", w.Dropbox.Commits())
}

// Each endpoint in turn answers one call in six with trouble: all files arrive, each read once. No chance is in it: there is
// trouble for sure, and no more of it than one call is repeated for, should it meet all of it.
func TestPlayedTrouble(t *testing.T) {
	for _, endpoint := range []string{"get_current_account", "upload_session_start", "append_v2", "finish_batch_v2", "get_metadata"} {
		for name, f := range map[string]cloudtest.Fault{
			"429":  {Status: http.StatusTooManyRequests},
			"503":  {Status: http.StatusServiceUnavailable},
			"lost": {Kind: cloudtest.Lost},
			"drop": {Kind: cloudtest.Drop},
		} {
			if endpoint == "get_metadata" && f.Kind == cloudtest.Status {
				continue // looks are rclone's, and only after a lost answer ours
			}
			t.Run(endpoint+" "+name, func(t *testing.T) {
				t.Parallel()
				w, remote := played(t, cloudtest.Options{Seed: 7})
				w.Dropbox.SetRetryAfter(1)
				f.Endpoint, f.Times = "dropbox:"+endpoint, unsureMax
				var calls atomic.Int64
				sixth := func(*http.Request) bool { return calls.Add(1)%6 == 0 }
				switch endpoint {
				case "get_current_account":
					f.Times = 2
				case "finish_batch_v2":
					f.After, f.Times = 1, 2
				case "get_metadata": // a look at each file whose commit wasn't answered, and nobody knows how many those are
					f.Times = 2
					w.Fault(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Times: 2, Kind: cloudtest.Lost})
				default:
					f.Match = sixth
				}
				hits := w.Fault(f)
				if endpoint == "append_v2" {
					remote = strings.TrimSuffix(remote, ":") + ",chunk_size=64B" // small files go with the start
				}
				again := putMany(t, 40, smallSize, open(t, New(Options{}), remote+":"))
				if again != 0 || w.Dropbox.Len() != 40 || hits.Count() == 0 {
					t.Errorf("%d files were read again, %d arrived, %d hits", again, w.Dropbox.Len(), hits.Count())
				}
			})
		}
	}
}

// Somebody else commits to the account, without taking turns with us.
func TestPlayedStrangersCommits(t *testing.T) {
	w, remote := played(t, cloudtest.Options{Latency: cloudtest.Latency{Commit: 100 * time.Millisecond}})
	w.Fault(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Kind: cloudtest.Do, Hook: cloudtest.Together(2)})
	w.Dropbox.SetRetryAfter(1)
	a := open(t, New(Options{}), remote+":")
	b := open(t, New(Options{}), playedRemote(w)+":") // a fleet of its own
	again := putMany(t, 20, smallSize, a, b)
	if again != 0 || w.Dropbox.Len() != 20 || w.Dropbox.Overlapped() == 0 {
		t.Errorf("%d files were read again, %d arrived, %d commits overlapped", again, w.Dropbox.Len(), w.Dropbox.Overlapped())
	}
}

func TestPlayedLimit(t *testing.T) {
	w, remote := played(t, cloudtest.Options{Latency: cloudtest.Latency{Upload: 20 * time.Millisecond, Commit: 20 * time.Millisecond}})
	w.Dropbox.SetLimit(12)
	w.Dropbox.SetRetryAfter(1)
	f := open(t, New(Options{}), remote+":")
	p := f.(*Fs).login.pace
	w.Fault(cloudtest.Fault{Endpoint: "dropbox:upload_session_start", Kind: cloudtest.Do, Hook: cloudtest.AllCome(func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.busy
	})})
	if again := putMany(t, 300, smallSize, f); again != 0 || w.Dropbox.Len() != 300 {
		t.Errorf("%d files were read again, %d arrived", again, w.Dropbox.Len())
	}
	if n := w.Dropbox.Refused(); n == 0 || n > 40 {
		t.Errorf("%d refusals", n)
	}
	t.Logf("%d refusals of 600 calls", w.Dropbox.Refused())
}

func put1(t *testing.T, f fs.Fs) {
	t.Helper()
	if _, err := f.Put(within(t), strings.NewReader("1"), info("one", []byte("1"))); err != nil {
		t.Fatal(err)
	}
}

func TestPlayedTokenEnds(t *testing.T) {
	w, remote := played(t, cloudtest.Options{})
	config.LoadedData().SetValue(remote, "token", w.Dropbox.ExpiredTokenJSON()) // one with a refresh token
	f := open(t, New(Options{}), remote+":")
	put1(t, f)
	before := w.Dropbox.Refreshed()
	hits := w.Fault(cloudtest.Fault{Endpoint: "dropbox:upload_session_start", After: 5, Times: 1, Kind: cloudtest.Do,
		Hook: func(*http.Request) { w.Dropbox.ExpireTokens() }})
	if again := putMany(t, 40, smallSize, f); again != 0 || w.Dropbox.Len() != 41 || hits.Count() != 1 {
		t.Errorf("%d files were read again, %d arrived", again, w.Dropbox.Len())
	}
	if n := w.Dropbox.Refreshed() - before; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	w.Dropbox.ExpireTokens()
	if _, err := f.List(within(t), "dir 1"); err != nil {
		t.Errorf("listing after the token ended: %v", err)
	}
}

func TestPlayedSpaceAndNames(t *testing.T) {
	w, remote := played(t, cloudtest.Options{})
	f := open(t, New(Options{}), remote+":top")
	if _, err := f.Put(within(t), strings.NewReader("12345"), info("a/Übung  \\ .txt ", []byte("12345"))); err != nil {
		t.Error(err)
	}
	o, err := f.NewObject(within(t), "A/übung  \\ .TXT ")
	if err != nil || o.Size() != 5 {
		t.Errorf("found %v, %v", o, err)
	}
	w.Dropbox.SetSpace(w.Dropbox.Used() + 100)
	for _, early := range []bool{false, true} {
		w.Dropbox.SetSpaceEarly(early)
		b := random(2 << 20)
		if _, err := f.Put(within(t), bytes.NewReader(b), info("large", b)); err == nil || !strings.Contains(err.Error(), "insufficient_space") {
			t.Errorf("early %v: error %v", early, err)
		}
	}
	for _, r := range w.Requests() {
		if r.Status == http.StatusBadRequest {
			t.Errorf("a request that Dropbox doesn't understand: %+v", r)
		}
	}
}

// Where files are sent to, looks don't wait for each other as rclone's backend lets them: in folders of one file there are two for
// each file. They answer as its own do.
func TestPlayedLooks(t *testing.T) {
	w, remote := played(t, cloudtest.Options{})
	f := open(t, New(Options{}), strings.TrimSuffix(remote, ":")+",pacer_min_sleep=5m:")
	b := []byte("content")
	for _, name := range []string{"dir/one", "dir/page.html"} {
		if _, err := f.Put(within(t), bytes.NewReader(b), info(name, b)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{"dir/one": nil, "DIR/One": nil, "dir/page.html": nil, "dir/two": fs.ErrorObjectNotFound,
		"other/one": fs.ErrorObjectNotFound, "dir": fs.ErrorIsDir} {
		o, err := f.NewObject(within(t), name)
		if !errors.Is(err, want) || err == nil && (o.Size() != int64(len(b)) || o.Remote() != name) {
			t.Errorf("%s: %v, error %v", name, o, err)
		}
	}
	if n := w.Calls("dropbox:get_metadata"); n != 6 {
		t.Errorf("%d calls for 6 looks", n)
	}
	// What was looked at so is read by rclone.
	with := open(t, New(Options{}), remote+":")
	put1(t, with)
	o, err := with.NewObject(within(t), "dir/one")
	if err != nil {
		t.Fatal(err)
	}
	in, err := o.Open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %q, error %v", got, err)
	}
}
