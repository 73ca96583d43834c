package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"

	"offload/internal/cloudtest"
	"offload/transfer"
	"offload/transfer/dropbox"
	"offload/transfer/icloud"
)

// countingGate counts calls by remote and refuses those beyond a limit.
type countingGate struct {
	mu     sync.Mutex
	calls  map[string]int
	most   map[string]int // by remote; none is no limit
	broken error          // answered to every call, in place of all else
	denied int
}

// Call implements transfer.CallGate.
func (g *countingGate) Call(_ context.Context, remote string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		return g.broken
	}
	if most, ok := g.most[remote]; ok && g.calls[remote] >= most {
		g.denied++
		return fmt.Errorf("remote %s has no calls left: %w", remote, transfer.ErrNoQuota)
	}
	if g.calls == nil {
		g.calls = map[string]int{}
	}
	g.calls[remote]++
	return nil
}

func (g *countingGate) of(remote string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[remote]
}

func (g *countingGate) refusals() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.denied
}

// limit lets a remote have n more calls.
func (g *countingGate) limit(remote string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.most == nil {
		g.most = map[string]int{}
	}
	g.most[remote] = g.calls[remote] + n
}

// clouds plays iCloud and Dropbox, configured as remotes that no other test has, and opens them past the gate. It makes
// sure that no server ever sees the mark of a request.
func clouds(t *testing.T, g transfer.CallGate) (w *cloudtest.World, op transfer.Opener, from, to string) {
	t.Helper()
	w, err := cloudtest.Start(cloudtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	restore := w.UseByRclone()
	config.SetCacheDir(t.TempDir())
	from, to = fmt.Sprintf("cloud%d", rand.Uint64()), fmt.Sprintf("box%d", rand.Uint64())
	file := filepath.Join(t.TempDir(), "rclone.conf")
	if err := config.SetConfigPath(file); err != nil {
		t.Fatal(err)
	}
	configfile.Install()
	for name, section := range map[string]string{from: w.ICloud.Default().Conf(), to: w.Dropbox.Conf()} {
		for line := range strings.SplitSeq(section, "\n") {
			if k, v, ok := strings.Cut(line, "="); ok {
				config.LoadedData().SetValue(name, strings.TrimSpace(k), strings.TrimSpace(v))
			}
		}
	}
	config.LoadedData().SetValue(to, "pacer_min_sleep", "1ms")
	w.Fault(cloudtest.Fault{Endpoint: "*", Kind: cloudtest.Do, Hook: func(r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(strings.ToLower(name), "x-offload") {
				t.Errorf("%s %s came with the header %s", r.Method, r.URL.Path, name)
			}
		}
	}})
	hook := transfer.InstallCallGate(g)
	op = transfer.Opener{Calls: hook, Backends: map[string]transfer.Backend{
		"iclouddrive": icloud.New(icloud.Options{}).Open, "dropbox": dropbox.New(dropbox.Options{}).Open}}
	t.Cleanup(func() {
		hook.Remove()
		restore()
		http.DefaultClient.CloseIdleConnections()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, op, from, to
}

// openClouds opens a pair of the played clouds.
func openClouds(t *testing.T, op transfer.Opener, from, to string, opt transfer.Options) *transfer.Pair {
	t.Helper()
	p, err := op.Open(t.Context(), from, to, opt)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p.NoWaiting(nil)
}

// seen compares what the gate counted with what the played services themselves did.
func (g *countingGate) seen(t *testing.T, w *cloudtest.World, from, to string) {
	t.Helper()
	if got, want := g.of(from), w.Calls("icloud:*"); got != want || want == 0 {
		t.Errorf("the gate counted %d calls to iCloud, iCloud itself %d", got, want)
	}
	if got, want := g.of(to), w.Dropbox.UploadCalls(); got != want || want == 0 {
		t.Errorf("the gate counted %d upload calls to Dropbox, Dropbox itself %d", got, want)
	}
}

// Each request is counted, for its own remote: sign-in, listings, downloads, deletions, what rclone's backends do, and
// what is sent again after a dropped connection, by them or by net/http.
func TestCallsAreCountedExactly(t *testing.T) {
	for name, endpoint := range map[string]string{"smooth": "", "connections drop": "*"} {
		t.Run(name, func(t *testing.T) {
			g := &countingGate{}
			w, op, from, to := clouds(t, g)
			entries := cloudEntries(t, w, 6, 300_000)
			var hits *cloudtest.Hits
			if endpoint != "" {
				hits = w.Fault(cloudtest.Fault{Endpoint: endpoint, Kind: cloudtest.Drop, After: 12, Times: 6, Share: 0.3})
			}
			p := openClouds(t, op, from+":", to+":backup", transfer.Options{DeleteSource: transfer.DeleteVerified})
			j := newJournal(len(entries))
			rep, err := p.RunBatch(t.Context(), transfer.Batch{Entries: entries}, transfer.Env{Journal: j, Slots: newSlots(3)})
			if err != nil || rep.Pending != 0 {
				t.Fatalf("report %+v, error %v", rep, err)
			}
			for i, o := range j.Done() {
				if o.Result != transfer.Copied || o.Source != transfer.Deleted {
					t.Errorf("%s: %+v", entries[i].Path, o)
				}
			}
			g.seen(t, w, from, to)
			// Back again: rclone's own iCloud backend writes.
			back := openClouds(t, op, to+":backup/dir", from+":back", transfer.Options{})
			one := []transfer.Entry{{Path: "file 00.bin", Size: 300_000}}
			if _, err := back.RunBatch(t.Context(), transfer.Batch{Entries: one}, transfer.Env{Journal: newJournal(1)}); err != nil {
				t.Fatal(err)
			}
			if _, ok := w.ICloud.Default().Get("back/file 00.bin"); !ok {
				t.Error("the file didn't come back")
			}
			g.seen(t, w, from, to)
			if hits != nil && hits.Count() == 0 {
				t.Error("no connection was dropped")
			}
			t.Logf("%d calls to iCloud, %d upload calls to Dropbox", g.of(from), g.of(to))
		})
	}
}

// cloudEntries puts n files into the played iCloud and makes their entries.
func cloudEntries(t *testing.T, w *cloudtest.World, n, size int) (entries []transfer.Entry) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("dir/file %02d.bin", i)
		it := w.ICloud.Default().Put(name, []byte(strings.Repeat(fmt.Sprintf("%d;", i), size)[:size]), day)
		entries = append(entries, transfer.Entry{Path: name, Size: int64(size), ModTime: day, ID: it.ID, ETag: it.ETag})
	}
	return entries
}

