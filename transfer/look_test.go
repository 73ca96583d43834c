package transfer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	_ "github.com/rclone/rclone/backend/memory"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/object"
)

// gatedFs holds back the first look at a file until the gate opens, and counts looks and listings.
type gatedFs struct {
	fs.Fs
	gate        chan struct{}
	entered     chan struct{}
	once        sync.Once
	looks, list atomic.Int64
}

func (g *gatedFs) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	g.looks.Add(1)
	g.once.Do(func() {
		close(g.entered)
		<-g.gate
	})
	return g.Fs.NewObject(ctx, remote)
}

func (g *gatedFs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	g.list.Add(1)
	return g.Fs.List(ctx, dir)
}

// While one fresh look at a folder is under way the next ones gather: one listing that begins after them answers them
// all. What the listing doesn't show is asked for alone.
func TestFreshLooksShareOneListing(t *testing.T) {
	ctx := t.Context()
	mem, err := fs.NewFs(ctx, ":memory:regroup/root")
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) {
		t.Helper()
		info := object.NewStaticObjectInfo(name, time.Unix(1, 0), int64(len(content)), true, nil, nil)
		if _, err := mem.Put(ctx, strings.NewReader(content), info); err != nil {
			t.Fatal(err)
		}
	}
	const n = 20
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("d/f%02d", i))
		put(paths[i], "before")
	}
	paths = append(paths, "d/missing")
	g := &gatedFs{Fs: mem, gate: make(chan struct{})}
	l := newLookup(g, g, paths, map[string]int{"d": n})
	sizes := make([]int64, len(paths))
	var wg sync.WaitGroup
	entered := make(chan struct{})
	g.entered = entered
	for i, p := range paths {
		if i == 1 {
			<-entered // the first look is under way, and held back
		}
		wg.Go(func() {
			sizes[i] = -2
			o, _, err := l.find(ctx, p, true)
			if err != nil {
				t.Errorf("%s: %v", p, err)
			} else if o != nil {
				sizes[i] = o.Size()
			}
		})
	}
	d := l.dirs["d"]
	for queued := 0; queued < n; { // all but the first wait
		d.fresh.mu.Lock()
		queued = len(d.fresh.queue)
		d.fresh.mu.Unlock()
	}
	for _, p := range paths[:n] {
		put(p, "afterwards")
	}
	close(g.gate)
	wg.Wait()
	l.asking.Wait()
	if g.list.Load() != 1 || g.looks.Load() > 2 {
		t.Errorf("%d listings and %d single looks for %d files, want 1 and at most 2", g.list.Load(), g.looks.Load(), len(paths))
	}
	for i, size := range sizes[:n] {
		if size != int64(len("afterwards")) {
			t.Errorf("%s: %d bytes: the look wasn't fresh", paths[i], size)
		}
	}
	if sizes[n] != -2 {
		t.Errorf("a missing file was found with %d bytes", sizes[n])
	}
}

// Where calls are dear, looks wait for the files of their folder that are still on their way, and go on without those
// that never come.
func TestLooksWaitForThoseOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // they wait for half a second at most; a busy machine may take longer to begin them all
		ctx := t.Context()
		mem, err := fs.NewFs(ctx, ":memory:gather/root")
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for i := range 12 {
			paths = append(paths, fmt.Sprintf("d/f%02d", i))
			info := object.NewStaticObjectInfo(paths[i], time.Unix(1, 0), 1, true, nil, nil)
			if _, err := mem.Put(ctx, strings.NewReader("x"), info); err != nil {
				t.Fatal(err)
			}
		}
		g := &gatedFs{Fs: mem, gate: make(chan struct{}), entered: make(chan struct{})}
		close(g.gate)
		l := newLookup(g, g, paths, map[string]int{"d": len(paths)})
		l.gathers = true
		var wg sync.WaitGroup
		for i, p := range paths {
			wg.Go(func() {
				if i == 0 {
					l.arrived(p) // it failed on its way
					return
				}
				if o, err := l.findAnew(ctx, p, func() { l.arrived(p) }); o == nil || err != nil {
					t.Errorf("%s: %v, %v", p, o, err)
				}
			})
		}
		wg.Wait()
		l.asking.Wait()
		if g.list.Load() != 1 || g.looks.Load() != 0 {
			t.Errorf("%d listings and %d single looks, want one listing", g.list.Load(), g.looks.Load())
		}
	})
}

// twinsFs lists two files whose names it says it can't tell apart, as iCloud may.
type twinsFs struct{ fs.Fs }

func (t twinsFs) Features() *fs.Features { return &fs.Features{CaseInsensitive: true} }

// A path means the file that is spelled so, whichever of two the listing has last; of two that are spelled alike, the
// first. A name that only one file has but for its case is that file.
func TestLookTellsTwinsApart(t *testing.T) {
	ctx := t.Context()
	mem, err := fs.NewFs(ctx, ":memory:twins/root")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d/REPORT.txt", "d/Report.txt", "d/report.txt", "d/other.txt"} {
		info := object.NewStaticObjectInfo(name, time.Unix(1, 0), int64(len(name)), true, nil, nil)
		if _, err := mem.Put(ctx, strings.NewReader(name), info); err != nil {
			t.Fatal(err)
		}
	}
	f := twinsFs{mem}
	paths := []string{"d/REPORT.txt", "d/Report.txt", "d/report.txt", "d/OTHER.txt"}
	for _, fresh := range []bool{false, true} {
		l := newLookup(f, f, paths, map[string]int{"d": 4})
		for _, p := range paths {
			l.arrived(p)
		}
		for _, p := range paths {
			want := p
			if p == "d/OTHER.txt" {
				want = "d/other.txt"
			}
			var o fs.Object
			if fresh {
				o = l.relist(ctx, []*asked{{path: p}, {path: p}}).at(l.key(p), p)
			} else if o, _, err = l.find(ctx, p, false); err != nil {
				t.Fatal(err)
			}
			if o == nil || o.Remote() != want {
				t.Errorf("fresh=%t: %q is taken for %v", fresh, p, o)
			}
		}
		l.asking.Wait()
	}
}
