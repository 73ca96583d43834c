package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"golang.org/x/text/unicode/norm"
)

// visit is the comparing of one folder.
type visit struct {
	*scan
	folder    folder
	src, dst  []item
	counts    []int // entries listed in each source folder
	destKnown bool
	out       []Chunk // one being filled for each source folder
	children  []folder
	unsafe    []unsafeEntry

	dirs, excluded, excludedBytes int64
}

// unsafeEntry is an entry with a name that can't be trusted, and the source folder that it was listed in.
type unsafeEntry struct {
	from  int
	entry Entry
}

// add takes one listed source entry in, unless it is filtered out or ours.
func (v *visit) add(ctx context.Context, e fs.DirEntry, dir string, from int) error {
	path := norm.NFC.String(e.Remote())
	o, isObject := e.(fs.Object)
	if !isObject {
		if path == ManifestDir && v.asked == nil {
			return nil
		}
		enter, err := v.filter.IncludeDirectory(ctx, v.scan.src)(path)
		if err != nil {
			return fmt.Errorf("filter source folder %q: %w", path, err)
		}
		if enter {
			v.src = append(v.src, v.newItem(e, from))
		}
		return nil
	}
	if strings.HasSuffix(path, PartialSuffix) && v.asked == nil {
		return nil
	}
	if !v.passes(ctx, o, path) {
		if v.asked == nil {
			v.excluded++
			v.excludedBytes += max(o.Size(), 0)
		}
		return nil
	}
	v.src = append(v.src, v.newItem(e, from))
	return nil
}

// addUnsafe sets an entry aside whose name can't be trusted. A folder of that kind is not entered: what is in it stays
// unseen, so that the scan isn't complete.
func (v *visit) addUnsafe(e distrusted, dir string, from int) {
	size := e.Size()
	if _, isDir := e.DirEntry.(fs.Directory); isDir {
		size = -1
		v.fault(joinPath(dir, safeName(e.name)), SideSource, errors.New(e.why))
	}
	v.unsafe = append(v.unsafe, unsafeEntry{from, Entry{
		Path: joinPath(norm.NFC.String(dir), safeName(e.name)), Size: size, ID: entryID(e.DirEntry),
		Verdict: SetAside, Code: CodeNameUnsafe, Reason: e.why,
	}})
}

// passes tells whether a file passes the filters. The modification time is asked for only where a filter looks at it:
// some remotes keep it apart and would have to be called.
func (s *scan) passes(ctx context.Context, o fs.Object, path string) bool {
	modTime := time.Unix(0, 0)
	if !s.filter.ModTimeFrom.IsZero() || !s.filter.ModTimeTo.IsZero() {
		modTime = o.ModTime(ctx)
	}
	return s.filter.Include(path, o.Size(), modTime, nil)
}

