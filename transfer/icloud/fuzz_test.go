package icloud

import (
	"testing"

	"github.com/rclone/rclone/lib/encoder"
)

// FuzzAnswers reads whatever a server may answer to a listing: nothing of it may end the process, and an item that
// doesn't say its length has none.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `[]`, `{}`, `[null]`, `{"items":null}`, `{"items":[1,"x",null,{}]}`, `[{"items":[{"items":[]}]}]`,
		`[{"drivewsid":"FOLDER::com.apple.CloudDocs::root","numberOfItems":2,"items":[{"drivewsid":"FILE::com.apple.CloudDocs::1","name":"a","extension":"txt","size":5,"etag":"1::2","dateModified":"2024-05-06T07:08:09Z"}]}]`,
		`[{"drivewsid":7,"name":{},"size":"12","dateModified":12,"shareID":{"a":1},"shareCount":"x","items":{"0":{}}}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var found itemList
		if readItems(body, &found) != nil {
			return
		}
		for i := range found.list {
			w := &found.list[i]
			it := w.item(encoder.Display)
			if !w.Size.ok && it.Size != -1 || it.Size < -1 {
				t.Errorf("an item of %q bytes has length %d", body, it.Size)
			}
			_ = missing(w)
			_ = result("delete", w)
			_ = answerFor(found.list, it.ID, true)
			for _, child := range w.Items.list {
				_ = child.item(encoder.Display)
			}
		}
	})
}

// FuzzCookies keeps cookies through the form in which rclone's config holds them.
func FuzzCookies(f *testing.F) {
	for _, seed := range []string{"", "a=1", "a=\"00 \"", "a=\"1,2\"", "a=1; b=2", "X-APPLE-WEBAUTH-USER=\"v=1:s=1:d=123\"; x", ";;=;", "a=1; a=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once := readCookies(raw)
		again := readCookies(once.header())
		if again.header() != once.header() {
			t.Errorf("%q becomes %q, then %q", raw, once.header(), again.header())
		}
		_ = once.dsid()
	})
}
