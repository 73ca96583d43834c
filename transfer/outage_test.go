package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// errRefused is what a client meets whose network, or whose server, is gone.
var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// awayFs is a remote that answers nothing while it is away.
type awayFs struct {
	fs.Fs
	err   error
	away  atomic.Bool
	lists atomic.Int64 // of the root, while it was away
	met   atomic.Int64 // other calls then
	began atomic.Bool
	flaps string // the file whose uploads each meet an outage once they have read all of it
	never string // the file that no upload of succeeds
	last  string // the file whose upload meets the beginning of an outage
}

// Features leaves out the other ways to list.
func (f *awayFs) Features() *fs.Features {
	features := *f.Fs.Features()
	features.ListP, features.ListR = nil, nil
	return &features
}

func (f *awayFs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	if f.away.Load() {
		if f.lists.Add(1); dir != "" {
			f.met.Add(1)
		}
		return nil, f.err
	}
	return f.Fs.List(ctx, dir)
}

func (f *awayFs) NewObject(ctx context.Context, p string) (fs.Object, error) {
	if f.away.Load() {
		f.met.Add(1)
		return nil, f.err
	}
	return f.Fs.NewObject(ctx, p)
}

func (f *awayFs) Put(ctx context.Context, in io.Reader, o fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
	if o.Remote() == f.last && f.began.CompareAndSwap(false, true) {
		f.away.Store(true)
	}
	if o.Remote() == f.flaps {
		_, _ = io.Copy(io.Discard, in)
		if err := transfer.Sleep(ctx, time.Minute); err != nil {
			return nil, err
		}
		f.away.Store(true)
		time.AfterFunc(10*time.Second, func() { f.away.Store(false) })
	}
	if f.away.Load() || o.Remote() == f.never {
		f.met.Add(1)
		return nil, f.err
	}
	return f.Fs.Put(ctx, in, o, opts...)
}

// awayWorld is a world of n files with slots for all of them, whose remotes can go away.
func awayWorld(t *testing.T, n int) (w *world, src, dst *awayFs) {
	s, d := newRemote(t, "memory"), newRemote(t, "memory")
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("f%03d", i))
		put(t, s, names[i], "content of "+names[i], day)
	}
	src, dst = &awayFs{Fs: s, err: errRefused}, &awayFs{Fs: d, err: errRefused}
	w = &world{t: t, src: s, dst: d, entries: entriesOf(t, s, names...), meter: &memMeter{}, journal: newJournal(n)}
	w.pair = transfer.NewPair(src, dst, transfer.Options{})
	return w, src, dst
}

// turns runs the batch as a job would: again and again, until nothing is pending.
func (w *world) turns(ctx context.Context, slots int) (turns int) {
	for {
		turns++
		env := w.env()
		env.Slots = newSlots(slots)
		rep, err := w.pair.RunBatch(ctx, w.batch(), env)
		if err != nil {
			w.t.Fatal(err)
		}
		if rep.Pending == 0 {
			return turns
		}
	}
}

// A remote that is away for a quarter of an hour costs no file its attempts, and is asked by one of all who wait, ever
// more seldom.
func TestAnOutageIsWaitedOut(t *testing.T) {
	for name, err := range map[string]error{
		"refused":   errRefused,
		"no name":   &net.DNSError{Err: "no such host", Name: "example.com", IsNotFound: true},
		"timed out": os.ErrDeadlineExceeded,
		"cut":       io.ErrUnexpectedEOF,
		"503":       errors.New("list: 503 Service Unavailable"),
		"502":       errors.New("HTTP error 502 (502 Bad Gateway) returned body: \"\""),
	} {
		for _, side := range []string{transfer.SideSource, transfer.SideDest} {
			t.Run(name+" "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, src, dst := awayWorld(t, 128)
					out := map[string]*awayFs{transfer.SideSource: src, transfer.SideDest: dst}[side]
					out.err = err
					out.away.Store(true)
					began := time.Now()
					time.AfterFunc(10*time.Minute, func() {
						if all := w.pair.Outages(); len(all) != 1 || all[0].Side != side || all[0].Why == "" || all[0].Since.Sub(began) > time.Minute {
							t.Errorf("told of %+v", all)
						}
					})
					time.AfterFunc(15*time.Minute, func() { out.away.Store(false) })
					turns := w.turns(t.Context(), 128)
					for i, o := range w.journal.Done() {
						if o.Result != transfer.Copied {
							t.Fatalf("%s: %+v", w.entries[i].Path, o)
						}
					}
					if took := time.Since(began); took < 15*time.Minute || took > 17*time.Minute {
						t.Errorf("took %v", took)
					}
					if n := out.lists.Load(); n < 5 || n > 40 {
						t.Errorf("asked %d times", n)
					}
					if n := out.met.Load(); n > 5*128 {
						t.Errorf("%d calls were made meanwhile", n)
					}
					if len(w.pair.Outages()) != 0 {
						t.Error("still told")
					}
					t.Logf("%d questions, %d other calls, %d turns", out.lists.Load(), out.met.Load(), turns)
				})
			})
		}
	}
}

