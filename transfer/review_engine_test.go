package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
	"offload/transfer/xtest"
)

// A destination that knows that a name was taken by somebody else says so, and what stands there isn't removed.
func TestWhatTookTheNameIsNotRemoved(t *testing.T) {
	w := single(t, transfer.Options{}, "ours", "", xtest.NewScript())
	script := xtest.NewScript(xtest.Fault{Op: "dst.Put", N: 1, Do: func(string) { put(t, w.dst, "f.txt", "theirs", day) }})
	dst := w.dst
	w = newWorld(t, w.src, &dropboxLike{dst}, transfer.Options{}, script, "f.txt")
	w.mustRun()
	w.want(transfer.Outcome{Result: transfer.Copied, Grade: transfer.GradeA, Source: transfer.Kept, Dest: "f (offload 2026-11-20).txt"})
	if files := readAll(t, dst); files["f.txt"] != "theirs" || script.Hits() == 0 {
		t.Errorf("the destination holds %v after %d faults", files, script.Hits())
	}
}

// dropboxLike never overwrites.
type dropboxLike struct{ fs.Fs }

func (d *dropboxLike) Put(ctx context.Context, in io.Reader, info fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
	if _, err := d.NewObject(ctx, info.Remote()); err == nil {
		return nil, fmt.Errorf("commit upload: %w", transfer.ErrTaken)
	}
	return d.Fs.Put(ctx, in, info, opts...)
}

// A purge that meets a destination out of order leaves the file recorded as what it is: deleted, and in the trash.
func TestPurgeThatCannotProveLeavesFilesDeleted(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	w.mustRun()
	w.wantSource("f.txt", transfer.Deleted, "")
	script := xtest.NewScript(xtest.Fault{Op: "dst.NewObject", N: 1, On: true, Err: errors.New("out of order")})
	w.pair = transfer.NewPair(d, xtest.Wrap(context.Background(), w.dst, "dst", script), verified).NoWaiting(nil)
	w.purge(t)
	w.wantSource("f.txt", transfer.Deleted, transfer.CodeNotPurged)
	if len(d.trash) != 1 || len(d.purged) != 0 || script.Hits() == 0 {
		t.Errorf("the trash holds %d, purged %v, %d faults", len(d.trash), d.purged, script.Hits())
	}
}

// Somebody puts a deleted file back, edits it and deletes it himself: that version was never proved.
func TestPurgeKeepsAnotherVersionInTheTrash(t *testing.T) {
	for name, edit := range map[string]func(*transfer.Trashed){
		"of another length": func(it *transfer.Trashed) { it.Size++ },
		"of another time":   func(it *transfer.Trashed) { it.ModTime = day.AddDate(0, 0, 1) },
	} {
		for _, begun := range []bool{false, true} {
			w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
			w.mustRun()
			if begun { // killed between the record of the intent and the purge
				d.purgeErr = errors.New("no")
				w.journal.Fail = func(_ int, o transfer.Outcome) error {
					if o.Source == transfer.Deleted {
						return errors.New("killed")
					}
					return nil
				}
				if _, err := w.pair.PurgeDeleted(context.Background(), w.batch(), w.env()); err == nil {
					t.Fatal("the crash was not noticed")
				}
				w.journal.Fail, d.purgeErr = nil, nil
				w.wantSource("f.txt", transfer.Purging, "")
			}
			item := d.trash[driveID("f.txt")]
			edit(&item)
			d.trash[item.ID] = item
			w.purge(t)
			w.wantSource("f.txt", transfer.Deleted, transfer.CodeNotPurged)
			if len(d.purged) != 0 || len(d.trash) != 1 {
				t.Errorf("%s, begun %v: purged %v, the trash holds %d", name, begun, d.purged, len(d.trash))
			}
		}
	}
}

