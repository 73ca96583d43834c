package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"offload/transfer"
)

const upSize = 12 << 20

// newUpload is a job of one file to a destination that goes on with uploads, and whose worker ends after some chunks.
func newUpload(t *testing.T) (*bigJob, *keeper) {
	t.Helper()
	b := newBigJob(t, upSize, true)
	k := newKeeper(b.dst)
	b.dst = k
	return b, k
}

// stopAfter has the upload broken off by a stop of the worker once the destination holds n bytes.
func (b *bigJob) stopAfter(k *keeper, n int64, cause error) {
	b.t.Helper()
	ctx, cancel := context.WithCancelCause(b.t.Context())
	defer cancel(nil)
	k.sent = func(p transfer.Part) error {
		if p.Offset < n {
			return nil
		}
		cancel(cause)
		return context.Cause(ctx)
	}
	_, err := b.pair().RunBatch(ctx, transfer.Batch{Entries: []transfer.Entry{b.entry}, Done: b.j.Done()}, b.env())
	if !errors.Is(err, cause) {
		b.t.Fatalf("it ended with %v", err)
	}
	k.sent = nil
}

func TestUploadGoesOnInAnotherProcess(t *testing.T) {
	b, k := newUpload(t)
	for _, n := range []int64{3 << 20, 4 << 20, 9 << 20} {
		b.stopAfter(k, n, transfer.ErrStop)
		o := b.j.Done()[0]
		if o.Result != transfer.Pending || o.Part == "" {
			t.Fatalf("outcome %+v", o)
		}
	}
	b.run()
	o := b.moved(b.src.contentWas(upSize))
	if k.begun != 1 || len(k.resumed) != 3 || k.resumed[0] != 3<<20 || k.resumed[2] != 9<<20 {
		t.Errorf("%d uploads begun, gone on with at %v", k.begun, k.resumed)
	}
	if at := b.src.opened(); len(at) != 4 || at[1] != 3<<20 || at[2] != 4<<20 || at[3] != 9<<20 {
		t.Errorf("opened at %v", at)
	}
	if o.Grade != transfer.GradeA || o.Wasted != b.meter.Wasted() || b.meter.Used() != upSize+o.Wasted {
		t.Errorf("outcome %+v, %d bytes used, %d wasted", o, b.meter.Used(), b.meter.Wasted())
	}
}

// A process that was killed has recorded less than the destination holds: that isn't sent again, but it is hashed.
func TestUploadGoesOnAfterAKill(t *testing.T) {
	b, k := newUpload(t)
	b.j.Fail = func(_ int, o transfer.Outcome) error {
		if partOffset(t, o.Part) > 1<<20 {
			return errors.New("the store is away")
		}
		return nil
	}
	b.stopAfter(k, 5<<20, transfer.ErrFenced) // as a process that has no time to record anything
	b.j.Fail = nil
	if at := partOffset(t, b.j.Done()[0].Part); at != 1<<20 || len(k.sessions["session1"]) != 5<<20 {
		t.Fatalf("%d bytes are recorded, %d held", at, len(k.sessions["session1"]))
	}
	b.run()
	b.moved(b.src.contentWas(upSize))
	if k.begun != 1 || len(k.resumed) != 1 || k.resumed[0] != 1<<20 {
		t.Errorf("%d uploads begun, gone on with at %v", k.begun, k.resumed)
	}
}

// partOffset is how far a recorded part is.
func partOffset(t *testing.T, s string) int64 {
	t.Helper()
	var p struct {
		N int64 `json:"n"`
	}
	if s != "" {
		if err := json.Unmarshal([]byte(s), &p); err != nil {
			t.Fatal(err)
		}
	}
	return p.N
}

// What can't be gone on with is begun anew, once: nothing wrong is stored, and nothing is deleted that isn't proved.
func TestUploadBeginsAnew(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(b *bigJob, k *keeper, o *transfer.Outcome)
		ranges bool // the part is tried, and found out at its end
	}{
		"the destination has forgotten it": {spoil: func(_ *bigJob, k *keeper, _ *transfer.Outcome) { clear(k.sessions) }},
		"it holds less than was acknowledged": {spoil: func(_ *bigJob, k *keeper, _ *transfer.Outcome) {
			k.sessions["session1"] = k.sessions["session1"][:2<<20]
		}},
		"it holds more than the file": {spoil: func(_ *bigJob, k *keeper, _ *transfer.Outcome) {
			k.sessions["session1"] = make([]byte, upSize+1)
		}},
		"it holds something else": {ranges: true, spoil: func(_ *bigJob, k *keeper, _ *transfer.Outcome) {
			k.sessions["session1"][77] ^= 1
			k.stays = true // and would be gone on with time and again
		}},
		"the file has changed":  {spoil: func(b *bigJob, _ *keeper, _ *transfer.Outcome) { b.src.change(someBytes(upSize, 5)) }},
		"the record is cut off": {spoil: func(_ *bigJob, _ *keeper, o *transfer.Outcome) { o.Part = o.Part[:len(o.Part)/2] }},
		"the record is of a later version": {spoil: func(_ *bigJob, _ *keeper, o *transfer.Outcome) {
			o.Part = strings.Replace(o.Part, `"v":1`, `"v":2`, 1)
		}},
		"a state is no state": {spoil: func(_ *bigJob, _ *keeper, o *transfer.Outcome) {
			o.Part = strings.Replace(o.Part, `"sha256":"`, `"sha256":"AAAA`, 1)
		}},
		"a state is missing": {spoil: func(_ *bigJob, _ *keeper, o *transfer.Outcome) {
			o.Part = strings.Replace(o.Part, `"md5":`, `"md4":`, 1)
		}},
		"a state is another's": {ranges: true, spoil: func(b *bigJob, k *keeper, o *transfer.Outcome) {
			other, k2 := newUpload(b.t)
			other.src.content = someBytes(upSize, 6)
			other.stopAfter(k2, 3<<20, transfer.ErrStop)
			o.Part = other.j.Done()[0].Part
		}},
		"the offset is another": {ranges: true, spoil: func(_ *bigJob, _ *keeper, o *transfer.Outcome) {
			o.Part = strings.Replace(o.Part, `"n":3145728`, `"n":2097152`, 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, k := newUpload(t)
			b.stopAfter(k, 3<<20, transfer.ErrStop)
			before := b.j.Done()[0].Part
			spoiled := b.j.Done()
			c.spoil(b, k, &spoiled[0])
			if spoiled[0].Part == before && name[:3] == "a s" {
				t.Fatal("nothing is spoiled: this proves nothing")
			}
			b.j.done = spoiled
			b.run()
			b.moved(b.src.content0())
			if want := map[bool]int{true: 1}[c.ranges]; len(k.resumed) != want || k.begun != 2 {
				t.Errorf("gone on with at %v, %d uploads begun", k.resumed, k.begun)
			}
		})
	}
}

