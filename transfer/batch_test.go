package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/pacer"

	"offload/transfer"
	"offload/transfer/xtest"
)

var verified = transfer.Options{DeleteSource: transfer.DeleteVerified}

// single makes a world with one source file "f.txt", and "f.txt" at the destination where there is not "".
func single(t *testing.T, opt transfer.Options, content, there string, script *xtest.Script) *world {
	t.Helper()
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	put(t, src, "f.txt", content, day)
	if there != "" {
		put(t, dst, "f.txt", there, day)
	}
	return newWorld(t, src, dst, opt, script, "f.txt")
}

func (w *world) source() *xtest.FaultFs { return w.pair.Source.(*xtest.FaultFs) }
func (w *world) dest() *xtest.FaultFs   { return w.pair.Dest.(*xtest.FaultFs) }

// want compares the outcome of "f.txt", with Code and Source only where they are given, and whether its source remains.
func (w *world) want(want transfer.Outcome) {
	w.t.Helper()
	got := w.outcome("f.txt")
	if got.Result != want.Result || got.Grade != want.Grade || got.Source != want.Source || got.Code != want.Code || got.Dest != want.Dest {
		w.t.Errorf("outcome %+v, want %+v", got, want)
	}
	if (got.Code != "") != (got.Reason != "") {
		w.t.Errorf("code %q with reason %q", got.Code, got.Reason)
	}
	_, there := readAll(w.t, w.src)["f.txt"]
	if there == (want.Source == transfer.Deleted) {
		w.t.Errorf("source file there: %v, outcome %+v", there, got)
	}
}

// Rules, by behaviour.

func TestRuleStreamedWholeSize(t *testing.T) {
	for name, lie := range map[string]int64{"longer than listed": -1, "shorter than listed": 1} {
		for _, kind := range []string{"memory", "local"} {
			t.Run(name+" to "+kind, func(t *testing.T) {
				src, dst := newRemote(t, "memory"), newRemote(t, kind)
				put(t, src, "f.txt", "content of the file", day)
				w := newWorld(t, src, dst, verified, xtest.NewScript(), "f.txt")
				w.source().Lie = func(_ string, size int64) int64 { return size + lie }
				w.mustRun()
				w.want(transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: w.outcome("f.txt").Code})
				if files := readAll(t, dst); len(files) != 0 {
					t.Errorf("the destination holds %v", files)
				}
			})
		}
	}
}

func TestUnknownSizeIsCopiedAndKept(t *testing.T) {
	for _, kind := range []string{"memory", "local"} {
		src, dst := newRemote(t, "memory"), newRemote(t, kind)
		put(t, src, "f.txt", "content", day)
		w := newWorld(t, src, dst, verified, xtest.NewScript(), "f.txt")
		w.source().Lie = func(string, int64) int64 { return -1 }
		w.mustRun()
		w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept, Code: transfer.CodeSizeUntrusted})
		w.dest().Features().PutStream = nil // a destination that must know the length: the file is spooled
		w.journal = newJournal(1)
		o, err := dst.NewObject(context.Background(), "f.txt")
		if err != nil || o.Remove(context.Background()) != nil {
			t.Fatalf("remove copy: %v", err)
		}
		w.mustRun()
		w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept, Code: transfer.CodeSizeUntrusted})
	}
}

func TestRuleExistingNeedsContent(t *testing.T) {
	for _, c := range []struct {
		name   string
		opt    transfer.Options
		hashes bool // of the source; the destination has them only where the source does
		there  string
		want   transfer.Outcome
	}{
		{"equal by hash", verified, true, "equal", transfer.Outcome{Result: transfer.Skipped, Grade: transfer.GradeA, Source: transfer.Deleted}},
		{"equal by reading", verified, false, "equal", transfer.Outcome{Result: transfer.Skipped, Grade: transfer.GradeB, Source: transfer.Deleted}},
		{"differs by hash", verified, true, "EQUAL", transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Deleted, Dest: "f (offload 2026-11-20).txt"}},
		{"differs by reading", verified, false, "EQUAL", transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeB, Source: transfer.Deleted, Dest: "f (offload 2026-11-20).txt"}},
		{"time and size without deletion", transfer.Options{}, false, "EQUAL", transfer.Outcome{Result: transfer.Skipped, Grade: transfer.GradeC, Source: transfer.Kept}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := single(t, c.opt, "equal", c.there, xtest.NewScript())
			w.source().NoHashes, w.dest().NoHashes = !c.hashes, !c.hashes
			w.mustRun()
			w.want(c.want)
			if dst := readAll(t, w.dst); dst["f.txt"] != c.there {
				t.Errorf("what was there is %q now", dst["f.txt"])
			}
		})
	}
}

