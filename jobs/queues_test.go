package jobs

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"offload/transfer"
)

// queueOf is one queue of what Queues tells.
func (w *world) queueOf(name string) (QueueInfo, QueueFacts) {
	w.t.Helper()
	f, err := w.svc.Queues(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, q := range f.Queues {
		if q.Name == name {
			return q, f
		}
	}
	w.t.Fatalf("there is no queue %s in %+v", name, f.Queues)
	return QueueInfo{}, f
}

// What Queues reads from asynq's keys is what asynq itself tells of them: another version of it with other keys is noticed.
func TestQueuesTellWhatAsynqTells(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		if q, f := w.queueOf("normal"); q.Waiting != 0 || q.Oldest != nil || f.OldestQueued != nil || len(f.Queues) != 3*jobVersion {
			t.Errorf("an empty store: %+v, %+v", q, f)
		}
		w.tree(1, 10)
		var first Job
		for i := range 3 {
			if j := w.enqueue(w.order(transfer.DeleteNever)); i == 0 {
				first = j
			}
		}
		o := w.order(transfer.DeleteNever)
		o.Account, o.Priority = "anna", High
		w.enqueue(o)
		if err := w.svc.ring.enter(ctx, "normal", "berta", "a job", 7); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.tasks.EnqueueContext(ctx, asynq.NewTask("x", nil), asynq.Queue("low"), asynq.ProcessIn(time.Hour)); err != nil {
			t.Fatal(err)
		}
		q, f := w.queueOf("normal")
		in := asynq.NewInspector(w.store)
		defer in.Close()
		want, err := in.GetQueueInfo("normal")
		if err != nil {
			t.Fatal(err)
		}
		if q.Waiting != 3 || int(q.Waiting) != want.Pending || int(q.Active) != want.Active || q.Oldest == nil ||
			time.Duration(q.Latency*float64(time.Second))-want.Latency > time.Second || q.Latency > 60 {
			t.Errorf("%+v, want %+v", q, want)
		}
		if q.Owed != 7 || q.Accounts != 2 || len(q.Ring) != 2 || q.Lane != Normal || q.Version != 1 {
			t.Errorf("%+v", q)
		}
		for _, seat := range q.Ring {
			if wantJobs := map[string]int64{"default": 3, "berta": 1}[seat.Account]; seat.Jobs != wantJobs {
				t.Errorf("%+v, want %d jobs", seat, wantJobs)
			}
		}
		if low, _ := w.queueOf("low"); low.Scheduled != 1 {
			t.Errorf("%+v", low)
		}
		if f.OldestQueued == nil || f.OldestQueued.Sub(first.Created).Abs() > 2*time.Second {
			t.Errorf("the oldest queued job is of %v, want %v", f.OldestQueued, first.Created)
		}
		if len(f.Store) != 1 || f.Store[0].Policy == "" || f.Store[0].Version == "" {
			t.Errorf("%+v", f.Store)
		}
		w.worker(w.svc, WorkerOptions{})
		w.reach(first.ID, Completed)
		until(t, "tickets were processed and nothing is queued", func() bool {
			q, f := w.queueOf("normal")
			return q.Processed >= 3 && q.Waiting == 0 && q.Owed == 0 && f.OldestQueued == nil
		})
	})
}

// The queue of a foreground process is named by its job, after the lanes; lanes of newer versions stand before older ones.
func TestQueueNames(t *testing.T) {
	got := queueNames([]string{"run-01J", "normal-v2", "normal", "high-vx", "low-v3"}, 2)
	want := []string{"high-v2", "high", "normal-v2", "normal", "low-v3", "low-v2", "low", "high-vx", "run-01J"}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

func TestReadInfo(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want StoreNode
	}{
		"nothing is told": {"", StoreNode{Memory: -1, MemoryMax: -1, FileBytes: -1, Clients: -1, Replicas: -1, Lag: -1, UptimeDays: -1}},
		"a master with replicas": {
			"# Server\r\nredis_version:7.2.4\r\nredis_mode:standalone\r\nuptime_in_seconds:43200\r\nused_memory:1000\r\nmaxmemory:0\r\n" +
				"maxmemory_policy:noeviction\r\naof_enabled:1\r\naof_current_size:5\r\naof_last_write_status:err\r\nconnected_clients:3\r\nrole:master\r\n" +
				"connected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\nslave1:ip=10.0.0.3,port=6379,state=online,offset=1,lag=4\r\n",
			StoreNode{Version: "7.2.4", Mode: "standalone", Role: "master", Memory: 1000, Policy: "noeviction", AppendOnly: "yes", FileBytes: 5,
				WriteFailed: true, Clients: 3, Replicas: 2, Lag: 4, UptimeDays: 0.5}},
		"the embedded store": {"redis_version:7.4.0\r\noffload_embedded:1\r\nmaxmemory_policy:noeviction\r\naof_enabled:0\r\n",
			StoreNode{Embedded: true, Version: "7.4.0", Policy: "noeviction", AppendOnly: "no", Memory: -1, MemoryMax: -1, FileBytes: -1, Clients: -1,
				Replicas: -1, Lag: -1, UptimeDays: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := readInfo(c.text, ""); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
