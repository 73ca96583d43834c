package icloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

func TestDeleteOnlyTheVersionThatWasProved(t *testing.T) {
	d := newDrive()
	changed, kept, gone := d.file(rootID, "changed", "1"), d.file(rootID, "kept", "2"), d.file(rootID, "gone", "3")
	plain := d.file(rootID, "plain", "4")
	f := on(d, "", trusted())
	var targets []transfer.Target
	for _, n := range []string{"changed", "gone", "plain", "kept"} {
		targets = append(targets, aim(lookFor(t, f, n)))
	}
	targets[3].ETag = ""
	d.edit(changed, func(it *driveItem) { it.content = []byte("new") })
	d.set(gone, func(it *driveItem) { delete(d.items, gone) })
	errs := f.Delete(t.Context(), targets)
	if !errors.Is(errs[0], transfer.ErrChanged) || !errors.Is(errs[1], fs.ErrorObjectNotFound) || errs[2] != nil || !errors.Is(errs[3], errNoVersion) {
		t.Errorf("got %v", errs)
	}
	if ids := d.trashedIDs(); len(ids) != 1 || ids[0] != plain || !d.alive(changed) || !d.alive(kept) {
		t.Errorf("in the trash: %v", ids)
	}
	if o := lookFor(t, f, "changed"); o.Remove(t.Context()) != nil || d.alive(changed) {
		t.Error("Remove of the version that is there")
	}
}

func TestLostAnswers(t *testing.T) {
	lost := fmt.Errorf("cut off: %w", errUnsure)
	for _, c := range []struct {
		name    string
		meddle  func(d *drive, id string) // after the call whose answer is lost
		carried bool                      // the lost call was carried out
		times   int                       // so many answers are lost
		want    error
		calls   int
		alive   bool
	}{
		{"carried out", nil, true, 1, nil, 1, false},
		{"carried out and purged by somebody", func(d *drive, id string) { d.set(id, func(*driveItem) { delete(d.items, id) }) }, true, 1, nil, 1, false},
		{"not carried out", nil, false, 1, nil, 2, false},
		{"never carried out", nil, false, 99, errUnsure, sendsMax, true},
		{"changed meanwhile", func(d *drive, id string) { d.edit(id, func(it *driveItem) { it.Size++ }) }, false, 1, transfer.ErrChanged, 1, true},
		{"moved meanwhile", func(d *drive, id string) {
			to := d.folder(rootID, "to")
			d.edit(id, func(it *driveItem) { it.ParentID = to })
		}, false, 1, transfer.ErrChanged, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			id := d.file(rootID, "f", "x")
			f := on(d, "", trusted())
			target := aim(lookFor(t, f, "f"))
			left, etag := c.times, target.ETag
			d.before = func(what string, _ []string) {
				if what == "trash" && left > 0 && !c.carried {
					d.set(id, func(it *driveItem) { it.ETag = "not now" }) // so that the call does nothing
				}
			}
			d.answer = func(_ string, refs []Ref, errs []error) []error {
				if left == 0 {
					return errs
				}
				left--
				if !c.carried {
					d.items[id].ETag = etag
				}
				return []error{lost}
			}
			if c.meddle != nil {
				once := false
				before := d.before
				d.before = func(what string, ids []string) {
					if what == "list" && d.count() > 0 && !once {
						once = true
						c.meddle(d, id)
					}
					before(what, ids)
				}
			}
			err := f.Delete(t.Context(), []transfer.Target{target})[0]
			if !errors.Is(err, c.want) || d.count() != c.calls || d.alive(id) != c.alive {
				t.Errorf("error %v, %d calls, alive %v", err, d.count(), d.alive(id))
			}
			for _, g := range d.groups {
				if g[0].ETag != etag {
					t.Errorf("sent with etag %s", g[0].ETag)
				}
			}
		})
	}
}

func TestLostAnswerThatCantBeLookedAt(t *testing.T) {
	d := newDrive()
	d.file(rootID, "f", "x")
	f := on(d, "", trusted())
	target := aim(lookFor(t, f, "f"))
	d.answer = func(string, []Ref, []error) []error { return nil } // fewer results than items
	d.refuse = func(what, _ string) error {
		if what == "list" {
			return fs.ErrorDirNotFound
		}
		return nil
	}
	err := f.Delete(t.Context(), []transfer.Target{target})[0]
	if !errors.Is(err, errUnsure) || errors.Is(err, fs.ErrorDirNotFound) || d.count() != 1 {
		t.Errorf("%v after %d calls: a folder that isn't found must not pass for a deleted file", err, d.count())
	}
}

