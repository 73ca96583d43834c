package jobs

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/quota"
	"offload/transfer"
)

// slow makes files of the world's jobs take their time: so many bytes a second.
func slow(o Order, limit string) Order {
	o.BwLimit = limit
	return o
}

func TestPauseAndResume(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(200, 20_000)
		want := files(t, w.src)
		w.worker(w.svc, WorkerOptions{})
		j := w.enqueue(slow(w.order(transfer.DeleteVerified), "1M"))
		until(t, "something is copied", func() bool { return w.reach(j.ID, Queued, Scanning, Transferring).Files.Copied > 5 })
		p, err := w.svc.Pause(t.Context(), j.ID)
		if err != nil || p.State != Paused {
			t.Fatalf("pause: %s, %v", p.State, err)
		}
		until(t, "all work is handed back", func() bool {
			n, err := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"fed").Result()
			held, err2 := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Result()
			return err == nil && err2 == nil && held == 0 && n >= 0
		})
		p, _ = w.svc.Get(t.Context(), j.ID)
		if p.Files.Copied >= 200 {
			t.Fatal("the pause came too late to show anything")
		}
		if _, err := w.svc.Pause(t.Context(), j.ID); !errors.Is(err, ErrState) {
			t.Fatalf("pause of a paused job: %v", err)
		}
		if p, err = w.svc.Resume(t.Context(), j.ID); err != nil || !p.State.Runs() {
			t.Fatalf("resume: %s, %v", p.State, err)
		}
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		if j.State != Completed || j.Files.Copied != 200 || j.Files.Deleted != 200 || j.Files.Found != 200 {
			t.Fatalf("ended as %s, %+v", j.State, j.Files)
		}
		if !maps.Equal(files(t, w.dst), want) || len(files(t, w.src)) != 0 {
			t.Fatal("the trees differ")
		}
	})
}

func TestCancelKeepsFiles(t *testing.T) {
	w := newWorld(t, "")
	w.tree(200, 20_000)
	want := files(t, w.src)
	w.worker(w.svc, WorkerOptions{})
	j := w.enqueue(slow(w.order(transfer.DeleteVerified), "1M"))
	until(t, "something is copied", func() bool { return w.reach(j.ID, Queued, Scanning, Transferring).Files.Copied > 5 })
	if c, err := w.svc.Cancel(t.Context(), j.ID); err != nil || c.State != Canceled || c.Finished == nil {
		t.Fatalf("cancel: %+v, %v", c, err)
	}
	for _, again := range []func(context.Context, string) (Job, error){w.svc.Cancel, w.svc.Resume, w.svc.Pause, w.svc.Retry} {
		if _, err := again(t.Context(), j.ID); !errors.Is(err, ErrState) {
			t.Fatalf("after the cancel: %v", err)
		}
	}
	until(t, "all work is handed back", func() bool {
		held, err := w.store.Client().ZCard(t.Context(), string(keysOf(j.ID))+"lease").Result()
		return err == nil && held == 0
	})
	if _, err := w.store.Client().ZScore(t.Context(), keyOwed, j.ID).Result(); err != nil {
		t.Errorf("its manifest isn't owed: %v", err)
	}
	both := files(t, w.src)
	maps.Copy(both, files(t, w.dst))
	if !maps.Equal(both, want) {
		t.Fatal("a file is missing on both sides")
	}
	if err := w.svc.Remove(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Get(t.Context(), j.ID); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get a removed job: %v", err)
	}
	keys, err := w.store.Client().Keys(t.Context(), string(keysOf(j.ID))+"*").Result()
	keys = slices.DeleteFunc(keys, func(k string) bool { return slices.Contains(w.manifestKeys(j.ID), k) }) // that stays
	if err != nil || len(keys) != 0 {
		t.Fatalf("left behind: %v, %v", keys, err)
	}
}

