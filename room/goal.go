package room

import (
	"errors"
	"math"
	"strings"
	"time"

	"offload/jobs"
	"offload/transfer"
)

// Slack is what a device backup is given beyond what it says that it needs, in hundredths: what a phone tells is an estimate,
// and the backup grows until it begins.
const Slack = 5

// Need is how many bytes are to be free in the end, of an account with that room.
func Need(g Goal, s transfer.Storage) int64 {
	switch {
	case g.Backup > 0:
		return g.Backup + g.Backup/100*Slack + (g.Backup%100*Slack+99)/100
	case g.Percent > 0:
		whole, part := s.Total/100, s.Total%100
		return whole*int64(g.Percent) + (part*int64(g.Percent)+99)/100
	}
	return g.Free
}

// Free is how many bytes are free; it is below 0 where the account holds more than it may.
func Free(s transfer.Storage) int64 { return s.Total - s.Used }

// Missing is how many bytes are missing until the goal is reached, 0 where it is.
func Missing(g Goal, s transfer.Storage) int64 { return max(0, Need(g, s)-Free(s)) }

// check completes a goal and refuses one that makes no sense.
func check(g Goal) (Goal, error) {
	if g.Order == "" {
		g.Order = Oldest
	}
	given := 0
	for _, n := range []int64{g.Free, int64(g.Percent), g.Backup} {
		if n != 0 {
			given++
		}
	}
	for _, c := range []struct {
		wrong             bool
		field, what, hint string
	}{
		{g.Remote == "", "remote", "is missing", "name the remote that is to have room, such as icloud:"},
		{g.To == "", "to", "is missing", "name where the files go, such as dropbox:Archive"},
		{given != 1, "target", "isn't told, or told more than once", "give one of --target 20GiB, --until 40%free and --for-backup 12GiB"},
		{g.Free < 0 || g.Free > math.MaxInt64/2, "target", "is no size", "give a size such as 20GiB"},
		{g.Percent < 0 || g.Percent > 99, "until", "isn't between 1% and 99%", "give a part of the whole such as 40%free"},
		{g.Backup < 0 || g.Backup > math.MaxInt64/2, "for-backup", "is no size", "give what the phone says that its next backup needs, such as 12GiB"},
		{g.Order != Oldest && g.Order != Largest && g.Order != Fewest, "order", "isn't known", "use oldest, largest or fewest"},
		{g.KeepRecent < 0 || g.KeepRecent > 100*365*24*time.Hour, "keep-recent", "is no time", "give a time such as 90d"},
	} {
		if c.wrong {
			return g, &jobs.OrderError{Field: c.field, Hint: c.hint, Err: errors.New(c.what)}
		}
	}
	return g, nil
}

// orderOf is the order for a goal, still without its files.
func orderOf(g Goal, base jobs.Order) (Goal, jobs.Order, error) {
	g, err := check(g)
	if err != nil {
		return g, base, err
	}
	if err := transfer.CheckFilters(transfer.Options{Exclude: g.Protect}); err != nil {
		return g, base, &jobs.OrderError{Field: "protect", Hint: "see https://rclone.org/filtering/ for the patterns", Err: errors.New(strings.TrimPrefix(err.Error(), "exclude "))}
	}
	o := base
	o.Source, o.Dest, o.Goal, o.Plan, o.Planned = g.Remote, g.To, &g, "", nil
	switch o.DeleteSource {
	case "", transfer.DeleteNever, transfer.DeleteVerified:
		o.DeleteSource = transfer.DeleteVerified // nothing is freed without
	}
	g.Purge = g.Purge || o.PurgeTrash
	o.PurgeTrash = g.Purge
	o.Exclude = append(append([]string(nil), o.Exclude...), g.Protect...)
	o.MinAge = max(o.MinAge, g.KeepRecent)
	o.Order = transfer.OrderLargest
	if g.Order == Oldest {
		o.Order = transfer.OrderOldest
	}
	o = o.WithDefaults()
	return g, o, o.Validate()
}
