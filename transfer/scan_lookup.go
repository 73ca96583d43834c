package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs"
	"golang.org/x/sync/errgroup"
	"golang.org/x/text/unicode/norm"
)

// maxLookups is how many files of --files-from are asked for one by one. Of more, the folders that hold them are
// listed, and no others.
const maxLookups = 100

// found notes that a file of --files-from was found.
func (s *scan) found(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.asked[path]; ok {
		s.asked[path] = true
	}
}

// sendMissing hands out the files of --files-from that the walk didn't come across.
func (s *scan) sendMissing(ctx context.Context) error {
	s.mu.Lock()
	complete := s.res.ErrorCount == 0
	var missing []string
	for path, found := range s.asked {
		if !found {
			missing = append(missing, path)
		}
	}
	s.mu.Unlock()
	slices.Sort(missing)
	for run := range slices.Chunk(missing, chunkEntries) {
		var c Chunk
		for _, path := range run {
			c = Chunk{Entries: append(c.Entries, notFound(path, complete)), Seen: append(c.Seen, Seen{})}
		}
		c.SourceCount, c.DestCount = -1, -1
		if err := s.send(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// notFound is the entry of a file that was asked for but isn't there, as far as could be seen.
func notFound(path string, sure bool) Entry {
	e := Entry{Path: path, Size: -1, Verdict: Failed, Code: CodeNotFound,
		Reason: "there is no such file at the source; check the name in --files-from"}
	if !sure {
		e.Code, e.Reason = CodeNotListed, "the source couldn't be asked for it; run the job again"
	}
	return e
}

// lookUp finds the files of --files-from one by one.
func (s *scan) lookUp(ctx context.Context, names []string) error {
	names = uniqueNames(names)
	items := make([]lookedUp, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.checkers)
	for i, name := range names {
		g.Go(func() (err error) {
			items[i], err = s.lookUpOne(gctx, name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		var stop *stopError
		if errors.As(err, &stop) {
			err = stop.err
		}
		return cmp.Or(context.Cause(ctx), err)
	}
	slices.SortStableFunc(items, func(a, b lookedUp) int {
		return cmp.Or(cmp.Compare(dirName(a.entry.Path), dirName(b.entry.Path)), cmp.Compare(a.entry.Path, b.entry.Path))
	})
	setCollisionsAside(s.rules, items)
	for len(items) > 0 {
		c := Chunk{SourceCount: -1, DestCount: -1}
		c.SourceDir, c.DestDir = dirName(items[0].entry.SourcePath()), dirName(items[0].entry.DestPath())
		n := 0
		for n < len(items) && dirName(items[n].entry.SourcePath()) == c.SourceDir {
			c.Entries, c.Seen = append(c.Entries, items[n].entry), append(c.Seen, items[n].seen)
			n++
		}
		if err := s.send(ctx, c); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// uniqueNames drops names that are one but for the normalisation and slashes around them.
func uniqueNames(names []string) []string {
	seen := make(map[string]bool, len(names))
	var kept []string
	for _, name := range names {
		name = strings.Trim(name, "/")
		if composed := norm.NFC.String(name); !seen[composed] {
			seen[composed] = true
			kept = append(kept, name)
		}
	}
	return kept
}

// lookedUp is a file that was asked for by name.
type lookedUp struct {
	entry Entry
	seen  Seen
}

func (s *scan) lookUpOne(ctx context.Context, name string) (lookedUp, error) {
	path := norm.NFC.String(name)
	o, err := s.ask(ctx, s.src, SideSource, name)
	switch {
	case err != nil && isStop(err):
		return lookedUp{}, err
	case errors.Is(err, fs.ErrorIsDir), errors.Is(err, fs.ErrorNotAFile):
		e := notFound(path, true)
		e.Reason = "it is a folder; --files-from takes files"
		return lookedUp{entry: e}, nil
	case err != nil:
		s.fault(dirName(name), SideSource, fmt.Errorf("look up %q: %w", name, err))
		return lookedUp{entry: notFound(path, false)}, nil
	case o == nil:
		return lookedUp{entry: notFound(path, true)}, nil
	}
	e := Entry{Path: path, Size: o.Size(), ModTime: listedTime(ctx, o, s.src, s.byAge), ID: idOf(o), ETag: etagOf(o)}
	if o.Remote() != path && !s.nfcLookup {
		e.Source = o.Remote()
	}
	e.Keep = keepCode(o, e, s.traits)
	if why := s.rules.refusedPath(path); why != "" {
		e.Verdict, e.Code, e.Reason = SetAside, CodeNameRefused, why
		return lookedUp{entry: e}, nil
	}
	return s.lookAtDest(ctx, e)
}

// lookAtDest looks for what the destination has under an entry's name.
func (s *scan) lookAtDest(ctx context.Context, e Entry) (lookedUp, error) {
	o, err := s.ask(ctx, s.dst, SideDest, e.Path)
	switch {
	case err != nil && isStop(err):
		return lookedUp{}, err
	case errors.Is(err, fs.ErrorIsDir) && !s.rules.buckets:
		e.Verdict, e.Code, e.Reason = SetAside, CodeNameCollision, "the destination has a folder of this name"
		return lookedUp{entry: e}, nil
	case err != nil:
		s.fault(dirName(e.Path), SideDest, fmt.Errorf("look up %q: %w", e.Path, err))
		return lookedUp{entry: e}, nil
	case o == nil:
		return lookedUp{e, Seen{State: SeenNothing}}, nil
	}
	if o.Remote() != e.Path {
		e.Dest = o.Remote()
	}
	return lookedUp{e, Seen{State: SeenFile, Size: o.Size(), ModTime: listedTime(ctx, o, s.dst, false)}}, nil
}

// ask looks a file up as it is spelled, then composed, then decomposed; nil is that there is none.
func (s *scan) ask(ctx context.Context, f fs.Fs, side, name string) (o fs.Object, err error) {
	spellings := slices.Compact([]string{name, norm.NFC.String(name), norm.NFD.String(name)})
	for _, spelling := range spellings {
		err = s.attempt(ctx, side, fmt.Sprintf("look up %s file %q", side, spelling), func() (err error) {
			o, err = f.NewObject(ctx, spelling)
			return err
		})
		if !isNotFound(err) {
			return o, err
		}
	}
	return nil, nil
}

func isStop(err error) bool {
	var stop *stopError
	return errors.As(err, &stop)
}

// setCollisionsAside leaves one file for each destination name: the one that is there by exactly this name, else the
// first.
func setCollisionsAside(rules nameRules, items []lookedUp) {
	byKey := make(map[string][]int, len(items))
	for i, it := range items {
		if it.entry.Verdict == Pending {
			key := rules.pathKey(it.entry.Path)
			byKey[key] = append(byKey[key], i)
		}
	}
	for _, same := range byKey {
		first := same[0]
		for _, i := range same {
			if items[i].seen.State == SeenFile && items[i].entry.Dest == "" {
				first = i
				break
			}
		}
		for _, i := range same {
			if i == first {
				continue
			}
			e := &items[i].entry
			e.Verdict, e.Code, e.Dest = SetAside, CodeNameCollision, ""
			e.Reason = "the destination can't tell its name from that of " + items[first].entry.Path + "; rename one of them"
			items[i].seen = Seen{}
		}
	}
}
