package dropbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/object"
	"github.com/rclone/rclone/lib/atexit"

	"offload/internal/leaktest"
	"offload/transfer"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	fs.GetConfig(context.Background()).LogLevel = fs.LogLevelEmergency
	atexit.IgnoreSignals() // rclone's handler would end the process
	dir, err := os.MkdirTemp("", "offload-dropbox")
	if err != nil {
		panic(err)
	}
	if err := config.SetConfigPath(filepath.Join(dir, "rclone.conf")); err != nil {
		panic(err)
	}
	configfile.Install()
	config.LoadedData()
	code := leaktest.Run(m, leaktest.Rclone()...)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// open opens a remote until the test ends.
func open(t testing.TB, c *Clouds, remote string) fs.Fs {
	t.Helper()
	f, err := c.Open(t.Context(), remote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Features().Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// source is a content that counts how often its bytes are read.
type source struct {
	*bytes.Reader
	read int
}

func newSource(b []byte) *source { return &source{Reader: bytes.NewReader(b)} }

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.read += n
	return n, err
}

// WriteTo keeps the reader's own from being used, which isn't counted.
func (s *source) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{s})
}

func info(name string, b []byte) fs.ObjectInfo {
	return object.NewStaticObjectInfo(name, time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC), int64(len(b)), true, nil, nil)
}

// put uploads b and expects it at Dropbox; it returns how many bytes of the source were read.
func put(t *testing.T, c *cloud, f fs.Fs, name string, b []byte) (fs.Object, int) {
	t.Helper()
	s := newSource(b)
	o, err := f.Put(within(t), s, info(name, b))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := c.get("/" + name); !ok || !bytes.Equal(got, b) {
		t.Fatalf("%s isn't at Dropbox as it was sent", name)
	}
	return o, s.read
}

func TestPut(t *testing.T) {
	for _, size := range []int{0, 5, 1 << 20, 3<<20 + 7, 4 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := newCloud(t)
			f := open(t, New(Options{}), c.remote("chunk_size", "1Mi")+":")
			b := random(size)
			o, read := put(t, c, f, "a b/Übung.txt", b)
			if read != size {
				t.Errorf("read %d bytes of %d", read, size)
			}
			sum, err := o.Hash(t.Context(), f.Hashes().GetOne())
			if err != nil || sum != sumOf(b) {
				t.Errorf("hash %s, %v", sum, err)
			}
			if o.Size() != int64(size) || o.Remote() != "a b/Übung.txt" || o.(fs.IDer).ID() == "" ||
				!o.ModTime(t.Context()).Equal(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)) {
				t.Errorf("object %s: %d bytes of %v", o.Remote(), o.Size(), o.ModTime(t.Context()))
			}
			if n := c.count("files/upload_session/append_v2"); size <= 1<<20 && n != 0 || size > 1<<20 && n != (size+1<<20-1)>>20 {
				t.Errorf("%d chunks behind the start", n)
			}
			if err := o.Remove(t.Context()); err != nil {
				t.Error(err)
			}
			if _, ok := c.get("/a b/Übung.txt"); ok {
				t.Error("still there after its removal")
			}
		})
	}
}

// One commit at a time per account, also over two workers that share a store.
func TestServiceThatTakesNoContentAtTheStart(t *testing.T) {
	c := newCloud(t)
	c.deaf = true
	f := open(t, New(Options{}), c.remote()+":")
	b := random(1000)
	if _, err := f.Put(within(t), newSource(b), info("first", b)); err == nil {
		t.Error("a file that didn't arrive is taken for one that did")
	}
	if _, there := c.get("/first"); there {
		t.Error("a part of the first file is there")
	}
	for i, size := range []int{1000, 0, 5} { // from now on as rclone does it
		put(t, c, f, fmt.Sprint("later", i), random(size))
	}
	if n := c.count("files/upload_session/append_v2"); n != 3 {
		t.Errorf("%d chunks behind the start, want 3", n)
	}
}

