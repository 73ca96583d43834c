package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// atItsDeletions is a job of n files whose hold is over, its only batch, and the journal of a worker that died at its deletions.
func (w *world) atItsDeletions(t *testing.T, n int) (j Job, b stored, jr *journal) {
	t.Helper()
	j, stop := w.onHold(transfer.DeleteVerified, n)
	stop()
	w.over(j.ID)
	if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	h := w.steal(j.ID, unitFinish, deadProcess(t))
	b, err := w.svc.load(t.Context(), j.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	return j, b, newJournal(w.svc, h, 1, b.entries, b.done, func(State) {})
}

// onHold is a job on hold with n files of a thousand bytes, and the worker that brought it there.
func (w *world) onHold(policy transfer.DeletePolicy, n int) (j Job, stop func()) {
	w.t.Helper()
	w.tree(n, 1000)
	o := w.order(policy)
	o.Hold = time.Hour
	stop = w.worker(w.svc, WorkerOptions{})
	j = w.reach(w.enqueue(o).ID, Waiting, Completed, CompletedW, FailedState)
	if j.Reason != ReasonHold || j.Files.Deleted != 0 {
		w.t.Fatalf("%s %s (%s), %+v", j.State, j.Reason, j.Error, j.Files)
	}
	return j, stop
}

// codes counts the files of a job by their codes.
func (w *world) codes(id string) map[string]int {
	w.t.Helper()
	all := map[string]int{}
	if err := w.svc.Files(w.t.Context(), id, FileFilter{}, func(r FileRecord) error { all[r.Code]++; return nil }); err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestHoldIsTold(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		before := time.Now()
		j, _ := w.onHold(transfer.DeleteVerified, 5)
		if j.HoldUntil == nil || j.HoldUntil.Before(before.Add(59*time.Minute)) || !j.HoldUntil.Equal(*j.Until) || j.Held == nil || *j.Held != (PlanCount{5, 5000}) {
			t.Errorf("until %v, held %+v", j.HoldUntil, j.Held)
		}
		other := w.enqueue(w.order(transfer.DeleteNever))
		w.reach(other.ID, Completed)
		all, err := w.svc.Holds(t.Context(), "")
		if err != nil || len(all) != 1 || all[0].ID != j.ID {
			t.Errorf("%+v, %v", all, err)
		}
		if all, err = w.svc.Holds(t.Context(), "anna"); err != nil || len(all) != 0 {
			t.Errorf("of another account: %+v, %v", all, err)
		}
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if all, err = w.svc.Holds(t.Context(), DefaultAccount); err != nil || len(all) != 1 || all[0].State != Paused || all[0].Held.Files != 5 {
			t.Errorf("paused: %+v, %v", all, err)
		}
		for _, id := range []string{other.ID, "", "../x", "01KB3Q7W5T0000000000000000"} {
			_, keep := w.svc.HoldKeep(t.Context(), id)
			_, release := w.svc.HoldRelease(t.Context(), id)
			want := ErrNotFound
			if id == other.ID {
				want = ErrState
			}
			if !errors.Is(keep, want) || !errors.Is(release, want) {
				t.Errorf("%q: keep: %v, release: %v", id, keep, release)
			}
		}
	})
}

// Whatever happens to the job afterwards, nothing is deleted once its deletions were called off.
func TestHoldThatIsCalledOffDeletesNothing(t *testing.T) {
	for _, policy := range []transfer.DeletePolicy{transfer.DeleteVerified, transfer.DeleteComplete} {
		for _, paused := range []bool{false, true} {
			t.Run(fmt.Sprint(policy, " paused ", paused), func(t *testing.T) {
				eachStore(t, func(t *testing.T, w *world) {
					j, _ := w.onHold(policy, 40)
					want := files(t, w.src)
					if paused {
						if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
							t.Fatal(err)
						}
					}
					if _, err := w.svc.HoldKeep(t.Context(), j.ID); err != nil {
						t.Fatal(err)
					}
					j = w.reach(j.ID, Completed, CompletedW, FailedState)
					if j.State != Completed || j.Files.Deleted != 0 || !j.HoldCalledOff || j.Held != nil || j.DeleteSource != transfer.DeleteNever {
						t.Fatalf("%s (%s), %+v", j.State, j.Error, j)
					}
					if got := w.codes(j.ID); got[transfer.CodeHoldCalledOff] != 40 || len(got) != 1 {
						t.Errorf("codes %v", got)
					}
					for name, verb := range map[string]func(context.Context, string) (Job, error){
						"keep": w.svc.HoldKeep, "release": w.svc.HoldRelease, "resume": w.svc.Resume, "retry": w.svc.Retry} {
						if _, err := verb(t.Context(), j.ID); !errors.Is(err, ErrState) {
							t.Errorf("%s: %v", name, err)
						}
					}
					if !maps.Equal(files(t, w.src), want) || !maps.Equal(files(t, w.dst), want) {
						t.Error("the files aren't all there on both sides")
					}
				})
			})
		}
	}
}

