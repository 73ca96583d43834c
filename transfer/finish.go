package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rclone/rclone/fs"
	"golang.org/x/sync/errgroup"
)

// dirsAtOnce is how many folders of one depth are looked at together, pacedDirsAtOnce that of a source that paces itself.
const (
	dirsAtOnce      = 8
	pacedDirsAtOnce = 64
)

// RemoveEmptyDirs removes the given source folders, which held files of the job, and the folders above them, deepest
// first, as far as they are empty now. The root always stays. It returns how many were removed, and the first error;
// what couldn't be removed doesn't keep it from the rest. It may be called again.
func (p *Pair) RemoveEmptyDirs(ctx context.Context, dirs []string) (removed int, err error) {
	var probe errgroup.Group
	probe.Go(func() error { p.removeProbe(ctx); return nil })
	defer func() { _ = probe.Wait() }() // it returns no error
	if !p.Source.Features().CanHaveEmptyDirectories {
		return 0, nil
	}
	var n atomic.Int64
	var firstErr error
	most := dirsAtOnce
	if pacesItself(p.Source) {
		most = pacedDirsAtOnce
	}
	for _, level := range byDepth(dirs) {
		var g errgroup.Group
		g.SetLimit(most)
		for _, dir := range level {
			g.Go(func() error {
				ok, err := p.removeIfEmpty(ctx, dir)
				if ok {
					n.Add(1)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil && firstErr == nil {
			firstErr = err
		}
		if ctx.Err() != nil {
			return int(n.Load()), context.Cause(ctx)
		}
	}
	return int(n.Load()), firstErr
}

// byDepth gives the folders and all folders above them, without the root, in levels from the deepest up.
func byDepth(dirs []string) [][]string {
	levels := map[int][]string{}
	seen := map[string]bool{}
	for _, dir := range dirs {
		for d := path.Clean(strings.Trim(dir, "/")); d != "." && d != "" && !strings.HasPrefix(d, "..") && !seen[d]; d = path.Dir(d) {
			seen[d] = true
			depth := strings.Count(d, "/")
			levels[depth] = append(levels[depth], d)
		}
	}
	var out [][]string
	for _, level := range levels {
		slices.Sort(level)
		out = append(out, level)
	}
	slices.SortFunc(out, func(a, b []string) int { return cmp.Compare(strings.Count(b[0], "/"), strings.Count(a[0], "/")) })
	return out
}

// removeIfEmpty removes a source folder that holds nothing at all now.
func (p *Pair) removeIfEmpty(ctx context.Context, dir string) (bool, error) {
	if _, ok := p.Source.(EmptyRemover); !ok {
		entries, err := p.Source.List(ctx, dir)
		if errors.Is(err, fs.ErrorDirNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("list source folder %s on %s: %w", dir, remoteName(p.Source), err)
		}
		if len(entries) > 0 {
			return false, nil
		}
	}
	err := p.Source.Rmdir(ctx, dir)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrorDirNotFound), errors.Is(err, fs.ErrorDirectoryNotEmpty):
		return false, nil // somebody else was faster
	}
	if again, lerr := p.Source.List(ctx, dir); errors.Is(lerr, fs.ErrorDirNotFound) || lerr == nil && len(again) > 0 {
		return errors.Is(lerr, fs.ErrorDirNotFound), nil
	}
	return false, fmt.Errorf("remove source folder %s on %s: %w", dir, remoteName(p.Source), err)
}