func TestManyCallersFewCalls(t *testing.T) {
	d := newDrive()
	l := quick()
	l.pace = 5 * time.Millisecond
	var dirs []string
	for i := range 10 {
		dirs = append(dirs, d.folder(rootID, fmt.Sprint("d", i)))
	}
	for i := range 300 {
		d.file(dirs[i%10], fmt.Sprint("f", i), "x")
	}
	fsA, fsB := on(d, "", l), on(d, "", l) // one account, two transfers
	var targets []transfer.Target
	for i := range 300 {
		targets = append(targets, aim(lookFor(t, []*Fs{fsA, fsB}[i%2], fmt.Sprintf("d%d/f%d", i%10, i))))
	}
	bystander := d.file(dirs[0], "bystander", "x")
	var wg sync.WaitGroup
	errs := make([]error, 300)
	for i, target := range targets {
		wg.Go(func() { errs[i] = []*Fs{fsA, fsB}[i%2].Delete(t.Context(), []transfer.Target{target})[0] })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if len(d.trashedIDs()) != 300 || !d.alive(bystander) {
		t.Errorf("%d in the trash", len(d.trashedIDs()))
	}
	for i, g := range d.groups {
		if len(g) > trashMax || i == 0 && len(g) > canaryMax {
			t.Errorf("call %d has %d items", i, len(g))
		}
	}
	if n := d.count(); n > 20 || d.maxBusy != 1 {
		t.Errorf("%d calls, %d at once", n, d.maxBusy)
	}
	t.Logf("300 callers: %d calls", d.count())
	within(t, "the lane is idle", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.running && l.live == 0 })
}

func TestCallsAreOneAtATimeOverTheFleet(t *testing.T) {
	d := newDrive()
	fleet := &transfer.LocalFleet{}
	var fss []*Fs
	for range 3 { // three processes
		l := trusted()
		l.fleet = fleet
		fss = append(fss, on(d, "", l))
	}
	d.before = func(what string, ids []string) {
		if what == "trash" {
			_ = transfer.Sleep(t.Context(), 2*time.Millisecond)
		}
	}
	var wg sync.WaitGroup
	var bad atomic.Int64
	for i := range 60 {
		d.file(rootID, fmt.Sprint(i), "x")
		target := aim(lookFor(t, fss[0], fmt.Sprint(i)))
		wg.Go(func() {
			if fss[i%3].Delete(t.Context(), []transfer.Target{target})[0] != nil {
				bad.Add(1)
			}
		})
	}
	wg.Wait()
	if d.maxBusy != 1 || bad.Load() > 0 || len(d.trashedIDs()) != 60 {
		t.Errorf("%d at once, %d failed", d.maxBusy, bad.Load())
	}
}

func TestCanary(t *testing.T) {
	for _, c := range []struct {
		name   string
		meddle func(d *drive, ids []string) // within the first call
		answer func(d *drive, refs []Ref, errs []error) []error
		trips  string // part of the error; "" where it doesn't
		first  error
	}{
		{"all well", nil, nil, "", nil},
		{"something else vanished", func(d *drive, _ []string) {
			d.edit(d.named("bystander"), func(it *driveItem) { it.trashed, it.ParentID = true, "TRASH_ROOT" })
		}, nil, "nobody asked", nil},
		{"something else was purged", func(d *drive, _ []string) {
			id := d.named("bystander")
			d.set(id, func(*driveItem) { delete(d.items, id) })
		}, nil, "nobody asked", nil},
		{"something else was moved by its owner", func(d *drive, _ []string) {
			to := d.folder(rootID, "to")
			d.edit(d.named("bystander"), func(it *driveItem) { it.ParentID = to })
		}, nil, "", nil},
		{"something was added", func(d *drive, _ []string) { d.file(d.named("dir"), "new", "x") }, nil, "", nil},
		{"they are still there", nil, func(d *drive, refs []Ref, errs []error) []error {
			for _, r := range refs {
				if it := d.items[r.ID]; it.trashed {
					it.trashed, it.ParentID = false, it.was
				}
			}
			return errs
		}, "still there", errStillThere},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			dir := d.folder(rootID, "dir")
			d.file(dir, "bystander", "x")
			for i := range 20 {
				d.file(dir, fmt.Sprint(i), "x")
			}
			l := quick()
			f := on(d, "", l)
			var targets []transfer.Target
			for i := range 20 {
				targets = append(targets, aim(lookFor(t, f, fmt.Sprint("dir/", i))))
			}
			if c.meddle != nil {
				d.before = func(what string, ids []string) {
					if what == "trash" && d.count() == 0 {
						c.meddle(d, ids)
					}
				}
			}
			if c.answer != nil {
				d.answer = func(_ string, refs []Ref, errs []error) []error { return c.answer(d, refs, errs) }
			}
			errs := f.Delete(t.Context(), targets)
			if len(d.groups[0]) != canaryMax {
				t.Errorf("the first call took %d items", len(d.groups[0]))
			}
			if c.trips == "" {
				if err := errors.Join(errs...); err != nil || d.count() != 2 || !l.trusted {
					t.Errorf("%v after %d calls", err, d.count())
				}
				return
			}
			for i, err := range errs {
				if i < canaryMax && !errors.Is(err, c.first) {
					t.Errorf("target %d: %v", i, err)
				}
				if i >= canaryMax && (err == nil || !strings.Contains(err.Error(), c.trips) || !strings.Contains(err.Error(), "started again")) {
					t.Errorf("target %d: %v", i, err)
				}
			}
			d.before, d.answer = nil, nil
			if err := f.Delete(t.Context(), targets[19:])[0]; err == nil || d.count() != 1 {
				t.Errorf("deletions went on: %v, %d calls", err, d.count())
			}
		})
	}
}

