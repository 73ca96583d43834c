package transfer

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// scanFake is a remote of listings only, for what real ones can't be made to do: names in any spelling, duplicates,
// hostile answers, failures at a chosen call.
type scanFake struct {
	name     string
	features *fs.Features

	mu    sync.Mutex
	dirs  map[string][]fs.DirEntry
	calls []string // what was asked so far: "list DIR", "find PATH"
	fail  func(call int, what string) error
}

// newScanFake makes a remote of these files; a path may end in "=SIZE", and in "/" for an empty folder.
func newScanFake(name string, fold bool, paths ...string) *scanFake {
	f := &scanFake{name: name, dirs: map[string][]fs.DirEntry{"": nil}}
	f.features = (&fs.Features{CaseInsensitive: fold, CanHaveEmptyDirectories: true}).Fill(context.Background(), f)
	for _, p := range paths {
		f.add(p)
	}
	return f
}

func (f *scanFake) add(p string) {
	if dir, ok := strings.CutSuffix(p, "/"); ok {
		f.mkdir(dir)
		return
	}
	size := int64(1)
	if path, n, ok := strings.Cut(p, "="); ok {
		p = path
		_, _ = fmt.Sscan(n, &size)
	}
	f.mkdir(dirName(p))
	f.put(dirName(p), &scanObj{fs: f, remote: p, size: size, modTime: time.Unix(1_700_000_000, 0)})
}

// put adds an entry to the listing of dir, whatever its name is.
func (f *scanFake) put(dir string, e fs.DirEntry) { f.dirs[dir] = append(f.dirs[dir], e) }

func (f *scanFake) mkdir(dir string) {
	if _, ok := f.dirs[dir]; ok || dir == "" {
		return
	}
	f.mkdir(dirName(dir))
	f.dirs[dir] = nil
	f.put(dirName(dir), fs.NewDir(dir, time.Time{}))
}

func (f *scanFake) Name() string             { return f.name }
func (f *scanFake) Root() string             { return "" }
func (f *scanFake) String() string           { return f.name + ":" }
func (f *scanFake) Precision() time.Duration { return time.Second }
func (f *scanFake) Hashes() hash.Set         { return hash.NewHashSet() }
func (f *scanFake) Features() *fs.Features   { return f.features }

// asked counts a call and returns what it should fail with.
func (f *scanFake) asked(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
	if f.fail == nil {
		return nil
	}
	return f.fail(len(f.calls), what)
}

func (f *scanFake) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	if err := f.asked("list " + dir); err != nil {
		return nil, err
	}
	if entries, ok := f.dirs[dir]; ok {
		return slices.Clone(entries), nil
	}
	for name := range f.dirs {
		if f.features.CaseInsensitive && strings.EqualFold(name, dir) {
			return f.renamed(name, dir), nil
		}
	}
	return nil, fs.ErrorDirNotFound
}

// renamed lists a folder as a remote does that was asked for it in another case.
func (f *scanFake) renamed(name, dir string) fs.DirEntries {
	var entries fs.DirEntries
	for _, e := range f.dirs[name] {
		remote := dir + "/" + baseName(e.Remote())
		if o, ok := e.(*scanObj); ok {
			clone := *o
			clone.remote = remote
			entries = append(entries, &clone)
		} else {
			entries = append(entries, fs.NewDir(remote, time.Time{}))
		}
	}
	return entries
}

func (f *scanFake) NewObject(_ context.Context, remote string) (fs.Object, error) {
	if err := f.asked("find " + remote); err != nil {
		return nil, err
	}
	same := func(a, b string) bool { return a == b }
	if f.features.CaseInsensitive {
		same = strings.EqualFold
	}
	for _, entries := range f.dirs {
		for _, e := range entries {
			if !same(e.Remote(), remote) {
				continue
			}
			if o, ok := e.(fs.Object); ok {
				return o, nil
			}
			return nil, fs.ErrorIsDir
		}
	}
	return nil, fs.ErrorObjectNotFound
}

func (f *scanFake) Put(context.Context, io.Reader, fs.ObjectInfo, ...fs.OpenOption) (fs.Object, error) {
	return nil, fs.ErrorPermissionDenied
}
func (f *scanFake) Mkdir(context.Context, string) error { return fs.ErrorPermissionDenied }
func (f *scanFake) Rmdir(context.Context, string) error { return fs.ErrorPermissionDenied }

