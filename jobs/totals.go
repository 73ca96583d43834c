package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// keyTotals is the hash of what all processes have done since the store was made. It never goes back when a job is removed.
const keyTotals = "offload:{totals}:all"

// keyTold remembers a process's last call to lua/fleet/count.lua.
func keyTold(process string) string { return "offload:{totals}:told:" + process }

// toldFor is how long a call is remembered: longer than anybody tries to send one again.
const toldFor = time.Hour

// Names in keyTotals beside files:OUTCOME:GRADE and bytes:OUTCOME:GRADE.
const (
	totalWasted       = "wasted"
	totalDeleted      = "deleted"
	totalDeletedBytes = "deleted_bytes"
	totalPurged       = "purged"
	totalPurgedBytes  = "purged_bytes"
	totalThrottled    = "throttled"
	totalRetried      = "retried"
	totalLast         = "last"
	totalMissing      = "scrub_missing"
	totalDifferent    = "scrub_different"
)

// OutcomeTotal is how many files got an outcome, and their bytes.
type OutcomeTotal struct {
	Result transfer.Result
	Grade  transfer.Grade // "" where nothing was proved
	Files  int64
	Bytes  int64 // moved, of those copied; else their sizes
}

// Totals is what all processes have done since the store was made. A file that failed and was copied later is in both. What a
// process did in the second before it was killed may be missing.
type Totals struct {
	Outcomes     []OutcomeTotal
	Wasted       int64 // bytes read in vain
	Deleted      int64 // files at sources, the purged ones included
	DeletedBytes int64
	Purged       int64
	PurgedBytes  int64
	Throttled    int64      // attempts that a remote slowed down
	Retried      int64      // attempts that were made again
	ScrubMissing int64      // offloaded files that scrubs found missing
	ScrubDiffers int64      // or different
	Last         *time.Time // when an outcome was recorded last
}

// totals gathers what this process does, until it is told to the store.
type totals struct {
	client redis.UniversalClient
	count  *redis.Script
	self   string

	mu  sync.Mutex
	sum map[string]int64

	calls  sync.Mutex // one at a time
	number int64
	sent   map[string]int64 // with the present number; it isn't known whether it was counted
}

func newTotals(client redis.UniversalClient, self string) *totals {
	return &totals{client: client, count: script("fleet/count"), self: self, sum: map[string]int64{}}
}

func (t *totals) add(name string, n int64) {
	if n <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum[name] += n
}

// outcome counts what an entry became, where it was something else before.
func (t *totals) outcome(e transfer.Entry, old, now transfer.Outcome) {
	size := max(e.Size, 0)
	if name := scrubTotal(now.Code); name != "" { // no file that couldn't be moved
		if now.Code != old.Code {
			t.add(name, 1)
		}
		return
	}
	if now.Result != transfer.Pending && now.Result != old.Result {
		bytes := size
		if now.Result == transfer.Copied {
			bytes = now.Bytes
		}
		kind := ":" + string(now.Result) + ":" + string(now.Grade)
		t.add("files"+kind, 1)
		t.add("bytes"+kind, bytes)
	}
	t.add(totalWasted, now.Wasted-old.Wasted)
	if now.Source.Gone() && !old.Source.Gone() {
		t.add(totalDeleted, 1)
		t.add(totalDeletedBytes, size)
	}
	if now.Source == transfer.Purged && old.Source != transfer.Purged {
		t.add(totalPurged, 1)
		t.add(totalPurgedBytes, size)
	}
}

// scrubTotal is what counts files with a code of scrubs; "" for any other.
func scrubTotal(code string) string {
	switch code {
	case transfer.CodeScrubMissing:
		return totalMissing
	case transfer.CodeScrubDiffers:
		return totalDifferent
	}
	return ""
}

// run tells the store each beat what was done, until ctx is done.
func (t *totals) run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := t.flush(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}

// flush tells the store what was done since the last time. What fails is sent again as it was, under its number, before
// anything new.
func (t *totals) flush(ctx context.Context) error {
	t.calls.Lock()
	defer t.calls.Unlock()
	for {
		if t.sent == nil {
			t.mu.Lock()
			t.sent, t.sum = t.sum, map[string]int64{}
			t.mu.Unlock()
			t.number++
		}
		if len(t.sent) == 0 {
			t.sent = nil
			return nil
		}
		args := []any{t.number, toldFor.Milliseconds()}
		for _, name := range slices.Sorted(maps.Keys(t.sent)) {
			args = append(args, name, t.sent[name])
		}
		call, cancel := context.WithTimeout(ctx, storeWait)
		err := t.count.Run(call, t.client, []string{keyTotals, keyTold(t.self)}, args...).Err()
		cancel()
		if err != nil {
			return fmt.Errorf("count what was done: %w", err)
		}
		t.sent = nil
	}
}

// Totals returns what all processes have done since the store was made.
func (s *Service) Totals(ctx context.Context) (Totals, error) {
	f, err := s.client.HGetAll(ctx, keyTotals).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return Totals{}, fmt.Errorf("read what was done: %w", err)
	}
	sums := map[[2]string]*OutcomeTotal{}
	for name, text := range f {
		p := strings.Split(name, ":")
		n, err := strconv.ParseInt(text, 10, 64)
		if len(p) != 3 || err != nil {
			continue // of another kind; a newer version may have some that aren't known here
		}
		key := [2]string{p[1], p[2]}
		if sums[key] == nil {
			sums[key] = &OutcomeTotal{Result: transfer.Result(p[1]), Grade: transfer.Grade(p[2])}
		}
		switch p[0] {
		case "files":
			sums[key].Files = n
		case "bytes":
			sums[key].Bytes = n
		}
	}
	t := Totals{Wasted: number(f[totalWasted]), Deleted: number(f[totalDeleted]), DeletedBytes: number(f[totalDeletedBytes]),
		Purged: number(f[totalPurged]), PurgedBytes: number(f[totalPurgedBytes]), Throttled: number(f[totalThrottled]),
		Retried:      number(f[totalRetried]),
		ScrubMissing: number(f[totalMissing]), ScrubDiffers: number(f[totalDifferent]), Last: optional(f[totalLast])}
	for _, o := range sums {
		t.Outcomes = append(t.Outcomes, *o)
	}
	slices.SortFunc(t.Outcomes, func(a, b OutcomeTotal) int {
		return cmp.Or(cmp.Compare(a.Result, b.Result), cmp.Compare(a.Grade, b.Grade))
	})
	return t, nil
}
