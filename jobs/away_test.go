package jobs

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/redistest"
	"offload/transfer"
)

// safeBuffer is written by a log while a test reads it.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), text)
}

// A worker is told to stop while its store hangs or is gone, amid a file: it ends soon and leaves nothing running; what it
// held is taken over by the next worker.
func TestStopWithoutTheStore(t *testing.T) {
	for name, lose := range map[string]func(*redistest.Server){
		"hung": (*redistest.Server).Freeze, "killed": (*redistest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.StartServer(t)
			w := newWorld(t, server.URL())
			w.put("film.mov", 2_000_000)
			j := w.enqueue(slow(w.order(transfer.DeleteVerified), "400k"))
			stop := w.worker(w.svc, WorkerOptions{Grace: 100 * time.Millisecond})
			until(t, "the film is under way", func() bool {
				p, err := w.svc.Progress(t.Context(), j.ID)
				return err == nil && p.Moving > 0
			})
			lose(server)
			begun := time.Now()
			stop()
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("the stop took %s", took)
			}
			if len(files(t, w.src)) != 1 {
				t.Error("the source is gone")
			}
			server.Kill()
			server.Run()
			again := newWorld(t, server.URL()) // the first store was given up
			again.worker(again.svc, WorkerOptions{})
			if j = again.reach(j.ID, Completed, CompletedW, FailedState); j.State != Completed || j.Files.Deleted != 1 {
				t.Errorf("%s, %+v: %s", j.State, j.Files, j.Error)
			}
		})
	}
}

// A worker says once that its store is gone and once that it is back.
func TestAwayIsSaidOnce(t *testing.T) {
	server := redistest.StartServer(t)
	w := newWorld(t, server.URL())
	said := &safeBuffer{}
	w.log = slog.New(slog.NewTextHandler(said, nil))
	w.worker(w.service(nil), WorkerOptions{})
	for n := range 2 {
		server.Kill()
		until(t, "the worker notices", func() bool { return said.count("the store doesn't answer") > n })
		server.Run()
		until(t, "the worker notices again", func() bool { return said.count("the store answers again") > n })
	}
	if gone, back := said.count("the store doesn't answer"), said.count("the store answers again"); gone != 2 || back != 2 {
		t.Errorf("gone was said %d times and back %d times, want twice each", gone, back)
	}
}
