package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Keys of the record of what people did, in one slot; see lua/deeds/add.lua.
const (
	keyDeeds    = "offload:deeds"
	keyLastDeed = "{" + keyDeeds + "}:last"
)

// Bounds of the record of deeds.
const (
	deedsKept  = 10_000 // the oldest are dropped
	deedsPage  = 100
	deedsMost  = 1000 // of a page
	deedWord   = 200  // bytes of who and what
	deedDetail = 2000 // bytes of the rest
)

// Deed is something that a person did.
type Deed struct {
	ID      string    `json:"id"` // its number; set by the store
	At      time.Time `json:"at"` // by the store's clock
	Who     string    `json:"who"`
	Action  string    `json:"action"`  // "job paused", "quota set", "signed in", ...
	Subject string    `json:"subject"` // what it was done to: a job's ID, an account, a remote
	Detail  string    `json:"detail,omitempty"`
}

// deedText is what is stored of a deed beside its number and its time.
type deedText struct {
	Who     string `json:"w"`
	Action  string `json:"a"`
	Subject string `json:"s"`
	Detail  string `json:"d,omitempty"`
}

// Audit records a deed; At and ID are the store's to set. Control characters become spaces, and what is too long is cut. No
// secret may be in it. The last 10,000 are kept.
func (s *Service) Audit(ctx context.Context, d Deed) error {
	raw, err := json.Marshal(deedText{oneLine(d.Who, deedWord), oneLine(d.Action, deedWord), oneLine(d.Subject, deedDetail),
		oneLine(d.Detail, deedDetail)})
	if err == nil {
		err = script("deeds/add").Run(ctx, s.client, []string{keyDeeds, keyLastDeed}, raw, deedsKept).Err()
	}
	if err != nil {
		return fmt.Errorf("record a deed: %w", err)
	}
	return nil
}

// AuditLog returns a page of deeds, the newest first, and the cursor of the next page, "" at the end. With limit 0 a page has
// 100; it has 1,000 at most. A cursor that is none is an *OrderError.
func (s *Service) AuditLog(ctx context.Context, cursor string, limit int) ([]Deed, string, error) {
	if limit <= 0 {
		limit = deedsPage
	}
	limit = min(limit, deedsMost)
	from := "+inf"
	if cursor != "" {
		if n, err := strconv.ParseInt(cursor, 10, 64); err != nil || n <= 0 || strconv.FormatInt(n, 10) != cursor {
			return nil, "", badCursor(cursor)
		}
		from = "(" + cursor
	}
	found, err := s.client.ZRevRangeByScore(ctx, keyDeeds, &redis.ZRangeBy{Min: "-inf", Max: from, Count: int64(limit) + 1}).Result()
	if err != nil {
		return nil, "", fmt.Errorf("read what people did: %w", err)
	}
	all := []Deed{}
	for _, line := range found {
		p := strings.SplitN(line, " ", 3)
		var t deedText
		if len(p) != 3 || json.Unmarshal([]byte(p[2]), &t) != nil {
			return nil, "", fmt.Errorf("read what people did: strange line %.100q", line)
		}
		all = append(all, Deed{ID: p[0], At: fromMillis(p[1]), Who: t.Who, Action: t.Action, Subject: t.Subject, Detail: t.Detail})
	}
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], all[limit-1].ID, nil
}

// badCursor refuses a cursor that no page gave.
func badCursor(cursor string) error {
	return &OrderError{Field: "cursor", Value: fmt.Sprintf("%.60s", cursor), Err: errors.New("no page gave this one"),
		Hint: "leave it out to begin with the first page"}
}
