package jobs

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/transfer"
)

// planOf makes a plan of the files of the source whose paths keep says.
func (w *world) planOf(o Order, keep func(path string) bool) Order {
	w.t.Helper()
	all, err := NewPlanned()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.svc.PlanInto(w.t.Context(), o, all, nil); err != nil {
		w.t.Fatal(err)
	}
	all.Seal()
	some, err := NewPlanned()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := all.Each(func(f PlannedFile) error {
		if !keep(f.Path) {
			return nil
		}
		return some.Add(f)
	}); err != nil {
		w.t.Fatal(err)
	}
	return o.WithPlan(some)
}

// What the plan didn't name, what changed since, what is gone and what has something else at the destination now stays as it
// is, and is told; the rest is done.
func TestPlanIsDoneAndNothingElse(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		for _, n := range []string{"a/1", "a/2", "a/changed", "a/gone", "a/taken", "a/not named", "b/3", "b/Grüße"} {
			w.put(n, 1000)
		}
		o := w.planOf(w.order(transfer.DeleteVerified), func(p string) bool { return p != "a/not named" })
		w.put("a/changed", 1001)
		w.put("a/new", 1000)
		if err := os.Remove(filepath.Join(w.src, "a/gone")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(w.dst, "a"), 0o755); err != nil {
			t.Fatal(err)
		}
		w.overwrite("a/taken", []byte("somebody's"))
		w.worker(w.svc, WorkerOptions{})
		j := w.reach(w.enqueue(o).ID, Completed, CompletedW, FailedState)
		if j.State != CompletedW || j.Files.Copied != 4 || j.Files.Deleted != 4 || j.Files.SetAside != 3 || j.Files.Found != 7 {
			t.Fatalf("%s (%s): %+v", j.State, j.Error, j.Files)
		}
		for p, r := range w.recordsOf(j.ID) {
			drifted := strings.HasPrefix(p, "a/") && p != "a/1" && p != "a/2"
			if drifted != (r.Code == transfer.CodeDrifted) || drifted && (r.Result != transfer.SetAside || !strings.Contains(r.Reason, "Make a new plan")) {
				t.Errorf("%s: %+v", p, r)
			}
		}
		src, dst := files(t, w.src), files(t, w.dst)
		for _, p := range []string{"a/changed", "a/taken", "a/not named", "a/new"} {
			if _, ok := src[p]; !ok {
				t.Errorf("%s is gone from the source", p)
			}
		}
		if len(src) != 4 || len(dst) != 5 || dst["a/taken"] != "somebody's" {
			t.Errorf("%d files at the source, %d at the destination", len(src), len(dst))
		}
	})
}

// More files than are looked up one by one: the tree is walked, and nothing but the plan's files is touched.
func TestLargePlanWalks(t *testing.T) {
	w := newWorld(t, "")
	w.tree(260, 10)
	o := w.planOf(w.order(transfer.DeleteVerified), func(p string) bool { return !strings.HasPrefix(p, "dir03/") })
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(o).ID, Completed, CompletedW, FailedState)
	if src := files(t, w.src); j.State != Completed || j.Files.Deleted != 240 || len(src) != 20 {
		t.Fatalf("%s (%s): %+v, %d left", j.State, j.Error, j.Files, len(src))
	}
}

// A job whose plan is lost touches nothing: without it, it would move everything.
func TestWithoutItsPlanAJobTouchesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(20, 100)
		before := files(t, w.src)
		for name, spoil := range map[string]func(key string) error{
			"lost":    func(key string) error { return w.store.Client().Del(t.Context(), key).Err() },
			"another": func(key string) error { return w.store.Client().Set(t.Context(), key, w.otherPart(), 0).Err() },
			"garbage": func(key string) error { return w.store.Client().Set(t.Context(), key, "x", 0).Err() },
			"no count": func(key string) error {
				return w.store.Client().HDel(t.Context(), strings.TrimSuffix(key, "p:1")+"job", fieldPlanned).Err()
			},
		} {
			j := w.enqueue(w.planOf(w.order(transfer.DeleteVerified), func(p string) bool { return strings.HasSuffix(p, "3.bin") }))
			if err := spoil(keysOf(j.ID).planned(1)); err != nil {
				t.Fatal(err)
			}
			stop := w.worker(w.svc, WorkerOptions{})
			j = w.reach(j.ID, Completed, CompletedW, FailedState)
			stop()
			if j.State != FailedState || !strings.Contains(j.Error, "lost its plan") || !maps.Equal(files(t, w.src), before) || len(files(t, w.dst)) != 0 {
				t.Errorf("%s: %s (%s), %+v", name, j.State, j.Error, j.Files)
			}
		}
	})
}

