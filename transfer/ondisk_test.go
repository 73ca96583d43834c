package transfer_test

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"offload/transfer"
	"offload/transfer/xtest"
)

// No source file goes before its copy, and the folders that lead to it, have left the memory for the disk.
func TestRuleCopyIsOnDisk(t *testing.T) {
	for _, policy := range []transfer.DeletePolicy{transfer.DeleteVerified, transfer.DeleteComplete} {
		src, dst := newRemote(t, "local"), newRemote(t, "local")
		put(t, src, "a/b/f.txt", "the only copy", day)
		opt := verified
		opt.DeleteSource = policy
		w := newWorld(t, src, dst, opt, xtest.NewScript(), "a/b/f.txt")
		var mu sync.Mutex
		var synced []string
		w.pair.SyncsBy(func(name string) error {
			mu.Lock()
			defer mu.Unlock()
			if len(readAll(t, src)) == 0 {
				t.Errorf("%s: the source was deleted before %s was written to the disk", policy, name)
			}
			synced = append(synced, name)
			return nil
		})
		w.mustRun()
		if policy == transfer.DeleteComplete {
			if _, err := w.pair.DeleteProved(t.Context(), w.batch(), w.env(), -1); err != nil {
				t.Fatal(err)
			}
		}
		root := dst.Root()
		for _, name := range []string{root + "/a/b/f.txt", root + "/a/b", root + "/a", root, filepath.Dir(root)} {
			if !slices.Contains(synced, filepath.FromSlash(name)) {
				t.Errorf("%s: %s wasn't written to the disk; these were: %q", policy, name, synced)
			}
		}
		if len(readAll(t, src)) != 0 || w.outcome("a/b/f.txt").Source != transfer.Deleted {
			t.Errorf("%s: %+v", policy, w.outcome("a/b/f.txt"))
		}
	}
}

// A folder above a copy counts as written when it is, not when that was tried.
func TestFolderThatIsNotOnDiskIsWrittenAgain(t *testing.T) {
	src, dst := newRemote(t, "local"), newRemote(t, "local")
	put(t, src, "a/f.txt", "the only copy", day)
	w := newWorld(t, src, dst, verified, xtest.NewScript(), "a/f.txt")
	tries := 0
	w.pair.SyncsBy(func(name string) error {
		if name != filepath.FromSlash(dst.Root()) {
			return nil
		}
		if tries++; tries == 1 {
			return errors.New("input/output error")
		}
		return nil
	})
	w.mustRun()
	if o := w.outcome("a/f.txt"); o.Source != transfer.Deleted || tries != 2 {
		t.Errorf("%+v after %d tries", o, tries)
	}
}

// A disk that can't take the copy keeps the source.
func TestCopyThatIsNotOnDiskKeepsTheSource(t *testing.T) {
	src, dst := newRemote(t, "local"), newRemote(t, "local")
	put(t, src, "f.txt", "the only copy", day)
	w := newWorld(t, src, dst, verified, xtest.NewScript(), "f.txt")
	w.pair.SyncsBy(func(string) error { return errors.New("input/output error") })
	w.mustRun()
	if o := w.outcome("f.txt"); o.Source == transfer.Deleted || len(readAll(t, src)) != 1 {
		t.Errorf("%+v, source %v", o, readAll(t, src))
	}
}
