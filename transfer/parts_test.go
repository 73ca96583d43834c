package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// someBytes makes n bytes of which no two stretches are alike.
func someBytes(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = rng.Read(b)
	return b
}

// bigJob is a job of one file in parts.
type bigJob struct {
	t     *testing.T
	src   *parted
	dst   fs.Fs
	meter *memMeter
	j     *memJournal
	opt   transfer.Options
	entry transfer.Entry
}

func newBigJob(t *testing.T, size int, exact bool) *bigJob {
	src := &parted{Fs: newRemote(t, "memory"), exact: exact, content: someBytes(size, 1)}
	return &bigJob{t: t, src: src, dst: newRemote(t, "memory"), meter: &memMeter{}, j: newJournal(1),
		entry: transfer.Entry{Path: "big", Size: int64(size), ModTime: day},
		opt:   transfer.Options{DeleteSource: transfer.DeleteVerified, MinGrade: transfer.GradeB}}
}

func (b *bigJob) env() transfer.Env {
	return transfer.Env{Meter: b.meter, Journal: b.j, Slots: newSlots(1)}
}

func (b *bigJob) pair() *transfer.Pair {
	return transfer.NewPair(b.src, b.dst, b.opt).NoWaiting(nil)
}

func (b *bigJob) run() transfer.Report {
	b.t.Helper()
	rep, err := b.pair().RunBatch(b.t.Context(), transfer.Batch{Entries: []transfer.Entry{b.entry}, Done: b.j.Done()}, b.env())
	if err != nil {
		b.t.Fatal(err)
	}
	return rep
}

// moved demands that the content arrived and is gone at the source, and that all that was served is counted.
func (b *bigJob) moved(content []byte) transfer.Outcome {
	b.t.Helper()
	o := b.j.Done()[0]
	if o.Result != transfer.Copied || !o.Grade.AtLeast(transfer.GradeB) || o.Source != transfer.Deleted || o.Bytes != int64(len(content)) || o.Part != "" {
		b.t.Errorf("outcome %+v", o)
	}
	if got := readAll(b.t, b.dst); got["big"] != string(content) || len(got) != 1 {
		b.t.Errorf("the destination holds %d files, big of %d bytes: not the source's %d", len(got), len(got["big"]), len(content))
	}
	b.counted()
	return o
}

func (b *bigJob) counted() {
	b.t.Helper()
	if used, gave := b.meter.Used(), b.src.gave(); used < gave {
		b.t.Errorf("the source gave %d bytes, %d are counted", gave, used)
	}
	if err := b.meter.Check(); err != nil {
		b.t.Error(err)
	}
}

// bothKinds are the sources that parts are read from.
func bothKinds(t *testing.T, f func(t *testing.T, exact bool)) {
	for name, exact := range map[string]bool{"exact parts": true, "own hash": false} {
		t.Run(name, func(t *testing.T) { f(t, exact) })
	}
}

func TestBrokenDownloadGoesOnWhereItBroke(t *testing.T) {
	bothKinds(t, func(t *testing.T, exact bool) {
		const size = 40 << 20
		b := newBigJob(t, size, exact)
		var offsets []int64
		for at := range slices.Values(cuts(size, 20)) {
			last := int64(0)
			if len(offsets) > 0 {
				last = offsets[len(offsets)-1]
			}
			b.src.plan = append(b.src.plan, int(at-last))
			offsets = append(offsets, at)
		}
		b.run()
		o := b.moved(b.src.contentWas(size))
		if got, want := b.src.opened(), append([]int64{0}, offsets...); !slices.Equal(got, want) {
			t.Errorf("opened at %v, want %v", got, want)
		}
		if gave := b.src.gave(); float64(gave) > 1.05*size {
			t.Errorf("the source gave %d bytes for a file of %d", gave, int64(size))
		}
		if o.Wasted != 0 || b.meter.Wasted() != 0 || b.meter.Used() != size {
			t.Errorf("%d bytes used, %d of them wasted, the outcome says %d", b.meter.Used(), b.meter.Wasted(), o.Wasted)
		}
	})
}

