package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/internal/redistest"
)

// raw is the state of an account in Redis: hash fields as "key/field", leases as "leases/pool" -> seconds from start.
type raw map[string]string

const (
	nov = "1793491200000" // 2026-11-01 UTC in milliseconds
	dec = "1796083200000" // 2026-12-01
	jan = "1798761600000" // 2027-01-01
)

// open is an account whose November period is open, with used, reserved and wasted bytes.
func open(used, reserved, wasted int) raw {
	return raw{"account/period": "2026-11-01", "account/start": nov, "account/end": dec, "account/until": "2026-12-01",
		"account/used": fmt.Sprint(used), "account/reserved": fmt.Sprint(reserved), "account/wasted": fmt.Sprint(wasted)}
}

// with returns s with more fields; "" takes one away.
func (s raw) with(more raw) raw {
	out := maps.Clone(s)
	maps.Copy(out, more)
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

func (r *rig) load(account string, s raw) {
	ctx, k := r.t.Context(), keys(account)
	must(r.t, r.client.Del(ctx, k...).Err())
	for name, value := range s {
		key, field, _ := strings.Cut(name, "/")
		if key == "leases" {
			d, err := time.ParseDuration(value)
			must(r.t, err)
			must(r.t, r.client.ZAdd(ctx, k[2], redis.Z{Member: field, Score: float64(start.Add(d).UnixMilli())}).Err())
			continue
		}
		must(r.t, r.client.HSet(ctx, strings.TrimSuffix(k[0], "account")+key, field, value).Err())
	}
}

// dump reads an account's raw state in one pipeline, which the faults of other tests leave alone.
func (r *rig) dump(account string) raw {
	ctx, k, out := r.t.Context(), keys(account), raw{}
	pipe := r.client.Pipeline()
	hashes := map[string]*redis.MapStringStringCmd{}
	for i, name := range map[int]string{0: "account", 1: "pools", 3: "days", 4: "claims", 6: "closed"} {
		hashes[name] = pipe.HGetAll(ctx, k[i])
	}
	leases := pipe.ZRangeWithScores(ctx, k[2], 0, -1)
	_, err := pipe.Exec(ctx)
	must(r.t, err)
	for name, fields := range hashes {
		for f, v := range fields.Val() {
			out[name+"/"+f] = v
		}
	}
	for _, z := range leases.Val() {
		out["leases/"+z.Member.(string)] = time.UnixMilli(int64(z.Score)).Sub(start).String()
	}
	return out
}

// scriptTest is one call of a script: the state before, what it answers, and the state after.
type scriptTest struct {
	name   string
	given  raw
	clock  time.Duration // from start
	call   func(context.Context, *Ledger) (string, error)
	answer string
	err    error
	want   raw // nil is the given one
}

func runScriptTests(t *testing.T, tests []scriptTest) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				r.t = t
				r.setClock(start.Add(tt.clock))
				r.load("a", tt.given)
				answer, err := tt.call(t.Context(), r.Ledger)
				if !errors.Is(err, tt.err) && !(err != nil && tt.err != nil && err.Error() == tt.err.Error()) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
				if err == nil && answer != tt.answer {
					t.Errorf("got answer %q, want %q", answer, tt.answer)
				}
				want := tt.want
				if want == nil {
					want = tt.given
				}
				got := r.dump("a")
				maps.DeleteFunc(got, func(name, _ string) bool { // what a pool leaves behind matters to those who say so
					_, told := want[name]
					return strings.HasPrefix(name, "closed/") && !told
				})
				if want["account/rev"] == "*" && got["account/rev"] != tt.given["account/rev"] {
					got["account/rev"] = "*" // any other one
				}
				if !maps.Equal(got, want) {
					t.Errorf("state\n got %v\nwant %v", got, want)
				}
			})
		}
	})
}

func show(t totals, err error) (string, error) { return fmt.Sprint(t.granted, " ", t.charged), err }

