package acceptance

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// The played account of the story, a thousand times smaller than the one that it stands for: of 50 MiB 49 are taken, and
// the phone's backup wants 8.
const (
	planOfStory, usedInStory = 50 << 20, 49 << 20
	filmsInStory             = 36
	filmSize                 = 384 << 10
)

// newFullAccount is a drive with films of the last three years, one a month, and other things that fill it up to the brim. The
// path of a film is film(its age in months).
func newFullAccount(t testing.TB, opt cloudtest.Options) (*clouds, *stock) {
	t.Helper()
	c := newClouds(t, opt)
	s := newStock(c)
	for month := 1; month <= filmsInStory; month++ {
		s.put(film(month), filmSize)
		c.account.SetModTime(film(month), time.Now().Add(-time.Duration(month)*30*24*time.Hour).Truncate(time.Second))
	}
	c.account.FillUp(planOfStory, usedInStory)
	return c, s
}

// film is the path of a film that was made so many months ago.
func film(month int) string { return fmt.Sprintf("Movies/Year %d/Übung %02d.mov", month/12, month) }

// livingFilms are the ages in months of the films that are still at iCloud.
func (c *clouds) livingFilms() (months []int) {
	for month := 1; month <= filmsInStory; month++ {
		if _, ok := c.account.Lookup(film(month)); ok {
			months = append(months, month)
		}
	}
	return months
}

// oldestWent demands that the oldest films went, and only those.
func (c *clouds) oldestWent(t testing.TB) (gone int) {
	t.Helper()
	living := c.livingFilms()
	gone = filmsInStory - len(living)
	want := make([]int, len(living))
	for i := range want {
		want[i] = i + 1
	}
	if !slices.Equal(living, want) {
		t.Errorf("films of these months are left: %v, want those of the last %d", living, len(living))
	}
	return gone
}

// somewhere demands that the newest content of each piece is alive at iCloud, in its trash or at Dropbox.
func (s *stock) somewhere(t testing.TB) {
	t.Helper()
	there := map[[32]byte]bool{}
	s.c.dropbox.Walk(func(f cloudtest.DropboxFile) {
		if b, ok := s.c.dropbox.Get(f.Path); ok {
			there[sumOf(b)] = true
		}
	})
	for _, p := range s.all() {
		if p.files != nil || there[p.sum] {
			continue
		}
		if b, _, ok := s.c.account.Read(p.id); !ok || sumOf(b) != p.sum {
			t.Errorf("lost: %q is nowhere, neither at iCloud nor in its trash nor at Dropbox", p.path)
		}
	}
}

// picture is everything that lives at iCloud: content and time of change by path.
func (c *clouds) picture(t testing.TB) map[string]string {
	t.Helper()
	p := map[string]string{}
	c.account.Walk(func(path string, it cloudtest.Item) {
		if it.Type != "FILE" {
			return
		}
		b, ok := c.account.Get(path)
		if !ok {
			t.Fatalf("%q can't be read", path)
		}
		p[path] = fmt.Sprintf("%x %s", sumOf(b), it.ModTime.UTC().Format(time.RFC3339))
	})
	return p
}

// same demands that two pictures of a tree are the same.
func same(t testing.TB, was, now map[string]string) {
	t.Helper()
	for path, want := range was {
		if got := now[path]; got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
	for path := range now {
		if _, ok := was[path]; !ok {
			t.Errorf("%q wasn't there before", path)
		}
	}
}

// spoilFile writes a changed copy of a file.
func spoilFile(t testing.TB, from, to string, spoil func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, spoil(b), 0o600); err != nil {
		t.Fatal(err)
	}
}