// The file that alone can't be sent is to blame itself: it fails, and the others are done.
func TestOneFileIsToBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, dst := awayWorld(t, 20)
		dst.never = "f007"
		if turns := w.turns(t.Context(), 20); turns != 1 {
			t.Errorf("%d turns", turns)
		}
		for i, o := range w.journal.Done() {
			if want := w.entries[i].Path == "f007"; (o.Result == transfer.Failed) != want || want && o.Code != transfer.CodeGaveUp {
				t.Errorf("%s: %+v", w.entries[i].Path, o)
			}
		}
		if n := dst.met.Load(); n != 8 {
			t.Errorf("%d attempts, want 8", n)
		}
	})
}

// hostsFs is a remote whose content lies on hosts of its own. They can't be connected to until a time.
type hostsFs struct {
	*awayFs
	till  time.Time
	opens atomic.Int64
}

func (f *hostsFs) NewObject(ctx context.Context, p string) (fs.Object, error) {
	o, err := f.awayFs.NewObject(ctx, p)
	return hostsObject{o, f}, err
}

func (f *hostsFs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	all, err := f.awayFs.List(ctx, dir)
	for i, e := range all {
		if o, ok := e.(fs.Object); ok {
			all[i] = hostsObject{o, f}
		}
	}
	return all, err
}

type hostsObject struct {
	fs.Object
	f *hostsFs
}

func (o hostsObject) Fs() fs.Info { return o.f }

func (o hostsObject) Open(ctx context.Context, opts ...fs.OpenOption) (io.ReadCloser, error) {
	if time.Now().Before(o.f.till) {
		o.f.opens.Add(1)
		return nil, errRefused
	}
	return o.Object.Open(ctx, opts...)
}

// The hosts that keep the content are away for ten minutes while the others answer: it is waited for them, for no more than
// half an hour.
func TestTheHostsOfTheContentAreAway(t *testing.T) {
	for away, want := range map[time.Duration]transfer.Result{10 * time.Minute: transfer.Copied, 2 * time.Hour: transfer.Failed} {
		synctest.Test(t, func(t *testing.T) {
			w, src, dst := awayWorld(t, 4)
			hosts := &hostsFs{awayFs: src, till: time.Now().Add(away)}
			w.pair = transfer.NewPair(hosts, dst, transfer.Options{})
			began := time.Now()
			w.turns(t.Context(), 4)
			for i, o := range w.journal.Done() {
				if o.Result != want {
					t.Errorf("away for %v: %s: %+v", away, w.entries[i].Path, o)
				}
			}
			if took := time.Since(began); took < 10*time.Minute || took > 40*time.Minute {
				t.Errorf("away for %v: it took %v", away, took)
			}
			if n := hosts.opens.Load(); n < 4*8 || n > 4*40 {
				t.Errorf("away for %v: %d attempts", away, n)
			}
		})
	}
}

// endlessFs is a remote whose root takes longer to list than any question waits; its first page comes soon.
type endlessFs struct {
	*awayFs
	fails atomic.Int64 // so many uploads fail before others don't
}

func (f *endlessFs) Features() *fs.Features {
	features := *f.awayFs.Features()
	features.ListP = func(ctx context.Context, dir string, page fs.ListRCallback) error {
		for range 100 {
			if err := transfer.Sleep(ctx, time.Second); err != nil {
				return err
			}
			if err := page(nil); err != nil {
				return err
			}
		}
		return nil
	}
	return &features
}

func (f *endlessFs) List(ctx context.Context, dir string) (all fs.DirEntries, err error) {
	err = f.Features().ListP(ctx, dir, func(fs.DirEntries) error { return nil })
	return nil, err
}