// content0 is the content before it was deleted.
func (p *parted) content0() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.version > 0 {
		return someBytes(upSize, 5)
	}
	return someBytes(upSize, 1)
}

// A worker whose batch was taken over records nothing more and deletes nothing.
func TestFencedUploadEnds(t *testing.T) {
	b, k := newUpload(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	recorded := -1
	k.sent = func(p transfer.Part) error {
		if p.Offset < 5<<20 {
			return nil
		}
		recorded = b.j.Records(0)
		cancel(transfer.ErrFenced)
		return context.Cause(ctx)
	}
	_, err := b.pair().RunBatch(ctx, transfer.Batch{Entries: []transfer.Entry{b.entry}}, b.env())
	if o := b.j.Done()[0]; !errors.Is(err, transfer.ErrFenced) || o.Result != transfer.Pending || b.src.gone() {
		t.Errorf("outcome %+v, error %v", o, err)
	}
	if n := b.j.Records(0); recorded < 1 || n != recorded {
		t.Errorf("%d records when the work was taken over, %d in the end", recorded, n)
	}
}

// Outcomes of earlier versions have no part; one of later versions is passed over by a reader that doesn't know it.
func TestOutcomesWithoutAPartAreRead(t *testing.T) {
	var o transfer.Outcome
	if err := json.Unmarshal([]byte(`{"o":"","l":5,"w":7}`), &o); err != nil || o.Part != "" || o.Least != 5 {
		t.Errorf("%+v, %v", o, err)
	}
	if raw, err := json.Marshal(o); err != nil || bytes.Contains(raw, []byte(`"u"`)) {
		t.Errorf("stored as %s, %v", raw, err)
	}
}

// The bars begin where the upload does.
func TestProgressBeginsWhereTheUploadDoes(t *testing.T) {
	b, k := newUpload(t)
	b.stopAfter(k, 3<<20, transfer.ErrStop)
	w := &bars{}
	env := b.env()
	env.Watcher = w
	if _, err := b.pair().RunBatch(t.Context(), transfer.Batch{Entries: []transfer.Entry{b.entry}, Done: b.j.Done()}, env); err != nil {
		t.Fatal(err)
	}
	if w.before != 3<<20 || w.size != upSize || w.read != upSize-3<<20 {
		t.Errorf("begun at %d of %d, read %d", w.before, w.size, w.read)
	}
}

type bars struct{ size, before, read int64 }

func (b *bars) Start(_ string, size, before int64) { b.size, b.before = size, before }
func (b *bars) Read(_ string, n int64)             { b.read += n }
func (b *bars) Done(string)                        {}
func (b *bars) Again(string, transfer.Again)       {}

// A cut of the source in the middle of an upload that was gone on with: both ways of going on together.
func TestBreaksAndStopsTogether(t *testing.T) {
	b, k := newUpload(t)
	b.src.plan = []int{2<<20 + 100, 1 << 20, 3 << 20, 1<<20 + 5}
	b.stopAfter(k, 5<<20, transfer.ErrStop)
	b.stopAfter(k, 7<<20, transfer.ErrStop)
	b.run()
	b.moved(b.src.contentWas(upSize))
	if k.begun != 1 || len(k.resumed) != 2 {
		t.Errorf("%d uploads begun, gone on with at %v; opened at %v", k.begun, k.resumed, b.src.opened())
	}
}

// A package is never read in parts, nor is its upload gone on with.
func TestPackagesAreNeverResumed(t *testing.T) {
	b, k := newUpload(t)
	b.stopAfter(k, 3<<20, transfer.ErrStop)
	b.src.packs = true
	b.src.plan = append(make([]int, len(b.src.opened())), 1<<20)
	b.run()
	for _, at := range b.src.opened()[1:] {
		if at != 0 {
			t.Errorf("opened at %v", b.src.opened())
		}
	}
	if len(k.resumed) != 0 {
		t.Errorf("gone on with at %v", k.resumed)
	}
}
