package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
)

// Manifests calls yield for each file that lies in a destination's ManifestDir and ends so, by name, with its path below the
// destination and its content, which is read as it comes. An error of yield ends it. A destination without that folder has
// none. The error names the remote and is a *CheckError, or yield's.
func (op Opener) Manifests(ctx context.Context, remote, ending string, yield func(path string, content io.Reader) error) error {
	config.LoadedData() // as Open
	f, closeIt, err := op.folder(ctx, remote, "Name the folder that files were moved into.")
	if err != nil {
		return err
	}
	defer closeIt()
	entries, err := f.List(ctx, ManifestDir)
	if errors.Is(err, fs.ErrorDirNotFound) {
		return nil
	}
	if err != nil {
		return browseError(ctx, remote, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Remote(), b.Remote()) })
	for _, e := range entries {
		o, ok := e.(fs.Object)
		if !ok || !strings.HasSuffix(path.Base(o.Remote()), ending) {
			continue
		}
		in, err := o.Open(ctx)
		if err != nil {
			return browseError(ctx, remote, fmt.Errorf("open %s: %w", o.Remote(), err))
		}
		err = yield(o.Remote(), cancelable(ctx, in))
		_ = in.Close() // what was wanted has been read
		if err != nil {
			return err
		}
	}
	return nil
}
