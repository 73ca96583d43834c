package transfer_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
	"offload/transfer/xtest"
)

// listings is a remote whose listings are watched.
type listings struct {
	fs.Fs
	list func(ctx context.Context) error
}

func (l listings) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	if err := l.list(ctx); err != nil {
		return nil, err
	}
	return l.Fs.List(ctx, dir)
}

// A file that waited for the listing of its folder would hold a slot meanwhile, and with it keep another from moving.
func TestFoldersAreListedBeforeFilesBegin(t *testing.T) {
	names := []string{"a", "b", "c"}
	make3 := func(list func(ctx context.Context) error) *world {
		src, dst := newRemote(t, "memory"), newRemote(t, "memory")
		for _, n := range names {
			put(t, src, n, n, day)
		}
		w := newWorld(t, src, dst, verified, xtest.NewScript(), names...)
		w.pair = transfer.NewPair(src, listings{dst, list}, verified).NoWaiting(nil)
		return w
	}
	batch := func(w *world) transfer.Batch {
		b := w.batch()
		b.Dirs = []transfer.DirInfo{{Dir: "", Source: 3, Dest: 3}}
		return b
	}
	t.Run("no slot is held meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			asked, listed := make(chan struct{}), false
			w := make3(func(context.Context) error {
				if listed { // fresh looks list it again
					return nil
				}
				listed = true
				select {
				case <-asked:
					t.Error("a slot was asked for while the folder was listed")
				case <-time.After(time.Second): // nothing else has anything to do
				}
				return nil
			})
			env := w.env()
			once := sync.OnceFunc(func() { close(asked) })
			env.Slots = slotsFunc(func(context.Context) (func(bool), error) { once(); return func(bool) {}, nil })
			if rep, err := w.pair.RunBatch(t.Context(), batch(w), env); err != nil || rep.Pending != 0 {
				t.Fatalf("report %+v, error %v", rep, err)
			}
			<-asked
		})
	})
	t.Run("a stop doesn't wait for a listing that hangs", func(t *testing.T) {
		stopping, begun := make(chan struct{}), 0
		w := make3(func(ctx context.Context) error {
			close(stopping)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		env := w.env()
		env.Stopping = stopping
		env.Stopped = func(context.Context) error {
			select {
			case <-stopping:
				return transfer.ErrStop
			default:
				return nil
			}
		}
		env.Slots = slotsFunc(func(context.Context) (func(bool), error) { begun++; return func(bool) {}, nil })
		if rep, err := w.pair.RunBatch(t.Context(), batch(w), env); err != nil || rep.Pending != 3 || begun != 0 {
			t.Errorf("report %+v, error %v, %d begun; want 3 pending and none begun", rep, err, begun)
		}
	})
	t.Run("a bug in a listing ends nothing", func(t *testing.T) {
		bugs := 0
		w := make3(func(context.Context) error {
			bugs++
			panic("bug")
		})
		if rep, err := w.pair.RunBatch(t.Context(), batch(w), w.env()); err != nil || rep.Pending != 0 || w.outcome("c").Source != transfer.Deleted {
			t.Errorf("report %+v, error %v, outcome %+v", rep, err, w.outcome("c"))
		}
		if bugs == 0 {
			t.Error("the bug wasn't hit")
		}
	})
}
