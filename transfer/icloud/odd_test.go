package icloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// Servers of other kinds than the one that the rest of the tests plays.

func TestPurgeTakesTheFormThatTheServerTakes(t *testing.T) {
	for _, bare := range []bool{false, true} {
		p := newApple(t)
		a := p.account(Options{})
		p.script(purgePath, func(_ int, body []byte) *http.Response {
			if bytes.Contains(body, []byte("clientId")) == bare {
				return reply(400, "{}")
			}
			return reply(200, `{"items":[{"drivewsid":"FILE::z::1","status":"OK"}]}`)
		})
		for range 2 {
			if errs := a.Purge(t.Context(), []Ref{{"FILE::z::1", "a"}}); errs[0] != nil {
				t.Errorf("bare %v: %v", bare, errs[0])
			}
		}
		want := 2
		if bare {
			want = 3 // the first one finds out
		}
		if n := p.count(purgePath); n != want {
			t.Errorf("bare %v: %d calls, want %d", bare, n, want)
		}
	}
}

func TestServersThatHandleOnlyTheFirstItem(t *testing.T) {
	for _, c := range []struct {
		name string
		rest error // of the items that weren't handled
	}{
		{"no answer", &unsureError{errShort}},
		{"a failure", &itemError{"trash", "ERROR"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			f := on(d, "", trusted())
			var targets []transfer.Target
			for i := range 5 {
				name := fmt.Sprint(i)
				d.file(rootID, name, "x")
				targets = append(targets, aim(lookFor(t, f, name)))
			}
			saved := map[string]driveItem{}
			d.before = func(what string, ids []string) {
				if what != "trash" {
					return
				}
				for _, id := range ids[1:] {
					d.set(id, func(it *driveItem) { saved[id] = *it; it.ETag = "not now" })
				}
			}
			d.answer = func(what string, refs []Ref, errs []error) []error {
				for i := range refs {
					if i > 0 && what == "trash" {
						*d.items[refs[i].ID] = saved[refs[i].ID]
						errs[i] = c.rest
					}
				}
				return errs
			}
			for i, err := range f.Delete(t.Context(), targets) {
				if err != nil {
					t.Errorf("item %d: %v", i, err)
				}
			}
			if len(saved) == 0 {
				t.Error("no call had several items")
			}
		})
	}
}

func TestTimeOfTheTrashIsNoOtherVersion(t *testing.T) {
	p := newApple(t)
	a := p.account(Options{})
	p.script(toTrashPath, func(int, []byte) *http.Response {
		return reply(200, `{"items":[{"drivewsid":"FILE::z::1","status":"OK","etag":"t"},{"drivewsid":"FILE::z::2","status":"OK","etag":"u"}]}`)
	})
	p.script(listPath, func(int, []byte) *http.Response {
		return reply(200, `[{"drivewsid":"TRASH_ROOT","items":[{"drivewsid":"FILE::z::1","etag":"t","dateModified":"2026-01-01T00:00:00Z"},
			{"drivewsid":"FILE::z::2","etag":"edited","dateModified":"2026-01-01T00:00:00Z"}]}]`)
	})
	if errs := a.Trash(t.Context(), []Ref{{"FILE::z::1", "a"}, {"FILE::z::2", "b"}}); errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	got, err := a.ListTrash(t.Context())
	if err != nil || !got[0].ModTime.IsZero() || got[1].ModTime.IsZero() {
		t.Errorf("%+v, %v: only the version that went there from here loses its time", got, err)
	}
}

func TestUntoldStorageIsAskedForOnceInEachForm(t *testing.T) {
	p := newApple(t)
	p.on["/setup/ws/1/storageUsageInfo"] = func(*http.Request, []byte) *http.Response {
		return reply(200, `{"storageUsageInfo":{"usedStorageInBytes":9}}`)
	}
	if _, err := p.account(Options{}).Storage(t.Context()); !errors.Is(err, errUntold) {
		t.Error(err)
	}
	if n := p.count("/setup/ws/1/storageUsageInfo"); n != 3 {
		t.Errorf("%d calls", n)
	}
}

func TestFolderWithoutChildrenNeedsNoList(t *testing.T) {
	var w wireItem
	for body, want := range map[string]int64{`{"directChildrenCount":0,"items":null}`: 0, `{"numberOfItems":0}`: 0, `{}`: 1, `{"directChildrenCount":2}`: 2} {
		w = wireItem{}
		if err := json.Unmarshal([]byte(body), &w); err != nil || missing(&w) != want {
			t.Errorf("%s: %d missing, %v", body, missing(&w), err)
		}
	}
}

// TestDamagedReadingsAreReadAgain: where the checksums of an account have proved to be of the known form, one reading
// that differs is refused; twice the same bytes are what the server holds, whose file is kept.
func TestDamagedReadingsAreReadAgain(t *testing.T) {
	d := newDrive()
	f := on(d, "", trusted())
	early := d.file(rootID, "early", "hello")
	d.set(early, func(it *driveItem) { it.sign = sign("other") })
	bad := d.file(rootID, "bad", "hello")
	d.set(bad, func(it *driveItem) { it.sign = sign("other") })
	good := d.file(rootID, "good", "hello")
	d.set(good, func(it *driveItem) { it.sign = sign("hello") })
	whole := func(name string) (fs.Object, error) {
		o := lookFor(t, f, name)
		in, err := o.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		b, err := io.ReadAll(in)
		if !strings.HasPrefix("hello", string(b)) {
			t.Errorf("read %q", b)
		}
		return o, err
	}
	if _, err := whole("early"); err != nil {
		t.Errorf("before any match: %v", err)
	}
	for _, step := range []struct {
		name string
		want error
	}{{"good", nil}, {"bad", errDiffers}, {"bad", nil}} {
		if _, err := whole(step.name); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	for name, want := range map[string]error{"early": transfer.ErrDoubted, "bad": transfer.ErrDoubted, "good": nil} {
		if err := f.Delete(t.Context(), []transfer.Target{aim(lookFor(t, f, name))})[0]; !errors.Is(err, want) {
			t.Errorf("delete %s: %v, want %v", name, err, want)
		}
	}
}