func TestExistingIsComparedWithTheHashOfTheDestinationAlone(t *testing.T) {
	for there, want := range map[string]transfer.Outcome{
		"equal": {Result: transfer.Skipped, Grade: transfer.GradeA, Source: transfer.Deleted},
		"EQUAL": {Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Deleted, Dest: "f (offload 2026-11-20).txt"},
	} {
		script := xtest.NewScript()
		w := single(t, verified, "equal", there, script)
		w.source().NoHashes = true
		w.mustRun()
		w.want(want)
		if n := script.CallsOf("dst.Open"); n != 0 {
			t.Errorf("%s: the destination was read %d times", there, n)
		}
		if want.Result == transfer.Copied && (w.meter.Wasted() != 5 || w.meter.Used() != 10) {
			t.Errorf("used %d, wasted %d", w.meter.Used(), w.meter.Wasted())
		}
	}
}

func TestFoldersAreListedOnceAndCaseIsTheDestinations(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	for _, n := range []string{"d/a.txt", "d/b.txt", "d/c.txt"} {
		put(t, src, n, "new "+n, day)
	}
	put(t, dst, "d/A.txt", "other", day)
	script := xtest.NewScript()
	w := newWorld(t, src, dst, transfer.Options{}, script, "d/a.txt", "d/b.txt", "d/c.txt")
	w.dest().Features().CaseInsensitive = true
	w.mustRun()
	if o := w.outcome("d/a.txt"); o.Result != transfer.Copied || o.Dest != "d/a (offload 2026-11-20).txt" {
		t.Errorf("outcome %+v", o)
	}
	if a, b, c := script.CallsOf("src.List"), script.CallsOf("dst.List"), script.CallsOf("src.NewObject"); a != 1 || b != 1 || c != 0 {
		t.Errorf("%d and %d listings, %d single looks at the source", a, b, c)
	}
}

func TestRuleMayOverwrite(t *testing.T) {
	for policy, want := range map[transfer.Conflict]transfer.Outcome{
		transfer.ConflictRename:    {Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept, Dest: "f (offload 2026-11-20).txt"},
		transfer.ConflictSkip:      {Result: transfer.Skipped, Source: transfer.Kept, Code: transfer.CodeConflictKept},
		transfer.ConflictOverwrite: {Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept},
	} {
		for _, kind := range []string{"memory", "local"} {
			t.Run(string(policy)+" on "+kind, func(t *testing.T) {
				src, dst := newRemote(t, "memory"), newRemote(t, kind)
				put(t, src, "f.txt", "new", day)
				put(t, dst, "f.txt", "different", day)
				w := newWorld(t, src, dst, transfer.Options{Conflict: policy}, xtest.NewScript(), "f.txt")
				w.mustRun()
				w.want(want)
				files, kept := readAll(t, dst), "different"
				if policy == transfer.ConflictOverwrite {
					kept = "new"
				}
				if files["f.txt"] != kept {
					t.Errorf("the destination holds %v", files)
				}
				n := len(files)
				w.journal = newJournal(1)
				w.mustRun() // a run that is repeated makes no third file
				if again := readAll(t, dst); len(again) != n {
					t.Errorf("second run made %v", again)
				}
			})
		}
	}
}

func TestNameTakenDuringTheUploadIsNotOverwritten(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "local")
	put(t, src, "f.txt", "ours", day)
	script := xtest.NewScript(xtest.Fault{Op: "dst.Put", N: 1, Do: func(string) { put(t, dst, "f.txt", "theirs", day) }})
	w := newWorld(t, src, dst, transfer.Options{}, script, "f.txt")
	w.mustRun()
	w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept, Dest: "f (offload 2026-11-20).txt"})
	if files := readAll(t, dst); files["f.txt"] != "theirs" || script.Hits() == 0 {
		t.Errorf("the destination holds %v", files)
	}
}

func TestRuleRemoveOnlyOurs(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	put(t, src, "f.txt", "ours", day)
	script := xtest.NewScript(xtest.Fault{Op: "dst.NewObject", N: 2, Do: func(string) { put(t, dst, "f.txt", "theirs", day.AddDate(0, 0, 2)) }})
	w := newWorld(t, src, dst, verified, script, "f.txt")
	w.pair.Attempts(1)
	w.mustRun()
	if got := readAll(t, dst)["f.txt"]; got != "theirs" || script.Hits() == 0 {
		t.Errorf("what somebody else wrote is %q now", got)
	}
	w.want(transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeCorrupt})
}

