package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/filter"
	"github.com/rclone/rclone/fs/walk"
)

// A scan lets through exactly the files that rclone's own walk (rclone lsf -R) lists under the same filters.
func TestFilterAsRclone(t *testing.T) {
	dir := t.TempDir()
	files := []string{"a.txt", "b.jpg", "B.JPG", "d/a.txt", "d/b.jpg", "d/e/c.txt", "d/e/f/g.txt", "e/x", "e/e/x", "tmp/1", "tmp/d/2",
		"[x]/y", "a b/c d", ".hidden/x", ".hidden2", "d.txt/x", "big", "old", nfcE + ".txt"}
	scanWrite(t, dir, files...)
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	longAgo := time.Now().Add(-100 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "old"), longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	tests := []Options{
		{},
		{Include: []string{"*.txt"}},
		{Include: []string{"/*.txt"}},
		{Include: []string{"*.{txt,jpg}"}},
		{Include: []string{"d/**"}},
		{Include: []string{"/d/*.txt", "e/"}},
		{Include: []string{"d/e/**.txt"}},
		{Exclude: []string{"*.txt"}},
		{Exclude: []string{"/tmp/**"}},
		{Exclude: []string{"tmp/"}},
		{Exclude: []string{"e/**", "*.jpg"}},
		{Exclude: []string{"*"}},
		{Exclude: []string{".*", ".*/**"}},
		{Exclude: []string{`\[x\]/**`}},
		{Exclude: []string{"[ab].*"}},
		{Exclude: []string{"{{[a-b]\\.(txt|jpg)}}"}},
		{Include: []string{"a b/*"}},
		{MinSize: 100},
		{MaxSize: 100},
		{MinSize: 3, MaxSize: 6},
		{MinAge: 50 * time.Hour},
		{MaxAge: 50 * time.Hour},
		{MinAge: 50 * time.Hour, MaxAge: 200 * time.Hour, Include: []string{"o*"}},
		{Include: []string{nfcE + "*"}},
		{Include: []string{"nothing"}},
	}
	for _, opt := range tests {
		src, err := fs.NewFs(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
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
		if want := filteredByRclone(t, src, opt); !slices.Equal(paths, want) {
			t.Errorf("%+v:\n got %q\nwant %q", opt, paths, want)
		}
	}
}

func filteredByRclone(t *testing.T, f fs.Fs, opt Options) []string {
	t.Helper()
	o := filter.Options{MinAge: fs.DurationOff, MaxAge: fs.DurationOff, MinSize: -1, MaxSize: -1}
	o.IncludeRule, o.ExcludeRule = opt.Include, opt.Exclude
	if opt.MinSize > 0 {
		o.MinSize = fs.SizeSuffix(opt.MinSize)
	}
	if opt.MaxSize > 0 {
		o.MaxSize = fs.SizeSuffix(opt.MaxSize)
	}
	if opt.MinAge > 0 {
		o.MinAge = fs.Duration(opt.MinAge)
	}
	if opt.MaxAge > 0 {
		o.MaxAge = fs.Duration(opt.MaxAge)
	}
	return listedByRclone(t, f, o)
}

// listedByRclone are the files that rclone lists under a filter, sorted.
func listedByRclone(t *testing.T, f fs.Fs, o filter.Options) []string {
	t.Helper()
	fi, err := filter.NewFilter(&o)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	err = walk.ListR(filter.ReplaceConfig(t.Context(), fi), f, "", false, -1, walk.ListObjects, func(entries fs.DirEntries) error {
		for _, e := range entries {
			paths = append(paths, e.Remote())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

// Exclude wins over include, and patterns match however a name is spelled.
func TestFilterOurs(t *testing.T) {
	src := newScanFake("src", false, "a.txt=2", "a.tmp=3", "x/b.txt=4", "x/c=5", nfdE+"=6", "no/d=7")
	tests := []struct {
		opt             Options
		want            []string
		excluded, bytes int64
	}{
		{Options{Include: []string{"/a.*"}, Exclude: []string{"*.tmp"}}, []string{"a.txt new"}, 2, 9},
		{Options{Exclude: []string{"*.tmp", "no/**"}}, []string{"a.txt new", "x/b.txt new", "x/c new", nfcE + " <" + nfdE + " new"}, 1, 3},
		{Options{Include: []string{nfcE}}, []string{nfcE + " <" + nfdE + " new"}, 5, 21},
		{Options{Include: []string{nfdE}}, []string{nfcE + " <" + nfdE + " new"}, 5, 21},
	}
	for _, tt := range tests {
		got, err := scanAll(t, NewPair(src, newScanFake("dst", false), tt.opt), ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		scanDiff(t, "entries", got.lines(), tt.want)
		if got.res.Excluded != tt.excluded || got.res.ExcludedBytes != tt.bytes {
			t.Errorf("%+v: excluded %d files of %d bytes, want %d of %d", tt.opt, got.res.Excluded, got.res.ExcludedBytes, tt.excluded, tt.bytes)
		}
	}
}

// An excluded file collides with nothing, and a folder excluded as a whole isn't entered.
func TestFilterBeforeCollisions(t *testing.T) {
	src := newScanFake("src", false, "a=1", "A=9", "skip/x", "SKIP/y")
	got, err := scanAll(t, NewPair(src, newScanFake("dst", true), Options{Exclude: []string{"A", "skip/**"}}), ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scanDiff(t, "entries", got.lines(), []string{"a new", "SKIP/y new"})
	if slices.Contains(src.calls, "list skip") {
		t.Error("an excluded folder was listed")
	}
}

func TestCheckFilters(t *testing.T) {
	tests := []struct {
		opt   Options
		field string // of the error; "" is none
	}{
		{Options{}, ""},
		{Options{Include: []string{"*.txt"}, Exclude: []string{"x/**"}, MinAge: 1, MaxAge: 2, MinSize: 1, MaxSize: 2}, ""},
		{Options{FilesFrom: []string{"a", "/b/c/"}}, ""},
		{Options{Include: []string{"["}}, "include"},
		{Options{Include: []string{"a***"}}, "include"},
		{Options{Include: []string{"{a"}}, "include"},
		{Options{Exclude: []string{"ok", "a}"}}, "exclude"},
		{Options{Exclude: []string{"{{(}}"}}, "exclude"},
		{Options{Exclude: []string{""}}, "exclude"},
		{Options{Exclude: []string{"  "}}, "exclude"},
		{Options{MinAge: -1}, "min-age"},
		{Options{MaxAge: -1}, "max-age"},
		{Options{MinAge: 2, MaxAge: 1}, "min-age"},
		{Options{MinSize: -1}, "min-size"},
		{Options{MaxSize: -1}, "max-size"},
		{Options{MinSize: 2, MaxSize: 1}, "min-size"},
		{Options{FilesFrom: []string{"a"}, MinSize: 1}, "files-from"},
		{Options{FilesFrom: []string{"a"}, Exclude: []string{"b"}}, "files-from"},
		{Options{FilesFrom: []string{""}}, "files-from"},
		{Options{FilesFrom: []string{"/"}}, "files-from"},
		{Options{FilesFrom: []string{"../a"}}, "files-from"},
		{Options{FilesFrom: []string{"a/../../b"}}, "files-from"},
		{Options{FilesFrom: []string{"a//b"}}, "files-from"},
		{Options{FilesFrom: []string{"a\xff"}}, "files-from"},
	}
	for _, tt := range tests {
		err := CheckFilters(tt.opt)
		if tt.field == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.opt, err)
			}
			continue
		}
		var bad *FilterError
		if !errors.As(err, &bad) || bad.Field != tt.field {
			t.Errorf("%+v: got %v, want an error of field %s", tt.opt, err, tt.field)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") || !strings.HasPrefix(text, tt.field) {
			t.Errorf("%+v: %q", tt.opt, text)
		}
		_, err = NewPair(newScanFake("src", false), newScanFake("dst", false), tt.opt).
			Scan(context.Background(), ScanOptions{}, func(Chunk) error { return nil })
		if !errors.As(err, &bad) {
			t.Errorf("%+v: Scan returned %v", tt.opt, err)
		}
	}
}
