package transfer

import (
	"context"
	"errors"
	"path"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	"golang.org/x/sync/errgroup"
	"golang.org/x/text/unicode/norm"
)

// maxListed is the largest folder, in files, that is listed to look at some of them: a listing is held in memory.
const maxListed = 20_000

// lookup finds objects of one side. Where a batch holds a good share of a folder's files, the folder is listed once;
// else each file is asked for.
type lookup struct {
	f      fs.Fs
	eye    fs.Fs // what fresh looks go through
	traits traits
	dirs   map[string]*listing // fixed after newLookup
	asking sync.WaitGroup      // fresh looks under way

	other func(fs.Object) // told of what a listing shows beside what is wanted; nil for nobody

	gathers bool // fresh looks wait for those of the folder that are on their way to theirs

	run func() context.Context // what is done for several files hangs on it; nil for a lookup outside of a run
}

// life is the context of what is done for several files: one of them may be given up while the others wait for it.
func (l *lookup) life(ctx context.Context) context.Context {
	if l.run == nil {
		return ctx
	}
	return l.run()
}

// listing is a folder that is listed when the first of its files is asked for.
type listing struct {
	once sync.Once
	done chan struct{} // closed when it was listed
	want map[string]bool
	objs sighted
	ok   bool
	at   time.Time

	small bool // few enough files to list it again
	fresh regroup
}

// newLookup decides which folders to list: paths are the files of the batch, held the number of files in each folder.
func newLookup(f, eye fs.Fs, paths []string, held map[string]int) *lookup {
	l := &lookup{f: f, eye: eye, traits: traitsOf(f), dirs: map[string]*listing{}}
	if f.Features().IsLocal {
		return l // asking for a file costs no round trip
	}
	byDir := map[string][]string{}
	for _, p := range paths {
		byDir[dirOf(p)] = append(byDir[dirOf(p)], p)
	}
	for dir, files := range byDir {
		n, known := held[dir]
		if !worthListing(len(files), n, known, l.traits) {
			continue
		}
		want := make(map[string]bool, len(files))
		for _, p := range files {
			want[l.key(p)] = true
		}
		l.dirs[dir] = &listing{want: want, done: make(chan struct{}), small: l.traits.looksByListing || n+len(files) <= regroupMax,
			fresh: regroup{coming: len(files), all: make(chan struct{})}}
	}
	return l
}

// worthListing weighs wanted calls for one file each against a listing in pages of about a thousand. Where asking lists
// anyway, a listing tells two files of one name apart, and asking for it doesn't.
func worthListing(wanted, held int, known bool, t traits) bool {
	if t.looksByListing {
		return true
	}
	return known && held >= 0 && held <= maxListed && wanted > 1+held/500
}

// key is the name under which a remote would find the path: case counts only where it does there.
func (l *lookup) key(p string) string {
	if l.traits.nfcLookup {
		p = norm.NFC.String(p)
	}
	if l.f.Features().CaseInsensitive {
		p = foldName(p)
	}
	return p
}

// find returns the object at path, nil where there is none, and when that was seen. fresh asks the remote anew.
func (l *lookup) find(ctx context.Context, p string, fresh bool) (fs.Object, time.Time, error) {
	d := l.dirs[dirOf(p)]
	if d != nil && !fresh && d.want[l.key(p)] {
		if o, ok := l.listed(ctx, d, p); ok {
			return o, d.at, nil
		}
	}
	if d != nil && fresh && d.small {
		return l.look(ctx, d, p).answer(ctx)
	}
	at := time.Now()
	o, err := l.ask(ctx, p)
	return o, at, err
}

// findAnew asks the remote anew for the object at path. It calls came as soon as those who wait for this file to come to its
// look needn't any more: once it stands in their queue, for who is served before is asked for alone.
func (l *lookup) findAnew(ctx context.Context, p string, came func()) (fs.Object, error) {
	if d := l.dirs[dirOf(p)]; d != nil && d.small {
		a := l.look(ctx, d, p)
		came()
		o, _, err := a.answer(ctx)
		return o, err
	}
	came()
	o, _, err := l.find(ctx, p, true)
	return o, err
}

