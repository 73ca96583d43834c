package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// liveMost is how many unfinished jobs an Overview holds.
const liveMost = 100

// stalledMost bounds what an Overview reads of the jobs that wait for a person, of each reason the newest and the oldest ones.
const stalledMost = 50

// keyWaits is the zset of the jobs that wait, by the number of their reason. It follows a moment later, as the index does.
const keyWaits = "offload:jobs:waits"

// reasons are the reasons in the order of keyWaits. One may be added at the end; none may change its number.
func reasons() []Reason {
	return []Reason{ReasonQuota, ReasonWindow, ReasonSignIn, ReasonSpace, ReasonHold}
}

// Overview is everything that is going on, as of one moment: what the first screen, the metrics and live views are made of.
type Overview struct {
	At      time.Time        `json:"at"`
	Counts  map[State]int64  `json:"counts"`  // of all jobs
	Waiting map[Reason]int64 `json:"waiting"` // of those that wait, by what they wait for
	// Live are unfinished jobs: those that run first, then those that wait, then the paused and queued ones, each kind the
	// newest first; at most 100.
	Live []Progress `json:"live"`
	More int64      `json:"more"` // unfinished jobs that Live leaves out
	// Stalled are jobs among those that Live leaves out which wait for a person, be it for a sign-in or for space, newest
	// first: of each reason the 50 newest and the 50 oldest, so that many others can't hide what is to be done.
	Stalled []Job        `json:"-"`
	Workers []WorkerInfo `json:"workers"`
}

// Overview tells what is going on. It is made to be asked once a second, however many people look: it asks the store about
// four times, and reads no more than 100 jobs, and up to 200 that wait for a person where there are so many. The counts come from the index of the accounts, set right by the jobs that were
// read: with more than 100 unfinished ones, a state that a worker has just changed may be counted a moment late.
func (s *Service) Overview(ctx context.Context) (Overview, error) {
	if err := s.indexAll(ctx); err != nil {
		return Overview{}, err
	}
	v := &survey{s: s, Overview: Overview{Counts: map[State]int64{}, Waiting: map[Reason]int64{}, Live: []Progress{}}, was: map[string]State{}}
	for _, step := range []func(context.Context) error{v.ask, v.count, v.choose, v.read} {
		if err := step(ctx); err != nil {
			return Overview{}, err
		}
	}
	return v.Overview, nil
}

// indexAll puts jobs of an earlier version into the index where no worker has done so yet.
func (s *Service) indexAll(ctx context.Context) error {
	r := reindexer{s: s}
	for r.next.IsZero() {
		whole, err := s.indexed(ctx)
		if err != nil || whole {
			return err
		}
		if err := r.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// survey is an Overview in the making.
type survey struct {
	Overview
	s       *Service
	streams []stream         // of the index, that hold unfinished jobs
	ids     []string         // of the jobs to read
	persons []string         // of those that wait for a person, by the index of waits
	was     map[string]State // their states in the index
	now     time.Time        // on the store's clock
	fleet   string           // the bandwidth of all jobs
}

// ask asks for the time, the workers and the accounts.
func (v *survey) ask(ctx context.Context) error {
	p := v.s.client.Pipeline()
	now, accounts := p.Time(ctx), p.SMembers(ctx, keyAccounts)
	workers := listWorkers(ctx, p)
	fleet := p.Get(ctx, keyFleetBandwidth) // the last: that there is none is no error, and hides none of the others
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("look what is going on: %w", err)
	}
	v.now, v.fleet = now.Val(), fleet.Val()
	if errors.Is(fleet.Err(), redis.Nil) {
		v.fleet = v.s.bands.std
	}
	v.At, v.Workers = v.now.UTC(), workers(v.now)
	for _, a := range accounts.Val() {
		for _, st := range places() {
			v.streams = append(v.streams, stream{account: a, state: st})
		}
	}
	return nil
}

// count counts the jobs by state, and those that wait by reason.
func (v *survey) count(ctx context.Context) error {
	p := v.s.client.Pipeline()
	counts := make([]*redis.IntCmd, len(v.streams))
	for i, st := range v.streams {
		counts[i] = p.ZCount(ctx, keyAccount(st.account), score(placeAt(0, st.state)), score(placeAt(1<<placeBits-1, st.state)))
	}
	waits := make([]*redis.IntCmd, len(reasons()))
	for i := range waits {
		at := fmt.Sprint(i)
		waits[i] = p.ZCount(ctx, keyWaits, at, at)
	}
	persons := askPersons(ctx, p)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("count jobs: %w", err)
	}
	v.persons = persons()
	var open []stream
	for i, st := range v.streams {
		n := counts[i].Val()
		if n == 0 {
			continue
		}
		v.Counts[st.state] += n
		if !st.state.Terminal() {
			open = append(open, st)
		}
	}
	v.streams = open
	for i, r := range reasons() {
		if n := waits[i].Val(); n > 0 {
			v.Waiting[r] = n
		}
	}
	return nil
}

