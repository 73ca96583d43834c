package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Bounds of what Queues tells.
const (
	queuesShown   = 100  // queues beside the lanes: those of foreground processes that were killed stay for a while
	ringShown     = 20   // accounts of a lane's ring
	queuedOldness = 1000 // accounts whose oldest queued job is looked for
)

// QueueInfo is how one queue stands, for operators. What it counts are tickets: see the package's documentation.
type QueueInfo struct {
	Name      string     `json:"name"`
	Lane      Priority   `json:"lane,omitempty"`    // of the pool; "" for the queue of a foreground process
	Version   int        `json:"version,omitempty"` // of the jobs in a lane: older workers don't serve it
	Job       string     `json:"job,omitempty"`     // whose foreground process has this queue
	Waiting   int64      `json:"waiting"`           // tickets that nobody has taken yet
	Active    int64      `json:"active"`            // in workers' hands
	Retry     int64      `json:"retry"`             // to be tried again later, after an error
	Scheduled int64      `json:"scheduled"`         // for a later time; this program schedules none
	Archived  int64      `json:"archived"`          // given up by the queue; there should be none
	Completed int64      `json:"completed"`         // kept after their end; there should be none
	Processed int64      `json:"processed_today"`   // UTC
	Failed    int64      `json:"failed_today"`      // of them, with an error
	Paused    bool       `json:"paused,omitempty"`  // by a tool of asynq's
	Oldest    *time.Time `json:"oldest,omitempty"`  // when the ticket came that waits longest
	Latency   float64    `json:"latency_seconds"`   // for how long it has waited
	Owed      int64      `json:"owed"`              // tickets that will be sent as the queue grows shorter
	Accounts  int64      `json:"accounts"`          // in the lane's ring
	Ring      []RingSeat `json:"ring,omitempty"`    // the first of them, whose turn is next first
}

// RingSeat is an account in a lane's ring.
type RingSeat struct {
	Account string `json:"account"`
	Jobs    int64  `json:"jobs"`   // that have something to claim
	Behind  int64  `json:"behind"` // bytes of work that it is ahead of the first account: it waits until that has caught up
}

// QueueFacts are the insides of the queue and of the store below it.
type QueueFacts struct {
	At           time.Time   `json:"at"` // by the store's clock
	Queues       []QueueInfo `json:"queues"`
	More         int         `json:"more,omitempty"`          // queues of foreground processes that are left out
	OldestQueued *time.Time  `json:"oldest_queued,omitempty"` // when the job was made that has waited longest for a worker
	Store        []StoreNode `json:"store"`
}

// Queues tells how the queues and the store stand. It costs a few calls, however many jobs there are.
func (s *Service) Queues(ctx context.Context) (QueueFacts, error) {
	p := s.client.Pipeline()
	names, now, accounts := p.SMembers(ctx, "asynq:queues"), p.Time(ctx), p.SMembers(ctx, keyAccounts)
	if _, err := p.Exec(ctx); err != nil {
		return QueueFacts{}, fmt.Errorf("list the queues: %w", err)
	}
	f := QueueFacts{At: now.Val().UTC()}
	var err error
	all := queueNames(names.Val(), s.scripts.version)
	if len(all) > queuesShown {
		f.More, all = len(all)-queuesShown, all[:queuesShown]
	}
	if f.Queues, err = s.queueInfos(ctx, all, f.At); err != nil {
		return QueueFacts{}, err
	}
	if f.OldestQueued, err = s.oldestQueued(ctx, accounts.Val()); err != nil {
		return QueueFacts{}, err
	}
	f.Store, err = s.storeNodes(ctx)
	return f, err
}

