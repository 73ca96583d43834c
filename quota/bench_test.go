package quota

import (
	"errors"
	"fmt"
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

// stores are the ways in which a redis-server may keep what it is told.
var stores = map[string][]string{"memory": nil, "aof-everysec": {"--appendonly", "yes", "--appendfsync", "everysec"}}

// benchReserve asks Redis for every reservation, from 16 goroutines a core with a pool each.
func benchReserve(b *testing.B, client *redis.Client) {
	l := newLedger(b, client, Config{})
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
	for name, args := range stores {
		b.Run(name, func(b *testing.B) { benchReserve(b, startRedis(b, args...)) })
	}
}

// BenchmarkBatches moves files of 10 kB in batches of 300, as 16 workers a core do: with an account of a limit alone, and
// with two limits of a remote besides. It counts files, each of which is reserved in all of them.
func BenchmarkBatches(b *testing.B) {
	for name, args := range stores {
		for subjects, list := range map[string][]string{
			"account":                  {"anna"},
			"account+remote day+month": {"anna", RemoteSubject("gdrive", PerDay), RemoteSubject("gdrive", PerMonth)},
		} {
			b.Run(name+"/"+subjects, func(b *testing.B) { benchBatches(b, startRedis(b, args...), list) })
		}
	}
}

func benchBatches(b *testing.B, client *redis.Client, subjects []string) {
	const size, batch = 10_000, 300
	limits := RemoteLimits{PerDay: 1 << 50, PerMonth: 1 << 50}
	l := newLedger(b, client, Config{Tiers: []Tier{{"one", 1 << 50}}, Remotes: map[string]RemoteLimits{"gdrive": limits}})
	ctx := b.Context()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for more := true; more; {
			pools := make([]*Pool, len(subjects))
			for i, s := range subjects {
				pools[i] = l.Pool(s, "1")
				pools[i].Prefer(size * batch)
			}
			for n := 0; n < batch && more; n++ {
				if more = pb.Next(); !more {
					break
				}
				for _, p := range pools {
					g, err := p.Reserve(ctx, size)
					if err == nil {
						err = errors.Join(g.Charge(ctx, size), g.Settle(ctx, size, 0))
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			}
			for _, p := range pools {
				if err := p.Close(ctx); err != nil {
					b.Error(err)
				}
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
	b.ReportMetric(0, "ns/op")
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

// BenchmarkSweep looks through 100 accounts and the 300 limits of 100 remotes, of which 40 have a reservation.
func BenchmarkSweep(b *testing.B) {
	l := newLedger(b, startRedis(b), Config{})
	ctx := b.Context()
	for i := range 100 {
		subjects := []string{fmt.Sprintf("a%d", i)}
		for _, m := range Measures() {
			subjects = append(subjects, RemoteSubject(fmt.Sprintf("r%d", i), m))
		}
		for _, s := range subjects {
			must(b, l.register(ctx, s))
			if i%10 == 0 {
				_, err := l.Pool(s, "1").Reserve(ctx, 1)
				must(b, err)
			}
		}
	}
	for b.Loop() {
		_, err := l.Sweep(ctx)
		must(b, err)
	}
}

func BenchmarkPeriodAt(b *testing.B) {
	loc := zone(b, "Europe/Berlin")
	for b.Loop() {
		PeriodAt(start, 31, loc)
	}
}
