package transfer_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"offload/internal/cloudtest"
	"offload/transfer"
	"offload/transfer/xtest"
)

// scrubbed is a number of files at the played Dropbox and the record of them.
type scrubbed struct {
	t       *testing.T
	w       *cloudtest.World
	op      transfer.Opener
	from    string
	to      string
	entries []transfer.Entry
	journal *memJournal
	meter   *memMeter
}

func newScrub(t *testing.T, names ...string) *scrubbed {
	t.Helper()
	s := &scrubbed{t: t, meter: &memMeter{}}
	s.w, s.op, s.from, s.to = clouds(t, &countingGate{})
	for _, n := range names {
		content := []byte("content of " + n)
		s.w.Dropbox.Put("/Archive/"+n, content)
		s.entries = append(s.entries, transfer.Entry{Path: n, Size: int64(len(content)), ModTime: day, Hash: "dropbox:" + s.w.Dropbox.Hash("/Archive/"+n)})
	}
	s.w.ResetCounts()
	return s
}

// run scrubs, and demands that neither cloud was asked to change anything.
func (s *scrubbed) run(read bool) transfer.Report {
	s.t.Helper()
	p := openClouds(s.t, s.op, s.to+":Archive", s.to+":Archive", transfer.Options{})
	if err := p.CheckScrub(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if s.journal == nil {
		s.journal = newJournal(len(s.entries))
	}
	rep, err := p.Scrub(s.t.Context(), transfer.Batch{Entries: s.entries, Done: s.journal.Done()}, transfer.Env{Journal: s.journal, Meter: s.meter, Slots: newSlots(4)}, read)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.meter.Check(); err != nil {
		s.t.Error(err)
	}
	looks := map[string]bool{"dropbox:list_folder": true, "dropbox:list_folder_continue": true, "dropbox:get_metadata": true, "dropbox:download": true,
		"dropbox:oauth2_token": true, "dropbox:get_current_account": true, "dropbox:get_space_usage": true}
	for _, name := range s.w.Endpoints() {
		if n := s.w.Calls(name); n > 0 && !looks[name] {
			s.t.Errorf("%d calls of %s: a scrub only looks", n, name)
		}
	}
	return rep
}

func (s *scrubbed) want(name string, result transfer.Result, code, reason string) {
	s.t.Helper()
	for i, e := range s.entries {
		if e.Path != name {
			continue
		}
		o := s.journal.Done()[i]
		if o.Result != result || o.Code != code || !strings.Contains(o.Reason, reason) || o.Source != "" && o.Code != transfer.CodeGaveUp || o.Hash != e.Hash && o.Code != transfer.CodeGaveUp {
			s.t.Errorf("%s: %+v, want %s %s (%s)", name, o, result, code, reason)
		}
		return
	}
	s.t.Errorf("no file %s", name)
}

func TestScrubTellsWhatIsNotAsItWasProved(t *testing.T) {
	for _, read := range []bool{false, true} {
		t.Run(fmt.Sprint("read ", read), func(t *testing.T) {
			s := newScrub(t, "a/intact", "a/removed", "a/tampered", "a/shorter", "a/moved", "a/folder", "gone/1", "gone/2", "alone/only", "Caf\u00e9/x")
			d := s.w.Dropbox
			d.Remove("/Archive/a/removed")
			d.Change("/Archive/a/tampered", []byte("CONTENT of a/tampered"))
			d.Change("/Archive/a/shorter", []byte("short"))
			d.Remove("/Archive/a/moved")
			d.Put("/Archive/a/moved too", []byte("content of a/moved"))
			d.Remove("/Archive/a/folder")
			d.Mkdir("/Archive/a/folder")
			d.Remove("/Archive/gone")
			s.run(read)
			s.want("a/intact", transfer.Skipped, "", "")
			s.want("alone/only", transfer.Skipped, "", "")
			s.want("Caf\u00e9/x", transfer.Skipped, "", "")
			s.want("a/removed", transfer.Failed, transfer.CodeScrubMissing, "isn't there any more")
			s.want("a/moved", transfer.Failed, transfer.CodeScrubMissing, `"a/moved too" has the same content`)
			s.want("a/folder", transfer.Failed, transfer.CodeScrubMissing, "")
			s.want("gone/1", transfer.Failed, transfer.CodeScrubMissing, "")
			s.want("gone/2", transfer.Failed, transfer.CodeScrubMissing, "")
			s.want("a/tampered", transfer.Failed, transfer.CodeScrubDiffers, "content is another")
			s.want("a/shorter", transfer.Failed, transfer.CodeScrubDiffers, "it has 5 bytes")
			grade, used := transfer.GradeA, int64(0)
			if read {
				grade, used = transfer.GradeB, int64(len("content of a/intactcontent of a/tamperedcontent of alone/onlycontent of Caf\u00e9/x"))
			}
			if o := s.journal.Done()[0]; o.Grade != grade || s.meter.Used() != used {
				t.Errorf("grade %s, %d bytes counted, want %s and %d", o.Grade, s.meter.Used(), grade, used)
			}
		})
	}
}

// A hash that the service tells though its disks have rotted is found out by reading.
func TestScrubReadsWhatTheHashHides(t *testing.T) {
	s := newScrub(t, "rotten", "sound")
	s.w.Dropbox.SetHash(cloudtest.HashSentAlways)
	if !s.w.Dropbox.Corrupt("/Archive/rotten") {
		t.Skip("nothing to rot")
	}
	s.run(true)
	s.want("rotten", transfer.Failed, transfer.CodeScrubDiffers, "")
	s.want("sound", transfer.Skipped, "", "")
}

// What can't be listed isn't missing: it is looked at by other ways, and told as what couldn't be looked at.
func TestScrubThatCanNotLookSaysSo(t *testing.T) {
	t.Run("listing alone", func(t *testing.T) {
		s := newScrub(t, "a/1", "a/2", "a/3")
		s.w.Dropbox.Remove("/Archive/a/2")
		s.w.Fault(cloudtest.Fault{Endpoint: "dropbox:list_folder", After: 1, Kind: cloudtest.Status, Status: 500})
		s.run(false)
		s.want("a/1", transfer.Skipped, "", "")
		s.want("a/2", transfer.Failed, transfer.CodeScrubMissing, "")
		s.want("a/3", transfer.Skipped, "", "")
	})
	t.Run("at all", func(t *testing.T) {
		s := newScrub(t, "a/1", "a/2", "b/1")
		inA := func(path string) bool { return strings.Contains(path, "/Archive/a") }
		for _, e := range []string{"dropbox:list_folder", "dropbox:get_metadata"} {
			s.w.Fault(cloudtest.Fault{Endpoint: e, Kind: cloudtest.Status, Status: 400, Match: bodyHas(inA), Body: "Error in call to API function: something is wrong with this folder"})
		}
		s.run(false)
		for _, n := range []string{"a/1", "a/2"} {
			i := map[string]int{"a/1": 0, "a/2": 1}[n]
			if o := s.journal.Done()[i]; o.Result != transfer.Failed || o.Code == transfer.CodeScrubMissing || o.Code == transfer.CodeScrubDiffers || o.Code == "" {
				t.Errorf("%s: %+v", n, o)
			}
		}
		s.want("b/1", transfer.Skipped, "", "")
	})
	t.Run("throttled", func(t *testing.T) {
		s := newScrub(t, "a/1", "a/2", "a/3")
		s.w.Dropbox.SetRetryAfter(0)
		hit := s.w.Fault(cloudtest.Fault{Endpoint: "dropbox:list_folder", After: 1, Times: 3, Kind: cloudtest.Status, Status: 429})
		s.run(false)
		for _, e := range s.entries {
			s.want(e.Path, transfer.Skipped, "", "")
		}
		if hit.Count() == 0 {
			t.Error("nothing was throttled")
		}
	})
	t.Run("sign-in", func(t *testing.T) {
		s := newScrub(t, "a/1", "a/2")
		p := openClouds(t, s.op, s.to+":Archive", s.to+":Archive", transfer.Options{})
		s.journal = newJournal(2)
		s.w.Fault(cloudtest.Fault{Endpoint: "dropbox:*", Kind: cloudtest.Status, Status: 401})
		rep, err := p.Scrub(t.Context(), transfer.Batch{Entries: s.entries}, transfer.Env{Journal: s.journal, Meter: s.meter, Slots: newSlots(4)}, false)
		if err != nil || rep.SignIn != transfer.SideSource || rep.Pending != 2 {
			t.Errorf("%+v, %v", rep, err)
		}
	})
}

// A record without a hash is good for size and time; one that isn't known here says nothing.
func TestScrubByWeakRecords(t *testing.T) {
	dst := newRemote(t, "local")
	for _, n := range []string{"hashed", "tampered", "timed", "touched", "package", "strange"} {
		put(t, dst, n, "content of "+n, day)
	}
	sum := func(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }
	entry := func(n, hash string) transfer.Entry {
		return transfer.Entry{Path: n, Size: int64(len("content of " + n)), ModTime: day, Hash: hash}
	}
	pack := entry("package", "")
	pack.Package = true
	touched := entry("touched", "")
	touched.ModTime = day.AddDate(0, 0, -1)
	entries := []transfer.Entry{entry("hashed", sum("content of hashed")), entry("tampered", sum("other")), entry("timed", ""), touched, pack, entry("strange", "quantum:00"), entry("gone", "")}
	want := []string{"skipped A ", "failed  scrub_differs", "skipped C ", "failed  scrub_differs", "failed  scrub_unknown", "failed  scrub_unknown", "failed  scrub_missing"}
	for _, read := range []bool{false, true} {
		script := xtest.NewScript()
		f := xtest.Wrap(context.Background(), dst, "dst", script)
		if read {
			want[0] = "skipped B "
		}
		j := newJournal(len(entries))
		if _, err := transfer.NewPair(f, f, transfer.Options{}).NoWaiting(nil).Scrub(t.Context(), transfer.Batch{Entries: entries}, transfer.Env{Journal: j}, read); err != nil {
			t.Fatal(err)
		}
		for i, o := range j.Done() {
			if got := fmt.Sprint(o.Result, " ", o.Grade, " ", o.Code); got != want[i] {
				t.Errorf("read %v, %s: %q, want %q: %s", read, entries[i].Path, got, want[i], o.Reason)
			}
		}
		for _, op := range []string{"Put", "Update", "Remove", "Move", "Mkdir", "Rmdir"} {
			if n := script.CallsOf("dst." + op); n > 0 {
				t.Errorf("%d calls of %s", n, op)
			}
		}
	}
}

// A place that tells no hashes is read, and what is read counts.
func TestScrubReadsWhereThereIsNoHash(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "local")
	put(t, src, "a", "a file", day)
	w := newWorld(t, src, dst, verified, xtest.NewScript(), "a")
	w.pair.Dest.(*xtest.FaultFs).NoHashes = true
	w.mustRun()
	o := w.outcome("a")
	if o.Grade != transfer.GradeB || o.Source != transfer.Deleted {
		t.Fatalf("%+v", o)
	}
	e := transfer.Entry{Path: "a", Size: 6, ModTime: day, Hash: o.Hash}
	m, j := &memMeter{}, newJournal(1)
	f := w.pair.Dest
	if _, err := transfer.NewPair(f, f, transfer.Options{}).NoWaiting(nil).Scrub(t.Context(), transfer.Batch{Entries: []transfer.Entry{e}}, transfer.Env{Journal: j, Meter: m}, false); err != nil {
		t.Fatal(err)
	}
	if got := j.Done()[0]; got.Result != transfer.Skipped || got.Grade != transfer.GradeB || m.Used() != 6 {
		t.Errorf("%+v, %d bytes counted", got, m.Used())
	}
	m = &memMeter{Limit: 3}
	j = newJournal(1)
	rep, err := transfer.NewPair(f, f, transfer.Options{}).NoWaiting(nil).Scrub(t.Context(), transfer.Batch{Entries: []transfer.Entry{e}}, transfer.Env{Journal: j, Meter: m}, false)
	if err != nil || rep.NoQuota != 1 || rep.Pending != 1 || j.Done()[0].Result != transfer.Pending {
		t.Errorf("without quota: %+v, %v, %+v", rep, err, j.Done()[0])
	}
}

// Two thousand files cost as many calls as their folders have pages.
func TestScrubListsFolders(t *testing.T) {
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("dir %d/file %04d", i%10, i))
	}
	s := newScrub(t, names...)
	for from := 0; from < len(names); from += 1000 {
		part := *s
		part.entries, part.journal = s.entries[from:from+1000], nil
		part.run(false)
		for i, o := range part.journal.Done() {
			if o.Result != transfer.Skipped || o.Grade != transfer.GradeA {
				t.Fatalf("%s: %+v", part.entries[i].Path, o)
			}
		}
	}
	calls := s.w.Calls("dropbox:*")
	t.Logf("2,000 files in 10 folders, two batches: %d calls", calls)
	if calls > 30 {
		t.Errorf("%d calls", calls)
	}
}

// bodyHas matches calls by the text of their body.
func bodyHas(ok func(string) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		return err == nil && ok(string(body))
	}
}
