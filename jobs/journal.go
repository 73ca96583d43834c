package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// journal records the outcomes of one batch and counts them for the job. Records that come while one is being written
// are written together with the next: many small files cost few calls. It implements transfer.Journal.
type journal struct {
	s       *Service
	hold    hold
	tail    *tail
	batch   int64
	entries []transfer.Entry
	seen    func(State) // told of the job's state with each answer
	looks   bool        // the entries are looked at and not moved

	mu    sync.Mutex
	cur   []transfer.Outcome // as stored
	queue []*record
	idle  *sync.Cond
	busy  bool
}

type record struct {
	i    int
	o    transfer.Outcome
	done chan error
}

func newJournal(s *Service, h hold, batch int64, entries []transfer.Entry, done []transfer.Outcome, seen func(State)) *journal {
	j := &journal{s: s, hold: h, tail: h.tail, batch: batch, entries: entries, cur: append([]transfer.Outcome(nil), done...), seen: seen}
	j.idle = sync.NewCond(&j.mu)
	return j
}

// Record implements transfer.Journal.
func (j *journal) Record(ctx context.Context, i int, o transfer.Outcome) error {
	r := &record{i, o, make(chan error, 1)}
	j.mu.Lock()
	j.queue = append(j.queue, r)
	if !j.busy {
		j.busy = true
		// What was done must be written though the work around it is being called off; the fence keeps it honest.
		go j.flush(context.WithoutCancel(ctx))
	}
	j.mu.Unlock()
	return <-r.done
}

// outcomes returns what is stored, once nothing is being written.
func (j *journal) outcomes() []transfer.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.busy {
		j.idle.Wait()
	}
	return j.cur
}

func (j *journal) flush(ctx context.Context) {
	for {
		j.mu.Lock()
		todo := j.queue
		j.queue = nil
		if len(todo) == 0 {
			j.busy = false
			j.idle.Broadcast()
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		err := j.write(ctx, todo)
		for _, r := range todo {
			r.done <- err
		}
	}
}

func (j *journal) write(ctx context.Context, todo []*record) error {
	change := counters{}
	var pairs []any
	for _, r := range todo {
		raw, err := json.Marshal(r.o)
		if err != nil {
			return fmt.Errorf("record outcome of %s: %w", j.entries[r.i].Path, err)
		}
		pairs = append(pairs, r.i, raw)
	}
	j.mu.Lock()
	next := map[int]transfer.Outcome{}
	for _, r := range todo {
		old, ok := next[r.i]
		if !ok {
			old = j.cur[r.i]
		}
		change.add(j.entries[r.i], old, -1)
		change.add(j.entries[r.i], r.o, 1)
		next[r.i] = r.o
	}
	k := keysOf(j.hold.job)
	keys := append([]string{k.outcomes(j.batch)}, k.kindKeys(kindsIn(slices.Collect(maps.Values(next))))...)
	j.mu.Unlock()
	if j.tail.broken {
		return fmt.Errorf("record outcomes of %s of job %s: an earlier one may be lost: %w", j.hold.unit, j.hold.job, transfer.ErrFenced)
	}
	j.tail.count++
	seq := fmt.Sprintf("%s.%d", j.hold.fence, j.tail.count)
	args := append([]any{j.hold.unit, j.hold.fence, seq, j.tail.last, j.batch}, change.args()...)
	ctx, cancel := context.WithTimeout(ctx, leaseTime-leaseMargin)
	defer cancel()
	state, err := j.send(ctx, keys, append(args, pairs...))
	if err != nil {
		// It may be stored or not: counting on could count it twice. Whoever claims the unit next reads what is there.
		j.tail.broken = true
		return err
	}
	j.tail.last = seq
	// A source may be deleted on the strength of this. Should a failover forget it all the same, nothing is lost but the
	// record: the file is told of as failed, for it is gone and nobody knows why.
	if err := j.s.cfg.Store.Replicated(ctx); err != nil {
		j.s.log.Debug("records are on the Redis master alone", "job", j.hold.job, "unit", j.hold.unit, "error", err)
	}
	j.mu.Lock()
	for i, o := range next {
		j.s.totals.outcome(j.entries[i], j.cur[i], o)
		j.cur[i] = o
	}
	j.mu.Unlock()
	j.seen(state)
	return nil
}

// send stores records. While no answer comes it asks again, for as long as the lease may last: what was stored by then counts
// once (lua/record.lua), and what can't be recorded must be read from the source once more. A master that hung may answer
// though another has taken its place, and forgets it then: after a silence only what a replica has counts, and a Cluster,
// which tells nothing of replicas, isn't asked again.
func (j *journal) send(ctx context.Context, keys []string, args []any) (State, error) {
	_, cluster := j.s.client.(*redis.ClusterClient)
	for again := false; ; again = true {
		state, err := j.s.scripts.owned(ctx, "record", j.hold, keys, args...)
		if err == nil && again {
			err = j.s.cfg.Store.Replicated(ctx)
			return state, err
		}
		if err == nil || cluster || errors.Is(err, transfer.ErrFenced) || errors.Is(err, context.Canceled) { // a store that was abandoned
			return state, err
		}
		if transfer.Sleep(ctx, recordPause) != nil {
			return state, err
		}
	}
}

// counters are changes of a job's counters, by the names of their fields.
type counters map[string]int64

// add counts an outcome, n times.
func (c counters) add(e transfer.Entry, o transfer.Outcome, n int64) {
	if o.Result == transfer.Pending {
		return
	}
	c[string(o.Result)] += n
	k := kindOf(o).String()
	c[kindFiles+k] += n
	c[kindBytes+k] += n * max(e.Size, 0)
	c["b_wasted"] += n * o.Wasted
	if o.Result == transfer.Copied {
		c["b_copied"] += n * o.Bytes
	}
	if one(o.Code, transfer.CodeDeleteFailed, transfer.CodeNotSeenAgain) {
		c["undeleted"] += n
	}
	if o.Grade != "" {
		c["grade_"+string(o.Grade)] += n
	}
	if o.Code == transfer.CodeNotPurged {
		c["not_purged"] += n
	}
	if o.Source.Gone() {
		c["deleted"] += n
		c["b_deleted"] += n * max(e.Size, 0)
	}
	if o.Source == transfer.Purged {
		c["purged"] += n
		c["b_purged"] += n * max(e.Size, 0)
	}
}

// args are the counters that change, in the form that the scripts take: their number, then name and change.
func (c counters) args() []any {
	args := []any{0}
	for name, n := range c {
		if n != 0 {
			args = append(args, name, n)
		}
	}
	args[0] = len(args) / 2
	return args
}

// pendingBytes is what the entries that nothing has become of yet will move at most, as far as their sizes are known.
func (j *journal) pendingBytes() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	var n int64
	if j.looks {
		return 0
	}
	for i, o := range j.cur {
		if o.Result == transfer.Pending && j.entries[i].Verdict == transfer.Pending {
			n += max(j.entries[i].Size, 0)
		}
	}
	return n
}