func (f *endlessFs) Put(ctx context.Context, in io.Reader, o fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
	if f.fails.Add(-1) >= 0 {
		return nil, f.err
	}
	return f.awayFs.Put(ctx, in, o, opts...)
}

// A remote whose root is too large to be listed in the time of a question isn't taken for one that doesn't answer.
func TestALargeRootAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, src, dst := awayWorld(t, 3)
		slow := &endlessFs{awayFs: dst}
		slow.fails.Store(1)
		w.pair = transfer.NewPair(src, slow, transfer.Options{})
		rep, err := w.pair.RunBatch(t.Context(), transfer.Batch{Entries: w.entries}, w.env())
		if err != nil || rep.Pending > 0 || len(w.pair.Outages()) > 0 {
			t.Errorf("%+v, %v, away: %+v", rep, err, w.pair.Outages())
		}
	})
}

// What was seen before an outage is looked at anew after it, though the attempt that it ended doesn't count.
func TestAfterAnOutageFilesAreLookedAtAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, src, dst := awayWorld(t, 8)
		w.pair.Opt.DeleteSource, w.pair.Opt.MinGrade = transfer.DeleteVerified, transfer.GradeB
		dst.last = "f003"
		time.AfterFunc(20*time.Second, func() {
			put(t, src.Fs, "f003", "CONTENT OF f003", day.Add(time.Hour))
			dst.away.Store(false)
		})
		if rep, err := w.pair.RunBatch(t.Context(), w.batch(), w.env()); err != nil || rep.Pending > 0 {
			t.Fatalf("%+v, %v", rep, err)
		}
		if o := w.outcome("f003"); o.Source != transfer.Deleted || readAll(t, w.dst)["f003"] != "CONTENT OF f003" {
			t.Errorf("%+v", o)
		}
	})
}

// A connection that breaks again and again under a file costs no more of the allowance than a few times that file: then its
// attempts count.
func TestOutagesDontCostTheAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, dst := awayWorld(t, 1)
		dst.flaps = "f000"
		w.pair = w.pair.Attempts(5)
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		rep, err := w.pair.RunBatch(ctx, w.batch(), w.env())
		if o := w.outcome("f000"); err != nil || rep.Pending > 0 || o.Code != transfer.CodeGaveUp || o.Wasted > 20*w.entries[0].Size {
			t.Errorf("%+v, %v, %+v", rep, err, o)
		}
	})
}

// halfFs is a remote whose uploads can be seen half done. An outage begins when the first of them is looked for.
type halfFs struct{ *awayFs }

func (f halfFs) Features() *fs.Features {
	features := *f.awayFs.Features()
	features.PartialUploads = true
	features.Move = func(ctx context.Context, o fs.Object, to string) (fs.Object, error) {
		moved, err := f.Fs.Features().Copy(ctx, o, to)
		if err != nil {
			return nil, err
		}
		return moved, o.Remove(ctx)
	}
	return &features
}

func (f halfFs) NewObject(ctx context.Context, p string) (fs.Object, error) {
	if strings.HasSuffix(p, transfer.PartialSuffix) && f.began.CompareAndSwap(false, true) {
		f.away.Store(true)
		time.AfterFunc(20*time.Second, func() { f.away.Store(false) })
	}
	return f.awayFs.NewObject(ctx, p)
}

// What an earlier claim left half done is removed after an outage that came in between.
func TestHalfUploadsAreRemovedAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, src, dst := awayWorld(t, 1)
		put(t, dst.Fs, transfer.PartialNameOf("f000", "earlier"), "half", day)
		w.pair = transfer.NewPair(src, halfFs{dst}, transfer.Options{})
		env := w.env()
		env.Owner, env.Former = "now", []string{"earlier"}
		rep, err := w.pair.RunBatch(t.Context(), w.batch(), env)
		if all := readAll(t, w.dst); err != nil || rep.Pending > 0 || len(all) != 1 || all["f000"] == "" {
			t.Errorf("%+v, %v: the destination holds %v", rep, err, all)
		}
	})
}

