package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/memory"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/object"
	"golang.org/x/text/unicode/norm"
)

func TestScanFilesFrom(t *testing.T) {
	src := func() *scanFake {
		return newScanFake("src", false, "a=1", "d/b=2", "d/c=3", "d/e/f=4", nfdE+"/"+nfdE+"=5", "A", ".DS_Store", "z/z")
	}
	tests := []struct {
		name  string
		files []string
		dst   []string
		fold  bool
		dest  string
		want  []string
	}{
		{name: "some", files: []string{"a", "/d/b", "d/e/f/"}, want: []string{"a new", "d/b new", "d/e/f new"}},
		{name: "there", files: []string{"a", "d/b"}, dst: []string{"a=9", "d/x"}, want: []string{"a there=9", "d/b new"}},
		{name: "missing", files: []string{"a", "no", "d/no", "no/no"}, want: []string{"a new", "d/no not_found", "no not_found", "no/no not_found"}},
		{name: "folder", files: []string{"d/e"}, want: []string{"d/e not_found"}},
		{name: "composed", files: []string{nfcE + "/" + nfcE}, want: []string{nfcE + "/" + nfcE + " <" + nfdE + "/" + nfdE + " new"}},
		{name: "both spellings", files: []string{nfcE + "/" + nfcE, nfdE + "/" + nfdE, "a", "a"},
			want: []string{"a new", nfcE + "/" + nfcE + " <" + nfdE + "/" + nfdE + " new"}},
		{name: "decomposed there", files: []string{nfcE + "/" + nfcE}, dst: []string{nfdE + "/" + nfdE + "=6"},
			want: []string{nfcE + "/" + nfcE + " <" + nfdE + "/" + nfdE + " >" + nfdE + "/" + nfdE + " there=6"}},
		{name: "collision", files: []string{"a", "A"}, fold: true, want: []string{"A new", "a name_collision"}},
		{name: "collision, one is there", files: []string{"a", "A"}, fold: true, dst: []string{"a=8"},
			want: []string{"a there=8", "A name_collision"}},
		{name: "refused", files: []string{".DS_Store"}, fold: true, dest: ":dropbox", want: []string{".DS_Store name_refused"}},
		{name: "folder there", files: []string{"a"}, dst: []string{"a/x"}, want: []string{"a name_collision"}},
	}
	for _, tt := range tests {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/many=%t", tt.name, many), func(t *testing.T) {
				if tt.dest == "" {
					tt.dest = "dst"
				}
				from, files, want := src(), slices.Clone(tt.files), slices.Clone(tt.want)
				for i := range maxLookups {
					if many { // so many that folders are listed
						from.add(fmt.Sprintf("many/%03d", i))
						files = append(files, fmt.Sprintf("many/%03d", i))
						want = append(want, fmt.Sprintf("many/%03d new", i))
					}
				}
				p := NewPair(from, newScanFake(tt.dest, tt.fold, tt.dst...), Options{FilesFrom: files})
				got, err := scanAll(t, p, ScanOptions{})
				if err != nil || !got.res.Complete || got.res.Excluded != 0 {
					t.Fatalf("Scan: %+v, %v", got.res, err)
				}
				scanDiff(t, "entries", got.lines(), want)
				for _, call := range from.calls {
					if call == "list z" || !many && strings.HasPrefix(call, "list") {
						t.Errorf("asked the source to %s", call)
					}
				}
			})
		}
	}
}

// A file that couldn't be asked for isn't said to be missing.
func TestScanFilesFromFault(t *testing.T) {
	src, dst := newScanFake("src", false, "a", "b"), newScanFake("dst", false)
	src.fail = func(_ int, what string) error {
		if what == "find a" {
			return fserrors.NoRetryError(errScanFault)
		}
		return nil
	}
	dst.fail = func(int, string) error { return fserrors.NoRetryError(errScanFault) }
	got, err := scanAll(t, NewPair(src, dst, Options{FilesFrom: []string{"a", "b"}}), ScanOptions{})
	if err != nil || got.res.Complete || got.res.ErrorCount != 2 {
		t.Errorf("got %+v, %v; want an incomplete scan", got.res, err)
	}
	scanDiff(t, "entries", got.lines(), []string{"a not_listed", "b ?"})

	src.fail = func(int, string) error { return fserrors.FatalError(errScanFault) }
	if _, err = scanAll(t, NewPair(src, dst, Options{FilesFrom: []string{"a"}}), ScanOptions{}); !errors.Is(err, errScanFault) {
		t.Errorf("got %v, want the remote's fatal error", err)
	}
}

// Of many files, those in a folder that couldn't be listed aren't said to be missing either.
func TestScanFilesFromUnlisted(t *testing.T) {
	src := newScanFake("src", false, "d/x", "e/y")
	src.fail = func(_ int, what string) error {
		if what == "list d" {
			return fserrors.NoRetryError(errScanFault)
		}
		return nil
	}
	files := []string{"d/x", "e/y"}
	for i := range maxLookups {
		files = append(files, fmt.Sprintf("gone/%d", i))
	}
	got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{FilesFrom: files}), ScanOptions{})
	if err != nil || got.res.Complete || got.res.Failed != maxLookups+1 {
		t.Errorf("got %+v, %v", got.res, err)
	}
	if lines := got.lines(); !slices.Contains(lines, "d/x not_listed") || !slices.Contains(lines, "e/y new") {
		t.Errorf("got %q", lines)
	}
}