func TestManyFilesFewCommits(t *testing.T) {
	for name, workers := range map[string]int{"one worker": 1, "two workers": 2} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.latency = 10 * time.Millisecond
			fleet := &transfer.LocalFleet{}
			var fss []fs.Fs
			for range workers {
				fss = append(fss, open(t, New(Options{Fleet: fleet}), c.remote()+":"))
			}
			jobs := make(chan int)
			var wg sync.WaitGroup
			for i := range 32 {
				wg.Go(func() {
					for n := range jobs {
						b := fmt.Appendf(nil, "content %d", n)
						if _, err := fss[i%workers].Put(within(t), bytes.NewReader(b), info(fmt.Sprintf("f%d", n), b)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for n := range 200 {
				jobs <- n
			}
			close(jobs)
			wg.Wait()
			if len(c.files) != 200 || c.overlaps != 0 {
				t.Errorf("%d files, %d commits overlapped", len(c.files), c.overlaps)
			}
			if len(c.batches) > 60 {
				t.Errorf("%d commits of 200 files: %v", len(c.batches), c.batches)
			}
			t.Logf("%d commits, at most %d calls at once", len(c.batches), c.most)
		})
	}
}

const tooMany = `{"error_summary":"too_many_requests/..","error":{"reason":{".tag":"too_many_requests"},"retry_after":1}}`

// What a service in trouble answers is repeated with what is in memory: the source is read once.
func TestTroubleIsPassedWithoutReadingAgain(t *testing.T) {
	start, add, finish := "files/upload_session/start", "files/upload_session/append_v2", "files/upload_session/finish_batch_v2"
	for name, ft := range map[string]fault{
		"429 at start":                     {endpoint: start, once: 2, status: 429, body: tooMany},
		"429 at append":                    {endpoint: add, after: 1, once: 2, status: 429, body: tooMany},
		"429 at finish":                    {endpoint: finish, once: 2, status: 429, body: tooMany},
		"429 by header only":               {endpoint: add, once: 1, status: 429, header: map[string][]string{"Retry-After": {"1"}}, body: "slow down"},
		"429 at get_current_account":       {endpoint: "users/get_current_account", once: 1, status: 429, body: tooMany},
		"503 at start":                     {endpoint: start, once: 2, status: 503},
		"503 at append":                    {endpoint: add, once: 2, status: 503},
		"503 at finish":                    {endpoint: finish, once: 2, status: 503},
		"500 at finish in HTML":            {endpoint: finish, once: 1, status: 500, body: "<html>"},
		"cut in a chunk":                   {endpoint: add, after: 1, once: 2, cut: true},
		"lost answer of start":             {endpoint: start, once: 1, lost: true},
		"lost answer of a chunk":           {endpoint: add, once: 1, lost: true},
		"lost answer of the last chunk":    {endpoint: add, after: 3, once: 1, lost: true},
		"lost answer of finish":            {endpoint: finish, once: 1, lost: true},
		"busy entry":                       {endpoint: finish, once: 3, entry: "too_many_write_operations"},
		"busy commit":                      {endpoint: finish, once: 1, status: 409, body: `{"error_summary":"too_many_write_operations/..","error":{".tag":"too_many_write_operations"}}`},
		"answer to finish that is no JSON": {endpoint: finish, once: 1, status: 200, body: "ok"},
		"answer to finish without entries": {endpoint: finish, once: 1, status: 200, body: "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			hit := c.fault(ft)
			f := open(t, New(Options{}), c.remote("chunk_size", "1Mi")+":")
			b := random(3<<20 + 7)
			if _, read := put(t, c, f, "file", b); read != len(b) {
				t.Errorf("read %d bytes of %d", read, len(b))
			}
			if c.hits(hit) != ft.once {
				t.Errorf("the fault was met %d times, want %d", c.hits(hit), ft.once)
			}
			if ft.lost && ft.endpoint == finish && c.count(finish) != 1 {
				t.Errorf("committed %d times", c.count(finish))
			}
		})
	}
}

func TestLargeFileOverCutConnections(t *testing.T) {
	c := newCloud(t)
	cut := c.fault(fault{endpoint: "files/upload_session/append_v2", after: 3, once: 4, cut: true})
	f := open(t, New(Options{}), c.remote("chunk_size", "2Mi")+":")
	b := random(40 << 20)
	if _, read := put(t, c, f, "large", b); read != len(b) || c.hits(cut) != 4 {
		t.Errorf("read %d bytes, %d cuts", read, c.hits(cut))
	}
}

// A rest that the service asked for is obeyed by every worker.
func TestRestIsShared(t *testing.T) {
	c := newCloud(t)
	fleet := &transfer.LocalFleet{}
	f := open(t, New(Options{Fleet: fleet}), c.remote()+":")
	put(t, c, f, "first", []byte("1"))
	hit := c.fault(fault{endpoint: "files/upload_session/start", once: 1, status: 429, body: tooMany})
	before := time.Now()
	put(t, c, f, "second", []byte("2"))
	if d := time.Since(before); d < time.Second || c.hits(hit) != 1 {
		t.Errorf("took %v, %d hits", d, c.hits(hit))
	}
	until, err := fleet.Resting(t.Context(), "dropbox:dbid:one")
	if err != nil || until.Before(before.Add(time.Second)) {
		t.Errorf("the fleet was told to rest until %v, %v", until, err)
	}
	var called time.Time
	for endpoint, do := range map[string]func(){
		"files/upload_session/start": func() { put(t, c, f, "third", []byte("3")) },
		"files/get_metadata":         func() { _, _ = f.NewObject(within(t), "first") },
	} {
		c.fault(fault{endpoint: endpoint, once: 1, do: func() { called = time.Now() }})
		rest := time.Now().Add(300 * time.Millisecond)
		if err := fleet.Rest(t.Context(), "dropbox:dbid:one", rest); err != nil {
			t.Fatal(err)
		}
		do()
		if called.Before(rest) {
			t.Errorf("%s was called in spite of the rest that another worker asked for", endpoint)
		}
	}
}

func TestPutNeverOverwrites(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote()+":")
	c.fault(fault{endpoint: "files/upload_session/finish_batch_v2", once: 1, do: func() { c.put("/File", []byte("somebody else's")) }})
	_, err := f.Put(within(t), strings.NewReader("mine"), info("file", []byte("mine")))
	if !errors.Is(err, transfer.ErrTaken) || fserrors.IsNoRetryError(err) {
		t.Errorf("error %v", err)
	}
	if got, _ := c.get("/file"); string(got) != "somebody else's" {
		t.Errorf("it was overwritten by %q", got)
	}
}

