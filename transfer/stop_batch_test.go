package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/object"

	"offload/transfer"
)

// slowFs hands its files out at a number of bytes a second.
type slowFs struct {
	fs.Fs
	rate int
}

func (f *slowFs) NewObject(ctx context.Context, p string) (fs.Object, error) {
	o, err := f.Fs.NewObject(ctx, p)
	if err != nil {
		return nil, err
	}
	return &slowObject{o, f.rate}, nil
}

type slowObject struct {
	fs.Object
	rate int
}

func (o *slowObject) Open(ctx context.Context, opts ...fs.OpenOption) (io.ReadCloser, error) {
	in, err := o.Object.Open(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &slowReader{ReadCloser: in, ctx: ctx, rate: o.rate}, nil
}

type slowReader struct {
	io.ReadCloser
	ctx  context.Context
	rate int
}

func (r *slowReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p[:min(len(p), max(r.rate/10, 1))])
	if serr := transfer.Sleep(r.ctx, time.Duration(n)*time.Second/time.Duration(r.rate)); serr != nil {
		return 0, serr
	}
	return n, err
}

// At a stop the file that can't end in the grace is handed back at once, those that can end do, and nothing new begins.
func TestAStopHandsLargeFilesBack(t *testing.T) {
	for name, drained := range map[string]time.Duration{"working": 0, "drained": time.Second} {
		t.Run(name, func(t *testing.T) { stopHandsLargeFilesBack(t, drained) })
	}
}

// stopHandsLargeFilesBack lets nothing new begin for a while before the stop.
func stopHandsLargeFilesBack(t *testing.T, drained time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newRemote(t, "memory"), newRemote(t, "memory")
		names := []string{"huge", "nearly done", "small", "waiting"}
		sizes := map[string]int{"huge": 100_000, "nearly done": 8_000, "small": 2_500, "waiting": 10}
		for _, n := range names {
			put(t, s, n, string(make([]byte, sizes[n])), day)
		}
		w := &world{t: t, src: s, dst: d, entries: entriesOf(t, s, names...), meter: &memMeter{}, journal: newJournal(len(names))}
		w.pair = transfer.NewPair(&slowFs{s, 1000}, d, transfer.Options{})
		env, halt := w.env(), make(chan struct{})
		began := time.Now()
		env.Slots, env.Stopping, env.Grace = newSlots(3), halt, func() time.Duration {
			if time.Since(began) < 2*time.Second {
				return 0
			}
			return 8 * time.Second
		}
		env.Stopped = func(ctx context.Context) error {
			select {
			case <-halt:
				return transfer.ErrStop
			default:
				return context.Cause(ctx)
			}
		}
		stopped := make(map[string]time.Duration)
		env.Watcher = &ends{began: began, at: stopped}
		time.AfterFunc(2*time.Second-drained, func() { close(halt) })
		rep, err := w.pair.RunBatch(t.Context(), transfer.Batch{Entries: w.entries}, env)
		if err != nil || rep.Pending != 2 {
			t.Fatalf("%+v, %v", rep, err)
		}
		for name, want := range map[string]transfer.Result{
			"huge": transfer.Pending, "waiting": transfer.Pending, "nearly done": transfer.Copied, "small": transfer.Copied,
		} {
			if got := w.outcome(name).Result; got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if at := stopped["huge"]; at > 2500*time.Millisecond {
			t.Errorf("the huge file was handed back after %v", at)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("took %v", took)
		}
		if _, ok := readAll(t, d)["huge"]; ok {
			t.Error("a part of the huge file stands at the destination")
		}
		if err := w.meter.Check(); err != nil {
			t.Error(err)
		}
	})
}

// inPlaceFs is a destination that stores an upload under its name as far as it came.
type inPlaceFs struct{ fs.Fs }

func (f inPlaceFs) Features() *fs.Features {
	features := *f.Fs.Features()
	features.PartialUploads = false
	return &features
}

func (f inPlaceFs) Put(ctx context.Context, in io.Reader, info fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
	b, err := io.ReadAll(in)
	info = object.NewStaticObjectInfo(info.Remote(), day, int64(len(b)), true, nil, nil)
	o, perr := f.Fs.Put(context.WithoutCancel(ctx), bytes.NewReader(b), info, opts...)
	return o, errors.Join(err, perr)
}

// What a file that is handed back has left at a destination without partial names doesn't stay there.
func TestAFileThatIsHandedBackLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newRemote(t, "memory"), newRemote(t, "memory")
		put(t, s, "huge", string(make([]byte, 100_000)), day)
		w := &world{t: t, src: s, dst: d, entries: entriesOf(t, s, "huge"), meter: &memMeter{}, journal: newJournal(1)}
		w.pair = transfer.NewPair(&slowFs{s, 1000}, inPlaceFs{d}, transfer.Options{})
		env, halt := w.env(), make(chan struct{})
		env.Stopping, env.Grace = halt, func() time.Duration { return 8 * time.Second }
		time.AfterFunc(2*time.Second, func() { close(halt) })
		rep, err := w.pair.RunBatch(t.Context(), transfer.Batch{Entries: w.entries}, env)
		if all := readAll(t, d); err != nil || rep.Pending != 1 || len(all) != 0 {
			t.Errorf("%+v, %v: %d bytes stand at the destination", rep, err, len(all["huge"]))
		}
	})
}

// ends notes when readings end. It is told by one goroutine at a time for each file.
type ends struct {
	began time.Time
	at    map[string]time.Duration
}

func (e *ends) Start(string, int64, int64)   {}
func (e *ends) Read(string, int64)           {}
func (e *ends) Again(string, transfer.Again) {}
func (e *ends) Done(path string) {
	if path == "huge" {
		e.at[path] = time.Since(e.began)
	}
}
