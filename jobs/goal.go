package jobs

import "time"

// Goal is how much of an account's storage is to be free, and what may be offloaded for it. It stands in the order of the
// jobs that were made for it, so that a job can say what it is for. Package room works with it.
type Goal struct {
	Remote string `json:"remote"` // what is to have room, with a path below which files may be taken: "icloud:"
	To     string `json:"to"`     // where they go
	// Free is how many bytes are to be free in the end; Percent the same in hundredths of the whole; Backup is how many a
	// device backup needs, see docs/room.md. Exactly one of the three is above 0.
	Free    int64 `json:"free,omitempty"`
	Percent int   `json:"percent,omitempty"`
	Backup  int64 `json:"backup,omitempty"`
	// Order is which files go first: "oldest" (default), "largest" or "fewest".
	Order string `json:"order,omitempty"`
	// KeepRecent keeps what is younger; 0 is off. Protect are rclone's patterns of what stays in any case.
	KeepRecent time.Duration `json:"keep_recent,omitempty"`
	Protect    []string      `json:"protect,omitempty"`
	Purge      bool          `json:"purge,omitempty"` // out of the trash, too
}
