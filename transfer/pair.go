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

	engine engine // what batches share: retry policy, probes (batch.go)
}

// NewPair joins two open remotes. It owns them from then on: Close shuts both down.
func NewPair(source, dest fs.Fs, opt Options) *Pair {
	return &Pair{Source: source, Dest: dest, Opt: opt.WithDefaults()}
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
	dst, err := fs.NewFs(ctx, dest)
	if errors.Is(err, fs.ErrorIsFile) {
		err = fmt.Errorf("%w; name the folder that files should go into", err)
	}
	if err != nil {
		shutdown(ctx, src)
		shutdown(ctx, dst) // a remote that is a file comes back open
		return nil, openError(ctx, SideDest, dest, err)
	}
	return NewPair(src, dst, opt), nil
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
	shutdown(ctx, p.Source)
	shutdown(ctx, p.Dest)
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
