package transfer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"time"

	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/memory"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/object"
	"github.com/rclone/rclone/fs/walk"

	"offload/transfer"
	"offload/transfer/xtest"
)

// day is the modification time of test files; with a whole second every backend keeps it.
var day = time.Date(2026, 11, 20, 14, 33, 5, 0, time.UTC)

// newRemote makes an empty remote of a kind: "memory" or "local".
func newRemote(t testing.TB, kind string) fs.Fs {
	t.Helper()
	ctx := context.Background()
	root := ":memory:" + fmt.Sprintf("offload-%d/root", rand.Uint64())
	if kind == "local" {
		root = t.TempDir()
	}
	f, err := fs.NewFs(ctx, root)
	if err != nil {
		t.Fatalf("open %s: %v", root, err)
	}
	if err := f.Mkdir(ctx, ""); err != nil {
		t.Fatalf("make root of %s: %v", root, err)
	}
	if kind == "memory" {
		t.Cleanup(func() { // buckets outlive their remotes
			for p := range readAll(t, f) {
				if o, err := f.NewObject(ctx, p); err == nil {
					_ = o.Remove(ctx)
				}
			}
		})
	}
	return f
}

// put writes a file as somebody other than the engine would.
func put(t testing.TB, f fs.Fs, name, content string, at time.Time) {
	t.Helper()
	ctx := context.Background()
	info := object.NewStaticObjectInfo(name, at, int64(len(content)), true, nil, nil)
	if _, err := f.Put(ctx, strings.NewReader(content), info); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

// readAll reads every file of a remote.
func readAll(t testing.TB, f fs.Fs) map[string]string {
	t.Helper()
	ctx := context.Background()
	files := map[string]string{}
	err := walk.ListR(ctx, f, "", true, -1, walk.ListObjects, func(entries fs.DirEntries) error {
		for _, e := range entries {
			in, err := e.(fs.Object).Open(ctx)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			_, err = io.Copy(&b, in)
			_ = in.Close()
			if err != nil {
				return err
			}
			files[e.Remote()] = b.String()
		}
		return nil
	})
	if err != nil && err != fs.ErrorDirNotFound {
		t.Fatalf("read %v: %v", f, err)
	}
	return files
}

// entriesOf makes the entries a scan would for all files of a remote.
func entriesOf(t testing.TB, f fs.Fs, names ...string) []transfer.Entry {
	t.Helper()
	var entries []transfer.Entry
	for _, name := range names {
		o, err := f.NewObject(context.Background(), name)
		if err != nil {
			t.Fatalf("look at %s: %v", name, err)
		}
		entries = append(entries, transfer.Entry{Path: name, Size: o.Size(), ModTime: o.ModTime(context.Background())})
	}
	return entries
}

// world is a source and a destination with a script of faults between them and the engine.
type world struct {
	t        testing.TB
	src, dst fs.Fs // as they are
	pair     *transfer.Pair
	entries  []transfer.Entry
	journal  *memJournal
	meter    *memMeter
	allow    func(context.Context) bool
}

// newWorld wraps two remotes for the engine.
func newWorld(t testing.TB, src, dst fs.Fs, opt transfer.Options, script *xtest.Script, names ...string) *world {
	ctx := context.Background()
	w := &world{t: t, src: src, dst: dst, entries: entriesOf(t, src, names...), meter: &memMeter{}}
	w.pair = transfer.NewPair(xtest.Wrap(ctx, src, "src", script), xtest.Wrap(ctx, dst, "dst", script), opt).NoWaiting(nil)
	w.journal = newJournal(len(names))
	return w
}

func (w *world) env() transfer.Env {
	return transfer.Env{Meter: w.meter, Journal: w.journal, Slots: newSlots(1)}
}

func (w *world) batch() transfer.Batch {
	var dirs []transfer.DirInfo
	count := map[string]int{}
	for _, e := range w.entries {
		d := path.Dir(e.Path)
		if d == "." {
			d = ""
		}
		count[d]++
	}
	for d, n := range count {
		dirs = append(dirs, transfer.DirInfo{Dir: d, Source: n, Dest: n})
	}
	return transfer.Batch{Entries: w.entries, Done: w.journal.Done(), Dirs: dirs, AllowDelete: w.allow}
}

// run runs the batch as a job would: copies, and for the policy complete deletes at the end if all is proved.
func (w *world) run(ctx context.Context) (transfer.Report, error) {
	rep, err := w.pair.RunBatch(ctx, w.batch(), w.env())
	if err != nil || w.pair.Opt.DeleteSource != transfer.DeleteComplete || rep.Pending > 0 {
		return rep, err
	}
	var failures int64
	for _, o := range w.journal.Done() {
		if o.Result == transfer.Failed {
			failures++
		}
	}
	if !transfer.RuleListingWasWhole(w.pair.Opt, failures) {
		return rep, nil
	}
	return w.pair.DeleteProved(ctx, w.batch(), w.env(), -1)
}

// mustRun runs the batch and expects nothing to stand in its way.
func (w *world) mustRun() {
	w.t.Helper()
	rep, err := w.run(context.Background())
	if err != nil || rep.Pending > 0 {
		w.t.Fatalf("run: report %+v, error %v", rep, err)
	}
	if err := w.meter.Check(); err != nil {
		w.t.Fatalf("meter: %v", err)
	}
}

// outcome is what the journal says of the named file.
func (w *world) outcome(name string) transfer.Outcome {
	w.t.Helper()
	for i, e := range w.entries {
		if e.Path == name {
			return w.journal.Done()[i]
		}
	}
	w.t.Fatalf("no entry %s", name)
	return transfer.Outcome{}
}
