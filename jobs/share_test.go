package jobs

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
	"offload/transfer/xcloud"
)

// A worker that has all batches of a job in hand leaves some to another one that has nothing to do, and each file is moved
// once all the same.
func TestCrowdedWorkerSharesWithOneThatHasRoom(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(96, 100)
		cloud := xcloud.New(w.src)
		cloud.Delay = 150 * time.Millisecond
		open := func(ctx context.Context, _, _ string, opt transfer.Options) (*transfer.Pair, error) {
			return cloud.Open(ctx, w.src, w.dst, opt)
		}
		first, second := w.service(open), w.service(open)
		w.worker(first, WorkerOptions{Batches: 8, Transfers: 1})
		o := w.order(transfer.DeleteVerified)
		o.Source = "drive:"
		j, err := first.Enqueue(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		key := string(keysOf(j.ID))
		until(t, "the first worker to have all batches", func() bool {
			v := w.store.Client().HMGet(t.Context(), key+"job", "scan_complete", "open").Val()
			held := w.store.Client().HLen(t.Context(), key+"holder").Val()
			return v[0] == "1" && held > 1 && number(v[1].(string)) == held
		})
		w.worker(second, WorkerOptions{Batches: 8, Transfers: 1})
		until(t, "the second worker to have one of them", func() bool {
			all := w.store.Client().HVals(t.Context(), key+"holder").Val()
			return slices.Contains(all, second.self) && slices.Contains(all, first.self)
		})
		j = w.reach(j.ID, Completed)
		if j.Files.Copied != 96 || j.Files.Deleted != 96 || j.Bytes.Wasted != 0 {
			t.Errorf("%+v, %+v", j.Files, j.Bytes)
		}
	})
}

// Only what waits is given away, the youngest first, and never the last batch of a job.
func TestSpare(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		batches, limit, want int
		asked                int64
	}{
		{"one batch", 1, 1, 0, 3},
		{"none waits", 3, 8, 0, 3},
		{"all wait for one slot", 4, 1, 2, 2},
		{"more asked than there are", 4, 1, 3, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h crowd
			s := newSlots(tt.limit, time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			var units []*unit
			done := make(chan struct{})
			free, err := s.Acquire(ctx) // somebody's file
			if err != nil {
				t.Fatal(err)
			}
			for range tt.batches {
				u := &unit{hold: hold{job: "j"}, halt: make(chan struct{})}
				units = append(units, u)
				defer h.moves(u, s)()
				go func() {
					defer func() { done <- struct{}{} }()
					if release, err := s.Acquire(ctx); err == nil {
						<-ctx.Done()
						release(false)
					}
				}()
			}
			until(t, "the batches to wait or to have their slots", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.waiting)+s.busy == tt.batches+1
			})
			if got := h.spare(tt.asked); got != int64(tt.want) {
				t.Errorf("%d batches were spared, want %d", got, tt.want)
			}
			for i, u := range units {
				if want := i >= tt.batches-tt.want; u.spared.Load() != want {
					t.Errorf("batch %d: spared %v, want %v", i, u.spared.Load(), want)
				}
			}
			cancel()
			for range tt.batches {
				<-done
			}
			free(false)
		})
	}
}

// The word of a worker that it has room ends by itself, and it doesn't count for the worker itself.
func TestRoom(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		say := func(name string, ms int64) int64 {
			t.Helper()
			n, err := newRoom().Run(t.Context(), w.store.Client(), []string{keyRoom}, name, ms).Int64()
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, step := range []struct {
			who  string
			ms   int64
			want int64
		}{{"a", 60000, 0}, {"b", 0, 1}, {"b", 60000, 1}, {"c", 60000, 2}, {"b", 0, 2}} {
			if got := say(step.who, step.ms); got != step.want {
				t.Errorf("%+v: %d others have room", step, got)
			}
		}
		if err := w.store.Client().ZAdd(t.Context(), keyRoom, redis.Z{Score: 1, Member: "dead"}).Err(); err != nil {
			t.Fatal(err)
		}
		if got := say("b", 0); got != 2 {
			t.Errorf("%d have room, want 2: the word of a dead one holds no longer", got)
		}
	})
}