// Any number of workers finds the same.
func TestScanConcurrent(t *testing.T) {
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprintf("%d/%d/%d", i%7, i%13, i), fmt.Sprintf("d%d/D%d/%d", i%5, i%3, i))
	}
	var first []string
	for _, o := range []ScanOptions{{Ordered: true}, {Checkers: 16}, {Checkers: 3}, {}} {
		got, err := scanAll(t, NewPair(newScanFake("src", false, paths...), newScanFake("dst", true, paths[:500]...), Options{}), o)
		if err != nil || !got.res.Complete || got.res.Files != int64(len(paths)) {
			t.Fatalf("%+v: %+v, %v", o, got.res, err)
		}
		if first == nil {
			first = got.lines()
		}
		scanDiff(t, fmt.Sprintf("%+v", o), got.lines(), slices.Clone(first))
	}
}

func scanWrite(t *testing.T, dir string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		full := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScanLocal(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	scanWrite(t, src, "a", "d/b", nfcE, nfdE, nfdE+"d/x", "new\nline", strings.Repeat("n", 255), "bad\xff", "a:b", `back\slash`)
	scanWrite(t, dst, "a", nfcE)
	for _, dest := range []string{dst, ":memory:bucket"} {
		p, err := Open(t.Context(), src, dest, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		got, err := scanAll(t, p, ScanOptions{})
		if err != nil || !got.res.Complete {
			t.Fatalf("%+v, %v", got.res, err)
		}
		if got.res.Files != 10 {
			t.Errorf("%s: found %d files: %q", dest, got.res.Files, got.lines())
		}
		for _, c := range got.chunks {
			for _, e := range c.Entries {
				if e.Verdict != Pending {
					continue
				}
				if _, err := p.Source.NewObject(t.Context(), e.SourcePath()); err != nil {
					t.Errorf("%s: can't look %q up: %v", dest, e.SourcePath(), err)
				}
			}
		}
	}
}

// Some remotes find folders by their composed names only, whatever they list.
func TestScanComposedFolder(t *testing.T) {
	src := newScanFake("src", false)
	src.put("", fs.NewDir(nfdE, time.Time{}))
	src.dirs[nfcE] = []fs.DirEntry{&scanObj{fs: src, remote: nfcE + "/x"}}
	got, err := scanAll(t, NewPair(&scanComposed{src}, newScanFake("dst", false), Options{}), ScanOptions{})
	if err != nil || !got.res.Complete || got.res.Files != 1 || got.chunks[0].Entries[0].SourcePath() != nfcE+"/x" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// scanComposed is a remote that finds no folder by a decomposed name.
type scanComposed struct{ *scanFake }

func (c *scanComposed) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	if !norm.NFC.IsNormalString(dir) {
		return nil, fs.ErrorDirNotFound
	}
	return c.scanFake.List(ctx, dir)
}

// A remote that lists in pages, with a folder and a file of one name.
func TestScanMemory(t *testing.T) {
	p, err := Open(t.Context(), ":memory:scan-src", ":memory:scan-dst", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	put := func(f fs.Fs, path, text string) {
		info := object.NewStaticObjectInfo(path, time.Now(), int64(len(text)), true, nil, nil)
		if _, err := f.Put(t.Context(), strings.NewReader(text), info); err != nil {
			t.Fatal(err)
		}
	}
	put(p.Source, "a", "123")
	put(p.Source, "a/x", "1234")
	put(p.Source, "d/"+nfdE, "12345")
	put(p.Dest, "a/x", "12")
	got, err := scanAll(t, p, ScanOptions{})
	if err != nil || !got.res.Complete {
		t.Fatalf("%+v, %v", got.res, err)
	}
	scanDiff(t, "entries", got.lines(), []string{"a new", "a/x there=2", "d/" + nfcE + " <d/" + nfdE + " new"})
}

func TestOpenSingleFile(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	scanWrite(t, src, "d/one", "d/other", "d/one.txt")
	p, err := Open(t.Context(), filepath.Join(src, "d", "one"), dst, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	got, err := scanAll(t, p, ScanOptions{})
	if err != nil || !got.res.Complete {
		t.Fatalf("%+v, %v", got.res, err)
	}
	scanDiff(t, "entries", got.lines(), []string{"one new"})
	if _, err := p.Source.NewObject(t.Context(), "one"); err != nil {
		t.Errorf("the entry can't be looked up: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	scanWrite(t, dir, "file")
	file := filepath.Join(dir, "file")
	for _, tt := range []struct {
		src, dst string
		opt      Options
		want     string
	}{
		{file, dir, Options{Include: []string{"*"}}, "source \"" + file + "\": is a single file: filters can't be used with it"},
		{file, dir, Options{Exclude: []string{"["}}, `exclude "[": bad pattern`},
		{dir, file, Options{}, file + ": is a file not a directory; name the folder that files should go into"},
		{"nosuch:", dir, Options{}, "open nosuch:"},
		{dir, "nosuch:", Options{}, "open nosuch:"},
	} {
		p, err := Open(t.Context(), tt.src, tt.dst, tt.opt)
		if err == nil {
			p.Close(t.Context())
			t.Errorf("Open(%s, %s) succeeded", tt.src, tt.dst)
		} else if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%s, %s): got %q, want %q", tt.src, tt.dst, err, tt.want)
		}
	}
}
