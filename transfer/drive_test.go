package transfer_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"

	"offload/transfer"
	"offload/transfer/xtest"
)

// drive is a source as iCloud Drive is one: versions with etags, deletion on condition, a trash, packages.
type drive struct {
	fs.Fs
	mu      sync.Mutex
	version map[string]int
	trash   map[string]transfer.Trashed // by ID
	purged  []string
	packs   map[string]bool
	zips    int // made so far: each differs
	looks   int // calls that look at a file
	deletes int // calls that delete

	shared    map[string]bool                     // by path: somebody else's, and not to be read from here
	padding   int                                 // bytes that a package's zip is longer
	broken    bool                                // packages come as a broken zip
	onDelete  func(transfer.Target) (bool, error) // answers, where it says so, in place of the drive
	listTrash error
	purgeErr  error
}

func newDrive(t testing.TB) *drive {
	return &drive{Fs: newRemote(t, "memory"), version: map[string]int{}, trash: map[string]transfer.Trashed{}, packs: map[string]bool{}}
}

func driveID(p string) string { return "FILE::com.apple.CloudDocs::" + p }

func (d *drive) etag(p string) string { return fmt.Sprintf("%s@%d", p, d.version[p]) }

// change gives a file another content.
func (d *drive) change(t testing.TB, p, content string) {
	put(t, d.Fs, p, content, day)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version[p]++
}

func (d *drive) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	d.mu.Lock()
	d.looks++
	d.mu.Unlock()
	entries, err := d.Fs.List(ctx, dir)
	for i, e := range entries {
		if o, ok := e.(fs.Object); ok {
			entries[i] = d.wrap(o)
		}
	}
	return entries, err
}

func (d *drive) NewObject(ctx context.Context, p string) (fs.Object, error) {
	d.mu.Lock()
	d.looks++
	d.mu.Unlock()
	o, err := d.Fs.NewObject(ctx, p)
	if err != nil {
		return nil, err
	}
	return d.wrap(o), nil
}

func (d *drive) wrap(o fs.Object) *driveObject {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &driveObject{Object: o, d: d, tag: d.etag(o.Remote())}
}

func (d *drive) Delete(ctx context.Context, targets []transfer.Target) []error {
	errs := make([]error, len(targets))
	for i, t := range targets {
		errs[i] = d.deleteOne(ctx, t)
	}
	return errs
}

