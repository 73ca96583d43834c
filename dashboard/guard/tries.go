package guard

import (
	"net/netip"
	"sync"
	"time"
)

// tries limits failures by key: so many at once, then one in a while. It remembers no more than a set number of keys.
type tries struct {
	burst int
	every time.Duration
	most  int

	mu   sync.Mutex
	full map[string]time.Time // when a key has all its tries again; absent where it has
}

func newTries(burst int, every time.Duration, most int) *tries {
	return &tries{burst: burst, every: every, most: most, full: map[string]time.Time{}}
}

// take spends a try of the key, or tells how long to wait for the next one. Whoever didn't fail gives it back.
func (t *tries) take(key string, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	full, used := t.full[key]
	if !used || full.Before(now) {
		full = now
	}
	if wait := full.Sub(now) - time.Duration(t.burst-1)*t.every; wait > 0 {
		return wait
	}
	if !used && len(t.full) >= t.most {
		t.forget(now)
	}
	t.full[key] = full.Add(t.every)
	return 0
}

// forget makes room: those who have all their tries again, or else the one who has soonest.
func (t *tries) forget(now time.Time) {
	first, soonest := "", time.Time{}
	for key, full := range t.full {
		if !full.After(now) {
			delete(t.full, key)
		} else if first == "" || full.Before(soonest) {
			first, soonest = key, full
		}
	}
	if len(t.full) >= t.most {
		delete(t.full, first)
	}
}

// giveBack returns a try that wasn't a failure.
func (t *tries) giveBack(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if full, used := t.full[key]; used {
		t.full[key] = full.Add(-t.every)
	}
}

// placeOf is whom tries from an address are counted for: with IPv6 one customer has a whole network.
func placeOf(ip netip.Addr) string {
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
