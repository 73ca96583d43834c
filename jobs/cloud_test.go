package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"offload/transfer"
	"offload/transfer/xcloud"
)

// cloudWorld is a world whose source is a played account, with a service that opens it so.
func cloudWorld(w *world) *xcloud.Cloud {
	w.t.Helper()
	c := xcloud.New(w.src)
	w.svc = w.service(c.Open)
	return c
}

func purging(o Order) Order {
	o.PurgeTrash = true
	return o
}

func (w *world) recordsOf(id string) map[string]FileRecord {
	w.t.Helper()
	all := map[string]FileRecord{}
	if err := w.svc.Files(w.t.Context(), id, FileFilter{}, func(r FileRecord) error {
		all[r.Path] = r
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestPurgeRemovesOnlyWhatTheJobDeleted(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := cloudWorld(w)
		w.tree(60, 1000)
		want := files(t, w.src)
		c.Throw("FILE::played::somebody's", make([]byte, 500))
		w.worker(w.svc, WorkerOptions{})
		j := w.reach(w.enqueue(purging(w.order(transfer.DeleteVerified))).ID, Completed, CompletedW, FailedState)
		if j.State != Completed || j.Error != "" {
			t.Fatalf("ended as %s: %s", j.State, j.Error)
		}
		if j.Files.Deleted != 60 || j.Files.Purged != 60 || j.Bytes.Purged != 60_000 || j.Bytes.Deleted != 60_000 {
			t.Errorf("counted %+v %+v", j.Files, j.Bytes)
		}
		if c.InTrash() != 1 || c.Calls("purge") == 0 {
			t.Errorf("%d items left in the trash after %d purges, want the one that isn't the job's", c.InTrash(), c.Calls("purge"))
		}
		if !maps.Equal(files(t, w.dst), want) {
			t.Error("the destination differs")
		}
		for path, r := range w.recordsOf(j.ID) {
			if r.Source != transfer.Purged {
				t.Errorf("%s is %s", path, r.Source)
			}
		}
		s := j.Storage
		if s == nil || s.Before == nil || s.AfterTrash == nil || s.After == nil {
			t.Fatalf("storage %+v", s)
		}
		if s.Before.Used != 60_500 || s.AfterTrash.Used != 60_500 || s.After.Used != 500 || s.Before.Total != xcloud.Total || s.After.ByKind["docs"] != 500 {
			t.Errorf("measured %+v, %+v, %+v", s.Before, s.AfterTrash, s.After)
		}
		if !j.Trash {
			t.Error("the job doesn't tell that the source has a trash")
		}
	})
}

func TestWithoutPurgeTheTrashStays(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(20, 1000)
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(w.order(transfer.DeleteComplete)).ID, Completed, CompletedW, FailedState)
	if j.State != Completed || j.Files.Deleted != 20 || j.Files.Purged != 0 || c.InTrash() != 20 || c.Calls("purge") != 0 {
		t.Fatalf("%s, %+v, %d in the trash", j.State, j.Files, c.InTrash())
	}
	s := j.Storage
	if s == nil || s.After == nil || s.AfterTrash == nil || s.After.Used != 20_000 || s.AfterTrash.Used != 20_000 || c.Calls("storage") != 2 {
		t.Fatalf("storage %+v after %d calls", s, c.Calls("storage"))
	}
}

func TestNothingIsMeasuredWhereNothingIsDeleted(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(5, 10)
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(w.order(transfer.DeleteNever)).ID, Completed, CompletedW, FailedState)
	if j.State != Completed || j.Storage != nil || c.Calls("storage") != 0 || c.Calls("trash") != 0 {
		t.Fatalf("%s, %+v", j.State, j.Storage)
	}
}