func (d *drive) deleteOne(ctx context.Context, t transfer.Target) error {
	if t.Held != nil {
		if err := t.Held(); err != nil {
			return err
		}
	}
	if d.onDelete != nil {
		if mine, err := d.onDelete(t); mine {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deletes++
	o, err := d.Fs.NewObject(ctx, t.Path)
	if err != nil {
		return err
	}
	if t.ETag != d.etag(t.Path) || t.ID != driveID(t.Path) {
		return transfer.ErrChanged
	}
	d.trash[t.ID] = transfer.Trashed{ID: t.ID, ETag: "trash-" + t.ETag, Path: t.Path, Size: o.Size()}
	return o.Remove(ctx)
}

func (d *drive) ListTrash(_ context.Context, yield func(transfer.Trashed) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listTrash != nil {
		return d.listTrash
	}
	for _, item := range d.trash {
		if err := yield(item); err != nil {
			return err
		}
	}
	return nil
}

func (d *drive) Purge(_ context.Context, items []transfer.Trashed) []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	errs := make([]error, len(items))
	for i, item := range items {
		if d.purgeErr != nil {
			errs[i] = d.purgeErr
			continue
		}
		delete(d.trash, item.ID)
		d.purged = append(d.purged, item.Path)
	}
	return errs
}

func (d *drive) PutBack(_ context.Context, items []transfer.Trashed) []error {
	return make([]error, len(items))
}

type driveObject struct {
	fs.Object
	d    *drive
	tag  string
	pack bool
}

func (o *driveObject) Fs() fs.Info   { return o.d }
func (o *driveObject) ID() string    { return driveID(o.Remote()) }
func (o *driveObject) ETag() string  { return o.tag }
func (o *driveObject) Package() bool { return o.pack }

func (o *driveObject) KeepReason() (code, what string) {
	if o.d.shared[o.Remote()] {
		return transfer.CodeShared, "shared by somebody else"
	}
	return "", ""
}

func (o *driveObject) Size() int64 {
	if o.pack {
		return -1
	}
	return o.Object.Size()
}

func (o *driveObject) Resolve(context.Context) (fs.Object, error) {
	if !o.d.packs[o.Remote()] {
		return o, nil
	}
	packed := *o
	packed.pack = true
	return &packed, nil
}

func (o *driveObject) Open(ctx context.Context, opts ...fs.OpenOption) (io.ReadCloser, error) {
	if o.d.shared[o.Remote()] {
		return nil, fserrors.NoRetryError(errors.New("HTTP error 400"))
	}
	if !o.d.packs[o.Remote()] {
		return o.Object.Open(ctx, opts...)
	}
	if !o.pack {
		return nil, transfer.ErrPackage
	}
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	o.d.zips++
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateHeader(&zip.FileHeader{Name: "doc/index.xml", Modified: day.Add(time.Duration(o.d.zips) * time.Hour)})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(f, "content, version %d", o.d.version[o.Remote()])
	_, _ = f.Write(make([]byte, o.d.padding))
	if err := z.Close(); err != nil {
		return nil, err
	}
	content := b.Bytes()
	if o.d.broken {
		content = content[:len(content)/2]
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// newDriveWorld puts files on a drive and opens it with an empty destination.
func newDriveWorld(t testing.TB, opt transfer.Options, files map[string]string) (*world, *drive) {
	d := newDrive(t)
	for name, content := range files {
		put(t, d.Fs, name, content, day)
	}
	return driveWorld(t, d, newRemote(t, "memory"), opt), d
}

// driveWorld is a job over all files that the drive has now.
func driveWorld(t testing.TB, d *drive, dst fs.Fs, opt transfer.Options) *world {
	var names []string
	for name := range readAll(t, d.Fs) {
		names = append(names, name)
	}
	w := &world{t: t, src: d.Fs, dst: dst, entries: entriesOf(t, d.Fs, names...), meter: &memMeter{}, journal: newJournal(len(names))}
	w.pair = transfer.NewPair(d, xtest.Wrap(context.Background(), dst, "dst", xtest.NewScript()), opt).NoWaiting(nil)
	return w
}

func (w *world) purge(t *testing.T) transfer.Report {
	t.Helper()
	rep, err := w.pair.PurgeDeleted(context.Background(), w.batch(), w.env())
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func (w *world) wantSource(name string, state transfer.SourceState, code string) {
	w.t.Helper()
	if o := w.outcome(name); o.Source != state || o.Code != code {
		w.t.Errorf("%s: source %q, code %q (%s), want %q, %q", name, o.Source, o.Code, o.Reason, state, code)
	}
}

func TestConditionalDeletionNeedsNoLook(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	w.mustRun()
	w.wantSource("f.txt", transfer.Deleted, "")
	if d.looks != 1 || d.deletes != 1 {
		t.Errorf("%d looks and %d deletions, want 1 and 1", d.looks, d.deletes)
	}
}

func TestConditionalDeletionKeepsANewVersion(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	d.onDelete = func(transfer.Target) (bool, error) {
		d.onDelete = nil
		d.change(t, "f.txt", "changed")
		return false, nil
	}
	w.mustRun()
	w.wantSource("f.txt", transfer.Kept, transfer.CodeChangedLater)
	if got := readAll(t, d.Fs)["f.txt"]; got != "changed" || len(d.trash) != 0 {
		t.Errorf("the new version is %q, the trash holds %d", got, len(d.trash))
	}
}

func TestDoubtedReadingKeepsTheSource(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	d.onDelete = func(transfer.Target) (bool, error) { return true, transfer.ErrDoubted }
	w.mustRun()
	w.wantSource("f.txt", transfer.Kept, transfer.CodeDoubted)
	if len(d.trash) != 0 || readAll(t, w.dst)["f.txt"] != "content" {
		t.Error("the copy or the source is missing")
	}
}

func TestDeletionWhoseAnswerIsLostIsKnownAgain(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	d.onDelete = func(target transfer.Target) (bool, error) {
		d.onDelete = nil
		if err := d.deleteOne(context.Background(), target); err != nil {
			t.Error(err)
		}
		return true, errors.New("the answer was lost")
	}
	w.mustRun()
	w.wantSource("f.txt", transfer.Deleted, "")
	if d.deletes != 1 {
		t.Errorf("%d deletions, want 1", d.deletes)
	}
}

func TestDeletionIsRefusedWhenTheLeaseIsLostInTheLane(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"f.txt": "content"})
	asked := 0
	env := w.env()
	env.Held = func() error {
		if asked++; asked > 1 {
			return transfer.ErrFenced
		}
		return nil
	}
	if _, err := w.pair.RunBatch(context.Background(), w.batch(), env); !errors.Is(err, transfer.ErrFenced) {
		t.Errorf("error %v", err)
	}
	if d.deletes != 0 || asked != 2 {
		t.Errorf("%d deletions after %d questions", d.deletes, asked)
	}
}

func TestSharedFileThatCantBeReadIsSetAside(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"mine": "1", "theirs": "2"})
	d.shared = map[string]bool{"theirs": true}
	w.mustRun()
	w.wantSource("mine", transfer.Deleted, "")
	w.wantSource("theirs", transfer.Kept, transfer.CodeShared)
	if o := w.outcome("theirs"); o.Result != transfer.SetAside {
		t.Errorf("outcome %+v", o)
	}
}

