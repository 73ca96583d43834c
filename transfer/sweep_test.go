package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
	"offload/transfer/xtest"
)

var errInjected = errors.New("injected fault")

// tree is what each run of the sweep starts with: source files, and what is at the destination before.
func tree() (source, dest map[string]string) {
	source = map[string]string{
		"a.txt":          "the quick brown fox",
		"dir/big.bin":    strings.Repeat("0123456789abcdef", 100),
		"dir/empty":      "",
		"dir/there.txt":  "equal on both sides",
		"taken.txt":      "the new content",
		"dir/deep/z.txt": "zzz",
	}
	dest = map[string]string{"dir/there.txt": "equal on both sides", "taken.txt": "an older content"}
	return source, dest
}

func names() []string {
	return []string{"a.txt", "dir/big.bin", "dir/empty", "dir/there.txt", "taken.txt", "dir/deep/z.txt"}
}

// kind of fault that a sweep puts at every call in turn.
type kind struct {
	name     string
	fault    xtest.Fault
	attempts int  // 0 is the default of the engine
	dies     bool // the journal is dead from the fault on, as after a kill
	changes  bool // the source file is written to at the call
}

func kinds() []kind {
	return []kind{
		{name: "fails once", fault: xtest.Fault{When: xtest.Before, Err: errInjected}},
		{name: "answer lost once", fault: xtest.Fault{When: xtest.After, Err: errInjected}},
		{name: "fails for good", fault: xtest.Fault{When: xtest.Before, Err: errInjected}, attempts: 1},
		{name: "answer lost for good", fault: xtest.Fault{When: xtest.After, Err: errInjected}, attempts: 1},
		{name: "killed before", fault: xtest.Fault{When: xtest.Before, Err: errInjected, On: true}, attempts: 1, dies: true},
		{name: "killed after", fault: xtest.Fault{When: xtest.After, Err: errInjected, On: true}, attempts: 1, dies: true},
		{name: "stored with a wrong bit", fault: xtest.Fault{Flip: true}},
		{name: "stored too short", fault: xtest.Fault{Cut: 1}},
		{name: "source changes", changes: true},
	}
}

// TestSweep fails every call to source and destination in turn, in every way, under every policy. Whatever fails, no
// file may be lost and nothing wrong may bear a file's name, and a second run must finish the work.
func TestSweep(t *testing.T) {
	for _, pairing := range [][2]string{{"memory", "memory"}, {"local", "local"}, {"memory", "local"}} {
		for _, policy := range []transfer.DeletePolicy{transfer.DeleteNever, transfer.DeleteVerified, transfer.DeleteComplete} {
			for i, k := range kinds() {
				if pairing[1] == "local" && (policy == transfer.DeleteNever || i%2 != (len(pairing[0])+len(policy))%2) {
					continue // disks are slow: each kind of fault meets them under one policy
				}
				if policy == transfer.DeleteNever && i%2 == 1 {
					continue // what isn't deleted can't be lost: fewer kinds will do
				}
				t.Run(fmt.Sprintf("%s to %s/%s/%s", pairing[0], pairing[1], policy, k.name), func(t *testing.T) {
					t.Parallel()
					sweep(t, pairing, policy, k)
				})
			}
		}
	}
}

func sweep(t *testing.T, pairing [2]string, policy transfer.DeletePolicy, k kind) {
	counter := xtest.NewScript()
	sweepWorld(t, pairing, policy, counter).mustRun()
	last, hits := counter.Calls(), 0
	for n := 1; n <= last; n++ {
		f := k.fault
		f.N = n
		script := xtest.NewScript(f)
		w := sweepWorld(t, pairing, policy, script)
		changed := ""
		if k.changes {
			script = xtest.NewScript(xtest.Fault{N: n, Do: func(p string) { changed = w.change(script.Log(), p) }})
			w.rewrap(script)
		}
		if k.attempts > 0 {
			w.pair.Attempts(k.attempts)
		}
		if k.dies {
			w.journal.Fail = func(int, transfer.Outcome) error {
				if script.Hits() > 0 {
					return errInjected
				}
				return nil
			}
		}
		_, err := w.run(context.Background())
		if err != nil && !k.dies {
			t.Fatalf("call %d: run: %v\n%s", n, err, strings.Join(script.Log(), "\n"))
		}
		if err := w.meter.Check(); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		hits += min(script.Hits(), 1)
		label := fmt.Sprintf("call %d", n)
		if log := script.Log(); len(log) >= n {
			label += " (" + log[n-1] + ")"
		}
		w.nothingLost(label, changed)
		w.secondRun(label, changed)
		if t.Failed() {
			t.Fatalf("calls:\n%s", strings.Join(script.Log(), "\n"))
		}
	}
	if hits != last {
		t.Errorf("%d of %d faults struck", hits, last)
	}
}