func TestHoldThatIsReleasedProvesAgain(t *testing.T) {
	for _, policy := range []transfer.DeletePolicy{transfer.DeleteVerified, transfer.DeleteComplete} {
		t.Run(string(policy), func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				j, _ := w.onHold(policy, 20)
				w.tamper()
				if _, err := w.svc.HoldRelease(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
				w.tampered(w.reach(j.ID, Completed, CompletedW, FailedState))
			})
		})
	}
}

// tamper does to files, while their deletion is on hold, what others may do.
func (w *world) tamper() {
	w.t.Helper()
	w.overwrite("dir00/file 001.bin", make([]byte, 1000))       // same size, other bytes
	w.overwrite("dir00/file 002.bin", []byte("something else")) // replaced
	for _, err := range []error{
		os.Remove(filepath.Join(w.dst, "dir00", "file 003.bin")),
		os.Mkdir(filepath.Join(w.dst, "dir00", "file 003.bin"), 0o755), // a folder in its place
		os.Remove(filepath.Join(w.dst, "dir00", "file 004.bin")),
		os.WriteFile(filepath.Join(w.src, "dir00", "file 005.bin"), bytes.Repeat([]byte("n"), 1000), 0o644), // a new version
		os.Remove(filepath.Join(w.src, "dir00", "file 006.bin")),
	} {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// tampered demands that everything that was tampered with stays, and only that, and is told.
func (w *world) tampered(j Job) {
	w.t.Helper()
	left := files(w.t.(*testing.T), w.src)
	for i := 1; i <= 5; i++ {
		if left[fmt.Sprintf("dir00/file %03d.bin", i)] == "" {
			w.t.Errorf("file %d is lost", i)
		}
	}
	if j.State != CompletedW || len(left) != 5 || j.Files.Deleted != 14 || j.Files.Failed != 4 {
		w.t.Errorf("%s (%s), %+v, left %d", j.State, j.Error, j.Files, len(left))
	}
	want := map[string]int{"": 14, transfer.CodeDestGone: 4, transfer.CodeChangedLater: 1, transfer.CodeSourceGone: 1}
	if got := w.codes(j.ID); !maps.Equal(got, want) {
		w.t.Errorf("codes %v, want %v", got, want)
	}
}

// Until its end, a hold is nobody's to cut short: not a pause's, not a resume's.
func TestHoldOutlastsPauseAndResume(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, _ := w.onHold(transfer.DeleteVerified, 3)
		until := *j.HoldUntil
		for range 2 {
			if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			if j = w.reach(j.ID, Waiting, Completed, CompletedW); j.State != Waiting || !j.HoldUntil.Equal(until) || j.Files.Deleted != 0 {
				t.Fatalf("%s until %v, %+v", j.State, j.HoldUntil, j.Files)
			}
		}
	})
}

// A hold that ends while its job is paused deletes nothing before somebody resumes it.
func TestHoldEndsWhilePaused(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, _ := w.onHold(transfer.DeleteVerified, 3)
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		w.over(j.ID)
		for range 3 {
			if err := w.svc.audit(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
		}
		if j, _ = w.svc.Get(t.Context(), j.ID); j.State != Paused || len(files(t, w.src)) != 3 {
			t.Fatalf("%s, %d files left", j.State, len(files(t, w.src)))
		}
		if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || j.Files.Deleted != 3 {
			t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
		}
	})
}