// The name is taken after a commit that failed for another reason: the second commit doesn't overwrite either.
func TestRetriedCommitNeverOverwrites(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote()+":")
	hit := c.fault(fault{endpoint: "files/upload_session/finish_batch_v2", once: 1, status: 503, do: func() { c.put("/file", []byte("other")) }})
	if _, err := f.Put(within(t), strings.NewReader("mine"), info("file", []byte("mine"))); err == nil || fserrors.IsNoRetryError(err) {
		t.Errorf("error %v", err)
	}
	if got, _ := c.get("/file"); string(got) != "other" || c.hits(hit) != 1 {
		t.Errorf("%q stands there, %d hits", got, c.hits(hit))
	}
}

// An upload session that is lost is told as such: the engine sends the file anew.
func TestLostSession(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote("chunk_size", "1Mi")+":")
	forget := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sessions = map[string]*session{}
	}
	b := random(2 << 20)
	for _, endpoint := range []string{"files/upload_session/append_v2", "files/upload_session/finish_batch_v2"} {
		c.fault(fault{endpoint: endpoint, once: 1, do: forget})
		before := c.count(endpoint)
		_, err := f.Put(within(t), bytes.NewReader(b), info("file", b))
		if !errors.Is(err, errSession) || fserrors.IsNoRetryError(err) || c.count(endpoint) != before+1 {
			t.Errorf("%s: %v, %d calls", endpoint, err, c.count(endpoint)-before)
		}
	}
	put(t, c, f, "file", []byte("x"))
}

