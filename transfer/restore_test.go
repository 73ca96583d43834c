package transfer_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"offload/transfer"
	"offload/transfer/xtest"
)

// brought runs a restore of files that lie at a source, as a record tells of them, and returns the world after it.
func brought(t *testing.T, src, dst string, change func(w *world), names ...string) *world {
	t.Helper()
	from, to := newRemote(t, src), newRemote(t, dst)
	at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	for _, n := range names {
		put(t, from, n, "content of "+n, at)
	}
	w := newWorld(t, from, to, transfer.Options{}, xtest.NewScript(), names...)
	for i, e := range w.entries {
		sum := sha256.Sum256([]byte("content of " + e.Path))
		w.entries[i].Hash, w.entries[i].ModTime = "sha256:"+hex.EncodeToString(sum[:]), at
	}
	if change != nil {
		change(w)
	}
	if rep, err := w.pair.Restore(context.Background(), w.batch(), w.env()); err != nil || rep.Pending > 0 {
		t.Fatalf("report %+v, error %v", rep, err)
	}
	if err := w.meter.Check(); err != nil {
		t.Error(err)
	}
	return w
}

func TestRestoreCopiesWhatWasRecorded(t *testing.T) {
	for _, remotes := range [][2]string{{"local", "local"}, {"memory", "local"}, {"local", "memory"}, {"memory", "memory"}} {
		t.Run(remotes[0]+" to "+remotes[1], func(t *testing.T) {
			at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
			w := brought(t, remotes[0], remotes[1], func(w *world) {
				put(t, w.dst, "dir/taken", "written meanwhile", at.AddDate(1, 0, 0))
				put(t, w.dst, "there", "content of there", at)
				put(t, w.src, "tampered", "content_of_tampered", at) // as long as before
				put(t, w.src, "longer", "content of longer and more", at)
				if o, err := w.src.NewObject(t.Context(), "gone"); err != nil || o.Remove(t.Context()) != nil {
					t.Fatal(err)
				}
				w.entries[5].Hash = "" // of an earlier version: length and time must do
			}, "a", "dir/taken", "there", "tampered", "longer", "unhashed", "gone")
			for name, want := range map[string]transfer.Outcome{
				"a": {Result: transfer.Copied}, "dir/taken": {Result: transfer.Copied, Code: transfer.CodeBeside},
				"there": {Result: transfer.Skipped}, "unhashed": {Result: transfer.Copied},
				"tampered": {Result: transfer.Failed, Code: transfer.CodeNotAsRecorded},
				"longer":   {Result: transfer.Failed, Code: transfer.CodeNotAsRecorded},
				"gone":     {Result: transfer.Failed, Code: transfer.CodeCopyGone},
			} {
				got := w.outcome(name)
				if got.Result != want.Result || got.Code != want.Code {
					t.Errorf("%s: %+v, want %+v", name, got, want)
				}
				if got.Result == transfer.Copied && !got.Grade.AtLeast(transfer.GradeB) {
					t.Errorf("%s is proved by grade %q", name, got.Grade)
				}
			}
			files := readAll(t, w.dst)
			if files["dir/taken"] != "written meanwhile" || files[w.outcome("dir/taken").Dest] != "content of dir/taken" || files["a"] != "content of a" {
				t.Errorf("%q", files)
			}
			for _, name := range []string{"tampered", "longer", "gone"} {
				if _, ok := files[name]; ok {
					t.Errorf("%s came back", name)
				}
			}
			if o, err := w.dst.NewObject(t.Context(), "a"); err != nil || !o.ModTime(t.Context()).Equal(at) {
				t.Errorf("%v, its time is %v", err, o)
			}
			if n := len(readAll(t, w.src)); n != 6 {
				t.Errorf("%d files lie at the source, want all 6", n)
			}
			// Once more, by a new job: all is there.
			w.journal = newJournal(len(w.entries))
			if _, err := w.pair.Restore(t.Context(), w.batch(), w.env()); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a", "dir/taken", "there", "unhashed"} {
				if got := w.outcome(name); got.Result != transfer.Skipped {
					t.Errorf("once more: %s: %+v", name, got)
				}
			}
		})
	}
}

// Whatever the options of a pair say, nothing is replaced.
func TestRestoreNeverOverwrites(t *testing.T) {
	w := brought(t, "memory", "memory", func(w *world) {
		put(t, w.dst, "f", "newer work", time.Now())
		w.pair.Opt.Conflict = transfer.ConflictOverwrite
	}, "f")
	if got := readAll(t, w.dst)["f"]; got != "newer work" {
		t.Errorf("it holds %q", got)
	}
}

func TestAsCopiedIsTheVersionThatWasCopied(t *testing.T) {
	e := transfer.Entry{Path: "f", Size: 1, ETag: "old", ID: "i"}
	got := transfer.AsCopied(e, transfer.Outcome{SourceMark: "n=22&t=2026-01-02T03:04:05Z&i=i&e=new"})
	if got.Size != 22 || got.ETag != "new" || got.ModTime.IsZero() || got.Path != "f" {
		t.Errorf("%+v", got)
	}
	if got := transfer.AsCopied(e, transfer.Outcome{SourceMark: "?"}); got.Size != 1 || got.ETag != "old" {
		t.Errorf("%+v", got)
	}
}
