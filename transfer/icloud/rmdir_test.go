package icloud

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

func TestRmdir(t *testing.T) {
	d := newDrive()
	a := d.folder(rootID, "a")
	d.folder(a, "empty")
	d.file(d.folder(a, "full"), "f", "x")
	d.folder(d.folder(a, "nested"), "sub")
	d.add(rootID, "Pages", "APP_LIBRARY", nil)
	d.add(a, "app", "APP_CONTAINER", nil)
	d.file(a, "file", "x")
	f := on(d, "", quick())
	for _, c := range []struct {
		dir  string
		want error
	}{
		{"a/empty", nil},
		{"a/empty", fs.ErrorDirNotFound},
		{"a/full", fs.ErrorDirectoryNotEmpty},
		{"a/nested", fs.ErrorDirectoryNotEmpty},
		{"Pages", errNotPlain},
		{"a/app", errNotPlain},
		{"", errNotPlain},
		{"a/file", fs.ErrorDirNotFound},
		{"a/nothing", fs.ErrorDirNotFound},
		{"a/nested/sub", nil},
		{"a/nested", nil},
	} {
		if err := f.Rmdir(t.Context(), c.dir); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.dir, err, c.want)
		}
	}
	if n := len(d.trashedIDs()); n != 3 {
		t.Errorf("%d in the trash", n)
	}
	below := on(d, "a", quick())
	if err := below.Rmdir(t.Context(), ""); !errors.Is(err, fs.ErrorDirectoryNotEmpty) {
		t.Error(err)
	}
}

func TestRmdirPutsBackWhatWasFilledMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name  string
		late  bool                      // something is put in between the look and the call
		fails func(d *drive, id string) // how the look afterwards fails
		want  error
	}{
		{"a file appears, seen by a listing", true, nil, fs.ErrorDirectoryNotEmpty},
		{"a file appears, seen in the trash", true, func(d *drive, _ string) { d.listGone = true }, fs.ErrorDirectoryNotEmpty},
		{"the trash doesn't tell", false, func(d *drive, _ string) { d.listGone, d.noCounts = true, true }, nil},
		{"the look fails", false, func(d *drive, id string) {
			d.refuse = func(what, of string) error {
				if what == "list" && of == id && len(d.groups) > 0 && len(d.putBacks) == 0 {
					return transfer.ErrThrottled
				}
				return nil
			}
		}, transfer.ErrThrottled},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			dir := d.folder(rootID, "dir")
			f := on(d, "", trusted())
			if c.late {
				d.before = func(what string, _ []string) {
					if what == "trash" {
						d.file(dir, "late", "x")
					}
				}
			}
			if c.fails != nil {
				c.fails(d, dir)
			}
			if err := f.Rmdir(t.Context(), "dir"); err == nil || !errors.Is(err, c.want) && c.want != nil {
				t.Errorf("got %v", err)
			}
			if !d.alive(dir) || len(d.trashedIDs()) != 0 || d.count() != 1 || len(d.putBacks) != 1 {
				t.Errorf("alive %v, %d calls, put back %v", d.alive(dir), d.count(), d.putBacks)
			}
			if c.late {
				lookFor(t, f, "dir/late")
			}
		})
	}
}

func TestRmdirKeepsAFolderThatChanged(t *testing.T) {
	d := newDrive()
	dir := d.folder(rootID, "dir")
	f := on(d, "", trusted())
	d.before = func(what string, _ []string) {
		if what == "trash" {
			d.edit(dir, func(*driveItem) {})
		}
	}
	if err := f.Rmdir(t.Context(), "dir"); !errors.Is(err, transfer.ErrChanged) || !d.alive(dir) {
		t.Errorf("%v", err)
	}
	d.before, d.noETags = nil, true
	d.edit(dir, func(*driveItem) {})
	f.DirCacheFlush()
	if err := f.Rmdir(t.Context(), "dir"); !errors.Is(err, errNoVersion) || !d.alive(dir) {
		t.Errorf("without an etag: %v", err)
	}
}

func TestRmdirsGoTogether(t *testing.T) {
	d := newDrive()
	d.listGone = true
	f := on(d, "", trusted())
	var wg sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		d.folder(rootID, fmt.Sprint(i))
	}
	for i := range errs {
		wg.Go(func() { errs[i] = f.Rmdir(t.Context(), fmt.Sprint(i)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || d.count() > 10 || len(d.trashedIDs()) != 40 {
		t.Errorf("%v, %d calls", err, d.count())
	}
	t.Logf("40 folders: %d calls", d.count())
}