func TestReserveScript(t *testing.T) {
	call := func(granted, charged, need, want int64) func(context.Context, *Ledger) (string, error) {
		return func(ctx context.Context, l *Ledger) (string, error) {
			return show(l.reserve(ctx, "a", "p", totals{granted, charged}, order{need: need, want: want, size: need}))
		}
	}
	full := func(need, available int64) error {
		return &NoQuotaError{Subject: "a", Need: need, Available: available, Limit: 1000, Resets: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	}
	two := open(300, 500, 0).with(raw{"pools/p": "400 100 0 " + nov, "leases/p": "10s", "pools/q": "400 200 0 " + nov, "leases/q": "20s"})
	runScriptTests(t, []scriptTest{
		{name: "opens the first period", given: raw{}, call: call(0, 0, 10, 50), answer: "50 0",
			want: open(0, 50, 0).with(raw{"pools/p": "50 0 0 0", "leases/p": "1m0s"})},
		{name: "falls back to need", given: open(960, 0, 0), call: call(0, 0, 40, 50), answer: "40 0",
			want: open(960, 40, 0).with(raw{"pools/p": "40 0 0 0", "leases/p": "1m0s"})},
		{name: "full", given: open(961, 0, 0), call: call(0, 0, 40, 50), err: full(40, 39)},
		{name: "over full", given: open(2000, 0, 0), call: call(0, 0, 40, 50), err: full(40, 0)},
		{name: "full without a period", given: raw{}, call: call(0, 0, 1001, 1001), err: full(1001, 1000)},
		{name: "grows", given: two, call: call(400, 100, 200, 200), answer: "600 100",
			want: two.with(raw{"account/reserved": "700", "pools/p": "600 100 0 " + nov, "leases/p": "1m0s"})},
		{name: "exactly fits not", given: two, call: call(400, 100, 201, 201), err: full(201, 200)},
		{name: "closes the expired", given: two, clock: 20 * time.Second, call: call(400, 100, 400, 400), answer: "800 100",
			want: two.with(raw{"account/reserved": "700", "pools/p": "800 100 0 " + nov, "leases/p": "1m20s", "pools/q": "", "leases/q": ""})},
		{name: "leaves the expired where it refuses", given: two, clock: 20 * time.Second, call: call(400, 100, 401, 401), err: full(401, 400)},
		{name: "differs", given: two, call: call(300, 100, 1, 1), err: &differsError{totals{400, 100}}},
		{name: "lost", given: open(0, 0, 0), call: call(300, 100, 1, 1), err: ErrLost},
		{name: "next period", given: two, clock: 9 * 24 * time.Hour, call: call(400, 100, 700, 700), answer: "1100 100",
			want: two.with(raw{"account/period": "2026-12-01", "account/start": dec, "account/end": jan, "account/until": "2027-01-01",
				"account/used": "0", "account/reserved": "1000", "pools/p": "1100 100 0 " + nov, "leases/p": "216h1m0s", "pools/q": "", "leases/q": ""})},
		{name: "a clock put back cuts leases", given: two, clock: -time.Hour, call: call(400, 100, 1, 1), answer: "401 100",
			want: two.with(raw{"account/reserved": "501", "pools/p": "401 100 0 " + nov, "leases/p": "-59m0s", "leases/q": "-59m0s"})},
	})
}

func TestChargeScript(t *testing.T) {
	call := func(granted, charged, bytes int64) func(context.Context, *Ledger) (string, error) {
		return func(ctx context.Context, l *Ledger) (string, error) {
			now, _, err := l.charge(ctx, "a", "p", totals{granted, charged}, bytes)
			return show(now, err)
		}
	}
	at := func(d time.Duration) string { return fmt.Sprint(start.Add(d).UnixMilli()) }
	fresh := open(100, 50, 0).with(raw{"pools/p": "50 0 0 0", "leases/p": "10s"})
	again := open(110, 40, 0).with(raw{"pools/p": "50 10 0 " + nov, "leases/p": "10s", "days/2026-11-22 used": "10"})
	runScriptTests(t, []scriptTest{
		{name: "first", given: fresh, call: call(50, 0, 10), answer: "50 10",
			want: again.with(raw{"leases/p": "1m0s", "account/last": at(0)})},
		{name: "second", given: again, call: call(50, 10, 40), answer: "50 50",
			want: open(150, 0, 0).with(raw{"pools/p": "50 50 0 " + nov, "leases/p": "1m0s", "days/2026-11-22 used": "50", "account/last": at(0)})},
		{name: "soon after another", given: again.with(raw{"account/last": at(-29 * time.Second)}), call: call(50, 10, 40), answer: "50 50",
			want: open(150, 0, 0).with(raw{"pools/p": "50 50 0 " + nov, "leases/p": "1m0s", "days/2026-11-22 used": "50",
				"days/2026-11-22 busy": "29000", "account/last": at(0)})},
		{name: "long after another", given: again.with(raw{"account/last": at(-30 * time.Second)}), call: call(50, 10, 40), answer: "50 50",
			want: open(150, 0, 0).with(raw{"pools/p": "50 50 0 " + nov, "leases/p": "1m0s", "days/2026-11-22 used": "50", "account/last": at(0)})},
		{name: "before another, by a clock put back", given: again.with(raw{"account/last": at(time.Second)}), call: call(50, 10, 40), answer: "50 50",
			want: open(150, 0, 0).with(raw{"pools/p": "50 50 0 " + nov, "leases/p": "1m0s", "days/2026-11-22 used": "50", "account/last": at(0)})},
		{name: "after the lease", given: fresh, clock: time.Minute, call: call(50, 0, 10), answer: "50 10",
			want: again.with(raw{"leases/p": "2m0s", "account/last": at(time.Minute)})},
		{name: "more than held", given: again, call: call(50, 10, 41), err: &differsError{totals{50, 10}}},
		{name: "differs", given: again, call: call(50, 0, 10), err: &differsError{totals{50, 10}}},
		{name: "lost", given: open(0, 0, 0), call: call(50, 10, 10), err: ErrLost},
		{name: "in the next period", given: again, clock: 9 * 24 * time.Hour, call: call(50, 10, 10), answer: "50 20",
			want: again.with(raw{"account/period": "2026-12-01", "account/start": dec, "account/end": jan, "account/until": "2027-01-01",
				"account/used": "10", "account/reserved": "30", "pools/p": "50 20 0 0", "leases/p": "216h1m0s", "days/2026-12-01 used": "10", "account/last": at(9 * 24 * time.Hour)})},
		{name: "with a clock put back into the last period", clock: -30 * 24 * time.Hour, given: again, call: call(50, 10, 10), answer: "50 20",
			want: again.with(raw{"account/used": "120", "account/reserved": "30", "pools/p": "50 20 0 " + nov, "leases/p": "-719h59m0s",
				"days/2026-10-23 used": "10", "account/last": at(-30 * 24 * time.Hour)})},
	})
}

func TestTouchScript(t *testing.T) {
	type script = func(context.Context, *Ledger) (string, error)
	touch := func(back, wasted int64, reading bool) script {
		return func(ctx context.Context, l *Ledger) (string, error) {
			return show(l.touch(ctx, "a", "p", totals{50, 10}, back, wasted, reading))
		}
	}
	call := func(back, wasted int64) script { return touch(back, wasted, false) }
	at := func(d time.Duration) string { return fmt.Sprint(start.Add(d).UnixMilli()) }
	given := open(110, 40, 5).with(raw{"pools/p": "50 10 5 " + nov, "leases/p": "10s"})
	runScriptTests(t, []scriptTest{
		{name: "renews", given: given, call: call(0, 5), answer: "50 10", want: given.with(raw{"leases/p": "1m0s"})},
		{name: "books waste", given: given, call: call(0, 9), answer: "50 10",
			want: given.with(raw{"leases/p": "1m0s", "account/wasted": "9", "pools/p": "50 10 9 " + nov, "days/2026-11-22 wasted": "4"})},
		{name: "tells of traffic", given: given.with(raw{"account/last": at(-20 * time.Second)}), call: touch(0, 5, true), answer: "50 10",
			want: given.with(raw{"leases/p": "1m0s", "account/last": at(0), "days/2026-11-22 busy": "20000"})},
		{name: "tells of traffic after a pause", given: given.with(raw{"account/last": at(-30 * time.Second)}), call: touch(0, 5, true), answer: "50 10",
			want: given.with(raw{"leases/p": "1m0s", "account/last": at(0)})},
		{name: "takes back", given: given, call: call(40, 5), answer: "10 10",
			want: given.with(raw{"leases/p": "1m0s", "account/reserved": "0", "pools/p": "10 10 5 " + nov})},
		{name: "takes back more than there is", given: given, call: call(41, 5), err: &differsError{totals{50, 10}}},
		{name: "differs", given: given.with(raw{"pools/p": "50 20 5 " + nov}), call: call(0, 5), err: &differsError{totals{50, 20}}},
		{name: "lost", given: open(110, 40, 5), call: call(0, 5), err: ErrLost},
		{name: "waste of the last period", given: given, clock: 9 * 24 * time.Hour, call: call(0, 9), answer: "50 10",
			want: given.with(raw{"account/period": "2026-12-01", "account/start": dec, "account/end": jan, "account/until": "2027-01-01",
				"account/used": "0", "account/wasted": "0", "pools/p": "50 10 9 " + nov, "leases/p": "216h1m0s", "days/2026-12-01 wasted": "4"})},
	})
}

func TestCloseScript(t *testing.T) {
	type script = func(context.Context, *Ledger) (string, error)
	end := func(e ending) script {
		return func(ctx context.Context, l *Ledger) (string, error) { return "", l.end(ctx, "a", "p", e) }
	}
	call := func(read, wasted int64, day, before string) script {
		return end(ending{read: read, wasted: wasted, day: day, before: before})
	}
	alive := func(read int64) script { return end(ending{read: read, day: "2026-11-22", alive: true}) }
	at := func(d time.Duration) string { return fmt.Sprint(start.Add(d).UnixMilli()) }
	given := open(130, 20, 0).with(raw{"pools/p": "50 30 0 " + nov, "leases/p": "10s",
		"days/2026-11-22 used": "10", "days/2026-11-21 used": "120"})
	gone := given.with(raw{"pools/p": "", "leases/p": "", "account/reserved": "0"})
	runScriptTests(t, []scriptTest{
		{name: "all read", given: given, call: call(30, 0, "2026-11-22", ""), want: gone},
		{name: "gives back", given: given, call: call(25, 3, "2026-11-22", ""),
			want: gone.with(raw{"account/used": "125", "account/wasted": "3", "days/2026-11-22 used": "5", "days/2026-11-22 wasted": "3"})},
		{name: "gives back to two days", given: given, call: call(5, 0, "2026-11-22", "2026-11-21"),
			want: gone.with(raw{"account/used": "105", "days/2026-11-22 used": "0", "days/2026-11-21 used": "105"})},
		{name: "more read than is known", given: given, call: call(37, 0, "2026-11-22", ""),
			want: gone.with(raw{"account/used": "137", "days/2026-11-22 used": "17"})},
		{name: "more read than is known of two periods", given: given.with(raw{"pools/p": "50 30 0 0"}), call: call(37, 0, "2026-11-22", ""),
			want: gone.with(raw{"account/used": "137", "days/2026-11-22 used": "17"})},
		{name: "forgotten though its lease runs", given: open(110, 40, 5), call: alive(5),
			want: open(115, 40, 5).with(raw{"days/2026-11-22 used": "5", "closed/p": at(time.Hour) + " 5"})},
		{name: "forgotten in a new period", given: open(110, 40, 5), clock: 9 * 24 * time.Hour, call: alive(5),
			want: open(5, 40, 0).with(raw{"account/period": "2026-12-01", "account/start": dec, "account/end": jan, "account/until": "2027-01-01",
				"days/2026-12-01 used": "5"})},
		{name: "closed by others", given: open(110, 40, 5).with(raw{"closed/p": nov + " 5"}), call: alive(5),
			want: open(110, 40, 5).with(raw{"closed/p": nov + " 5"})},
		{name: "closed by others who knew of less", given: open(110, 40, 5).with(raw{"closed/p": nov + " 3"}), call: alive(5),
			want: open(112, 40, 5).with(raw{"days/2026-11-22 used": "2", "closed/p": at(time.Hour) + " 5"})},
		{name: "waste stays below used", given: given.with(raw{"account/wasted": "128"}), call: call(25, 0, "2026-11-22", ""),
			want: gone.with(raw{"account/used": "125", "account/wasted": "125", "days/2026-11-22 used": "5"})},
		{name: "charged in two periods", given: given.with(raw{"pools/p": "50 30 0 0"}), call: call(5, 0, "2026-11-22", ""), want: gone},
		{name: "charged in the last period", given: given, clock: 9 * 24 * time.Hour, call: call(5, 0, "2026-11-22", ""),
			want: gone.with(raw{"account/period": "2026-12-01", "account/start": dec, "account/end": jan, "account/until": "2027-01-01",
				"account/used": "0"})},
		{name: "again", given: open(110, 40, 5), call: call(5, 0, "2026-11-22", "")},
	})
}

func TestSweepScript(t *testing.T) {
	call := func(ctx context.Context, l *Ledger) (string, error) {
		must(t, l.register(ctx, "a"))
		n, err := l.Sweep(ctx)
		return fmt.Sprint(n), err
	}
	given := open(30, 90, 0).with(raw{"pools/p": "50 10 0 " + nov, "leases/p": "10s", "pools/q": "70 20 0 " + nov, "leases/q": "20s"})
	runScriptTests(t, []scriptTest{
		{name: "nothing", given: raw{}, call: call, answer: "0"},
		{name: "none yet", given: given, clock: 9999 * time.Millisecond, call: call, answer: "0"},
		{name: "one", given: given, clock: 10 * time.Second, call: call, answer: "1",
			want: given.with(raw{"account/reserved": "50", "pools/p": "", "leases/p": ""})},
		{name: "all", given: given, clock: time.Hour, call: call, answer: "2", want: open(30, 0, 0)},
	})
}

func TestSetScript(t *testing.T) {
	given := open(30, 90, 7).with(raw{"account/rev": "3"})
	after := state{plan: "large", limit: 5, hasLimit: true, anchor: 15, zone: "Europe/Berlin", until: "2026-12-01",
		period: Period{"2026-11-01", time.UnixMilli(1793491200000), time.UnixMilli(1797292800000)}}
	call := func(rev, first string, now state) func(context.Context, *Ledger) (string, error) {
		return func(ctx context.Context, l *Ledger) (string, error) {
			before := state{rev: rev}
			if first != "" {
				before.period = Period{Start: time.UnixMilli(1793491200000), End: time.UnixMilli(1796083200000)}
			}
			done, err := l.store(ctx, "a", before, now)
			return fmt.Sprint(done), err
		}
	}
	set := raw{"account/rev": "*", "account/plan": "large", "account/limit": "5", "account/anchor": "15",
		"account/zone": "Europe/Berlin", "account/end": "1797292800000"}
	next := after
	next.period = Period{"2026-12-01", time.UnixMilli(1796083200000), time.UnixMilli(1798761600000)}
	runScriptTests(t, []scriptTest{
		{name: "sets", given: given, call: call("3", nov, after), answer: "true", want: given.with(set)},
		{name: "old rev", given: given, call: call("2", nov, after), answer: "false"},
		{name: "old period", given: given, call: call("3", "", after), answer: "false"},
		{name: "begins a period", given: given, call: call("3", nov, next), answer: "true",
			want: given.with(set).with(raw{"account/period": "2026-12-01", "account/start": dec, "account/end": jan,
				"account/used": "0", "account/wasted": "0"})},
		{name: "new account", given: raw{}, call: call("0", "", state{plan: "large"}), answer: "true",
			want: raw{"account/rev": "*", "account/plan": "large", "account/limit": "", "account/anchor": "", "account/zone": ""}},
	})
}

// A node in cluster mode refuses scripts that touch keys of another slot than the declared ones.
func TestOnClusterNode(t *testing.T) {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: redistest.StartClusterNode(t).Socket(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	ctx := t.Context()
	r := &rig{Ledger: newLedger(t, client, limited(1000, 100)), t: t, client: client}
	for _, account := range []string{"anna", "bert", "carl"} {
		must(t, r.use(account, 500))
		_, err := r.Set(ctx, account, Change{AnchorDay: ptr(3)})
		must(t, err)
		g, err := r.Pool(account, "1").Reserve(ctx, 200)
		must(t, err)
		must(t, g.Charge(ctx, 50))
		must(t, g.Settle(ctx, 50, 50))
		r.wantCounts(account, 600, 0, 50)
	}
	if n, err := r.Sweep(ctx); err != nil || n != 0 {
		t.Errorf("swept %d, %v; want 0", n, err)
	}
}