// queueNames are the lanes of this version, whether they were used or not, then what else there is.
func queueNames(stored []string, version int) []string {
	lanes := poolQueues(version)
	for _, name := range stored {
		if isLane(name) {
			lanes[name] = 0
		}
	}
	var all, rest []string
	for name := range lanes {
		all = append(all, name)
	}
	slices.SortFunc(all, func(a, b string) int {
		pa, va := laneParts(a)
		pb, vb := laneParts(b)
		order := []Priority{High, Normal, Low}
		return cmp.Or(cmp.Compare(slices.Index(order, pa), slices.Index(order, pb)), cmp.Compare(vb, va))
	})
	for _, name := range stored {
		if !isLane(name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	return append(all, rest...)
}

// laneParts are the priority and the version of a lane.
func laneParts(lane string) (Priority, int) {
	base, version, _ := strings.Cut(lane, "-v")
	n, err := strconv.Atoi(version)
	if err != nil {
		n = 1
	}
	return Priority(base), n
}

// asked are the answers about one queue.
type asked struct {
	waiting, active, retry, scheduled, archived, completed, paused, accounts *redis.IntCmd
	processed, failed, oldest, owed                                          *redis.StringCmd
	ring                                                                     *redis.ZSliceCmd
}

// queueInfos asks for all queues in two rounds: how they stand, and then since when their oldest tickets wait.
func (s *Service) queueInfos(ctx context.Context, names []string, now time.Time) ([]QueueInfo, error) {
	p := s.client.Pipeline()
	answers := make([]asked, len(names))
	for i, name := range names {
		answers[i] = s.askQueue(ctx, p, name, now)
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("look at the queues: %w", err)
	}
	p = s.client.Pipeline()
	since, seats := make([]*redis.StringCmd, len(names)), map[[2]string]*redis.IntCmd{}
	for i, name := range names {
		since[i] = p.HGet(ctx, "asynq:{"+name+"}:t:"+answers[i].oldest.Val(), "pending_since")
		if isLane(name) {
			for _, z := range answers[i].ring.Val() {
				account, _ := z.Member.(string)
				seats[[2]string{name, account}] = p.ZCard(ctx, s.ring.keyJobs(name, account))
			}
		}
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("look at the queues: %w", err)
	}
	all := make([]QueueInfo, len(names))
	for i, name := range names {
		q := answers[i].info(name)
		if nanos := number(since[i].Val()); nanos > 0 {
			at := time.Unix(0, nanos).UTC()
			q.Oldest, q.Latency = &at, max(0, now.Sub(at).Seconds())
		}
		for n := range q.Ring {
			q.Ring[n].Jobs = seats[[2]string{name, q.Ring[n].Account}].Val()
		}
		all[i] = q
	}
	return all, nil
}

func (s *Service) askQueue(ctx context.Context, p redis.Pipeliner, name string, now time.Time) asked {
	base := "asynq:{" + name + "}:"
	day := now.UTC().Format(time.DateOnly)
	a := asked{
		waiting: p.LLen(ctx, keyPending(name)), active: p.LLen(ctx, base+"active"), retry: p.ZCard(ctx, base+"retry"),
		scheduled: p.ZCard(ctx, base+"scheduled"), archived: p.ZCard(ctx, base+"archived"), completed: p.ZCard(ctx, base+"completed"),
		paused: p.Exists(ctx, base+"paused"), oldest: p.LIndex(ctx, keyPending(name), -1),
		processed: p.Get(ctx, base+"processed:"+day), failed: p.Get(ctx, base+"failed:"+day),
	}
	if isLane(name) {
		accounts := s.ring.keys(name)[0]
		a.owed, a.accounts = p.Get(ctx, s.ring.keyOwed(name)), p.ZCard(ctx, accounts)
		a.ring = p.ZRangeWithScores(ctx, accounts, 0, ringShown-1)
	}
	return a
}

func (a asked) info(name string) QueueInfo {
	q := QueueInfo{Name: name, Waiting: a.waiting.Val(), Active: a.active.Val(), Retry: a.retry.Val(), Scheduled: a.scheduled.Val(),
		Archived: a.archived.Val(), Completed: a.completed.Val(), Paused: a.paused.Val() > 0,
		Processed: number(a.processed.Val()), Failed: number(a.failed.Val())}
	if !isLane(name) {
		q.Job, _ = strings.CutPrefix(name, foregroundQueue(""))
		return q
	}
	q.Lane, q.Version = laneParts(name)
	q.Owed, q.Accounts = max(0, number(a.owed.Val())), a.accounts.Val()
	seats := a.ring.Val()
	for _, z := range seats {
		account, _ := z.Member.(string)
		q.Ring = append(q.Ring, RingSeat{Account: account, Behind: int64(z.Score-seats[0].Score) * turnUnit})
	}
	return q
}

// keyJobs is the set of an account's jobs in a lane's ring, see lua/fair/prelude.lua.
func (r *ring) keyJobs(lane, account string) string {
	return "offload:{fair:" + lane + "}:jobs:" + account
}

// oldestQueued tells when the job was made that has waited longest for a worker, by the index of the accounts; nil where
// none waits.
func (s *Service) oldestQueued(ctx context.Context, accounts []string) (*time.Time, error) {
	slices.Sort(accounts)
	accounts = accounts[:min(len(accounts), queuedOldness)]
	if len(accounts) == 0 {
		return nil, nil
	}
	p := s.client.Pipeline()
	firsts := make([]*redis.ZSliceCmd, len(accounts))
	for i, a := range accounts {
		firsts[i] = p.ZRangeByScoreWithScores(ctx, keyAccount(a), &redis.ZRangeBy{
			Min: strconv.FormatFloat(placeAt(0, Queued), 'f', 0, 64), Max: strconv.FormatFloat(placeAt(1<<placeBits-1, Queued), 'f', 0, 64), Count: 1})
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("look for the oldest queued job: %w", err)
	}
	var oldest *time.Time
	for _, f := range firsts {
		for _, z := range f.Val() {
			at := time.UnixMilli(int64(uint64(z.Score) & (1<<placeBits - 1))).UTC()
			if oldest == nil || at.Before(*oldest) {
				oldest = &at
			}
		}
	}
	return oldest, nil
}