func TestWhatIsNotPurgedIsToldAndRetried(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(20, 1000)
	broken := atomic.Bool{}
	broken.Store(true)
	c.PurgeFails = func(id string) error {
		if broken.Load() && strings.Contains(id, "file 00") && strings.HasSuffix(id, "3.bin") {
			return errors.New("the cloud says no")
		}
		return nil
	}
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(purging(w.order(transfer.DeleteVerified))).ID, Completed, CompletedW, FailedState)
	if j.State != CompletedW || j.Files.Purged != 19 || j.Files.Deleted != 20 || !strings.Contains(j.Error, "1 deleted file stays in the trash") {
		t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
	}
	if r := w.recordsOf(j.ID)["dir00/file 003.bin"]; r.Code != transfer.CodeNotPurged || r.Source != transfer.Deleted || r.Reason == "" {
		t.Fatalf("%+v", r)
	}
	broken.Store(false)
	if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "the retry ends", func() bool {
		j = w.reach(j.ID, Queued, Scanning, Transferring, Finishing, Completed, CompletedW, FailedState)
		return j.State.Terminal()
	})
	if j.State != Completed || j.Files.Purged != 20 || j.Files.Copied != 20 || c.InTrash() != 0 || j.Storage.After.Used != 0 {
		t.Fatalf("after the retry: %s (%s), %+v, %d in the trash, %+v", j.State, j.Error, j.Files, c.InTrash(), j.Storage.After)
	}
}

// A copy that was changed after the deletion keeps its source in the trash: that is the last good one.
func TestPurgeProvesTheCopyAgain(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(20, 1000)
	c.OnStorage = func(context.Context) error {
		if c.InTrash() == 20 { // after the deletions, before the purge
			w.overwrite("dir00/file 007.bin", make([]byte, 1000))
		}
		return nil
	}
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(purging(w.order(transfer.DeleteVerified))).ID, Completed, CompletedW, FailedState)
	if j.State != CompletedW || j.Files.Purged != 19 || c.InTrash() != 1 {
		t.Fatalf("%s (%s), %+v, %d in the trash", j.State, j.Error, j.Files, c.InTrash())
	}
}

func TestPurgeGoesOnAfterACrash(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(40, 1000)
	ctx, die := context.WithCancel(context.Background())
	defer die()
	var killed atomic.Bool
	c.OnPurge = func(ctx context.Context) {
		if killed.CompareAndSwap(false, true) { // the process is killed while its first purge is under way
			die()
			<-ctx.Done()
		}
	}
	dead := make(chan error, 1)
	first := w.service(c.Open)
	first.self = "elsewhere::1:dead"
	go func() { dead <- first.RunWorker(ctx, ctx, WorkerOptions{Grace: time.Millisecond}) }()
	j := w.enqueue(purging(w.order(transfer.DeleteVerified)))
	if err := <-dead; err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, Finishing); j.Files.Deleted != 40 || j.Files.Purged != 0 || c.InTrash() == 40 {
		t.Fatalf("%s, %+v, %d in the trash: the purge wasn't cut off in its middle", j.State, j.Files, c.InTrash())
	}
	w.worker(w.svc, WorkerOptions{})
	j = w.reach(j.ID, Completed, CompletedW, FailedState)
	if j.State != Completed || j.Files.Purged != 40 || j.Files.Deleted != 40 || c.InTrash() != 0 {
		t.Fatalf("%s (%s), %+v, %d in the trash", j.State, j.Error, j.Files, c.InTrash())
	}
}

func TestACanceledJobPurgesNothing(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(40, 1000)
	j := w.enqueue(purging(w.order(transfer.DeleteVerified)))
	c.OnStorage = func(context.Context) error {
		if c.InTrash() > 0 {
			if _, err := w.svc.Cancel(context.Background(), j.ID); err != nil && !errors.Is(err, ErrState) {
				t.Error(err)
			}
		}
		return nil
	}
	w.worker(w.svc, WorkerOptions{})
	w.reach(j.ID, Canceled)
	until(t, "all work is handed back", func() bool {
		held, err := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Result()
		return err == nil && held == 0
	})
	if c.InTrash() != 40 || c.Calls("purge") != 0 {
		t.Fatalf("%d in the trash, %d purges", c.InTrash(), c.Calls("purge"))
	}
}

func TestAMeasurementThatFailsOrHangsHarmsNothing(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(5, 1000)
	c.OnStorage = func(context.Context) error { return errors.New("no answer") }
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(purging(w.order(transfer.DeleteVerified))).ID, Completed, CompletedW, FailedState)
	if j.State != Completed || j.Storage != nil || j.Files.Purged != 5 {
		t.Fatalf("%s (%s), %+v, %+v", j.State, j.Error, j.Files, j.Storage)
	}
}

