package jobs

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// ordered stores a job of an order as it would look in a state.
func (w *world) ordered(at time.Time, o Order, state State) string {
	w.t.Helper()
	id := w.plant(at, o.Account, state)
	raw, err := json.Marshal(o)
	if err == nil {
		err = w.store.Client().HSet(w.t.Context(), keysOf(id).job(), "order", raw).Err()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// search lists all that the options choose, page by page, also where pages are short.
func (w *world) search(o ListOptions) []string {
	w.t.Helper()
	var ids []string
	for n := 0; ; n++ {
		page, next, err := w.svc.List(w.t.Context(), o)
		if err != nil {
			w.t.Fatal(err)
		}
		if page == nil || len(page) > o.Limit || n > 10_000 {
			w.t.Fatalf("page %d has %d jobs, want %d at most", n, len(page), o.Limit)
		}
		for _, j := range page {
			ids = append(ids, j.ID)
		}
		if o.Cursor = next; next == "" {
			return ids
		}
	}
}

// Whatever a list is asked for, it holds the jobs that looking at each finds, each once, newest first.
func TestSearchFindsWhatIsThere(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		pick := func(all ...string) string { return all[rand.IntN(len(all))] }
		now := time.Now()
		for i := range 1300 {
			o := Order{Source: pick("icloud:Photos", "ICLOUD2:", "/local/Straße", "drive,x=y:Ünder"), Dest: pick("dropbox:Backup", "icloud:", "/b"),
				Account: pick("anna", "ben"), Label: pick("", "Holiday 2024", "ΟΔΟΣ", "<b>&", "a\"b\\c")}
			w.ordered(now.Add(time.Duration(i)*time.Millisecond/3), o, places()[rand.IntN(len(places()))])
		}
		w.reindexed()
		for range 40 {
			o := ListOptions{Limit: 1 + rand.IntN(200), Remote: pick("", "icloud", "icloud:", "ICLOUD2", "drive", "local", "nobody"),
				Search: pick("", "HOLIDAY", "οδος", "photos", "ÜNDER", "U\u0308nder", "<B>", "\"b\\", "2024", "nothing", "strasse", "\xff")}
			if rand.IntN(2) == 0 {
				o.States = []State{Waiting, Completed}
			}
			if rand.IntN(3) == 0 {
				o.Account = "ben"
			}
			var want []string
			err := w.svc.each(t.Context(), ListOptions{States: o.States, Account: o.Account}, func(j Job) error {
				fits := o.Search == ""
				for _, text := range []string{j.Label, j.Source, j.Dest} {
					fits = fits || newNeedle(o.Search).in(text)
				}
				if fits && (o.Remote == "" || j.uses(strings.TrimSuffix(o.Remote, ":"))) {
					want = append(want, j.ID)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := w.search(o); !slices.Equal(got, want) {
				t.Fatalf("%+v: %d jobs, want %d", o, len(got), len(want))
			}
		}
	})
}

// A search finds letters whatever their case, and however they are composed; not other letters.
func TestNeedleFoldsCase(t *testing.T) {
	for _, c := range []struct {
		text, part string
		want       bool
	}{
		{"Straße", "STRAß", true}, {"ÜBER", "über", true}, {"u\u0308ber", "Ü", true}, {"ΟΔΟΣ", "οδός", false}, {"ΟΔΟΣ", "οδος", true},
		{"abc", "", true}, {"abc", "abd", false}, {"", "a", false}, {"K", "\u212a", true},
	} {
		if got := newNeedle(c.part).in(c.text); got != c.want {
			t.Errorf("%q in %q: %v, want %v", c.part, c.text, got, c.want)
		}
	}
}

// The beginning of an ID finds the jobs whose IDs begin so, in either case, with the other filters; where there is none, it is a
// text like any other.
func TestSearchByID(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		at := time.UnixMilli(1.7e12)
		var ids []string
		for i := range 30 {
			ids = append(ids, w.ordered(at, Order{Source: "a:", Dest: "b:", Account: "anna"}, places()[i%3]))
		}
		other := w.ordered(time.Now(), Order{Source: "a:", Dest: "b:", Account: "ben", Label: "copy of 0000000000"}, Queued)
		w.reindexed()
		slices.SortFunc(ids, newerFirst)
		for _, c := range []struct {
			name string
			o    ListOptions
			want []string
		}{
			{"whole", ListOptions{Search: ids[3]}, ids[3:4]},
			{"lower case", ListOptions{Search: strings.ToLower(ids[3])}, ids[3:4]},
			{"beginning", ListOptions{Search: ids[0][:10]}, ids},
			{"no ID", ListOptions{Search: "0000000000"}, []string{other}},
			{"with an account", ListOptions{Search: ids[0][:10], Account: "ben"}, nil},
			{"with a remote", ListOptions{Search: ids[0][:10], Remote: "b"}, ids},
			{"with another remote", ListOptions{Search: ids[0][:10], Remote: "c"}, nil},
		} {
			c.o.Limit = 7
			if got := w.search(c.o); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
		if got := w.search(ListOptions{Search: ids[0][:10], States: []State{Queued}, Limit: 3}); len(got) != 10 {
			t.Errorf("%d queued, want 10", len(got))
		}
	})
}

func TestListsThatMakeNoSense(t *testing.T) {
	w := newWorld(t, "")
	for field, o := range map[string]ListOptions{"cursor": {Cursor: "../x"}, "search": {Search: strings.Repeat("x", 1001)}} {
		var oe *OrderError
		if _, _, err := w.svc.List(t.Context(), o); !errors.As(err, &oe) || oe.Field != field || oe.Hint == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, o := range []ListOptions{{Search: "\x00\xff"}, {Limit: -1}, {Remote: ":"}, {Remote: "../.."}, {States: []State{"unknown"}}, {Cursor: "ZZZZZZ"}} {
		if _, _, err := w.svc.List(t.Context(), o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