// over makes the hold of a job end.
func (w *world) over(id string) {
	w.t.Helper()
	if err := w.store.Client().HSet(w.t.Context(), keysOf(id).job(), "proved", time.Now().Add(-2*time.Hour).UnixMilli()).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// Keep comes while the finish begins: where it says that it is done nothing is deleted, and where it refuses all is.
func TestHoldKeepRacesTheFinish(t *testing.T) {
	w := newWorld(t, "")
	w.worker(w.svc, WorkerOptions{})
	kept := 0
	for round := range 30 {
		w.src, w.dst = filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
		w.tree(4, 100)
		o := w.order(transfer.DeleteVerified)
		o.Hold = time.Hour
		j := w.reach(w.enqueue(o).ID, Waiting)
		w.over(j.ID)
		var both sync.WaitGroup
		var err error
		both.Go(func() { _, _ = w.svc.Resume(t.Context(), j.ID) })
		both.Go(func() { _, err = w.svc.HoldKeep(t.Context(), j.ID) })
		both.Wait()
		if err != nil && !errors.Is(err, ErrState) {
			t.Fatal(err)
		}
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		left := len(files(t, w.src))
		if err == nil && (left != 4 || !j.HoldCalledOff || j.Files.Deleted != 0) || err != nil && (left != 0 || j.HoldCalledOff) {
			t.Fatalf("round %d: keep says %v, %d files are left, %+v", round, err, left, j.Files)
		}
		if err == nil {
			kept++
		}
	}
	t.Logf("kept in %d of 30 rounds", kept)
}

// A worker that had claimed the finish before the deletions were called off can store nothing any more, so it deletes
// nothing: each deletion is recorded first.
func TestHoldKeepFencesTheFinish(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, stop := w.onHold(transfer.DeleteVerified, 3)
		stop()
		w.over(j.ID)
		if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		h := w.steal(j.ID, unitFinish, "frozen:host:1:x")
		if _, err := w.svc.HoldKeep(t.Context(), j.ID); !errors.Is(err, ErrState) {
			t.Fatalf("the finish runs: %v", err)
		}
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		for name, end := range map[string]func(context.Context, string) (Job, error){"keep": w.svc.HoldKeep, "release": w.svc.HoldRelease} {
			if _, err := end(t.Context(), j.ID); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "still at its deletions") {
				t.Fatalf("%s while a worker may delete: %v", name, err)
			}
		}
		// The worker is frozen: its lease runs out, and the job stays paused.
		if err := w.store.Client().ZAdd(t.Context(), string(keysOf(j.ID))+"lease", redis.Z{Score: 1, Member: unitFinish}).Err(); err != nil {
			t.Fatal(err)
		}
		until(t, "the lease is taken back", func() bool {
			if err := w.svc.audit(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			n, err := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Result()
			return err == nil && n == 0
		})
		if _, err := w.svc.HoldKeep(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		b, err := w.svc.load(t.Context(), j.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		wk := &worker{s: w.svc, log: w.log, name: w.svc.self}
		jr := newJournal(w.svc, h, 1, b.entries, b.done, func(State) {})
		o := b.done[0]
		o.Source = transfer.Deleting
		if err := jr.Record(t.Context(), 0, o); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("the frozen worker may record a deletion: %v", err)
		}
		if err := wk.compact(t.Context(), &unit{hold: h, w: wk}, jr); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("the frozen worker may end a batch: %v", err)
		}
		w.worker(w.svc, WorkerOptions{})
		if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || len(files(t, w.src)) != 3 {
			t.Fatalf("%s (%s), %d left", j.State, j.Error, len(files(t, w.src)))
		}
	})
}

// What a worker that died had asked to be deleted before the deletions were called off is told as it is.
func TestHoldKeepLooksAtWhatWasAskedFor(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, b, jr := w.atItsDeletions(t, 3)
		for i := range 2 {
			o := b.done[i]
			o.Source = transfer.Deleting
			if err := jr.Record(t.Context(), i, o); err != nil {
				t.Fatal(err)
			}
		}
		gone := b.entries[0].Path
		if err := os.Remove(filepath.Join(w.src, gone)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		until(t, "the dead worker's finish is taken back", func() bool {
			if err := w.svc.audit(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			_, err := w.svc.HoldKeep(t.Context(), j.ID)
			return err == nil
		})
		w.worker(w.svc, WorkerOptions{})
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		if j.State != Completed || j.Files.Deleted != 1 || len(files(t, w.src)) != 2 {
			t.Fatalf("%s (%s), %+v, %d left", j.State, j.Error, j.Files, len(files(t, w.src)))
		}
		if got := w.codes(j.ID); got[transfer.CodeHoldCalledOff] != 2 || got[""] != 1 {
			t.Errorf("codes %v", got)
		}
	})
}