// otherPart is a part of another plan.
func (w *world) otherPart() []byte {
	w.t.Helper()
	p, err := NewPlanned()
	if err == nil {
		err = p.Add(PlannedFile{Entry: transfer.Entry{Path: "dir00/file 000.bin", Size: 100}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	p.Seal()
	return p.parts[0]
}

func TestPlanLiesBesideTheJob(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(20, 100)
		o := w.planOf(w.order(transfer.DeleteVerified), func(string) bool { return true })
		j := w.enqueue(o)
		c, key := w.store.Client(), keysOf(j.ID).planned(1)
		if ttl, err := c.TTL(t.Context(), key).Result(); err != nil || ttl != -1 {
			t.Errorf("the plan ends in %v, %v", ttl, err)
		}
		raw := c.HGet(t.Context(), keysOf(j.ID).job(), "order").Val()
		if strings.Contains(raw, "file 000.bin") || !strings.Contains(raw, o.Plan) {
			t.Errorf("the order is %s", raw)
		}
		p, err := w.svc.Planned(t.Context(), j.ID)
		if err != nil || p.Seal() != o.Plan || p.Files != 20 || p.Bytes != 2000 {
			t.Fatalf("%+v, %v", p, err)
		}
		// Asked again under the key of the same job, nothing changes.
		if _, made, err := w.svc.store(t.Context(), j.ID, o, ""); err != nil || made {
			t.Errorf("made %v, %v", made, err)
		}
		if ttl := c.TTL(t.Context(), key).Val(); ttl != -1 {
			t.Errorf("the plan ends in %v after a second call", ttl)
		}
		if _, err := w.svc.Cancel(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.Remove(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if n := c.Exists(t.Context(), key).Val(); n != 0 {
			t.Error("the plan of a removed job stays")
		}
	})
}

func TestOrdersWithAPlanThatIsNotWhole(t *testing.T) {
	w := newWorld(t, "")
	w.tree(3, 10)
	o := w.planOf(w.order(transfer.DeleteVerified), func(string) bool { return true })
	none, other := w.planOf(w.order(transfer.DeleteVerified), func(string) bool { return false }), w.planOf(w.order(transfer.DeleteVerified), func(p string) bool { return strings.HasSuffix(p, "1.bin") })
	for name, change := range map[string]func(*Order){
		"no files":         func(o *Order) { o.Planned = nil },
		"no digest":        func(o *Order) { o.Plan = "" },
		"goal alone":       func(o *Order) { o.Plan, o.Planned, o.Goal = "", nil, &Goal{Remote: w.src, To: w.dst, Free: 1} },
		"other files":      func(o *Order) { o.Planned = other.Planned },
		"nothing":          func(o *Order) { o.Plan, o.Planned = none.Plan, none.Planned },
		"digest of others": func(o *Order) { o.Plan = other.Plan },
	} {
		bad := o
		change(&bad)
		var wrong *OrderError
		if _, err := w.svc.Enqueue(t.Context(), bad); !errors.As(err, &wrong) || wrong.Field != "plan-file" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if keys := w.store.Client().Keys(t.Context(), "offload:{*}:*").Val(); len(keys) != 0 {
		t.Errorf("the store holds %v", keys)
	}
}

func TestPlannedLinesAreReadAgain(t *testing.T) {
	at := time.Date(2023, 4, 5, 6, 7, 8, 9000, time.UTC)
	all := []PlannedFile{
		{Entry: transfer.Entry{Path: "a/ü.txt", Size: 5, ModTime: at, ID: "FILE::x", ETag: "1"}, Seen: transfer.Seen{State: transfer.SeenNothing}},
		{Entry: transfer.Entry{Path: "b", Source: "b\xff", Dest: "B", Size: -1}, Seen: transfer.Seen{State: transfer.SeenFile, Size: 7, ModTime: at}},
		{Entry: transfer.Entry{Path: "..", Verdict: transfer.SetAside, Code: transfer.CodeNameUnsafe, Reason: "why"}},
	}
	p, err := NewPlanned()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if err := p.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	if p.Seal(); p.Files != 2 || p.Lines != 3 || p.Bytes != 5 {
		t.Errorf("counted %d files, %d lines, %d bytes", p.Files, p.Lines, p.Bytes)
	}
	i := 0
	if err := p.Each(func(f PlannedFile) error {
		if f != all[i] {
			t.Errorf("%+v, want %+v", f, all[i])
		}
		i++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(all[0]); err == nil {
		t.Error("a sealed list takes files")
	}
}