// A refused sign-in, and a turn that is lost, are no reason to give the purge up.
func TestPurgeThatIsRefusedGoesOnLater(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	w.mustRun()
	d.purgeErr = fmt.Errorf("remove from trash: %w", transfer.ErrSignIn)
	if rep := w.purge(t); rep.SignIn != transfer.SideSource || rep.Pending != 1 {
		t.Errorf("report %+v", rep)
	}
	w.wantSource("f.txt", transfer.Purging, "")
	d.purgeErr = fmt.Errorf("remove from trash: %w", transfer.ErrFenced)
	if _, err := w.pair.PurgeDeleted(context.Background(), w.batch(), w.env()); !errors.Is(err, transfer.ErrFenced) {
		t.Errorf("error %v", err)
	}
	w.wantSource("f.txt", transfer.Purging, "")
	noCalls := fmt.Errorf("remove from trash: %w", transfer.ErrNoQuota)
	for name, refuse := range map[string]*error{"list": &d.listTrash, "purge": &d.purgeErr} {
		d.listTrash, d.purgeErr = nil, nil
		*refuse = noCalls
		if rep := w.purge(t); !rep.NoCalls || rep.NoQuota != 1 || rep.Pending != 1 || rep.SignIn != "" {
			t.Errorf("%s without calls left: report %+v", name, rep)
		}
		w.wantSource("f.txt", transfer.Purging, "")
	}
	d.listTrash, d.purgeErr = nil, nil
	w.purge(t)
	w.wantSource("f.txt", transfer.Purged, "")
}

// A full disk of this machine isn't a full destination.
func TestFullSpoolIsNotAFullDestination(t *testing.T) {
	if got := transfer.WaitsForSpace(fmt.Errorf("upload: %w", syscall.ENOSPC)); !got {
		t.Error("a destination without space isn't known")
	}
	if transfer.WaitsForSpace(transfer.SpoolError(syscall.ENOSPC)) {
		t.Error("a full spool folder is taken for a full destination")
	}
}

// Nothing is purged by who has lost the batch, nor what was recorded in a form that can't be read.
func TestPurgeIsRefused(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	w.mustRun()
	env := w.env()
	env.Held = func() error { return transfer.ErrFenced }
	if _, err := w.pair.PurgeDeleted(context.Background(), w.batch(), env); !errors.Is(err, transfer.ErrFenced) || len(d.purged) != 0 {
		t.Errorf("error %v, purged %v", err, d.purged)
	}
	o := w.outcome("f.txt")
	mark := o.SourceMark
	o.SourceMark = "i=" + mark
	if err := w.journal.Record(context.Background(), 0, o); err != nil {
		t.Fatal(err)
	}
	w.purge(t)
	w.wantSource("f.txt", transfer.Deleted, transfer.CodeNotPurged)
	if len(d.purged) != 0 {
		t.Errorf("purged %v by a record that can't be read", d.purged)
	}
}

// A package that is edited while its zip is on its way is read anew for the next attempt: the old zip isn't what would
// be deleted.
func TestEditedPackageIsSpooledAgain(t *testing.T) {
	opt := transfer.Options{DeleteSource: transfer.DeleteVerified, DeletePackages: true}
	w, d := newDriveWorld(t, opt, map[string]string{"song.band": "listed"})
	d.packs["song.band"] = true
	script := xtest.NewScript(xtest.Fault{Op: "dst.Put", N: 1, Err: errors.New("no"), Do: func(string) { d.change(t, "song.band", "edited") }})
	w.pair = transfer.NewPair(d, xtest.Wrap(context.Background(), w.dst, "dst", script), opt).NoWaiting(nil)
	w.mustRun()
	if script.Hits() != 1 || d.zips != 2 {
		t.Errorf("%d faults, %d zips", script.Hits(), d.zips)
	}
	onlyZip(t, w.dst, "content, version 1")
	w.wantSource("song.band", transfer.Deleted, "")
}

// A deletion of DeleteProved that was begun before a crash isn't finished where the copy has gone since.
func TestBegunDeletionAtTheEndNeedsTheCopyToo(t *testing.T) {
	for _, there := range []bool{true, false} {
		w, d := newDriveWorld(t, transfer.Options{DeleteSource: transfer.DeleteComplete}, map[string]string{"f.txt": "content"})
		d.onDelete = func(transfer.Target) (bool, error) { return true, transfer.ErrFenced }
		if _, err := w.run(context.Background()); !errors.Is(err, transfer.ErrFenced) {
			t.Fatalf("error %v", err)
		}
		w.wantSource("f.txt", transfer.Deleting, "")
		d.onDelete = nil
		if !there {
			remove(t, w.dst, "f.txt")
		}
		if _, err := w.pair.DeleteProved(context.Background(), w.batch(), w.env(), -1); err != nil {
			t.Fatal(err)
		}
		if there {
			w.wantSource("f.txt", transfer.Deleted, "")
			continue
		}
		w.wantSource("f.txt", transfer.Kept, transfer.CodeDestGone)
		if d.deletes != 0 || len(readAll(t, d.Fs)) != 1 {
			t.Errorf("%d deletions of the only copy", d.deletes)
		}
	}
}
