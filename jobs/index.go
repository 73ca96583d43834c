package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"
)

// The index of the accounts: a set for each account with its jobs by state and age, so that a page of a list need not read
// all jobs. It is written by whoever enqueues a job, and by each audit of one: the jobs' scripts can't, since the set lies
// in another slot of a cluster. So an entry may be a moment late; whoever must miss nothing asks the jobs (each).

// keyAccounts is the set of the accounts that have, or had, jobs.
const keyAccounts = "offload:jobs:accounts"

// keyIndexed exists once every job of an earlier version is in the index of its account.
const keyIndexed = "offload:jobs:indexed"

// keyAccount is the zset of an account's job IDs by place.
func keyAccount(account string) string { return "offload:jobs:of:" + account }

// Times and sizes of looking the index over.
const (
	reindexEvery  = time.Hour // workers of an earlier version may run beside this one for a while
	reindexAtOnce = 2000      // jobs in a round of maintenance
)

// places are the states in the order of the index. A state may be added at the end; none may change its number.
func places() []State {
	return []State{Queued, Scanning, Transferring, Finishing, Waiting, Paused, Completed, CompletedW, FailedState, Canceled}
}

// placeBits is how many bits the time of an ID takes. With the number of the state above it a place stays below 2^53, up to
// where the scores of Redis are exact.
const placeBits = 48

// place is where a job stands in the set of its account: by state, then by the time of its ID. It is -1 for what is no ID
// and for a state that isn't known here.
func place(id string, state State) float64 {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return -1
	}
	return placeAt(u.Time(), state)
}

func placeAt(ms uint64, state State) float64 {
	n := slices.Index(places(), state)
	if n < 0 {
		return -1
	}
	return float64(uint64(n)<<placeBits | ms)
}

// index makes a new job known, before it is created: a job that is indexed but was never created is dropped by
// maintenance, while one that was created but not indexed would never be seen again.
func (s *Service) index(ctx context.Context, id, account string) error {
	p := s.client.Pipeline()
	p.ZAdd(ctx, keyIndex, redis.Z{Member: id})
	s.times.setIn(ctx, p, keyDue, id, firstLook, dueQueued.base())
	p.SAdd(ctx, keyAccounts, account)
	p.ZAdd(ctx, keyAccount(account), redis.Z{Score: place(id, Queued), Member: id})
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("store job: %w", err)
	}
	return nil
}

// indexed tells whether every job is in the index.
func (s *Service) indexed(ctx context.Context) (bool, error) {
	if s.whole.Load() {
		return true, nil
	}
	n, err := s.client.Exists(ctx, keyIndexed).Result()
	if err != nil {
		return false, fmt.Errorf("list jobs: %w", err)
	}
	s.whole.Store(n == 1)
	return n == 1, nil
}

// reindexer looks the index over, some jobs in each round of maintenance: for jobs of an earlier version, and those that a
// worker of an earlier version has changed.
type reindexer struct {
	s      *Service
	cursor string
	next   time.Time
}

func (r *reindexer) round(ctx context.Context) error {
	if time.Now().Before(r.next) {
		return nil
	}
	ids, err := r.s.newest(ctx, r.cursor, reindexAtOnce)
	if err != nil {
		return err
	}
	if err := r.s.mend(ctx, ids); err != nil {
		return err
	}
	if len(ids) == reindexAtOnce {
		r.cursor = ids[len(ids)-1]
		return nil
	}
	r.cursor, r.next = "", time.Now().Add(reindexEvery)
	if err := r.s.client.Set(ctx, keyIndexed, 1, 0).Err(); err != nil {
		return fmt.Errorf("index jobs: %w", err)
	}
	return nil
}

// mend puts jobs where their states say. It looks again at those that it has moved: somebody may have changed one between
// its look and the move, and whoever did has noted that before.
func (s *Service) mend(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		wrong, err := s.misplaced(ctx, ids)
		if err != nil {
			return err
		}
		p := s.client.Pipeline()
		ids = nil
		for _, b := range wrong {
			p.SAdd(ctx, keyAccounts, b.account)
			p.ZAdd(ctx, keyAccount(b.account), redis.Z{Score: place(b.id, b.state), Member: b.id})
			if b.state != Waiting {
				p.ZRem(ctx, keyWaits, b.id)
			}
			ids = append(ids, b.id)
		}
		if len(ids) == 0 {
			return nil
		}
		if _, err := p.Exec(ctx); err != nil {
			return fmt.Errorf("index jobs: %w", err)
		}
	}
	return nil
}

