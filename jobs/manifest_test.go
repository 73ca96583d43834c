package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/manifest"
	"offload/transfer"
)

func (w *world) record(id string) (manifest.Header, []manifest.Line) {
	w.t.Helper()
	var all []manifest.Line
	h, err := w.svc.Record(w.t.Context(), id, func(l manifest.Line) error {
		all = append(all, l)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return h, all
}

// manifestAt reads a manifest's file, which must be whole.
func manifestAt(t testing.TB, name string) (manifest.Header, []manifest.Line) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := manifest.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []manifest.Line
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header(), all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
}

// where are the places that a search finds.
func (w *world) where(name string) []string {
	w.t.Helper()
	page, err := w.svc.Where(w.t.Context(), name, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	all := []string{}
	for _, f := range page.Files {
		all = append(all, f.At)
	}
	slices.Sort(all)
	return all
}

// blocksOf are the keys of a job's manifest.
func (w *world) manifestKeys(id string) []string {
	w.t.Helper()
	keys, err := w.store.Client().Keys(w.t.Context(), string(keysOf(id))+"m*").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func TestAJobLeavesItsManifest(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(700, 10) // of several blocks
		w.put("sub/Übung.txt", 10)
		began := time.Now().Add(-time.Second)
		w.worker(w.svc, WorkerOptions{})
		j := w.reach(w.enqueue(w.order(transfer.DeleteVerified)).ID, Completed, CompletedW, FailedState)
		if j.State != Completed || j.Error != "" {
			t.Fatalf("ended as %s: %s", j.State, j.Error)
		}
		name := filepath.Join(w.dst, transfer.ManifestDir, j.ID+manifest.Extension)
		h, lines := manifestAt(t, name)
		if h.Job != j.ID || h.Source != w.src || h.Destination != w.dst || len(lines) != 701 {
			t.Fatalf("%+v with %d lines", h, len(lines))
		}
		for _, l := range lines {
			if !l.Gone() || l.Hash == "" || l.Grade != "A" || l.Copied.Before(began) || l.Proved.Before(began) || l.Deleted.Before(l.Proved) {
				t.Fatalf("%+v", l)
			}
		}
		if _, record := w.record(j.ID); !slices.Equal(record, lines) {
			t.Error("the record of the job is another one")
		}
		if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
			t.Errorf("%v beside it, %v", left, err)
		}
		info, err := w.svc.VerifyManifest(t.Context(), j.ID[:12])
		if err != nil || info.Path != transfer.ManifestDir+"/"+j.ID+manifest.Extension || !info.Kept || info.Files != 701 || info.Deleted != 701 {
			t.Errorf("%+v, %v", info, err)
		}
		want := []string{filepath.Join(w.dst, "sub/Übung.txt")}
		for _, text := range []string{"übung.txt", "U\u0308BUNG", "sub/ü", "sub/*TXT", "*bung*.txt*"} {
			if got := w.where(text); !slices.Equal(got, want) {
				t.Errorf("where %q: %q", text, got)
			}
		}
		// What is kept outlives the job.
		if err := w.svc.Remove(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		rh, record := w.record(j.ID)
		if !slices.Equal(record, lines) || rh != h {
			t.Errorf("after the removal: %+v, %d lines", rh, len(record))
		}
		if got := w.where("übung"); !slices.Equal(got, want) {
			t.Errorf("after the removal: where %q", got)
		}
		var file bytes.Buffer
		if _, err := w.svc.WriteManifest(t.Context(), j.ID, &file); err != nil {
			t.Fatal(err)
		}
		if at, err := os.ReadFile(name); err != nil || !bytes.Equal(at, file.Bytes()) {
			t.Errorf("the store's file isn't the destination's, %v", err)
		}
		all, err := w.svc.Manifests(t.Context())
		if err != nil || len(all) != 1 || all[0].Kept {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

func TestWhereFindsAPartInAnyCase(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		lines := []manifest.Line{
			{Path: "A/One.txt", Dest: "A/One.txt", Result: "copied"},
			{Path: "A/failed one.txt", Dest: "A/failed one.txt", Result: "failed"},
			{Path: "B/line\nbreak.txt", Dest: "B/line\nbreak.txt", Result: "skipped"},
			{Path: "B/renamed.txt", Dest: "B/renamed (offload 1).txt", Result: "copied"},
			{Path: "top.txt", Dest: "top.txt", Result: "copied"},
			{Path: "A/Stra\u00dfe 100%.txt", Dest: "A/Stra\u00dfe 100%.txt", Result: "copied"},
			{Path: "A/\u65e5\u672c.txt", Dest: "A/\u65e5\u672c.txt", Result: "copied"},
		}
		for i := range 2*namesBlock + 10 {
			lines = append(lines, manifest.Line{Path: fmt.Sprintf("many/%05d", i), Dest: fmt.Sprintf("many/%05d", i), Result: "copied"})
		}
		w.keep(t, lines)
		for text, want := range map[string][]string{
			"one":                    {"A/One.txt"},
			"a/one":                  {"A/One.txt"},
			"a/*.txt":                {"A/One.txt", "A/Stra\u00dfe 100%.txt", "A/\u65e5\u672c.txt"},
			"line\nbreak":            {"B/line\nbreak.txt"},
			"renamed":                {"B/renamed (offload 1).txt"},
			"(offload":               {"B/renamed (offload 1).txt"},
			"top.txt":                {"top.txt"},
			"b/top":                  {},
			"txt*one":                {},
			"STRA\u00dfE 100%":       {"A/Stra\u00dfe 100%.txt"},
			"\u65e5\u672c":           {"A/\u65e5\u672c.txt"},
			"many/08191":             {"many/08191"},
			"many/08192":             {"many/08192"},
			"many/16393":             {"many/16393"},
			"many/1639*":             {"many/16390", "many/16391", "many/16392", "many/16393"},
			"[a-z]":                  {},
			"..":                     {},
			"\xff":                   {},
			strings.Repeat("x", 999): {},
		} {
			got := w.where(text)
			for i := range want {
				want[i] = "dropbox:Backup/" + want[i]
			}
			if !slices.Equal(got, want) {
				t.Errorf("where %q: %q, want %q", text, got, want)
			}
		}
		page, err := w.svc.Where(t.Context(), "many", 7)
		if err != nil || len(page.Files) != 7 || !page.More || page.Files[6].Path != "many/00006" {
			t.Errorf("%+v, %v", page, err)
		}
		if page, err = w.svc.Where(t.Context(), "many/0000", 10); err != nil || len(page.Files) != 10 || page.More {
			t.Errorf("%d, %v, %v", len(page.Files), page.More, err)
		}
		for _, text := range []string{"", " ", "*", "** *", strings.Repeat("x", 1001)} {
			var wrong *OrderError
			if _, err := w.svc.Where(t.Context(), text, 0); !errors.As(err, &wrong) {
				t.Errorf("where %q: %v", text, err)
			}
		}
	})
}

// keep puts a manifest of a job that was removed into the store.
func (w *world) keep(t *testing.T, lines []manifest.Line) string {
	t.Helper()
	id, err := newID()
	if err != nil {
		t.Fatal(err)
	}
	h := manifest.Header{Job: id, Source: "icloud:", Destination: "dropbox:Backup", Account: "default"}
	if _, err := w.svc.writeManifest(t.Context(), h, io.Discard, func() error { return nil }, func(yield func(manifest.Line) error) error {
		for _, l := range lines {
			if err := yield(l); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// A destination that refuses the manifest doesn't keep the job: it ends with a warning, and the manifest goes there later.
func TestAManifestThatIsRefusedGoesThereLater(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(5, 10)
		if err := os.MkdirAll(w.dst, 0o755); err != nil {
			t.Fatal(err)
		}
		inTheWay := filepath.Join(w.dst, transfer.ManifestDir)
		if err := os.WriteFile(inTheWay, []byte("somebody's"), 0o600); err != nil {
			t.Fatal(err)
		}
		stop := w.worker(w.svc, WorkerOptions{})
		j := w.reach(w.enqueue(w.order(transfer.DeleteVerified)).ID, Completed, CompletedW, FailedState)
		if j.State != CompletedW || j.Files.Deleted != 5 || !strings.Contains(j.Error, "manifest") {
			t.Fatalf("ended as %s: %s, %+v", j.State, j.Error, j.Files)
		}
		if raw, err := os.ReadFile(inTheWay); err != nil || string(raw) != "somebody's" {
			t.Fatalf("what was in the way holds %q, %v", raw, err)
		}
		if got := w.where("file 003"); len(got) != 1 {
			t.Errorf("where: %q", got)
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		stop()
		if err := w.svc.oweManifest(t.Context(), j.ID, 0); err != nil {
			t.Fatal(err)
		}
		w.worker(w.service(nil), WorkerOptions{})
		until(t, "the manifest is there", func() bool {
			j, err := w.svc.Get(t.Context(), j.ID)
			info, ierr := w.svc.Manifest(t.Context(), j.ID)
			return err == nil && ierr == nil && j.Error == "" && info.Path != ""
		})
		if _, lines := manifestAt(t, filepath.Join(inTheWay, j.ID+manifest.Extension)); len(lines) != 5 {
			t.Errorf("%d lines", len(lines))
		}
		if n := w.store.Client().ZCard(t.Context(), keyOwed).Val(); n != 0 {
			t.Errorf("%d manifests are owed", n)
		}
	})
}

func TestAForeignFileInTheManifestsPlaceStays(t *testing.T) {
	w := newWorld(t, "")
	w.tree(5, 10)
	j := w.enqueue(w.order(transfer.DeleteVerified))
	dir := filepath.Join(w.dst, transfer.ManifestDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, j.ID+manifest.Extension)
	if err := os.WriteFile(name, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.worker(w.svc, WorkerOptions{})
	if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed {
		t.Fatalf("ended as %s: %s", j.State, j.Error)
	}
	if raw, err := os.ReadFile(name); err != nil || string(raw) != "somebody's" {
		t.Errorf("it holds %q, %v", raw, err)
	}
	info, err := w.svc.Manifest(t.Context(), j.ID)
	if err != nil || info.Path != transfer.ManifestDir+"/"+j.ID+".2"+manifest.Extension {
		t.Errorf("%+v, %v", info, err)
	}
	manifestAt(t, filepath.Join(w.dst, info.Path))
}

// The manifest is there while deletions are held, and tells of them when they are done.
func TestAManifestIsWrittenBeforeAHold(t *testing.T) {
	w := newWorld(t, "")
	w.tree(5, 10)
	o := w.order(transfer.DeleteVerified)
	o.Hold = time.Hour
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(o).ID, Waiting)
	name := filepath.Join(w.dst, transfer.ManifestDir, j.ID+manifest.Extension)
	_, lines := manifestAt(t, name)
	for _, l := range lines {
		if l.Gone() || l.Proved.IsZero() {
			t.Errorf("while held: %+v", l)
		}
	}
	if got := w.where("file 003"); len(got) != 1 {
		t.Errorf("where: %q", got)
	}
	if err := w.svc.client.HSet(t.Context(), keysOf(j.ID).job(), "proved", 1).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if j = w.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed {
		t.Fatalf("ended as %s: %s", j.State, j.Error)
	}
	before := lines
	_, lines = manifestAt(t, name)
	for i, l := range lines {
		if !l.Gone() || l.Deleted.IsZero() || !l.Proved.Equal(before[i].Proved) {
			t.Errorf("after the hold: %+v; proved %s before", l, before[i].Proved)
		}
	}
	if len(w.manifestKeys(j.ID)) != 3 {
		t.Errorf("kept %q", w.manifestKeys(j.ID))
	}
}

// A job that never finished, or was done by an earlier version, gets its manifest from whoever looks after jobs.
func TestAManifestThatIsMissingIsWritten(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(40, 10)
		stop := w.worker(w.svc, WorkerOptions{})
		j := w.reach(w.enqueue(w.order(transfer.DeleteVerified)).ID, Completed, CompletedW, FailedState)
		stop()
		name := filepath.Join(w.dst, transfer.ManifestDir, j.ID+manifest.Extension)
		_, want := manifestAt(t, name)
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		w.forgetManifest(t, j.ID)
		if got := w.where("file"); len(got) != 0 {
			t.Fatalf("where: %q", got)
		}
		j, err := w.svc.Get(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&backfill{s: w.svc}).round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.store.Client().ZCard(t.Context(), keyOwed).Val(); n != 1 {
			t.Fatalf("%d manifests are owed", n)
		}
		if err := w.svc.oweManifest(t.Context(), j.ID, 0); err != nil {
			t.Fatal(err)
		}
		w.worker(w.service(nil), WorkerOptions{})
		until(t, "the manifest is there", func() bool { _, err := os.Stat(name); return err == nil })
		if _, lines := manifestAt(t, name); !slices.Equal(lines, want) {
			t.Error("it is another one")
		}
	})
}

// forgetManifest makes a job one of an earlier version.
func (w *world) forgetManifest(t *testing.T, id string) {
	t.Helper()
	c, k := w.store.Client(), keysOf(id)
	for _, key := range w.manifestKeys(id) {
		if err := c.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.HDel(t.Context(), k.job(), fieldManifest).Err(), c.HDel(t.Context(), keyManifests, id).Err(),
		c.Del(t.Context(), keyBackfilled).Err()); err != nil {
		t.Fatal(err)
	}
}

func TestRemovalOfAnOlderJobKeepsItsManifest(t *testing.T) {
	w := newWorld(t, "")
	w.tree(5, 10)
	stop := w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(w.order(transfer.DeleteVerified)).ID, Completed)
	stop()
	w.forgetManifest(t, j.ID)
	if err := w.svc.Remove(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if _, lines := w.record(j.ID); len(lines) != 5 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestRecordOfAnUnknownJobSaysWhereElseToLook(t *testing.T) {
	w := newWorld(t, "")
	_, err := w.svc.Record(t.Context(), "01KB3Q7W5T0000000000000000", func(manifest.Line) error { return nil })
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "manifest import") {
		t.Errorf("%v", err)
	}
}

// A writer that dies leaves nothing that shows, and nothing for ever.
func TestAWriterThatDies(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		line := func(i int) manifest.Line {
			return manifest.Line{Path: fmt.Sprint("f", i), Dest: fmt.Sprint("f", i), Result: "copied"}
		}
		h := manifest.Header{Job: "01KB3Q7W5T0000000000000000", Destination: "dropbox:Backup"}
		write := func(n, dies int) error {
			_, err := w.svc.writeManifest(t.Context(), h, io.Discard, func() error { return nil }, func(yield func(manifest.Line) error) error {
				for i := range n {
					if i == dies {
						return errors.New("killed")
					}
					if err := yield(line(i)); err != nil {
						return err
					}
				}
				return nil
			})
			return err
		}
		if err := write(5*linesBlock, 4*linesBlock+1); err == nil {
			t.Fatal("it was written")
		}
		if all, err := w.svc.Manifests(t.Context()); err != nil || len(all) != 0 || len(w.where("f")) != 0 {
			t.Fatalf("%+v, %v", all, err)
		}
		for _, n := range []int{3 * linesBlock, 10, linesBlock} {
			if err := errors.Join(write(n, -1), func() error { _, err := w.svc.VerifyManifest(t.Context(), h.Job); return err }()); err != nil {
				t.Fatal(err)
			}
			if keys := w.manifestKeys(h.Job); len(keys) != 2+(n+linesBlock-1)/linesBlock {
				t.Errorf("%d lines are kept as %q", n, keys)
			}
		}
		// The same generation written by two: one of them alone has it.
		m := &manifestWriter{s: w.svc, id: h.Job, old: "2", gen: "3"}
		if _, err := m.keep(t.Context(), h, manifest.Summary{}); err == nil {
			t.Error("an older generation took the place of a newer")
		}
	})
}

func TestADamagedManifestOfTheStoreIsFound(t *testing.T) {
	w := newWorld(t, "")
	id := w.keep(t, []manifest.Line{{Path: "a", Dest: "a", Result: "copied"}, {Path: "b", Dest: "b", Result: "copied"}})
	other := w.keep(t, []manifest.Line{{Path: "a", Dest: "a", Result: "copied"}, {Path: "c", Dest: "c", Result: "copied"}})
	raw, err := w.svc.client.Get(t.Context(), keysOf(other).lines("1", 1)).Bytes()
	if err == nil {
		err = w.svc.client.Set(t.Context(), keysOf(id).lines("1", 1), raw, 0).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	var broken *manifest.BrokenError
	if _, err := w.svc.VerifyManifest(t.Context(), id); !errors.As(err, &broken) {
		t.Errorf("%v", err)
	}
	if _, err := w.svc.VerifyManifest(t.Context(), other); err != nil {
		t.Error(err)
	}
}

func TestImport(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		lines := offloaded(newRand(), 600)
		id := w.keep(t, lines)
		var file bytes.Buffer
		if _, err := w.svc.WriteManifest(t.Context(), id, &file); err != nil {
			t.Fatal(err)
		}
		take := func(w *world, raw []byte) (bool, error) {
			_, made, err := w.svc.ImportManifest(t.Context(), bytes.NewReader(raw))
			return made, err
		}
		far := newWorld(t, "")
		changed := bytes.Clone(file.Bytes())
		changed[len(changed)/2] ^= 4
		if made, err := take(far, changed); err == nil || made || len(far.manifestKeys(id)) != 0 {
			t.Fatalf("a broken one: %v, %v", made, err)
		}
		if made, err := take(far, file.Bytes()); err != nil || !made {
			t.Fatalf("%v, %v", made, err)
		}
		if made, err := take(far, file.Bytes()); err != nil || made {
			t.Errorf("again: %v, %v", made, err)
		}
		if _, got := far.record(id); !slices.Equal(got, lines) {
			t.Errorf("%d lines", len(got))
		}
		if got, want := far.where(filepath.Base(lines[7].Path)), "dropbox:Backup/"+lines[7].Dest; !slices.Contains(got, want) {
			t.Errorf("%q", got)
		}
		var other bytes.Buffer
		m, err := manifest.NewWriter(&other, manifest.Header{Job: id})
		if err == nil {
			_, err = m.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if made, err := take(far, other.Bytes()); !errors.Is(err, ErrOtherManifest) || made {
			t.Errorf("another one: %v, %v", made, err)
		}
		if _, got := far.record(id); len(got) != len(lines) {
			t.Errorf("%d lines", len(got))
		}
		for _, bad := range []string{"", "x", "../../etc", "01KB3Q7W5T"} {
			other.Reset()
			if m, err = manifest.NewWriter(&other, manifest.Header{Job: bad}); err == nil {
				_, err = m.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if made, err := take(far, other.Bytes()); err == nil || made {
				t.Errorf("a job called %q: %v", bad, made)
			}
		}
	})
}

// Outcomes of earlier versions tell of one time alone.
func TestTimesOfEarlierVersions(t *testing.T) {
	at := time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)
	for o, want := range map[transfer.Outcome][3]bool{
		{Result: transfer.Copied, Grade: "A", Source: transfer.Deleted, At: at}: {true, true, true},
		{Result: transfer.Copied, Grade: "A", Source: transfer.Kept, At: at}:    {true, true, false},
		{Result: transfer.Skipped, Grade: "A", Source: transfer.Purged, At: at}: {false, true, true},
		{Result: transfer.Failed, At: at}:                                       {false, false, false},
	} {
		l := lineOf(transfer.Entry{Path: "a"}, o)
		if got := [3]bool{l.Copied.Equal(at), l.Proved.Equal(at), l.Deleted.Equal(at)}; got != want {
			t.Errorf("%+v: %+v", o, l)
		}
	}
}

// A job that did nothing leaves nothing.
func TestAJobWithoutDeedsLeavesNoManifest(t *testing.T) {
	w := newWorld(t, "")
	w.tree(5, 10)
	w.worker(w.svc, WorkerOptions{})
	w.reach(w.enqueue(w.order(transfer.DeleteNever)).ID, Completed)
	j := w.reach(w.enqueue(w.order(transfer.DeleteNever)).ID, Completed)
	if j.Files.Skipped != 5 || len(w.manifestKeys(j.ID)) != 0 {
		t.Errorf("%+v, %q", j.Files, w.manifestKeys(j.ID))
	}
	dir, err := os.ReadDir(filepath.Join(w.dst, transfer.ManifestDir))
	if err != nil || len(dir) != 1 {
		t.Errorf("%v, %v", dir, err)
	}
}

// The purge keeps the times of what was before.
func TestTimesOutliveThePurge(t *testing.T) {
	w := newWorld(t, "")
	cloudWorld(w)
	w.tree(20, 10)
	w.worker(w.svc, WorkerOptions{})
	j := w.reach(w.enqueue(purging(w.order(transfer.DeleteVerified))).ID, Completed, CompletedW, FailedState)
	_, lines := w.record(j.ID)
	for _, l := range lines {
		if l.State != "purged" || l.Proved.IsZero() || l.Deleted.Before(l.Proved) || l.Copied != l.Proved {
			t.Errorf("%+v", l)
		}
	}
	if got := slices.Collect(maps.Keys(w.recordsOf(j.ID))); len(got) != len(lines) {
		t.Errorf("%d lines", len(lines))
	}
}

func TestWriteManifestOfAJobThatRuns(t *testing.T) {
	w := newWorld(t, "")
	p := w.play(3, 2, func(i int) string { return fmt.Sprint("f", i) })
	var file bytes.Buffer
	if sum, err := w.svc.WriteManifest(context.Background(), p.id, &file); err != nil || sum.Files != 3 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, _, err := manifest.Verify(&file); err != nil {
		t.Error(err)
	}
}