// With n calls left the service never sees one more, nothing fails, and what is left over goes on when there are more.
func TestCallsBeyondTheLimitAreNotMade(t *testing.T) {
	for side, numbers := range map[string][]int{
		transfer.SideSource: {0, 1, 2, 3, 5, 7, 9, 11, 12}, transfer.SideDest: {0, 1, 2, 3, 5},
	} {
		for _, n := range numbers {
			t.Run(fmt.Sprint(side, n), func(t *testing.T) {
				g := &countingGate{}
				w, op, from, to := clouds(t, g)
				entries := cloudEntries(t, w, 4, 20_000)
				limited, made := from, func() int { return w.Calls("icloud:*") }
				if side == transfer.SideDest {
					limited, made = to, w.Dropbox.UploadCalls
				}
				g.limit(limited, n)
				j := newJournal(len(entries))
				runLimited(t, op, from, to, entries, j)
				if made() > n || made() != g.of(limited) || g.refusals() == 0 {
					t.Fatalf("%d calls were made with %d left, the gate counted %d, %d refusals", made(), n, g.of(limited), g.refusals())
				}
				g.limit(limited, 1000)
				for range 3 {
					runLimited(t, op, from, to, entries, j)
				}
				for i, o := range j.Done() {
					if o.Result != transfer.Copied && o.Result != transfer.Skipped || o.Source != transfer.Deleted || !o.Grade.AtLeast(transfer.GradeB) {
						t.Errorf("%s: %+v", entries[i].Path, o)
					}
				}
				if made() != g.of(limited) {
					t.Errorf("%d calls were made, the gate counted %d", made(), g.of(limited))
				}
			})
		}
	}
}

// runLimited runs a batch whose remotes may have no calls left: whatever is left over waits for the quota.
func runLimited(t *testing.T, op transfer.Opener, from, to string, entries []transfer.Entry, j *memJournal) {
	t.Helper()
	began := time.Now()
	p, err := op.Open(t.Context(), from+":", to+":backup", transfer.Options{DeleteSource: transfer.DeleteVerified})
	if err != nil {
		if !errors.Is(err, transfer.ErrNoQuota) {
			t.Fatalf("open: %v", err)
		}
		return
	}
	defer p.Close(context.Background())
	rep, err := p.NoWaiting(nil).RunBatch(t.Context(), transfer.Batch{Entries: entries, Done: j.Done()}, transfer.Env{Journal: j, Slots: newSlots(2)})
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	if rep.Pending > 0 && (!rep.NoCalls || rep.NoQuota != rep.Pending || rep.SignIn != "" || rep.Space) {
		t.Errorf("report %+v", rep)
	}
	for i, o := range j.Done() {
		if o.Result == transfer.Failed || o.Code != "" {
			t.Errorf("%s: %+v", entries[i].Path, o)
		}
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v: refused calls were repeated", d)
	}
}

