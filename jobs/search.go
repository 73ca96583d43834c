package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Bounds of looking for jobs.
const (
	searchChunk = 500                   // jobs looked at in one call
	searchTime  = 25 * time.Millisecond // after which a page ends with what it has
	idPartLeast = 6                     // characters of a beginning of an ID, as for Get
)

// lookup finds the jobs of a remote, or with a text in them, by looking at one after the other. What is looked at never
// changes after a job is stored.
type lookup struct {
	s            *Service
	o            ListOptions
	text, remote needle
}

// search is List with a Remote or a Search. Nothing is kept to find jobs by their texts: each is looked at, some twenty
// thousand a second, and a page that took too long ends with what it has.
func (s *Service) search(ctx context.Context, o ListOptions, next nextIDs) ([]Job, string, error) {
	if err := checkSearch(o.Search); err != nil {
		return nil, "", err
	}
	began := time.Now()
	o.Remote = strings.TrimSuffix(o.Remote, ":")
	if part, err := s.idPart(ctx, o.Search); err != nil {
		return nil, "", err
	} else if part != "" {
		o.Search, next = "", s.newestOf(part)
	}
	l := lookup{s, o, newNeedle(o.Search), newNeedle(o.Remote)}
	page, last := []Job{}, o.Cursor
	for {
		ids, err := next(ctx, last, searchChunk)
		if err != nil {
			return nil, "", err
		}
		found, err := l.among(ctx, ids)
		if err != nil {
			return nil, "", err
		}
		for len(found) > 0 && len(page) < o.Limit {
			part := found[:min(o.Limit-len(page), len(found))]
			found = found[len(part):]
			jobs, err := s.readJobs(ctx, part)
			if err != nil {
				return nil, "", err
			}
			for _, j := range jobs {
				if o.chooses(j.State, j.Account) {
					page = append(page, j)
				}
			}
		}
		switch {
		case len(page) == o.Limit:
			return page, page[len(page)-1].ID, nil
		case len(ids) < searchChunk:
			return page, "", nil
		}
		if last = ids[len(ids)-1]; time.Since(began) > searchTime {
			return page, last, nil
		}
	}
}

// idPart returns a text as the beginning of an ID, "" where no job has an ID that begins so.
func (s *Service) idPart(ctx context.Context, text string) (string, error) {
	part := strings.ToUpper(text)
	if !isIDPart(part) {
		return "", nil
	}
	ids, err := s.newestOf(part)(ctx, "", 1)
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return part, nil
}

// newestOf is newest for the IDs that begin with a text.
func (s *Service) newestOf(part string) nextIDs {
	return func(ctx context.Context, after string, count int) ([]string, error) {
		by := redis.ZRangeBy{Min: "[" + part, Max: "[" + part + "~", Count: int64(count)}
		switch {
		case after != "" && after <= part:
			return nil, nil
		case after != "" && after < part+"~":
			by.Max = "(" + after
		}
		ids, err := s.client.ZRevRangeByLex(ctx, keyIndex, &by).Result()
		if err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		return ids, nil
	}
}

// among returns those of the IDs whose jobs are looked for.
func (l lookup) among(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	p := l.s.client.Pipeline()
	answers := make([]*redis.SliceCmd, len(ids))
	for i, id := range ids {
		answers[i] = p.HMGet(ctx, keysOf(id).job(), "state", "account", "order")
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	var found []string
	for i, id := range ids {
		f := answers[i].Val()
		if len(f) != 3 {
			continue
		}
		state, _ := f[0].(string)
		account, _ := f[1].(string)
		order, _ := f[2].(string)
		if state != "" && l.o.chooses(State(state), account) && l.fits(order) {
			found = append(found, id)
		}
	}
	return found, nil
}

// fits tells whether an order is of the remote and holds the text.
func (l lookup) fits(order string) bool {
	if !l.text.mayBeIn([]byte(order)) || !l.remote.mayBeIn([]byte(order)) {
		return false
	}
	var o struct {
		Source string `json:"source"`
		Dest   string `json:"destination"`
		Label  string `json:"label"`
	}
	if json.Unmarshal([]byte(order), &o) != nil {
		return false
	}
	if l.o.Remote != "" && !(Job{Source: o.Source, Dest: o.Dest}).uses(l.o.Remote) {
		return false
	}
	return l.text.in(o.Label) || l.text.in(o.Source) || l.text.in(o.Dest)
}