func TestRuleSourceIsNotDestination(t *testing.T) {
	ctx := context.Background()
	t.Run("one bucket under two names", func(t *testing.T) {
		one := newRemote(t, "memory")
		put(t, one, "f.txt", "the only copy", day)
		w := newWorld(t, one, one, verified, xtest.NewScript(), "f.txt")
		w.mustRun()
		w.want(transfer.Outcome{Result: transfer.Skipped, Grade: transfer.GradeA, Source: transfer.Kept, Code: transfer.CodeSamePlace})
		if files := readAll(t, one); len(files) != 1 {
			t.Errorf("left behind: %v", files)
		}
	})
	t.Run("a linked folder", func(t *testing.T) {
		dir := t.TempDir()
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(dir, link); err != nil {
			t.Skipf("this system makes no symbolic links: %v", err)
		}
		one, err := fs.NewFs(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		two, err := fs.NewFs(ctx, link)
		if err != nil {
			t.Fatal(err)
		}
		put(t, one, "f.txt", "the only copy", day)
		w := newWorld(t, one, two, verified, xtest.NewScript(), "f.txt")
		w.mustRun()
		w.want(transfer.Outcome{Result: transfer.Skipped, Grade: transfer.GradeA, Source: transfer.Kept, Code: transfer.CodeSamePlace})
	})
}

func TestGradesByWhatTheDestinationHas(t *testing.T) {
	for _, c := range []struct {
		name          string
		opt           transfer.Options
		hashes, times bool
		grade         transfer.Grade
		source        transfer.SourceState
		code          string
		readsBack     bool
	}{
		{"hash", verified, true, true, transfer.GradeA, transfer.Deleted, "", false},
		{"no hash", verified, false, true, transfer.GradeB, transfer.Deleted, "", true},
		{"no hash, no deletion", transfer.Options{}, false, true, transfer.GradeC, transfer.Kept, "", false},
		{"no hash, no time, no deletion", transfer.Options{}, false, false, transfer.GradeD, transfer.Kept, "", false},
		{"grade C will do", transfer.Options{DeleteSource: transfer.DeleteVerified, MinGrade: transfer.GradeC}, false, true, transfer.GradeC, transfer.Deleted, "", false},
		{"only A will do", transfer.Options{DeleteSource: transfer.DeleteVerified, MinGrade: transfer.GradeA}, false, true, transfer.GradeB, transfer.Kept, transfer.CodeWeakProof, true},
		{"grade C, but no time", transfer.Options{DeleteSource: transfer.DeleteVerified, MinGrade: transfer.GradeC}, false, false, transfer.GradeD, transfer.Kept, transfer.CodeWeakProof, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := xtest.NewScript()
			w := single(t, c.opt, "content", "", script)
			w.dest().NoHashes, w.dest().NoTimes = !c.hashes, !c.times
			w.mustRun()
			w.want(transfer.Outcome{Result: transfer.Copied, Grade: c.grade, Source: c.source, Code: c.code})
			if read := script.CallsOf("dst.Open") > 0; read != c.readsBack {
				t.Errorf("read back: %v", read)
			}
			if n := w.meter.Used(); n != 7 {
				t.Errorf("%d bytes were counted", n)
			}
			if n := w.journal.Records(0); n > 2 || n > 1 && !c.opt.Deletes() {
				t.Errorf("%d records for one file", n)
			}
		})
	}
}

func TestTimesOfASourceThatCannotSetThemTellItsVersions(t *testing.T) {
	w := single(t, verified, "content", "", xtest.NewScript())
	w.source().NoTimes, w.source().NoHashes = true, true // plain WebDAV
	w.mustRun()
	w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Deleted})
}

func TestHashThatTheDestinationGetsWrongIsNoArrival(t *testing.T) {
	w := single(t, verified, "content", "", xtest.NewScript())
	w.dest().Claim = func(_, h string) string { return strings.Repeat("0", len(h)) }
	w.mustRun()
	w.want(transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeCorrupt})
	if files := readAll(t, w.dst); len(files) != 0 {
		t.Errorf("bad copy left: %v", files)
	}
	if w.meter.Used() != 35 || w.meter.Wasted() != 35 || w.outcome("f.txt").Wasted != 35 {
		t.Errorf("used %d, wasted %d, outcome %+v", w.meter.Used(), w.meter.Wasted(), w.outcome("f.txt"))
	}
}

