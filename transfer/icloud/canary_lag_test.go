package icloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// losing is a fleet whose turn is lost when a test says so.
type losing struct {
	transfer.LocalFleet
	cancel context.CancelCauseFunc
}

func (f *losing) Turn(ctx context.Context, lane string) (context.Context, func(), error) {
	held, leave, err := f.LocalFleet.Turn(ctx, lane)
	if err == nil {
		held, f.cancel = context.WithCancelCause(held)
	}
	return held, leave, err
}

// A first deletion that couldn't be watched to its end has shown nothing: neither that all is well, nor that it isn't.
func TestCanaryThatIsCutShortDoesNotStopDeletions(t *testing.T) {
	d := newDrive()
	l := quick()
	f := &losing{}
	l.fleet, l.lookAgain = f, time.Hour
	on := on(d, "", l)
	for i := range 2 {
		d.file(rootID, fmt.Sprint(i), "x")
	}
	one, two := lookFor(t, on, "0"), lookFor(t, on, "1")
	var back *driveItem
	d.answer = func(_ string, refs []Ref, errs []error) []error { // the listing lags behind
		back = d.items[refs[0].ID]
		back.trashed, back.ParentID = false, back.was
		return errs
	}
	looks := 0 // by the lane, one after the other
	d.before = func(what string, _ []string) {
		if what == "list" && d.count() == 1 {
			if looks++; looks == 1 {
				d.mu.Lock()
				n := len(d.lists)
				d.mu.Unlock()
				go func() { // the turn is lost between this look and the next one
					within(t, "the look", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.lists) > n })
					f.cancel(transfer.ErrFenced)
				}()
			}
		}
	}
	if err := on.Delete(t.Context(), []transfer.Target{aim(one)})[0]; err == nil && looks == 0 {
		t.Errorf("nobody looked")
	}
	if l.tripped != nil || l.trusted {
		t.Errorf("tripped %v, trusted %v", l.tripped, l.trusted)
	}
	d.answer, d.before = nil, nil
	l.lookAgain = time.Millisecond
	if err := on.Delete(t.Context(), []transfer.Target{aim(two)})[0]; err != nil || !l.trusted {
		t.Errorf("the next one: %v, trusted %v", err, l.trusted)
	}
}

// What the owner moved away at that moment and what can't be looked at is looked for in the trash: only what lies there,
// or is nowhere, was deleted.
func TestCanaryLooksIntoTheTrashForWhatItCantLookAt(t *testing.T) {
	down := errors.New("out of order")
	for _, c := range []struct {
		name    string
		trashed bool // the bystander, by the call
		noTrash bool // the trash can't be listed
		trips   bool
		trusted bool
	}{
		{"moved", false, false, false, true},
		{"deleted", true, false, true, false},
		{"moved, and nothing can be looked at", false, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			l := quick()
			f := on(d, "", l)
			dir, to := d.folder(rootID, "dir"), d.folder(rootID, "to")
			by := d.file(dir, "bystander", "x")
			d.file(dir, "0", "x")
			o := lookFor(t, f, "dir/0")
			d.before = func(what string, _ []string) {
				if what == "trash" && d.count() == 0 {
					d.edit(by, func(it *driveItem) {
						if it.ParentID = to; c.trashed {
							it.trashed, it.was, it.ParentID = true, dir, "TRASH_ROOT"
						}
					})
				}
			}
			d.refuse = func(what, _ string) error {
				if what == "details" || what == "listtrash" && c.noTrash {
					return down
				}
				return nil
			}
			if err := f.Delete(t.Context(), []transfer.Target{aim(o)})[0]; err != nil {
				t.Errorf("delete: %v", err)
			}
			if (l.tripped != nil) != c.trips || l.trusted != c.trusted {
				t.Errorf("tripped %v, trusted %v", l.tripped, l.trusted)
			}
		})
	}
}

// A lane that was stopped removes nothing from the trash for good either: what went there by mistake can be put back.
func TestStoppedLaneEmptiesNoTrash(t *testing.T) {
	d := newDrive()
	l := trusted()
	f := on(d, "", l)
	id := d.file(rootID, "a", "x")
	if err := f.Delete(t.Context(), []transfer.Target{aim(lookFor(t, f, "a"))})[0]; err != nil {
		t.Fatal(err)
	}
	l.trip(t.Context(), "of a test")
	if err := f.Purge(t.Context(), []transfer.Trashed{{ID: id}})[0]; err == nil || len(d.purges) != 0 {
		t.Errorf("purged: %v, %d calls", err, len(d.purges))
	}
	if err := f.PutBack(t.Context(), []transfer.Trashed{{ID: id}})[0]; err != nil || !d.alive(id) {
		t.Errorf("put back: %v", err)
	}
}

// The call that purges removes live items, too: what a listing of the trash shows elsewhere isn't sent.
func TestPurgeSparesWhatDoesNotLieInTheTrash(t *testing.T) {
	d := newDrive()
	f := on(d, "", trusted())
	live, dead := d.file(rootID, "live", "x"), d.file(rootID, "dead", "x")
	for _, id := range []string{live, dead} {
		d.set(id, func(it *driveItem) { it.trashed, it.was = true, rootID })
	}
	d.set(dead, func(it *driveItem) { it.ParentID = "TRASH_ROOT" })
	errs := f.Purge(t.Context(), []transfer.Trashed{{ID: live}, {ID: dead}})
	if errs[0] == nil || errs[1] != nil || d.items[live] == nil || d.items[dead] != nil {
		t.Errorf("%v", errs)
	}
}

