package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// Trouble is a group of files of a job with the same outcome for the same cause.
type Trouble struct {
	Result  transfer.Result      `json:"outcome"`
	Source  transfer.SourceState `json:"source,omitempty"` // of the example
	Code    string               `json:"code"`
	Files   int64                `json:"files"`
	Bytes   int64                `json:"bytes"`
	Remedy  string               `json:"remedy"`  // what to do, one sentence
	Example FileRecord           `json:"example"` // one of them, as a rule the first, with its reason
}

// troubleKey is what the files of a group share.
type troubleKey struct {
	result transfer.Result
	code   string
}

const (
	exampleRounds = 16          // batches of a group that are looked through for an example
	troublesAge   = time.Minute // for which groups that were counted one by one are told of a job that hasn't ended
)

// Troubles groups the files of a job that weren't moved, or whose source was kept though the order was to delete it: those that
// failed first, then by number. The store counts them as they come (kinds.go). Of a job that an earlier version has worked on
// they are counted one by one, once for as long as nothing changes, or once a minute while it runs.
func (s *Service) Troubles(ctx context.Context, id string) ([]Trouble, error) {
	id, err := s.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	f, err := s.client.HGetAll(ctx, keysOf(id).job()).Result()
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	if f["state"] == "" {
		return nil, fmt.Errorf("job %s: %w", id, ErrNotFound)
	}
	counts, whole := tallies(f)
	if !whole {
		return s.keptTroubles(ctx, id, f)
	}
	return s.countedTroubles(ctx, id, counts)
}

// countedTroubles makes the groups of a job's counts.
func (s *Service) countedTroubles(ctx context.Context, id string, counts map[kind]tally) ([]Trouble, error) {
	groups, sets := map[troubleKey]*Trouble{}, map[troubleKey]map[kind]bool{}
	for k, n := range counts {
		if k.code == "" {
			continue
		}
		g := troubleKey{k.result, k.code}
		if groups[g] == nil {
			groups[g], sets[g] = &Trouble{Result: k.result, Code: k.code}, map[kind]bool{}
		}
		groups[g].Files += n.files
		groups[g].Bytes += n.bytes
		sets[g][k] = true
	}
	var keys []troubleKey
	var kinds []map[kind]bool
	for g := range groups {
		keys, kinds = append(keys, g), append(kinds, sets[g])
	}
	where, err := s.marksOf(ctx, id, kinds...)
	if err != nil {
		return nil, err
	}
	if err := s.examples(ctx, id, groups, keys, where); err != nil {
		return nil, err
	}
	return ordered(groups), nil
}

// examples finds a file of each group. A group whose marks lead to none for long stays without: its files come and go.
func (s *Service) examples(ctx context.Context, id string, groups map[troubleKey]*Trouble, keys []troubleKey, where []marks) error {
	at := make([]int64, len(keys)) // batches looked through
	for range exampleRounds {
		var numbers []int64
		for i, g := range keys {
			if n, ok := where[i].next(at[i] + 1); ok && groups[g].Example.Path == "" {
				at[i] = n
				numbers = append(numbers, n)
			}
		}
		if len(numbers) == 0 {
			return nil
		}
		slices.Sort(numbers)
		all, err := s.fetch(ctx, id, slices.Compact(numbers))
		if err != nil {
			return err
		}
		for _, raw := range all {
			b, err := s.unpack(id, raw)
			if err != nil {
				return err
			}
			for i, o := range b.done {
				if g := groups[troubleKey{o.Result, o.Code}]; g != nil && g.Example.Path == "" {
					g.Example, g.Source = fileRecord(b.entries[i], o), o.Source
				}
			}
		}
	}
	return nil
}

// ordered are the groups as they are shown.
func ordered(groups map[troubleKey]*Trouble) []Trouble {
	list := []Trouble{}
	for _, t := range groups {
		t.Remedy = transfer.Remedy(t.Code)
		list = append(list, *t)
	}
	failed := func(t Trouble) int {
		if t.Result == transfer.Failed {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b Trouble) int {
		return cmp.Or(cmp.Compare(failed(a), failed(b)), cmp.Compare(b.Files, a.Files), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Result, b.Result))
	})
	return list
}

// slowTroubles counts the files one by one.
func (s *Service) slowTroubles(ctx context.Context, id string) ([]Trouble, error) {
	groups := map[troubleKey]*Trouble{}
	err := s.Files(ctx, id, FileFilter{}, func(r FileRecord) error {
		if r.Code == "" || r.Result == transfer.Pending {
			return nil
		}
		k := troubleKey{r.Result, r.Code}
		if groups[k] == nil {
			groups[k] = &Trouble{Result: r.Result, Source: r.Source, Code: r.Code, Example: r}
		}
		groups[k].Files++
		groups[k].Bytes += max(r.Size, 0)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ordered(groups), nil
}

// countedOnce is what was counted one by one, and when.
type countedOnce struct {
	Of     string    `json:"of"` // what the job looked like
	At     time.Time `json:"at"`
	Groups []Trouble `json:"groups"`
}

// keptTroubles returns what was counted one by one before, as long as it holds, or counts again.
func (s *Service) keptTroubles(ctx context.Context, id string, f map[string]string) ([]Trouble, error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	of, key := f["changed"]+"|", keysOf(id).troubles()
	for _, name := range countedBeside() {
		of += f[name] + "|"
	}
	raw, err := s.client.Get(ctx, key).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read the groups of files of job %s: %w", id, err)
	}
	var had countedOnce
	if json.Unmarshal(raw, &had) == nil && (had.Of == of || !State(f["state"]).Terminal() && now.Sub(had.At).Abs() < troublesAge) {
		return had.Groups, nil
	}
	groups, err := s.slowTroubles(ctx, id)
	if err != nil {
		return nil, err
	}
	raw, err = json.Marshal(countedOnce{of, now.UTC(), groups})
	if err == nil {
		err = s.client.Set(ctx, key, raw, 0).Err()
	}
	if err != nil { // they are counted again the next time
		s.log.Warn("keep the groups of files of a job", "job", id, "error", err)
	}
	return groups, nil
}
