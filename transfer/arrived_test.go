package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
	"offload/transfer/xtest"
)

// patient is a destination that keeps a file waiting when it has all of it, as Dropbox does until its commit.
type patient struct {
	fs.Fs
	loses bool                                   // what waits never gets its name
	then  func(ctx context.Context, idle func()) // called when the file waits
}

func (p *patient) Features() *fs.Features {
	feat := *p.Fs.Features()
	feat.PutStream, feat.Move, feat.PartialUploads = nil, nil, false
	return &feat
}

func (p *patient) Put(ctx context.Context, in io.Reader, info fs.ObjectInfo, _ ...fs.OpenOption) (o fs.Object, err error) {
	buf := make([]byte, info.Size()) // its listed size, and not the end behind it
	if _, err := io.ReadFull(in, buf); err != nil {
		return nil, err
	}
	p.then(ctx, func() { transfer.Idle(ctx) })
	if !p.loses {
		if o, err = p.Fs.Put(context.WithoutCancel(ctx), bytes.NewReader(buf), info); err != nil {
			return nil, err
		}
	}
	return o, context.Cause(ctx)
}

// A process that dies while a file waits at the destination leaves what it has sent on record: whoever goes on compares the copy
// with that, and reads the source once more only where it isn't that copy, or the source isn't that version.
func TestWhatWaitedForItsCommitIsKnownAgain(t *testing.T) {
	const size = 100_000
	again := someBytes(size, 2)
	for _, tt := range []struct {
		name   string
		exact  bool
		loses  bool
		blind  bool            // the destination has no hashes
		before func(b *bigJob) // between the two processes
		reads  int
		want   transfer.Outcome
	}{
		{"it was committed", true, false, false, func(*bigJob) {}, 1, transfer.Outcome{Source: transfer.Deleted}},
		{"it was committed, from a source with a hash", false, false, false, func(*bigJob) {}, 1, transfer.Outcome{Source: transfer.Deleted}},
		{"it never was", true, true, false, func(*bigJob) {}, 2, transfer.Outcome{Source: transfer.Deleted, Wasted: size}},
		{"something else stands there", true, false, false, func(b *bigJob) {
			put(b.t, b.dst, "big", string(again), day)
		}, 3, transfer.Outcome{Source: transfer.Deleted, Dest: "big (offload 2024-05-01)"}},
		{"the source has changed", true, false, false, func(b *bigJob) { b.src.change(again) }, 3,
			transfer.Outcome{Source: transfer.Deleted, Dest: "big (offload 2024-05-01)"}},
		{"it can't be told by a hash", true, false, true, func(*bigJob) {}, 2, transfer.Outcome{Result: transfer.Skipped, Source: transfer.Deleted}},
		{"the record is damaged", true, false, false, func(b *bigJob) {
			b.j.done[0].Part = strings.ToUpper(b.j.done[0].Part)
		}, 2, transfer.Outcome{Result: transfer.Skipped, Source: transfer.Deleted}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBigJob(t, size, tt.exact)
			dead, kill := context.WithCancelCause(t.Context())
			run := func(ctx context.Context, p *patient) error {
				p.Fs = b.dst
				if tt.blind {
					hashless := xtest.Wrap(ctx, b.dst, "dst", xtest.NewScript())
					hashless.NoHashes = true
					p.Fs = hashless
				}
				pair := transfer.NewPair(b.src, p, b.opt).NoWaiting(nil)
				_, err := pair.RunBatch(ctx, transfer.Batch{Entries: []transfer.Entry{b.entry}, Done: b.j.Done()}, b.env())
				return err
			}
			err := run(dead, &patient{loses: tt.loses, then: func(_ context.Context, idle func()) {
				idle()
				kill(transfer.ErrFenced)
			}})
			if o := b.j.Done()[0]; !errors.Is(err, transfer.ErrFenced) || o.Result != transfer.Pending || o.Part == "" {
				t.Fatalf("%v, %+v; want a record of what was sent", err, o)
			}
			tt.before(b)
			if err := run(t.Context(), &patient{then: func(_ context.Context, idle func()) { idle() }}); err != nil {
				t.Fatal(err)
			}
			if tt.want.Result == transfer.Pending {
				tt.want.Result = transfer.Copied
			}
			o := b.j.Done()[0]
			if o.Result != tt.want.Result || o.Grade.AtLeast(transfer.GradeB) != true || o.Source != tt.want.Source || (o.Dest == "") != (tt.want.Dest == "") || o.Wasted < tt.want.Wasted || o.Part != "" {
				t.Errorf("outcome %+v, want %+v", o, tt.want)
			}
			if n := len(b.src.opened()); n != tt.reads {
				t.Errorf("the source was read %d times, want %d", n, tt.reads)
			}
			b.counted()
		})
	}
}

// An upload that was given up, and goes on, records nothing over what became of the file since.
func TestALateUploadRecordsNothing(t *testing.T) {
	b := newBigJob(t, 1000, true)
	var late func()
	pair := transfer.NewPair(b.src, &patient{Fs: b.dst, then: func(_ context.Context, idle func()) { late = idle }}, b.opt).NoWaiting(nil)
	if _, err := pair.RunBatch(t.Context(), transfer.Batch{Entries: []transfer.Entry{b.entry}, Done: b.j.Done()}, b.env()); err != nil {
		t.Fatal(err)
	}
	was := b.j.Done()[0]
	late()
	if o := b.j.Done()[0]; o.Result != transfer.Copied || o != was {
		t.Errorf("the outcome is %+v now, was %+v", o, was)
	}
}

// What a destination holds of a large file that was never committed isn't forgotten over the record of all that was sent.
func TestAPartSurvivesTheRecordOfTheWhole(t *testing.T) {
	const size = 6 << 20
	b := newBigJob(t, size, true)
	dead, kill := context.WithCancelCause(t.Context())
	p := &patient{Fs: b.dst, loses: true, then: func(_ context.Context, idle func()) {
		idle()
		kill(transfer.ErrFenced)
	}}
	k := newKeeper(p)
	k.stays = true
	run := func(ctx context.Context) error {
		pair := transfer.NewPair(b.src, k, b.opt).NoWaiting(nil)
		_, err := pair.RunBatch(ctx, transfer.Batch{Entries: []transfer.Entry{b.entry}, Done: b.j.Done()}, b.env())
		return err
	}
	if err := run(dead); !errors.Is(err, transfer.ErrFenced) || b.j.Done()[0].Part == "" {
		t.Fatalf("%v, %+v", err, b.j.Done()[0])
	}
	p.loses, p.then = false, func(_ context.Context, idle func()) { idle() }
	if err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
	opened := b.src.opened()
	if len(opened) != 2 || opened[1] < 4<<20 {
		t.Errorf("opened at %v, want it gone on with", opened)
	}
	if o := b.moved(b.src.contentWas(size)); o.Wasted > 2<<20 {
		t.Errorf("%d bytes were wasted", o.Wasted)
	}
}
