package icloud

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"offload/transfer"
)

// Safety rule 14: what has come under a name since the engine's look isn't replaced. rclone's own Put moves it to the trash.
func TestPutTakesAFreeNameAlone(t *testing.T) {
	d := newDrive()
	p := &plainFs{d: d}
	f, _ := writable(d, p)
	id := d.file(rootID, "theirs.txt", "theirs")
	if _, err := f.Put(t.Context(), strings.NewReader("mine"), info("theirs.txt", "mine")); !errors.Is(err, transfer.ErrTaken) {
		t.Errorf("%v, want %v", err, transfer.ErrTaken)
	}
	if len(p.calls) != 0 || !d.alive(id) || string(d.items[id].content) != "theirs" {
		t.Errorf("calls %q, alive %v, content %q", p.calls, d.alive(id), d.items[id].content)
	}
}

// lose makes the folder of trashed files gone, so that they are put back into the root.
func lose(d *drive, ids []string) {
	for _, id := range ids {
		d.edit(id, func(it *driveItem) { it.was = rootID })
	}
}

func TestReturnBringsItemsToTheirPlaces(t *testing.T) {
	d := newDrive()
	p := &plainFs{d: d}
	f, _ := writable(d, p)
	ids := fillTrash(d, 4) // of Büro, which is there still
	lose(d, ids[2:])       // these land in the root
	d.edit(ids[3], func(it *driveItem) { it.Name = "f3 2" })
	seen := trashOf(t, f)
	var items []transfer.Trashed
	for i, id := range ids[:4] {
		it := seen[id]
		it.Path = fmt.Sprintf("Büro/f%d", i)
		items = append(items, it)
	}
	items[2].Path = "Neu/f2" // a folder that isn't there
	for i, err := range f.Return(t.Context(), items) {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i, want := range []string{"Büro/f0", "Büro/f1", "Neu/f2", "Büro/f3"} {
		o, err := f.NewObject(t.Context(), want)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := o.(*Object).ID(); got != ids[i] {
			t.Errorf("%s is %s, want %s", want, got, ids[i])
		}
	}
	moves := len(d.moves)
	for i, err := range f.Return(t.Context(), items) {
		if err != nil {
			t.Errorf("once more, %d: %v", i, err)
		}
	}
	if len(d.moves) != moves {
		t.Errorf("%d moves more for what is in its place", len(d.moves)-moves)
	}
}

// A process died after the put back and before the move: the next one finds the item by its ID.
func TestReturnGoesOnAfterACrash(t *testing.T) {
	d := newDrive()
	f, _ := writable(d, &plainFs{d: d})
	id := fillTrash(d, 1)[0]
	lose(d, []string{id})
	it := trashOf(t, f)[id]
	if err := errors.Join(f.PutBack(t.Context(), []transfer.Trashed{it})...); err != nil {
		t.Fatal(err)
	}
	it.Path = "Büro/f0"
	if err := errors.Join(f.Return(t.Context(), []transfer.Trashed{it})...); err != nil {
		t.Fatal(err)
	}
	lookFor(t, f, "Büro/f0")
}

func TestReturnLeavesATakenNameAlone(t *testing.T) {
	d := newDrive()
	f, _ := writable(d, &plainFs{d: d})
	id := fillTrash(d, 1)[0]
	lose(d, []string{id})
	theirs := d.file(d.named(norm.NFD.String("Büro")), "f0", "theirs")
	it := trashOf(t, f)[id]
	it.Path = "Büro/f0"
	if err := f.Return(t.Context(), []transfer.Trashed{it})[0]; !errors.Is(err, transfer.ErrTaken) {
		t.Errorf("%v, want %v", err, transfer.ErrTaken)
	}
	if !d.alive(theirs) || !d.alive(id) || len(d.trashedIDs()) != 0 {
		t.Errorf("theirs alive %v, ours alive %v, trash %q", d.alive(theirs), d.alive(id), d.trashedIDs())
	}
}

// What its owner has put back, moved and edited stays where it is.
func TestReturnMovesNoChangedFile(t *testing.T) {
	d := newDrive()
	f, _ := writable(d, &plainFs{d: d})
	id := fillTrash(d, 1)[0]
	lose(d, []string{id})
	it := trashOf(t, f)[id]
	if err := errors.Join(f.PutBack(t.Context(), []transfer.Trashed{it})...); err != nil {
		t.Fatal(err)
	}
	d.edit(id, func(it *driveItem) { it.Size += 7 })
	it.Path = "Büro/f0"
	if err := f.Return(t.Context(), []transfer.Trashed{it})[0]; err == nil || len(d.moves) != 0 {
		t.Errorf("%v, moves %v", err, d.moves)
	}
}