// A gate that can't tell ends the batch: it is tried again as a whole, and no file fails by it.
func TestBrokenGateFailsNoFile(t *testing.T) {
	g := &countingGate{}
	w, op, from, to := clouds(t, g)
	entries := cloudEntries(t, w, 4, 20_000)
	p := openClouds(t, op, from+":", to+":backup", transfer.Options{})
	gone := errors.New("the store is away")
	g.mu.Lock()
	g.broken = gone
	g.mu.Unlock()
	j := newJournal(len(entries))
	before := w.Calls("icloud:*")
	_, err := p.RunBatch(t.Context(), transfer.Batch{Entries: entries}, transfer.Env{Journal: j, Slots: newSlots(2)})
	if !errors.Is(err, gone) || w.Calls("icloud:*") != before {
		t.Errorf("error %v, %d calls", err, w.Calls("icloud:*")-before)
	}
	for i := range entries {
		if j.Records(i) != 0 {
			t.Errorf("%s was recorded as %+v", entries[i].Path, j.Done()[i])
		}
	}
}

// A Dropbox team whose upload calls of the month are used up: nothing fails, nobody has to sign in, and no file more is
// begun than were under way.
func TestDropboxTeamWithoutUploadCalls(t *testing.T) {
	for left := range 4 {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			w, op, from, to := clouds(t, &countingGate{})
			w.Dropbox.SetTeamCalls(left)
			entries := cloudEntries(t, w, 8, 20_000)
			p := openClouds(t, op, from+":", to+":backup", transfer.Options{})
			j := newJournal(len(entries))
			rep, err := p.RunBatch(t.Context(), transfer.Batch{Entries: entries}, transfer.Env{Journal: j, Slots: newSlots(2)})
			if err != nil || rep.Pending == 0 || rep.NoQuota != rep.Pending || rep.SignIn != "" || rep.NoCalls {
				t.Fatalf("report %+v, error %v", rep, err)
			}
			if want := to + ": the team's upload calls of this month are used up"; rep.Limit != want || rep.LimitUntil.Day() != 1 || time.Until(rep.LimitUntil) <= 0 {
				t.Errorf("limit %q until %v, want %q", rep.Limit, rep.LimitUntil, want)
			}
			for i, o := range j.Done() {
				if o.Result == transfer.Failed {
					t.Errorf("%s: %+v", entries[i].Path, o)
				}
			}
			if n := w.Dropbox.TeamRefusals(); n == 0 || n > 4 {
				t.Errorf("%d calls were refused", n)
			}
			w.Dropbox.SetTeamCalls(-1)
			again := openClouds(t, op, from+":", to+":backup", transfer.Options{})
			if rep, err = again.RunBatch(t.Context(), transfer.Batch{Entries: entries, Done: j.Done()}, transfer.Env{Journal: j}); err != nil || rep.Pending != 0 {
				t.Fatalf("next month: report %+v, error %v", rep, err)
			}
			for i, o := range j.Done() {
				if o.Result != transfer.Copied && o.Result != transfer.Skipped {
					t.Errorf("%s: %+v", entries[i].Path, o)
				}
			}
		})
	}
}

// A scan that has no calls left ends as one that waits: it takes no folder for one that can't be read.
func TestScanWithoutCallsLeftWaits(t *testing.T) {
	g := &countingGate{}
	w, op, from, to := clouds(t, g)
	for i := range 6 {
		w.ICloud.Default().Put(fmt.Sprintf("dir %d/below/file", i), []byte("x"), day)
	}
	for left := range 4 {
		p := openClouds(t, op, from+":", to+":backup", transfer.Options{})
		g.limit(from, left)
		began := time.Now()
		_, err := p.Scan(t.Context(), transfer.ScanOptions{}, func(transfer.Chunk) error { return nil })
		if made := g.of(from); !errors.Is(err, transfer.ErrNoQuota) || made != w.Calls("icloud:*") || time.Since(began) > 10*time.Second {
			t.Errorf("with %d calls left: error %v after %v, %d calls counted, %d made", left, err, time.Since(began), made, w.Calls("icloud:*"))
		}
		g.limit(from, 1000)
	}
}
