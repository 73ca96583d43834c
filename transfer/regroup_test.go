package transfer_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"offload/transfer"
	"offload/transfer/xtest"
)

// A worker that was frozen and goes on after its lease has run out deletes nothing, at neither side.
func TestNothingIsDeletedOnceTheLeaseHasRunOut(t *testing.T) {
	src, dst := newRemote(t, "memory"), newRemote(t, "memory")
	put(t, src, "a", "content", day)
	w := newWorld(t, src, dst, transfer.Options{DeleteSource: transfer.DeleteVerified}, xtest.NewScript(), "a")
	env := w.env()
	env.Held = func() error { return transfer.ErrFenced }
	if _, err := w.pair.RunBatch(t.Context(), w.batch(), env); !errors.Is(err, transfer.ErrFenced) {
		t.Fatalf("the batch went on: %v", err)
	}
	if len(readAll(t, src)) != 1 {
		t.Fatal("the source file was deleted")
	}
}

// Claims of one batch upload under names of their own, and a later one removes what an earlier one left.
func TestPartialUploadsBelongToOneClaim(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "a.txt"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dst, transfer.PartialNameOf("a.txt", "job:b1:2"))
	other := filepath.Join(dst, transfer.PartialNameOf("a.txt", "job:b1:9"))
	if left == other {
		t.Fatal("two claims upload under one name")
	}
	for _, p := range []string{left, other} {
		if err := os.WriteFile(p, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := transfer.Open(t.Context(), src, dst, transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	env := transfer.Env{Journal: newJournal(1), Owner: "job:b1:4", Former: []string{"job:b1:2"}}
	if _, err := p.RunBatch(t.Context(), transfer.Batch{Entries: []transfer.Entry{{Path: "a.txt", Size: 7}}}, env); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dst, "*"))
	if err != nil || len(names) != 2 || names[0] != filepath.Join(dst, "a.txt") || names[1] != other {
		t.Fatalf("destination holds %v, %v", names, err)
	}
}
