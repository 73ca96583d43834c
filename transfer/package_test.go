package transfer_test

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// onlyZip returns the name of the one file there, which must be a zip with the wanted content.
func onlyZip(t *testing.T, f fs.Fs, want string) string {
	t.Helper()
	files := readAll(t, f)
	if len(files) != 1 {
		t.Fatalf("the destination holds %d files, want 1", len(files))
	}
	for name, content := range files {
		z, err := zip.NewReader(strings.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := z.File[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != want {
			t.Errorf("content %q, error %v, want %q", got, err, want)
		}
		return name
	}
	return ""
}

func TestPackageArrivesAsAZipAndIsKept(t *testing.T) {
	for file, want := range map[string]string{
		"doc.pages": "doc.pages", "song.band": "song.band.zip", "unheard.of": "unheard.of.zip", "dir/No Suffix": "dir/No Suffix.zip",
	} {
		w, d := newDriveWorld(t, verified, map[string]string{file: "the listing's idea of it"})
		d.packs[file] = true
		w.mustRun()
		if got := onlyZip(t, w.dst, "content, version 0"); got != want {
			t.Errorf("%s arrived as %s, want %s", file, got, want)
		}
		o := w.outcome(file)
		if o.Result != transfer.Copied || o.Grade != transfer.GradeA || !o.Package {
			t.Errorf("%s: outcome %+v", file, o)
		}
		w.wantSource(file, transfer.Kept, transfer.CodePackage)
		if d.zips != 1 || d.deletes != 0 {
			t.Errorf("%s: %d zips were made, %d deletions asked for", file, d.zips, d.deletes)
		}
		if w.meter.Used() != o.Bytes {
			t.Errorf("%s: %d bytes charged for a zip of %d", file, w.meter.Used(), o.Bytes)
		}
	}
}

func TestRulePackageIsKept(t *testing.T) {
	for _, policy := range []transfer.DeletePolicy{transfer.DeleteVerified, transfer.DeleteComplete} {
		for _, also := range []bool{false, true} {
			opt := transfer.Options{DeleteSource: policy, DeletePackages: also}
			w, d := newDriveWorld(t, opt, map[string]string{"song.band": "listed"})
			d.packs["song.band"] = true
			w.mustRun()
			if also {
				w.wantSource("song.band", transfer.Deleted, "")
			} else {
				w.wantSource("song.band", transfer.Kept, transfer.CodePackage)
			}
			if (len(d.trash) == 1) != also {
				t.Errorf("%s, --delete-packages %v: the trash holds %d", policy, also, len(d.trash))
			}
		}
	}
}

func TestPackageIsKnownAgain(t *testing.T) {
	for _, file := range []string{"song.band", "unheard.of"} {
		first, d := newDriveWorld(t, verified, map[string]string{file: "listed"})
		d.packs[file] = true
		first.mustRun()
		again := driveWorld(t, d, first.dst, verified)
		again.mustRun()
		onlyZip(t, first.dst, "content, version 0")
		if o := again.outcome(file); o.Result != transfer.Skipped || o.Grade != transfer.GradeB || !o.Package {
			t.Errorf("%s: outcome %+v", file, o)
		}
		again.wantSource(file, transfer.Kept, transfer.CodePackage)
		d.change(t, file, "listed anew")
		third := driveWorld(t, d, first.dst, verified)
		third.mustRun()
		if n := len(readAll(t, first.dst)); n != 2 {
			t.Errorf("%s: %d files after the package changed, want both versions", file, n)
		}
	}
}

func TestBrokenZipIsNoCopy(t *testing.T) {
	opt := transfer.Options{DeleteSource: transfer.DeleteVerified, DeletePackages: true}
	w, d := newDriveWorld(t, opt, map[string]string{"song.band": "listed"})
	d.packs["song.band"], d.broken = true, true
	w.mustRun()
	if o := w.outcome("song.band"); o.Result != transfer.Failed || o.Source != transfer.Kept || o.Wasted != w.meter.Used() {
		t.Errorf("outcome %+v, %d bytes charged", o, w.meter.Used())
	}
	if n := len(readAll(t, w.dst)); n != 0 || d.deletes != 0 {
		t.Errorf("%d files arrived, %d deletions", n, d.deletes)
	}
}

func TestPackageBeyondTheQuotaWaits(t *testing.T) {
	w, d := newDriveWorld(t, transfer.Options{DeleteSource: transfer.DeleteVerified, DeletePackages: true}, map[string]string{"song.band": "listed"})
	d.packs["song.band"] = true
	w.meter.Limit = 10
	rep, err := w.run(context.Background())
	if err != nil || rep.NoQuota != 1 || rep.Pending != 1 || rep.Need <= w.meter.Limit {
		t.Errorf("report %+v, error %v", rep, err)
	}
	if err := w.meter.Check(); err != nil || w.meter.Used() > w.meter.Limit {
		t.Errorf("%d bytes used of %d, %v", w.meter.Used(), w.meter.Limit, err)
	}
	if n := len(readAll(t, w.dst)); n != 0 || d.deletes != 0 {
		t.Errorf("%d files arrived, %d deletions", n, d.deletes)
	}
	w.meter.Limit = 0
	w.mustRun()
	w.wantSource("song.band", transfer.Deleted, "")
}

func TestFullDestinationIsNoticedBeforeReading(t *testing.T) {
	free := int64(10)
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "more than ten bytes"})
	asked := 0
	w.pair.Dest.Features().About = func(context.Context) (*fs.Usage, error) {
		asked++
		return &fs.Usage{Free: &free}, nil
	}
	rep, err := w.run(context.Background())
	if err != nil || !rep.Space || rep.Pending != 1 || asked == 0 {
		t.Fatalf("report %+v, error %v, asked %d times", rep, err, asked)
	}
	if w.meter.Used() != 0 || d.deletes != 0 {
		t.Errorf("%d bytes read in vain, %d deletions", w.meter.Used(), d.deletes)
	}
	if left, ok := w.pair.Room(context.Background()); !ok || left != free {
		t.Errorf("the destination has %d bytes left, known: %v", left, ok)
	}
	free = 100
	again := driveWorld(t, d, w.dst, verified)
	again.pair.Dest.Features().About = w.pair.Dest.Features().About
	again.mustRun()
	if !bytes.Equal([]byte(readAll(t, w.dst)["f.txt"]), []byte("more than ten bytes")) {
		t.Error("the file didn't arrive when there was room")
	}
}