// Unknown trouble isn't taken for an outage, nor what a remote refuses.
func TestWhatIsAnOutage(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errRefused, true}, {fmt.Errorf("upload: %w", io.ErrUnexpectedEOF), true}, {transfer.ErrThrottled, true},
		{errors.New("429 Too Many Requests"), true}, {errors.New("500 Internal Server Error"), true},
		{nil, false}, {errInjected, false}, {errors.New("403 Forbidden"), false}, {errors.New("error 401"), false},
		{transfer.ErrNoQuota, false}, {fs.ErrorDirNotFound, false}, {fs.ErrorPermissionDenied, false},
		{transfer.SpoolError(syscall.ENOSPC), false},
	} {
		if got := transfer.Unreachable(context.Background(), c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestWhySilentIsShortAndWithoutAddresses(t *testing.T) {
	for want, err := range map[string]error{
		"connection refused": fmt.Errorf("list: %w", errRefused),
		"no answer in time":  fmt.Errorf("list: %w", context.DeadlineExceeded),
		"its address can't be found: is this machine online?": fmt.Errorf("list: %w", &net.DNSError{Err: "no such host", Name: "secret.example.com"}),
	} {
		if got := transfer.WhySilent(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whoever waits for a remote ends at once when the job is stopped, or the lease is lost; nothing is recorded.
func TestAWaitEndsWithTheJob(t *testing.T) {
	lost := errors.New("the lease was lost")
	for _, stopped := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, _, dst := awayWorld(t, 20)
			dst.away.Store(true)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			env, halt := w.env(), make(chan struct{})
			env.Slots, env.Stopping = newSlots(20), halt
			began := time.Now()
			time.AfterFunc(30*time.Second, func() {
				if stopped {
					close(halt)
				} else {
					cancel(lost)
				}
			})
			rep, err := w.pair.RunBatch(ctx, w.batch(), env)
			if stopped != (err == nil) || !stopped && !errors.Is(err, lost) || rep.Pending != 20 {
				t.Errorf("%+v, %v", rep, err)
			}
			if took := time.Since(began); took > 31*time.Second {
				t.Errorf("took %v", took)
			}
			if err := w.meter.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pause before another attempt ends with the job too.
func TestARetryPauseEndsWithTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, dst := awayWorld(t, 1)
		dst.never, dst.err = "f000", errInjected
		env, halt := w.env(), make(chan struct{})
		env.Stopping = halt
		began := time.Now()
		time.AfterFunc(3*time.Second, func() { close(halt) })
		rep, err := w.pair.RunBatch(t.Context(), w.batch(), env)
		if took := time.Since(began); err != nil || rep.Pending != 1 || took > 3*time.Second+100*time.Millisecond {
			t.Errorf("%+v, %v after %v", rep, err, took)
		}
	})
}

// A patient scan waits for both remotes; one of a plan doesn't.
func TestAScanWaitsForItsRemotes(t *testing.T) {
	for _, patient := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, src, dst := awayWorld(t, 5)
			src.away.Store(true)
			dst.away.Store(true)
			time.AfterFunc(20*time.Minute, func() { src.away.Store(false); dst.away.Store(false) })
			found := 0
			res, err := w.pair.Scan(t.Context(), transfer.ScanOptions{Patient: patient}, func(c transfer.Chunk) error {
				found += len(c.Entries)
				return nil
			})
			if patient && (err != nil || !res.Complete || found != 5) {
				t.Errorf("found %d, %+v, %v", found, res, err)
			}
			if !patient && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("an impatient scan ended with %v", err)
			}
			if n, m := src.lists.Load(), dst.lists.Load(); n < 3 || n > 60 || m < 3 || m > 60 {
				t.Errorf("asked %d and %d times", n, m)
			}
		})
	}
}

// Deletions that were held back wait as well: what is proved stays so.
func TestDeletionsWaitForTheirRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, src, _ := awayWorld(t, 5)
		w.pair.Opt.DeleteSource = transfer.DeleteComplete
		if rep, err := w.pair.RunBatch(t.Context(), w.batch(), w.env()); err != nil || rep.Pending > 0 {
			t.Fatal(rep, err)
		}
		src.away.Store(true)
		time.AfterFunc(20*time.Second, func() { src.away.Store(false) }) // it is asked again well within a turn
		rep, err := w.pair.DeleteProved(t.Context(), w.batch(), w.env(), -1)
		if err != nil || rep.Pending > 0 || len(readAll(t, w.src)) != 0 {
			t.Errorf("%+v, %v, %d left", rep, err, len(readAll(t, w.src)))
		}
		for _, o := range w.journal.Done() {
			if o.Source != transfer.Deleted {
				t.Errorf("%+v", o)
			}
		}
	})
}