// Retries and reports.

func TestRetryAfterIsHonoured(t *testing.T) {
	slow := pacer.RetryAfterError(errors.New("429 too many requests"), 77*time.Second)
	w := single(t, transfer.Options{}, "content", "", xtest.NewScript(xtest.Fault{Op: "dst.Put", N: 1, Err: slow}))
	var waits []time.Duration
	w.pair.NoWaiting(func(d time.Duration) { waits = append(waits, d) })
	rep, err := w.run(context.Background())
	if err != nil || rep.Throttled != 1 || len(waits) != 1 || waits[0] < 77*time.Second {
		t.Errorf("report %+v, waits %v, error %v", rep, waits, err)
	}
	w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept})
}

func TestWhatWaitsStaysPending(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault xtest.Fault
		check func(transfer.Report) bool
	}{
		{"disk full", xtest.Fault{Op: "dst.Put", N: 1, On: true, Err: &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}},
			func(r transfer.Report) bool { return r.Space }},
		{"Dropbox full", xtest.Fault{Op: "dst.Put", N: 1, On: true, Err: errors.New("upload failed: insufficient_space/..")},
			func(r transfer.Report) bool { return r.Space }},
		{"source signed out", xtest.Fault{Op: "src.Open", N: 1, On: true, Err: errors.New("trust token expired, please reauth")},
			func(r transfer.Report) bool { return r.SignIn == transfer.SideSource }},
		{"destination signed out", xtest.Fault{Op: "dst.Put", N: 1, On: true, Err: errors.New("HTTP error 401 (401 Unauthorized) returned")},
			func(r transfer.Report) bool { return r.SignIn == transfer.SideDest }},
		{"forbidden everywhere", xtest.Fault{N: 3, On: true, Err: errors.New("AccessDenied: 403 Forbidden")},
			func(r transfer.Report) bool { return r.SignIn != "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := single(t, verified, "content", "", xtest.NewScript(c.fault))
			rep, err := w.run(context.Background())
			if err != nil || !c.check(rep) || rep.Pending != 1 || w.journal.Records(0) != 0 {
				t.Fatalf("report %+v, error %v, outcome %+v", rep, err, w.outcome("f.txt"))
			}
			if err := w.meter.Check(); err != nil {
				t.Error(err)
			}
			w.rewrap(xtest.NewScript())
			w.mustRun()
			w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Deleted})
		})
	}
}

func TestOneRefusedFileIsNoSignOut(t *testing.T) {
	w := single(t, verified, "content", "", xtest.NewScript(
		xtest.Fault{Op: "src.Open", N: 1, On: true, Err: errors.New("403 Forbidden: AccessDenied")}))
	w.mustRun()
	w.want(transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeRefused})
	if r := w.outcome("f.txt").Reason; !strings.Contains(r, "f.txt") || !strings.Contains(r, ":memory:") || !strings.Contains(r, "Check the permissions") {
		t.Errorf("reason %q", r)
	}
}

func TestSmallerFilesGoWhereLargerDoNotFit(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	put(t, src, "large", strings.Repeat("x", 100), day)
	put(t, src, "larger", strings.Repeat("x", 200), day)
	put(t, src, "small", "12345", day)
	w := newWorld(t, src, dst, verified, xtest.NewScript(), "larger", "large", "small")
	w.meter.Limit = 50
	rep, err := w.run(context.Background())
	if err != nil || rep.NoQuota != 2 || rep.Need != 100 || rep.Pending != 2 || w.meter.Used() != 5 {
		t.Errorf("report %+v, used %d, error %v", rep, w.meter.Used(), err)
	}
	if w.outcome("small").Source != transfer.Deleted || w.outcome("large").Result != transfer.Pending {
		t.Errorf("small %+v, large %+v", w.outcome("small"), w.outcome("large"))
	}
	w.meter.Limit = 0
	w.mustRun()
}