// listed answers from the listing of a folder; ok is false where it failed, so that the file is asked for alone and
// the failure, if it lasts, is met there.
func (l *lookup) listed(ctx context.Context, d *listing, p string) (o fs.Object, ok bool) {
	l.fill(l.life(ctx), d, dirOf(p))
	return d.objs.at(l.key(p), p), d.ok
}

// fill lists a folder, unless it was listed already.
func (l *lookup) fill(ctx context.Context, d *listing, dir string) {
	d.once.Do(func() {
		defer close(d.done)
		d.at = time.Now()
		d.objs, d.ok = l.list(ctx, l.f, dir, d.want)
	})
}

// aheadAtOnce is how many folders of a side are listed at once before the files of a batch begin.
const aheadAtOnce = 4

// ahead lists the folders of files that are about to begin, in their order: a file that waited for a listing would hold a
// slot meanwhile. Where ctx ends, the rest is left to the files.
func (l *lookup) ahead(ctx context.Context, paths []string) {
	var all errgroup.Group
	all.SetLimit(aheadAtOnce)
	begun := map[string]bool{}
	for _, p := range paths {
		dir := dirOf(p)
		if d := l.dirs[dir]; d != nil && !begun[dir] {
			begun[dir] = true
			all.Go(func() error {
				defer func() { _ = recover() }() // a bug in a backend: the files meet it
				l.fill(ctx, d, dir)
				return nil
			})
		}
	}
	_ = all.Wait() // what failed is met by the files
}

// listedBy waits until the folder of a file was listed, where it is going to be, or until ctx ends.
func (l *lookup) listedBy(ctx context.Context, p string) {
	if d := l.dirs[dirOf(p)]; d != nil {
		select {
		case <-d.done:
		case <-ctx.Done():
		}
	}
}

// sighted are the wanted objects of a listing by their keys, in the order of the listing. A source may hold several names
// of one key, though it says that it can't tell them apart: iCloud does.
type sighted map[string][]fs.Object

// at returns the object at a path: the first of those that are spelled so, or of those with its key; nil for none.
func (s sighted) at(key, p string) fs.Object {
	all := s[key]
	for _, o := range all {
		if o.Remote() == p {
			return o
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return nil
}

// list returns the wanted files of a folder by their keys; ok is false where it couldn't be listed. A folder that isn't
// there holds nothing.
func (l *lookup) list(ctx context.Context, f fs.Fs, dir string, want map[string]bool) (objs sighted, ok bool) {
	entries, err := f.List(ctx, dir)
	if err != nil && !errors.Is(err, fs.ErrorDirNotFound) {
		return nil, false
	}
	objs = make(sighted, len(want))
	for _, e := range entries {
		if o, isObj := e.(fs.Object); isObj && want[l.key(o.Remote())] {
			k := l.key(o.Remote())
			objs[k] = append(objs[k], o)
		} else if isObj && l.other != nil {
			l.other(o)
		}
	}
	return objs, true
}

// arrived notes that the file at path has come to its fresh look, or never will. It is called once for each path that
// newLookup was given.
func (l *lookup) arrived(p string) {
	if d := l.dirs[dirOf(p)]; d != nil {
		d.fresh.arrived()
	}
}

// waits tells whether a fresh look may wait for others, so that a slot shouldn't be held meanwhile.
func (l *lookup) waits(p string) bool {
	d := l.dirs[dirOf(p)]
	return l.gathers && d != nil && d.small
}

// lists tells whether find may answer from a listing.
func (l *lookup) lists(p string) bool { return l.dirs[dirOf(p)] != nil }

// ask looks for one file. Not being there, or in a folder that isn't there, is no error.
func (l *lookup) ask(ctx context.Context, p string) (fs.Object, error) {
	o, err := l.eye.NewObject(ctx, p)
	if isNotFound(err) && l.traits.nfcLookup && !norm.NFC.IsNormalString(p) {
		o, err = l.eye.NewObject(ctx, norm.NFC.String(p))
	}
	if isNotFound(err) {
		return nil, nil
	}
	return o, err
}

func isNotFound(err error) bool {
	return errors.Is(err, fs.ErrorObjectNotFound) || errors.Is(err, fs.ErrorDirNotFound)
}

// dirOf is the folder of a path, "" for the root.
func dirOf(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}
