package jobs

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// Variables that make a process of this test one that is killed.
const (
	onceURLEnv   = "OFFLOAD_TEST_ONCE_URL"   // Redis
	onceSrcEnv   = "OFFLOAD_TEST_ONCE_SRC"   // the order's source
	onceDstEnv   = "OFFLOAD_TEST_ONCE_DST"   // and its destination
	onceCallsEnv = "OFFLOAD_TEST_ONCE_CALLS" // calls after which it is killed
)

// suicide kills this process after so many calls of the store.
type suicide struct{ left atomic.Int64 }

func (s *suicide) after() {
	if s.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

func (s *suicide) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *suicide) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		s.after()
		return err
	}
}

func (s *suicide) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		s.after()
		return err
	}
}

// onceChild is the process that is killed. It does nothing where the test isn't its parent's.
func onceChild(t *testing.T) bool {
	url := os.Getenv(onceURLEnv)
	if url == "" {
		return false
	}
	w := newWorld(t, url)
	calls, err := strconv.ParseInt(os.Getenv(onceCallsEnv), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	w.src, w.dst = os.Getenv(onceSrcEnv), os.Getenv(onceDstEnv)
	end := &suicide{}
	end.left.Store(calls)
	w.store.Client().AddHook(end)
	if _, _, err := w.svc.EnqueueOnce(t.Context(), "key"+strconv.FormatInt(calls, 10), w.order(transfer.DeleteNever)); err != nil {
		t.Fatal(err)
	}
	return true
}

// A process that is killed after any of the calls of EnqueueOnce leaves one job in the end, or none until the next call.
func TestEnqueueOnceKilledAtEachCall(t *testing.T) {
	if onceChild(t) {
		return
	}
	url := startRedis(t)
	w := newWorld(t, url)
	killed := 0
	for calls := int64(1); ; calls++ {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestEnqueueOnceKilledAtEachCall$")
		child.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), onceURLEnv+"="+url, onceSrcEnv+"="+w.src, onceDstEnv+"="+w.dst, onceCallsEnv+"="+strconv.FormatInt(calls, 10))
		out, err := child.CombinedOutput()
		if err == nil {
			break // it got through
		}
		if st, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
			t.Fatalf("after call %d: %v\n%s", calls, err, out)
		}
		killed++
		had := w.jobCount()
		key, o := "key"+strconv.FormatInt(calls, 10), w.order(transfer.DeleteNever)
		a, madeA, err := w.svc.EnqueueOnce(t.Context(), key, o)
		if err != nil || a.State != Queued {
			t.Fatalf("killed after call %d: %+v, %v", calls, a, err)
		}
		b, madeB, err := w.svc.EnqueueOnce(t.Context(), key, o)
		if err != nil || madeB || b.ID != a.ID {
			t.Errorf("killed after call %d: %s and %s, made %v, %v", calls, a.ID, b.ID, madeB, err)
		}
		if now, want := w.jobCount(), calls; now != want || madeA != (now > had) {
			t.Errorf("killed after call %d: %d jobs, %d before, made %v; want %d", calls, now, had, madeA, want)
		}
	}
	if killed < 5 {
		t.Errorf("killed %d times alone: are the calls counted?", killed)
	}
}
