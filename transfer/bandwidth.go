package transfer

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rclone/rclone/fs"
)

// Bandwidth is a limit in rclone's syntax: one number, or a timetable.
type Bandwidth struct{ table fs.BwTimetable }

// ParseBandwidth reads rclone's syntax: "2M", "off", "08:00,512k 23:00,off", "Mon-00:00,1M". "" is no limit.
func ParseBandwidth(s string) (Bandwidth, error) {
	var b Bandwidth
	if s == "" {
		return b, nil
	}
	if err := b.table.Set(s); err != nil {
		var number *strconv.NumError // its text is for programmers
		if errors.As(err, &number) {
			return b, errors.New("isn't a bandwidth")
		}
		return b, fmt.Errorf("isn't a bandwidth: %w", err)
	}
	for _, slot := range b.table {
		if slot.Bandwidth.Rx < -1 || slot.Bandwidth.Tx < -1 {
			return b, fmt.Errorf("isn't a bandwidth: %q is negative", s)
		}
	}
	return b, nil
}

// At returns the limit in bytes a second that holds at t, in t's own zone; 0 is none.
func (b Bandwidth) At(t time.Time) int64 {
	if len(b.table) == 0 {
		return 0
	}
	slot := b.table.LimitAt(t).Bandwidth
	limit := int64(slot.Rx)
	if up := int64(slot.Tx); up > 0 && (limit <= 0 || up < limit) {
		limit = up // every byte read is written too
	}
	return max(limit, 0)
}