func sweepWorld(t *testing.T, pairing [2]string, policy transfer.DeletePolicy, script *xtest.Script) *world {
	src, dst := newRemote(t, pairing[0]), newRemote(t, pairing[1])
	source, dest := tree()
	for name, content := range source {
		put(t, src, name, content, day)
	}
	for name, content := range dest {
		put(t, dst, name, content, day.AddDate(0, 0, -1))
	}
	return newWorld(t, src, dst, transfer.Options{DeleteSource: policy}, script, names()...)
}

// rewrap gives the pair another script.
func (w *world) rewrap(script *xtest.Script) {
	ctx := context.Background()
	w.pair = transfer.NewPair(xtest.Wrap(ctx, w.src, "src", script), xtest.Wrap(ctx, w.dst, "dst", script), w.pair.Opt).NoWaiting(nil)
}

// change writes a new version of the source file that a call is about, as a user might. Between the last look and the
// deletion of a plain remote nothing can notice that, so that a change at those very calls isn't tried.
func (w *world) change(log []string, p string) string {
	last := log[len(log)-1]
	if last == "src.Remove "+p || last == "src.Hash "+p && log[len(log)-2] == "src.NewObject "+p {
		return ""
	}
	if strings.HasSuffix(p, transfer.PartialSuffix) {
		return ""
	}
	if _, err := w.src.NewObject(context.Background(), p); err != nil {
		return ""
	}
	put(w.t, w.src, p, "version two of "+p, day.AddDate(0, 0, 1))
	return p
}

// nothingLost checks that every file is at the source, or its very content at the destination, and that no name at the
// destination holds anything but what was there before or what the source had.
func (w *world) nothingLost(label, changed string) {
	w.t.Helper()
	source, before := tree()
	src, dst := readAll(w.t, w.src), readAll(w.t, w.dst)
	has := map[string]bool{}
	for _, c := range dst {
		has[c] = true
	}
	for name, content := range source {
		if name == changed {
			content = "version two of " + name
		}
		if got, ok := src[name]; ok && got == content {
			continue
		}
		if !has[content] {
			w.t.Errorf("%s: %s is lost: %+v", label, name, w.outcome(name))
		}
	}
	for name, content := range before {
		if dst[name] != content {
			w.t.Errorf("%s: %s at the destination was changed", label, name)
		}
	}
	for name, content := range dst {
		if strings.HasSuffix(name, transfer.PartialSuffix) || strings.HasPrefix(name, ".offload") {
			continue
		}
		own := strings.Replace(name, " (offload 2026-11-20)", "", 1)
		own = strings.Replace(own, " (offload 2026-11-21)", "", 1)
		if content != source[own] && content != before[name] && (own != changed || content != "version two of "+own) {
			w.t.Errorf("%s: %s at the destination has wrong content (%d bytes)", label, name, len(content))
		}
	}
}

// secondRun runs what is left without faults, with the failed files put back to pending, and checks that all is done.
func (w *world) secondRun(label, changed string) {
	w.t.Helper()
	done := w.journal.Done()
	w.journal = newJournal(len(done))
	for i, o := range done {
		o = o.Again()
		if w.entries[i].Path == changed {
			o = transfer.Outcome{}
		}
		if w.entries[i].Path == changed {
			if _, err := w.src.NewObject(context.Background(), changed); errors.Is(err, fs.ErrorObjectNotFound) {
				o = done[i]
			}
		}
		w.journal.done[i] = o
	}
	w.rewrap(xtest.NewScript())
	w.mustRun()
	w.nothingLost(label+", second run", changed)
	source, _ := tree()
	src, dst := readAll(w.t, w.src), readAll(w.t, w.dst)
	for name := range dst {
		if strings.Contains(name, ".offload-probe-") {
			delete(dst, name) // what a kill leaves; its name is made anew each time
		} else if strings.HasSuffix(name, transfer.PartialSuffix) {
			w.t.Errorf("%s: partial upload %s was left", label, name)
		}
	}
	if want := len(source) + 1; len(dst) != want && changed == "" {
		w.t.Errorf("%s: %d files at the destination, want %d: %v", label, len(dst), want, keys(dst))
	}
	for name := range source {
		o := w.outcome(name)
		if o.Result != transfer.Copied && o.Result != transfer.Skipped || o.Grade != transfer.GradeA && o.Grade != transfer.GradeC {
			w.t.Errorf("%s: second run of %s: %+v", label, name, o)
		}
		if _, ok := src[name]; ok == w.pair.Opt.Deletes() {
			w.t.Errorf("%s: %s at the source: %v, outcome %+v", label, name, ok, o)
		}
	}
}

func keys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}
