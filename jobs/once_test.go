package jobs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/transfer"
)

func (w *world) jobCount() int64 {
	w.t.Helper()
	n := int64(0)
	if err := w.svc.each(w.t.Context(), ListOptions{}, func(Job) error { n++; return nil }); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// The same key with the same order is one job, however often it is asked for; with another order it is refused.
func TestEnqueueOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(1, 10)
		ctx, o := t.Context(), w.order(transfer.DeleteNever)
		first, made, err := w.svc.EnqueueOnce(ctx, "key", o)
		if err != nil || !made || first.State != Queued {
			t.Fatalf("%+v, %v, %v", first, made, err)
		}
		again := o
		again.Account, again.Priority = DefaultAccount, Normal // what the defaults say
		j, made, err := w.svc.EnqueueOnce(ctx, "key", again)
		if err != nil || made || j.ID != first.ID {
			t.Errorf("again: %s, %v, %v; want %s", j.ID, made, err, first.ID)
		}
		other := o
		other.Label = "other"
		var oe *OrderError
		if _, made, err := w.svc.EnqueueOnce(ctx, "key", other); !errors.As(err, &oe) || oe.Field != "idempotency-key" || oe.Hint == "" || made {
			t.Errorf("another order: %v, %v", made, err)
		}
		if j, made, err := w.svc.EnqueueOnce(ctx, "key2", o); err != nil || !made || j.ID == first.ID {
			t.Errorf("another key: %s, %v, %v", j.ID, made, err)
		}
		if n := w.jobCount(); n != 2 {
			t.Errorf("%d jobs, want 2", n)
		}
		if left := w.store.Client().TTL(ctx, keyOnce("key")).Val(); left <= 23*time.Hour || left > onceKept {
			t.Errorf("the key is kept for %s, want a day", left)
		}
	})
}

// A key whose job was removed makes no second one.
func TestEnqueueOnceAfterRemove(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.order(transfer.DeleteNever)
		j, _, err := w.svc.EnqueueOnce(ctx, "key", o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Cancel(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.Remove(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
		var oe *OrderError
		if _, made, err := w.svc.EnqueueOnce(ctx, "key", o); !errors.As(err, &oe) || oe.Field != "idempotency-key" || made || w.jobCount() != 0 {
			t.Errorf("%v, %v, %d jobs", made, err, w.jobCount())
		}
	})
}

// A wrong order reserves nothing: it may be mended under the same key.
func TestEnqueueOnceOfAWrongOrder(t *testing.T) {
	w := newWorld(t, "")
	ctx, o := t.Context(), w.order(transfer.DeleteNever)
	wrong := o
	wrong.Source = w.src + "/nowhere"
	if _, _, err := w.svc.EnqueueOnce(ctx, "key", wrong); err == nil {
		t.Fatal("a source that doesn't exist was taken")
	}
	if _, made, err := w.svc.EnqueueOnce(ctx, "key", o); err != nil || !made {
		t.Errorf("the right order: %v, %v", made, err)
	}
}

func TestOnceKeys(t *testing.T) {
	w := newWorld(t, "")
	o := w.order(transfer.DeleteNever)
	for _, key := range []string{"", strings.Repeat("x", 256), "new\nline", "schlüssel", "nul\x00", "\x7f"} {
		var oe *OrderError
		if _, _, err := w.svc.EnqueueOnce(t.Context(), key, o); !errors.As(err, &oe) || oe.Field != "idempotency-key" || w.jobCount() != 0 {
			t.Errorf("key %q: %v", key, err)
		}
	}
	for _, key := range []string{"{x} y", strings.Repeat("~", 255)} {
		if _, made, err := w.svc.EnqueueOnce(t.Context(), key, o); err != nil || !made {
			t.Errorf("key %q: %v, %v", key, made, err)
		}
	}
}

// Of many calls at once, from several processes, one makes the job, and all get it.
func TestEnqueueOnceAtTheSameTime(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		ids, made := map[string]bool{}, 0
		var all sync.WaitGroup
		for range 4 {
			s := w.service(nil)
			for range 4 {
				all.Go(func() {
					j, m, err := s.EnqueueOnce(t.Context(), "key", w.order(transfer.DeleteNever))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					ids[j.ID] = true
					if m {
						made++
					}
				})
			}
		}
		all.Wait()
		if len(ids) != 1 || made != 1 || w.jobCount() != 1 {
			t.Errorf("%d IDs, made %d times, %d jobs", len(ids), made, w.jobCount())
		}
	})
}

