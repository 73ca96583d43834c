package jobs

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/quota"
	"offload/transfer"
)

// offloaded is a job that has moved n files of a thousand bytes away, with the worker still running.
func (w *world) offloaded(n int) Job {
	w.t.Helper()
	w.tree(n, 1000)
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(w.order(transfer.DeleteVerified)).ID, Completed, CompletedW, FailedState)
	if j.State != Completed || j.Files.Deleted != int64(n) {
		w.t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Files)
	}
	return j
}

// scrub looks at what a job has offloaded, and returns its end.
func (w *world) scrub(id string, read bool) Job {
	w.t.Helper()
	orders, err := w.svc.ScrubOrders(w.t.Context(), id, read)
	if err != nil || len(orders) != 1 {
		w.t.Fatalf("%+v, %v", orders, err)
	}
	return w.reach(w.enqueue(orders[0]).ID, Completed, CompletedW, FailedState)
}

func TestScrub(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		of := w.offloaded(50)
		want := files(t, w.dst)
		for _, read := range []bool{false, true} {
			j := w.scrub(of.ID, read)
			if j.State != Completed || j.Scrub == nil || *j.Scrub != (ScrubResult{Intact: 50}) || j.Files.Found != 50 || j.Kind != KindScrub || j.Of != of.ID {
				t.Fatalf("read %v: %s (%s), %+v, %+v", read, j.State, j.Error, j.Scrub, j.Files)
			}
		}
		w.overwrite("dir00/file 003.bin", make([]byte, 1000))
		if err := os.Remove(filepath.Join(w.dst, "dir01", "file 030.bin")); err != nil {
			t.Fatal(err)
		}
		before := files(t, w.dst)
		j := w.scrub(of.ID, false)
		if j.State != CompletedW || *j.Scrub != (ScrubResult{Intact: 48, Missing: 1, Different: 1}) || !j.Scrub.Alarming() {
			t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Scrub)
		}
		if got := w.codes(j.ID); got[transfer.CodeScrubMissing] != 1 || got[transfer.CodeScrubDiffers] != 1 || got[""] != 48 {
			t.Errorf("codes %v", got)
		}
		groups, err := w.svc.Troubles(t.Context(), j.ID)
		if err != nil || len(groups) != 2 || groups[0].Remedy == "" {
			t.Errorf("%+v, %v", groups, err)
		}
		if !maps.Equal(files(t, w.dst), before) || len(files(t, w.src)) != 0 {
			t.Error("the scrub has changed something")
		}
		// Mended by hand, a retry looks again at what was wrong and nothing else.
		w.overwrite("dir00/file 003.bin", []byte(want["dir00/file 003.bin"]))
		w.overwrite("dir01/file 030.bin", []byte(want["dir01/file 030.bin"]))
		if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || *j.Scrub != (ScrubResult{Intact: 50}) {
			t.Errorf("%s (%s), %+v", j.State, j.Error, j.Scrub)
		}
	})
}

// A destination that is gone whole is missing whole: no reason to refuse the scrub.
func TestScrubOfNothingLeft(t *testing.T) {
	w := newWorld(t, "")
	of := w.offloaded(5)
	if err := os.RemoveAll(w.dst); err != nil {
		t.Fatal(err)
	}
	if j := w.scrub(of.ID, false); j.State != CompletedW || *j.Scrub != (ScrubResult{Missing: 5}) {
		t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Scrub)
	}
}

