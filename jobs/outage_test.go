package jobs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"offload/transfer"
)

func refused(side string) error {
	return &transfer.CheckError{Field: side, Err: fmt.Errorf("open: %w",
		&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})}
}

// Remotes that don't answer when they are opened are waited for, and the job tells which; other failures count.
func TestRemotesThatDontAnswerAreWaitedFor(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(20, 100)
		var tries atomic.Int64
		tries.Store(100) // the check of the order passes
		w.svc = w.service(func(ctx context.Context, src, dst string, o transfer.Options) (*transfer.Pair, error) {
			if tries.Add(1) <= 3 {
				return nil, refused(transfer.SideDest)
			}
			return transfer.Open(ctx, src, dst, o)
		})
		began := time.Now()
		id := w.enqueue(w.order(transfer.DeleteVerified)).ID
		tries.Store(0)
		w.worker(w.svc, WorkerOptions{})
		until(t, "the job tells what it waits for", func() bool {
			p, err := w.svc.Progress(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Job.Outages) == 0 {
				return false
			}
			if o := p.Job.Outages[0]; o.Remote != remoteOf(p.Job.Dest) || o.Why != "connection refused" || o.Since.Before(began.Add(-time.Second)) || p.Job.State != Scanning {
				t.Errorf("%+v of a job that is %s", o, p.Job.State)
			}
			return true
		})
		if j := w.reach(id, Completed, CompletedW, FailedState); j.State != Completed || len(j.Outages) != 0 {
			t.Errorf("%s: %s, %v", j.State, j.Error, j.Outages)
		}
	})
}

func TestAbsentRemotesNeverMakeAJobFail(t *testing.T) {
	w := newWorld(t, "")
	k := &worker{s: w.svc, log: w.log, name: "test", stopping: make(chan struct{})}
	j := w.enqueue(w.order(transfer.DeleteNever))
	till := time.Now().Add(time.Hour)
	for range maxFailures + 2 {
		if err := w.svc.feed(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		att, err := w.svc.client.HGet(t.Context(), string(keysOf(j.ID))+"att", unitScan).Int64()
		if err != nil {
			t.Fatal(err)
		}
		h, state, err := w.svc.scripts.claim(t.Context(), j.ID, unitScan, att, k.name, leaseTime)
		if err != nil || h.fence == "" {
			t.Fatalf("not claimed: %v, %s", err, state)
		}
		u := k.newUnit(h, time.Now())
		u.expires.Store(&till)
		time.AfterFunc(20*time.Millisecond, u.stop) // its waits needn't last
		if err := k.failed(t.Context(), u, absent(t.Context(), j, refused(transfer.SideSource))); err != nil {
			t.Fatal(err)
		}
	}
	if j, err := w.svc.Get(t.Context(), j.ID); err != nil || j.State != Scanning || j.Error != "" {
		t.Errorf("%s (%s), %v", j.State, j.Error, err)
	}
}

func TestAbsent(t *testing.T) {
	j := Job{Source: "icloud:a", Dest: "dropbox:b"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{refused(transfer.SideSource), "icloud:"}, {refused(transfer.SideDest), "dropbox:"},
		{&transfer.CheckError{Field: transfer.SideSource, Err: syscall.ECONNREFUSED, Final: true}, ""},
		{&transfer.CheckError{Field: transfer.SideSource, Err: errors.New("who knows")}, ""},
		{syscall.ECONNREFUSED, ""}, // of the store, say
	} {
		var a *absentError
		errors.As(absent(t.Context(), j, c.err), &a)
		if got := ""; a != nil && a.remote != c.want || a == nil && got != c.want {
			t.Errorf("%v: %+v, want %q", c.err, a, c.want)
		}
	}
}

func TestOutagesOfSeveralWorkersAreToldOnce(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 31, 0, 0, time.UTC)
	all := addOutage(nil, Outage{"icloud:", at.Add(time.Minute), "late"}, Outage{"dropbox:", at, "x"}, Outage{"icloud:", at, "first"})
	if len(all) != 2 || all[0].Remote != "dropbox:" || all[1].Why != "first" {
		t.Errorf("%+v", all)
	}
}

// A job whose remote doesn't answer doesn't take every other turn from those that could move something in that time.
func TestAJobThatWaitsForARemotePaysForItsPlace(t *testing.T) {
	w := newWorld(t, "")
	w.tree(300, 10)
	var gone atomic.Bool
	silent, tries := w.dst+"silent", atomic.Int64{}
	w.svc = w.service(func(ctx context.Context, src, dst string, o transfer.Options) (*transfer.Pair, error) {
		if dst == silent && gone.Load() {
			tries.Add(1)
			return nil, refused(transfer.SideDest)
		}
		return transfer.Open(ctx, src, dst, o)
	})
	o := w.order(transfer.DeleteNever)
	o.Dest = silent
	w.enqueue(o)
	gone.Store(true)
	id := w.enqueue(w.order(transfer.DeleteNever)).ID
	w.worker(w.svc, WorkerOptions{Batches: 1})
	w.reach(id, Completed)
	if n := tries.Load(); n > 5 {
		t.Errorf("the other job had %d turns meanwhile", n)
	}
}
