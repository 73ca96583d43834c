package store

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"
)

const fiveCommands = `
local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], n, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -50)
return redis.call('HLEN', KEYS[1])`

func benchStore(b *testing.B, fsync string) *Store {
	s, err := Open(b.Context(), Options{Dir: b.TempDir(), Fsync: fsync, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func BenchmarkEmbedded(b *testing.B) {
	script := redis.NewScript(fiveCommands)
	ops := []struct {
		name string
		f    func(c redis.UniversalClient, i int) error
	}{
		{"GET", func(c redis.UniversalClient, i int) error { return c.Get(b.Context(), "k").Err() }},
		{"HSET", func(c redis.UniversalClient, i int) error {
			return c.HSet(b.Context(), "h", fmt.Sprint("f", i%1000), "some value of a usual length").Err()
		}},
		{"EVALSHA5", func(c redis.UniversalClient, i int) error {
			return script.Run(b.Context(), c, []string{"{a}h", "{a}z"}, fmt.Sprint("f", i%1000), "some value").Err()
		}},
	}
	for _, fsync := range []string{"everysec", "always"} {
		for _, par := range []int{1, 8} {
			for _, op := range ops {
				b.Run(fmt.Sprintf("%s/%s/x%d", fsync, op.name, par), func(b *testing.B) {
					c := benchStore(b, fsync).Client()
					if err := c.Set(b.Context(), "k", "v", 0).Err(); err != nil {
						b.Fatal(err)
					}
					b.SetParallelism((par + 1) / 2)
					if par == 1 {
						for i := range b.N {
							if err := op.f(c, i); err != nil {
								b.Fatal(err)
							}
						}
						return
					}
					b.RunParallel(func(pb *testing.PB) {
						for i := 0; pb.Next(); i++ {
							if err := op.f(c, i); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			}
		}
	}
	b.Run("everysec/HSET in pipelines of 100", func(b *testing.B) {
		c := benchStore(b, "").Client()
		for i := 0; i < b.N; i += 100 {
			p := c.Pipeline()
			for k := range 100 {
				p.HSet(b.Context(), "h", fmt.Sprint("f", (i+k)%1000), "some value of a usual length")
			}
			if _, err := p.Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
