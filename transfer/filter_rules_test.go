package transfer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/filter"
)

// chosenByRclone are the files that `rclone lsf -R` lists under the same flags: its own parser reads them, from files for
// what was read from files.
func chosenByRclone(t *testing.T, f fs.Fs, o filter.Options) []string {
	t.Helper()
	o.MinAge, o.MaxAge, o.MinSize, o.MaxSize = fs.DurationOff, fs.DurationOff, max(o.MinSize, -1), -1
	return listedByRclone(t, f, o)
}

func chosenByScan(t *testing.T, src fs.Fs, opt Options) []string {
	t.Helper()
	got, err := scanAll(t, NewPair(src, newScanFake("dst", false), opt), ScanOptions{})
	if err != nil || !got.res.Complete {
		t.Fatalf("%+v: %+v, %v", opt, got.res, err)
	}
	var paths []string
	for _, c := range got.chunks {
		for _, e := range c.Entries {
			paths = append(paths, e.Path)
		}
	}
	slices.Sort(paths)
	return paths
}

// randomRule is a rule of names that the tree has, so that rules match each other's files.
func randomRule(rng *rand.Rand, names []string) string {
	name := func() string { return names[rng.IntN(len(names))] }
	pattern := []func() string{
		func() string { return "*." + []string{"txt", "jpg", "{txt,jpg}", "*"}[rng.IntN(4)] },
		func() string { return name() + "/**" },
		func() string { return "/" + name() + "/" },
		func() string { return "/" + name() + "/*" },
		func() string { return name() + "*" },
		func() string { return "*" },
		func() string { return "**/" + name() },
		func() string { return "[" + name()[:1] + "cd]*" },
		func() string { return "{{(?i)" + name() + ".*}}" },
		func() string { return "/" + name() + "/**.jpg" },
		func() string { return "?" + name()[1:] },
		func() string { return "/**" },
	}[rng.IntN(12)]()
	if rng.IntN(12) == 0 {
		return "!"
	}
	return []string{"+ ", "- "}[rng.IntN(2)] + pattern
}

// On random trees, under random rules, a scan chooses exactly what rclone lists under the same flags.
func TestRulesAsRclone(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	names := []string{"a", "b", "cc", "d.jpg", "e.txt", "F.JPG", "x y", nfcE, ".hidden", "[q]"}
	for round := range 60 {
		dir, rules := t.TempDir(), []string{}
		var files []string
		for range 3 + rng.IntN(30) {
			parts := make([]string, 1+rng.IntN(4))
			for i := range parts {
				parts[i] = names[rng.IntN(len(names))]
			}
			files = append(files, filepath.Join(parts...))
		}
		for _, f := range files {
			full := filepath.Join(dir, f)
			if rng.IntN(8) == 0 { // a mark; rclone fails where a folder is called so, so none is
				full = filepath.Join(filepath.Dir(full), ".mark")
			}
			if os.MkdirAll(filepath.Dir(full), 0o700) == nil {
				_ = os.WriteFile(full, []byte(f), 0o600) // a folder may be there by now
			}
		}
		patterns := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.ContainsAny(n, "[") || n[0] >= 0x80 })
		for range 1 + rng.IntN(6) {
			rules = append(rules, randomRule(rng, patterns))
		}
		var marks []string
		if round%3 == 0 {
			marks = []string{".mark", "nothing"}
		}
		src, err := fs.NewFs(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		from := filepath.Join(t.TempDir(), "rules")
		if err := os.WriteFile(from, []byte("# rules\n\n"+strings.Join(rules, "\r\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		o := filter.Options{ExcludeFile: marks, MinSize: -1}
		if o.FilterRule = rules; round%2 == 0 {
			o.FilterRule, o.FilterFrom = nil, []string{from}
		}
		got, want := chosenByScan(t, src, Options{Filter: rules, ExcludeIfPresent: marks}), chosenByRclone(t, src, o)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d, rules %q, marks %q:\n got %q\nwant %q", round, rules, marks, got, want)
		}
	}
}

// A folder with a mark is passed over as a whole, below it, too, and it costs no call more than without marks. Folders that
// are passed over aren't empty: none of them goes with the empty ones.
func TestExcludeIfPresent(t *testing.T) {
	src := newScanFake("src", false, "a=1", "keep/b=2", "no/.nobackup=1", "no/c=3", "no/deep/d=4", "keep/"+nfdE+"=1", "x/"+nfdE+"=1")
	opt := Options{ExcludeIfPresent: []string{".nobackup"}}
	if got, want := chosenByScan(t, src, opt), []string{"a", "keep/b", "keep/" + nfcE, "x/" + nfcE}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	opt.ExcludeIfPresent = append(opt.ExcludeIfPresent, nfcE) // however it is spelled
	if got, want := chosenByScan(t, src, opt), []string{"a"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	opt.FilesFrom = []string{"a"}
	if err := CheckFilters(opt); err == nil {
		t.Error("a list of files goes with marks")
	}
}

// Dates are those of the order, whenever the scan is; the narrower of an age and a date counts.
func TestFilterByDate(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for days := range 10 {
		name := filepath.Join(dir, fmt.Sprint(days))
		at := now.AddDate(0, 0, -days)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	src, err := fs.NewFs(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	day := func(n int) time.Time { return now.AddDate(0, 0, -n).Add(-time.Hour) }
	for _, tt := range []struct {
		opt  Options
		want string
	}{
		{Options{ModifiedFrom: day(3)}, "0 1 2 3"},
		{Options{ModifiedTo: day(6)}, "7 8 9"},
		{Options{ModifiedFrom: day(6), ModifiedTo: day(3)}, "4 5 6"},
		{Options{ModifiedFrom: day(6), MaxAge: 100 * time.Hour}, "0 1 2 3 4"},
		{Options{ModifiedFrom: day(3), MaxAge: 2000 * time.Hour}, "0 1 2 3"},
		{Options{ModifiedTo: day(3), MinAge: 150 * time.Hour}, "7 8 9"},
	} {
		if got := strings.Join(chosenByScan(t, src, tt.opt), " "); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.opt, got, tt.want)
		}
	}
	if CheckFilters(Options{ModifiedFrom: day(3), ModifiedTo: day(6)}) == nil {
		t.Error("a period that ends before it begins is taken")
	}
}
