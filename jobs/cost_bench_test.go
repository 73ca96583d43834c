package jobs

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"offload/quota"
	"offload/transfer"
	"offload/transfer/xcloud"
)

// BenchmarkQuotaCost moves files of 10 kB, 16 at once, under the limits of an account and of both remotes, counted by a
// real Redis with its append-only file on, and tells how much of the files' time goes to their quota: meter-% is the share
// of the time in their slots that files spend in Reserve, Charge and Settle; open-close-% is what opening and closing the
// reservations of batches takes of the whole; all-% is both, as if nothing else went on meanwhile. Each download begins
// a while after it was asked for. Between iCloud and Dropbox a file takes at least half a second (in the benchmark beside
// rclone 0.7 s); 100 ms is nearer than any cloud is. Between local folders, where a file takes as long as a few calls of
// Redis, the shares are much larger: nobody has a quota there.
func BenchmarkQuotaCost(b *testing.B) {
	for _, away := range []time.Duration{500 * time.Millisecond, 100 * time.Millisecond, 0} {
		b.Run(fmt.Sprintf("%s away", away), func(b *testing.B) {
			var c cost
			for b.Loop() {
				b.StopTimer()
				w := newWorld(b, startRedis(b))
				w.tree(1000, 10_000)
				w.limited(away)
				b.StartTimer()
				c.move(w)
			}
			c.report(b)
		})
	}
}

func (c *cost) report(b *testing.B) {
	share := func(part, whole int64) float64 { return 100 * float64(part) / float64(max(whole, 1)) }
	b.ReportMetric(share(c.meter.Load(), c.slots.Load()), "meter-%")
	b.ReportMetric(share(c.around, c.wall), "open-close-%")
	b.ReportMetric(share(c.meter.Load()+costFiles*c.around, c.slots.Load()+costFiles*c.around), "all-%")
	b.ReportMetric(float64(c.meter.Load())/float64(c.files)/1000, "us/file")
	b.ReportMetric(float64(c.files)/time.Duration(c.wall).Seconds(), "files/s")
}

// costFiles is how many files are moved at once.
const costFiles = 16

// limited gives the world's service an account and two remotes with limits that are never reached; the source's downloads
// begin after a while.
func (w *world) limited(away time.Duration) {
	w.t.Helper()
	const much = 1 << 50
	var err error
	w.ledger, err = quota.New(w.store.Client(), quota.Config{Tiers: []quota.Tier{{Name: "much", Limit: much}}, DefaultTier: "much",
		Remotes: map[string]quota.RemoteLimits{"drive": {PerDay: much, PerMonth: much}, "box": {PerDay: much, Calls: much}}})
	if err != nil {
		w.t.Fatal(err)
	}
	cloud := xcloud.New(w.src)
	cloud.Delay = away
	w.svc = w.service(func(ctx context.Context, _, _ string, opt transfer.Options) (*transfer.Pair, error) {
		return cloud.Open(ctx, w.src, w.dst, opt)
	})
}

// cost is where the time of files went.
type cost struct {
	meter, slots atomic.Int64 // ns, of all files together
	around, wall int64        // ns
	files        int64
}

// move scans and moves the world's tree as a worker does, batch by batch.
func (c *cost) move(w *world) {
	w.t.Helper()
	ctx, s := w.t.Context(), w.svc
	o := w.order(transfer.DeleteVerified)
	o.Source, o.Dest = "drive:", "box:"
	j := w.enqueue(o)
	k := &worker{s: s, name: s.self, log: s.log, stopping: make(chan struct{}), pairs: newPairs(s, costFiles)}
	defer k.pairs.close(context.Background())
	att, err := strconv.ParseInt(s.client.HGet(ctx, string(keysOf(j.ID))+"att", unitScan).Val(), 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	h, _, err := s.scripts.claim(ctx, j.ID, unitScan, att, s.self, time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := k.scan(ctx, c.unit(k, h)); err != nil {
		w.t.Fatal(err)
	}
	for {
		if err := s.feed(ctx, j.ID); err != nil {
			w.t.Fatal(err)
		}
		h, err := s.scripts.claimNext(ctx, j.ID, string(Normal), s.self, time.Hour)
		if err != nil {
			w.t.Fatal(err)
		}
		n, isBatch := batchNumber(h.unit)
		if !isBatch {
			break // nothing is left but the finish
		}
		if err := c.batch(ctx, c.unit(k, h), n); err != nil {
			w.t.Fatal(err)
		}
	}
	if j, err = s.Get(ctx, j.ID); err != nil || j.Files.Deleted != j.Files.Found {
		w.t.Fatalf("%+v, %v", j.Files, err)
	}
	c.files += j.Files.Copied
}

func (c *cost) unit(k *worker, h hold) *unit {
	return k.newUnit(h, time.Now().Add(time.Hour))
}

// batch is worker.batch with a clock around the meter and the slots.
func (c *cost) batch(ctx context.Context, u *unit, n int64) error {
	w := u.w
	j, err := w.s.Get(ctx, u.job)
	if err != nil {
		return err
	}
	b, err := w.s.load(ctx, u.job, n)
	if err != nil {
		return err
	}
	o, release, err := w.pairs.get(ctx, j)
	if err != nil {
		return err
	}
	defer release()
	jr := newJournal(w.s, u.hold, n, b.entries, b.done, u.saw)
	began, ran := time.Now(), time.Duration(0)
	report, err := w.inPool(ctx, u, j, o, jr, func(env transfer.Env) (transfer.Report, error) {
		start := time.Now()
		defer func() { ran = time.Since(start) }()
		env.Meter, env.Slots = timedMeter{env.Meter, &c.meter}, timedSlots{env.Slots, &c.slots}
		return o.pair.RunBatch(ctx, w.transferBatch(u, j, b), env)
	})
	c.wall += int64(time.Since(began))
	c.around += int64(time.Since(began) - ran)
	if err != nil || report.Pending > 0 {
		return fmt.Errorf("%d files pending: %w", report.Pending, err)
	}
	return w.endBatch(ctx, u, j, jr, report)
}

// timedMeter adds up the time that is spent in a meter and its grants.
type timedMeter struct {
	transfer.Meter
	spent *atomic.Int64
}

func since(sum *atomic.Int64, start time.Time) { sum.Add(int64(time.Since(start))) }

// Reserve implements transfer.Meter.
func (m timedMeter) Reserve(ctx context.Context, size int64) (transfer.Grant, error) {
	defer since(m.spent, time.Now())
	g, err := m.Meter.Reserve(ctx, size)
	return timedGrant{g, m.spent}, err
}

type timedGrant struct {
	transfer.Grant
	spent *atomic.Int64
}

// Charge implements transfer.Grant.
func (g timedGrant) Charge(ctx context.Context, n int64) error {
	defer since(g.spent, time.Now())
	return g.Grant.Charge(ctx, n)
}

// Settle implements transfer.Grant.
func (g timedGrant) Settle(ctx context.Context, used, wasted int64) error {
	defer since(g.spent, time.Now())
	return g.Grant.Settle(ctx, used, wasted)
}

// timedSlots adds up for how long slots are held.
type timedSlots struct {
	transfer.Slots
	held *atomic.Int64
}

// Acquire implements transfer.Slots.
func (s timedSlots) Acquire(ctx context.Context) (func(throttled bool), error) {
	release, err := s.Slots.Acquire(ctx)
	start := time.Now()
	return func(throttled bool) {
		since(s.held, start)
		release(throttled)
	}, err
}