func TestStopAndFence(t *testing.T) {
	names := []string{"a", "b", "c"}
	make3 := func() *world {
		src, dst := newRemote(t, "memory"), newRemote(t, "memory")
		for _, n := range names {
			put(t, src, n, n, day)
		}
		return newWorld(t, src, dst, verified, xtest.NewScript(), names...)
	}
	t.Run("stopped", func(t *testing.T) {
		w, asked, env := make3(), 0, transfer.Env{}
		env = w.env()
		env.Stopped = func(context.Context) error {
			if asked++; asked > 1 {
				return transfer.ErrStop
			}
			return nil
		}
		rep, err := w.pair.RunBatch(context.Background(), w.batch(), env)
		if err != nil || rep.Pending != 2 || w.outcome("a").Source != transfer.Deleted {
			t.Errorf("report %+v, error %v, outcome %+v", rep, err, w.outcome("a"))
		}
	})
	t.Run("stopped while it waits for a slot", func(t *testing.T) {
		w, begun, stopping := make3(), 0, make(chan struct{})
		env := w.env()
		env.Stopping = stopping
		env.Slots = slotsFunc(func(ctx context.Context) (func(bool), error) {
			if begun++; begun > 1 {
				close(stopping)
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return func(bool) {}, nil
		})
		rep, err := w.pair.RunBatch(context.Background(), w.batch(), env)
		if err != nil || rep.Pending != 2 || w.outcome("a").Source != transfer.Deleted {
			t.Errorf("what had begun was cut: report %+v, error %v, outcome %+v", rep, err, w.outcome("a"))
		}
	})
	t.Run("fenced", func(t *testing.T) {
		w := make3()
		w.journal.Fail = func(int, transfer.Outcome) error { return transfer.ErrFenced }
		rep, err := w.run(context.Background())
		if !errors.Is(err, transfer.ErrFenced) || rep.Pending != 3 || len(readAll(t, w.src)) != 3 {
			t.Errorf("report %+v, error %v", rep, err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		w := make3()
		cause := errors.New("the lease was lost")
		ctx, cancel := context.WithCancelCause(context.Background())
		script := xtest.NewScript(xtest.Fault{Op: "dst.Put", N: 2, Do: func(string) { cancel(cause) }})
		w.rewrap(script)
		rep, err := w.pair.RunBatch(ctx, w.batch(), w.env())
		if !errors.Is(err, cause) || rep.Pending != 2 || len(readAll(t, w.src)) != 2 {
			t.Errorf("report %+v, error %v", rep, err)
		}
		if err := w.meter.Check(); err != nil {
			t.Error(err)
		}
	})
}

func TestVerdictsAndGoneFiles(t *testing.T) {
	w := single(t, verified, "content", "", xtest.NewScript())
	w.entries = append(w.entries, transfer.Entry{Path: "aside", Verdict: transfer.SetAside, Code: "name_collision", Reason: "why"},
		transfer.Entry{Path: "gone", Size: 3})
	w.journal = newJournal(3)
	w.mustRun()
	if o := w.outcome("aside"); o.Result != transfer.SetAside || o.Code != "name_collision" || o.Source != transfer.Kept {
		t.Errorf("aside: %+v", o)
	}
	if o := w.outcome("gone"); o.Result != transfer.Failed || o.Code != transfer.CodeSourceGone {
		t.Errorf("gone: %+v", o)
	}
}

// Deletions after a crash, and later ones.

func TestDeletionThatWasBegun(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(w *world)
		want   transfer.Outcome
	}{
		{"nothing changed", func(*world) {}, transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Deleted}},
		{"source gone", func(w *world) { remove(w.t, w.src, "f.txt") }, transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Deleted}},
		{"source changed", func(w *world) { put(w.t, w.src, "f.txt", "changed", day.AddDate(0, 0, 1)) },
			transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept, Code: transfer.CodeChangedLater}},
		{"copy gone", func(w *world) { remove(w.t, w.dst, "f.txt") }, transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Deleted}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := single(t, verified, "content", "", xtest.NewScript(xtest.Fault{Op: "src.Remove", N: 1, Err: errInjected}))
			w.journal.Fail = func(_ int, o transfer.Outcome) error {
				if o.Source != transfer.Deleting {
					return errInjected // the process ends between the record and the deletion
				}
				return nil
			}
			w.pair.Attempts(1)
			if _, err := w.run(context.Background()); err == nil {
				t.Fatal("the run went on")
			}
			w.journal.Fail = nil
			c.before(w)
			w.rewrap(xtest.NewScript())
			w.mustRun()
			w.want(c.want)
		})
	}
	t.Run("both gone", func(t *testing.T) {
		w := single(t, verified, "content", "", xtest.NewScript())
		w.mustRun()
		w.journal.done[0].Source = transfer.Deleting
		remove(t, w.dst, "f.txt")
		w.mustRun()
		if o := w.outcome("f.txt"); o.Result != transfer.Failed || o.Code != transfer.CodeDestGone {
			t.Errorf("outcome %+v", o)
		}
	})
}

