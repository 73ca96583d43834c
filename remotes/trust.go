package remotes

import (
	"math"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs/cache"
)

const (
	// TrustDays is how long Apple trusts a sign-in.
	TrustDays = 30
	// warnFrom is the day of the trust from which a new sign-in is suggested.
	warnFrom = 21
)

// TrustLeft returns how many days an iCloud remote's sign-in is still trusted, as far as its configuration tells; false
// where it doesn't. Zero is none: a person has to sign in again.
func TrustLeft(values map[string]string, now time.Time) (days int, known bool) {
	at, err := time.Parse(time.RFC3339, values[keyTrustTime])
	if err != nil || values["type"] != KindICloud || values["trust_token"] == "" {
		return 0, false
	}
	left := at.AddDate(0, 0, TrustDays).Sub(now)
	return max(0, int(math.Ceil(left.Hours()/24))), true
}

// TrustEndsSoon tells whether so few days are left that a person should sign in again: from day 21 of 30.
func TrustEndsSoon(daysLeft int) bool { return daysLeft <= TrustDays-warnFrom+1 }

// Forget drops what rclone remembers of a remote outside of its configuration: the addresses of iCloud's services and
// open instances.
func Forget(name string) {
	api.ClearCacheDir(name)
	cache.ClearConfig(name)
}