// scanObj is a file of a scanFake.
type scanObj struct {
	fs         *scanFake
	remote     string
	size       int64
	modTime    time.Time
	id, etag   string
	unstorable bool
}

func (o *scanObj) Fs() fs.Info                                     { return o.fs }
func (o *scanObj) String() string                                  { return o.remote }
func (o *scanObj) Remote() string                                  { return o.remote }
func (o *scanObj) ModTime(context.Context) time.Time               { return o.modTime }
func (o *scanObj) Size() int64                                     { return o.size }
func (o *scanObj) ID() string                                      { return o.id }
func (o *scanObj) ETag() string                                    { return o.etag }
func (o *scanObj) Storable() bool                                  { return !o.unstorable }
func (o *scanObj) Hash(context.Context, hash.Type) (string, error) { return "", hash.ErrUnsupported }
func (o *scanObj) SetModTime(context.Context, time.Time) error     { return fs.ErrorCantSetModTime }
func (o *scanObj) Remove(context.Context) error                    { return fs.ErrorPermissionDenied }
func (o *scanObj) Open(context.Context, ...fs.OpenOption) (io.ReadCloser, error) {
	return nil, fs.ErrorPermissionDenied
}
func (o *scanObj) Update(context.Context, io.Reader, fs.ObjectInfo, ...fs.OpenOption) error {
	return fs.ErrorPermissionDenied
}

// scanned is what a scan handed out.
type scanned struct {
	chunks []Chunk
	res    ScanResult
}

// scanAll scans and checks what holds for every scan: chunks are whole, no source file comes twice, what gets no verdict
// has a destination of its own, and the counts are right.
func scanAll(t *testing.T, p *Pair, o ScanOptions) (scanned, error) {
	t.Helper()
	var got scanned
	res, err := p.Scan(t.Context(), o, func(c Chunk) error {
		got.chunks = append(got.chunks, c)
		return nil
	})
	got.res = res
	scanCheck(t, got, rulesOf(p.Dest))
	return got, err
}

func scanCheck(t *testing.T, got scanned, rules nameRules) {
	t.Helper()
	var files, setAside, failed int64
	sources, dests := map[string]bool{}, map[string]string{}
	for _, c := range got.chunks {
		if len(c.Entries) == 0 || len(c.Entries) > chunkEntries || len(c.Entries) != len(c.Seen) {
			t.Errorf("chunk of %q: %d entries, %d seen", c.SourceDir, len(c.Entries), len(c.Seen))
		}
		for _, e := range c.Entries {
			files++
			if dirName(e.SourcePath()) != c.SourceDir && e.Verdict != Failed {
				t.Errorf("%q came in the chunk of folder %q", e.SourcePath(), c.SourceDir)
			}
			switch e.Verdict {
			case SetAside:
				setAside++
			case Failed:
				failed++
			}
			if e.Verdict != Pending {
				if e.Code == "" || e.Reason == "" {
					t.Errorf("%q: verdict %s without code or reason", e.Path, e.Verdict)
				}
				continue
			}
			if sources[e.SourcePath()] {
				t.Errorf("source %q came twice", e.SourcePath())
			}
			sources[e.SourcePath()] = true
			if other, ok := dests[rules.pathKey(e.DestPath())]; ok {
				t.Errorf("%q and %q would land on one destination name", e.SourcePath(), other)
			}
			dests[rules.pathKey(e.DestPath())] = e.SourcePath()
		}
	}
	if got.res.Files != files || got.res.SetAside != setAside || got.res.Failed != failed {
		t.Errorf("counted %d files, %d set aside, %d failed; handed out %d, %d, %d",
			got.res.Files, got.res.SetAside, got.res.Failed, files, setAside, failed)
	}
}

// lines describes the entries, sorted: "path [<source] [>dest] [CODE|new|same name|?]".
func (s scanned) lines() []string {
	var lines []string
	for _, c := range s.chunks {
		for i, e := range c.Entries {
			line := e.Path
			if e.Source != "" {
				line += " <" + e.Source
			}
			if e.Dest != "" {
				line += " >" + e.Dest
			}
			switch {
			case e.Verdict != Pending:
				line += " " + e.Code
			case c.Seen[i].State == SeenNothing:
				line += " new"
			case c.Seen[i].State == SeenUnknown:
				line += " ?"
			default:
				line += fmt.Sprintf(" there=%d", c.Seen[i].Size)
			}
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func scanDiff(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}
