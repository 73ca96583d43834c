package jobs

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"offload/internal/store"
	"offload/quota"
	"offload/transfer"
)

// BenchmarkQueued fills a store with jobs that nobody works on, of 100 accounts in three lanes, from eight clients, and
// tells what that costs and what the commands cost then: a real Redis with its append-only file on, and the embedded
// store with a tenth of the jobs.
func BenchmarkQueued(b *testing.B) {
	b.Run("redis-100000", func(b *testing.B) { benchQueued(b, startRedis(b), 100_000) })
	b.Run("embedded-10000", func(b *testing.B) { benchQueued(b, "", 10_000) })
}

// queuedAccounts is how many accounts the jobs of BenchmarkQueued belong to.
const queuedAccounts = 100

func benchQueued(b *testing.B, url string, count int) {
	for b.Loop() {
		w := newWorld(b, url)
		w.tree(1, 1000)
		memory := int64(0)
		if url != "" {
			memory = redisMemory(b, w.store)
		}
		q := &queued{world: w, b: b, url: url}
		q.reindex() // as the first worker does
		sent := commandsDone(b, w, url)
		q.fill(count)
		if url != "" {
			b.ReportMetric(float64(commandsDone(b, w, url)-sent)/float64(count), "commands/enqueue")
			b.ReportMetric(float64(redisMemory(b, w.store)-memory)/float64(count), "B/job")
		}
		q.read()
		q.steer()
		q.upkeep()
		q.work()
	}
}

// queued is a store full of jobs.
type queued struct {
	*world
	b   *testing.B
	url string
	ids []string
}

// fill enqueues jobs from eight clients, each with connections of its own.
func (q *queued) fill(count int) {
	q.b.Helper()
	const clients = 8
	lanes := []Priority{High, Normal, Low}
	perClient := make([][]string, clients)
	took := make([][]time.Duration, clients)
	var all sync.WaitGroup
	began := time.Now()
	for c := range clients {
		s := q.client()
		all.Go(func() {
			for n := c; n < count; n += clients {
				o := q.order(transfer.DeleteVerified)
				o.Account, o.Priority = fmt.Sprintf("account%02d", n%queuedAccounts), lanes[n%len(lanes)]
				start := time.Now()
				j, err := s.Enqueue(q.b.Context(), o)
				if err != nil {
					q.b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(start))
				perClient[c] = append(perClient[c], j.ID)
			}
		})
	}
	all.Wait()
	q.b.ReportMetric(float64(count)/time.Since(began).Seconds(), "enqueued/s")
	q.b.ReportMetric(ms(percentile(slices.Concat(took...), 99)), "enqueue-p99-ms")
	q.ids = slices.Concat(perClient...)
	slices.Sort(q.ids)
	if len(q.ids) != count {
		q.b.Fatalf("%d jobs of %d", len(q.ids), count)
	}
}

// reindex looks the index over, as maintenance does.
func (q *queued) reindex() {
	q.b.Helper()
	r := reindexer{s: q.svc}
	for n := time.Now(); r.next.Before(n); {
		if err := r.round(q.b.Context()); err != nil {
			q.b.Fatal(err)
		}
	}
}

// client is a service with a connection of its own; on the embedded store they share the one there is.
func (q *queued) client() *Service {
	q.b.Helper()
	if q.url == "" {
		return q.service(nil)
	}
	st, err := store.Open(q.b.Context(), store.Options{URL: q.url})
	if err != nil {
		q.b.Fatal(err)
	}
	q.b.Cleanup(func() { _ = st.Close() })
	ledger, err := quota.New(st.Client(), quota.Config{DefaultTier: "unlimited"})
	if err != nil {
		q.b.Fatal(err)
	}
	s, err := New(Config{Store: st, Ledger: ledger, Log: q.log})
	if err != nil {
		q.b.Fatal(err)
	}
	q.b.Cleanup(func() { _ = s.Close() })
	return s
}

// timed reports the median of several calls.
func (q *queued) timed(metric string, calls int, call func(i int) error) {
	q.b.Helper()
	var took []time.Duration
	for i := range calls {
		start := time.Now()
		if err := call(i); err != nil {
			q.b.Fatalf("%s: %v", metric, err)
		}
		took = append(took, time.Since(start))
	}
	q.b.ReportMetric(ms(percentile(took, 50)), metric)
}