// Of a connection that is reset nobody knows what was on its way: that is booked as read in vain, and where it is more than
// the connection brought, the reading isn't gone on with for ever.
func TestResetsAreBooked(t *testing.T) {
	size := int(3*transfer.OnTheWay()) + 1<<20
	b := newBigJob(t, size, true)
	b.src.reset = true
	b.src.plan = []int{int(transfer.OnTheWay()) + 1<<20, int(transfer.OnTheWay()) + 1<<20}
	b.run()
	o := b.moved(b.src.contentWas(size))
	// At the second reset less than that was left of the file.
	want := transfer.OnTheWay() + int64(size-b.src.plan[0]-b.src.plan[1])
	if o.Wasted != want || b.meter.Wasted() != want || b.meter.Used() != int64(size)+want {
		t.Errorf("%d bytes used, %d of them wasted, the outcome says %d, want %d", b.meter.Used(), b.meter.Wasted(), o.Wasted, want)
	}

	b = newBigJob(t, size, true)
	b.src.reset = true
	b.src.plan = slices.Repeat([]int{2 << 20}, 100)
	b.run()
	b.counted()
	if n := len(b.src.opened()); n != 8*6 {
		t.Errorf("opened %d times: %v", n, b.src.opened())
	}
}

// cuts are n offsets in a file, in order.
func cuts(size int64, n int) []int64 {
	rng := rand.New(rand.NewPCG(3, 4))
	at := make([]int64, n)
	for i := range at {
		at[i] = 1 + rng.Int64N(size-2)
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// contentWas is the content that newBigJob gave the file.
func (p *parted) contentWas(size int) []byte { return someBytes(size, 1) }

// A connection that brings nothing time and again isn't tried for ever.
func TestBarrenConnectionsAreGivenUp(t *testing.T) {
	b := newBigJob(t, 8<<20, true)
	b.src.plan = append([]int{3 << 20}, make([]int, 100)...)
	b.run()
	if o := b.j.Done()[0]; o.Result != transfer.Failed || o.Source != transfer.Kept {
		t.Errorf("outcome %+v", o)
	}
	if n := len(b.src.opened()); n != 8*6 { // eight attempts, five goings-on in each
		t.Errorf("opened %d times: %v", n, b.src.opened())
	}
	b.counted()
}

// Bytes of two versions are never put together (rule 13): neither where the change shows before a part, nor where it shows
// after the last one only.
func TestRulePartsAreOfOneVersion(t *testing.T) {
	bothKinds(t, func(t *testing.T, exact bool) {
		for name, at := range map[string]func(b *bigJob, change func()){
			"before the part": func(b *bigJob, change func()) { b.src.broke = change },
			"as the part is asked for": func(b *bigJob, change func()) {
				b.src.asked = func(open int, _ int64) {
					if open == 2 {
						change()
					}
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				b := newBigJob(t, 8<<20, exact)
				b.src.plan = []int{3 << 20}
				after := someBytes(8<<20, 2)
				at(b, func() { b.src.change(after) })
				var seen [][]byte
				b.dst = &spy{Fs: b.dst, put: func(content []byte) { seen = append(seen, content) }}
				b.run()
				if len(seen) != 1 || !bytes.Equal(seen[0], after) {
					t.Errorf("%d contents were stored, want the new version alone", len(seen))
				}
				b.moved(after)
			})
		}
	})
}

// spy sees what is stored whole.
type spy struct {
	fs.Fs
	put func([]byte)
}

func (s *spy) Features() *fs.Features {
	feat := *s.Fs.Features()
	feat.PutStream, feat.Move = nil, nil
	return &feat
}

func (s *spy) Put(ctx context.Context, in io.Reader, info fs.ObjectInfo, _ ...fs.OpenOption) (fs.Object, error) {
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(in, b); err != nil { // like most, it doesn't ask for the end
		return nil, err
	}
	s.put(b)
	return s.Fs.Put(ctx, bytes.NewReader(b), info)
}

// A source that ignores ranges, or is off by some bytes, damages nothing: what it gave is found out before it is whole
// anywhere, and the file is read in one piece from then on.
func TestWrongPartsAreFoundOut(t *testing.T) {
	for name, c := range map[string]struct {
		exact bool
		whole bool
		shift []int64
		plan  []int
	}{
		"the range is ignored, and that is told": {exact: true, whole: true, plan: []int{3 << 20}},
		"the range is ignored":                   {whole: true, plan: []int{3 << 20}},
		"ignored once, then another break":       {shift: []int64{0, -3 << 20}, plan: []int{3 << 20, 2 << 20}},
		"one byte too early":                     {shift: []int64{0, -1}, plan: []int{3 << 20}},
		"one byte too early, then another break": {shift: []int64{0, -1}, plan: []int{3 << 20, 2 << 20}},
		"one byte too late":                      {shift: []int64{0, 1, 1}, plan: []int{3 << 20}},
		"too late, then another break":           {shift: []int64{0, 100}, plan: []int{3 << 20, 2 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBigJob(t, 8<<20, c.exact)
			b.src.whole, b.src.shift, b.src.plan = c.whole, c.shift, c.plan
			stored := 0
			b.dst = &spy{Fs: b.dst, put: func(content []byte) {
				stored++
				if !bytes.Equal(content, b.src.contentWas(8<<20)) {
					t.Error("wrong content was stored whole")
				}
			}}
			b.run()
			b.moved(b.src.contentWas(8 << 20))
			at := b.src.opened()
			if at[len(at)-1] != 0 || stored != 1 {
				t.Errorf("opened at %v, stored %d times: want it read in one piece at last", at, stored)
			}
		})
	}
}

// The source's own checksum refuses a reading in parts as it does a whole one.
// storedFs notes what is ever stored.
type storedFs struct {
	fs.Fs
	all [][]byte
}

func (f *storedFs) Put(ctx context.Context, in io.Reader, info fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	f.all = append(f.all, b)
	return f.Fs.Put(ctx, bytes.NewReader(b), info, opts...)
}

// The last bytes of a file that was read in parts aren't handed on where the connection breaks just then.
func TestLastBytesWithABreakStayHere(t *testing.T) {
	const size = 8 << 20
	b := newBigJob(t, size, true)
	before, after := b.src.content, someBytes(size, 2)
	stored := &storedFs{Fs: b.dst}
	b.dst = newKeeper(stored)
	b.src.plan = []int{3 << 20}
	b.src.asked = func(open int, _ int64) {
		b.src.late = open == 2
		if open == 2 {
			b.src.change(after)
		}
	}
	b.run()
	b.moved(after)
	for _, got := range stored.all {
		if !bytes.Equal(got, before) && !bytes.Equal(got, after) {
			t.Error("a mixture of two versions was whole at the destination")
		}
	}
}

func TestPartsAreHeldAgainstTheSourcesChecksum(t *testing.T) {
	b := newBigJob(t, 8<<20, true)
	b.src.plan, b.src.shift = []int{3 << 20, 2 << 20}, []int64{0, 100}
	checked := 0
	b.src.sum = func() []byte {
		checked++
		sum := sha1.Sum(b.src.content)
		return sum[:]
	}
	b.run()
	b.moved(b.src.contentWas(8 << 20))
	if checked != 1 {
		t.Errorf("the checksum was asked %d times", checked)
	}
}

// What may be sent twice is charged before it is asked for, or isn't asked for.
func TestPartsKeepToTheQuota(t *testing.T) {
	const size = 24 << 20
	for _, spare := range []int64{0, 1 << 20, transfer.OnTheWay(), 3 * transfer.OnTheWay()} {
		t.Run(fmt.Sprint(spare), func(t *testing.T) {
			b := newBigJob(t, size, true)
			b.meter.Limit, b.src.reset = size+spare, true
			b.src.plan = []int{5 << 20, 4 << 20, 3 << 20}
			rep := b.run()
			b.counted()
			if b.meter.Used() > b.meter.Limit {
				t.Errorf("%d bytes used of %d", b.meter.Used(), b.meter.Limit)
			}
			o := b.j.Done()[0]
			if done := o.Result == transfer.Copied; done != (spare >= 3*transfer.OnTheWay()) || !done && rep.NoQuota != 1 {
				t.Errorf("outcome %+v, report %+v", o, rep)
			}
		})
	}
}