func (d *drive) named(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, it := range d.items {
		if it.Name == name {
			return id
		}
	}
	return ""
}

func TestCanaryWithoutAListingIsNone(t *testing.T) {
	d := newDrive()
	l := quick()
	f := on(d, "", l)
	var targets []transfer.Target
	for i := range 12 {
		d.file(rootID, fmt.Sprint(i), "x")
		targets = append(targets, aim(lookFor(t, f, fmt.Sprint(i))))
	}
	down := errors.New("out of order")
	var from, to int // listings that fail, counted from now
	var n int
	d.refuse = func(what, _ string) error {
		if what != "list" {
			return nil
		}
		if n++; n >= from && n <= to {
			return down
		}
		return nil
	}
	from, to = 1, 1
	if errs := f.Delete(t.Context(), targets[:5]); !errors.Is(errs[0], down) || d.count() != 0 || l.trusted {
		t.Errorf("without a look before: %v", errs)
	}
	n, from, to = 0, 2, 2
	if err := errors.Join(f.Delete(t.Context(), targets[:5])...); err != nil || l.trusted || l.tripped != nil {
		t.Errorf("without a look after: %v, trusted %v, tripped %v", err, l.trusted, l.tripped)
	}
	d.refuse = nil
	if err := errors.Join(f.Delete(t.Context(), targets[5:])...); err != nil || !l.trusted || len(d.groups[1]) != canaryMax {
		t.Errorf("the second first one: %v, %d items", err, len(d.groups[1]))
	}
}

func TestTargetsWithoutALookAreLocated(t *testing.T) {
	d := newDrive()
	dir := d.folder(rootID, "dir")
	var targets []transfer.Target
	add := func() string {
		id := d.file(dir, fmt.Sprint(len(targets)), "x")
		targets = append(targets, transfer.Target{ID: id, ETag: d.items[id].ETag})
		return id
	}
	plain, changed, trashed := add(), add(), add()
	targets = append(targets, transfer.Target{ID: "FILE::x::gone", ETag: "e"})
	d.edit(changed, func(*driveItem) {})
	d.edit(trashed, func(it *driveItem) { it.trashed, it.ParentID = true, "TRASH_ROOT" })
	l := quick()
	errs := on(d, "", l).Delete(t.Context(), targets)
	for i, want := range []error{nil, transfer.ErrChanged, fs.ErrorObjectNotFound, fs.ErrorObjectNotFound} {
		if !errors.Is(errs[i], want) {
			t.Errorf("target %d: %v", i, errs[i])
		}
	}
	if d.alive(plain) || !d.alive(changed) || !l.trusted {
		t.Errorf("alive: %v, %v; trusted %v", d.alive(plain), d.alive(changed), l.trusted)
	}
}

func TestHeldIsAskedJustBefore(t *testing.T) {
	d := newDrive()
	l := trusted()
	f := on(d, "", l)
	for i := range 3 {
		d.file(rootID, fmt.Sprint(i), "x")
	}
	var targets []transfer.Target
	var held atomic.Bool
	held.Store(true)
	var asked atomic.Int64
	for i := range 3 {
		target := aim(lookFor(t, f, fmt.Sprint(i)))
		if i > 0 {
			target.Held = func() error {
				if asked.Add(1); !held.Load() {
					return transfer.ErrFenced
				}
				return nil
			}
		}
		targets = append(targets, target)
	}
	_, leave, err := l.fleet.Turn(t.Context(), "icloud-write:ic") // another process is in the lane
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []error, 1)
	go func() { got <- f.Delete(t.Context(), targets) }()
	within(t, "queued", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.queue) == 3 })
	if asked.Load() != 0 {
		t.Error("asked while it waits")
	}
	held.Store(false)
	leave()
	errs := <-got
	if errs[0] != nil || !errors.Is(errs[1], transfer.ErrFenced) || !errors.Is(errs[2], transfer.ErrFenced) {
		t.Errorf("got %v", errs)
	}
	if len(d.groups) != 1 || len(d.groups[0]) != 1 || len(d.trashedIDs()) != 1 {
		t.Errorf("sent %v", d.groups)
	}
}