// read times the lists that commands ask for.
func (q *queued) read() {
	ctx := q.b.Context()
	list := func(o ListOptions) func(int) error {
		return func(int) error {
			_, _, err := q.svc.List(ctx, o)
			return err
		}
	}
	q.timed("list-page-ms", 9, list(ListOptions{}))
	q.timed("list-account-ms", 9, list(ListOptions{Account: "account42"}))
	q.timed("list-queued-ms", 9, list(ListOptions{States: []State{Queued}}))
	q.timed("list-failed-ms", 3, list(ListOptions{States: []State{FailedState}}))
	q.timed("list-waiting-account-ms", 3, list(ListOptions{States: []State{Waiting}, Account: "account42"}))
	q.timed("same-ms", 3, func(int) error {
		o := q.order(transfer.DeleteVerified)
		o.Account, o.Source = "account42", "/elsewhere"
		_, err := q.svc.Same(ctx, o)
		return err
	})
}

// steer times what a person does with one job of them.
func (q *queued) steer() {
	ctx := q.b.Context()
	at := func(i int) string { return q.ids[len(q.ids)-1-i] }
	q.timed("show-ms", 9, func(i int) error { _, err := q.svc.Get(ctx, at(i)); return err })
	q.timed("pause-ms", 9, func(i int) error { _, err := q.svc.Pause(ctx, at(i)); return err })
	q.timed("resume-ms", 9, func(i int) error { _, err := q.svc.Resume(ctx, at(i)); return err })
	q.timed("cancel-ms", 9, func(i int) error { _, err := q.svc.Cancel(ctx, at(i)); return err })
	start := time.Now()
	many := q.ids[len(q.ids)/2 : len(q.ids)/2+1000]
	for _, id := range many {
		if _, err := q.svc.Cancel(ctx, id); err != nil {
			q.b.Fatal(err)
		}
	}
	q.b.ReportMetric(ms(time.Since(start)), "cancel-1000-ms")
}

// upkeep times an audit, what maintenance looks at in a round, and looking the whole index over.
func (q *queued) upkeep() {
	ctx := q.b.Context()
	start := time.Now()
	q.reindex()
	q.b.ReportMetric(ms(time.Since(start)), "reindex-ms")
	q.timed("due-ms", 9, func(int) error { _, err := q.svc.due(ctx); return err })
	q.timed("audit-ms", 99, func(i int) error { return q.svc.audit(ctx, q.ids[i]) })
}

// work times how soon a worker that is started now has begun with a job, and how many it does in a few seconds.
func (q *queued) work() {
	ctx := q.b.Context()
	before := commandsDone(q.b, q.world, q.url)
	start := time.Now()
	stop := q.worker(q.svc, WorkerOptions{Batches: 2})
	// The first turn is that of an account and a job that came first.
	until(q.b, "a job is begun", func() bool { return q.begun(ctx, q.ids[:24]) > 0 })
	q.b.ReportMetric(ms(time.Since(start)), "first-job-ms")
	until(q.b, "the worker has done some jobs", func() bool { return time.Since(start) > 5*time.Second })
	stop()
	spent, done := time.Since(start).Seconds(), q.begun(ctx, q.ids)
	q.ordered(ctx)
	q.b.ReportMetric(float64(done)/spent, "jobs/s")
	if q.url != "" {
		q.b.ReportMetric(float64(commandsDone(q.b, q.world, q.url)-before)/float64(max(done, 1)), "commands/done")
	}
}

// ordered demands that the jobs that were begun are of the first lane, and that the accounts had as many turns each.
func (q *queued) ordered(ctx context.Context) {
	turns := map[string]int{}
	err := q.svc.each(ctx, ListOptions{}, func(j Job) error {
		if j.Started == nil {
			return nil
		}
		if j.Order.Priority != High {
			return fmt.Errorf("job %s of priority %s was begun before those of high", j.ID, j.Order.Priority)
		}
		turns[j.Account]++
		return nil
	})
	if err != nil {
		q.b.Fatal(err)
	}
	least, most := len(q.ids), 0
	for n := range queuedAccounts {
		had := turns[fmt.Sprintf("account%02d", n)]
		least, most = min(least, had), max(most, had)
	}
	if most-least > 3 { // two batches at once, and jobs that ended a little sooner
		q.b.Errorf("an account had %d turns, another one %d", least, most)
	}
}

// begun counts the jobs that a worker has begun with.
func (q *queued) begun(ctx context.Context, ids []string) int {
	n := 0
	for part := range slices.Chunk(ids, listAtOnce) {
		page, err := q.svc.readJobs(ctx, part)
		if err != nil {
			q.b.Fatal(err)
		}
		for _, j := range page {
			if j.Started != nil {
				n++
			}
		}
	}
	return n
}

var commandsLine = regexp.MustCompile(`total_commands_processed:(\d+)`)

func commandsDone(b *testing.B, w *world, url string) int64 {
	b.Helper()
	if url == "" {
		return 0
	}
	info := w.store.Client().Info(b.Context(), "stats").Val()
	m := commandsLine.FindStringSubmatch(info)
	if m == nil {
		b.Fatalf("no commands in %q", info)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[min(len(all)*p/100, len(all)-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
