package jobs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Bounds of reading lists of jobs.
const (
	listDefault = 50   // jobs of a page where nobody says otherwise
	listAtOnce  = 1000 // states of jobs asked for in one call
)

// ListOptions choose and page a list of jobs, newest first.
type ListOptions struct {
	States  []State // empty is all
	Account string  // "" is all
	Remote  string  // name before the colon, of source or destination; "" is all
	Search  string  // part of the label, the source or the destination, in any case, or the beginning of an ID; "" is all
	Cursor  string  // from the page before
	Limit   int     // Defaults to 50.
}

// nextIDs returns the next count IDs after one, newest first; fewer at the end.
type nextIDs func(ctx context.Context, after string, count int) ([]string, error)

// List returns a page of jobs and the cursor of the next, "" at the end. With States or an Account it goes by the index of
// the accounts (index.go), where a state that a worker has just changed may come a moment late. With a Remote or a Search a
// page may hold fewer than Limit jobs, even none, though there is a next one: see search. A Search that some job's ID
// begins with, of at least six characters, finds those jobs alone. What makes no sense is an *OrderError.
func (s *Service) List(ctx context.Context, o ListOptions) ([]Job, string, error) {
	if o.Limit <= 0 {
		o.Limit = listDefault
	}
	if o.Cursor != "" && !isIDPart(o.Cursor) {
		return nil, "", badCursor(o.Cursor)
	}
	var next nextIDs = s.newest
	if len(o.States) > 0 || o.Account != "" {
		whole, err := s.indexed(ctx)
		if err != nil {
			return nil, "", err
		}
		if whole {
			shelf, err := s.shelf(ctx, o)
			if err != nil {
				return nil, "", err
			}
			next = shelf.next
		}
	}
	if o.Remote != "" || o.Search != "" {
		return s.search(ctx, o, next)
	}
	page, last := []Job{}, o.Cursor
	for {
		ids, err := next(ctx, last, o.Limit)
		if err != nil {
			return nil, "", err
		}
		all, err := s.readJobs(ctx, ids)
		if err != nil {
			return nil, "", err
		}
		for _, j := range all {
			if !o.chooses(j.State, j.Account) {
				continue
			}
			page = append(page, j)
			if len(page) == o.Limit {
				return page, j.ID, nil
			}
		}
		if len(ids) < o.Limit {
			return page, "", nil
		}
		last = ids[len(ids)-1]
	}
}

// newest returns the IDs that come after one in the list of all jobs, newest first.
func (s *Service) newest(ctx context.Context, after string, count int) ([]string, error) {
	from := "+"
	if after != "" {
		from = "(" + after
	}
	ids, err := s.client.ZRevRangeByLex(ctx, keyIndex, &redis.ZRangeBy{Min: "-", Max: from, Count: int64(count)}).Result()
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return ids, nil
}

func (o ListOptions) chooses(state State, account string) bool {
	if o.Account != "" && account != o.Account {
		return false
	}
	return len(o.States) == 0 || slices.Contains(o.States, state)
}

// readJobs reads jobs at once. An ID that was indexed but never created, or just removed, is left out.
func (s *Service) readJobs(ctx context.Context, ids []string) ([]Job, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	p := s.client.Pipeline()
	answers := make([]*redis.MapStringStringCmd, len(ids))
	for i, id := range ids {
		answers[i] = p.HGetAll(ctx, keysOf(id).job())
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	var all []Job
	for i, id := range ids {
		f := answers[i].Val()
		if f["state"] == "" {
			continue
		}
		j, err := jobOf(id, f)
		if err != nil {
			return nil, err
		}
		all = append(all, j)
	}
	return all, nil
}

// each calls do for every job that the options choose, newest first. It looks at the state of each job itself: for whatever
// must miss none.
func (s *Service) each(ctx context.Context, o ListOptions, do func(Job) error) error {
	next, err := s.all(ctx, o.Account)
	if err != nil {
		return err
	}
	for last := ""; ; {
		ids, err := next(ctx, last, listAtOnce)
		if err != nil {
			return err
		}
		chosen, err := s.chosen(ctx, o, ids)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(chosen, listDefault) {
			page, err := s.readJobs(ctx, part)
			if err != nil {
				return err
			}
			for _, j := range page {
				if !o.chooses(j.State, j.Account) {
					continue
				}
				if err := do(j); err != nil {
					return err
				}
			}
		}
		if len(ids) < listAtOnce {
			return nil
		}
		last = ids[len(ids)-1]
	}
}

// all returns how to go through all jobs, or all of an account, newest first.
func (s *Service) all(ctx context.Context, account string) (nextIDs, error) {
	if account == "" {
		return s.newest, nil
	}
	whole, err := s.indexed(ctx)
	if err != nil || !whole {
		return s.newest, err
	}
	ids, err := s.client.ZRange(ctx, keyAccount(account), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	slices.SortFunc(ids, newerFirst)
	return func(context.Context, string, int) ([]string, error) {
		part := ids[:min(listAtOnce, len(ids))]
		ids = ids[len(part):]
		return part, nil
	}, nil
}

// chosen leaves of the IDs those that the options choose, at a fraction of what reading the jobs would cost.
func (s *Service) chosen(ctx context.Context, o ListOptions, ids []string) ([]string, error) {
	found, err := s.briefs(ctx, ids)
	if err != nil {
		return nil, err
	}
	var chosen []string
	for _, b := range found {
		if o.chooses(b.state, b.account) {
			chosen = append(chosen, b.id)
		}
	}
	return chosen, nil
}

// brief is what chooses a job. The state of one that doesn't exist is "".
type brief struct {
	id, account string
	state       State
}

func (s *Service) briefs(ctx context.Context, ids []string) ([]brief, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	p := s.client.Pipeline()
	answers := make([]*redis.SliceCmd, len(ids))
	for i, id := range ids {
		answers[i] = p.HMGet(ctx, keysOf(id).job(), "state", "account")
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	all := make([]brief, len(ids))
	for i, id := range ids {
		all[i].id = id
		if f := answers[i].Val(); len(f) == 2 {
			state, _ := f[0].(string)
			all[i].state = State(state)
			all[i].account, _ = f[1].(string)
		}
	}
	return all, nil
}

// newerFirst orders IDs as lists show them.
func newerFirst(a, b string) int { return strings.Compare(b, a) }
