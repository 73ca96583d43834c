package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/rclone/rclone/backend/dropbox"
	"github.com/rclone/rclone/fs"
)

const (
	nfcE = "\u00e9"  // é, composed
	nfdE = "e\u0301" // é, decomposed
)

// Rule 6, through whole scans; scanCheck holds the same of every other scan of these tests.
func TestRuleOneDestName(t *testing.T) {
	tests := []struct {
		name     string
		src, dst []string
		fold     bool   // the destination doesn't tell cases apart
		dest     string // name of the destination; ":dropbox" gets Dropbox' rules
		want     []string
	}{
		{name: "empty"},
		{name: "new", src: []string{"a", "d/b", "d/e/c"}, want: []string{"a new", "d/b new", "d/e/c new"}},
		{name: "there", src: []string{"a=3", "d/b=4"}, dst: []string{"a=3", "d/b=5", "d/x", "z/z"},
			want: []string{"a there=3", "d/b there=5"}},
		{name: "case counts", src: []string{"a", "A"}, want: []string{"a new", "A new"}},
		{name: "case folded", fold: true, src: []string{"a", "A"}, want: []string{"A new", "a name_collision"}},
		{name: "case folded, one is there", fold: true, src: []string{"a", "A"}, dst: []string{"a=7"},
			want: []string{"a there=7", "A name_collision"}},
		{name: "there in another case", fold: true, src: []string{"a.txt", "D/x"}, dst: []string{"A.TXT=7", "d/X=8"},
			want: []string{"a.txt >A.TXT there=7", "D/x >d/X there=8"}},
		{name: "normalisation", src: []string{nfcE, nfdE}, want: []string{nfcE + " <" + nfdE + " new", nfcE + " name_collision"}},
		{name: "normalisation, one is there", src: []string{nfcE, nfdE}, dst: []string{nfcE + "=2"},
			want: []string{nfcE + " <" + nfdE + " name_collision", nfcE + " there=2"}},
		{name: "normalisation, both are there", src: []string{nfcE, nfdE}, dst: []string{nfcE + "=2", nfdE + "=3"},
			want: []string{nfcE + " <" + nfdE + " >" + nfdE + " there=3", nfcE + " name_collision"}},
		{name: "decomposed at the destination", src: []string{nfcE}, dst: []string{nfdE + "=5"},
			want: []string{nfcE + " >" + nfdE + " there=5"}},
		{name: "folders of one name", fold: true, src: []string{"A/x", "A/y", "a/y", "a/z"},
			want: []string{"A/x new", "A/y new", "a/y name_collision", "a/z >A/z new"}},
		{name: "folders of one name, one is there", fold: true, src: []string{"A/x", "a/y"}, dst: []string{"a/X=9"},
			want: []string{"A/x >a/X there=9", "a/y new"}},
		{name: "folders in two normalisations", src: []string{nfcE + "/x", nfdE + "/x", nfdE + "/y"},
			want: []string{nfcE + "/x <" + nfdE + "/x new", nfcE + "/x name_collision", nfcE + "/y <" + nfdE + "/y new"}},
		{name: "both normalisations at the destination", src: []string{nfcE + "/x", nfcE + "/y"},
			dst:  []string{nfcE + "/x=3", nfdE + "/y=4"},
			want: []string{nfcE + "/x there=3", nfcE + "/y >" + nfdE + "/y there=4"}},
		{name: "new into one of two normalisations", src: []string{nfcE + "/x"}, dst: []string{nfcE + "/", nfdE + "/"},
			want: []string{nfcE + "/x new"}},
		{name: "nested folders of one name", fold: true, src: []string{"A/B/x", "a/b/X", "a/b/c/d", "A/b/C/D"},
			want: []string{"A/B/x new", "A/b/C/D >A/B/C/D new", "a/b/X name_collision", "a/b/c/d name_collision"}},
		{name: "file against folder", fold: true, src: []string{"a", "A/x"}, want: []string{"A/x new", "a name_collision"}},
		{name: "file against folder there", src: []string{"a", "b"}, dst: []string{"a/x"}, want: []string{"a name_collision", "b new"}},
		{name: "folder against file there", src: []string{"a/x", "a/d/y", "b"}, dst: []string{"a"},
			want: []string{"a/x name_collision", "a/d/y name_collision", "b new"}},
		{name: "file and folder, file there", fold: true, src: []string{"a", "A/x"}, dst: []string{"a=4"},
			want: []string{"A/x name_collision", "a there=4"}},
		{name: "ours", src: []string{".offload/manifest", "d/.offload/kept", "x" + PartialSuffix, "y"},
			want: []string{"d/.offload/kept new", "y new"}},
		{name: "Dropbox refuses", fold: true, dest: ":dropbox",
			src:  []string{".DS_Store", "d/Thumbs.db", "Icon\r", "ok", strings.Repeat("n", 255), strings.Repeat("n", 256)},
			want: []string{".DS_Store name_refused", "d/Thumbs.db name_refused", "Icon\r name_refused", "ok new", strings.Repeat("n", 255) + " new", strings.Repeat("n", 256) + " name_refused"}},
		{name: "folder refused", fold: true, dest: ":dropbox", src: []string{strings.Repeat("d", 256) + "/e/x"},
			want: []string{strings.Repeat("d", 256) + "/e/x name_refused"}},
		{name: "odd but fine", src: []string{"a\nb", "tab\t", " ", "~", "*?", "‛"},
			want: []string{"a\nb new", "tab\t new", "  new", "~ new", "*? new", "‛ new"}},
	}
	for _, tt := range tests {
		for _, ordered := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/ordered=%t", tt.name, ordered), func(t *testing.T) {
				dest := tt.dest
				if dest == "" {
					dest = "dst"
				}
				p := NewPair(newScanFake("src", false, tt.src...), newScanFake(dest, tt.fold, tt.dst...), Options{})
				got, err := scanAll(t, p, ScanOptions{Ordered: ordered})
				if err != nil || !got.res.Complete {
					t.Fatalf("Scan: %+v, %v", got.res, err)
				}
				scanDiff(t, "entries", got.lines(), tt.want)
			})
		}
	}
}