// A deletion that had failed before the deletions were called off isn't tried again by a retry.
func TestHoldKeepOutlastsARetry(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, b, jr := w.atItsDeletions(t, 3)
		for i, code := range []string{transfer.CodeDeleteFailed, transfer.CodeNotSeenAgain} {
			o := b.done[i]
			o.Source, o.Code, o.Reason = transfer.Kept, code, "the source said no"
			if err := jr.Record(t.Context(), i, o); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.svc.Pause(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		until(t, "the dead worker's finish is taken back", func() bool {
			if err := w.svc.audit(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			_, err := w.svc.HoldKeep(t.Context(), j.ID)
			return err == nil
		})
		w.worker(w.svc, WorkerOptions{})
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		if _, err := w.svc.Retry(t.Context(), j.ID); err == nil {
			j = w.reach(j.ID, Completed, CompletedW, FailedState)
		} else if !errors.Is(err, ErrState) {
			t.Fatal(err)
		}
		if j.State != Completed || j.Files.Deleted != 0 || len(files(t, w.src)) != 3 {
			t.Fatalf("%s (%s), %+v, %d left", j.State, j.Error, j.Files, len(files(t, w.src)))
		}
		if got := w.codes(j.ID); got[transfer.CodeHoldCalledOff] != 3 {
			t.Errorf("codes %v", got)
		}
	})
}

// A worker that dies amid the deletions after a hold leaves them to another, which proves each again.
func TestHoldWorkerDiesAmidDeletions(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, b, jr := w.atItsDeletions(t, 20)
		intent := func(i int, delete bool) {
			o := b.done[i]
			o.Source = transfer.Deleting
			if err := jr.Record(t.Context(), i, o); err != nil {
				t.Fatal(err)
			}
			if delete {
				if err := os.Remove(filepath.Join(w.src, b.entries[i].Path)); err != nil {
					t.Fatal(err)
				}
			}
		}
		intent(0, true)  // deleted, and killed before it was recorded
		intent(1, false) // killed before it was deleted
		intent(2, false) // the same, and then the copy was tampered with
		w.overwrite(b.entries[2].Path, make([]byte, 1000))
		w.worker(w.svc, WorkerOptions{})
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		left := files(t, w.src)
		if j.State != CompletedW || j.Files.Deleted != 19 || len(left) != 1 || left[b.entries[2].Path] == "" {
			t.Fatalf("%s (%s), %+v, left %d", j.State, j.Error, j.Files, len(left))
		}
	})
}

// What failed during a hold can be tried again: it is copied anew and held for its own time.
func TestRetryAfterAHoldHoldsAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, _ := w.onHold(transfer.DeleteVerified, 20)
		if err := os.Remove(filepath.Join(w.dst, "dir00", "file 004.bin")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.HoldRelease(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != CompletedW || j.Files.Deleted != 19 || j.Files.Failed != 1 {
			t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
		}
		if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		j = w.reach(j.ID, Waiting, Completed, CompletedW, FailedState)
		if j.Reason != ReasonHold || j.Held == nil || j.Held.Files != 1 || len(files(t, w.src)) != 1 || len(files(t, w.dst)) != 20 {
			t.Fatalf("%s %s (%s), held %+v, %+v", j.State, j.Reason, j.Error, j.Held, j.Files)
		}
		if _, err := w.svc.HoldKeep(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || j.Files.Deleted != 19 || len(files(t, w.src)) != 1 {
			t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
		}
	})
}

// A store that is put back to before the deletions were called off holds the job still, for its whole time: it doesn't
// delete early.
func TestHoldKeepThatTheStoreForgetsIsHeldStill(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j, stop := w.onHold(transfer.DeleteVerified, 3)
		stop()
		c, k := w.store.Client(), keysOf(j.ID)
		before := map[string]string{}
		for _, key := range k.common() {
			if dump, err := c.Dump(t.Context(), key).Result(); err == nil {
				before[key] = dump
			}
		}
		if len(before) == 0 {
			t.Skip("this store can't put keys back")
		}
		if _, err := w.svc.HoldKeep(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		for _, key := range k.common() {
			if err := c.Del(t.Context(), key).Err(); err != nil {
				t.Fatal(err)
			}
			if dump, ok := before[key]; ok {
				if err := c.RestoreReplace(t.Context(), key, 0, dump).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.worker(w.svc, WorkerOptions{})
		if j = w.reach(j.ID, Waiting, Completed, CompletedW); j.State != Waiting || j.HoldUntil == nil || len(files(t, w.src)) != 3 {
			t.Fatalf("%s, %d left", j.State, len(files(t, w.src)))
		}
	})
}
