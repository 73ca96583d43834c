package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestOnlyAWorkerOfThisContainerThatReportsCountsAsAliveHere(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		own := strings.Split(w.svc.self, ":")
		name := func(host, space, pid string) string { return host + ":" + space + ":" + pid + ":RANDOM" }
		in, ago := time.Now().Add(leaseTime), time.Now().Add(-time.Second)
		for _, c := range []struct {
			is    string
			name  string
			until time.Time
			alive bool
		}{
			{"another container", name("another", own[1], own[2]), in, false},
			{"before this container was restarted", name(own[0], own[1]+"0", own[2]), in, false},
			{"silent for too long", name(own[0], own[1], own[2]), ago, false},
			{"dead", name(own[0], own[1], "4194304"), in, false}, // above the largest process ID of Linux
			{"no name of ours", own[0], in, false},
			{"alive", name(own[0], own[1], own[2]), in, true},
		} {
			if err := w.store.Client().Del(t.Context(), keyWorkers).Err(); err != nil {
				t.Fatal(err)
			}
			if err := w.store.Client().ZAdd(t.Context(), keyWorkers, redis.Z{Score: float64(c.until.UnixMilli()), Member: c.name}).Err(); err != nil {
				t.Fatal(err)
			}
			got, err := w.svc.WorkerHere(t.Context())
			if want := map[bool]string{true: own[0] + "/" + own[2]}[c.alive]; err != nil || got != want {
				t.Errorf("%s: got %q, %v; want %q", c.is, got, err, want)
			}
		}
	})
}

func TestAWorkerIsAliveHereFromItsStartToItsStop(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		here := func() string {
			name, err := w.svc.WorkerHere(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return name
		}
		if here() != "" {
			t.Fatal("a worker is alive before one was started")
		}
		stop := w.worker(w.svc, WorkerOptions{})
		until(t, "the worker reports", func() bool { return here() != "" })
		stop()
		if got := here(); got != "" {
			t.Errorf("%s is still alive after its stop", got)
		}
	})
}
