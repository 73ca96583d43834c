package cloudtest

import (
	"strconv"
	"strings"
	"time"
)

// storageKnobs is what tests set of an account's room.
type storageKnobs struct {
	others    map[string]int64 // photos, backup, mail
	trashFree bool
	lag       time.Duration
	gone      []goneBytes // what went not longer ago than the lag
}

// goneBytes is room that was given up at a time.
type goneBytes struct {
	at    time.Time
	bytes int64
}

// left notes that a file is removed for good. The tree must be locked.
func (k *storageKnobs) left(n *node, now time.Time) {
	if k.lag > 0 && !n.folder() && n.size() > 0 {
		k.gone = append(k.gone, goneBytes{now, n.size()})
	}
}

// late is what the storage still tells as taken though it is free. The tree must be locked.
func (k *storageKnobs) late(now time.Time) (bytes int64) {
	for _, g := range k.gone {
		if now.Sub(g.at) < k.lag {
			bytes += g.bytes
		}
	}
	return bytes
}

// used is the room that the drive takes, the trash included unless that is free.
func (t *tree) used() int64 {
	live, _ := t.root.sizes()
	dead, _ := t.trash.sizes()
	if t.room.trashFree {
		dead = 0
	}
	return live + dead
}

// taken is the room that the drive and everything beside it take.
func (t *tree) taken() int64 {
	n := t.used()
	for _, o := range t.room.others {
		n += o
	}
	return n
}

// storage is the answer of storageUsageInfo.
func (a *Account) storage() (doc map[string]any) {
	a.locked(func(t *tree) {
		docs, used := t.used()+t.room.late(t.now()), int64(0)
		media := []any{}
		for i, k := range []string{"photos", "backup", "docs", "mail"} {
			n := t.room.others[k]
			if k == "docs" {
				n = docs
			}
			used += n
			media = append(media, map[string]any{"mediaKey": k, "displayLabel": strings.ToUpper(k[:1]) + k[1:],
				"displayColor": "ffcc0" + strconv.Itoa(i), "usageInBytes": n})
		}
		doc = map[string]any{"storageUsageByMedia": media,
			"storageUsageInfo": map[string]any{"compStorageInBytes": 0, "usedStorageInBytes": used, "totalStorageInBytes": t.total,
				"commerceStorageInBytes": max(0, t.total-5<<30)},
			"quotaStatus": map[string]any{"overQuota": used > t.total, "haveMaxQuotaTier": false, "almost-full": used*10 > t.total*9,
				"paidQuota": t.total > 5<<30}}
	})
	return doc
}

// SetStorage sets the account's room in bytes, and what is taken of it beside the drive.
func (a *Account) SetStorage(total, photos, backup, mail int64) {
	a.locked(func(t *tree) {
		t.total = total
		t.room.others = map[string]int64{"photos": photos, "backup": backup, "mail": mail}
	})
}

// SetUsed sets what one kind ("photos", "backup", "mail") takes, as when somebody takes pictures meanwhile.
func (a *Account) SetUsed(kind string, bytes int64) {
	a.locked(func(t *tree) { t.room.others[kind] = bytes })
}

// FillUp sets the room of the account, and lets photos take so much that used bytes of it are taken in all.
func (a *Account) FillUp(total, used int64) {
	a.locked(func(t *tree) {
		t.total = total
		t.room.others["photos"] += used - t.taken()
	})
}

// SetStorageLag makes the storage be told for so long as if what is removed for good were still there.
func (a *Account) SetStorageLag(lag time.Duration) { a.locked(func(t *tree) { t.room.lag = lag }) }

// SetTrashFree sets whether what lies in the trash doesn't count as used. By default it does until it is purged: what is
// known says so, but not Apple.
func (a *Account) SetTrashFree(on bool) { a.locked(func(t *tree) { t.room.trashFree = on }) }

// ExpireTrash removes items of the trash for good, as iCloud does by itself 30 days after their deletion. match is asked
// for each item of the trash; nil is all of them. It returns how many went.
func (a *Account) ExpireTrash(match func(Item) bool) (n int) {
	a.locked(func(t *tree) {
		was := len(t.purged)
		for _, c := range t.trash.sorted() {
			if match == nil || match(c.show()) {
				t.forget(c)
				n++
			}
		}
		t.purged = t.purged[:was] // the log is of what clients purged
	})
	return n
}

// SetModTime sets when a live file was changed last. Its etag stays.
func (a *Account) SetModTime(path string, mtime time.Time) {
	a.locked(func(t *tree) {
		n := t.at(path)
		if n == nil {
			panic("cloudtest: nothing at " + path)
		}
		n.mtime = mtime
	})
}

// Used is how many bytes of the room are taken; what is in the trash counts until it is purged.
func (a *Account) Used() (n int64) {
	a.locked(func(t *tree) { n = t.taken() })
	return n
}