// cutOff is a store whose caller is gone when the job has just been stored.
type cutOff struct {
	Store
	cancel context.CancelFunc
}

func (c *cutOff) Replicated(context.Context) error { c.cancel(); return nil }

// forgetful is a store in which maintenance gives a new ID up at the very moment when it becomes a job.
type forgetful struct {
	Store
	w *world
}

func (f *forgetful) Replicated(ctx context.Context) error {
	p := f.w.store.Client().Pipeline()
	p.Del(ctx, keyIndex, keyDue, keyAccount(DefaultAccount))
	_, err := p.Exec(ctx)
	return err
}

// A job whose reservation was old and given up is listed all the same.
func TestEnqueueOnceIsNotForgotten(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		s, err := New(Config{Store: &forgetful{w.store, w}, Ledger: w.ledger, Log: w.log})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		j, made, err := s.EnqueueOnce(t.Context(), "key", w.order(transfer.DeleteNever))
		if err != nil || !made || w.jobCount() != 1 {
			t.Errorf("%s, made %v, %v, %d jobs", j.ID, made, err, w.jobCount())
		}
		if _, err := w.store.Client().ZScore(t.Context(), keyDue, j.ID).Result(); err != nil {
			t.Errorf("maintenance doesn't look at it: %v", err)
		}
	})
}

// A call that is cut off between its steps, as by a crash, leaves nothing that keeps the next one from ending with one job.
func TestEnqueueOnceAfterACrash(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx, o := t.Context(), w.order(transfer.DeleteNever)
		digest, err := digestOf(o)
		if err != nil {
			t.Fatal(err)
		}
		crashes := map[string]func(key string) error{
			"reserved": func(key string) error {
				_, err := w.svc.reserve(ctx, key, digest)
				return err
			},
			"indexed": func(key string) error {
				r, err := w.svc.reserve(ctx, key, digest)
				return errors.Join(err, w.svc.index(ctx, r.id, DefaultAccount))
			},
			"given up by maintenance": func(key string) error {
				r, err := w.svc.reserve(ctx, key, digest)
				p := w.store.Client().Pipeline()
				p.ZRem(ctx, keyIndex, r.id)
				p.ZRem(ctx, keyDue, r.id)
				_, e := p.Exec(ctx)
				return errors.Join(err, e)
			},
			"stored": func(key string) error {
				gone, cancel := context.WithCancel(ctx)
				s, err := New(Config{Store: &cutOff{w.store, cancel}, Ledger: w.ledger, Log: w.log})
				if err != nil {
					return err
				}
				defer s.Close()
				if _, _, err := s.EnqueueOnce(gone, key, o); err == nil {
					return errors.New("the call wasn't cut off")
				}
				return nil
			},
		}
		for name, crash := range crashes {
			had := w.jobCount()
			if err := crash(name); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			a, madeA, err := w.svc.EnqueueOnce(ctx, name, o)
			if err != nil || madeA != (name != "stored") {
				t.Errorf("%s: made %v, %v", name, madeA, err)
			}
			b, madeB, err := w.svc.EnqueueOnce(ctx, name, o)
			if err != nil || madeB || a.ID != b.ID || w.jobCount() != had+1 {
				t.Errorf("%s: %s and %s, made %v, %v, %d jobs more", name, a.ID, b.ID, madeB, err, w.jobCount()-had)
			}
			if j, err := w.svc.Get(ctx, a.ID); err != nil || j.State != Queued {
				t.Errorf("%s: %+v, %v", name, j, err)
			}
		}
	})
}