func TestRulePurgeOnlyOurs(t *testing.T) {
	opt := transfer.Options{DeleteSource: transfer.DeleteVerified, PurgeTrash: true}
	w, d := newDriveWorld(t, opt, map[string]string{"a": "1", "b": "2", "c": "3", "dir/d": "4", "e": "5"})
	foreign := transfer.Trashed{ID: driveID("photo"), Path: "photo"}
	d.trash[foreign.ID] = foreign
	d.onDelete = func(target transfer.Target) (bool, error) { return target.Path == "e", transfer.ErrChanged }
	w.mustRun()
	delete(d.trash, driveID("b")) // a person emptied this one
	if o, err := w.dst.NewObject(context.Background(), "c"); err != nil || o.Remove(context.Background()) != nil {
		t.Fatal("the copy of c can't be removed")
	}
	w.purge(t)
	w.wantSource("a", transfer.Purged, "")
	w.wantSource("dir/d", transfer.Purged, "")
	w.wantSource("b", transfer.Deleted, transfer.CodeNotPurged)
	w.wantSource("c", transfer.Deleted, transfer.CodeNotPurged)
	w.wantSource("e", transfer.Kept, transfer.CodeChangedLater)
	if len(d.purged) != 2 || len(d.trash) != 2 || d.trash[foreign.ID] != foreign || d.trash[driveID("c")].ID == "" {
		t.Errorf("purged %v, the trash holds %v", d.purged, d.trash)
	}
}

func TestPurgeAfterACrashGoesOn(t *testing.T) {
	w, d := newDriveWorld(t, verified, map[string]string{"a": "1", "b": "2"})
	w.mustRun()
	purged := 0
	w.journal.Fail = func(_ int, o transfer.Outcome) error {
		if o.Source == transfer.Purged {
			if purged++; purged == 2 {
				return errors.New("killed")
			}
		}
		return nil
	}
	if _, err := w.pair.PurgeDeleted(context.Background(), w.batch(), w.env()); err == nil {
		t.Fatal("the crash was not noticed")
	}
	w.journal.Fail = nil
	w.purge(t)
	w.wantSource("a", transfer.Purged, "")
	w.wantSource("b", transfer.Purged, "")
	if len(d.purged) != 2 {
		t.Errorf("purged %v, want each once", d.purged)
	}
}

func TestTroublesOfTheTrashLeaveFilesDeleted(t *testing.T) {
	for name, trouble := range map[string]func(d *drive){
		"listing fails": func(d *drive) { d.listTrash = errors.New("no") },
		"purge fails":   func(d *drive) { d.purgeErr = errors.New("no") },
	} {
		w, d := newDriveWorld(t, verified, map[string]string{"a": "1"})
		w.mustRun()
		trouble(d)
		w.purge(t)
		w.wantSource("a", transfer.Deleted, transfer.CodeNotPurged)
		if len(d.trash) != 1 {
			t.Errorf("%s: the trash holds %d", name, len(d.trash))
		}
	}
	w, d := newDriveWorld(t, verified, map[string]string{"a": "1"})
	w.mustRun()
	d.listTrash = transfer.ErrSignIn
	if rep := w.purge(t); rep.SignIn != transfer.SideSource || rep.Pending == 0 {
		t.Errorf("report %+v", rep)
	}
	w.wantSource("a", transfer.Deleted, "")
}