func remove(t testing.TB, f fs.Fs, name string) {
	t.Helper()
	o, err := f.NewObject(context.Background(), name)
	if err == nil {
		err = o.Remove(context.Background())
	}
	if err != nil {
		t.Fatalf("remove %s: %v", name, err)
	}
}

func TestDeleteProved(t *testing.T) {
	ctx := context.Background()
	held := transfer.Options{DeleteSource: transfer.DeleteVerified, Hold: time.Hour}
	setup := func(t *testing.T) *world {
		src, dst := newRemote(t, "memory"), newRemote(t, "memory")
		for _, n := range []string{"a", "b", "c"} {
			put(t, src, n, n, day)
		}
		w := newWorld(t, src, dst, held, xtest.NewScript(), "a", "b", "c")
		w.mustRun()
		if len(readAll(t, src)) != 3 {
			t.Fatal("deleted before the hold ended")
		}
		return w
	}
	t.Run("all", func(t *testing.T) {
		w := setup(t)
		rep, err := w.pair.DeleteProved(ctx, w.batch(), w.env(), -1)
		if err != nil || rep.Pending != 0 || len(readAll(t, w.src)) != 0 || w.meter.Used() != 3 {
			t.Errorf("report %+v, error %v, used %d", rep, err, w.meter.Used())
		}
	})
	t.Run("at most two", func(t *testing.T) {
		w := setup(t)
		_, err := w.pair.DeleteProved(ctx, w.batch(), w.env(), 2)
		if err != nil || len(readAll(t, w.src)) != 1 || w.outcome("c").Code != transfer.CodeMaxDelete {
			t.Errorf("error %v, outcome %+v", err, w.outcome("c"))
		}
	})
	t.Run("what has changed since", func(t *testing.T) {
		w := setup(t)
		put(t, w.dst, "a", "other", day)
		put(t, w.src, "b", "newer", day.AddDate(0, 0, 1))
		_, err := w.pair.DeleteProved(ctx, w.batch(), w.env(), -1)
		src := readAll(t, w.src)
		if err != nil || len(src) != 2 || w.outcome("a").Code != transfer.CodeDestGone || w.outcome("b").Code != transfer.CodeChangedLater {
			t.Errorf("error %v, source %v, a %+v, b %+v", err, src, w.outcome("a"), w.outcome("b"))
		}
	})
}

// deleterFs is a source that deletes on a condition.
type deleterFs struct {
	*xtest.FaultFs
	targets []transfer.Target
	err     error
}

func (d *deleterFs) Delete(_ context.Context, targets []transfer.Target) []error {
	d.targets = append(d.targets, targets...)
	return []error{d.err}
}

func TestDeleterIsUsedAndItsConflictKeepsTheFile(t *testing.T) {
	w := single(t, verified, "content", "", xtest.NewScript())
	d := &deleterFs{FaultFs: w.source(), err: transfer.ErrChanged}
	w.pair.Source = d
	w.mustRun()
	w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept, Code: transfer.CodeChangedLater})
	if len(d.targets) != 1 || d.targets[0].Path != "f.txt" || d.targets[0].Size != 7 || !d.targets[0].ModTime.Equal(day) {
		t.Errorf("targets %+v", d.targets)
	}
}

func TestRemoveEmptyDirs(t *testing.T) {
	ctx := context.Background()
	src := newRemote(t, "local")
	put(t, src, "a/b/c/gone", "x", day)
	put(t, src, "a/kept/file", "x", day)
	remove(t, src, "a/b/c/gone")
	if err := src.Mkdir(ctx, "never ours"); err != nil {
		t.Fatal(err)
	}
	p := transfer.NewPair(src, newRemote(t, "memory"), verified)
	n, err := p.RemoveEmptyDirs(ctx, []string{"", "a/b/c", "a/kept", "not there", "../x"})
	if n != 2 || err != nil {
		t.Errorf("removed %d, error %v", n, err)
	}
	for dir, want := range map[string]bool{"": true, "a": true, "a/kept": true, "a/b": false, "never ours": true} {
		if _, err := src.List(ctx, dir); (err == nil) != want {
			t.Errorf("%q there: %v", dir, err)
		}
	}
}

// slotsFunc is one function as transfer.Slots.
type slotsFunc func(context.Context) (func(bool), error)

func (f slotsFunc) Acquire(ctx context.Context) (func(bool), error) { return f(ctx) }