// misplaced returns the jobs that don't stand where their states say.
func (s *Service) misplaced(ctx context.Context, ids []string) ([]brief, error) {
	found, err := s.briefs(ctx, ids)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(b brief) bool { return b.account == "" || place(b.id, b.state) < 0 })
	p := s.client.Pipeline()
	at := make([]*redis.FloatCmd, len(found))
	for i, b := range found {
		at[i] = p.ZScore(ctx, keyAccount(b.account), b.id)
	}
	if _, err := p.Exec(ctx); len(found) > 0 && err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("index jobs: %w", err)
	}
	var wrong []brief
	for i, b := range found {
		if at[i].Err() != nil || at[i].Val() != place(b.id, b.state) {
			wrong = append(wrong, b)
		}
	}
	return wrong, nil
}

// shelf reads the index for one list: the jobs of one account or all, in some states or all, newest first.
type shelf struct {
	s       *Service
	streams []stream
	found   func(id string, in State) // told of each ID that next returns; nil is nobody
}

// stream is the jobs of one account in one state.
type stream struct {
	account string
	state   State
	ids     []string // read but not given yet
	chunk   int      // how many to read at once
	ended   bool
}

func (s *Service) shelf(ctx context.Context, o ListOptions) (*shelf, error) {
	accounts, states := []string{o.Account}, o.States
	if o.Account == "" {
		var err error
		if accounts, err = s.client.SMembers(ctx, keyAccounts).Result(); err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
	}
	if len(states) == 0 {
		states = places()
	}
	h := &shelf{s: s}
	for _, a := range accounts {
		for _, st := range states {
			h.streams = append(h.streams, stream{account: a, state: st})
		}
	}
	return h, nil
}

// next returns the IDs that come after one, newest first.
func (h *shelf) next(ctx context.Context, after string, count int) ([]string, error) {
	for i := range h.streams {
		h.streams[i].ids, h.streams[i].ended = nil, false
		h.streams[i].chunk = max(8, 2*count/len(h.streams))
	}
	var ids []string
	for len(ids) < count {
		if err := h.fill(ctx, after); err != nil {
			return nil, err
		}
		newest := -1
		for i, st := range h.streams {
			if len(st.ids) > 0 && (newest < 0 || newerFirst(st.ids[0], h.streams[newest].ids[0]) < 0) {
				newest = i
			}
		}
		if newest < 0 {
			break
		}
		st := &h.streams[newest]
		after = st.ids[0]
		st.ids = st.ids[1:]
		if len(ids) == 0 || ids[len(ids)-1] != after { // one may have changed its state between two answers
			ids = append(ids, after)
			if h.found != nil {
				h.found(after, st.state)
			}
		}
	}
	return ids, nil
}

// fill reads on in those streams that have given all that was read of them.
func (h *shelf) fill(ctx context.Context, after string) error {
	newest := uint64(1)<<placeBits - 1
	if u, err := ulid.ParseStrict(after); err == nil {
		newest = u.Time()
	}
	for {
		p := h.s.client.Pipeline()
		var empty []*stream
		var answers []*redis.StringSliceCmd
		for i := range h.streams {
			st := &h.streams[i]
			if len(st.ids) > 0 || st.ended {
				continue
			}
			empty = append(empty, st)
			answers = append(answers, p.ZRevRangeByScore(ctx, keyAccount(st.account), &redis.ZRangeBy{
				Min: score(placeAt(0, st.state)), Max: score(placeAt(newest, st.state)), Count: int64(st.chunk)}))
		}
		if len(empty) == 0 {
			return nil
		}
		if _, err := p.Exec(ctx); err != nil {
			return fmt.Errorf("list jobs: %w", err)
		}
		for i, st := range empty {
			st.take(answers[i].Val(), after)
		}
	}
}

// take notes what was read. Of the jobs that have the last one's own millisecond some have been given before; where these
// are all, more is read at once.
func (st *stream) take(got []string, after string) {
	st.ended = len(got) < st.chunk
	for _, id := range got {
		if after == "" || newerFirst(after, id) < 0 {
			st.ids = append(st.ids, id)
		}
	}
	if len(st.ids) == 0 {
		st.chunk *= 2
	}
}

func score(place float64) string { return strconv.FormatFloat(place, 'f', 0, 64) }
