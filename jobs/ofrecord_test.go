package jobs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/manifest"
	"offload/transfer"
)

func TestOrdersOfOtherKinds(t *testing.T) {
	const id = "01KB3Q7W5T0000000000000000"
	good := Order{Source: "a:", Dest: "b:", Kind: KindRestore, Of: id, MaxDelete: -1}.WithDefaults()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	if leastVersion(good) != 2 || leastVersion(Order{}) != 1 {
		t.Error("an older worker would take it for a move")
	}
	for name, c := range map[string]struct {
		field  string
		change func(*Order)
	}{
		"unknown kind":     {"kind", func(o *Order) { o.Kind = "mend" }},
		"of nothing":       {"of", func(o *Order) { o.Of = "" }},
		"part of an ID":    {"of", func(o *Order) { o.Of = id[:10] }},
		"path":             {"of", func(o *Order) { o.Of = "../" + id[3:] }},
		"Unicode":          {"of", func(o *Order) { o.Of = strings.Repeat("ü", 26) }},
		"a move of a job":  {"of", func(o *Order) { o.Kind = KindMove }},
		"it deletes":       {"delete-source", func(o *Order) { o.DeleteSource = transfer.DeleteVerified }},
		"it overwrites":    {"conflict", func(o *Order) { o.Conflict = transfer.ConflictOverwrite }},
		"a scrub deletes":  {"delete-source", func(o *Order) { o.Kind, o.DeleteSource = KindScrub, transfer.DeleteComplete }},
		"it has a plan":    {"plan-file", func(o *Order) { o.Plan = strings.Repeat("0", 64) }},
		"it has a goal":    {"plan-file", func(o *Order) { o.Goal = &Goal{Remote: "a:", To: "b:", Free: 1} }},
		"a scrub of noone": {"of", func(o *Order) { o.Kind, o.Of = KindScrub, "" }},
	} {
		o := good
		c.change(&o)
		var wrong *OrderError
		if err := o.Validate(); !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A manifest can be anybody's: what it names outside of the job's folders is never touched.
func TestRecordOfStrangePathsTouchesNothing(t *testing.T) {
	for name, l := range map[string]manifest.Line{
		"place":    {Path: "x", Source: "../escaped", Dest: "x"},
		"path":     {Path: "../escaped", Dest: "x"},
		"copy":     {Path: "escaped", Dest: "../out/x"},
		"absolute": {Path: "x", Source: "/escaped", Dest: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			for _, at := range []string{filepath.Join(w.dst, "x"), filepath.Join(filepath.Dir(w.dst), "out", "x")} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, []byte("content"), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(w.src, 0o700); err != nil {
				t.Fatal(err)
			}
			id, err := newID()
			if err != nil {
				t.Fatal(err)
			}
			l.Size, l.Result, l.State, l.Deleted = 7, "copied", "deleted", time.Now()
			h := manifest.Header{Job: id, Source: w.src, Destination: w.dst, Account: DefaultAccount, Created: time.Now()}
			_, err = w.svc.writeManifest(t.Context(), h, io.Discard, func() error { return nil }, func(yield func(manifest.Line) error) error { return yield(l) })
			if err != nil {
				t.Fatal(err)
			}
			w.worker(w.svc, WorkerOptions{})
			j := w.reach(w.enqueue(Order{Source: w.dst, Dest: w.src, Kind: KindRestore, Of: id, MaxDelete: -1}.WithDefaults()).ID, Completed, CompletedW, FailedState)
			if j.State != FailedState || j.Files.Copied != 0 || len(files(t, w.src)) != 0 {
				t.Errorf("%s (%s), %+v", j.State, j.Error, j.Files)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(w.src), "escaped")); err == nil {
				t.Error("a file was written outside of the job's folder")
			}
		})
	}
}
