package jobstest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"offload/internal/store"
	"offload/jobs"
)

// Wanted is how many things a benchmark is asked to make by a variable of the environment.
func Wanted(t testing.TB, env string, usual int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// keysOf returns the keys of a job by their last parts.
func keysOf(ctx context.Context, t testing.TB, st *store.Store, id string) map[string]string {
	t.Helper()
	keys, err := st.Client().Keys(ctx, "offload:{"+id+"}:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, k := range keys {
		all[strings.TrimPrefix(k, "offload:{"+id+"}:")] = k
	}
	return all
}

// PlantJobs stores n copies of a queued job, whose label is "Album 0" and whose account "account0", under IDs of their own, a
// third of them canceled, of twenty accounts. It returns the ID of the newest.
func PlantJobs(t testing.TB, st *store.Store, first jobs.Job, n int) string {
	t.Helper()
	ctx, c := t.Context(), st.Client()
	fields, err := c.HGetAll(ctx, keysOf(ctx, t, st, first.ID)["job"]).Result()
	if err != nil {
		t.Fatal(err)
	}
	var last string
	began := time.Now().Add(-time.Duration(n) * time.Millisecond)
	many(t, st, n, func(i int, send func(...any)) {
		last = ulid.MustNew(ulid.Timestamp(began.Add(time.Duration(i)*time.Millisecond)), ulid.DefaultEntropy()).String()
		account := fmt.Sprintf("account%d", i%20)
		place := float64(uint64(0)<<48 | ulid.Timestamp(began.Add(time.Duration(i)*time.Millisecond)))
		args := []any{"HSET", "offload:{" + last + "}:job"}
		for k, v := range fields {
			switch {
			case k == "state" && i%3 == 0:
				v = string(jobs.Canceled)
				place += float64(uint64(9) << 48)
			case k == "account":
				v = account
			case k == "order":
				v = strings.NewReplacer("Album 0", fmt.Sprintf("Album %d", i), "account0", account).Replace(v)
			}
			args = append(args, k, v)
		}
		send(args...)
		send("ZADD", "offload:jobs", 0, last)
		send("ZADD", "offload:jobs:of:"+account, strconv.FormatFloat(place, 'f', 0, 64), last)
		send("SADD", "offload:jobs:accounts", account)
	})
	if err := c.Set(ctx, "offload:jobs:indexed", 1, 0).Err(); err != nil { // as maintenance notes it
		t.Fatal(err)
	}
	return last
}

// many sends commands of n things, many at once.
func many(t testing.TB, st *store.Store, n int, of func(i int, send func(args ...any))) {
	t.Helper()
	p := st.Client().Pipeline()
	for i := range n {
		of(i, func(args ...any) { p.Do(t.Context(), args...) })
		if p.Len() < 2000 && i < n-1 {
			continue
		}
		if _, err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// PlantFiles makes a job of 32 files, one batch, that has ended into one of n files: it stores the batch again and again.
func PlantFiles(t testing.TB, st *store.Store, id string, n int) {
	t.Helper()
	ctx, c := t.Context(), st.Client()
	keys := keysOf(ctx, t, st, id)
	batches := n / 32
	for part, key := range keys {
		kind, number, _ := strings.Cut(part, ":")
		switch {
		case kind == "k":
			many(t, st, batches, func(i int, send func(...any)) { send("SETBIT", key, i+1, 1) })
		case number == "1":
			blob, err := c.Get(ctx, key).Result()
			if err != nil {
				t.Fatal(err)
			}
			many(t, st, batches, func(i int, send func(...any)) {
				send("SET", strings.TrimSuffix(key, "1")+strconv.Itoa(i+1), blob)
			})
		}
	}
	fields, err := c.HGetAll(ctx, keys["job"]).Result()
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range fields {
		count, err := strconv.ParseInt(v, 10, 64)
		if err != nil || count > 1e6 { // no number, or a time
			continue
		}
		if count *= int64(batches); k == "batches" {
			count = int64(batches)
		}
		if err := c.HSet(ctx, keys["job"], k, count).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
