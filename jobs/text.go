package jobs

import "github.com/dustin/go-humanize"

// size is a number of bytes for people; negative is unlimited.
func size(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	return humanize.IBytes(uint64(n))
}
