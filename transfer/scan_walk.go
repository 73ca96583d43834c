package transfer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/rclone/rclone/fs"
)

// maxDepth is how many folders deep a scan goes: a broken remote can nest without end.
const maxDepth = 4096

// folder is one folder of the destination, with every source folder that goes into it: usually one, more where the
// destination takes several names for one (case, normalisation).
type folder struct {
	src     []string // as the source spells them, in byte order
	dest    string   // where the files go
	look    []string // folders of that name at the destination, dest first; empty where there are none
	blocked veto     // why nothing in it may be copied
	depth   int
}

// veto is why an entry is set aside; the zero value is none.
type veto struct{ code, reason string }

// walk scans from the root, several folders at once. The folders still to be listed are kept on one stack, so that
// their number stays within the breadth of the folders open, and never grows with the number of files.
func (s *scan) walk(ctx context.Context) error {
	w := &walker{stack: []folder{{src: []string{""}, look: []string{""}}}}
	w.wake.L = &w.mu
	var wg sync.WaitGroup
	for range s.checkers {
		wg.Go(func() {
			for {
				f, ok := w.next()
				if !ok {
					return
				}
				children, err := s.folder(ctx, f)
				w.done(children, err)
			}
		})
	}
	wg.Wait()
	var stop *stopError
	if errors.As(w.err, &stop) {
		w.err = stop.err
	}
	if w.err != nil {
		return w.err
	}
	return s.sendMissing(ctx)
}

// walker shares the folders to be listed out to the workers, the deepest first.
type walker struct {
	mu    sync.Mutex
	wake  sync.Cond
	stack []folder
	busy  int
	err   error // the first; it ends the walk
}

// next waits for a folder; ok is false when the walk has ended.
func (w *walker) next() (f folder, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.stack) == 0 && w.busy > 0 && w.err == nil {
		w.wake.Wait()
	}
	if len(w.stack) == 0 || w.err != nil {
		return folder{}, false
	}
	last := len(w.stack) - 1
	f, w.stack[last] = w.stack[last], folder{}
	w.stack = w.stack[:last]
	w.busy++
	return f, true
}

// done hands the subfolders of a folder back, in name order.
func (w *walker) done(children []folder, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	slices.Reverse(children)
	w.stack = append(w.stack, children...)
	if w.err == nil {
		w.err = err
	}
	w.wake.Broadcast()
}

// folder lists one folder on both sides, hands out its files and returns its subfolders. It fails only where the whole
// scan should.
func (s *scan) folder(ctx context.Context, f folder) ([]folder, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	dest := make(chan destListing, 1)
	go func() { dest <- s.listDest(ctx, f) }()
	v := &visit{scan: s, folder: f, out: make([]Chunk, len(f.src))}
	err := v.listSources(ctx)
	d := <-dest
	if err = cmp.Or(err, d.err); err != nil {
		return nil, err
	}
	v.dst, v.destKnown = d.items, d.known
	for i, dir := range v.folder.src {
		v.out[i].SourceDir, v.out[i].DestDir = dir, f.dest
		v.out[i].SourceCount, v.out[i].DestCount = v.counts[i], len(d.items)
		if !d.known {
			v.out[i].DestCount = -1
		}
	}
	return v.compare(ctx)
}

// destListing is what is at the destination for one folder.
type destListing struct {
	items []item
	known bool // false where it couldn't be listed: then nothing may be concluded from an absence
	err   error
}

// listDest lists the destination's folders for f. A missing one is an empty one.
func (s *scan) listDest(ctx context.Context, f folder) destListing {
	d := destListing{known: true}
	for _, dir := range f.look {
		found, _, err := s.list(ctx, SideDest, dir)
		var stop *stopError
		switch {
		case isNotFound(err):
			continue
		case errors.As(err, &stop):
			return destListing{err: err}
		case err != nil:
			s.fault(dir, SideDest, err)
			d.known = false
			continue
		}
		d.items = slices.Grow(d.items, len(found))
		for _, e := range found {
			d.items = append(d.items, s.newItem(e, 0))
		}
	}
	sortItems(d.items)
	return d
}

// item is one entry of a folder, of either side. There is one for each entry of the folders open: it is kept small.
type item struct {
	entry fs.DirEntry
	key   string // what the destination compares
	from  int32  // which of the folder's source folders it is in
}

func (s *scan) newItem(e fs.DirEntry, from int) item {
	return item{entry: e, key: s.rules.key(baseName(e.Remote())), from: int32(from)}
}

func (i item) path() string { return i.entry.Remote() }

func (i item) name() string { return baseName(i.entry.Remote()) }

func (i item) isDir() bool {
	_, ok := i.entry.(fs.Directory)
	return ok
}

// sortItems sorts by key, then by path. Files of exactly one path are told apart by what doesn't change between two
// listings, so that every scan takes the same one.
func sortItems(items []item) {
	slices.SortFunc(items, func(a, b item) int {
		if c := cmp.Compare(a.key, b.key); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.path(), b.path()), cmp.Compare(entryID(a.entry), entryID(b.entry)),
			cmp.Compare(a.entry.Size(), b.entry.Size()))
	})
}

func entryID(e fs.DirEntry) string {
	if x, ok := e.(fs.IDer); ok {
		return x.ID()
	}
	return ""
}

// listSources lists the source folders of v into v.src, without what is filtered out or ours. Folders that can't be
// listed are recorded; the root is not: without it there is no scan.
func (v *visit) listSources(ctx context.Context) error {
	v.counts = make([]int, len(v.folder.src))
	for i, dir := range v.folder.src {
		dir, found, bad, err := v.listSource(ctx, dir)
		var stop *stopError
		switch {
		case errors.As(err, &stop):
			return err
		case err != nil && dir == "":
			return wrapSide(SideSource, "list source "+fs.ConfigString(v.scan.src), err)
		case err != nil:
			v.fault(dir, SideSource, err)
			v.counts[i] = -1
			continue
		}
		v.folder.src[i], v.counts[i] = dir, len(found)+len(bad)
		v.dirs++
		if v.pair.barred(found) {
			continue // counted as listed: it isn't empty
		}
		for _, e := range bad {
			v.addUnsafe(e, dir, i)
		}
		v.src = slices.Grow(v.src, len(found))
		for _, e := range found {
			if err := v.add(ctx, e, dir, i); err != nil {
				return err
			}
		}
	}
	sortItems(v.src)
	return nil
}