// signIn plays a sign-in that is refused from some call on until a person has signed in.
type signIn struct {
	ok     atomic.Bool
	after  atomic.Int64 // calls of op until it is refused
	op     string
	asked  atomic.Int64 // refused calls
	denied error
}

func (s *signIn) call(op string) error {
	if op == s.op && s.after.Add(-1) == -1 {
		s.ok.Store(false)
	}
	if s.ok.Load() {
		return nil
	}
	s.asked.Add(1)
	return s.denied
}

func TestSignInMidJobWaitsAndGoesOn(t *testing.T) {
	for _, at := range []struct {
		op    string
		after int64
	}{{"list", 1}, {"download", 0}, {"download", 13}, {"delete", 5}, {"trash", 0}} {
		t.Run(fmt.Sprintf("%s %d", at.op, at.after), func(t *testing.T) {
			w := newWorld(t, "")
			c := cloudWorld(w)
			w.tree(120, 1000)
			want := files(t, w.src)
			s := &signIn{op: at.op, denied: fmt.Errorf("sign in as played: %w", transfer.ErrSignIn)}
			s.ok.Store(true)
			s.after.Store(1 << 40)
			c.OnCall = s.call
			j := w.enqueue(purging(w.order(transfer.DeleteVerified)))
			s.after.Store(at.after)
			stop := w.worker(w.svc, WorkerOptions{})
			j = w.reach(j.ID, Waiting, Completed, CompletedW, FailedState)
			if j.State != Waiting || j.Reason != ReasonSignIn || !strings.Contains(j.Error, "sign in again") || j.Until == nil {
				t.Fatalf("%s %s (%s)", j.State, j.Reason, j.Error)
			}
			w.handedBack(j.ID)
			before, asked := w.attempts(j.ID), s.asked.Load()
			// Maintenance has looked at it several times by then.
			looks := 0
			until(t, "maintenance looks at the job", func() bool {
				if err := w.svc.audit(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
				looks++
				return looks > 20
			})
			if after := w.attempts(j.ID); !maps.Equal(before, after) {
				t.Errorf("attempts grew while the job waited: %v, %v", before, after)
			}
			if n := s.asked.Load(); n != asked {
				t.Errorf("the remote was asked %d times while the job waited for a sign-in", n-asked)
			}
			s.after.Store(1 << 40)
			s.ok.Store(true)
			if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			j = w.reach(j.ID, Completed, CompletedW, FailedState)
			stop()
			if j.State != Completed || j.Error != "" || j.Files.Failed != 0 || j.Files.Purged != 120 || j.Files.Copied != 120 {
				t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
			}
			if !maps.Equal(files(t, w.dst), want) || len(files(t, w.src)) != 0 {
				t.Error("the trees differ")
			}
			if s.asked.Load() == 0 {
				t.Error("the sign-in was never refused")
			}
		})
	}
}

// handedBack waits until no worker holds a unit of the job.
func (w *world) handedBack(id string) {
	w.t.Helper()
	until(w.t, "all work is handed back", func() bool {
		held, err := w.store.Client().ZCard(w.t.Context(), string(keysOf(id))+"lease").Result()
		return err == nil && held == 0
	})
}

// attempts are the numbers of the job's units.
func (w *world) attempts(id string) map[string]string {
	w.t.Helper()
	all, err := w.store.Client().HGetAll(w.t.Context(), string(keysOf(id))+"att").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// A remote that goes on refusing is asked at longer and longer intervals, and never makes the job fail.
func TestSignInIsAskedForLessAndLess(t *testing.T) {
	w := newWorld(t, "")
	c := cloudWorld(w)
	w.tree(3, 10)
	s := &signIn{denied: fmt.Errorf("sign in as played: %w", transfer.ErrSignIn)}
	s.ok.Store(true)
	c.OnCall = s.call
	j := w.enqueue(w.order(transfer.DeleteNever))
	s.ok.Store(false)
	w.worker(w.svc, WorkerOptions{})
	var waits []time.Duration
	for range maxFailures + 2 {
		j = w.reach(j.ID, Waiting, FailedState, Completed)
		if j.State != Waiting || j.Reason != ReasonSignIn {
			t.Fatalf("%s %s (%s)", j.State, j.Reason, j.Error)
		}
		waits = append(waits, time.Until(*j.Until).Round(time.Minute))
		w.handedBack(j.ID)
		// Before it goes on: the worker may ask at any moment then.
		asked := s.asked.Load()
		if _, err := w.svc.scripts.transition(t.Context(), j.ID, "|waiting|", "resume", "test", "", hold{}); err != nil { // as its time does
			t.Fatal(err)
		}
		if err := w.svc.audit(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		until(t, "it is tried again", func() bool { return s.asked.Load() > asked })
	}
	if waits[0] != 15*time.Minute || waits[1] != time.Hour || waits[2] != 4*time.Hour || slices.Max(waits) != 24*time.Hour {
		t.Errorf("waits %v", waits)
	}
	j = w.reach(j.ID, Waiting)
	w.handedBack(j.ID)
	s.ok.Store(true)
	if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed {
		t.Fatalf("%s (%s)", j.State, j.Error)
	}
}

func TestSignInTextNamesTheRemote(t *testing.T) {
	for path, want := range map[string]string{
		"icloud:Documents":            "`offload remotes reconnect icloud`",
		"icloud,password=secret:Docs": "`offload remotes reconnect icloud`",
		"/home/anna":                  "sign in again, then resume",
		":webdav,pass=secret:x":       "sign in again, then resume",
	} {
		text := signInText(path)
		if !strings.Contains(text, want) || strings.Contains(text, "secret") {
			t.Errorf("%s: %s", path, text)
		}
		j := Job{State: Waiting, Reason: ReasonSignIn, Source: path, Dest: "/x", Error: text}
		if got := j.SignInRemote(); (got == "icloud") != strings.HasPrefix(path, "icloud") {
			t.Errorf("%s: sign in to %q", path, got)
		}
	}
}

// A finish that can't open the remotes ends the job where that can't get better: it isn't left to its lease.
func TestFinishThatCantOpenFails(t *testing.T) {
	w := newWorld(t, "")
	w.tree(5, 10)
	o := w.order(transfer.DeleteVerified)
	o.Hold = time.Hour
	stop := w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(o).ID, Waiting)
	stop()
	broken := w.service(func(context.Context, string, string, transfer.Options) (*transfer.Pair, error) {
		return nil, &transfer.CheckError{Field: transfer.SideSource, Final: true, Err: errors.New("the remote is gone from the configuration")}
	})
	w.worker(broken, WorkerOptions{})
	if err := w.store.Client().HSet(t.Context(), keysOf(j.ID).job(), "proved", time.Now().Add(-2*time.Hour).UnixMilli()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, FailedState, Completed, CompletedW); j.State != FailedState || !strings.Contains(j.Error, "gone from the configuration") || j.Files.Deleted != 0 {
		t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
	}
}

func TestCountersFollowTheSource(t *testing.T) {
	e := transfer.Entry{Path: "a", Size: 10}
	for state, want := range map[transfer.SourceState]counters{
		transfer.Kept:     {"deleted": 0, "purged": 0},
		transfer.Deleting: {"deleted": 0, "purged": 0},
		transfer.Deleted:  {"deleted": 1, "b_deleted": 10, "purged": 0},
		transfer.Purging:  {"deleted": 1, "b_deleted": 10, "purged": 0},
		transfer.Purged:   {"deleted": 1, "b_deleted": 10, "purged": 1, "b_purged": 10},
	} {
		c := counters{}
		c.add(e, transfer.Outcome{Result: transfer.Copied, Source: state}, 1)
		for name, n := range want {
			if c[name] != n {
				t.Errorf("%s: %s is %d, want %d", state, name, c[name], n)
			}
		}
	}
}

func TestFileRecordTellsPackageAndEvidence(t *testing.T) {
	r := fileRecord(transfer.Entry{Path: "a.pages"}, transfer.Outcome{Result: transfer.Copied, Package: true, Evidence: "match", Dest: "a.pages.zip"})
	if !r.Package || r.Evidence != "match" || r.Dest != "a.pages.zip" {
		t.Errorf("%+v", r)
	}
}