// A destination that is bucket-based holds a file and a folder of one name.
func TestScanBucket(t *testing.T) {
	dst := newScanFake("dst", false, "a=2", "b/x")
	dst.features.BucketBased = true
	got, err := scanAll(t, NewPair(newScanFake("src", false, "a=3", "a/x", "b"), dst, Options{}), ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scanDiff(t, "entries", got.lines(), []string{"a there=2", "a/x new", "b new"})
}

func TestScanDuplicateNames(t *testing.T) {
	for _, order := range [][]string{{"1", "2"}, {"2", "1"}} {
		src := newScanFake("src", false)
		for _, id := range order {
			src.put("", &scanObj{fs: src, remote: "a", size: 5, id: id})
		}
		got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
		if err != nil || len(got.chunks) != 1 {
			t.Fatalf("%d chunks, %v", len(got.chunks), err)
		}
		e := got.chunks[0].Entries
		if e[0].ID != "1" || e[0].Verdict != Pending || e[1].ID != "2" || e[1].Code != CodeDuplicateName {
			t.Errorf("listed as %v: got %+v", order, e)
		}
	}
}

// Two folders of exactly one name can't both be listed by it: what is in the second stays unseen.
func TestScanDuplicateFolders(t *testing.T) {
	src := newScanFake("src", false, "d/x")
	src.put("", fs.NewDir("d", time.Time{}))
	got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
	if err != nil || got.res.Complete || got.res.ErrorCount != 1 {
		t.Errorf("got %+v, %v; want an incomplete scan", got.res, err)
	}
	scanDiff(t, "entries", got.lines(), []string{"d/x new"})
}

// Entries whose names lead out of their folder are set aside, never followed, never dropped.
func TestScanUnsafeNames(t *testing.T) {
	src := newScanFake("src", false, "d/ok")
	for _, name := range []string{"..", "../x", "d/../../x", "/etc/passwd", "", "elsewhere/x", "a\xffb", "zero\x00"} {
		src.put("d", &scanObj{fs: src, remote: "d/" + name, size: 1})
	}
	src.put("d", &scanObj{fs: src, remote: "outside", size: 1})
	for _, dir := range []string{"d/..", "d/.", "d", "..", "d//"} {
		src.put("d", fs.NewDir(dir, time.Time{}))
	}
	got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.res.SetAside != 14 || got.res.Complete || got.res.ErrorCount != 5 {
		t.Errorf("got %+v, want 14 set aside and 5 folders not entered", got.res)
	}
	if want := []string{"list ", "list d"}; !slices.Equal(src.calls, want) {
		t.Errorf("asked the source for %q, want %q", src.calls, want)
	}
	for _, c := range got.chunks {
		for _, e := range c.Entries {
			if dirName(e.Path) != "d" || unsafeName(baseName(e.Path)) != "" {
				t.Errorf("an unsafe path was handed out: %q", e.Path)
			}
			if e.Path != "d/ok" && e.Code != CodeNameUnsafe {
				t.Errorf("%q has code %q", e.Path, e.Code)
			}
		}
	}
}

func TestScanEntryFields(t *testing.T) {
	when := time.Date(2024, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	src := newScanFake("src", false)
	src.put("", &scanObj{fs: src, remote: nfdE, size: -1, modTime: when, id: "ID", etag: "TAG"})
	dst := newScanFake("dst", false)
	dst.put("", &scanObj{fs: dst, remote: nfcE, size: 7, modTime: when})
	dst.add("other")
	got, err := scanAll(t, NewPair(src, dst, Options{}), ScanOptions{})
	if err != nil || len(got.chunks) != 1 {
		t.Fatalf("%d chunks, %v", len(got.chunks), err)
	}
	c := got.chunks[0]
	if want := (Entry{Path: nfcE, Source: nfdE, Size: -1, ModTime: when.UTC(), ID: "ID", ETag: "TAG"}); c.Entries[0] != want {
		t.Errorf("got %+v, want %+v", c.Entries[0], want)
	}
	if want := (Seen{SeenFile, 7, when.UTC()}); c.Seen[0] != want {
		t.Errorf("got %+v, want %+v", c.Seen[0], want)
	}
	if c.SourceCount != 1 || c.DestCount != 2 || got.res.Bytes != 0 || got.res.Dirs != 1 {
		t.Errorf("got counts %d and %d, %+v", c.SourceCount, c.DestCount, got.res)
	}
}

// Where each modification time would cost a call, a scan doesn't ask unless a filter or the order needs it.
func TestScanSlowModTime(t *testing.T) {
	for _, tt := range []struct {
		opt  Options
		zero bool
	}{{Options{}, true}, {Options{MinAge: time.Second}, false}, {Options{Order: OrderOldest}, false}} {
		src, dst := newScanFake("src", false, "a"), newScanFake("dst", false, "a")
		src.features.SlowModTime, dst.features.SlowModTime = true, true
		got, err := scanAll(t, NewPair(src, dst, tt.opt), ScanOptions{})
		if err != nil || len(got.chunks) != 1 {
			t.Fatalf("%d chunks, %v", len(got.chunks), err)
		}
		if e := got.chunks[0].Entries[0]; e.ModTime.IsZero() != tt.zero {
			t.Errorf("%+v: modification time %v", tt.opt, e.ModTime)
		}
		if seen := got.chunks[0].Seen[0]; !seen.ModTime.IsZero() {
			t.Errorf("%+v: asked the destination for a modification time", tt.opt)
		}
	}
}

func TestScanNotStorable(t *testing.T) {
	src := newScanFake("src", false)
	src.put("", &scanObj{fs: src, remote: "pipe", unstorable: true})
	got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scanDiff(t, "entries", got.lines(), []string{"pipe not_storable"})
}

func TestScanChunks(t *testing.T) {
	var files []string
	for i := range 2*chunkEntries + 1 {
		files = append(files, fmt.Sprintf("d/%05d", i))
	}
	got, err := scanAll(t, NewPair(newScanFake("src", false, files...), newScanFake("dst", false), Options{}), ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	var paths []string
	for _, c := range got.chunks {
		sizes = append(sizes, len(c.Entries))
		for _, e := range c.Entries {
			paths = append(paths, e.Path)
		}
		if c.SourceCount != len(files) || c.DestCount != 0 || c.SourceDir != "d" || c.DestDir != "d" {
			t.Errorf("got %q to %q, %d and %d", c.SourceDir, c.DestDir, c.SourceCount, c.DestCount)
		}
	}
	if !slices.Equal(sizes, []int{chunkEntries, chunkEntries, 1}) || !slices.Equal(paths, files) {
		t.Errorf("got chunks of %v, in order %t", sizes, slices.Equal(paths, files))
	}
}

// An ordered scan hands out the files of a folder, then its subfolders, and the same every time.
func TestScanOrdered(t *testing.T) {
	src := newScanFake("src", false, "b", "a/z", "a/b/c", "a/a", "c/x", "c/d/y", "a.txt")
	var first []string
	for range 5 {
		got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{Ordered: true, Checkers: 4})
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, c := range got.chunks {
			for _, e := range c.Entries {
				paths = append(paths, e.Path)
			}
		}
		if first == nil {
			first = paths
		}
		if want := []string{"a.txt", "b", "a/a", "a/z", "a/b/c", "c/x", "c/d/y"}; !slices.Equal(paths, want) {
			t.Fatalf("got %q, want %q", paths, want)
		}
	}
}

func TestScanEmitError(t *testing.T) {
	broken := errors.New("store is gone")
	for _, ordered := range []bool{true, false} {
		calls := 0
		p := NewPair(newScanFake("src", false, "a/x", "b/x", "c/x", "d/x"), newScanFake("dst", false), Options{})
		res, err := p.Scan(t.Context(), ScanOptions{Ordered: ordered}, func(Chunk) error {
			calls++
			return broken
		})
		if !errors.Is(err, broken) || res.Complete {
			t.Errorf("ordered=%t: got %v, complete=%t", ordered, err, res.Complete)
		}
		if ordered && calls != 1 {
			t.Errorf("emit was called %d times", calls)
		}
	}
}

func TestScanCanceled(t *testing.T) {
	cause := errors.New("the job was paused")
	ctx, cancel := context.WithCancelCause(t.Context())
	src := newScanFake("src", false, "a/x", "b/x", "c/x", "d/x")
	p := NewPair(src, newScanFake("dst", false), Options{})
	res, err := p.Scan(ctx, ScanOptions{Ordered: true}, func(Chunk) error {
		cancel(cause)
		return nil
	})
	if !errors.Is(err, cause) || res.Complete || res.Files != 1 {
		t.Errorf("got %v, %+v", err, res)
	}
	if len(src.calls) > 3 {
		t.Errorf("went on after the cancellation: %q", src.calls)
	}
}

func TestScanNoSource(t *testing.T) {
	src := newScanFake("src", false)
	delete(src.dirs, "")
	_, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
	if !errors.Is(err, fs.ErrorDirNotFound) || !strings.Contains(fmt.Sprint(err), "src:") {
		t.Errorf("got %v, want a missing folder of src:", err)
	}
}

// A destination that doesn't exist yet is an empty one.
func TestScanNoDest(t *testing.T) {
	dst := newScanFake("dst", false)
	delete(dst.dirs, "")
	got, err := scanAll(t, NewPair(newScanFake("src", false, "a", "d/b"), dst, Options{}), ScanOptions{})
	if err != nil || !got.res.Complete {
		t.Fatalf("%+v, %v", got.res, err)
	}
	scanDiff(t, "entries", got.lines(), []string{"a new", "d/b new"})
	if want := []string{"list "}; !slices.Equal(dst.calls, want) {
		t.Errorf("asked the destination for %q, want %q", dst.calls, want)
	}
}

// What the destination doesn't have isn't asked for further down.
func TestScanAsksDestOnce(t *testing.T) {
	dst := newScanFake("dst", false, "a/x")
	_, err := scanAll(t, NewPair(newScanFake("src", false, "a/b/c/d", "e/f/g"), dst, Options{}), ScanOptions{Ordered: true})
	if want := []string{"list ", "list a"}; err != nil || !slices.Equal(dst.calls, want) {
		t.Errorf("asked the destination for %q, want %q; %v", dst.calls, want, err)
	}
}

func TestScanTooDeep(t *testing.T) {
	src := newScanFake("src", false, strings.Repeat("d/", maxDepth+2)+"x", "y")
	got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
	if err != nil || got.res.Complete || got.res.Files != 1 {
		t.Errorf("got %+v, %v", got.res.Files, err)
	}
}
