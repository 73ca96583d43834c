package cloudtest

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"
)

// told is how much the account's storage says is used.
func told(t *testing.T, c *web) int64 {
	t.Helper()
	status, body := c.call("GET", "https://setup.icloud.com/setup/ws/1/storageUsageInfo", "")
	var doc struct {
		StorageUsageInfo struct{ UsedStorageInBytes int64 }
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 {
		t.Fatalf("%d %v %s", status, err, body)
	}
	return doc.StorageUsageInfo.UsedStorageInBytes
}

func TestStorageKnobs(t *testing.T) {
	var clock atomic.Int64
	base := time.Now()
	w := start(t, Options{Now: func() time.Time { return base.Add(time.Duration(clock.Load())) }})
	a := w.ICloud.Default()
	c := newWeb(t, w)
	want := func(what string, n int64) {
		t.Helper()
		if got := told(t, c); got != n {
			t.Errorf("%s: %d bytes are told as used, want %d", what, got, n)
		}
	}
	a.Put("Docs/a", make([]byte, 300), base)
	a.Put("Docs/b", make([]byte, 200), base)
	a.FillUp(5000, 4900)
	want("filled up", 4900)
	a.SetUsed("mail", 7)
	want("mail came", 4907)
	a.Discard("Docs")
	want("in the trash", 4907)
	a.SetTrashFree(true)
	want("a trash that is free", 4407)
	a.SetTrashFree(false)
	a.SetStorageLag(time.Minute)
	if n := a.ExpireTrash(func(it Item) bool { return it.Name == "other" }); n != 0 {
		t.Errorf("%d items went that weren't meant", n)
	}
	if n := a.ExpireTrash(nil); n != 1 || len(a.Trash()) != 0 || len(a.Purged()) != 0 {
		t.Errorf("%d went, %d left, %d purged", n, len(a.Trash()), len(a.Purged()))
	}
	want("gone, but not told yet", 4907)
	if a.Used() != 4407 {
		t.Errorf("%d are used", a.Used())
	}
	clock.Store(int64(61 * time.Second))
	want("told at last", 4407)
	it := a.Put("c", []byte("x"), base)
	old := base.Add(-1000 * time.Hour)
	a.SetModTime("c", old)
	if now, _ := a.Lookup("c"); !now.ModTime.Equal(old) || now.ETag != it.ETag {
		t.Errorf("%+v", now)
	}
}