// A throttling that doesn't end is given up after a while, as such.
func TestThrottledForGood(t *testing.T) {
	c := newCloud(t)
	c.fault(fault{endpoint: "files/upload_session/start", status: 429,
		body: `{"error_summary":"too_many_requests/..","error":{"reason":{".tag":"too_many_requests"},"retry_after":0.01}}`})
	f := open(t, New(Options{}), c.remote()+":")
	_, err := f.Put(within(t), strings.NewReader("x"), info("file", []byte("x")))
	if !errors.Is(err, transfer.ErrThrottled) || c.count("files/upload_session/start") != throttledMax+1 {
		t.Errorf("%v after %d calls", err, c.count("files/upload_session/start"))
	}
}

func TestUpdateOverwrites(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote()+":")
	c.put("/file", []byte("old"))
	o, err := f.NewObject(t.Context(), "file")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Update(within(t), strings.NewReader("newer"), info("file", []byte("newer"))); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.get("/file"); string(got) != "newer" || o.Size() != 5 {
		t.Errorf("%q, size %d", got, o.Size())
	}
}

func TestRefusals(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote()+":")
	for name, want := range map[string]struct {
		text  string
		final bool
		calls int
	}{
		"full/file":                            {"insufficient_space", false, 1},
		"malformed":                            {"disallowed", true, 1},
		"a/.DS_Store":                          {"disallowed", true, 0},
		"Icon\r":                               {"disallowed", true, 0},
		strings.Repeat("ü", 256):               {fs.ErrorFileNameTooLong.Error(), true, 0},
		"a/" + strings.Repeat("b", 256) + "/c": {fs.ErrorFileNameTooLong.Error(), true, 0},
	} {
		before := c.count("files/upload_session/start")
		_, err := f.Put(within(t), strings.NewReader("x"), info(name, []byte("x")))
		if err == nil || !strings.Contains(err.Error(), want.text) || fserrors.IsNoRetryError(err) != want.final {
			t.Errorf("%.20q: %v", name, err)
		}
		if n := c.count("files/upload_session/start") - before; n != want.calls {
			t.Errorf("%.20q: %d uploads begun", name, n)
		}
	}
}

func TestShortSourceIsNotCommitted(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote("chunk_size", "1Mi")+":")
	b := random(3 << 20)
	_, err := f.Put(within(t), bytes.NewReader(b[:2<<20+5]), info("file", b))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if n := c.count("files/upload_session/finish_batch_v2"); n != 0 {
		t.Errorf("%d commits", n)
	}
}

// A source that is longer than was said is read no further than that.
func TestLongSourceIsCutOff(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote()+":")
	if _, err := f.Put(within(t), strings.NewReader("12345678"), info("file", []byte("1234"))); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.get("/file"); string(got) != "1234" {
		t.Errorf("stored %q", got)
	}
}

func TestAccountThatDoesNotTell(t *testing.T) {
	c := newCloud(t)
	c.account = false
	f := open(t, New(Options{}), c.remote()+":")
	put(t, c, f, "a", []byte("1"))
	put(t, c, f, "b", []byte("2"))
	if n := c.count("users/get_current_account"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// Whose account it is is asked once in the process, however often the remote is opened.
func TestAccountIsRemembered(t *testing.T) {
	c := newCloud(t)
	clouds, remote := New(Options{}), c.remote()
	for i := range 3 {
		f, err := clouds.Open(t.Context(), remote+":")
		if err != nil {
			t.Fatal(err)
		}
		put(t, c, f, fmt.Sprintf("f%d", i), []byte("1"))
		if err := f.Features().Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.count("users/get_current_account"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// An upload that isn't sent to its commit yet is withdrawn when its job ends; one that is sent is waited for.
func TestCancel(t *testing.T) {
	t.Run("waiting", func(t *testing.T) {
		c := newCloud(t)
		fleet := &transfer.LocalFleet{}
		f := open(t, New(Options{Fleet: fleet}), c.remote()+":")
		put(t, c, f, "first", []byte("1"))
		_, leave, err := fleet.Turn(t.Context(), "dropbox-commit:dbid:one") // another worker commits
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		done := make(chan error, 1)
		go func() {
			_, err := f.Put(ctx, strings.NewReader("2"), info("second", []byte("2")))
			done <- err
		}()
		until(t, func() bool { return f.(*Fs).login.commits.waiting() == 1 })
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("error %v", err)
		}
		leave()
		put(t, c, f, "third", []byte("3"))
		if _, ok := c.get("/second"); ok {
			t.Error("what was withdrawn was committed")
		}
	})
	t.Run("sent", func(t *testing.T) {
		c := newCloud(t)
		f := open(t, New(Options{}), c.remote()+":")
		put(t, c, f, "first", []byte("1"))
		ctx, cancel := context.WithCancel(t.Context())
		c.fault(fault{endpoint: "files/upload_session/finish_batch_v2", once: 1, do: cancel})
		if _, err := f.Put(ctx, strings.NewReader("2"), info("second", []byte("2"))); err != nil {
			t.Errorf("a commit that went well was answered with %v", err)
		}
	})
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited in vain")
		}
	}
}

func TestShutdownEndsWaits(t *testing.T) {
	c := newCloud(t)
	fleet := &transfer.LocalFleet{}
	f, err := New(Options{Fleet: fleet}).Open(t.Context(), c.remote()+":")
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, f, "first", []byte("1"))
	_, leave, err := fleet.Turn(t.Context(), "dropbox-commit:dbid:one")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	done := make(chan error, 1)
	go func() {
		_, err := f.Put(within(t), strings.NewReader("2"), info("second", []byte("2")))
		done <- err
	}()
	until(t, func() bool { return f.(*Fs).login.commits.waiting() == 1 })
	if err := f.Features().Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, errClosed) {
		t.Errorf("error %v", err)
	}
}