func TestRetryDoesOnlyWhatFailed(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(30, 100)
		w.put("locked/a.txt", 100)
		o := w.order(transfer.DeleteVerified)
		o.MaxTransfer = 3000
		w.worker(w.svc, WorkerOptions{})
		j := w.reach(w.enqueue(o).ID, Completed, CompletedW, FailedState)
		if j.State != CompletedW || j.Files.SetAside != 1 || j.Files.Copied != 30 {
			t.Fatalf("ended as %s, %+v", j.State, j.Files)
		}
		var left []FileRecord
		if err := w.svc.Files(t.Context(), j.ID, FileFilter{Results: []transfer.Result{transfer.SetAside}}, func(r FileRecord) error {
			left = append(left, r)
			return nil
		}); err != nil || len(left) != 1 || left[0].Code != transfer.CodeMaxTransfer || left[0].Source != transfer.Kept {
			t.Fatalf("set aside: %+v, %v", left, err)
		}
		if len(files(t, w.src)) != 1 {
			t.Fatal("the file that was set aside isn't at the source")
		}
		// The retry meets the same limit: the file is set aside again, nothing else is touched.
		r, err := w.svc.Retry(t.Context(), j.ID)
		if err != nil || r.State.Terminal() {
			t.Fatalf("retry: %s, %v", r.State, err)
		}
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		if j.Files.SetAside != 1 || j.Files.Copied != 30 || j.Files.Found != 31 || len(files(t, w.dst)) != 30 {
			t.Fatalf("after the retry: %+v", j.Files)
		}
	})
}

func TestMaxDelete(t *testing.T) {
	w := newWorld(t, "")
	w.tree(100, 100)
	o := w.order(transfer.DeleteVerified)
	o.MaxDelete = 7
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(o).ID, Completed, CompletedW, FailedState)
	if j.Files.Copied != 100 || j.Files.Deleted != 7 || len(files(t, w.src)) != 93 {
		t.Fatalf("%s, %+v, %d left at the source", j.State, j.Files, len(files(t, w.src)))
	}
}

func TestQuotaMakesTheJobWaitAndWakes(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(60, 100_000)
		want := files(t, w.src)
		limit := int64(2_050_000)
		if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Limit: &limit}); err != nil {
			t.Fatal(err)
		}
		o := w.order(transfer.DeleteVerified)
		o.Account = "anna"
		for range 3 {
			w.worker(w.service(nil), WorkerOptions{})
		}
		j := w.enqueue(o)
		j = w.reach(j.ID, Waiting, Completed, CompletedW, FailedState)
		if j.State != Waiting || j.Reason != ReasonQuota || j.Until == nil || !j.Until.After(time.Now()) || j.Error == "" {
			t.Fatalf("waits as %s %s until %v: %s", j.State, j.Reason, j.Until, j.Error)
		}
		st, err := w.ledger.Status(t.Context(), "anna")
		if err != nil || st.Used > limit || st.Used+st.Reserved > limit {
			t.Fatalf("quota %+v, %v", st, err)
		}
		if j.Files.Copied != 20 || st.Used != 2_000_000 {
			t.Fatalf("copied %d files, used %d bytes: the allowance has room for 20", j.Files.Copied, st.Used)
		}
		limit = 4_000_000
		if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Limit: &limit}); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.QuotaChanged(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		until(t, "the job waits again", func() bool {
			j, err := w.svc.Get(t.Context(), j.ID)
			return err == nil && j.State == Waiting && j.Files.Copied == 40
		})
		limit = quota.Unlimited // found by maintenance, nobody tells
		if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Limit: &limit}); err != nil {
			t.Fatal(err)
		}
		j = w.reach(j.ID, Completed, CompletedW, FailedState)
		if j.State != Completed || j.Error != "" || !maps.Equal(files(t, w.dst), want) || len(files(t, w.src)) != 0 {
			t.Fatalf("ended as %s (%s), %+v", j.State, j.Error, j.Files)
		}
	})
}

func TestFileLargerThanTheWholeAllowance(t *testing.T) {
	w := newWorld(t, "")
	w.put("film.mov", 500_000)
	w.put("note.txt", 10)
	plan := "free"
	limit := int64(100_000)
	if _, err := w.ledger.Set(t.Context(), "default", quota.Change{Plan: &plan, Limit: &limit}); err != nil {
		t.Fatal(err)
	}
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(w.order(transfer.DeleteNever)).ID, Waiting, Completed, CompletedW)
	if j.State != Waiting || j.Until != nil || !strings.Contains(j.Error, "plan free would carry it") || j.Files.Copied != 1 {
		t.Fatalf("%s until %v: %s", j.State, j.Until, j.Error)
	}
	p, err := w.svc.Plan(t.Context(), w.order(transfer.DeleteVerified), nil)
	if err != nil || len(p.TooLarge) != 1 || p.TooLarge[0].Path != "film.mov" || p.Quota.Fits {
		t.Fatalf("plan %+v, %v", p, err)
	}
}

