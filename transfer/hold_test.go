package transfer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"offload/transfer"
	"offload/transfer/xtest"
)

// A deletion that no rule has allowed yet isn't one that was begun: where the copy couldn't be looked at again, every rule
// is asked at the next try, too.
func TestCopyThatCouldNotBeSeenAllowsNothingLater(t *testing.T) {
	ctx := context.Background()
	held := transfer.Options{DeleteSource: transfer.DeleteVerified, MinGrade: transfer.GradeB, Hold: time.Hour}
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	for _, n := range []string{"proved", "weak"} {
		put(t, src, n, n, day)
	}
	w := newWorld(t, src, dst, held, xtest.NewScript(), "proved", "weak")
	w.mustRun()
	refuses := errors.New("403: something is wrong with it")
	away := xtest.NewScript(xtest.Fault{Op: "dst.NewObject", N: 1, On: true, Err: refuses}, xtest.Fault{Op: "dst.List", N: 1, On: true, Err: refuses})
	w.journal.done[1].Grade = transfer.GradeC // as another proof would have been
	blind := transfer.NewPair(w.pair.Source, xtest.Wrap(ctx, dst, "dst", away), held).NoWaiting(nil)
	if _, err := blind.DeleteProved(ctx, w.batch(), w.env(), -1); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"proved", "weak"} {
		if o := w.outcome(n); o.Code != transfer.CodeNotSeenAgain || o.Source != transfer.Kept {
			t.Errorf("%s: %+v", n, o)
		}
	}
	for i, o := range w.journal.Done() {
		w.journal.done[i] = o.Again() // what a retry makes of it
	}
	w.mustRun()
	if left := readAll(t, src); len(left) != 2 {
		t.Fatalf("the retry deleted by itself what is on hold: %v", left)
	}
	if _, err := w.pair.DeleteProved(ctx, w.batch(), w.env(), -1); err != nil {
		t.Fatal(err)
	}
	if left := readAll(t, src); len(left) != 1 || left["weak"] == "" || w.outcome("weak").Code != transfer.CodeWeakProof {
		t.Errorf("left %v, %+v", left, w.outcome("weak"))
	}
}

// A deletion that goes on after a crash or a retry is asked for by the rules again: a record of an earlier version may say
// that it was begun though no rule had allowed it.
func TestDeletionThatGoesOnAsksTheRules(t *testing.T) {
	for name, o := range map[string]func(*transfer.Outcome){
		"weak proof": func(o *transfer.Outcome) { o.Grade = transfer.GradeC },
		"package":    func(o *transfer.Outcome) { o.Package = true },
	} {
		for how, again := range map[string]func(w *world) error{
			"at the finish": func(w *world) error {
				_, err := w.pair.DeleteProved(context.Background(), w.batch(), w.env(), -1)
				return err
			},
			"in its batch": func(w *world) error {
				_, err := w.pair.RunBatch(context.Background(), w.batch(), w.env())
				return err
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				src, dst := newRemote(t, "memory"), newRemote(t, "memory")
				put(t, src, "f.txt", "content", day)
				w := newWorld(t, src, dst, transfer.Options{DeleteSource: transfer.DeleteVerified, MinGrade: transfer.GradeB, Hold: time.Hour}, xtest.NewScript(), "f.txt")
				w.mustRun()
				o(&w.journal.done[0])
				w.journal.done[0].Code, w.journal.done[0].Source = transfer.CodeDeleteFailed, transfer.Kept
				w.journal.done[0] = w.journal.done[0].Again()
				if w.journal.done[0].Source != transfer.Deleting {
					t.Fatalf("%+v", w.journal.done[0])
				}
				if err := again(w); err != nil {
					t.Fatal(err)
				}
				if len(readAll(t, src)) != 1 || w.outcome("f.txt").Source != transfer.Kept {
					t.Errorf("it was deleted: %+v", w.outcome("f.txt"))
				}
			})
		}
	}
}

// What a run that was killed had asked to be deleted is looked at when the deletions are called off, and nothing is deleted.
func TestKeepProved(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	for _, n := range []string{"a", "b", "c"} {
		put(t, src, n, n, day)
	}
	w := newWorld(t, src, dst, transfer.Options{DeleteSource: transfer.DeleteVerified, Hold: time.Hour}, xtest.NewScript(), "a", "b", "c")
	w.mustRun()
	w.journal.done[0].Source, w.journal.done[1].Source = transfer.Deleting, transfer.Deleting
	remove(t, src, "a")
	rep, err := w.pair.KeepProved(context.Background(), w.batch(), w.env())
	if err != nil || rep.Pending != 0 || len(readAll(t, src)) != 2 || len(readAll(t, dst)) != 3 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if a, b, c := w.outcome("a"), w.outcome("b"), w.outcome("c"); a.Source != transfer.Deleted ||
		b.Source != transfer.Kept || b.Code != transfer.CodeHoldCalledOff || b.Reason == "" || c.Code != "" {
		t.Errorf("%+v\n%+v\n%+v", a, b, c)
	}
}

// A deletion that had begun or failed before the deletions were called off is none any more: its batch only looks.
func TestDeletionThatWasCalledOffIsNotGoneOnWith(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	for _, n := range []string{"there", "gone"} {
		put(t, src, n, n, day)
	}
	w := newWorld(t, src, dst, transfer.Options{MinGrade: transfer.GradeB}, xtest.NewScript(), "there", "gone")
	w.mustRun()
	for i := range w.journal.done {
		w.journal.done[i].Code, w.journal.done[i].Source = transfer.CodeDeleteFailed, transfer.Kept
		w.journal.done[i] = w.journal.done[i].Again()
	}
	o, err := src.NewObject(context.Background(), "gone")
	if err == nil {
		err = o.Remove(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	w.mustRun()
	if left := readAll(t, src); left["there"] == "" || w.outcome("there").Code != transfer.CodeHoldCalledOff || w.outcome("gone").Source != transfer.Deleted {
		t.Errorf("left %v, %+v, %+v", left, w.outcome("there"), w.outcome("gone"))
	}
}