// askPersons asks which jobs wait for a person.
func askPersons(ctx context.Context, p redis.Pipeliner) func() []string {
	var answers []*redis.StringSliceCmd
	for _, r := range []Reason{ReasonSignIn, ReasonSpace} {
		at := fmt.Sprint(slices.Index(reasons(), r))
		by := &redis.ZRangeBy{Min: at, Max: at, Count: stalledMost}
		answers = append(answers, p.ZRevRangeByScore(ctx, keyWaits, by), p.ZRangeByScore(ctx, keyWaits, by))
	}
	return func() []string {
		var ids []string
		for _, a := range answers {
			ids = append(ids, a.Val()...)
		}
		slices.SortFunc(ids, newerFirst)
		return slices.Compact(ids)
	}
}

// liveRank orders unfinished jobs by how much there is to see of them.
func liveRank(s State) int {
	switch s {
	case Scanning, Transferring, Finishing:
		return 0
	case Waiting:
		return 1
	}
	return 2
}

// choose finds the jobs to read.
func (v *survey) choose(ctx context.Context) error {
	for rank := range 3 {
		h := &shelf{s: v.s, found: func(id string, st State) { v.was[id] = st }}
		for _, st := range v.streams {
			if liveRank(st.state) == rank {
				h.streams = append(h.streams, st)
			}
		}
		if room := liveMost - len(v.ids); room > 0 && len(h.streams) > 0 {
			ids, err := h.next(ctx, "", room)
			if err != nil {
				return err
			}
			v.ids = append(v.ids, ids...)
		}
	}
	slices.Sort(v.ids) // one may have changed its state between two answers
	v.ids = slices.Compact(v.ids)
	v.persons = slices.DeleteFunc(v.persons, func(id string) bool {
		_, found := slices.BinarySearch(v.ids, id)
		return found
	})
	return nil
}

// read reads the jobs, and sets the counts right by them.
func (v *survey) read(ctx context.Context) error {
	p := v.s.client.Pipeline()
	jobs, live := make([]*redis.MapStringStringCmd, len(v.ids)), make([]*redis.MapStringStringCmd, len(v.ids))
	for i, id := range v.ids {
		jobs[i], live[i] = p.HGetAll(ctx, keysOf(id).job()), p.HGetAll(ctx, keysOf(id).live())
	}
	persons := make([]*redis.MapStringStringCmd, len(v.persons))
	for i, id := range v.persons {
		persons[i] = p.HGetAll(ctx, keysOf(id).job())
	}
	if p.Len() > 0 {
		if _, err := p.Exec(ctx); err != nil {
			return fmt.Errorf("read jobs: %w", err)
		}
	}
	var all error
	for i, id := range v.ids {
		all = errors.Join(all, v.add(id, jobs[i].Val(), live[i].Val()))
	}
	for i, id := range v.persons {
		all = errors.Join(all, v.stall(id, persons[i].Val()))
	}
	if all != nil { // one that can't be read is no reason to show nothing of the others
		v.s.log.Warn("read jobs for the overview", "error", all)
	}
	v.settle()
	return nil
}

// add notes a job that was read. Its state may be another by now than the index says; a job that was removed has none.
func (v *survey) add(id string, fields, live map[string]string) error {
	state, was := State(fields["state"]), v.was[id]
	if state != was {
		v.Counts[was]--
		if state != "" {
			v.Counts[state]++
		}
	}
	if state == "" || state.Terminal() {
		return nil
	}
	j, err := jobOf(id, fields)
	if err != nil {
		return err
	}
	pr, err := progressOf(j, live, v.fleet, v.now)
	if err == nil {
		v.Live = append(v.Live, pr)
	}
	return err
}

// stall notes a job that Live leaves out, if it waits for a person still. The counts are left as they are: nobody has looked
// what the index of the accounts says of it.
func (v *survey) stall(id string, fields map[string]string) error {
	if State(fields["state"]) != Waiting || !one(Reason(fields["reason"]), ReasonSignIn, ReasonSpace) {
		return nil
	}
	j, err := jobOf(id, fields)
	if err == nil {
		v.Stalled = append(v.Stalled, j)
	}
	return err
}

// settle orders the jobs and ends the counts.
func (v *survey) settle() {
	slices.SortFunc(v.Live, func(a, b Progress) int {
		return cmp.Or(cmp.Compare(liveRank(a.Job.State), liveRank(b.Job.State)), newerFirst(a.Job.ID, b.Job.ID))
	})
	var open, waiting int64
	exact := map[Reason]int64{}
	for _, p := range v.Live {
		if p.Job.State == Waiting {
			waiting++
			exact[p.Job.Reason]++
		}
	}
	for st, n := range v.Counts {
		if n <= 0 {
			delete(v.Counts, st)
		} else if !st.Terminal() {
			open += n
		}
	}
	if waiting == v.Counts[Waiting] {
		v.Waiting = exact
	}
	v.More = max(0, open-int64(len(v.Live)))
}