func TestHoldWaitsAndProvesAgain(t *testing.T) {
	w := newWorld(t, "")
	w.tree(20, 1000)
	o := w.order(transfer.DeleteVerified)
	o.Hold = time.Hour
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(o).ID, Waiting, Completed, CompletedW, FailedState)
	if j.Reason != ReasonHold || j.Files.Deleted != 0 || len(files(t, w.src)) != 20 {
		t.Fatalf("%s %s, %+v", j.State, j.Reason, j.Files)
	}
	// Tampered with during the hold: the copy's bytes change, its size doesn't.
	if err := os.WriteFile(filepath.Join(w.dst, "dir00", "file 003.bin"), make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Client().HSet(t.Context(), keysOf(j.ID).job(), "proved", time.Now().Add(-2*time.Hour).UnixMilli()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	j = w.reach(j.ID, Completed, CompletedW, FailedState)
	left := files(t, w.src)
	if j.Files.Deleted != 19 || len(left) != 1 || left["dir00/file 003.bin"] == "" {
		t.Fatalf("%s, %+v, left %d", j.State, j.Files, len(left))
	}
}

func TestCompleteDeletesNothingUnlessAllIsProved(t *testing.T) {
	w := newWorld(t, "")
	w.tree(10, 1000)
	w.put("cafe\u0301.txt", 10)
	w.put("caf\u00e9.txt", 11)
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(w.order(transfer.DeleteComplete)).ID, Completed, CompletedW, FailedState)
	if j.State != CompletedW || j.Files.Deleted != 0 || len(files(t, w.src)) != 12 || !strings.Contains(j.Error, "nothing was deleted") {
		t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
	}
}

func TestSourceThatIsGoneFails(t *testing.T) {
	w := newWorld(t, "")
	w.tree(3, 10)
	j := w.enqueue(w.order(transfer.DeleteNever))
	if err := os.RemoveAll(w.src); err != nil {
		t.Fatal(err)
	}
	w.worker(w.svc, WorkerOptions{})
	j = w.reach(j.ID, Completed, CompletedW, FailedState)
	if j.State != FailedState || j.Error == "" {
		t.Fatalf("%s: %q", j.State, j.Error)
	}
	w.tree(3, 10)
	if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || j.Files.Copied != 3 {
		t.Fatalf("%s: %q, %+v", j.State, j.Error, j.Files)
	}
}

func TestOrderLargestGoesFirst(t *testing.T) {
	w := newWorld(t, "")
	for i := range 60 {
		w.put("small/"+strings.Repeat("x", i+1), 100)
	}
	w.put("zz/large", 300_000)
	o := w.order(transfer.DeleteNever)
	o.Options.Order, o.Transfers = transfer.OrderLargest, 1
	w.worker(w.svc, WorkerOptions{Batches: 1})
	j := w.reach(w.enqueue(o).ID, Completed, CompletedW, FailedState)
	var first FileRecord
	if err := w.svc.Files(t.Context(), j.ID, FileFilter{}, func(r FileRecord) error {
		if first.At == nil || r.At.Before(*first.At) {
			first = r
		}
		return nil
	}); err != nil || first.Path != "zz/large" {
		t.Fatalf("first was %s, %v", first.Path, err)
	}
}

func TestListPagesAndFilters(t *testing.T) {
	w := newWorld(t, "")
	w.tree(1, 1)
	var ids []string
	for range 5 {
		ids = append(ids, w.enqueue(w.order(transfer.DeleteNever)).ID)
	}
	if _, err := w.svc.Cancel(t.Context(), ids[2]); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(ids)
	var got []string
	cursor := ""
	for page := 0; ; page++ {
		jobs, next, err := w.svc.List(t.Context(), ListOptions{Limit: 2, Cursor: cursor})
		if err != nil || page > 3 {
			t.Fatal(page, err)
		}
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if cursor = next; next == "" {
			break
		}
	}
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	if !slices.Equal(got, sorted) {
		t.Fatalf("listed %v, want %v", got, sorted)
	}
	only, _, err := w.svc.List(t.Context(), ListOptions{States: []State{Canceled}, Account: DefaultAccount})
	if err != nil || len(only) != 1 || only[0].State != Canceled {
		t.Fatalf("%+v, %v", only, err)
	}
	for _, id := range []string{"", "x", "01", "../../etc", strings.Repeat("0", 26), strings.Repeat("A", 40), "日本語のジョブ", ids[0][:6]} {
		if _, err := w.svc.Get(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: %v", id, err)
		}
	}
	if j, err := w.svc.Get(t.Context(), strings.ToLower(ids[0])); err != nil || j.ID != ids[0] {
		t.Errorf("get in lower case: %v", err)
	}
}