// What rclone alone knows how to address is left to it.
func TestLeftToRclone(t *testing.T) {
	c := newCloud(t)
	for _, more := range [][]string{{"root_namespace", "7"}, {"impersonate_admin", "dbmid:1"}} {
		f, err := New(Options{}).Open(t.Context(), c.remote(more...)+":")
		if err != nil {
			t.Fatal(err)
		}
		if _, ours := f.(*Fs); ours {
			t.Errorf("%v isn't left to rclone", more)
		}
		_ = f.Features().Shutdown(t.Context())
	}
}

func TestOpenFile(t *testing.T) {
	c := newCloud(t)
	c.put("/dir/file", []byte("x"))
	f, err := New(Options{}).Open(t.Context(), c.remote()+":dir/file")
	if !errors.Is(err, fs.ErrorIsFile) || f == nil || f.Root() != "dir" {
		t.Fatalf("%v, %v", f, err)
	}
	_ = f.Features().Shutdown(t.Context())
}

// The number of calls at once rises, and stays below what the service refused.
func TestPaceOverTheWire(t *testing.T) {
	c := newCloud(t)
	c.limit, c.latency = 20, 5*time.Millisecond
	f := open(t, New(Options{}), c.remote()+":")
	var wg sync.WaitGroup
	jobs := make(chan int)
	for range 64 {
		wg.Go(func() {
			for n := range jobs {
				b := fmt.Appendf(nil, "content %d", n)
				if _, err := f.Put(within(t), bytes.NewReader(b), info(fmt.Sprintf("f%d", n), b)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 600 {
		jobs <- n
	}
	close(jobs)
	wg.Wait()
	if c.refused == 0 || c.refused > 60 || len(c.files) != 600 {
		t.Errorf("%d refusals, %d files", c.refused, len(c.files))
	}
	t.Logf("%d refusals of 1200 calls, at most %d at once", c.refused, c.most)
}

// BenchmarkSmallFiles uploads 400 files of 20 kB at 150 ms a call.
func BenchmarkSmallFiles(b *testing.B) {
	for b.Loop() {
		c := newCloud(b)
		c.latency = 150 * time.Millisecond
		f, err := New(Options{}).Open(b.Context(), c.remote()+":")
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		jobs := make(chan int)
		for range 64 {
			wg.Go(func() {
				for n := range jobs {
					content := random(20000)
					if _, err := f.Put(b.Context(), bytes.NewReader(content), info(fmt.Sprintf("f%d", n), content)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for n := range 400 {
			jobs <- n
		}
		close(jobs)
		wg.Wait()
		b.ReportMetric(float64(len(c.batches)), "commits")
		b.ReportMetric(float64(c.most), "at-once")
		_ = f.Features().Shutdown(b.Context())
	}
}
