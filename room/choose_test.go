package room

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"offload/jobs"
	"offload/transfer"
)

func planned(path string, size int64, age int) jobs.PlannedFile {
	f := jobs.PlannedFile{Entry: transfer.Entry{Path: path, Size: size}}
	if age > 0 {
		f.ModTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -age)
	}
	return f
}

func paths(files []jobs.PlannedFile) (all []string) {
	for _, f := range files {
		all = append(all, f.Path)
	}
	return all
}

func TestChoose(t *testing.T) {
	some := []jobs.PlannedFile{planned("b", 7, 10), planned("a", 7, 30), planned("old", 2, 400), planned("big", 8, 20), planned("timeless", 3, 0), planned("tiny", 1, 30)}
	tests := []struct {
		order string
		need  int64
		want  []string
		next  string
	}{
		{Oldest, 1, []string{"old"}, "a"},
		{Oldest, 2, []string{"old"}, "a"},
		{Oldest, 3, []string{"old", "a"}, "tiny"},
		{Oldest, 10, []string{"old", "a", "tiny"}, "big"},
		{Oldest, 26, []string{"old", "a", "tiny", "big", "b", "timeless"}, ""},
		{Oldest, 1000, []string{"old", "a", "tiny", "big", "b", "timeless"}, ""},
		{Largest, 1, []string{"big"}, "a"},
		{Largest, 9, []string{"big", "a"}, "b"},
		{Largest, 16, []string{"big", "a", "b"}, "timeless"},
		{Fewest, 1, []string{"tiny"}, "big"},
		{Fewest, 9, []string{"big", "tiny"}, "a"},
		{Fewest, 11, []string{"big", "timeless"}, "a"},
		{Fewest, 15, []string{"big", "a"}, "b"},
		{Fewest, 16, []string{"big", "a", "tiny"}, "b"},
		{Fewest, 28, []string{"big", "a", "b", "timeless", "old", "tiny"}, ""},
		{Fewest, 1000, []string{"big", "a", "b", "timeless", "old", "tiny"}, ""},
	}
	for _, tt := range tests {
		c := choose(some, tt.order, tt.need)
		next := ""
		if c.next != nil {
			next = c.next.Path
		}
		if !slices.Equal(paths(c.files), tt.want) || next != tt.next {
			t.Errorf("%s %d: %v, next %q; want %v, next %q", tt.order, tt.need, paths(c.files), next, tt.want, tt.next)
		}
	}
	if c := choose(nil, Fewest, 5); len(c.files) != 0 || c.next != nil {
		t.Errorf("of nothing: %+v", c)
	}
}

func TestChooseKeepsItsRules(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		var files []jobs.PlannedFile
		var sizes []int64
		total := int64(0)
		for i := range r.IntN(30) {
			n := 1 + r.Int64N(40)
			files = append(files, planned(fmt.Sprintf("f%02d", i), n, r.IntN(6)))
			sizes, total = append(sizes, n), total+n
		}
		order, need := []string{Oldest, Largest, Fewest}[r.IntN(3)], 1+r.Int64N(500)
		c := choose(files, order, need)
		sum, seen := int64(0), map[string]bool{}
		for _, f := range c.files {
			if sum += f.Size; seen[f.Path] {
				t.Fatalf("seed %d: %s is chosen twice", seed, f.Path)
			}
			seen[f.Path] = true
		}
		switch n := len(c.files); {
		case sum != c.bytes:
			t.Fatalf("seed %d: counted %d of %d", seed, c.bytes, sum)
		case (sum >= need) != (total >= need):
			t.Fatalf("seed %d: %d of %d chosen, %d needed", seed, sum, total, need)
		case n > 0 && sum-c.files[n-1].Size >= need:
			t.Fatalf("seed %d: the last file isn't needed: %d of %d", seed, sum, need)
		case (c.next == nil) != (n == len(files)) || c.next != nil && seen[c.next.Path]:
			t.Fatalf("seed %d: next is %v", seed, c.next)
		}
		if order != Oldest && sum >= need { // no smaller set would do
			slices.Sort(sizes)
			most := int64(0)
			for _, n := range sizes[len(sizes)-len(c.files)+1:] {
				most += n
			}
			if most >= need {
				t.Fatalf("seed %d: %d files would do, not %d", seed, len(c.files)-1, len(c.files))
			}
		}
		r.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		if again := choose(files, order, need); !slices.Equal(paths(again.files), paths(c.files)) {
			t.Fatalf("seed %d: %v, then %v", seed, paths(c.files), paths(again.files))
		}
	}
}

// What couldn't be deleted by proof is never chosen, and told.
func TestWhatIsNeverChosen(t *testing.T) {
	with := func(f jobs.PlannedFile, change func(*jobs.PlannedFile)) jobs.PlannedFile { change(&f); return f }
	tests := []struct {
		file           jobs.PlannedFile
		deletePackages bool
		want           string // code; "" is chosen
	}{
		{planned("plain", 5, 1), false, ""},
		{planned("empty", 0, 1), false, codeEmpty},
		{planned("unknown", -1, 1), false, codeEmpty},
		{planned("tried", 5, 1), false, codeEarlier},
		{with(planned("shared", 5, 1), func(f *jobs.PlannedFile) { f.Keep = transfer.CodeShared }), true, transfer.CodeShared},
		{with(planned("a.pages", 5, 1), func(f *jobs.PlannedFile) { f.Keep = transfer.CodePackage }), false, transfer.CodePackage},
		{with(planned("a.pages", 5, 1), func(f *jobs.PlannedFile) { f.Keep = transfer.CodePackage }), true, ""},
		{with(planned(".DS_Store", 5, 1), func(f *jobs.PlannedFile) { f.Verdict, f.Code = transfer.SetAside, transfer.CodeNameRefused }), false, transfer.CodeNameRefused},
		{with(planned("gone", 5, 1), func(f *jobs.PlannedFile) { f.Verdict, f.Code = transfer.Failed, transfer.CodeNotFound }), false, transfer.CodeNotFound},
	}
	for _, tt := range tests {
		var c candidates
		c.take(tt.file, transfer.Options{DeletePackages: tt.deletePackages}, map[string]bool{"tried": true})
		if (len(c.files) == 1) != (tt.want == "") || tt.want != "" && c.passed[tt.want].Files != 1 {
			t.Errorf("%s: chosen %d, passed over %v; want %q", tt.file.Path, len(c.files), c.passed, tt.want)
		}
	}
}

func TestNeedAndMissing(t *testing.T) {
	s := transfer.Storage{Total: 50_000, Used: 49_000}
	tests := []struct {
		goal Goal
		want int64
	}{
		{Goal{Free: 500}, 0}, {Goal{Free: 1000}, 0}, {Goal{Free: 1001}, 1}, {Goal{Percent: 2}, 0}, {Goal{Percent: 40}, 19_000},
		{Goal{Backup: 8000}, 7400}, {Goal{Backup: 900}, 0}, {Goal{Backup: 961}, 10}, // 5 % more, rounded up
	}
	for _, tt := range tests {
		if got := Missing(tt.goal, s); got != tt.want {
			t.Errorf("%+v: missing %d, want %d", tt.goal, got, tt.want)
		}
	}
	if got := Missing(Goal{Free: 10}, transfer.Storage{Total: 100, Used: 150}); got != 60 { // over the limit
		t.Errorf("missing %d, want 60", got)
	}
	if got := Need(Goal{Percent: 99}, transfer.Storage{Total: 1 << 62}); got <= 0 {
		t.Errorf("need %d", got)
	}
}
