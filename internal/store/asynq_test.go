package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"offload/internal/redistest"
)

// TestAsynq drives asynq through everything that the queue is used for.
func TestAsynq(t *testing.T) {
	test := func(t *testing.T, s *Store) {
		var opt asynq.RedisConnOpt = s
		var failures, scheduled atomic.Int32
		done := make(chan string, 100)
		started, canceled := make(chan struct{}), make(chan struct{})
		mux := asynq.NewServeMux()
		mux.HandleFunc("plain", func(_ context.Context, task *asynq.Task) error {
			_, err := task.ResultWriter().Write([]byte("\x00result"))
			done <- string(task.Payload())
			return err
		})
		mux.HandleFunc("retry", func(context.Context, *asynq.Task) error {
			if failures.Add(1) < 3 {
				return errors.New("not yet")
			}
			done <- "retried"
			return nil
		})
		mux.HandleFunc("later", func(context.Context, *asynq.Task) error {
			scheduled.Add(1)
			done <- "later"
			return nil
		})
		mux.HandleFunc("long", func(ctx context.Context, _ *asynq.Task) error {
			close(started)
			<-ctx.Done()
			close(canceled)
			return asynq.RevokeTask
		})
		srv := asynq.NewServer(opt, asynq.Config{
			Concurrency: 4, TaskCheckInterval: 10 * time.Millisecond, DelayedTaskCheckInterval: 50 * time.Millisecond,
			RetryDelayFunc:  func(int, error, *asynq.Task) time.Duration { return 0 },
			ShutdownTimeout: time.Second, LogLevel: asynq.FatalLevel,
		})
		c := asynq.NewClient(opt)
		defer c.Close()
		in := asynq.NewInspector(opt)
		defer in.Close()

		enqueue := func(name, payload string, opts ...asynq.Option) error {
			_, err := c.EnqueueContext(t.Context(), asynq.NewTask(name, []byte(payload)), opts...)
			return err
		}
		if err := errors.Join(
			enqueue("plain", "\x00\xffbytes", asynq.TaskID("one"), asynq.Retention(time.Hour)),
			enqueue("retry", "", asynq.MaxRetry(5)),
			enqueue("later", "", asynq.ProcessIn(200*time.Millisecond)),
			enqueue("long", "", asynq.TaskID("long")),
		); err != nil {
			t.Fatal(err)
		}
		if err := enqueue("plain", "again", asynq.TaskID("one")); !errors.Is(err, asynq.ErrTaskIDConflict) {
			t.Errorf("a second task of the same ID: %v", err)
		}
		if err := srv.Start(mux); err != nil {
			t.Fatal(err)
		}
		defer srv.Shutdown()
		for range 3 {
			select {
			case got := <-done:
				t.Logf("done: %q", got)
			case <-time.After(30 * time.Second):
				t.Fatal("a task wasn't done")
			}
		}
		<-started
		eventually(t, "the cancelation arrives", func() bool {
			if err := in.CancelProcessing("long"); err != nil {
				t.Fatal(err)
			}
			select {
			case <-canceled:
				return true
			default:
				return false
			}
		})
		if failures.Load() != 3 || scheduled.Load() != 1 {
			t.Errorf("%d runs of the failing task, %d of the scheduled one", failures.Load(), scheduled.Load())
		}
		eventually(t, "the first task is kept as completed", func() bool {
			info, err := in.GetTaskInfo("default", "one")
			return err == nil && info.State == asynq.TaskStateCompleted && string(info.Result) == "\x00result"
		})
		inspect(t, in, enqueue)
	}
	backends(t, test)
	t.Run("sentinel", func(t *testing.T) { test(t, openAt(t, redistest.StartSentinel(t).URL())) })
	t.Run("cluster", func(t *testing.T) { test(t, openAt(t, redistest.StartCluster(t).URL())) })
}

func inspect(t *testing.T, in *asynq.Inspector, enqueue func(string, string, ...asynq.Option) error) {
	t.Helper()
	for _, id := range []string{"a", "b", "c"} {
		if err := enqueue("plain", id, asynq.Queue("low"), asynq.TaskID(id)); err != nil {
			t.Fatal(err)
		}
	}
	q, err := in.GetQueueInfo("low")
	if err != nil || q.Pending != 3 {
		t.Fatalf("queue info: %+v, %v", q, err)
	}
	if err := errors.Join(in.ArchiveTask("low", "a"), in.DeleteTask("low", "b"), in.RunTask("low", "a"),
		in.PauseQueue("low"), in.UnpauseQueue("low")); err != nil {
		t.Error(err)
	}
	list, err := in.ListPendingTasks("low")
	if err != nil || len(list) != 2 {
		t.Errorf("pending tasks: %v, %v", list, err)
	}
	if _, err := in.History("low", 3); err != nil {
		t.Error(err)
	}
	if servers, err := in.Servers(); err != nil || len(servers) != 1 {
		t.Errorf("servers: %v, %v", servers, err)
	}
	if err := in.DeleteQueue("low", true); err != nil {
		t.Error(err)
	}
}
