package transfer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"offload/transfer"
)

// tinyDisk is a folder on a disk of its own of 256 KiB.
func tinyDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("offload-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skipf("a disk of its own can't be made for %s: %v", t.Name(), err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil { // busy where a file was left open
			t.Error(err)
		}
	})
	return dir
}

// A package that the spool folder has no room for fails alone, with what to do about it, and is read once only. Nothing
// of it stays in the folder, and the source is kept.
func TestSpoolFull(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"song.band": "listed", "a.txt": "plain", "z.txt": "plain"})
	d.packs["song.band"], d.padding = true, 300_000
	dir := tinyDisk(t)
	w.pair.SpoolIn(dir)
	w.mustRun()
	o := w.outcome("song.band")
	if o.Result != transfer.Failed || o.Code != transfer.CodeSpoolFull || o.Source != transfer.Kept {
		t.Errorf("%+v", o)
	}
	for _, want := range []string{"song.band", "no space left in the spool folder " + dir, "free)", "--data"} {
		if !strings.Contains(o.Reason, want) {
			t.Errorf("%q isn't in the reason: %s", want, o.Reason)
		}
	}
	if d.zips != 1 {
		t.Errorf("it was read %d times", d.zips)
	}
	for _, name := range []string{"a.txt", "z.txt"} {
		w.wantSource(name, transfer.Deleted, "")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v left, %v", left, err)
	}
}

// It is moved once somebody has made room.
func TestSpoolHasRoomAgain(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"song.band": "listed"})
	d.packs["song.band"], d.padding = true, 100_000
	dir := tinyDisk(t)
	filler := filepath.Join(dir, "another's")
	if err := os.WriteFile(filler, make([]byte, 200_000), 0o600); err != nil {
		t.Fatal(err)
	}
	waits := 0
	w.pair.SpoolIn(dir).NoWaiting(func(time.Duration) {
		if waits++; waits == 4 {
			if err := os.Remove(filler); err != nil {
				t.Error(err)
			}
		}
	})
	w.mustRun()
	if o := w.outcome("song.band"); o.Result != transfer.Copied || waits < 4 {
		t.Errorf("%+v after %d waits", o, waits)
	}
}