func TestScrubOrders(t *testing.T) {
	w := newWorld(t, "")
	of := w.offloaded(3)
	w.put("a", 10)
	w.reach(w.enqueue(w.order(transfer.DeleteNever)).ID, Completed)
	scrub := w.scrub(of.ID, false)
	all, err := w.svc.ScrubOrders(t.Context(), "", false)
	if err != nil || len(all) != 1 || all[0].Of != of.ID || all[0].Source != w.dst || all[0].Dest != w.dst || all[0].Account != DefaultAccount {
		t.Fatalf("%+v, %v", all, err)
	}
	copied := w.enqueue(w.order(transfer.DeleteNever))
	if none, err := w.svc.ScrubOrders(t.Context(), copied.ID, false); err != nil || len(none) != 0 {
		t.Errorf("of a job that has offloaded nothing: %+v, %v", none, err)
	}
	var wrong *OrderError
	if _, err := w.svc.ScrubOrders(t.Context(), scrub.ID, false); !errors.As(err, &wrong) {
		t.Errorf("of a scrub: %v", err)
	}
	for _, id := range []string{"x", "../../etc/passwd", "01KB3Q7W5T0000000000000000"} {
		if _, err := w.svc.ScrubOrders(t.Context(), id, false); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	for name, change := range map[string]func(*Order){
		"another place": func(o *Order) { o.Source, o.Dest = w.src, w.src },
		"two places":    func(o *Order) { o.Dest = w.src },
		"of a scrub":    func(o *Order) { o.Of = scrub.ID },
		"of none":       func(o *Order) { o.Of = "01KB3Q7W5T0000000000000000" },
		"it deletes":    func(o *Order) { o.DeleteSource = transfer.DeleteVerified },
		"a move reads":  func(o *Order) { *o = w.order(transfer.DeleteNever); o.Read = true },
	} {
		o := all[0]
		change(&o)
		if _, err := w.svc.Enqueue(t.Context(), o); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is read counts against the quota; what is only looked at doesn't.
func TestScrubCountsWhatItReads(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		of := w.offloaded(4)
		used := func() int64 {
			st, err := w.ledger.Status(t.Context(), DefaultAccount)
			if err != nil {
				t.Fatal(err)
			}
			return st.Used
		}
		moved := used()
		w.scrub(of.ID, false)
		hashless := w.dst // a local disk computes its hashes when it is asked: nothing is streamed for them
		if used() != moved {
			t.Errorf("looking at %s counted %d bytes", hashless, used()-moved)
		}
		w.scrub(of.ID, true)
		if used() != moved+4000 {
			t.Errorf("reading counted %d bytes, want 4000", used()-moved)
		}
	})
}

// A scrub that reads waits for the quota as a move does, and goes on by itself.
func TestScrubWaitsForQuota(t *testing.T) {
	w := newWorld(t, "")
	of := w.offloaded(4)
	limit := int64(5000)
	if _, err := w.ledger.Set(t.Context(), DefaultAccount, quota.Change{Limit: &limit}); err != nil {
		t.Skip("no limit can be set so:", err)
	}
	orders, err := w.svc.ScrubOrders(t.Context(), of.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	j := w.reach(w.enqueue(orders[0]).ID, Waiting, Completed, CompletedW, FailedState)
	if j.State != Waiting || j.Reason != ReasonQuota || j.Scrub.Intact != 1 {
		t.Fatalf("%s %s (%s), %+v", j.State, j.Reason, j.Error, j.Scrub)
	}
}

// The scrub of a job that was removed goes by the record that was kept of it; where none was it says so.
func TestScrubOfAJobThatWasRemoved(t *testing.T) {
	w := newWorld(t, "")
	of := w.offloaded(3)
	orders, err := w.svc.ScrubOrders(t.Context(), of.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.svc.Remove(t.Context(), of.ID); err != nil {
		t.Fatal(err)
	}
	j, err := w.svc.Enqueue(t.Context(), orders[0])
	if err == nil {
		if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || j.Scrub.Intact != 3 {
			t.Errorf("%s (%s), %+v", j.State, j.Error, j.Scrub)
		}
		return
	}
	var wrong *OrderError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "no such job") {
		t.Errorf("%v", err)
	}
}

// A scrub opens nothing but the place that it looks at: the source of the job may be out of reach.
func TestScrubNeedsNoSource(t *testing.T) {
	w := newWorld(t, "")
	of := w.offloaded(3)
	src := w.src
	w.svc = w.service(func(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error) {
		if source == src || dest == src {
			return nil, errors.New("sign in first")
		}
		return transfer.Open(ctx, source, dest, opt)
	})
	if j := w.scrub(of.ID, false); j.State != Completed || j.Scrub.Intact != 3 {
		t.Fatalf("%s (%s), %+v", j.State, j.Error, j.Scrub)
	}
}

// What a scrub has found is news of its own, and is told at once.
func TestScrubAlarmIsNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		of := w.offloaded(3)
		w.listen("a")
		told := take("a", "me")
		told.Every = time.Hour
		whole := w.scrub(of.ID, false)
		var c NewsClaim
		until(t, "the whole scrub is news", func() bool { c = w.claim(told); return idsOf(c) != "" })
		if len(c.News) != 1 || c.News[0].Kind != NewsFinished || c.News[0].Urgent || c.News[0].Job.ID != whole.ID {
			t.Fatalf("%+v", c.News)
		}
		w.settle(told, NewsSent, c.Last)
		if err := os.Remove(filepath.Join(w.dst, "dir00", "file 001.bin")); err != nil {
			t.Fatal(err)
		}
		w.scrub(of.ID, false)
		until(t, "the alarm is told though the last message is a moment old", func() bool { c = w.claim(told); return idsOf(c) != "" })
		if len(c.News) != 1 || c.News[0].Kind != NewsScrub || !c.News[0].Urgent || c.News[0].Job.Scrub == nil || c.News[0].Job.Scrub.Missing != 1 {
			t.Fatalf("%+v", c.News)
		}
		w.settle(told, NewsSent, c.Last)
		w.tell("later")
		if c = w.claim(told); idsOf(c) != "" || c.Wait == 0 {
			t.Errorf("what isn't urgent is told within the hour: %q", idsOf(c))
		}
		until(t, "the scrubs are counted", func() bool {
			if err := w.svc.totals.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			all, err := w.svc.Totals(t.Context())
			return err == nil && all.ScrubMissing == 1 && all.ScrubDiffers == 0
		})
	})
}
