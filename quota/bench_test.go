package quota

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A file of 10 kB in a batch of 300, all costs of the batch shared out.
func BenchmarkPoolSmallFile(b *testing.B) {
	const size, batch = 10_000, 300
	l := newLedger(b, startRedis(b), Config{DefaultTier: "unlimited"})
	ctx := b.Context()
	var p *Pool
	for i := 0; b.Loop(); i++ {
		if i%batch == 0 {
			if p != nil {
				must(b, p.Close(ctx))
			}
			p = l.Pool("anna", strconv.Itoa(i))
			p.Prefer(size * batch)
		}
		g, err := p.Reserve(ctx, size)
		must(b, err)
		must(b, g.Charge(ctx, size))
		must(b, g.Settle(ctx, size, 0))
	}
	must(b, p.Close(ctx))
}

// The same without the shares of the batch: what stands between a file and its first byte.
func BenchmarkPoolInProcess(b *testing.B) {
	l := newLedger(b, startRedis(b), Config{DefaultTier: "unlimited", Quantum: maxBytes})
	ctx := b.Context()
	p := l.Pool("anna", "1")
	p.Prefer(maxBytes)
	for b.Loop() {
		g, err := p.Reserve(ctx, 10_000)
		must(b, err)
		must(b, g.Charge(ctx, 10_000))
		must(b, g.Settle(ctx, 10_000, 0))
	}
	must(b, p.Close(ctx))
}

// benchReserve asks Redis for every reservation, from 16 goroutines a core with a pool each.
func benchReserve(b *testing.B, client *redis.Client) {
	l := newLedger(b, client, Config{DefaultTier: "unlimited"})
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		account := "a" + strconv.FormatInt(n.Add(1), 10)
		p := l.Pool(account, "1")
		for pb.Next() {
			if _, err := p.Reserve(b.Context(), 1); err != nil {
				b.Error(err)
				return
			}
		}
		if err := p.Close(b.Context()); err != nil {
			b.Error(err)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reservations/s")
}

func BenchmarkReserveDirect(b *testing.B) {
	for name, args := range map[string][]string{
		"memory": nil, "aof-everysec": {"--appendonly", "yes", "--appendfsync", "everysec"},
	} {
		b.Run(name, func(b *testing.B) { benchReserve(b, startRedis(b, args...)) })
	}
}

// BenchmarkChargeLarge is a quantum of a large file: one call to Redis.
func BenchmarkChargeLarge(b *testing.B) {
	l := newLedger(b, startRedis(b), Config{DefaultTier: "unlimited"})
	ctx := b.Context()
	p := l.Pool("anna", "1")
	g, err := p.Reserve(ctx, 1<<51)
	must(b, err)
	for b.Loop() {
		must(b, g.Charge(ctx, defaultQuantum))
	}
	must(b, p.Close(ctx))
}

func BenchmarkPeriodAt(b *testing.B) {
	loc := zone(b, "Europe/Berlin")
	for b.Loop() {
		PeriodAt(start, 31, loc)
	}
}