func TestCallersWhoGiveUp(t *testing.T) {
	d := newDrive()
	l := trusted()
	f := on(d, "", l)
	for i := range 4 {
		d.file(rootID, fmt.Sprint(i), "x")
	}
	_, leave, err := l.fleet.Turn(t.Context(), "icloud-write:ic")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the job was paused")
	got := make(chan []error, 1)
	go func() { got <- f.Delete(ctx, []transfer.Target{aim(lookFor(t, f, "0")), aim(lookFor(t, f, "1"))}) }()
	within(t, "queued", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.queue) == 2 })
	cancel(why)
	for _, err := range <-got {
		if !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	}
	within(t, "the lane gives up as well", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.running })
	leave()
	// The next caller isn't disturbed, and a call that was sent is waited for.
	sent, goOn := make(chan struct{}), make(chan struct{})
	d.before = func(what string, _ []string) {
		if what == "trash" {
			close(sent)
			<-goOn
		}
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	go func() { got <- f.Delete(ctx, []transfer.Target{aim(lookFor(t, f, "2"))}) }()
	<-sent
	cancel(why)
	select {
	case errs := <-got:
		t.Errorf("answered before the call was over: %v", errs)
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if errs := <-got; errs[0] != nil {
		t.Errorf("the real answer: %v", errs)
	}
	if n := len(d.trashedIDs()); n != 1 {
		t.Errorf("%d in the trash", n)
	}
	if errs := f.Delete(ctx, []transfer.Target{aim(lookFor(t, f, "3"))}); !errors.Is(errs[0], why) {
		t.Errorf("begun after its end: %v", errs)
	}
}

func TestLaneObeysRests(t *testing.T) {
	d := newDrive()
	d.file(rootID, "f", "x")
	l := trusted()
	f := on(d, "", l)
	target := aim(lookFor(t, f, "f"))
	until := time.Now().Add(80 * time.Millisecond)
	if err := l.fleet.Rest(t.Context(), "icloud:ic", until); err != nil {
		t.Fatal(err)
	}
	var at time.Time
	d.before = func(what string, _ []string) {
		if what == "trash" {
			at = time.Now()
		}
	}
	if err := f.Delete(t.Context(), []transfer.Target{target})[0]; err != nil || at.Before(until) {
		t.Errorf("%v, %v too early", err, until.Sub(at))
	}
}

func TestOneItemIsOnceInACall(t *testing.T) {
	d := newDrive()
	d.file(rootID, "f", "x")
	f := on(d, "", trusted())
	target := aim(lookFor(t, f, "f"))
	errs := f.Delete(t.Context(), []transfer.Target{target, target})
	if errs[0] != nil || errs[1] == nil || len(d.groups) != 2 {
		t.Errorf("%v, calls %v", errs, d.groups)
	}
}

func TestOtherErrorsPassThrough(t *testing.T) {
	d := newDrive()
	id := d.file(rootID, "f", "x")
	f := on(d, "", trusted())
	d.answer = func(string, []Ref, []error) []error { return []error{transfer.ErrThrottled} }
	d.before = func(what string, _ []string) {
		if what == "trash" {
			d.set(id, func(it *driveItem) { it.ETag += "x" })
		}
	}
	if err := f.Delete(t.Context(), []transfer.Target{aim(lookFor(t, f, "f"))})[0]; !errors.Is(err, transfer.ErrThrottled) || d.count() != 1 {
		t.Errorf("%v after %d calls", err, d.count())
	}
}

// A caller may give up while the lane looks around before the first call: its item stays.
func TestCallerWhoGivesUpAtTheLastMoment(t *testing.T) {
	d := newDrive()
	f := on(d, "", quick())
	stays, goes := d.file(rootID, "stays", "x"), d.file(rootID, "goes", "x")
	targets := []transfer.Target{aim(lookFor(t, f, "stays")), aim(lookFor(t, f, "goes"))}
	looking, goOn := make(chan struct{}, 9), make(chan struct{})
	d.before = func(what string, _ []string) {
		if what == "list" {
			looking <- struct{}{}
			<-goOn
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	got, other := make(chan error, 1), make(chan error, 1)
	go func() { got <- f.Delete(ctx, targets[:1])[0] }()
	go func() { other <- f.Delete(t.Context(), targets[1:])[0] }()
	<-looking
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(goOn)
	if err := <-other; err != nil || !d.alive(stays) || d.alive(goes) {
		t.Errorf("%v; alive: %v, %v", err, d.alive(stays), d.alive(goes))
	}
}