// compare goes through both sides in lockstep, one destination name at a time.
func (v *visit) compare(ctx context.Context) ([]folder, error) {
	for _, u := range v.unsafe {
		if err := v.put(ctx, u.from, u.entry, Seen{}); err != nil {
			return nil, err
		}
	}
	dst := v.dst
	for src := v.src; len(src) > 0; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		key := src[0].key
		for len(dst) > 0 && dst[0].key < key {
			dst = dst[1:]
		}
		n, m := sameKey(src, key), sameKey(dst, key)
		if err := v.ruleOneDestName(ctx, src[:n], dst[:m]); err != nil {
			return nil, err
		}
		src, dst = src[n:], dst[m:]
	}
	for i := range v.out {
		if err := v.flush(ctx, i); err != nil {
			return nil, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.res.Dirs += v.dirs
	v.res.Excluded += v.excluded
	v.res.ExcludedBytes += v.excludedBytes
	return v.children, nil
}

// sameKey counts the items at the front that have this key.
func sameKey(items []item, key string) int {
	n := 0
	for n < len(items) && items[n].key == key {
		n++
	}
	return n
}

// split parts files from folders.
func split(items []item) (files, dirs []item) {
	if len(items) == 1 { // nearly always
		if items[0].isDir() {
			return nil, items
		}
		return items, nil
	}
	for _, i := range items {
		if i.isDir() {
			dirs = append(dirs, i)
		} else {
			files = append(files, i)
		}
	}
	return files, dirs
}

// ruleOneDestName (rule 6) settles what becomes of all the source entries that have one name at the destination: one
// goes on, the others are set aside. So are names that the destination refuses.
func (v *visit) ruleOneDestName(ctx context.Context, src, dst []item) error {
	files, dirs := split(src)
	destFiles, destDirs := split(dst)
	forFiles, forDirs := v.folder.blocked, v.folder.blocked
	if why := v.rules.refused(src[0].name()); why != "" && forFiles.code == "" {
		forFiles = veto{CodeNameRefused, why}
		forDirs = forFiles
	}
	if forFiles.code == "" && !v.rules.buckets {
		forFiles, forDirs = clash(files, dirs, destFiles, destDirs)
	}
	if len(dirs) > 0 {
		v.enter(dirs, destDirs, forDirs)
	}
	if len(files) == 0 {
		return nil
	}
	return v.files(ctx, files, destFiles, forFiles)
}

// clash settles a file and a folder of one name, where a destination can't hold both: what is there stays, else the
// folder goes on.
func clash(files, dirs, destFiles, destDirs []item) (forFiles, forDirs veto) {
	switch {
	case len(destDirs) > 0 && len(destFiles) > 0:
		return // it can hold both
	case len(destDirs) > 0:
		forFiles = veto{CodeNameCollision, "the destination has a folder of this name: " + destDirs[0].path()}
	case len(destFiles) > 0:
		forDirs = veto{CodeNameCollision, "the destination has a file where this folder would be: " + destFiles[0].path()}
	case len(dirs) > 0 && len(files) > 0:
		forFiles = veto{CodeNameCollision, "a folder would have the same name at the destination: " + dirs[0].path()}
	}
	return
}

// enter adds the source folders of one destination name to what is to be scanned, as one.
func (v *visit) enter(dirs, destDirs []item, why veto) {
	child := folder{blocked: why, depth: v.folder.depth + 1}
	for i, d := range dirs {
		if i > 0 && d.path() == dirs[i-1].path() {
			v.fault(d.path(), SideSource, errors.New("there are two folders of this name, of which only one can be listed"))
			continue
		}
		child.src = append(child.src, d.path())
	}
	if child.depth > maxDepth {
		v.fault(child.src[0], SideSource, fmt.Errorf("nested more than %d folders deep", maxDepth))
		return
	}
	if why.code != "" {
		child.dest = joinPath(v.folder.dest, norm.NFC.String(dirs[0].name()))
		v.children = append(v.children, child)
		return
	}
	for _, d := range destDirs {
		child.look = append(child.look, d.path())
	}
	if _, at, ok := pick(dirs, destDirs); ok {
		child.look[0], child.look[at] = child.look[at], child.look[0]
		child.dest = child.look[0]
	} else {
		child.dest = joinPath(v.folder.dest, norm.NFC.String(dirs[0].name()))
		if !v.destKnown {
			child.look = []string{child.dest}
		}
	}
	v.children = append(v.children, child)
}

// pick chooses, among what both sides have under one name, the source's and the destination's that belong together: of
// exactly one spelling, else of one but for the normalisation, else the first of each. ok is false where the destination
// has nothing.
func pick(src, dst []item) (from, to int, ok bool) {
	for _, same := range []func(s, d string) bool{
		func(s, d string) bool { return s == d },
		func(s, d string) bool { return norm.NFC.String(s) == d },
		func(s, d string) bool { return norm.NFC.String(s) == norm.NFC.String(d) },
	} {
		for i, s := range src {
			for j, d := range dst {
				if same(s.name(), d.name()) {
					return i, j, true
				}
			}
		}
	}
	return 0, 0, len(dst) > 0
}

// files hands out the source files of one destination name: the one that goes on, then the others, set aside. It is
// the one that the destination has already by exactly this name, else the first in byte order.
func (v *visit) files(ctx context.Context, files, destFiles []item, why veto) error {
	first, _, _ := pick(files, destFiles)
	for i, f := range files {
		verdict := why
		if verdict.code == "" && i != first {
			verdict = collision(f, files[first])
		}
		if o, ok := f.entry.(fs.Object); ok && !o.Storable() && verdict.code == "" {
			verdict.code, verdict.reason = CodeNotStorable, "the source lists it but can't hand out its content"
		}
		e := v.entry(ctx, f)
		seen := Seen{}
		if verdict.code != "" {
			e.Verdict, e.Code, e.Reason = SetAside, verdict.code, verdict.reason
		} else {
			e.Dest, seen = v.destOf(ctx, f, destFiles)
			if e.Dest == e.Path {
				e.Dest = ""
			}
		}
		if err := v.put(ctx, int(f.from), e, seen); err != nil {
			return err
		}
	}
	return nil
}

// collision is the verdict on a file for which another one goes on.
func collision(f, first item) veto {
	if f.path() == first.path() {
		return veto{CodeDuplicateName, "the source holds another file of exactly this name; rename one of them"}
	}
	return veto{CodeNameCollision, "the destination can't tell its name from that of " + first.path() + "; rename one of them"}
}

// destOf returns where a file goes, and what is there.
func (v *visit) destOf(ctx context.Context, f item, destFiles []item) (string, Seen) {
	_, at, ok := pick([]item{f}, destFiles)
	if !ok {
		seen := Seen{State: SeenNothing}
		if !v.destKnown {
			seen.State = SeenUnknown
		}
		return joinPath(v.folder.dest, norm.NFC.String(f.name())), seen
	}
	d := destFiles[at]
	return d.path(), Seen{State: SeenFile, Size: d.entry.Size(), ModTime: listedTime(ctx, d.entry, v.scan.dst, false)}
}

// entry makes the entry of a source file.
func (v *visit) entry(ctx context.Context, f item) Entry {
	path := f.path()
	e := Entry{Path: norm.NFC.String(path), Size: f.entry.Size(), ModTime: listedTime(ctx, f.entry, v.scan.src, v.byAge)}
	if e.Path != path && !v.nfcLookup {
		e.Source = path
	}
	if o, ok := f.entry.(fs.Object); ok {
		e.ID, e.ETag = idOf(o), etagOf(o)
		e.Keep = keepCode(o, e, v.traits)
	}
	return e
}

// listedTime is a modification time where the remote keeps one and asking costs no call, or needed is set.
func listedTime(ctx context.Context, e fs.DirEntry, f fs.Fs, needed bool) time.Time {
	if f.Precision() == fs.ModTimeNotSupported || f.Features().SlowModTime && !needed {
		return time.Time{}
	}
	return e.ModTime(ctx).UTC()
}

// put adds an entry to the chunk of its source folder and hands that out when it is full.
func (v *visit) put(ctx context.Context, from int, e Entry, seen Seen) error {
	c := &v.out[from]
	c.Entries, c.Seen = append(c.Entries, e), append(c.Seen, seen)
	if v.asked != nil {
		v.found(e.Path)
	}
	if len(c.Entries) < chunkEntries {
		return nil
	}
	return v.flush(ctx, from)
}

func (v *visit) flush(ctx context.Context, from int) error {
	c := &v.out[from]
	err := v.send(ctx, *c)
	c.Entries, c.Seen = nil, nil
	return err
}
