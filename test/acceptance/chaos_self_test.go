package acceptance

import (
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"offload/internal/cloudtest"
)

// The test of the test: the books notice a deletion before its time, a file that is nowhere, and one that nobody put there.
func TestChaosBooksNoticeWhatIsWrong(t *testing.T) {
	t.Parallel()
	play, err := cloudtest.Start(cloudtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer play.Close()
	c := &clouds{play: play, account: play.ICloud.Default(), dropbox: play.Dropbox}
	b := newBooks(c)
	const size, number = 5<<20 + 17, 3
	h := b.put("job/album/photo.jpg", size, number)
	it, _ := c.account.Lookup(h.path)
	content, err := io.ReadAll(cloudtest.Generated(size, number))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id string) { // for a deletion
		body := fmt.Sprintf(`{"items":[{"drivewsid":%q,"etag":"x"}]}`, id)
		b.deletion(httptest.NewRequest("POST", "https://example.com/moveItemsToTrash", strings.NewReader(body)))
	}
	want := func(what string, early, lost, stray int) {
		t.Helper()
		gone, strays := b.lost(), 0
		if found, _ := b.stray(); found != nil {
			strays = len(found)
		}
		if len(b.early) != early || len(gone) != lost || strays != stray {
			t.Errorf("%s: %d early, %d lost, %d stray; want %d, %d, %d", what, len(b.early), len(gone), strays, early, lost, stray)
		}
	}
	want("nothing done", 0, 0, 0)
	ask(it.ID)
	want("asked while Dropbox has nothing", 1, 0, 0)
	c.dropbox.Put("/Backup/"+h.path, content[1:])
	ask(it.ID)
	want("asked while Dropbox has other bytes", 2, 0, 0)
	c.dropbox.Put("/Backup/"+h.path, content)
	ask(it.ID)
	want("asked while Dropbox has them", 2, 0, 0)
	if _, ok := c.account.Discard(h.path); !ok {
		t.Fatal("it can't be discarded")
	}
	want("moved", 2, 0, 0)
	ask(it.ID)
	if b.late != 1 {
		t.Errorf("%d deletions of what was deleted before, want 1", b.late)
	}
	c.dropbox.Put("/Backup/"+h.path+" (offload 1)", content)
	want("a copy too many", 2, 0, 1)
	c.dropbox.Remove("/Backup/" + h.path)
	want("gone from both", 2, 1, 1)
	ask("FILE::com.apple.CloudDocs::somebody-else's")
	if !slices.Contains(b.others, "FILE::com.apple.CloudDocs::somebody-else's") {
		t.Error("a deletion of what isn't a job's went unnoticed")
	}
}