// A file that was shared since it was proved is found out by the look that locates it.
func TestSharedMeanwhileIsNotDeleted(t *testing.T) {
	d := newDrive()
	f := on(d, "", trusted())
	id := d.file(rootID, "a", "x")
	d.set(id, func(it *driveItem) { it.Shared = true })
	err := f.Delete(t.Context(), []transfer.Target{{ID: id, ETag: d.items[id].ETag}})[0]
	if !errors.Is(err, errShared) || d.count() != 0 {
		t.Errorf("%v after %d calls", err, d.count())
	}
}

// Apple refuses calls that are in order at random, and one bad item may make it refuse a whole group: the others must
// not stay because of it.
func TestGroupThatIsRefusedAsAWhole(t *testing.T) {
	d := newDrive()
	l := trusted()
	f := on(d, "", l)
	var targets []transfer.Target
	for i := range 8 {
		d.file(rootID, fmt.Sprint(i), "x")
		targets = append(targets, aim(lookFor(t, f, fmt.Sprint(i))))
	}
	bad := targets[3].ID
	d.refuseTrash = func(refs []Ref) error {
		for _, r := range refs {
			if r.ID == bad {
				return &statusError{what: "move items to the trash", status: 400}
			}
		}
		return nil
	}
	errs := f.Delete(t.Context(), targets)
	for i, err := range errs {
		if (err != nil) != (i == 3) || d.alive(targets[i].ID) != (i == 3) {
			t.Errorf("target %d: %v", i, err)
		}
	}
	if n := d.count(); n > 16 {
		t.Errorf("%d calls", n)
	}
}

// A worker that was frozen while it waited has lost its turn: it sends nothing.
func TestLostTurnSendsNothing(t *testing.T) {
	d := newDrive()
	l := trusted()
	f := &losing{}
	l.fleet = f
	on := on(d, "", l)
	d.file(rootID, "a", "x")
	target := aim(lookFor(t, on, "a"))
	target.Held = func() error { f.cancel(transfer.ErrFenced); return nil }
	if err := on.Delete(t.Context(), []transfer.Target{target})[0]; !errors.Is(err, transfer.ErrFenced) || d.count() != 0 {
		t.Errorf("%v after %d calls", err, d.count())
	}
}

// One lane may serve two accounts, where a remote is opened with other options: their items never share a call.
func TestAccountsDoNotShareACall(t *testing.T) {
	l := trusted()
	drives := []*drive{newDrive(), newDrive()}
	drives[1].serial = 100 // IDs of its own
	var ws []*wish
	for i := range 10 {
		d := drives[i%2]
		id := d.file(rootID, fmt.Sprint(i), "x")
		ws = append(ws, &wish{svc: d, ref: Ref{id, d.items[id].ETag}, parent: rootID})
	}
	if err := errors.Join(l.do(t.Context(), ws)...); err != nil {
		t.Error(err)
	}
	for i, d := range drives {
		if d.count() != 1 || len(d.groups[0]) != 5 {
			t.Errorf("drive %d: %v", i, d.groups)
		}
	}
}

// What is shared isn't overwritten either: that trashes the old version.
func TestSharedIsNotOverwritten(t *testing.T) {
	d := newDrive()
	f := on(d, "", trusted())
	d.set(d.file(rootID, "a", "x"), func(it *driveItem) { it.Shared = true })
	f.native.opener = func(context.Context, string) (fs.Fs, error) {
		t.Error("rclone was asked")
		return nil, errors.New("no")
	}
	o := lookFor(t, f, "a")
	if err := o.Update(t.Context(), strings.NewReader("y"), o); !errors.Is(err, errShared) {
		t.Errorf("%v", err)
	}
}

// A file that changed stays where it is: no sign that the first deletion went wrong.
func TestCanaryOfChangedFilesShowsNothing(t *testing.T) {
	d := newDrive()
	l := quick()
	f := on(d, "", l)
	id := d.file(rootID, "a", "x")
	target := aim(lookFor(t, f, "a"))
	d.edit(id, func(*driveItem) {})
	if err := f.Delete(t.Context(), []transfer.Target{target})[0]; !errors.Is(err, transfer.ErrChanged) || l.tripped != nil || l.trusted {
		t.Errorf("%v, tripped %v, trusted %v", err, l.tripped, l.trusted)
	}
}

// laggard is a service whose listings don't show yet what went to the trash.
type laggard struct {
	*drive
	mu   sync.Mutex
	seen map[string]Listing
	ends bool
}

func (l *laggard) List(ctx context.Context, ids []string) []Listing {
	now := l.drive.List(ctx, ids)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, id := range ids {
		if before, ok := l.seen[id]; ok && !l.ends {
			now[i] = before
		}
		l.seen[id] = now[i]
	}
	return now
}

// A listing that lags behind is no deletion that went wrong: the items themselves say where they are. It is none that was watched either.
func TestCanaryOfAListingThatLags(t *testing.T) {
	d := &laggard{drive: newDrive(), seen: map[string]Listing{}}
	for i := range 12 {
		d.file(rootID, fmt.Sprint(i), "x")
	}
	l := quick()
	f := newFs("ic", "", d, l)
	var targets []transfer.Target
	for i := range 12 {
		targets = append(targets, aim(lookFor(t, f, fmt.Sprint(i))))
	}
	if err := errors.Join(f.Delete(t.Context(), targets[:7])...); err != nil || l.tripped != nil || l.trusted || len(d.trashedIDs()) != 7 {
		t.Errorf("%v, tripped %v, trusted %v, %d in the trash", err, l.tripped, l.trusted, len(d.trashedIDs()))
	}
	d.ends = true
	if err := errors.Join(f.Delete(t.Context(), targets[7:])...); err != nil || !l.trusted || len(d.trashedIDs()) != 12 {
		t.Errorf("%v, trusted %v, %d in the trash", err, l.trusted, len(d.trashedIDs()))
	}
}
