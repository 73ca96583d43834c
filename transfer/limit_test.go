package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/fs/fserrors"
)

// A limit of the remote's own leaves an entry pending; a rate, a full drive and a refused file don't look like one.
func TestLimitsOfRemotes(t *testing.T) {
	google := func(s string) error {
		return fmt.Errorf("upload: %w", fserrors.RetryError(errors.New("googleapi: Error 403: "+s)))
	}
	for _, c := range []struct {
		side string
		err  error
		want class
		file bool
	}{
		{SideDest, google("User rate limit exceeded., userRateLimitExceeded"), classQuota, false},
		{SideDest, google("User rate limit exceeded., rateLimitExceeded"), classQuota, false},
		{SideSource, google("User rate limit exceeded., userRateLimitExceeded"), classRetry, false},
		{SideDest, google("User Rate Limit Exceeded, userRateLimitExceeded"), classRetry, false},
		{SideDest, google("User rate limit exceeded, userRateLimitExceeded"), classRetry, false},
		{SideDest, google("Rate Limit Exceeded, rateLimitExceeded"), classRetry, false},
		{SideDest, google("Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'drive.googleapis.com', rateLimitExceeded"), classRetry, false},
		{SideDest, google("The upload limit is reached., uploadLimitExceeded"), classQuota, false},
		{SideSource, google("Daily Limit Exceeded, dailyLimitExceeded"), classQuota, false},
		{SideSource, google("The download quota for this file has been exceeded., downloadQuotaExceeded"), classQuota, true},
		{SideDest, google("The user's Drive storage quota has been exceeded., storageQuotaExceeded"), classSpace, false},
		{SideSource, google("The user does not have sufficient permissions, insufficientFilePermissions"), classForbidden, false},
		{SideDest, fmt.Errorf("upload chunk: %w", errors.New("invalid_account_type/feature/.")), classQuota, false},
		{SideSource, errors.New("invalid_account_type/feature/."), classRetry, false},
		{SideSource, errors.New("Get \"https://example.org\": quota doesn't allow it now: remote x has no calls left"), classQuota, false},
	} {
		err := fmt.Errorf("copy: %w", wrapSide(c.side, "do it", c.err))
		if got := classify(context.Background(), err); got != c.want || (got == classQuota) != errors.Is(err, ErrNoQuota) {
			t.Errorf("classify(%s: %v) = %d, want %d", c.side, err, got, c.want)
		}
		var l *LimitError
		if errors.As(err, &l) && (l.File != c.file || l.Limit == "" || time.Until(l.Until) <= 0 || time.Until(l.Until) > 32*24*time.Hour) {
			t.Errorf("%v: limit %+v", err, l)
		}
	}
}

// Only a limit of ours can be raised here.
func TestHintOfALimit(t *testing.T) {
	for text, ours := range map[string]bool{"googleapi: Error 403: Daily Limit Exceeded, dailyLimitExceeded": false, ErrNoQuota.Error(): true} {
		err := withLimit(SideSource, errors.New(text), time.Now())
		if hint := hintFor(t.Context(), "gdrive:x", err); strings.Contains(hint, "offload quota set --remote gdrive") != ours || !strings.Contains(hint, "Wait") {
			t.Errorf("%s: %s", text, hint)
		}
	}
}

func TestDropboxTeamLimitEndsWithTheMonth(t *testing.T) {
	for now, want := range map[string]string{
		"2026-11-22T10:00:00Z": "2026-12-01T00:00:00Z", "2026-12-31T23:59:59Z": "2027-01-01T00:00:00Z",
		"2027-01-01T01:00:00+02:00": "2027-01-01T00:00:00Z",
	} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		var l *LimitError
		if err := withLimit(SideDest, errors.New("invalid_account_type/feature/"), at); !errors.As(err, &l) || l.Until.Format(time.RFC3339) != want {
			t.Errorf("at %s the limit is %+v, want %s", now, l, want)
		}
	}
}
