package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fspath"
)

// Pair is one source and one destination, opened, with the options of a job. It may be used by several goroutines.
type Pair struct {
	Source fs.Fs
	Dest   fs.Fs
	Opt    Options

	// sourceEye and destEye are what fresh looks go through: instances of their own where that is worth it (traits.eye),
	// else Source and Dest. An instance that has written nothing answers from no memory of its own, and rclone's pacers,
	// a hundred calls a second for each instance of most backends, don't make looks and moves wait for each other.
	sourceEye, destEye fs.Fs

	engine engine // what batches share: retry policy, probes (batch.go)
}

// NewPair joins two open remotes. It owns them from then on: Close shuts both down.
func NewPair(source, dest fs.Fs, opt Options) *Pair {
	return &Pair{Source: source, Dest: dest, sourceEye: source, destEye: dest, Opt: opt.WithDefaults()}
}

// Open opens both remotes by rclone's names ("icloud:Documents", "/home/anna/files"). A source that is a single file
// opens its folder, narrowed to that file as by Options.FilesFrom; other filters can't go with it (*FilterError). The
// error names the remote.
func Open(ctx context.Context, source, dest string, opt Options) (*Pair, error) {
	src, err := fs.NewFs(ctx, source)
	if errors.Is(err, fs.ErrorIsFile) {
		if opt, err = onlyFile(source, opt); err != nil {
			shutdown(ctx, src)
			return nil, err
		}
	}
	if err != nil {
		return nil, openError(ctx, SideSource, source, err)
	}
	dst, err := fs.NewFs(ctx, tuned(dest))
	if errors.Is(err, fs.ErrorIsFile) {
		err = fmt.Errorf("%w; name the folder that files should go into", err)
	}
	if err != nil {
		shutdown(ctx, src)
		shutdown(ctx, dst) // a remote that is a file comes back open
		return nil, openError(ctx, SideDest, dest, err)
	}
	p := NewPair(src, dst, opt)
	p.sourceEye, p.destEye = eyeOf(ctx, src), eyeOf(ctx, dst)
	return p, nil
}

// eyeOf opens another instance of a remote for fresh looks, or returns the same one where that brings nothing.
func eyeOf(ctx context.Context, f fs.Fs) fs.Fs {
	if !traitsOf(f).eye {
		return f
	}
	eye, err := fs.NewFs(ctx, fs.ConfigStringFull(f))
	if err != nil {
		shutdown(ctx, eye)
		return f // looks go the same way as moves then: slower, no less safe
	}
	return eye
}

// onlyFile narrows the options to the file that a source names. Like rclone, it takes no other filter beside it.
func onlyFile(source string, opt Options) (Options, error) {
	f, err := newFilter(opt, time.Now())
	if err != nil {
		return opt, err
	}
	if !f.InActive() {
		return opt, &FilterError{Field: "source", Value: source, Err: errors.New("is a single file: filters can't be used with it")}
	}
	_, leaf, err := fspath.Split(source)
	if err != nil {
		return opt, fmt.Errorf("open source %s: %w", source, err)
	}
	opt.FilesFrom = []string{leaf}
	return opt, nil
}

// Close frees what the remotes hold (Dropbox's batcher, for one). The pair can't be used afterwards.
func (p *Pair) Close(ctx context.Context) {
	for _, pair := range [][2]fs.Fs{{p.Source, p.sourceEye}, {p.Dest, p.destEye}} {
		shutdown(ctx, pair[0])
		if pair[1] != pair[0] {
			shutdown(ctx, pair[1])
		}
	}
}

func shutdown(ctx context.Context, f fs.Fs) {
	if f == nil {
		return
	}
	if do := f.Features().Shutdown; do != nil {
		// A failed shutdown leaves nothing that a caller could mend: every upload has been awaited before.
		_ = do(ctx)
	}
}
